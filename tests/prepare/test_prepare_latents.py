"""Clips encoded while they are prepared: the files that training would write, and nothing encoded twice."""

import hashlib
import io
import json
import pickle
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from prepared_clips import person_video, work_in

from posegen.data.latent_cache import LatentCache
from posegen.errors import PosegenError
from posegen.prepare.prepare_recipe import ClipSettings, LatentSettings
from posegen.prepare.stages.clip_stage import run_here
from posegen.prepare.stages.clip_stages import LatentStage, SampleStage
from posegen.prepare.stages.messages import ClipsTask, Window, from_text
from posegen.prepare.stages.packing import PackStage, shard_tasks
from posegen.prepare.video_sources import find_videos
from posegen.train.latent_plan import plan_latents
from posegen.train.train_recipe import read_recipe
from posegen.train.training import TrainingPaths, train

CLIPS = ClipSettings(num_frames=5, fps=8.0, sizes=((96, 64),))
TRAINING = """
name = "tiny"
[model]
start = "{model}"
[data]
size = [96, 64]
[base]
num_frames = 5
steps = 1
batch_size = 2
precision = "fp32"
validation_clips = 1
sample_steps = 1
[stitch]
num_frames = 5
steps = 1
batch_size = 1
precision = "fp32"
mirror = true
"""


def training_recipe(folder, model="mini", text=TRAINING):
    folder.mkdir(exist_ok=True)
    (folder / "training.toml").write_text(text.format(model=model))
    return folder / "training.toml"


@pytest.fixture(scope="module")
def prepared(narrow, tmp_path_factory):
    """Samples and shards of two clips, without Ray: the work, and the tasks of encoding them."""
    folder = tmp_path_factory.mktemp("prepared")
    person_video(folder / "in" / "a.mp4", seconds=1.4)
    (video,) = find_videos([str(folder / "in")])
    settings = LatentSettings(str(training_recipe(folder, narrow)), ("base", "stitch"))
    work = replace(work_in(folder), plan=plan_latents(settings, CLIPS))
    windows = tuple(Window(start, start + 0.625, (0, 0, 0, 0)) for start in (0.0, 0.7))
    assert list(run_here(SampleStage, work, iter([ClipsTask(video, windows)])))
    samples = {
        path.stem: json.loads(path.read_text())["sha256"]
        for path in sorted((folder / "out").glob("work/samples-*/*.json"))
    }
    assert len(samples) == 2
    keys = list(samples)
    tasks = shard_tasks(samples, {keys[0]: "train", keys[1]: "val-same"}, 4)
    entries = [from_text(row["result"]) for row in run_here(PackStage, work, iter(tasks))]
    return work, [replace(task, sha256=entry.sha256) for task, entry in zip(tasks, entries, strict=True)]


def test_a_worker_that_encodes_nothing_loads_no_model_library(prepared):
    """Each of Ray's workers unpickles the work: all would load them."""
    work = prepared[0]
    code = (
        f"import pickle, sys; sys.path = {sys.path!r}; work = pickle.load(sys.stdin.buffer)\n"
        "assert work.plan.encodings; work.latents; print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], input=pickle.dumps(work), capture_output=True, check=True)
    loaded = set(done.stdout.decode().split())
    assert "posegen.prepare.stages.stage_work" in loaded
    assert not {"torch", "diffusers", "transformers"} & loaded


@pytest.fixture(scope="module", autouse=True)
def workers_have_their_libraries(copied_workers):
    """Each process that encodes is a copy of one that has imported them."""
    with copied_workers():
        yield


def encoded(work, tasks):
    return [from_text(row["result"]) for row in run_here(LatentStage, work, iter(tasks))]


@pytest.fixture(scope="module")
def cache(prepared):
    work, tasks = prepared
    assert [(done.clips, done.failed) for done in encoded(work, tasks)] == [(1, {})] * 2
    return Path(work.output.url) / "cache"


def contents(folder):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("*.safetensors")}


