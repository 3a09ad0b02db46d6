"""Joins each hand to its forearm, and makes the skeleton and the hand-normal map show the same hands.

A hand is drawn twice: by its keypoints in the skeleton, and by its joints in space in the hand-normal map. Afterwards a
frame has both of a hand or none, at the same place, and the wrist of the body is the root of the hand: the hand's model
looks at it more closely than the body's model does. Where a hand appears or vanishes, the wrist moves over in a few
frames, so that the forearm does not jump. Hands are found, smoothed and filled in elsewhere.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.keypoints import HAND_DRAWN, HAND_FOUND, HANDS, INDEX, PIECE, SEEN, PoseSequence

FADE = 0.15
"""Seconds in which the wrist moves from the body's position to the root of a hand that appears, and back."""
_KEPT_SCORE = 0.5
"""Minimum score of the joints of a hand that was drawn in a frame before or after, without a break."""
_MOST = 0.5
"""Minimum share of a hand's joints that must reach a score."""
_SAME_SHAPE = 0.5
"""Maximum mean distance in palm lengths between a hand's keypoints and its joints in space, to take depth from them."""


def join_hands(pose: PoseSequence, cuts: Sequence[int] = ()) -> PoseSequence:
    """Return the clip with whole hands at the ends of the forearms. `cuts`: first frames of new scenes.

    A hand with depth is always drawn; one with keypoints only, if most of them reach `HAND_DRAWN`, is flat in space.
    Joints that are not known are missing in both drawings.
    """
    keypoints, scores = pose.keypoints.astype(np.float32), pose.scores.copy()
    hands = pose.hands.astype(np.float32)
    for start, stop in pairwise((0, *cuts, len(pose))):
        scene = slice(start, stop)
        for side in range(len(HANDS)):
            drawn = _kept_on(scores[scene, HANDS[side]])
            found = np.zeros(stop - start, bool)
            for first in range(0, len(found), PIECE):  # in constant memory
                part = slice(first, first + PIECE)
                rows = slice(start + first, min(start + first + PIECE, stop))
                found[part] = _whole_hand(keypoints[rows], scores[rows], hands[rows, side], side, drawn[part])
            _join_wrist(keypoints[scene], scores[scene], hands[scene, side], side, found, float(pose.fps))
    return PoseSequence(keypoints, scores, hands, pose.size, pose.fps)


def _whole_hand(
    keypoints: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
    joints: Float[np.ndarray, "frames 21 3"],
    side: int,
    drawn: Bool[np.ndarray, " frames"],
) -> Bool[np.ndarray, " frames"]:
    """Give a hand the same joints in keypoints and in space, in place; return the frames that have one.

    drawn: frames in which the keypoints are certain enough to be drawn.
    """
    places, rated = keypoints[:, HANDS[side]], scores[:, HANDS[side]]  # views
    deep = np.isfinite(joints).all(axis=(1, 2))
    found = deep | drawn
    seen = rated >= SEEN
    # keypoints that are too uncertain to be drawn give way to a hand that was found in space
    from_space = deep & ~drawn
    seen[from_space] = False
    off, size, alike = _fit_in_space(places, joints, seen & deep[:, None])
    fitted = joints[..., :2] * size[:, None, None] + off[:, None]
    places[:] = np.where((deep[:, None] & ~seen)[..., None], fitted, places)
    depth = np.where((deep & (alike | from_space))[:, None], joints[..., 2] * size[:, None], 0)
    known = found[:, None] & (deep[:, None] | seen)
    rated[:] = np.where(known, np.where(seen, np.maximum(rated, HAND_DRAWN), HAND_FOUND), 0)
    joints[..., :2] = places
    joints[..., 2] = depth
    joints[~known] = np.nan
    return found


