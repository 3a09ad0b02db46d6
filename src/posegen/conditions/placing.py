"""Places the retargeted skeleton in the reference image: one shift for the whole clip.

It is measured in frames in which the driving person's pose resembles the reference: there, all joints agree on the same
shift. The directions and lengths of bones, and the path of the root, are determined in `retargeting.py`.
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


def _weighted(values: Float[np.ndarray, "frames joints 2"], weights: Float[np.ndarray, "frames joints"]) -> np.ndarray:
    """Return the weighted mean over the joints in each frame (frames, 2); 0 if all weights are 0."""
    total = np.maximum(weights.sum(axis=1), 1e-9)[:, None]
    return np.asarray((weights[..., None] * values).sum(axis=1) / total)


def _weighted_median(values: Float[np.ndarray, " frames"], weights: Float[np.ndarray, " frames"]) -> float:
    order = np.argsort(values)
    share = np.cumsum(weights[order])
    return float(values[order[int(np.searchsorted(share, 0.5 * share[-1]))]])
