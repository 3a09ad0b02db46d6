"""Chooses which part of the driving video a crop shows: one for the whole clip, with the person's head first."""

from collections.abc import Sequence

import numpy as np

from posegen.conditions.keypoints import SEEN, PoseSequence
from posegen.conditions.person_in_frame import PARTS, Box, important_boxes
from posegen.media.fitting import Fit, choose_size

_RARELY = 2.0
"""Percent of the frames at both ends of a box's movement that do not matter."""
_SAMPLES = 512
"""Maximum number of frames looked at, spread evenly."""
_TOLD = 0.05
"""Minimum fraction of the frames with the person in which a part is cut off, to be reported."""
_SIZE_MULTIPLE = 16


def crop_about_person(fit: Fit, pose: PoseSequence) -> Fit:
    """Return the fit with a crop that keeps the head, then the torso, then the whole person, through the whole clip.

    pose: in pixels of the driving video. The crop does not move; where the one about the middle shows everything, and
    where nobody is seen, it stays there.
    """
    if fit.mode == "pad" or fit.scaled == fit.target:
        return fit
    heads: list[list[Box]] = [[], [], []]
    frames = np.flatnonzero((pose.scores >= SEEN).any(axis=1))
    for frame in frames[np.unique(np.linspace(0, len(frames) - 1, min(len(frames), _SAMPLES)).astype(int))].tolist():
        boxes = important_boxes(pose[frame])
        for kind, box in zip((0, 1, 2)[3 - len(boxes) :], boxes, strict=True):
            heads[kind].append(box)
    return fit.keeping(*(_over_time(boxes) for boxes in heads if boxes))


def describe_crop(pose: PoseSequence, fit: Fit) -> str | None:
    """Return a line that names the parts of the person which the crop cuts off, and how often; None for none.

    pose: in pixels of the driving video; only what is seen there can be cut off.
    """
    if fit.mode == "pad":
        return None
    seen = (pose.scores >= SEEN) & _inside(pose.keypoints, fit.source)
    people = seen.any(axis=1)
    if not people.any():
        return None
    cut = seen & ~_inside(fit.apply_points(pose.keypoints), fit.target)
    shares = {name: float(cut[people][:, points].any(axis=1).mean()) for name, points in PARTS.items()}
    told = [f"{name} in {100 * share:.0f} %" for name, share in shares.items() if share >= _TOLD]
    if not told:
        return None
    height, width = choose_size(fit.source, fit.target[0] * fit.target[1], _SIZE_MULTIPLE)
    return (
        f"the crop of the driving video cuts off the person's {', '.join(told)} of the frames: --fit pad or "
        f"--size {height}x{width} shows them"
    )


def _over_time(boxes: Sequence[Box]) -> Box:
    """Return the box that holds nearly all of the boxes."""
    low = np.percentile([box[:2] for box in boxes], _RARELY, axis=0)
    high = np.percentile([box[2:] for box in boxes], 100 - _RARELY, axis=0)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def _inside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return np.asarray(((points >= -0.5) & (points <= np.array([width - 0.5, height - 0.5]))).all(axis=-1))