@pytest.mark.parametrize("stage", ["base", "stitch"])
def test_training_encodes_nothing_and_has_the_same_files(stage, prepared, cache, narrow, tmp_path, monkeypatch):
    folder = cache.parent
    recipe = read_recipe(training_recipe(tmp_path, narrow))
    train(stage, recipe, TrainingPaths(tmp_path / "fresh", folder, folder, tmp_path / "cache"))
    made = contents(tmp_path / "cache")
    assert len(made) == 2
    assert made.items() <= contents(cache).items()

    def refuse(self, sample, encoding):
        raise AssertionError("a clip is encoded")

    monkeypatch.setattr(LatentCache, "encode", refuse)
    train(stage, recipe, TrainingPaths(tmp_path / "ready", folder, folder, cache))
    records = [json.loads(line) for line in (tmp_path / "ready" / stage / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "train/loss" in record] == [1]


def test_what_is_kept_is_not_encoded_again_and_what_is_lost_is_put_together_again(prepared, cache):
    work, tasks = prepared
    whole = contents(cache)
    for path in sorted(cache.glob("*.safetensors"))[:2]:
        path.write_bytes(path.read_bytes()[:50])
    (kept,) = cache.parent.glob("work/latents-*")
    stamps = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    encoded(work, tasks)
    assert contents(cache) == whole
    assert {path: path.stat().st_mtime_ns for path in kept.iterdir()} == stamps
    lost = sorted(kept.glob("*.json"))[0]
    lost.unlink()
    encoded(work, tasks)
    again = {path: path.stat().st_mtime_ns for path in kept.iterdir()}
    assert {path.name.split("-0000")[0] for path in again if again[path] != stamps[path]} == {
        lost.name.split("-0000")[0]
    }
    assert all(again[path] == stamps[path] for path in kept.iterdir() if lost.stem not in path.name)


def test_a_clip_that_cannot_be_encoded_is_named_and_tried_again(prepared, cache, tmp_path):
    work, tasks = prepared
    samples = work.samples
    key = tasks[0].keys[0]
    good = samples.read(f"{key}.tar")
    with tarfile.open(fileobj=io.BytesIO(good)) as tar:
        part = tar.getmember(f"{key}.npz")
    broken = bytearray(good)
    broken[part.offset_data : part.offset_data + part.size] = bytes(part.size)
    other = replace(work, plan=replace(work.plan, identity="another"))
    task = replace(tasks[0], hashes=(hashlib.sha256(broken).hexdigest(),))
    try:
        samples.write(f"{key}.tar", bytes(broken))
        (row,) = encoded(other, [task])
        assert "damaged" in row.failed[key]
    finally:
        samples.write(f"{key}.tar", good)
    assert encoded(other, tasks[:1])[0].failed == {}


@pytest.mark.parametrize(
    ("text", "settings", "message"),
    [
        (TRAINING.replace("{model}", "scratch:mini"), {}, "folder of a trained one"),
        (TRAINING.replace("96, 64", "64, 96"), {}, "wants clips of"),
        (TRAINING.replace("num_frames = 5", "num_frames = 9"), {}, "9 frames, not 5"),
        (TRAINING, {"model": "nothing"}, "unknown model"),
        (TRAINING, {"stages": ("pretrain",)}, "has no stage pretrain"),
    ],
)
def test_what_training_would_refuse_is_refused_before(text, settings, message, tmp_path):
    recipe = str(training_recipe(tmp_path, text=text))
    with pytest.raises(PosegenError, match=message):
        plan_latents(LatentSettings(**{"recipe": recipe, "stages": ("base",), **settings}), CLIPS)


def test_nothing_is_planned_without_a_recipe():
    assert plan_latents(LatentSettings(), CLIPS) is None


def test_a_model_loads_for_encoding_without_its_transformer():
    from posegen.model.sources import load_for_encoding, load_pipeline

    light, whole = load_for_encoding("mini", torch.float32), load_pipeline("mini", torch.device("cpu"), torch.float32)
    assert all(parameter.is_meta for parameter in light.transformer.parameters())
    assert LatentCache(Path(), light).identity == LatentCache(Path(), whole).identity
    assert dict(light.config) == dict(whole.config)
