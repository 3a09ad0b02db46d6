"""Damages kept files, or kills runs, at random moments, and compares what comes out with an undisturbed run.

    python benchmarks/disturbed_runs.py damage [--count 200] [--seed 0] [--work generate extract train prepare evaluate]
    python benchmarks/disturbed_runs.py kill [--count 20] [--seed 0] [--work extract generate prepare train]

Damage: each time a folder that an interrupted run left is copied, one kept file gets a flipped bit, is emptied, cut,
exchanged with another one or removed, and the run is resumed. Kinds of files take turns, so that none is missed because
another has more files. The result must have the same bytes, or the run must end with one line that says what to do;
then the same run again must give the same bytes. Kill: SIGKILL at a random moment, then the same command.
"""

import argparse
import contextlib
import functools
import hashlib
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import torch
from safetensors.torch import load_file

import posegen
from posegen.apps.commands import extract
from posegen.config import ExtractConfig, GenerateConfig
from posegen.errors import PosegenError
from posegen.generate import long_video
from posegen.media.video import VideoWriter, iterate_frames
from posegen.progress import NullProgress
from results_file import figures_of, write_result

DEMO = Path(posegen.__file__).parent / "demo"
DAMAGES = ("bit", "empty", "half", "exchanged", "missing")
_IGNORED = {"lock", ".prepare.lock", "videos.json"}
"""Locks, and the list of inputs, from which nothing is computed."""


class StopAfter(NullProgress):
    """Interrupts a run after so many updates of a task whose name begins with `name`."""

    def __init__(self, name: str, updates: int) -> None:
        self.name, self.left = name, updates

    def update(self, task: str, done: int, total: int) -> None:
        """Count."""
        self.left -= task.startswith(self.name)
        if self.left < 0:
            raise KeyboardInterrupt


@dataclass(frozen=True)
class Work:
    """A kind of run. run: the whole, or resumed; interrupt: leaves a folder that can be resumed; results, kept: files
    that must be the same, and those that may be damaged."""

    run: Callable[[Path], None]
    interrupt: Callable[[Path], None]
    results: Callable[[Path], list[Path]]
    kept: Callable[[Path], list[Path]]
    command: Callable[[Path], list[str]] | None = None
    """For killing: as a process of its own instead of a fork."""


def dance(path: Path, seconds: float, start: float = 0.0) -> Path:
    """A part of the demo's driving video, small."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(16), size=(192, 112)) as writer:
        for frame in iterate_frames(DEMO / "driving.mp4", Fraction(16), start, start + seconds):
            writer.write(cv2.resize(frame, (112, 192), interpolation=cv2.INTER_AREA))
    return path


def small_model(folder: Path) -> str:
    """A model with the mini's layers, a sixth of its width, and random weights."""
    from posegen.model.autoencoder import AutoencoderLightVideo
    from posegen.model.mini import build_mini

    torch.manual_seed(0)
    model = build_mini(heads=1)
    model.register_modules(vae=AutoencoderLightVideo(32, encoder_channels=[8, 16, 16], decoder_channels=[16, 16, 8]))
    model.register_to_config(trained=True)
    model.save_pretrained(folder)
    return str(folder)


