"""Places the retargeted skeleton in the reference image: one shift for the whole clip.

It is measured in frames in which the driving person's pose resembles the reference: there, all joints agree on the same
shift. Where head and torso then leave the frame, a further shift keeps them in it as far as that is worth it; their
size is never changed, since the reference shows it. The directions and lengths of bones, and the path of the root, are
determined in `retargeting.py`.
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
"""Weights of each joint for the position of the body, and for the similarity of poses."""
_SAME = 0.006
"""Maximum distance of joints, in heights, of poses that count as the same."""
_NOT_SEEN = 0.1
"""Distance, in heights, that counts for a joint that the reference shows and the frame does not."""
_SAME_PLACE = 0.1
"""Distance from the reference's position, in heights, up to which frames have full weight."""

_KEPT = {"nose": 2.0, "shoulder": 1.0, "hip": 1.0}
"""Weights of head and torso when they are kept in the frame."""
_RARELY = 0.02
"""Fraction of head and torso outside the frame up to which nothing is shifted."""
_INSET = 0.04
"""Distance from the frame's edge, in sides, within which they are kept."""
_COST, _COST_ON_GROUND = 1.0, 2.0
"""Fraction of head and torso that a shift by a whole side must bring into the frame; up and down for standing feet."""
_MAX_COST = 0.5
"""Fraction of head and torso from which any shift is worth it: a person outside the frame cannot be shown at all."""

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
    """Return the shift in pixels that moves `moved` to the reference's position; None if they share no joint.

    moved: the points of body and feet, or all. away: distance of the driving person from the reference's position in
    each frame, in heights: among frames equally similar to the reference the nearest count more, to avoid needless
    shifts. usable: frames that count, if there are any such. height: of the reference person, in pixels.
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
    minimum = float(apart[usable].min())
    alike = np.exp(-0.5 * (apart - minimum) / max(minimum, _SAME**2))
    weights = np.where(usable, alike / (1 + (away / _SAME_PLACE) ** 2) ** 4, 0)
    return np.array([_weighted_median(shifts[:, axis], weights) for axis in (0, 1)])


def core_points(
    points: Float[np.ndarray, "frames points 2"], seen: Bool[np.ndarray, "frames 133"]
) -> tuple[Float[np.ndarray, "frames 3 2"], Bool[np.ndarray, "frames 3"]]:
    """Return the nose and the middles of the shoulders and of the hips, and masks of where at least a joint is seen."""
    places, masks = [], []
    for kind in _KEPT:
        joints = [INDEX[kind]] if kind == "nose" else [INDEX[f"left_{kind}"], INDEX[f"right_{kind}"]]
        known = seen[:, joints]
        total = np.where(known[..., None], points[:, joints], 0).sum(axis=1)
        places.append(total / np.maximum(known.sum(axis=1), 1)[:, None])
        masks.append(known.any(axis=1))
    return np.stack(places, axis=1), np.stack(masks, axis=1)


def outside_frame(points: Float[np.ndarray, "*any 2"], size: tuple[int, int]) -> Bool[np.ndarray, "*any"]:
    """Return a mask of the points outside a frame of `size` = (height, width)."""
    limit = np.array([size[1], size[0]]) - 0.5
    return np.asarray(((points < -0.5) | (points > limit)).any(axis=-1))


def shift_into_frame(
    points: Float[np.ndarray, "frames 3 2"],
    seen: Bool[np.ndarray, "frames 3"],
    size: tuple[int, int],
    on_feet: bool,
) -> Float[np.ndarray, " 2"]:
    """Return the shift in pixels that brings head and torso into the frame; 0 where that takes more than it gives.

    points, seen: as of `core_points`, without those that the reference does not show. A shift is worth it if the
    fraction of them that it brings in is at least that of the side by which everything is moved.
    """
    weights = seen * np.array(list(_KEPT.values()))
    total = float(weights.sum())
    shift = np.zeros(2)
    if total == 0 or float((weights * outside_frame(points, size)).sum()) <= _RARELY * total:
        return shift
    for axis, side in enumerate((size[1], size[0])):
        values, weight = points[..., axis][seen], weights[seen]
        low, high = _INSET * side - values, (1 - _INSET) * side - values  # from which shift to which it is inside
        shifts = np.concatenate([[0.0], low, high])
        enter, leave = np.argsort(low), np.argsort(high)
        entered = np.concatenate([[0], np.cumsum(weight[enter])])[np.searchsorted(low[enter], shifts, side="right")]
        left = np.concatenate([[0], np.cumsum(weight[leave])])[np.searchsorted(high[leave], shifts, side="left")]
        cost = _COST_ON_GROUND if on_feet and axis == 1 else _COST
        costs = np.minimum(cost * np.abs(shifts) / side, _MAX_COST) + 1e-6 * np.abs(shifts) / side
        shift[axis] = shifts[int(np.argmax((entered - left) / total - costs))]
    return shift


def _weighted(values: Float[np.ndarray, "frames joints 2"], weights: Float[np.ndarray, "frames joints"]) -> np.ndarray:
    """Return the weighted mean over the joints in each frame (frames, 2); 0 if all weights are 0."""
    total = np.maximum(weights.sum(axis=1), 1e-9)[:, None]
    return np.asarray((weights[..., None] * values).sum(axis=1) / total)


def _weighted_median(values: Float[np.ndarray, " frames"], weights: Float[np.ndarray, " frames"]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order[int(np.searchsorted(share, 0.5 * share[-1]))]])
