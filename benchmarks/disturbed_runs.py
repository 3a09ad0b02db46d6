"""Damages kept files, or kills runs, at random moments, and compares what comes out with an undisturbed run.

    python benchmarks/disturbed_runs.py damage [--count 200] [--seed 0] [--work generate extract train prepare evaluate]
    python benchmarks/disturbed_runs.py kill [--count 20] [--seed 0] [--work extract generate prepare train]

Damage: the folder that an interrupted run left is copied, one kept file gets a flipped bit, is emptied, cut, exchanged
with another one or removed, and the same command runs again; `--count` trials in all, and kinds of files take turns, so
that none is missed because another has more files. The result must have the same bytes, or the command must end with
exit code 2 and one line. Kill: SIGKILL at a random moment, then the same command; `--count` kills of each command.

Each trial is a process of its own, forked from one that has imported everything, and is kept in
results/disturbed_runs/, so that a run that was cut off resumes, and several add up to results/disturbed_runs_*.json.
Inputs and undisturbed results are kept in `--folder`. Trials with a fault are repeated once the code has changed.
"""

import argparse
import contextlib
import hashlib
import json
import random
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path

import posegen
from limited_child import Ended, run_limited
from results_file import RESULTS, write_result
from warm_start import digest_of_source, load, run_posegen

DEMO = Path(posegen.__file__).parent / "demo"
DAMAGES = ("bit", "bit", "bit", "empty", "half", "exchanged", "missing")
SECONDS, MEMORY = 300.0, 20_000_000_000
"""Limits of a trial; memory counts what the processes of Ray share several times."""
_IGNORED = {"lock", ".prepare.lock", "videos.json"}
"""Locks, and the list of inputs, from which nothing is computed."""
_MODEL = {"segment_length": 17, "head": 5, "tail": 4}
_SAID = re.compile(r"again|damaged|is not used|used as it is now|cannot be", re.IGNORECASE)


@dataclass(frozen=True)
class Work:
    """A command. command: its arguments, which write into a folder; results: files that must be the same;
    kept: those that may be damaged; interrupt: leaves a folder that can be resumed, by default the whole run."""

    command: Callable[[Path], list[object]]
    results: Callable[[Path], list[Path]]
    kept: Callable[[Path], list[Path]]
    interrupt: Callable[[Path], None] | None = None
    instead: Callable[[Path, Path], list[Path]] = lambda folder, path: []
    """Files that would be read instead of a damaged one; they are removed, as if the run had not got so far."""


@dataclass(frozen=True)
class Trial:
    """Result of one trial. about: the file and its damage, or the moment of the kill; said: lines about it."""

    how: str
    work: str
    seed: int
    number: int
    about: str
    kind: str
    outcome: str
    seconds: float
    source: str
    said: list[str] = field(default_factory=list)
    fault: str = ""

    @property
    def key(self) -> tuple[str, int, int]:
        """Key that tells trials of one kind apart."""
        return self.work, self.seed, self.number


def dance(path: Path, seconds: float, start: float = 0.0) -> None:
    """A part of the demo's driving video, small."""
    import cv2

    from posegen.media.video import VideoWriter, iterate_frames

    path.parent.mkdir(parents=True, exist_ok=True)
    with VideoWriter(path, Fraction(16), size=(192, 112)) as writer:
        for frame in iterate_frames(DEMO / "driving.mp4", Fraction(16), start, start + seconds):
            writer.write(cv2.resize(frame, (112, 192), interpolation=cv2.INTER_AREA))


def small_model(folder: Path, **settings: int) -> str:
    """A model with the mini's layers, a sixth of its width, and random weights."""
    import torch

    from posegen.model.autoencoder import AutoencoderLightVideo
    from posegen.model.mini import build_mini

    torch.manual_seed(0)
    model = build_mini(heads=1)
    model.register_modules(vae=AutoencoderLightVideo(32, encoder_channels=[8, 16, 16], decoder_channels=[16, 16, 8]))
    model.register_to_config(trained=True, **settings)
    model.save_pretrained(folder)
    return str(folder)


