"""Measure speed and memory of looking, scoring and sampling raw video, and of two workers against one.

    python benchmarks/prepare_speed.py [--only speed workers memory] [--patience 600] [--video FILE] [--seconds 20.25]

The video (by default the demo's person, enlarged to 720 lines) is written as H.264 at 1280x720 or 720x1280, 24 frames a
second, and goes through the stages' own functions in one process. Speed is seconds of video per second of *processor
time* of that process and its threads, so that other work on the machine hardly changes it; "filters" is looking and
scoring in one pass, as is done with many videos, "look" and "score" are one after the other, as with few.

Two workers are two processes at once, compared with one by the time on the clock, which tells something only where
nobody else computes. So each comparison waits until others use less than 0.2 of a core (`--patience` seconds at most),
and counts only if they did not use more while it ran; without three such comparisons there is no figure, and it says
how busy the others were. Beside it stands the same for two processes that only multiply small matrices ("control"), and
for two that only copy large ones ("control of memory"): what cores and memory of the machine allow. "processor time" is
how much more of it each of two workers takes than one alone: what is lost to shared caches and memory, not to waiting.
Memory is the highest resident size of the isolated process, for videos of different length and different numbers of
videos. With `--only`, the other figures stay what they are in the result file.
"""

import argparse
import contextlib
import datetime
import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import psutil

import posegen
from posegen.media.video import VideoWriter, iterate_frames
from posegen.prepare.cores import one_core
from posegen.prepare.isolated import Isolated
from posegen.prepare.prepare_recipe import ClipSettings, PrepareRecipe
from posegen.prepare.stages.messages import LookAndScore, LookThrough, MakeSample, ScoreClip
from posegen.prepare.stages.stage_work import CLIPS_PER_TASK, Work, default_scorer
from posegen.prepare.stages.worker_calls import make_functions, make_in_worker
from posegen.prepare.store import Store
from results_file import figures_of, write_result

FPS = 24
PARTS = ("speed", "workers", "memory")
QUIET = 0.2
"""Cores that others may use while workers are compared."""
REPEATS = 3
DEMO = Path(posegen.__file__).parent / "demo" / "driving.mp4"


def film(source: Path, target: Path, seconds: float) -> Path:
    """The video at 720 lines, there and back again until it is as long as wanted."""
    frames = list(iterate_frames(source, FPS))
    height, width = frames[0].shape[:2]
    scale = 720 / min(height, width)
    size = (round(height * scale / 2) * 2, round(width * scale / 2) * 2)
    with VideoWriter(target, FPS, size=size, crf=20) as writer:
        for frame in islice(cycle(frames + frames[::-1]), round(seconds * FPS)):
            writer.write(cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_CUBIC))
    return target


def work_in(folder: Path) -> Work:
    recipe = PrepareRecipe(clips=ClipSettings(sizes=((832, 480),), most_cropped=0.9, most_enlarged=2.0))
    return Work(recipe, Store(str(folder)), default_scorer, together=CLIPS_PER_TASK)


def speeds(video: Path, folder: Path, seconds: float) -> dict[str, float]:
    """Seconds of video per second of processor time, by stage."""
    call = make_functions(work_in(folder))
    windows = call(LookThrough(video)).windows
    call(ScoreClip(video, windows[0].start, windows[0].end))  # models are loaded
    cost, length = {}, sum(window.end - window.start for window in windows)
    begin = time.process_time()
    call(LookThrough(video))
    cost["look"] = (time.process_time() - begin) / seconds
    begin = time.process_time()
    for window in windows:
        call(ScoreClip(video, window.start, window.end))
    cost["score"] = (time.process_time() - begin) / length
    begin = time.process_time()
    call(LookAndScore(video, "video"))
    cost["filters"] = (time.process_time() - begin) / length
    first = windows[0]
    call(MakeSample(video, "warm", "warm", first.start, first.end))
    begin = time.process_time()
    call(MakeSample(video, "key", "url", first.start, first.end))
    cost["sample"] = (time.process_time() - begin) / (first.end - first.start)
    return {name: round(1 / value, 2) for name, value in cost.items()}


def score_alone(video: Path, folder: Path) -> None:
    """Do the work of one of several workers; print when it begins, and what it took at the end."""
    call = make_in_worker(work_in(folder))
    windows = call(LookThrough(video)).windows
    call(ScoreClip(video, windows[0].start, windows[0].end))
    with told_to_go():
        call(LookAndScore(video, f"video{os.getpid()}"))


def multiply_alone() -> None:
    """A worker that shares nothing with others but the machine."""
    matrix = np.random.default_rng(0).random((400, 400), np.float32)
    with one_core(), told_to_go():
        for _ in range(3000):
            matrix = matrix @ matrix
            matrix /= matrix.max()


def copy_alone() -> None:
    """A worker that needs memory more than a core, as pictures do that do not fit into a cache."""
    picture = np.ones((720, 1280, 30), np.float32)
    target = np.empty_like(picture)
    with one_core(), told_to_go():
        for _ in range(150):
            np.copyto(target, picture)


