"""Measure time and memory of `posegen evaluate` with the scores that need no weights of the user.

    python benchmarks/evaluate_speed.py [--pairs 13] [--methods 5] [--seconds 10] [--fps 30]

The target is 13 pairs x 5 methods x 10 s at 256 x 256 in under 20 minutes on 2 cores: scored frames (methods and, for
scores without ground truth, the true videos), the report with its videos included, nothing in the cache. With fewer
pairs the whole is estimated from what was measured, and the result says so. Videos: the bundled person, repeated, each
method with a distortion of its own. Memory: peaks of two processes, of which one scores a clip six times as long.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path

import cv2
import numpy as np

from posegen.config import EvaluateConfig
from posegen.evaluate.benchmark_file import write_benchmark
from posegen.evaluate.evaluation import evaluate
from posegen.evaluate.report.html_report import write_report
from posegen.media.image import write_image
from posegen.media.video import VideoWriter, iterate_frames
from posegen.progress import NullProgress
from results_file import write_result

SIDE = 256
TARGET_PAIRS, TARGET_METHODS, TARGET_SECONDS, TARGET_MINUTES = 13, 5, 10, 20


def make_inputs(folder: Path, pairs: int, methods: int, seconds: float, fps: int) -> EvaluateConfig:
    """A benchmark and results: method n is blurred by n / 2 pixels; pair n has colours shifted by 3 n."""
    with resources.as_file(resources.files("posegen") / "demo" / "driving.mp4") as path:
        frames = [cv2.resize(frame, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC) for frame in iterate_frames(path)]
    there_and_back = frames + frames[-2:0:-1]
    clips = []
    for pair in range(pairs):
        name = f"{pair:02d}"
        for method in range(methods + 1):
            kind = "truth" if method == 0 else f"method{method}"
            (folder / kind).mkdir(parents=True, exist_ok=True)
            with VideoWriter(folder / kind / f"{name}.mp4", fps, (SIDE, SIDE)) as writer:
                for frame in itertools.islice(itertools.cycle(there_and_back), round(seconds * fps)):
                    shifted = np.clip(frame.astype(np.int16) + 3 * pair, 0, 255).astype(np.uint8)
                    writer.write(shifted if method == 0 else cv2.GaussianBlur(shifted, (0, 0), method / 2))
        write_image(folder / f"{name}.png", frames[0])
        clips.append({"name": name, "reference": f"{name}.png", "truth": f"truth/{name}.mp4"})
    write_benchmark(folder / "benchmark.yaml", "speed", "", clips)
    named = tuple(f"method{number}={folder}/method{number}" for number in range(1, methods + 1))
    return EvaluateConfig(folder, named, folder / "report", cache=folder / "cache")


def run(folder: Path, pairs: int, methods: int, seconds: float, fps: int) -> dict[str, object]:
    """Score and write the report, and measure."""
    config = make_inputs(folder, pairs, methods, seconds, fps)
    begun, cpu_begun = time.perf_counter(), time.process_time()
    evaluation = evaluate(config, NullProgress())
    scored = time.perf_counter()
    write_report(evaluation, config, NullProgress())
    wall, cpu = time.perf_counter() - begun, time.process_time() - cpu_begun
    return {
        "pairs": pairs,
        "methods": methods,
        "seconds_of_each_video": seconds,
        "frames_per_second": fps,
        "scores": [score.name for score in evaluation.scores],
        "wall_seconds": round(wall, 1),
        "of_it_report": round(time.perf_counter() - scored, 1),
        "processor_seconds": round(cpu, 1),
        "load_average": os.getloadavg()[0],
        "peak_memory_mb": own_peak_memory(),
    }


def own_peak_memory() -> int:
    """MB of this process since it began (what `getrusage` says, a process inherits from the one that started it)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return round(int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024)


def peak_memory(seconds: float, fps: int) -> int:
    """Peak in MB of a process of its own that scores one clip of one method."""
    command = [sys.executable, __file__, "--only-memory", "--seconds", str(seconds), "--fps", str(fps)]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=TARGET_PAIRS)
    parser.add_argument("--methods", type=int, default=TARGET_METHODS)
    parser.add_argument("--seconds", type=float, default=TARGET_SECONDS)
    parser.add_argument("--fps", type=int, default=30)
    parser.add_argument("--only-memory", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.only_memory:
            print(run(Path(folder), 1, 1, arguments.seconds, arguments.fps)["peak_memory_mb"])
            return
        figures = run(Path(folder), arguments.pairs, arguments.methods, arguments.seconds, arguments.fps)
    videos = TARGET_PAIRS * (TARGET_METHODS + 1) * TARGET_SECONDS
    share = arguments.pairs * (arguments.methods + 1) * arguments.seconds / videos
    for kind in ("wall", "processor"):
        figures[f"whole_target_minutes_{kind}"] = round(float(str(figures[f"{kind}_seconds"])) / share / 60, 1)
    figures["share_of_the_target_measured"] = round(share, 3)
    figures["target_minutes"] = TARGET_MINUTES
    if share < 1:
        figures["note"] = (
            "the whole is estimated from the share; processor minutes are those of one core, shared by 2 cores; wall "
            "minutes count whatever else the machine was doing (load average above)"
        )
    figures["peak_memory_mb_of_one_clip"] = {
        f"{length:g} s": peak_memory(length, arguments.fps) for length in (arguments.seconds, 6 * arguments.seconds)
    }
    write_result("evaluate_speed", figures)


if __name__ == "__main__":
    main()
