"""Frames per second of `extract_conditions` (decoding, pose, both hands, skeleton and hand-normal videos) at 720x1280.

    python benchmarks/extraction.py DRIVING.mp4 [--frames 96]

The clip is first brought to 720x1280 as H.264; making it is not timed, nor is starting up (one short extraction runs
before). A second extraction into another folder says whether the keypoints are the same.
"""

import argparse
import logging
import tempfile
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extract import estimate_pose, extract_conditions
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


def timed(clip: Path, folder: Path, fps: Fraction) -> tuple[Conditions, float]:
    start = time.perf_counter()
    conditions = extract_conditions(clip, folder, plan_fit(SIZE, SIZE, "crop"), fps)
    return conditions, time.perf_counter() - start


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
        seconds = min(spent for _, spent in runs)
        frames = runs[0][0].num_frames
        first, second = (conditions.pose for conditions, _ in runs)
        rate = round(frames / seconds, 2)
        write_result(
            "extraction",
            {
                "driving": arguments.driving.name,
                "size": list(SIZE),
                "frames": frames,
                "frames_per_second": rate,
                "frames_per_second_of_each_run": [round(frames / spent, 2) for _, spent in runs],
                "frames_per_second_keypoints_only": round(frames / keypoints_only(clip, fps), 2),
                "target_frames_per_second": TARGET_FPS,
                "target_reached": rate >= TARGET_FPS,
                "two_runs_identical": np.array_equal(first.keypoints, second.keypoints)
                and np.array_equal(first.scores, second.scores)
                and np.array_equal(first.hands, second.hands, equal_nan=True),
            },
        )


if __name__ == "__main__":
    main()
