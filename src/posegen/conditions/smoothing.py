"""Repairs and smooths the keypoints of a whole clip: swapped sides, outliers, short gaps, and jitter.

The whole clip is known, so there is no lag: points are smoothed forwards and backwards at once, more strongly the
slower they move (the idea of the One Euro filter, Casiez et al. 2012, without its delay). Smoothing does not cross cuts
or gaps longer than `MAX_GAP`. The face is left unchanged: it is never drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.linalg import solveh_banded  # type: ignore[import-untyped]
from scipy.ndimage import maximum_filter1d, median_filter  # type: ignore[import-untyped]

from posegen.conditions.frame_edges import outside_by
from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import BODY_NAMES, HANDS, INDEX, PIECE, SEEN, PoseSequence

VERSION = "3"
"""Version, increased when the same keypoints would give another result."""
OVERLAP = 256
"""Frames by which pieces overlap: far more than any operation here reaches."""
MAX_GAP = 0.25
"""Maximum gap in seconds over which a point or a hand is filled in."""
MIN_CUTOFF, CUTOFF_PER_SPEED = 1.2, 5.0
"""Cutoff frequency in hertz of a point at rest, and its increase per person's height per second of speed."""
MAX_ACCELERATION = {"wrist": 120.0, "ankle": 120.0, "big_toe": 120.0, "small_toe": 120.0, "heel": 120.0}
TRUNK_ACCELERATION, LIMB_ACCELERATION = 45.0, 75.0
"""Maximum acceleration in heights per second squared of hands and feet, of nose, eyes, ears, shoulders and hips, and of
elbows and knees. An excursion and return above it is an outlier."""
EXCURSION = 0.125
"""Maximum duration of an outlier in seconds; at least three frames."""
_FLOOR = 0.04
"""Minimum size of an outlier in heights; smaller excursions are left to the smoothing."""
_SWAP_COST = 0.5
"""Cost of a swap in heights per second: sides count as swapped if that saves more movement than this."""
_TWIST_COST = 1.5
"""Cost in heights per second of shoulders and hips, or shoulders and eyes, that face opposite ways."""
_TWISTED = {"hip": (0.03, 0.1), "eye": (0.012, 0.03)}
"""Width in heights, as seen in the frame, from which hips or eyes count as facing a way, and at which they fully do."""
_SAME_HAND = 0.15
"""Maximum distance, point by point, in palm lengths, of two detections of the same hand."""
_BLIP = 0.07
"""Minimum duration in seconds of a detected hand with none before and after; shorter detections are dropped."""

_GROUPS = (
    (("shoulder", "elbow", "wrist"), ("shoulder", "elbow", "wrist")),
    (("hip", "knee", "ankle", "big_toe", "small_toe", "heel"), ("hip", "knee", "ankle")),
    (("eye", "ear"), ("eye", "ear")),
)
"""Arms, legs and head: points whose sides are swapped together, and those that reveal it. Hands go with the arms."""
_STATES = np.array(list(np.ndindex(2, 2, 2)))
"""Each combination of swapped (1) and other (0) groups."""


@dataclass(frozen=True)
class SmoothingReport:
    """Counts of repairs: frames with swapped sides, outlier points, filled-in hands."""

    swapped: int
    outliers: int
    hands_filled: int

    def __add__(self, other: "SmoothingReport") -> "SmoothingReport":
        return SmoothingReport(
            self.swapped + other.swapped, self.outliers + other.outliers, self.hands_filled + other.hands_filled
        )

    def describe(self) -> str | None:
        """Describe the repairs in one line; None if there was nothing but jitter."""
        parts = [
            (self.swapped, "{} frames with left and right exchanged"),
            (self.outliers, "{} outliers"),
            (self.hands_filled, "{} hands filled in"),
        ]
        told = [text.format(count) for count, text in parts if count]
        return f"keypoints repaired: {', '.join(told)}" if told else None


