"""Fills short gaps of the followed person, and finds the same person again in sparse frames."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.keypoints import BODY, INDEX, SEEN, PersonPose, PoseSequence


def same_person(before: PersonPose | None, people: Sequence[PersonPose]) -> PersonPose | None:
    """Return the person nearest to the one in a much earlier frame; the largest if there is none."""
    if before is None:
        return max(people, key=lambda person: person.area, default=None)
    return min(people, key=lambda person: _distance(before, person), default=None)


def _distance(person: PersonPose, other: PersonPose) -> float:
    """Return the mean distance in pixels of body points seen in both, else of hands, else of the boxes' middles."""
    both = (person.scores >= SEEN) & (other.scores >= SEEN)
    if both[BODY].any():
        both[BODY.stop :] = False
    else:
        both = person.drawn & other.drawn
    if not both.any():
        return float(np.linalg.norm(person.center - other.center))
    return float(np.linalg.norm(person.keypoints[both] - other.keypoints[both], axis=1).mean())


def fill_gaps(
    sequence: PoseSequence, seen: Bool[np.ndarray, " frames"], max_seconds: float = 0.5, cuts: Sequence[int] = ()
) -> PoseSequence:
    """Interpolate linearly, in place, over frames without the person, in gaps of at most `max_seconds`.

    Scores of filled points are the lower of both ends'. Longer gaps, gaps at the ends, and gaps in which a new scene
    begins (`cuts`: the first frames of scenes) keep score 0.
    """
    keypoints, scores, hands = sequence.keypoints, sequence.scores, sequence.hands
    for before, after in gaps(seen):
        if after - before - 1 > max_seconds * sequence.fps or any(before < cut <= after for cut in cuts):
            continue
        weight = (np.arange(before + 1, after) - before) / (after - before)
        inside = slice(before + 1, after)
        keypoints[inside] = _mix(keypoints[before], keypoints[after], weight)
        hands[inside] = _mix(hands[before], hands[after], weight)
        scores[inside] = np.minimum(scores[before], scores[after])
    return sequence


def gaps(seen: Bool[np.ndarray, " frames"]) -> list[tuple[int, int]]:
    """Return (last seen frame before, first seen frame after) for each gap between two sightings."""
    frames = np.flatnonzero(seen)
    return [(int(a), int(b)) for a, b in pairwise(frames) if b > a + 1]


def _mix(before: np.ndarray, after: np.ndarray, weight: Float[np.ndarray, " gap"]) -> np.ndarray:
    weight = weight.astype(np.float32).reshape(-1, *[1] * before.ndim)
    return before * (1 - weight) + after * weight


def people_seen(everybody: Sequence[PersonPose], keeps_everybody: bool) -> list[PersonPose]:
    """Return the people who count as real detections and can be drawn.

    keeps_everybody: as in `PoseEstimator`; else a shoulder or the nose must be seen.
    """
    return [person for person in everybody if (person.extent > 0 if keeps_everybody else shoulders_seen(person))]


def shoulders_seen(person: PersonPose) -> bool:
    """Return True if at least one shoulder or the nose is seen: the minimum for a skeleton."""
    names = ("nose", "left_shoulder", "right_shoulder")
    return bool(any(person.scores[INDEX[name]] >= SEEN for name in names))
