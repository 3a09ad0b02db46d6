"""Jitter and error of the embedded estimator's keypoints on synthetic clips, before and after smoothing.

    python benchmarks/smoothing.py [--clips 8] [--height 512] [--frames 48] [--first 8] [--cache FOLDER]

Clips are rendered with exact ground truth (half of them half-body, half full-body), and MediaPipe extracts them as any
video. Error is the mean distance to the ground truth over the points that were seen before smoothing; jitter is the
mean length of the second difference of the error in time, so that movement of the person does not count. Both in
percent of the person's height (standing, in pixels). Settings of the smoothing were chosen on clips 0 to 7; the score
is of others.
"""

import argparse
import tempfile
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extraction import estimate_pose
from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import BODY, HANDS, SEEN, PoseSequence
from posegen.conditions.smoothing import smooth_poses
from posegen.media.video import VideoWriter
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from results_file import write_result

FPS = 24
LEAST_JITTER_LOWERED, MOST_ERROR_RAISED = 0.4, 0.05
GROUPS = {"body": np.r_[BODY], "hands": np.r_[HANDS[0], HANDS[1]]}


@dataclass(frozen=True)
class Extracted:
    """One clip: what the estimator found, and the truth (pixels) with the person's height in pixels."""

    pose: PoseSequence
    truth: np.ndarray
    person_height: float


def make(number: int, height: int, frames: int, cache: Path) -> Extracted:
    """Render and extract clip `number`, or take it from the cache."""
    kept = cache / f"clip_{number}_{height}_{frames}.npz"
    if not kept.exists():
        framing = ("half-body", "full-body")[number % 2]
        settings = SyntheticClipSettings(height, height * 5 // 8, frames, FPS)
        clip = SyntheticClip(91_000 + number, 92_000 + number, settings, framing)
        truth = []
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "clip.mp4"
            with VideoWriter(path, Fraction(FPS), size=(settings.height, settings.width), crf=18) as writer:
                for frame in clip.frames():
                    writer.write(frame.rgb)
                    truth.append(frame.keypoints)
            estimator = MediaPipePose()
            try:
                pose, _ = estimate_pose(path, estimator, Fraction(FPS))
            finally:
                estimator.close()
        pose.save(kept.with_suffix(".pose.npz"))
        np.savez_compressed(kept, truth=np.stack(truth) - 0.5)
    truth = np.load(kept)["truth"]
    height_of_person = float(np.nanmedian(standing_height(truth, np.ones(truth.shape[:2], bool))))
    return Extracted(PoseSequence.load(kept.with_suffix(".pose.npz")), truth, height_of_person)


def compare(clip: Extracted, after: PoseSequence, points: np.ndarray) -> dict[str, np.ndarray]:
    """Errors and jitter, before and after, of these points wherever they count; percent of the person's height."""
    seen = clip.pose.scores[:, points] >= SEEN
    height, width = clip.pose.size
    truth = clip.truth[:, points]
    inside = ((truth >= 0) & (truth <= (width - 1, height - 1))).all(axis=-1)
    counts = seen & inside
    thrice = counts[2:] & counts[1:-1] & counts[:-2]
    found: dict[str, np.ndarray] = {}
    for name, pose in (("before", clip.pose), ("after", after)):
        off = 100 * (pose.keypoints[:, points] - truth) / clip.person_height
        found[f"error_{name}"] = np.linalg.norm(off, axis=-1)[counts]
        found[f"jitter_{name}"] = np.linalg.norm(np.diff(off, 2, axis=0), axis=-1)[thrice]
    filled = ~seen & inside & (after.scores[:, points] >= SEEN)
    found["error_filled"] = np.linalg.norm(100 * (after.keypoints[:, points] - truth) / clip.person_height, axis=-1)[
        filled
    ]
    return found


def summary(clips: list[Extracted]) -> dict[str, object]:
    """Means over all counted points of all clips, and what smoothing changed."""
    smoothed = [smooth_poses(clip.pose)[0] for clip in clips]
    result: dict[str, object] = {}
    for group, points in GROUPS.items():
        parts = [compare(clip, after, points) for clip, after in zip(clips, smoothed, strict=True)]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        mean = {name: float(values.mean()) if len(values) else float("nan") for name, values in joined.items()}
        result[group] = {
            **{f"{name}_percent_of_height": round(value, 3) for name, value in mean.items() if name != "error_filled"},
            "points": len(joined["error_before"]),
            "points_filled_in": len(joined["error_filled"]),
            "their_error_percent_of_height": round(mean["error_filled"], 3) if len(joined["error_filled"]) else None,
            "jitter_lowered_by": round(1 - mean["jitter_after"] / mean["jitter_before"], 3),
            "error_raised_by": round(mean["error_after"] / mean["error_before"] - 1, 3),
        }
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--first", type=int, default=8)
    parser.add_argument("--height", type=int, default=512)
    parser.add_argument("--frames", type=int, default=48)
    parser.add_argument("--cache", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        cache = arguments.cache or Path(name)
        cache.mkdir(parents=True, exist_ok=True)
        numbers = range(arguments.first, arguments.first + arguments.clips)
        clips = [make(number, arguments.height, arguments.frames, cache) for number in numbers]
    figures = summary(clips)
    reached = all(
        group["jitter_lowered_by"] >= LEAST_JITTER_LOWERED and group["error_raised_by"] <= MOST_ERROR_RAISED
        for group in figures.values()
    )
    by_framing = {name: summary(clips[first::2]) for first, name in enumerate(("half-body", "full-body"))}
    write_result(
        "smoothing",
        {
            "clips": len(clips), "first_clip": arguments.first, "frames_of_each": arguments.frames,
            "size": [arguments.height, arguments.height * 5 // 8], "fps": FPS, **figures, **by_framing,
            "target_jitter_lowered_by": LEAST_JITTER_LOWERED, "target_error_raised_by": MOST_ERROR_RAISED,
            "target_reached": reached,
        },
    )  # fmt: skip


if __name__ == "__main__":
    main()
