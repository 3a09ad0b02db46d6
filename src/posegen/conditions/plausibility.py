"""Judges by the whole clip which detections of one person cannot be right: upside down, or with impossible bones.

No rule says that heads are up: a detection is doubted if it contradicts most of the clip and the body was not seen to
turn there. So a handstand or a flip stays, and a body that is upside down from one frame to the next does not.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import median_filter  # type: ignore[import-untyped]

from posegen.conditions.detections import Detections
from posegen.conditions.folded_bodies import fold
from posegen.conditions.keypoints import INDEX, SEEN

CONTRADICTS = 100.0
"""Angle in degrees from the clip's usual direction from which a body contradicts it; lying is 90."""
_FASTEST = 900.0
"""Maximum rotation of a body in degrees per second."""
_STEP = (40.0, 120.0)
"""Bounds in degrees of the rotation between two sightings that counts as continuous."""
_TURNS_WITHIN = 0.6
"""Maximum duration in seconds of the turn from upright to upside down."""
_LONG = 1.0
"""Duration in seconds from which a contradiction without a turn is confirmed by a second look instead of dropped."""
_BONES = tuple(
    (INDEX[f"{side}_{one}"], INDEX[f"{side}_{other}"])
    for side in ("left", "right")
    for one, other in (
        ("shoulder", "elbow"), ("elbow", "wrist"), ("hip", "knee"), ("knee", "ankle"), ("shoulder", "hip")
    )
)  # fmt: skip  # pairs, read in rows
_TOO_LONG, _MANY_BONES = 1.7, 2
"""Length of a bone relative to the clip's third quartile from which it is impossible, and how many must be."""
_TOO_TALL = 1.6
"""Standing height relative to that of the surrounding second from which a detection is impossible."""
_TOO_SMALL = 0.68
"""The same ratio below which a detection is looked at again."""
_TANGLED = 1.0
"""Fold from which a body of unknown direction belongs to the contradictions beside it."""
_ENOUGH = 8
"""Minimum number of detections to judge bones by."""
_HEAD = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
_SHOULDERS, _HIPS = ([INDEX[f"{side}_{name}"] for side in ("left", "right")] for name in ("shoulder", "hip"))


@dataclass(frozen=True)
class Judgement:
    """Detections of one person that cannot be right, and those that are to be confirmed, as masks.

    weak: far smaller than the surrounding ones, as with legs that end at the hips; looked at again, and kept if nothing
    better is found. doubted: long stretches, or most of the clip, upside down, without a visible turn; they stay unless
    a second look finds the body upright. direction: usual direction of the body, in degrees from upright.
    """

    implausible: Bool[np.ndarray, " sightings"]
    weak: Bool[np.ndarray, " sightings"]
    doubted: Bool[np.ndarray, " sightings"]
    direction: float


def judge(detections: Detections, own: Int[np.ndarray, " sightings"], cuts: Sequence[int]) -> Judgement:
    """Judge the detections of one person, given in order of their frames."""
    angles = body_angles(detections.points[own], detections.scores[own])
    direction = usual_direction(angles)
    frames, fps = detections.frames[own], float(detections.fps)
    scenes = np.searchsorted(np.asarray(cuts, int), frames, side="right")
    away = np.abs(turned(angles, direction))
    implausible, doubted = np.zeros(len(own), bool), np.zeros(len(own), bool)
    tangled = np.isnan(away) & (fold(detections, own.tolist()) > _TANGLED)
    for start, end in _runs(away > CONTRADICTS, np.isnan(away), scenes):
        first, last = start, end
        inside = np.flatnonzero(scenes == scenes[first])
        if _turns(frames, angles, direction, inside, first, last, fps):
            continue
        while first > inside[0] and tangled[first - 1]:
            first -= 1
        while last < inside[-1] and tangled[last + 1]:
            last += 1
        long = frames[last] - frames[first] + 1 >= _LONG * fps
        (doubted if long else implausible)[first : last + 1] = True  # with those of unknown direction between them
    if abs(direction) > CONTRADICTS:  # most of the clip is upside down
        doubted |= ~implausible & (away <= CONTRADICTS)
    impossible, weak = _impossible_bones(detections, own, ~implausible, scenes, fps)
    implausible |= impossible
    return Judgement(implausible, weak & ~implausible, doubted & ~implausible, direction)


def body_angles(
    points: Float[np.ndarray, "people points 2"], scores: Float[np.ndarray, "people points"]
) -> Float[np.ndarray, " people"]:
    """Return the direction from hips to head, degrees clockwise from upright; NaN if unknown or pointing at the camera.

    Without hips that from shoulders to head, without a head that from hips to shoulders.
    """
    head, shoulders, hips = (_middle(points, scores, joints) for joints in (_HEAD, _SHOULDERS, _HIPS))
    width = np.linalg.norm(points[:, _SHOULDERS[0]] - points[:, _SHOULDERS[1]], axis=1)
    up = head - hips
    for other in (shoulders - hips, head - shoulders):
        up = np.where(np.isfinite(up), up, other)
    seen = scores >= SEEN
    body = np.where(seen[..., None], points, np.nan)
    with np.errstate(invalid="ignore", all="ignore"):
        extent = np.fmax.reduce(np.fmax.reduce(body, axis=1) - np.fmin.reduce(body, axis=1), axis=1)
    length = np.linalg.norm(up, axis=1)
    short = length < np.where(np.isfinite(hips[:, 0]), 0.12 * extent, 0.3 * width)
    return np.where(short, np.nan, np.degrees(np.arctan2(up[:, 0], -up[:, 1])))


