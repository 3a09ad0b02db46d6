"""MediaPipe's full and heavy pose models, on whole frames and on crops, against the ground truth of synthetic clips.

    posegen setup --heavy-pose && python benchmarks/pose_models.py --keep clips [--every 6]

Every sixth clip of `following_clips.py` is seen by each model: whole frames one after the other as a video (VIDEO mode,
what an extraction does), whole frames each on its own (IMAGE mode), and, in every third frame, a square around the true
person, whose side is a multiple of theirs, scaled to 320 pixels (a second look). Of several people found, the one
nearest to the truth counts for whole frames, the most central one for crops. `found`: within a quarter of the height;
errors in percent of the standing height over visible points; CPU milliseconds of a look.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from following import NEAR, POINTS, mean_distance, upside_down
from following_clips import all_clips, make_clip
from posegen.conditions.estimators.heavy_pose import COMMAND, heavy_task_file
from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.keypoints import BODY, SEEN, PersonPose
from posegen.errors import PosegenError
from posegen.media.video import iterate_frames
from results_file import write_result

SIDE = 320
CROPS = (1.2, 1.5, 2.0)
"""Sides of the square, in sizes of the person's visible points."""


class Seen:
    """Figures of one way of looking."""

    def __init__(self) -> None:
        self.counts = dict.fromkeys(("looks", "nobody", "found", "upside_down", "visible", "drawn"), 0)
        self.errors: list[float] = []
        self.seconds = 0.0

    def add(self, person: PersonPose | None, truth: dict[str, np.ndarray], frame: int) -> None:
        """Compare what was found with the followed person's truth."""
        keypoints, visible = truth["keypoints"][0, frame], truth["visible"][0, frame, POINTS]
        self.counts["looks"] += 1
        self.counts["visible"] += int(visible.sum())
        if person is None:
            self.counts["nobody"] += 1
            return
        height = float(truth["heights"][0])
        self.counts["found"] += mean_distance(person.keypoints, person.scores, keypoints) < NEAR * height
        self.counts["upside_down"] += upside_down(person.keypoints, person.scores, keypoints)
        both = visible & (person.scores[POINTS] >= SEEN)
        self.counts["drawn"] += int(both.sum())
        away = np.linalg.norm(person.keypoints[POINTS] - keypoints[POINTS], axis=1)[both]
        self.errors += (100 * away / height).tolist()

    def summary(self) -> dict[str, Any]:
        """Figures of all looks."""
        looks = self.counts["looks"]
        return {
            "looks": looks,
            "found_percent": round(100 * self.counts["found"] / looks, 1),
            "nobody": self.counts["nobody"],
            "upside_down": self.counts["upside_down"],
            "error_median": round(float(np.median(self.errors)), 2),
            "error_p95": round(float(np.percentile(self.errors, 95)), 2),
            "visible_points_found_percent": round(100 * self.counts["drawn"] / self.counts["visible"], 1),
            "cpu_milliseconds": round(1000 * self.seconds / looks, 1),
        }


def whole_frames(video: Path, truth: dict[str, np.ndarray], estimator: MediaPipePose, seen: Seen) -> None:
    """Look at every frame of a clip."""
    for frame, picture in enumerate(iterate_frames(video)):
        began = time.process_time()
        people = estimator.estimate(picture)
        seen.seconds += time.process_time() - began
        if truth["shows"][0, frame]:
            true = truth["keypoints"][0, frame]
            seen.add(
                min(people, key=lambda one: mean_distance(one.keypoints, one.scores, true), default=None), truth, frame
            )


def crops(video: Path, truth: dict[str, np.ndarray], estimator: MediaPipePose, size: float, seen: Seen) -> None:
    """Look at a square around the person in every third frame."""
    for frame, picture in enumerate(iterate_frames(video)):
        if frame % 3 or not truth["shows"][0, frame]:
            continue
        points = truth["keypoints"][0, frame, BODY][truth["visible"][0, frame, BODY]]
        low, high = points.min(axis=0), points.max(axis=0)
        side = size * float((high - low).max())
        corner = (low + high) / 2 - side / 2
        scale = SIDE / side
        matrix = np.array([[1 / scale, 0, corner[0] + 0.5 / scale], [0, 1 / scale, corner[1] + 0.5 / scale]])
        began = time.process_time()
        flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        people = estimator.estimate(cv2.warpAffine(picture, matrix, (SIDE, SIDE), flags=flags))
        seen.seconds += time.process_time() - began
        central = min(people, key=lambda one: float(np.linalg.norm(one.center - SIDE / 2)), default=None)
        if central is not None:
            central = PersonPose(((central.keypoints + 0.5) / scale + corner).astype(np.float32), central.scores)
        seen.add(central, truth, frame)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--keep", type=Path, required=True, help="folder in which the clips are kept")
    parser.add_argument("--every", type=int, default=6, help="of the clips")
    arguments = parser.parse_args()
    if heavy_task_file() is None:
        raise PosegenError(f"the heavy pose model is not there: run `{COMMAND}` first")
    figures: dict[str, Any] = {}
    clips = dict(list(all_clips().items())[:: arguments.every])
    for model in ("full", "heavy"):
        whole = {mode: Seen() for mode in ("VIDEO", "IMAGE")}
        cropped = {size: Seen() for size in CROPS}
        single = MediaPipePose(single_image=True, heavy=model == "heavy")
        for name, clip in clips.items():
            make_clip(name, clip, arguments.keep)
            video = arguments.keep / f"{name}.mp4"
            with np.load(video.with_suffix(".npz")) as data:
                truth = dict(data)
            following = MediaPipePose(heavy=model == "heavy")
            whole_frames(video, truth, following, whole["VIDEO"])
            following.close()
            whole_frames(video, truth, single, whole["IMAGE"])
            for size, seen in cropped.items():
                crops(video, truth, single, size, seen)
        single.close()
        for mode, seen in whole.items():
            figures[f"{model}, whole frames, {mode} mode"] = seen.summary()
        for size, seen in cropped.items():
            figures[f"{model}, crop of {size:g} sizes"] = seen.summary()
    write_result("pose_models", {"clips": list(clips), **figures})


if __name__ == "__main__":
    main()
