"""Decides which points at and beyond the frame's edge are drawn, once the whole clip is known.

An estimator may place points outside the frame. Drawn, they lead a limb to the edge; hidden, the limb ends at its last
joint inside. A point that moves along the edge would blink, and a hand whose elbow is just outside would float. So a
point stays drawn until it is clearly outside, moments are evened out, and an elbow or a wrist outside is drawn if it
continues an arm inside. Everything else outside keeps its place with a negative score (`keypoints.py`), so that
retargeting can move it back in. Nothing is decided for points that are given outside with positive scores only, as in
files.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import grey_closing, grey_opening  # type: ignore[import-untyped]

from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import BODY_NAMES, HANDS, INDEX, PIECE, SEEN, PoseSequence

MARGIN = 0.03
"""Distance from the edge, in the person's heights, up to which a point that was inside stays drawn."""
ARM_MARGIN = 0.2
"""Distance up to which an elbow outside is drawn if its wrist is inside, and a wrist if its elbow is: a forearm."""
MOMENT = 0.12
"""Maximum duration in seconds for which a point near the edge is drawn, or hidden, between two longer states."""
_PIECE_OVERLAP = 64
"""Frames by which pieces overlap."""
_ARMS = tuple((INDEX[f"{side}_elbow"], INDEX[f"{side}_wrist"]) for side in ("left", "right"))


def settle_edges(pose: PoseSequence, cuts: Sequence[int] = ()) -> PoseSequence:
    """Return the clip with scores that are positive for drawn points and negative for other points outside.

    `cuts`: first frames of new scenes. Signs are decided by the places: points may have been moved in or out since they
    were found.
    """
    if not (pose.scores < 0).any():
        return pose
    scores = pose.scores.copy()
    for start, stop in pairwise((0, *cuts, len(pose))):
        for first in range(start, stop, PIECE):
            part = slice(first, min(first + PIECE, stop))
            around = slice(max(start, first - _PIECE_OVERLAP), min(stop, part.stop + _PIECE_OVERLAP))
            signed = _signed_scores(pose.keypoints[around], pose.scores[around], pose.size, float(pose.fps))
            scores[part] = signed[part.start - around.start : part.stop - around.start]
    return PoseSequence(pose.keypoints, scores, pose.hands, pose.size, pose.fps)


def outside_by(points: Float[np.ndarray, "*points 2"], size: tuple[int, int]) -> Float[np.ndarray, "*points"]:
    """Return the distance in pixels by which points lie outside a frame of (height, width); 0 or less inside."""
    height, width = size
    x, y = points[..., 0], points[..., 1]
    return np.asarray(np.maximum.reduce([-0.5 - x, x - (width - 0.5), -0.5 - y, y - (height - 0.5)]))


def _signed_scores(
    points: Float[np.ndarray, "frames 133 2"], given: Float[np.ndarray, "frames 133"], size: tuple[int, int], fps: float
) -> Float[np.ndarray, "frames 133"]:
    rated = np.abs(given)
    known = rated >= SEEN
    beyond = outside_by(points.astype(np.float64), size)
    height = standing_height(points.astype(np.float64), known & (beyond <= 0))
    usual = np.nanmedian(height) if np.isfinite(height).any() else float(max(size))
    away = beyond / np.where(np.isfinite(height), height, usual)[:, None]
    shown = known & (away <= 0)
    for index in range(len(BODY_NAMES)):
        if (given[:, index] < 0).any():
            shown[:, index] = _without_moments(_hysteresis(known[:, index], away[:, index]), known[:, index], fps)
    for elbow, wrist in _ARMS:
        for hidden, end in ((elbow, wrist), (wrist, elbow)):
            near = known[:, hidden] & (away[:, hidden] <= ARM_MARGIN)
            joined = near & (shown[:, hidden] | (shown[:, end] & (away[:, end] <= 0)))
            shown[:, hidden] |= near & _without_moments(joined, near, fps)
    for hand in HANDS:  # whole, or not at all
        rows = known[:, hand].any(axis=1) & (away[:, hand] <= 0).any(axis=1)
        shown[:, hand] = rows[:, None] & known[:, hand]
    shown |= ~known & (beyond <= 0)
    return np.asarray(np.where(shown, rated, -rated).astype(given.dtype))


def _hysteresis(known: Bool[np.ndarray, " frames"], away: Float[np.ndarray, " frames"]) -> Bool[np.ndarray, " frames"]:
    """Find the frames in which a point is inside, or comes from there or goes there within the margin."""
    near = known & (away <= MARGIN)
    run = np.cumsum(np.diff(near, prepend=False))  # frames of one run have the same number
    return np.asarray(near & np.isin(run, run[near & (away <= 0)]))


def _without_moments(
    shown: Bool[np.ndarray, " frames"], known: Bool[np.ndarray, " frames"], fps: float
) -> Bool[np.ndarray, " frames"]:
    """Fill moments in which a known point is hidden, and drop those in which it is shown."""
    size = min(1 + int(MOMENT * fps), len(shown))
    steady = grey_closing(shown.astype(np.uint8), size) & known
    return np.asarray(grey_opening(steady.astype(np.uint8), size) > 0)
