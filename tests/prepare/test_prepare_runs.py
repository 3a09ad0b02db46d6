"""Whole runs on Ray: a data set that training takes, killed drivers and workers, two nodes, other thresholds."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import fsspec
import psutil
import pyarrow.parquet as pq
import pytest
from prepared_clips import RECIPE, person_video, write_recipe

from posegen.errors import PosegenError
from posegen.media.checksums import checked_json
from posegen.prepare.engine import Engine
from posegen.prepare.prepare_recipe import PrepareRecipe
from posegen.prepare.prepare_videos import prepare_data
from posegen.prepare.stages.clip_stage import ClipStage
from posegen.prepare.stages.messages import ClipsDone, VideoTask, to_text
from posegen.prepare.stages.stage_work import Work, default_scorer
from posegen.prepare.store import Store
from posegen.prepare.video_sources import Video

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="session")
def raw(made_once):
    """Three videos of a person, one that repeats another, and one that is none."""

    def make(folder):
        for number in range(3):
            person_video(folder / "in" / f"it's {number}\n人.mp4", start=3.0 * number, seconds=1.4)
        person_video(folder / "in" / "repeats.mp4", start=0.0, seconds=1.4, size=(96, 64), crf=28)
        (folder / "in" / "broken.mp4").write_bytes(b"no video")
        write_recipe(folder)

    return made_once("raw", make)


def arguments_of(raw, output, *more, recipe=None):
    return ["prepare", raw / "in", "--output", output, "--recipe", recipe or raw / "recipe.toml", *more]


def run(warm, *arguments, recipe=None):
    return warm.run_posegen(*arguments_of(*arguments, recipe=recipe))


def contents(output: Path) -> dict[str, str]:
    """Hashes of the data set: shards, their indexes, and the index of clips."""
    files = [path for path in output.iterdir() if path.is_file() and not path.name.startswith(".")]
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="session")
def undisturbed(warm, raw, made_once):
    def make(folder):
        done = run(warm, raw, folder / "set")
        assert done.returncode == 0, done.stderr

    return made_once("undisturbed", make) / "set"


def stage_that_waits_for_others(folder, number, seconds=200.0):
    """A stage each of whose tasks is done only while so many are under way, each in a process of its own."""

    class Waiting(ClipStage):
        def __init__(self, work):
            """No process, no models."""

        def __call__(self, row):
            (folder / str(os.getpid())).touch()
            deadline = time.monotonic() + seconds
            while len(list(folder.iterdir())) < number and time.monotonic() < deadline:
                time.sleep(0.1)
            done = ClipsDone(int(len(list(folder.iterdir())) >= number))
            return {"task": row["task"], "result": to_text(done), "damaged": "[]"}

    return Waiting


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_tasks_go_to_workers_that_have_none_and_to_no_more_workers_than_are_wanted(tmp_path):
    """Few tasks are minutes of work each: two of them are done by two workers, at once."""
    work = Work(PrepareRecipe(), Store(str(tmp_path / "out")), default_scorer)
    tasks = [VideoTask(Video(f"{number}.mp4", "")) for number in range(2)]
    for name in ("two", "one"):
        (tmp_path / name).mkdir()
    with Engine(None, 2) as engine:
        stage = stage_that_waits_for_others(tmp_path / "two", 2)
        assert list(engine.run(work, stage, tasks, True)) == [ClipsDone(1)] * 2
        engine._workers = 1  # of a cluster that has two cores
        stage = stage_that_waits_for_others(tmp_path / "one", 2, seconds=10.0)
        assert list(engine.run(work, stage, tasks, False)) == [ClipsDone(0)] * 2


def test_every_clip_is_in_the_index_with_its_reason(undisturbed):
    rows = pq.read_table(undisturbed / "index.parquet").to_pylist()
    (broken,) = [row for row in rows if not row["clip"]]
    assert broken["source"].endswith("broken.mp4")
    assert "not a video" in broken["reason"]
    assert broken["stage"] == "probe"
    repeats = [row for row in rows if row["source"].endswith("repeats.mp4")]
    assert [row["dropped_by"] for row in repeats] == [["duplicate"]] * 2
    kept = [row for row in rows if row["kept"]]
    assert len(kept) == 6
    assert {row["clip"] for row in kept} >= {row["duplicate_of"] for row in repeats}
    assert {row["split"] for row in kept} == {"train", "val-same"}
    assert all(row["person_area"] is not None and row["thumbnail"] for row in kept + repeats)


def test_training_takes_it(warm, undisturbed, tmp_path):
    recipe = tmp_path / "train.toml"
    stage = "steps = 1\nnum_frames = 5\nbatch_size = 2\nprecision = 'fp32'\nvalidation_clips = 1\nsample_steps = 1\n"
    recipe.write_text(f'name = "tiny"\n[model]\nstart = "scratch:mini"\nlayers = 2\nheads = 2\n[base]\n{stage}')
    done = warm.run_posegen(
        "train", "base", "--recipe", recipe, "--output", tmp_path / "run", "--data", undisturbed,
        "--validation", undisturbed, "--cache", tmp_path / "cache",
    )  # fmt: skip  # short arguments, read in rows
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (tmp_path / "run/base/metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "train/loss" in record] == [1]


def test_clips_are_encoded_for_a_training_in_the_same_run(warm, raw, undisturbed, narrow, tmp_path):
    output, training = tmp_path / "set", tmp_path / "training.toml"
    shutil.copytree(undisturbed, output)
    stage = "steps = 1\nnum_frames = 5\nbatch_size = 2\nprecision = 'fp32'\nvalidation_clips = 1\nsample_steps = 1\n"
    training.write_text(f'name = "tiny"\n[model]\nstart = "{narrow}"\n[base]\n{stage}')
    recipe = write_recipe(tmp_path, RECIPE + f'[latents]\nrecipe = "{training}"\n')
    for _ in range(2):
        done = run(warm, raw, output, recipe=recipe)
        assert done.returncode == 0, done.stderr
    assert contents(output) == contents(undisturbed), "the data set is the same"
    files = {path: path.stat().st_mtime_ns for path in (output / "cache").glob("*.safetensors")}
    assert len(files) == len(list(output.glob("*.tar")))
    done = warm.run_posegen(
        "train", "base", "--recipe", training, "--output", tmp_path / "run", "--data", output,
        "--validation", output, "--cache", output / "cache",
    )  # fmt: skip  # short arguments, read in rows
    assert done.returncode == 0, done.stderr
    again = {path: path.stat().st_mtime_ns for path in (output / "cache").glob("*.safetensors")}
    assert again == files, "nothing is encoded"


def wait_for(happened, process, seconds=500):
    deadline = time.monotonic() + seconds
    while not happened():
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def family(process):
    """Its descendants that compute; Ray's own agents need a while to notice that nobody is left."""
    everybody = psutil.Process(process.pid).children(recursive=True)
    return [each for each in everybody if any(word in " ".join(each.cmdline()) for word in ("isolated", "Map"))]