def smooth_poses(pose: PoseSequence, cuts: Sequence[int] = ()) -> tuple[PoseSequence, SmoothingReport]:
    """Repair and smooth the clip's poses, and report the repairs. `cuts`: first frames of new scenes.

    Points that were not found get a score only if a short gap was filled; then it is the lower of its ends'.
    """
    result = PoseSequence(
        pose.keypoints.astype(np.float32), pose.scores.copy(), pose.hands.astype(np.float32), pose.size, pose.fps
    )
    fps, repaired = float(pose.fps), SmoothingReport(0, 0, 0)
    for start, stop in pairwise((0, *cuts, len(pose))):
        for first in range(start, stop, PIECE):
            last = min(first + PIECE, stop)
            known = slice(max(start, first - OVERLAP), min(last + OVERLAP, stop))
            points, score = pose.keypoints[known].astype(np.float64), pose.scores[known].copy()
            hand = pose.hands[known].astype(np.float64)
            kept = slice(first - known.start, last - known.start)
            repaired += _smooth_piece(points, score, hand, fps, kept)
            result.keypoints[first:last] = points[kept]
            result.scores[first:last], result.hands[first:last] = score[kept], hand[kept]
    _mark_outside(result, pose.scores)
    return result, repaired


def _mark_outside(pose: PoseSequence, given: Float[np.ndarray, "frames 133"]) -> None:
    """Make the scores of points outside the frame negative, in place, if the estimator marks such points."""
    marked = np.flatnonzero((given < 0).any(axis=0))
    for part in pose.pieces():
        outside = outside_by(pose.keypoints[part][:, marked], pose.size) > 0
        pose.scores[part, marked] = np.where(outside, -1, 1) * np.abs(pose.scores[part, marked])


def _smooth_piece(
    points: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
    hands: Float[np.ndarray, "frames 2 21 3"],
    fps: float,
    kept: slice,
) -> SmoothingReport:
    """Repair and smooth one scene, or a piece of it, in place; return the repairs in the frames `kept`.

    Points outside the frame do not tell sizes and sides, but are repaired and smoothed like all others, so that they
    cross its edge evenly. Scores become positive.
    """
    height = _person_height(points, scores)
    if height is None:
        return SmoothingReport(0, 0, 0)
    swapped = _repair_sides(points, scores, hands, height, fps)
    np.abs(scores, out=scores)
    _drop_doubtful_hands(points, scores, hands, fps)
    filled = _fill_hands(points, scores, hands, fps)
    outliers = _smooth_scene(points, scores, hands, height, fps)
    return SmoothingReport(*(int(count[kept].sum()) for count in (swapped, outliers, filled)))


def _person_height(
    points: Float[np.ndarray, "frames 133 2"], scores: Float[np.ndarray, "frames 133"]
) -> Float[np.ndarray, " frames"] | None:
    """Return the smoothed standing height in pixels in each frame of a scene; None if it is never known."""
    height = standing_height(points, scores >= SEEN)
    known = np.isfinite(height)
    if not known.any():
        return None
    frames = np.arange(len(height))
    height = np.interp(frames, frames[known], height[known])
    return np.asarray(median_filter(height, size=min(len(height), 25), mode="nearest"))


def _repair_sides(
    points: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
    hands: Float[np.ndarray, "frames 2 21 3"],
    height: Float[np.ndarray, " frames"],
    fps: float,
) -> Bool[np.ndarray, " frames"]:
    """Swap left and right, in place, where an estimator confused them for a while; return those frames."""
    swaps = _STATES[_swapped_frames(points, scores, height, fps)].astype(bool)
    for group, (names, _) in enumerate(_GROUPS):
        frames = np.flatnonzero(swaps[:, group])
        left, right = ([INDEX[f"{side}_{name}"] for name in names] for side in ("left", "right"))
        if group == 0:
            left += range(HANDS[0].start, HANDS[0].stop)
            right += range(HANDS[1].start, HANDS[1].stop)
            hands[frames] = hands[frames][:, ::-1]
        for values in (points, scores):
            values[frames[:, None], [*left, *right]] = values[frames[:, None], [*right, *left]]
    return np.asarray(swaps.any(axis=1))