def files_in(folder: Path) -> list[Path]:
    """All files below a folder that hold something a run uses."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _IGNORED)


def generate_work(place: Path, store: str = "disk", **more: object) -> Work:
    """`generate` with conditions, retargeting and background sharing of its own."""
    driving, model = dance(place / "driving.mp4", 5.0), small_model(place / "model")
    torch.set_num_threads(1)  # a pool of threads would not come along with a fork
    long_video.load_pipeline = functools.cache(long_video.load_pipeline)
    long_video.load_pipeline(model, torch.device("cpu"), torch.float32)

    def config(folder: Path) -> GenerateConfig:
        return GenerateConfig(
            model=model, reference=DEMO / "reference.png", driving=driving, output=folder / "result.mp4", size="96x64",
            steps=1, dtype="float32", guidance=1.0, sharing_store=store, save_masks=True, **more,  # type: ignore[arg-type]
        )  # fmt: skip

    def interrupt(folder: Path) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            long_video.generate_video(config(folder), StopAfter("segment", 6))

    return Work(
        lambda folder: long_video.generate_video(config(folder)) and None,
        interrupt,
        lambda folder: [folder / "result.mp4"],
        lambda folder: files_in(folder / "result.posegen"),
    )


def extract_work(place: Path) -> Work:
    """`extract`; its folder is the user's, so what was changed in it and can be read is kept on purpose."""
    driving = dance(place / "driving.mp4", 2.0)

    def run(folder: Path) -> None:
        extract(ExtractConfig(driving=driving, output=folder / "conditions", size="96x64"))

    def results(folder: Path) -> list[Path]:
        return [folder / "conditions" / name for name in ("keypoints.npz", "skeleton.mkv", "hands.mkv")]

    return Work(run, run, results, lambda folder: [*results(folder), folder / "conditions" / "manifest.json"])


RECIPE = """
name = "tiny"
[model]
start = "{model}"
[base]
precision = "fp32"
log_every = 1
validation_clips = 2
sample_steps = 2
steps = 6
num_frames = 9
batch_size = 2
checkpoint_every = 2
keep_checkpoints = 2
"""


def train_work(place: Path) -> Work:
    """`train base` from encoding clips to the finished model."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
    from posegen.train.train_recipe import read_recipe
    from posegen.train.training import TrainingPaths, train
    from tiny_shards import write_shards  # type: ignore[import-not-found]

    shards = place / "shards"
    write_shards(shards, "train")
    write_shards(shards, "val-same", shards=1)
    path = place / "recipe.toml"
    path.write_text(RECIPE.format(model=small_model(place / "model")))
    recipe = read_recipe(path)

    def run(folder: Path, progress: NullProgress | None = None) -> None:
        train("base", recipe, TrainingPaths(folder / "run", shards, shards, folder / "cache", None), progress)

    def interrupt(folder: Path) -> None:
        with contextlib.suppress(KeyboardInterrupt):
            run(folder, StopAfter("train", 5))

    return Work(
        run,
        interrupt,
        lambda folder: sorted((folder / "run" / "base" / "model").rglob("*.safetensors")),
        lambda folder: [path for path in files_in(folder) if "checkpoints" in path.parts or "cache" in path.parts],
        lambda folder: [sys.executable, "-m", "posegen.apps.cli", "train", "base", "--recipe", str(path), "--output",
                        str(folder / "run"), "--data", str(shards), "--validation", str(shards), "--cache",
                        str(folder / "cache")],
    )  # fmt: skip


PREPARE = """
[clips]
num_frames = 5
fps = 8.0
size = [96, 64]
[filters]
skip = ["overlay", "bars", "image_quality", "video_quality", "static_camera", "background_jitter", "face", "head"]
[filters.thresholds]
person_area = {minimum = 0.01}
one_person = {minimum = 0.0}
blur = {minimum = 0.0}
[conditions]
least_seen = 0.1
[output]
clips_per_shard = 2
validation = 0.3
[compute]
timeout = 100.0
workers = 1
"""


def prepare_work(place: Path) -> Work:
    """`prepare` from two videos to shards."""
    from posegen.prepare.prepare_recipe import read_prepare_recipe
    from posegen.prepare.prepare_videos import prepare_data

    for number in range(2):
        dance(place / "in" / f"{number}.mp4", 1.4, 3.0 * number)
    path = place / "recipe.toml"
    path.write_text(PREPARE)
    recipe = read_prepare_recipe(path)

    def run(folder: Path) -> None:
        prepare_data([str(place / "in")], str(folder / "out"), recipe)

    return Work(
        run,
        run,
        lambda folder: [*(folder / "out").glob("*.tar"), folder / "out" / "index.parquet"],
        lambda folder: files_in(folder / "out" / "work") + sorted((folder / "out").glob("*.tar")),
        lambda folder: [sys.executable, "-m", "posegen.apps.cli", "prepare", str(place / "in"), "--output",
                        str(folder / "out"), "--recipe", str(path)],
    )  # fmt: skip


def evaluate_work(place: Path) -> Work:
    """`evaluate` of one video against another: cached keypoints, scores and the report's videos."""
    import yaml

    from posegen.config import EvaluateConfig
    from posegen.evaluate.evaluation import evaluate

    truth = dance(place / "truth" / "a.mp4", 1.0)
    dance(place / "made" / "a.mp4", 1.0, 0.2)
    clip = {"name": "a", "reference": str(DEMO / "reference.png"), "truth": str(truth)}
    path = place / "benchmark.yaml"
    path.write_text(yaml.safe_dump({"name": "tiny", "clips": [clip]}))

    def run(folder: Path) -> None:
        config = EvaluateConfig(benchmark=path, methods=(f"made={place / 'made'}",), output=folder / "out",
                                cache=folder / "cache")  # fmt: skip
        found = evaluate(config, NullProgress())
        cells = sorted((str(key), repr(cell)) for key, cell in found.cells.items())
        (folder / "scores.txt").write_text("\n".join(map(str, cells)))

    return Work(run, run, lambda folder: [folder / "scores.txt"], lambda folder: files_in(folder / "cache"))