def test_a_killed_driver_and_a_half_written_shard_change_nothing(warm, raw, undisturbed, tmp_path):
    output = tmp_path / "set"
    moments = [lambda: any(output.glob("work/scores-*/*/*.json")), lambda: any(output.glob("work/samples-*/*.json"))]
    for moment in moments:
        process = warm.posegen(*arguments_of(raw, output), stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
        wait_for(moment, process)
        mine = family(process)
        assert mine
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stderr.close()
        _, alive = psutil.wait_procs(mine, timeout=60)
        assert not alive, "nothing goes on without the command"
        assert not (output / "index.parquet").exists()
    made = {path: path.stat().st_mtime_ns for path in output.glob("work/*/*.json")}
    (output / "work" / "shards").mkdir()
    (output / "work" / "shards" / "train-000000.tar.json").write_text('{"content": ""}')  # as packing begins
    (output / "train-000000.tar").write_bytes(b"half of a shard")
    (output / ".train-000001.0123abcd.part.tar").write_bytes(b"half")
    done = run(warm, raw, output)
    assert done.returncode == 0, done.stderr
    assert contents(output) == contents(undisturbed)
    again = {path: path.stat().st_mtime_ns for path in made}
    assert again == made, "nothing that was kept is computed again"


def test_two_nodes_with_a_killed_worker_make_the_same(warm, raw, undisturbed, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_worker_niceness", "0")
    source = Path(__file__).resolve().parents[2] / "src"
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(source), os.environ.get("PYTHONPATH", "")]))
    starter = (
        "import sys, time; from ray.cluster_utils import Cluster\n"
        "node = dict(num_cpus=1, object_store_memory=80 << 20, include_dashboard=False)\n"
        "c = Cluster(initialize_head=True, head_node_args=node); c.add_node(num_cpus=1, object_store_memory=80 << 20)\n"
        "print(c.address, flush=True); sys.stdin.read(); c.shutdown()"
    )
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with warm(starter, **streams) as cluster:
        address = next(line for line in iter(cluster.stdout.readline, "") if ":" in line and "." in line).strip()
        output, recipe = tmp_path / "set", write_recipe(tmp_path, RECIPE.replace("workers = 1", "workers = 2"))
        process = warm.posegen(
            *arguments_of(raw, output, "--ray", address, recipe=recipe),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: any(output.glob("work/scores-*/*/*.json")), process)
            workers = [each for each in family(cluster) if "isolated" in " ".join(each.cmdline())]
            assert workers
            workers[0].parent().kill()
            assert process.wait(500) == 0, process.stderr.read()
        finally:
            process.kill()
            process.stderr.close()
            cluster.communicate("", timeout=100)
    assert contents(output) == contents(undisturbed)