def files_in(folder: Path) -> list[Path]:
    """All files below a folder that hold something a run uses."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in _IGNORED)


def _generate(inputs: Path) -> Work:
    """`generate` with conditions, retargeting and background sharing of its own: three segments."""

    def command(folder: Path) -> list[object]:
        return [
            "generate", "--reference", DEMO / "reference.png", "--driving", inputs / "driving.mp4", "--model",
            inputs / "model", "--output", folder / "result.mp4", "--size", "96x64", "--steps", 1, "--dtype", "float32",
            "--guidance", 1.0, "--sharing-store", "disk", "--save-masks",
        ]  # fmt: skip

    def interrupt(folder: Path) -> None:
        from posegen.apps.cli import parse
        from posegen.generate.long_video import generate_video

        config = parse([str(argument) for argument in command(folder)])
        with contextlib.suppress(KeyboardInterrupt):
            generate_video(config, _stop_after("segment", 2))  # type: ignore[arg-type]

    return Work(
        command,
        lambda folder: [folder / "result.mp4"],
        lambda folder: files_in(folder / "result.posegen"),
        interrupt,
    )


def _extract(inputs: Path) -> Work:
    """`extract`; its folder is the user's, so what was changed in it and can be read is kept on purpose."""

    def results(folder: Path) -> list[Path]:
        return [folder / "conditions" / name for name in ("keypoints.npz", "skeleton.mkv", "hands.mkv")]

    return Work(
        lambda folder: ["extract", "--driving", inputs / "short.mp4", "--output", folder / "conditions", "--size",
                        "96x64"],
        results,
        lambda folder: [*results(folder), folder / "conditions" / "manifest.json"],
    )  # fmt: skip


def _train(inputs: Path) -> Work:
    """`train base` from encoding clips to the finished model."""

    def command(folder: Path) -> list[object]:
        return ["train", "base", "--recipe", inputs / "train.toml", "--output", folder / "run", "--data",
                inputs / "shards", "--validation", inputs / "shards", "--cache", folder / "cache"]  # fmt: skip

    def interrupt(folder: Path) -> None:
        from posegen.train.train_recipe import read_recipe
        from posegen.train.training import TrainingPaths, train

        shards = inputs / "shards"
        places = TrainingPaths(folder / "run", shards, shards, folder / "cache", None)
        with contextlib.suppress(KeyboardInterrupt):
            train("base", read_recipe(inputs / "train.toml"), places, _stop_after("train", 5))

    return Work(
        command,
        lambda folder: sorted((folder / "run" / "base" / "model").rglob("*.safetensors")),
        lambda folder: [path for path in files_in(folder) if "checkpoints" in path.parts or "cache" in path.parts],
        interrupt,
        lambda folder, path: _later_checkpoints(folder, path) if path.parent.name.startswith("step-") else [],
    )


def _later_checkpoints(folder: Path, path: Path) -> list[Path]:
    steps = (folder / "run" / "base" / "checkpoints").glob("step-*/*")
    return [each for each in steps if each.parent.name > path.parent.name]


def _prepare(inputs: Path) -> Work:
    """`prepare` from two videos to shards."""
    return Work(
        lambda folder: ["prepare", inputs / "videos", "--output", folder / "out", "--recipe", inputs / "prepare.toml"],
        lambda folder: [*(folder / "out").glob("*.tar"), folder / "out" / "index.parquet"],
        lambda folder: files_in(folder / "out" / "work") + sorted((folder / "out").glob("*.tar")),
    )


def _evaluate(inputs: Path) -> Work:
    """`evaluate` of one video against another: cached keypoints and scores."""
    return Work(
        lambda folder: ["evaluate", "--benchmark", inputs / "benchmark.yaml", "--methods", f"made={inputs / 'made'}",
                        "--output", folder / "out", "--cache", folder / "cache", "--no-videos"],
        lambda folder: [folder / "out" / "scores.csv", folder / "out" / "clips.csv"],
        lambda folder: files_in(folder / "cache"),
        None,
        lambda folder, path: [
            each for each in files_in(folder / "cache")
            if path.name.startswith("pose-") and not each.name.startswith("pose-")
        ],
    )  # fmt: skip