def usual_direction(angles: Float[np.ndarray, " people"]) -> float:
    """Return the direction that most bodies have, in degrees; 0 if none is known."""
    known = angles[np.isfinite(angles)]
    if not len(known):
        return 0.0
    candidates = np.arange(-180, 180, 15)
    near = np.abs(turned(known[:, None], candidates[None])) < 45
    best = float(candidates[int(near.sum(axis=0).argmax())])
    around = turned(known, best)
    return float(turned(best + float(np.median(around[np.abs(around) < 45])), 0.0))


def turned(
    angles: Float[np.ndarray, "..."] | float, direction: Float[np.ndarray, "..."] | Int[np.ndarray, "..."] | float
) -> Float[np.ndarray, "..."]:
    """Return the angle from a direction, -180 to 180 degrees."""
    return np.asarray((np.asarray(angles, float) - direction + 180) % 360 - 180)


def _middle(points: np.ndarray, scores: np.ndarray, joints: Sequence[int]) -> Float[np.ndarray, "people 2"]:
    seen = scores[:, joints] >= SEEN
    total = np.where(seen[..., None], points[:, joints], 0).sum(axis=1)
    count = seen.sum(axis=1)[:, None]
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _runs(
    marked: Bool[np.ndarray, " people"], unknown: Bool[np.ndarray, " people"], scenes: Int[np.ndarray, " people"]
) -> list[tuple[int, int]]:
    """Return (first, last) of each run of marked ones in a scene; unknown ones between them do not end it."""
    runs: list[tuple[int, int]] = []
    for number in np.flatnonzero(marked).tolist():
        if runs and scenes[number] == scenes[runs[-1][1]] and unknown[runs[-1][1] + 1 : number].all():
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return runs


def _turns(
    frames: Int[np.ndarray, " people"],
    angles: Float[np.ndarray, " people"],
    direction: float,
    scene: Int[np.ndarray, " scene"],
    first: int,
    last: int,
    fps: float,
) -> bool:
    """Return True if the body is seen to turn into a run of contradictions, or out of it."""
    for border, step, stop in ((first, -1, int(scene[0]) - 1), (last, 1, int(scene[-1]) + 1)):
        way = [number for number in range(border, stop, step) if np.isfinite(angles[number])]
        continuous = False
        for here, there in pairwise(way):
            between = abs(int(frames[there]) - int(frames[here])) / fps
            limit = float(np.clip(_FASTEST * between, *_STEP))
            if abs(float(turned(angles[there], angles[here]))) > limit:
                break
            if abs(int(frames[there]) - int(frames[border])) / fps > _TURNS_WITHIN + 2 / fps:
                break
            if abs(float(turned(angles[there], direction))) < 60:
                continuous = True
                break
        if continuous:
            return True
    return False


def _impossible_bones(
    detections: Detections,
    own: Int[np.ndarray, " sightings"],
    usable: Bool[np.ndarray, " sightings"],
    scenes: Int[np.ndarray, " sightings"],
    fps: float,
) -> tuple[Bool[np.ndarray, " sightings"], Bool[np.ndarray, " sightings"]]:
    """Find detections far taller than the surrounding ones with bones far longer than the clip's, and far smaller ones.

    Detections of scenes with too few to tell are neither.
    """
    height = detections.heights[own]
    local = np.full(len(own), np.nan)
    for scene in np.unique(scenes).tolist():
        inside = np.flatnonzero(scenes == scene)
        known = inside[np.isfinite(height[inside]) & usable[inside]]
        if len(known) >= _ENOUGH:
            heights = np.interp(inside, known, height[known])
            local[inside] = median_filter(heights, size=min(len(inside), 2 * round(fps) + 1), mode="nearest")
    with np.errstate(invalid="ignore"):
        tall, small = height > _TOO_TALL * local, height < _TOO_SMALL * local
    too_long = np.zeros(len(own), int)
    points, seen = detections.points[own], detections.scores[own] >= SEEN
    for one, other in _BONES:
        both = seen[:, one] & seen[:, other]
        length = np.linalg.norm(points[:, one] - points[:, other], axis=1) / local
        if (both & usable & np.isfinite(local)).sum() >= _ENOUGH:
            too_long += both & (length > _TOO_LONG * np.nanquantile(length[both & usable], 0.75))
    return (too_long >= _MANY_BONES) & tall, small