def _swapped_frames(
    points: np.ndarray, scores: np.ndarray, height: np.ndarray, fps: float
) -> Int[np.ndarray, " frames"]:
    """Return the number in `_STATES` of each frame: the sequence with minimum cost, by dynamic programming.

    Cost is acceleration (not speed: limbs that cross, as in walking seen from the side, keep their velocity), a little
    for each swap, and more where parts of one body would face opposite ways.
    """
    count = len(points)
    if count < 3:
        return np.zeros(count, int)
    jumps = np.zeros((count - 2, *[len(_STATES)] * 3), np.float32)  # states of three frames in a row
    for group, (_, telling) in enumerate(_GROUPS):
        own = _STATES[:, group]
        jumps += _accelerations(points, scores, height, telling)[:, own[:, None, None], own[:, None], own]
    penalty = _STATES.sum(axis=1) * _SWAP_COST / fps + _twists(points, scores, height) * _TWIST_COST / fps
    cost = penalty[0, :, None] + penalty[1]
    came_from = np.zeros((count, len(_STATES), len(_STATES)), np.int8)
    for frame in range(2, count):
        options = cost[:, :, None] + jumps[frame - 2]
        came_from[frame] = options.argmin(axis=0)
        cost = options.min(axis=0) + penalty[frame]
    before, last = (int(index) for index in np.unravel_index(cost.argmin(), cost.shape))
    choices = np.zeros(count, int)
    for frame in range(count - 1, 1, -1):
        choices[frame] = last
        before, last = int(came_from[frame, before, last]), before
    choices[1], choices[0] = last, before
    return choices


def _accelerations(
    points: np.ndarray, scores: np.ndarray, height: np.ndarray, names: Sequence[str]
) -> Float[np.ndarray, "frames 2 2 2"]:
    """Return the mean acceleration of some joints, in heights, if each of three frames in a row is swapped or not."""
    straight = [INDEX[f"{side}_{name}"] for side in ("left", "right") for name in names]
    exchanged = straight[len(names) :] + straight[: len(names)]
    both = (scores[:, straight] >= SEEN) & (scores[:, exchanged] >= SEEN)
    valid = both[2:] & both[1:-1] & both[:-2]
    share = 1.0 / np.maximum(valid.sum(axis=1), 1)
    places = points[:, [straight, exchanged]].transpose(1, 0, 2, 3)  # choice, frame, point, xy
    jumps = np.zeros((len(points) - 2, 2, 2, 2), np.float32)
    for first, second, third in np.ndindex(2, 2, 2):
        bend = np.linalg.norm(places[third, 2:] - 2 * places[second, 1:-1] + places[first, :-2], axis=-1)
        bend = np.where(valid, np.minimum(bend / height[2:, None], 0.5), 0)
        jumps[:, first, second, third] = bend.sum(axis=1) * share
    return jumps


def _twists(points: np.ndarray, scores: np.ndarray, height: np.ndarray) -> Float[np.ndarray, "frames states"]:
    """Return how clearly shoulders face another way than hips and eyes in each state: 0 to 1 for each of the two."""
    shoulders = _facing(points, scores, height, "shoulder", _TWISTED["hip"])
    twists = np.zeros((len(points), len(_STATES)))
    for group, name in ((1, "hip"), (2, "eye")):
        other = _facing(points, scores, height, name, _TWISTED[name])
        same = _STATES[:, 0] == _STATES[:, group]
        product = shoulders * other  # positive where both face the same way as they are
        twists += np.maximum(np.where(same, -product[:, None], product[:, None]), 0)
    return twists