WORKS: dict[str, Callable[[Path], Work]] = {
    "generate": _generate, "extract": _extract, "train": _train, "prepare": _prepare, "evaluate": _evaluate,
}  # fmt: skip
_SHARES = {"prepare": 0.5}
"""Of the trials, where others have 1: one of `prepare` takes ten times as long."""
KILLED = ("extract", "generate", "prepare", "train")
TRAIN = """
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


def make_inputs(name: str, inputs: Path) -> None:
    """Make the inputs of a command."""
    import yaml

    if name == "generate":
        dance(inputs / "driving.mp4", 2.6)
        small_model(inputs / "model", **_MODEL)
    elif name == "extract":
        dance(inputs / "short.mp4", 1.0)
    elif name == "train":
        from tiny_shards import write_shards  # type: ignore[import-not-found]

        write_shards(inputs / "shards", "train")
        write_shards(inputs / "shards", "val-same", shards=1)
        (inputs / "train.toml").write_text(TRAIN.format(model=small_model(inputs / "model")))
    elif name == "prepare":
        for number in range(2):
            dance(inputs / "videos" / f"{number}.mp4", 1.4, 3.0 * number)
        (inputs / "prepare.toml").write_text(PREPARE)
    else:
        dance(inputs / "truth" / "a.mp4", 0.5)
        dance(inputs / "made" / "a.mp4", 0.5, 0.2)
        clip = {"name": "a", "reference": str(DEMO / "reference.png"), "truth": str(inputs / "truth" / "a.mp4")}
        (inputs / "benchmark.yaml").write_text(yaml.safe_dump({"name": "tiny", "clips": [clip]}))


def _stop_after(name: str, updates: int) -> object:
    """Progress that interrupts a run after so many updates of a task whose name begins with `name`."""
    from posegen.progress import Silent

    class StopAfter(Silent):
        left = updates

        def update(self, task: str, done: int, total: int) -> None:
            self.left -= task.startswith(name)
            if self.left < 0:
                raise KeyboardInterrupt

    return StopAfter()


class Watch:
    """Looks at a folder in which a command runs: `times` has, for each time that files appear, the seconds and how many
    have been there so far. Files that are being written, under other names, do not count.

    kill_at: how many files must have been there, and the seconds after that; None: never.
    """

    def __init__(self, folder: Path, kill_at: tuple[int, float] | None = None) -> None:
        self._folder, self._kill_at, self._seen = folder, kill_at, set[str]()
        self.times: list[tuple[float, int]] = [(0.0, 0)]

    def __call__(self, seconds: float) -> bool:
        """Look; whether the moment has come."""
        before = len(self._seen)
        with contextlib.suppress(OSError):  # a folder goes while it is looked through
            for path in self._folder.rglob("*"):
                if path.is_file() and not path.name.startswith(".") and ".part" not in str(path):
                    self._seen.add(str(path))
        if len(self._seen) > before:
            self.times.append((seconds, len(self._seen)))
        if self._kill_at is None:
            return False
        count, pause = self._kill_at
        return any(number >= count and seconds >= since + pause for since, number in self.times)


def random_moment(times: list[tuple[float, int]], end: float, chance: random.Random) -> tuple[int, float]:
    """A moment of a run as `Watch` takes it: any second, or any time between two files, each as likely as the other.

    Counted from files, not from the start, it is the same moment on a machine that has become slower.
    """
    spans = [(since, until, number) for (since, number), (until, _) in zip(times, [*times[1:], (end, 0)], strict=True)]
    by_time = chance.random() < 0.5
    since, until, number = chance.choices(spans, [until - since if by_time else 1 for since, until, _ in spans])[0]
    return number, chance.random() * (until - since)


class Place:
    """A work's folder: inputs, the folder in which it runs each time, and what undisturbed runs left there."""

    def __init__(self, name: str, folder: Path, source: str) -> None:
        self.work = WORKS[name](folder / "inputs")
        self.run, self._folder, self._name = folder / "run", folder, name
        self.whole, self.interrupted = folder / "whole", folder / "interrupted"
        mark = folder / "made.json"
        if not mark.exists() or json.loads(mark.read_text())["source"] != source:
            mark.unlink(missing_ok=True)
            self._make(mark, source)
        made = json.loads(mark.read_text())
        self.times, self.duration = [(float(since), int(number)) for since, number in made["times"]], made["seconds"]
        self.expected = digests(self.work.results(self.whole), self.whole)

    def _make(self, mark: Path, source: str) -> None:
        self.empty()
        self._folder.mkdir(parents=True, exist_ok=True)
        inputs = self._folder / "inputs"
        if not (inputs / "made").exists():
            shutil.rmtree(inputs, ignore_errors=True)
            inputs.mkdir()
            self._check(self._child(partial(make_inputs, self._name, inputs)))
            (inputs / "made").touch()
        watch = Watch(self.run)
        ended = self.again(watch)
        self._check(ended)
        self._keep(self.whole)
        if self.work.interrupt is not None:
            self.empty()
            self._check(self._child(partial(self.work.interrupt, self.run)))
        self._keep(self.interrupted)
        mark.write_text(json.dumps({"source": source, "seconds": max(ended.seconds, watch.times[-1][0]),
                                    "times": watch.times}))  # fmt: skip

    def _check(self, ended: Ended) -> None:
        if ended.code != 0:
            raise RuntimeError(f"{self._name}, undisturbed, ended with {ended.code}: {ended.stderr[-2000:]}")

    def _keep(self, folder: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.run, folder)

    def empty(self) -> None:
        """Begin anew."""
        shutil.rmtree(self.run, ignore_errors=True)
        self.run.mkdir(parents=True)

    def take_up(self) -> None:
        """Restore what the interrupted run left, without results that are not kept files."""
        shutil.rmtree(self.run, ignore_errors=True)
        shutil.copytree(self.interrupted, self.run)
        for path in set(self.work.results(self.run)) - set(self.work.kept(self.run)):
            path.unlink(missing_ok=True)

    def _child(self, run: Callable[[], object], kill_when: Watch | None = None) -> Ended:
        streams = self._folder / "streams"
        streams.mkdir(exist_ok=True)
        return run_limited(run, streams, SECONDS, MEMORY, kill_when)

    def again(self, kill_when: Watch | None = None) -> Ended:
        """Run the command."""
        return self._child(partial(run_posegen, *self.work.command(self.run)), kill_when)

    def is_same(self) -> bool:
        """Return whether the results are those of an undisturbed run."""
        try:
            return digests(self.work.results(self.run), self.run) == self.expected
        except OSError:
            return False