WORKS = {"generate": generate_work, "extract": extract_work, "train": train_work, "prepare": prepare_work,
         "evaluate": evaluate_work}  # fmt: skip


def digests(paths: list[Path], folder: Path) -> dict[str, str]:
    """Names and hashes; of safetensors those of the tensors, since the library writes descriptions in random order."""
    return {str(path.relative_to(folder)): _content_hash(path) for path in sorted(paths)}


def _content_hash(path: Path) -> str:
    if path.suffix != ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    content = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        content.update(f"{name} {tensor.dtype} {tuple(tensor.shape)} ".encode())
        content.update(tensor.contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return content.hexdigest()


def kind_of(path: Path) -> str:
    """The kind of a kept file: its name without numbers and hashes."""
    return re.sub(r"[0-9a-f]{6,}|\d+", "N", f"{path.parent.name}/{path.name}")


def damage(path: Path, how: str, others: list[Path], chance: random.Random) -> str:
    """Damage a file; says what was done."""
    content = bytearray(path.read_bytes())
    other = chance.choice([each for each in others if each != path] or [path])
    if how == "exchanged" and other.read_bytes() != content:
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return f"exchanged with {other.name}"
    if how == "missing":
        path.unlink()
    elif how == "empty" or not content:
        path.write_bytes(b"")
    elif how == "half":
        path.write_bytes(content[: len(content) // 2])
    else:
        bit = chance.randrange(8 * len(content))
        content[bit // 8] ^= 1 << bit % 8
        path.write_bytes(content)
        return f"bit {bit}"
    return how


@contextlib.contextmanager
def warned() -> Iterator[list[str]]:
    """Lines that posegen logs inside the block."""
    lines: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("posegen").addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger("posegen").removeHandler(handler)


def damage_at_random(
    name: str, place: Path, count: int, seed: int, tell: Callable[[str], None] = print
) -> Counter[str]:
    """Damage and resume `count` times; counts of outcomes. Raises `AssertionError` for another result."""
    work, chance, outcomes = WORKS[name](place / "inputs"), random.Random(seed), Counter[str]()
    whole, state = place / "whole", place / "interrupted"
    for folder, fill in ((whole, work.run), (state, work.interrupt)):
        folder.mkdir(parents=True)
        fill(folder)
    expected = digests(work.results(whole), whole)
    kinds = sorted({kind_of(path) for path in work.kept(state)})
    chance.shuffle(kinds)
    for number in range(count):
        folder = place / f"run{number}"
        shutil.copytree(state, folder)
        kept, kind = work.kept(folder), kinds[number % len(kinds)]
        path = chance.choice([each for each in kept if kind_of(each) == kind])
        done = damage(path, DAMAGES[chance.choice((0, 0, 0, 1, 2, 3, 4))], kept, chance)
        with warned() as lines:
            try:
                work.run(folder)
                outcome = "same bytes"
            except PosegenError as error:
                outcome = "one line" if "\n" not in str(error) else "several lines"
                lines.append(str(error))
                with contextlib.suppress(PosegenError):  # where the line asks for more than the same command
                    work.run(folder)
                    outcome = "one line, then the same bytes"
        tell(f"{name} {number} {path.relative_to(folder)} {done}: {outcome} ({'; '.join(lines)[:200] or 'no line'})")
        assert outcome != "several lines", f"{path} {done}: {lines}"
        same = outcome == "one line" or digests(work.results(folder), folder) == expected
        edited = name == "extract" and lines == [line for line in lines if "used as it is now" in line]
        assert same or edited, f"{path} {done}: another result"
        outcomes["used as edited, one line" if edited and not same else outcome] += 1
        shutil.rmtree(folder)
    outcomes["kinds of files"] = len(kinds)
    return outcomes


def kill_at_random(name: str, place: Path, count: int, seed: int, tell: Callable[[str], None] = print) -> Counter[str]:
    """Kill and resume `count` times; counts of outcomes. Raises `AssertionError` for another result."""
    work, chance, outcomes = WORKS[name](place / "inputs"), random.Random(seed), Counter[str]()

    def finish(folder: Path, kill_after: float | None = None) -> tuple[int, float]:
        began = time.monotonic()
        child: subprocess.Popen[bytes] | None = None
        if work.command is not None:
            child = subprocess.Popen(work.command(folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
            number = child.pid
        elif (number := os.fork()) == 0:
            try:
                work.run(folder)
            except BaseException as error:
                print(repr(error), file=sys.stderr, flush=True)
                os._exit(1)
            os._exit(0)
        if kill_after is not None:
            time.sleep(kill_after)
            os.kill(number, signal.SIGKILL)
        if child is None:
            return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1]), time.monotonic() - began
        child.communicate()
        return child.returncode, time.monotonic() - began

    whole = place / "whole"
    whole.mkdir(parents=True)
    code, duration = finish(whole)
    assert code == 0, f"{name}: exit code {code}"
    expected = digests(work.results(whole), whole)
    for number in range(count):
        folder = place / f"run{number}"
        folder.mkdir()
        moment = chance.uniform(0.02, 0.98) * duration
        code, _ = finish(folder, moment)
        outcomes["killed" if code == -signal.SIGKILL else "ended before"] += 1
        code, _ = finish(folder)
        assert code == 0, f"{name} killed after {moment:.2f} s: exit code {code}"
        assert digests(work.results(folder), folder) == expected, f"{name} killed after {moment:.2f} s: another result"
        outcomes["same bytes"] += 1
        tell(f"{name} {number}: killed after {moment:.2f} of {duration:.2f} s, same bytes")
        shutil.rmtree(folder)
    return outcomes


def main() -> None:
    """Read the options, disturb each kind of run, write results/disturbed_runs.json."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("how", choices=("damage", "kill"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs="+", choices=tuple(WORKS))
    options = parser.parse_args()
    disturb = damage_at_random if options.how == "damage" else kill_at_random
    works = options.work or [name for name in WORKS if options.how == "damage" or name != "evaluate"]
    count = options.count or (200 if options.how == "damage" else 20)
    figures = figures_of(f"disturbed_runs_{options.how}")  # kinds of runs that are not asked for stay
    for number, name in enumerate(works):
        share = count // len(works) + (number < count % len(works))
        with tempfile.TemporaryDirectory(prefix="posegen-disturbed-") as folder:
            figures[name] = dict(disturb(name, Path(folder), share, options.seed))
    write_result(f"disturbed_runs_{options.how}", figures)


if __name__ == "__main__":
    main()