def _facing(
    points: np.ndarray, scores: np.ndarray, height: np.ndarray, name: str, widths: tuple[float, float]
) -> Float[np.ndarray, " frames"]:
    """Return 1 if a pair of joints is seen from the front, -1 from behind, less sideways; 0 if not seen."""
    left, right = INDEX[f"left_{name}"], INDEX[f"right_{name}"]
    hips, shoulders = (
        points[:, [INDEX[f"left_{part}"], INDEX[f"right_{part}"]]].mean(axis=1) for part in ("hip", "shoulder")
    )
    trunk = [INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("hip", "shoulder")]
    down = np.where((np.abs(scores[:, trunk]) >= SEEN).all(axis=1)[:, None], hips - shoulders, (0.0, 1.0))
    down /= np.maximum(np.linalg.norm(down, axis=1, keepdims=True), 1e-6)
    across = points[:, left] - points[:, right]
    width = (across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0]) / height
    clear = np.clip((np.abs(width) - widths[0]) / (widths[1] - widths[0]), 0, 1)
    return np.asarray(np.where((scores[:, [left, right]] >= SEEN).all(axis=1), np.sign(width) * clear, 0))


def _drop_doubtful_hands(points: np.ndarray, scores: np.ndarray, hands: np.ndarray, fps: float) -> None:
    """Drop, in place, the farther of two detections of one hand, and hands that are found only for a moment."""
    wrists = points[:, [INDEX["left_wrist"], INDEX["right_wrist"]]]
    left, right = (points[:, hand] for hand in HANDS)
    found = np.stack([scores[:, hand].max(axis=1) >= SEEN for hand in HANDS], axis=1)
    palm = np.linalg.norm(left[:, 9] - left[:, 0], axis=-1)
    apart = np.linalg.norm(left - right, axis=-1).mean(axis=1)
    twice = found.all(axis=1) & (apart < _SAME_HAND * np.maximum(palm, 1))
    away = np.stack(
        [np.linalg.norm(points[:, hand.start] - wrists[:, side], axis=-1) for side, hand in enumerate(HANDS)], axis=1
    )
    for side, hand in enumerate(HANDS):
        drop = twice & (away[:, side] > away[:, 1 - side])
        for first, last in _runs(found[:, side] & ~drop, 1 + round(MAX_GAP * fps)):
            if last + 1 - first <= _BLIP * fps and last + 1 - first < len(points):
                drop[first : last + 1] = True
        scores[drop, hand] = 0
        hands[drop, side] = np.nan


def _fill_hands(points: np.ndarray, scores: np.ndarray, hands: np.ndarray, fps: float) -> Int[np.ndarray, " frames"]:
    """Fill short gaps of a hand, in place, moving it with the wrist and interpolating; return the count per frame."""
    count = np.zeros(len(points), int)
    for side, hand in enumerate(HANDS):
        wrist = INDEX[("left_wrist", "right_wrist")[side]]
        frames = np.flatnonzero(scores[:, hand].max(axis=1) >= SEEN)
        for before, after in pairwise(frames.tolist()):
            inside = np.arange(before + 1, after)
            if not len(inside) or len(inside) > MAX_GAP * fps or (scores[before : after + 1, wrist] < SEEN).any():
                continue
            weight = ((inside - before) / (after - before))[:, None, None]
            moved = points[:, wrist] - points[before, wrist]
            drift = (points[after, hand] - moved[after]) - points[before, hand]
            points[inside, hand] = points[before, hand] + moved[inside, None] + weight * drift
            scores[inside, hand] = np.minimum(scores[before, hand], scores[after, hand])
            start, end = hands[before, side], hands[after, side].copy()
            end[:, :2] -= moved[after]
            hands[inside, side] = start + weight * (end - start)
            hands[inside, side, :, :2] += moved[inside, None]
            count[inside] += 1
    return count