def _kept_on(rated: Float[np.ndarray, "frames 21"]) -> Bool[np.ndarray, " frames"]:
    """Find the frames in which keypoints of a hand are drawn: sure ones, and less sure ones beside them in time."""
    sure = (rated >= HAND_DRAWN).mean(axis=1) >= _MOST
    kept = (rated >= _KEPT_SCORE).mean(axis=1) >= _MOST
    run = np.cumsum(np.diff(kept, prepend=False))  # frames of one run have the same number
    return np.asarray(kept & np.isin(run, run[sure & kept]))


def _fit_in_space(
    places: Float[np.ndarray, "frames 21 2"],
    joints: Float[np.ndarray, "frames 21 3"],
    both: Bool[np.ndarray, "frames 21"],
) -> tuple[Float[np.ndarray, "frames 2"], Float[np.ndarray, " frames"], Bool[np.ndarray, " frames"]]:
    """Return the shift and the factor that lay joints in space over the keypoints, and True where both agree.

    Without common joints nothing is moved.
    """
    weight = both.astype(np.float64)
    weight /= np.maximum(weight.sum(axis=1, keepdims=True), 1)
    space = np.where(both[..., None], joints[..., :2], 0)
    flat = np.where(both[..., None], places, 0)
    middles = [(weight[..., None] * points).sum(axis=1) for points in (space, flat)]
    spreads = [
        np.sqrt((weight * ((points - middle[:, None]) ** 2).sum(axis=-1)).sum(axis=1))
        for points, middle in zip((space, flat), middles, strict=True)
    ]
    enough = both.sum(axis=1) >= 3
    size = np.where(enough & (spreads[0] > 1e-3), spreads[1] / np.maximum(spreads[0], 1e-3), 1.0)
    common = weight.sum(axis=1, keepdims=True) > 0
    off = np.where(common, middles[1] - size[:, None] * middles[0], 0)
    apart = np.linalg.norm(space * size[:, None, None] + off[:, None] - flat, axis=-1)
    palm = np.linalg.norm(joints[:, 9] - joints[:, 0], axis=-1) * size
    alike = (weight * apart).sum(axis=1) <= _SAME_SHAPE * np.maximum(np.nan_to_num(palm), 1)
    return off, size, np.asarray(alike)


def _join_wrist(
    keypoints: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
    joints: Float[np.ndarray, "frames 21 3"],
    side: int,
    found: Bool[np.ndarray, " frames"],
    fps: float,
) -> None:
    """Move the body's wrist to the root of the hand, in place, over a few frames where the hand appears or vanishes."""
    wrist, root = INDEX[("left_wrist", "right_wrist")[side]], HANDS[side].start
    rooted = found & (scores[:, root] >= SEEN)
    known = np.abs(scores[:, wrist]) >= SEEN
    # a hand without a root of its own goes with the body's wrist
    rootless = found & ~rooted & known
    keypoints[rootless, root] = keypoints[rootless, wrist]
    scores[rootless, root] = HAND_DRAWN
    joints[rootless, 0, :2], joints[rootless, 0, 2] = keypoints[rootless, wrist], 0
    offset = np.where(rooted[:, None], keypoints[:, root] - keypoints[:, wrist], 0)
    frames = np.flatnonzero(rooted & known)
    fading = np.flatnonzero(known & ~rooted)
    if len(frames) and len(fading):
        after = np.searchsorted(frames, fading)
        moves, total = np.zeros((len(fading), 2)), np.zeros(len(fading))
        for place, exists in ((after - 1, after > 0), (after, after < len(frames))):
            nearest = frames[place.clip(0, len(frames) - 1)]
            share = np.where(exists, np.clip(1 - np.abs(fading - nearest) / (FADE * fps + 1), 0, 1), 0)
            moves += share[:, None] * offset[nearest]
            total += share
        keypoints[fading, wrist] += (moves / np.maximum(total, 1)[:, None]).astype(np.float32)
    keypoints[rooted, wrist] = keypoints[rooted, root]
    scores[rooted, wrist] = np.maximum(np.abs(scores[rooted, wrist]), scores[rooted, root])