@contextlib.contextmanager
def told_to_go() -> Iterator[None]:
    """Waits until all are ready, and says what the work took."""
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.process_time()
    yield
    print(time.process_time() - begin, flush=True)


@dataclass(frozen=True)
class Clocked:
    """Workers at work: seconds on the clock, processor time of each, and how many cores others used meanwhile."""

    seconds: float
    each: float
    others: float


def clock(workers: int, *kind: str) -> Clocked:
    """Let so many workers each do their work."""
    one = [sys.executable, __file__, *kind]
    running = [subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    for worker in running:
        worker.stdout.readline()
    begin, busy = time.monotonic(), busy_seconds()
    for worker in running:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    taken = [float(worker.stdout.readline()) for worker in running]
    seconds, busy = time.monotonic() - begin, busy_seconds() - busy
    for worker in running:
        worker.communicate()
    return Clocked(seconds, sum(taken) / workers, max(0.0, busy - sum(taken)) / seconds)


def busy_seconds() -> float:
    """Processor time that has been used on this machine, by whomever, also by its neighbours on the same hardware."""
    times = psutil.cpu_times()
    return times.user + times.system + times.nice + getattr(times, "irq", 0) + getattr(times, "softirq", 0) + getattr(
        times, "steal", 0)  # fmt: skip


def others_now(seconds: float = 3.0) -> float:
    """Cores that are in use while this process waits."""
    begin, busy = time.monotonic(), busy_seconds()
    time.sleep(seconds)
    return (busy_seconds() - busy) / (time.monotonic() - begin)


def two_over_one(kind: tuple[str, ...], until: float) -> dict[str, object]:
    """Compare two workers with one: the best of those runs during which the machine was quiet."""
    quiet: dict[int, list[Clocked]] = {1: [], 2: []}
    loads = []
    while min(map(len, quiet.values())) < REPEATS:
        workers = 1 if len(quiet[1]) <= len(quiet[2]) else 2
        load = others_now()
        if load <= QUIET:
            run = clock(workers, *kind)
            load = run.others
            if load <= QUIET:
                quiet[workers].append(run)
        loads.append(load)
        if load > QUIET and time.monotonic() > until:
            return {"not measured": f"others used {min(loads):.1f} to {max(loads):.1f} cores; at most {QUIET} may be"}
    one, two = (min(quiet[number], key=lambda run: run.seconds) for number in (1, 2))
    return {
        "times_faster": round(2 * one.seconds / two.seconds, 2),
        "processor time": round(two.each / one.each, 2),
        "cores used by others": round(max(run.others for runs in quiet.values() for run in runs), 2),
    }


def memory(videos: list[Path], folder: Path) -> float:
    """Highest resident size, MB, of the isolated process that looks through videos and scores their clips."""
    isolated = Isolated(functools.partial(make_functions, work_in(folder)), 600.0, 8e9)
    peak, over = [0.0], threading.Event()

    def watch() -> None:
        while not over.wait(0.05):
            for child in psutil.Process().children():
                with contextlib.suppress(psutil.Error):
                    peak[0] = max(peak[0], child.memory_info().rss / 1e6)

    threading.Thread(target=watch, daemon=True).start()
    for number, video in enumerate(videos):
        isolated(LookAndScore(video, f"video{number}"), 10)
    over.set()
    isolated.close()
    return round(peak[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, default=DEMO)
    parser.add_argument("--seconds", type=float, default=20.25)  # four clips
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--control", choices=CONTROLS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"  # as Ray does for its workers
    if arguments.worker:
        score_alone(*arguments.worker)
        return
    if arguments.control:
        CONTROLS[arguments.control]()
        return
    figures: dict[str, object] = figures_of("prepare_speed") if set(arguments.only) != set(PARTS) else {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = film(arguments.video, folder / "video.mp4", arguments.seconds)
        if "speed" in arguments.only:
            figures["real_time_per_core"] = speeds(video, folder, arguments.seconds)
        if "workers" in arguments.only:
            until = time.monotonic() + arguments.patience
            kinds = {"filters": ("--worker", str(video), str(folder))}
            kinds |= {name: ("--control", name) for name in CONTROLS}
            figures["one_to_two_workers"] = {name: two_over_one(kind, until) for name, kind in kinds.items()}
        if "memory" in arguments.only:
            long = film(arguments.video, folder / "long.mp4", 4 * arguments.seconds)
            figures["peak_memory_mb"] = {
                f"one video of {arguments.seconds:g} s": memory([video], folder),
                f"four videos of {arguments.seconds:g} s": memory([video] * 4, folder),
                f"one video of {4 * arguments.seconds:g} s": memory([long], folder),
            }
        today = dict.fromkeys(arguments.only, datetime.date.today().isoformat())
        figures["measured"] = dict(figures.get("measured", {})) | today
        write_result("prepare_speed", figures)


CONTROLS = {"control": multiply_alone, "control of memory": copy_alone}


if __name__ == "__main__":
    main()