def _smooth_scene(
    points: np.ndarray, scores: np.ndarray, hands: np.ndarray, height: np.ndarray, fps: float
) -> Int[np.ndarray, " frames"]:
    """Smooth body, feet and hands of a scene in place; return the number of outliers in each frame."""
    outliers = np.zeros(len(points), int)
    for index, name in enumerate(BODY_NAMES):
        seen = scores[:, index] >= SEEN
        wrong = _excursions(points[:, index], seen, height, fps, _max_acceleration(name))
        outliers += wrong
        stiffness = _stiffness(points[:, index], seen & ~wrong, height, fps)
        _smooth_point(points[:, index], scores[:, index], seen & ~wrong, stiffness, fps)
    for side, hand in enumerate(HANDS):
        seen = scores[:, hand].max(axis=1) >= SEEN
        if not seen.any():
            continue
        middle = points[:, hand].mean(axis=1)
        wrong = _excursions(middle, seen, height, fps, MAX_ACCELERATION["wrist"])
        outliers += wrong
        stiffness = _stiffness(middle, seen & ~wrong, height, fps)
        known = np.isfinite(hands[:, side]).all(axis=(1, 2)) & ~wrong
        weights = scores[:, hand].max(axis=1)
        flat = hands[:, side].reshape(len(hands), -1)
        _smooth_point(flat, weights.copy(), known, stiffness, fps)
        hands[:, side] = flat.reshape(hands[:, side].shape)
        for index in range(hand.start, hand.stop):
            point_seen = (scores[:, index] >= SEEN) & ~wrong
            _smooth_point(points[:, index], scores[:, index], point_seen, stiffness, fps)
        _steady_scores(scores[:, hand], fps)
    return outliers


def _max_acceleration(name: str) -> float:
    part = name.removeprefix("left_").removeprefix("right_")
    return MAX_ACCELERATION.get(part, LIMB_ACCELERATION if part in ("elbow", "knee") else TRUNK_ACCELERATION)


def _excursions(
    places: Float[np.ndarray, "frames 2"],
    seen: Bool[np.ndarray, " frames"],
    height: np.ndarray,
    fps: float,
    acceleration: float,
) -> Bool[np.ndarray, " frames"]:
    """Find frames in which a point jumps away and returns, faster than people move.

    The jump must also be farther than the way between both of its ends: a person who moves on is nowhere farther from
    the path than that, also where frames are doubled or missing.
    """
    wrong = np.zeros(len(places), bool)
    for width in range(1, max(3, round(EXCURSION * fps)) + 1):
        if len(places) < width + 2:
            break
        before, after = places[: -width - 1], places[width + 1 :]
        # half of acceleration · time², from the middle of the excursion to its ends
        limit = np.maximum(_FLOOR, 0.5 * acceleration * ((width + 1) / 2 / fps) ** 2) * height[: -width - 1]
        limit = np.maximum(limit, np.linalg.norm(after - before, axis=1))
        out = seen[: -width - 1] & seen[width + 1 :] & ~wrong[: -width - 1] & ~wrong[width + 1 :]
        for step in range(1, width + 1):
            inside = places[step : step + len(before)]
            share = step / (width + 1)
            out &= np.linalg.norm(inside - ((1 - share) * before + share * after), axis=1) > limit
        for step in range(1, width + 1):
            wrong[step : step + len(before)] |= out & seen[step : step + len(before)]
    return wrong


def _stiffness(
    places: Float[np.ndarray, "frames 2"], seen: Bool[np.ndarray, " frames"], height: np.ndarray, fps: float
) -> Float[np.ndarray, " frames"]:
    """Return the stiffness of a point in each frame, from its speed there."""
    rough = places.copy()
    firm = np.full(len(places), _at_cutoff(2.5, fps))
    _smooth_runs(rough, seen.astype(float), seen, firm, fps)
    speed = np.zeros(len(places))
    if len(places) > 1:
        speed = np.linalg.norm(np.gradient(rough, axis=0), axis=1) * fps / height
    speed = np.where(_near(seen, 1 + round(MAX_GAP * fps)), speed, 0)
    speed = maximum_filter1d(speed, 2 * round(0.08 * fps) + 1, mode="nearest")
    return np.asarray(_at_cutoff(MIN_CUTOFF + CUTOFF_PER_SPEED * speed, fps))


