"""Frames per second of `extract_conditions` (decoding, pose, both hands, skeleton and hand-normal videos) at 720x1280.

    python benchmarks/extraction.py DRIVING.mp4 [--frames 96]

The clip is first brought to 720x1280 as H.264; making it is not timed, nor is starting up (one short extraction runs
before). A second extraction into another folder says whether the keypoints are the same. Decoded frames are counted,
since one pass over the video should do. On a machine that does other work, the CPU time (of all threads together) is
the figure to look at.
"""

import argparse
import logging
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions import extraction as extract
from posegen.conditions.cuts import CutFinder
from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extraction import estimate_pose, extract_conditions
from posegen.conditions.folder import Conditions
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter, iterate_frames, probe_video
from results_file import write_result

SIZE = (1280, 720)
TARGET_FPS = 12.0


def resized(source: Path, path: Path, frames: int) -> Path:
    info = probe_video(source)
    fit = plan_fit((info.height, info.width), SIZE, "crop")
    with VideoWriter(path, info.fps, size=SIZE) as writer:
        for index, frame in enumerate(iterate_frames(source)):
            if index == frames:
                break
            writer.write(fit.apply(frame))
    return path


def timed(clip: Path, folder: Path, fps: Fraction) -> tuple[Conditions, float, float]:
    """The conditions, seconds, and seconds of the processor."""
    start, worked = time.perf_counter(), time.process_time()
    conditions = extract_conditions(clip, folder, plan_fit(SIZE, SIZE, "crop"), fps)
    return conditions, time.perf_counter() - start, time.process_time() - worked


class Counted:
    """`iterate_frames`, counting what it decodes."""

    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, *arguments: Any, **options: Any) -> Iterator[np.ndarray]:
        for frame in iterate_frames(*arguments, **options):
            self.frames += 1
            yield frame


def cut_finding(clip: Path) -> float:
    """Seconds of the processor for a frame."""
    frames, finder = list(iterate_frames(clip)), CutFinder()
    start = time.process_time()
    for frame in frames:
        finder.add(frame)
    finder.finish()
    return (time.process_time() - start) / len(frames)


def keypoints_only(clip: Path, fps: Fraction) -> float:
    estimator = MediaPipePose()
    try:
        start = time.perf_counter()
        estimate_pose(clip, estimator, fps)
        return time.perf_counter() - start
    finally:
        estimator.close()


def main() -> None:
    logging.getLogger("posegen").setLevel(logging.ERROR)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("driving", type=Path)
    parser.add_argument("--frames", type=int, default=96)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clip = resized(arguments.driving, folder / "clip.mp4", arguments.frames)
        fps = probe_video(clip).fps
        timed(resized(arguments.driving, folder / "warm.mp4", 4), folder / "warm", fps)
        runs = [timed(clip, folder / f"run_{run}", fps) for run in range(2)]
        seconds = min(spent for _, spent, _ in runs)
        frames = runs[0][0].num_frames
        first, second = (conditions.pose for conditions, _, _ in runs)
        extract.iterate_frames = counted = Counted()  # type: ignore[assignment]
        timed(clip, folder / "counted", fps)
        extract.iterate_frames = iterate_frames
        rate = round(frames / seconds, 2)
        write_result(
            "extraction",
            {
                "driving": arguments.driving.name,
                "size": list(SIZE),
                "frames": frames,
                "frames_per_second": rate,
                "frames_per_second_of_each_run": [round(frames / spent, 2) for _, spent, _ in runs],
                "frames_per_second_keypoints_only": round(frames / keypoints_only(clip, fps), 2),
                "processor_seconds_a_frame": round(min(worked for _, _, worked in runs) / frames, 4),
                "of_it_finding_cuts": round(cut_finding(clip), 5),
                "decoded_for_each_frame": round(counted.frames / frames, 3),
                "target_frames_per_second": TARGET_FPS,
                "target_reached": rate >= TARGET_FPS,
                "two_runs_identical": np.array_equal(first.keypoints, second.keypoints)
                and np.array_equal(first.scores, second.scores)
                and np.array_equal(first.hands, second.hands, equal_nan=True),
            },
        )


if __name__ == "__main__":
    main()
