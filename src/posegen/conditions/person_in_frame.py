"""Reports frames in which the followed person is too small to be drawn, or mostly outside the frame.

Nothing is changed: such keypoints usually come from a file in another unit, of another video, or of a distant person.
"""

import numpy as np
from jaxtyping import Float

from posegen.conditions.keypoints import BODY, HANDS, SEEN, PoseSequence

_MIN_EXTENT = 0.03
"""Minimum extent of a person as a fraction of the frame's longer side: 32 pixels of 1080."""
_INSIDE = 0.5
"""Minimum fraction of a person's seen body points inside the frame."""
_MANY = 0.1
"""Minimum fraction of the frames with a person for which a line is reported."""


def describe_place(pose: PoseSequence) -> list[str]:
    """Return a line for a tiny person, and one for a person mostly outside the frame; none if all is well."""
    height, width = pose.size
    extents, inside = _extents_and_inside(pose.keypoints, _telling_scores(pose.scores), (height, width))
    seen = np.isfinite(extents)
    if not seen.any():
        return []
    lines = []
    tiny = extents[seen] < _MIN_EXTENT * max(height, width)
    if tiny.mean() > _MANY:
        lines.append(
            f"the person is only {np.median(extents[seen][tiny]):.3g} pixels large in {tiny.sum()} of {len(tiny)} "
            f"frames of {height}x{width}: too small to follow; if keypoints come from a file, check their unit"
        )
    outside = inside[seen] < _INSIDE
    if outside.mean() > _MANY:
        lines.append(
            f"the person is mostly outside the frame in {outside.sum()} of {len(outside)} frames: little of them can "
            "be drawn there; if keypoints come from a file, check that it was made from this video"
        )
    return lines


def _telling_scores(scores: Float[np.ndarray, "frames 133"]) -> Float[np.ndarray, "frames 133"]:
    """Keep the scores of the body's points, or of the hands' if fewer than two body points are seen; others are 0."""
    telling = np.zeros_like(scores)
    telling[:, BODY] = scores[:, BODY]
    without_body = (scores[:, BODY] >= SEEN).sum(axis=1) < 2
    for hand in HANDS:
        telling[without_body, hand] = scores[without_body, hand]
    return telling


def _extents_and_inside(
    points: Float[np.ndarray, "frames points 2"], scores: Float[np.ndarray, "frames points"], size: tuple[int, int]
) -> tuple[Float[np.ndarray, " frames"], Float[np.ndarray, " frames"]]:
    """Return the extent of the seen points in pixels, and the fraction inside the frame; NaN for fewer than two."""
    seen = scores >= SEEN
    enough = seen.sum(axis=1) > 1
    highest = np.where(seen[..., None], points, -np.inf).max(axis=1)
    lowest = np.where(seen[..., None], points, np.inf).min(axis=1)
    with np.errstate(invalid="ignore"):
        extents = np.where(enough, (highest - lowest).max(axis=1), np.nan)
    within = ((points >= 0) & (points <= np.array([size[1], size[0]]))).all(axis=-1)
    inside = np.where(enough, (seen & within).sum(axis=1) / np.maximum(seen.sum(axis=1), 1), np.nan)
    return extents, inside