def _at_cutoff(hertz: float | np.ndarray, fps: float) -> float | np.ndarray:
    """Return the weight of the squared second difference that halves a movement of this frequency."""
    angle = np.minimum(2 * np.pi * np.asarray(hertz) / fps, np.pi)
    return 1.0 / (2 * np.sin(angle / 2)) ** 4


def _near(seen: Bool[np.ndarray, " frames"], reach: int) -> Bool[np.ndarray, " frames"]:
    return np.asarray(maximum_filter1d(seen.astype(np.uint8), 2 * reach + 1, mode="constant") > 0)


def _smooth_point(
    values: Float[np.ndarray, "frames coordinates"],
    scores: Float[np.ndarray, " frames"],
    seen: Bool[np.ndarray, " frames"],
    stiffness: Float[np.ndarray, " frames"],
    fps: float,
) -> None:
    """Smooth one point in place, weighted by its scores, and fill its short gaps with the lower score of their ends."""
    _smooth_runs(values, np.where(seen, scores.astype(np.float64) ** 2, 0), seen, stiffness, fps)
    for before, after in pairwise(np.flatnonzero(seen).tolist()):
        if 1 < after - before <= MAX_GAP * fps + 1:
            scores[before + 1 : after] = min(scores[before], scores[after])


def _smooth_runs(values: np.ndarray, weights: np.ndarray, seen: np.ndarray, stiffness: np.ndarray, fps: float) -> None:
    for first, last in _runs(seen, round(MAX_GAP * fps) + 1):
        run = slice(first, last + 1)
        values[run] = whittaker(np.where(seen[run, None], values[run], 0), weights[run], stiffness[run])


def _runs(seen: Bool[np.ndarray, " frames"], reach: int) -> Iterator[tuple[int, int]]:
    """Yield the (first, last) frame of each run without a gap of more than `reach` frames."""
    frames = np.flatnonzero(seen)
    if not len(frames):
        return
    breaks = np.flatnonzero(np.diff(frames) > reach)
    firsts, lasts = [0, *(breaks + 1).tolist()], [*breaks.tolist(), len(frames) - 1]
    for first, last in zip(firsts, lasts, strict=True):
        yield int(frames[first]), int(frames[last])


def whittaker(
    values: Float[np.ndarray, "frames coordinates"],
    weights: Float[np.ndarray, " frames"],
    stiffness: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, "frames coordinates"]:
    """Return the curve z that minimises Σ weights (z - values)² + Σ stiffness (second difference of z)².

    Whittaker-Henderson smoothing; straight lines pass unchanged, frames of weight 0 are filled in. With fewer than
    three frames, or fewer than two of them weighted, the values are returned as they are.
    """
    if len(values) < 3 or (weights > 0).sum() < 2:
        return values
    inner = stiffness[1:-1]
    bands = np.zeros((3, len(values)))
    bands[2] = weights
    bands[2, :-2] += inner
    bands[2, 1:-1] += 4 * inner
    bands[2, 2:] += inner
    bands[1, 1:-1] -= 2 * inner
    bands[1, 2:] -= 2 * inner
    bands[0, 2:] = inner
    return np.asarray(solveh_banded(bands, weights[:, None] * values, check_finite=False))


def _steady_scores(scores: Float[np.ndarray, "frames 21"], fps: float) -> None:
    """Remove flicker of a hand's scores around the drawing threshold, in place."""
    size = 2 * round(0.1 * fps) + 1
    for first, last in _runs(scores.max(axis=1) >= SEEN, 1):
        run = slice(first, last + 1)
        scores[run] = median_filter(scores[run], size=(min(size, last + 1 - first), 1), mode="nearest")
