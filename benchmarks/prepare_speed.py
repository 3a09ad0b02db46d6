"""How fast raw video is looked through, judged and made into samples, how two workers compare to one, and what memory
it takes.

    python benchmarks/prepare_speed.py [--video FILE] [--seconds 20]

The video (by default the demo's person, enlarged to 720 lines) is written as H.264 at 1280x720 or 720x1280, 24 frames a
second, and goes through the stages' own functions in one process. Speed is seconds of video per second of *processor
time* of that process and its threads, so that other work on the machine hardly changes it; "filters" is looking and
scoring together. Two workers are two processes at once, compared with one by the time on the clock: only on an idle
machine does that tell anything, so the machine's load is beside it, and the same comparison of two processes that only
multiply small matrices, each on one thread: what the machine itself allows. The best of three. Memory is the highest
resident size of the isolated process, for videos of different length and for different numbers of videos.
"""

import argparse
import contextlib
import functools
import os
import subprocess
import sys
import tempfile
import threading
import time
from itertools import cycle, islice
from pathlib import Path

import cv2
import numpy as np
import psutil

import posegen
from posegen.data.prepare.isolated import Isolated
from posegen.data.prepare.recipe import ClipSettings, PrepareRecipe
from posegen.data.prepare.stages import Work, default_scorer, make_functions, make_in_worker
from posegen.data.prepare.store import Store
from posegen.media.video import VideoWriter, iterate_frames
from results_file import write_result

FPS = 24
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
    recipe = PrepareRecipe(clips=ClipSettings(size=(832, 480), most_cropped=0.9, most_enlarged=2.0))
    return Work(recipe, Store(str(folder)), default_scorer)


def speeds(video: Path, folder: Path, seconds: float) -> dict[str, float]:
    """Seconds of video per second of processor time, by stage."""
    call = make_functions(work_in(folder))
    windows = call(("look", video))["windows"]
    call(("score", video, windows[0]["start"], windows[0]["end"], []))  # models are loaded
    cost, length = {}, sum(window["end"] - window["start"] for window in windows)
    begin = time.process_time()
    call(("look", video))
    cost["look"] = (time.process_time() - begin) / seconds
    begin = time.process_time()
    for window in windows:
        call(("score", video, window["start"], window["end"], []))
    cost["score"] = (time.process_time() - begin) / length
    first = windows[0]
    call(("sample", video, "warm", "warm", first["start"], first["end"]))
    begin = time.process_time()
    call(("sample", video, "key", "url", first["start"], first["end"]))
    cost["sample"] = (time.process_time() - begin) / (first["end"] - first["start"])
    cost["filters"] = cost["look"] + cost["score"]
    return {name: round(1 / value, 2) for name, value in cost.items()}


def score_alone(video: Path, folder: Path) -> None:
    """What one of several workers does; says when it begins and when it is over."""
    call = make_in_worker(work_in(folder))
    windows = call(("look", video))["windows"]
    call(("score", video, windows[0]["start"], windows[0]["end"], []))
    print("ready", flush=True)
    sys.stdin.readline()
    for window in windows:
        call(("score", video, window["start"], window["end"], []))
    call(("look", video))
    print("done", flush=True)


def multiply_alone() -> None:
    """A worker that shares nothing with others but the machine."""
    matrix = np.random.default_rng(0).random((400, 400), np.float32)
    print("ready", flush=True)
    sys.stdin.readline()
    for _ in range(1500):
        matrix = matrix @ matrix
        matrix /= matrix.max()
    print("done", flush=True)


def clock(workers: int, *kind: str) -> float:
    """Seconds on the clock until so many workers have each done their work."""
    one = [sys.executable, __file__, *kind]
    running = [subprocess.Popen(one, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(workers)]
    for worker in running:
        worker.stdout.readline()
    begin = time.monotonic()
    for worker in running:
        worker.stdin.write("go\n")
        worker.stdin.flush()
    for worker in running:
        worker.stdout.readline()
    seconds = time.monotonic() - begin
    for worker in running:
        worker.communicate()
    return seconds


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
    for video in videos:
        for window in isolated(("look", video), 10)["windows"]:
            isolated(("score", video, window["start"], window["end"], []))
    over.set()
    isolated.close()
    return round(peak[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--video", type=Path, default=DEMO)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--worker", nargs=2, type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--control", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if arguments.worker:
        score_alone(*arguments.worker)
        return
    if arguments.control:
        multiply_alone()
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video = film(arguments.video, folder / "video.mp4", arguments.seconds)
        long = film(arguments.video, folder / "long.mp4", 4 * arguments.seconds)
        figures: dict[str, object] = {"real_time_per_core": speeds(video, folder, arguments.seconds)}
        load = os.getloadavg()[0]
        faster = {
            name: round(2 * min(clock(1, *kind) for _ in range(3)) / min(clock(2, *kind) for _ in range(3)), 2)
            for name, kind in (("times_faster", ("--worker", str(video), str(folder))), ("control", ("--control",)))
        }
        figures["one_to_two_workers"] = {**faster, "load_of_the_machine": round(load, 1)}
        figures["peak_memory_mb"] = {
            f"one video of {arguments.seconds:g} s": memory([video], folder),
            f"four videos of {arguments.seconds:g} s": memory([video] * 4, folder),
            f"one video of {4 * arguments.seconds:g} s": memory([long], folder),
        }
        write_result("prepare_speed", figures)


if __name__ == "__main__":
    main()