def digests(paths: list[Path], folder: Path) -> dict[str, str]:
    """Names and hashes; of safetensors those of the tensors, since the library writes descriptions in random order."""
    return {str(path.relative_to(folder)): _content_hash(path) for path in sorted(paths)}


def _content_hash(path: Path) -> str:
    if path.suffix != ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    from safetensors.numpy import load_file

    content = hashlib.sha256()
    for name, tensor in sorted(load_file(path).items()):
        content.update(f"{name} {tensor.dtype} {tensor.shape} ".encode() + tensor.tobytes())
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


def fault_of(ended: Ended) -> str:
    """Faults of the end of a command, apart from its results."""
    said = ended.stdout + ended.stderr
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    if ended.stopped:
        return f"over the limit of {ended.stopped}"
    if "Traceback (most recent call last)" in said or "the traceback is in" in said:
        return "traceback"
    if ended.code not in (0, 2):
        return f"exit code {ended.code}"
    if ended.code == 2 and [line for line in lines if line.startswith("posegen: ")] != lines[-1:]:
        return "not one line"
    return ""


def lines_about(ended: Ended, path: Path, place: Place) -> list[str]:
    """Lines of a run about a file that was damaged."""
    found = [line for line in ended.stderr.splitlines() if path.name in line or _SAID.search(line)]
    return [line.replace(str(place.run), "")[:300] for line in found[-4:]]


def damaged(name: str, place: Place, number: int, seed: int, source: str) -> Trial:
    """Damage one file, and run the command again."""
    chance = random.Random(f"{seed} {name} {number}")
    place.take_up()
    kept = place.work.kept(place.run)
    kinds = sorted({kind_of(path) for path in kept})
    random.Random(f"{seed} {name}").shuffle(kinds)
    kind = kinds[number % len(kinds)]
    path = chance.choice([each for each in kept if kind_of(each) == kind])
    for each in place.work.instead(place.run, path):
        each.unlink()
        kept.remove(each)
        with contextlib.suppress(OSError):
            each.parent.rmdir()  # only where nothing is left in it
    about = f"{path.relative_to(place.run)}: {damage(path, chance.choice(DAMAGES), kept, chance)}"
    ended = place.again()
    said, fault, same = lines_about(ended, path, place), fault_of(ended), place.is_same()
    outcome = "same bytes, and said" if said else "same bytes"
    if ended.code == 2 and not fault:
        second = place.again()
        fault, outcome = fault_of(second), "refused in one line"
        if second.code == 0 and not fault:
            outcome += ", then the same bytes"
            fault = "" if place.is_same() else "another result"
    elif not fault and not same:
        edited = name == "extract" and any("used as it is now" in line for line in said)
        outcome, fault = ("used as edited, and said", "") if edited else ("another result", "another result")
    outcome = fault or outcome
    return Trial("damage", name, seed, number, about, kind, outcome, round(ended.seconds, 2), source, said, fault)