def test_a_data_set_in_an_object_store_is_that_of_a_folder(warm, s3, raw, undisturbed):
    output, system = f"{s3}/a set", fsspec.filesystem("s3")
    done = run(warm, raw, output)
    assert done.returncode == 0, done.stderr
    files = [path for path in system.ls(output, detail=False) if system.isfile(path)]
    assert {Path(path).name: hashlib.sha256(system.cat_file(path)).hexdigest() for path in files} == contents(
        undisturbed
    )
    assert system.glob(f"{output}/work/samples-*/*.tar")


def test_other_thresholds_compute_no_score_again(warm, raw, undisturbed, tmp_path):
    output = tmp_path / "set"
    shutil.copytree(undisturbed, output)
    kept = [path for stage in ("clips", "scores", "samples") for path in output.glob(f"work/{stage}-*/*")]
    assert kept
    scores = {path: path.stat().st_mtime_ns for path in kept}
    rows = pq.read_table(output / "index.parquet").to_pylist()
    areas = sorted(row["person_area"] for row in rows if row["kept"])
    stricter = (areas[2] + areas[3]) / 2
    recipe = write_recipe(tmp_path, RECIPE.replace("minimum = 0.01", f"minimum = {stricter}"))
    arguments = arguments_of(raw, output, "--refilter", recipe=recipe)
    arguments.remove(raw / "in")
    done = warm.run_posegen(*arguments)
    assert done.returncode == 0, done.stderr
    after = pq.read_table(output / "index.parquet").to_pylist()
    assert sorted(row["person_area"] for row in after if row["kept"]) == [area for area in areas if area > stricter]
    assert [row["clip"] for row in after] == [row["clip"] for row in rows]
    assert {path: path.stat().st_mtime_ns for path in scores} == scores


@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.*")
def test_a_refilter_that_keeps_nothing_leaves_the_data_set_as_it_is(tmp_path):
    output = tmp_path / "set"
    for name in ("train-000000.tar", "train.json", "index.parquet", "work/shards/train-000000.tar.json"):
        (output / name).parent.mkdir(parents=True, exist_ok=True)
        (output / name).write_text(f"made before: {name}")
    (output / "work" / "videos.json").write_bytes(checked_json({"videos": [["/there/a.mp4", "1"]]}))
    before = contents(output)
    with pytest.raises(PosegenError, match=r"none of 0 clips.*\[clips\]: run without refilter.* left as it is"):
        prepare_data([], str(output), PrepareRecipe(), refilter=True)
    assert contents(output) == before


def test_a_full_disk_is_one_line(warm, raw, tmp_path):
    """A real limit on the size of files stands for a full disk."""
    limited = (
        "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "from posegen.apps.cli import main; main()"
    )
    done = warm.run(limited, arguments_of(raw, tmp_path / "set"))
    assert done.returncode == 2, done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("posegen: ")
