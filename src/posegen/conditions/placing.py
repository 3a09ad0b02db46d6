"""Where in the reference's picture the carried skeleton goes: one shift for the whole clip.

Frames in which the driving person does about what the reference shows tell it: there, all joints ask for the same
shift. Which way bones point and how long they are is `retargeting.py`'s, and so is the way that the root takes.
"""

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.keypoints import INDEX

_TOLD_BY = {
    "nose": (0.2, 1.0),
    "shoulder": (1.0, 1.0),
    "hip": (2.0, 1.0),
    "knee": (1.0, 1.0),
    "ankle": (1.0, 1.0),
    "elbow": (0.0, 0.5),
    "wrist": (0.0, 0.5),
}
"""How much a joint tells of the place of the body, and of whether poses are the same."""
_SAME = 0.006
"""Distance of joints, in heights, below which poses count as the same."""
_NOT_SEEN = 0.1
"""The same of a joint that the reference shows and the frame does not."""
_SAME_PLACE = 0.1
"""Heights that the driving person may be away from the reference's place without their frames counting for less."""

_NAMES = [
    (name, kind) for kind in _TOLD_BY for name in (("nose",) if kind == "nose" else (f"left_{kind}", f"right_{kind}"))
]
JOINTS = [INDEX[name] for name, _ in _NAMES]
_PLACE, _LIKENESS = (np.array([_TOLD_BY[kind][which] for _, kind in _NAMES]) for which in (0, 1))


def shift_to(
    moved: Float[np.ndarray, "frames points 2"],
    seen: Bool[np.ndarray, "frames 133"],
    reference: Float[np.ndarray, "133 2"],
    reference_seen: Bool[np.ndarray, " 133"],
    away: Float[np.ndarray, " frames"],
    usable: Bool[np.ndarray, " frames"],
    height: float,
) -> Float[np.ndarray, " 2"] | None:
    """The shift in pixels that brings `moved` to where the reference stands; None if they have no joint in common.

    moved: the points of body and feet, or all. away: how far from the reference's place the driving person is in each
    frame, in heights: of frames that are equally like the reference those near to it count most, so that nothing is
    moved without need. usable: frames that count at all, if there are any such. height: of the reference person, in
    pixels.
    """
    shared = seen[:, JOINTS] & reference_seen[JOINTS]
    place, likeness = shared * _PLACE, shared * _LIKENESS
    told = place.sum(axis=1) > 0
    if not told.any():
        return None
    usable = told & usable if (told & usable).any() else told
    asked = reference[JOINTS] - moved[:, JOINTS]
    shifts = _weighted(asked, place)
    squares = ((asked - _weighted(asked, likeness)[:, None]) ** 2).sum(axis=-1) / height**2
    squares = np.where(shared, squares, _NOT_SEEN**2)
    apart = (squares * _LIKENESS * reference_seen[JOINTS]).sum(axis=1) / (_LIKENESS * reference_seen[JOINTS]).sum()
    least = float(apart[usable].min())
    alike = np.exp(-0.5 * (apart - least) / max(least, _SAME**2))
    weights = np.where(usable, alike / (1 + (away / _SAME_PLACE) ** 2) ** 4, 0)
    return np.array([_weighted_median(shifts[:, axis], weights) for axis in (0, 1)])


def _weighted(values: Float[np.ndarray, "frames joints 2"], weights: Float[np.ndarray, "frames joints"]) -> np.ndarray:
    """Mean over the joints in each frame (frames, 2); 0 where all weights are 0."""
    total = np.maximum(weights.sum(axis=1), 1e-9)[:, None]
    return np.asarray((weights[..., None] * values).sum(axis=1) / total)


def _weighted_median(values: Float[np.ndarray, " frames"], weights: Float[np.ndarray, " frames"]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order[int(np.searchsorted(share, 0.5 * share[-1]))]])