def killed(name: str, place: Place, number: int, seed: int, source: str) -> Trial:
    """Kill a run, and run the command again."""
    moment = random_moment(place.times, place.duration, random.Random(f"{seed} {name} {number}"))
    place.empty()
    first = place.again(Watch(place.run, moment))
    there = [path for path in place.run.rglob("*") if path.is_file()]
    newest = max(there, key=lambda path: path.stat().st_mtime_ns, default=None)
    kind = kind_of(newest.relative_to(place.run)) if newest else "nothing yet"
    about = f"{moment[1]:.2f} s after file {moment[0]} of {place.times[-1][1]}, {len(there)} files there"
    if first.code != -9:
        outcome, fault, said = "ended before", fault_of(first), []
    else:
        ended = place.again()
        fault = fault_of(ended) or ("" if ended.code == 0 else f"exit code {ended.code}")
        fault = fault or ("" if place.is_same() else "another result")
        outcome, said = "same bytes", ended.stderr.splitlines()[-3:] if fault else []
    outcome = fault or outcome
    return Trial("kill", name, seed, number, about, kind, outcome, round(first.seconds, 2), source, said, fault)


class Trials:
    """All trials of a kind, each a line of a file that grows; the last of those with one number counts."""

    def __init__(self, how: str) -> None:
        self.how, self._path = how, RESULTS / "disturbed_runs" / f"{how}.jsonl"
        lines = self._path.read_text().splitlines() if self._path.exists() else []
        self.found = {trial.key: trial for line in lines if (trial := Trial(**json.loads(line)))}

    def is_done(self, work: str, seed: int, number: int, source: str) -> bool:
        """Return whether a trial need not run: it ran without a fault, or with this code."""
        trial = self.found.get((work, seed, number))
        return trial is not None and (not trial.fault or trial.source == source)

    def add(self, trial: Trial) -> None:
        """Keep a trial."""
        self.found[trial.key] = trial
        self._path.parent.mkdir(exist_ok=True)
        with self._path.open("a") as log:
            log.write(json.dumps(asdict(trial)) + "\n")

    def figures(self, source: str) -> dict[str, object]:
        """Counts by command and outcome, and all that is wrong."""
        trials = list(self.found.values())
        by_work: dict[str, object] = {}
        for name in WORKS:
            mine = [trial for trial in trials if trial.work == name]
            if mine:
                counts = Counter(trial.outcome for trial in mine)
                by_work[name] = {"trials": len(mine), "kinds of files": len({trial.kind for trial in mine}), **counts}
        return {
            "trials": len(trials),
            "trials_with_this_code": sum(trial.source == source for trial in trials),
            "outcomes": dict(Counter(trial.outcome for trial in trials).most_common()),
            "by_work": by_work,
            "wrong": [asdict(trial) for trial in trials if trial.fault],
        }


def wanted(how: str, works: list[str], count: int, seed: int, trials: Trials) -> Iterator[tuple[str, int]]:
    """Works and numbers of trials, the works in turn. Kills that came too late are replaced."""
    if how == "kill":
        share = dict.fromkeys(works, count)
    else:
        weight = sum(_SHARES.get(name, 1) for name in works)
        share = {name: int(count * _SHARES.get(name, 1) / weight) for name in works}
        for name in works[: count - sum(share.values())]:
            share[name] += 1
    number = 0
    while any(share.values()):
        for name in works:
            if share[name]:
                yield name, number
                trial = trials.found.get((name, seed, number))
                share[name] -= trial is None or trial.outcome != "ended before"
        number += 1


def main() -> None:
    """Read the options, run the trials that are missing, write the result after each."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("how", choices=("damage", "kill"))
    parser.add_argument("--count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", nargs="+", choices=tuple(WORKS))
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "posegen-disturbed-runs")
    options = parser.parse_args()
    works = options.work or list(KILLED if options.how == "kill" else WORKS)
    count = options.count or (200 if options.how == "damage" else 20)
    load()
    source, trials, places = digest_of_source(), Trials(options.how), dict[str, Place]()
    disturb = damaged if options.how == "damage" else killed
    for name, number in wanted(options.how, works, count, options.seed, trials):
        if not trials.is_done(name, options.seed, number, source):
            if name not in places:
                places[name] = Place(name, options.folder.resolve() / name, source)
            trial = disturb(name, places[name], number, options.seed, source)
            trials.add(trial)
            write_result(f"disturbed_runs_{options.how}", trials.figures(source), show=False)
            mark = " !!" if trial.fault else ""
            print(f"{name} {number}: {trial.about}: {trial.outcome}, {trial.seconds} s{mark} {trial.said}", flush=True)
    write_result(f"disturbed_runs_{options.how}", trials.figures(source))


if __name__ == "__main__":
    main()
