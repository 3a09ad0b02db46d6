"""Follows one person through a clip and fills short gaps.

The person is the largest in the first frame in which anybody is seen, then always the nearest to where they were.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.keypoints import INDEX, SEEN, PersonPose, PoseSequence

MAX_JUMP = 1.0
"""Heights of the person that they may move between two sightings; farther away is somebody else."""


@dataclass(frozen=True)
class TrackingReport:
    """What was seen. `missing` frames could not be filled; `most_people` were seen at once."""

    num_frames: int
    seen: int
    interpolated: int
    missing: int
    most_people: int
    first_x: float
    """Where the followed person was first, as a fraction of the picture's width."""
    cuts: tuple[int, ...] = ()
    """Frames that begin a new scene."""

    def describe(self) -> str:
        """One line."""
        line = f"person followed in {self.seen} of {self.num_frames} frames"
        if self.interpolated:
            line += f", {self.interpolated} interpolated"
        if self.missing:
            line += f", {self.missing} without a person (nothing drawn there)"
        return line

    def warning(self) -> str | None:
        """One line if there were several people, saying who is followed."""
        if self.most_people < 2:
            return None
        place = "at the left" if self.first_x < 1 / 3 else "at the right" if self.first_x > 2 / 3 else "in the middle"
        return f"up to {self.most_people} people are in the video: following the one who is largest at first, {place}"


class Tracker:
    """Chooses one person in each frame. Feed it frame by frame.

    Somebody who was away for `patience` frames may come back anywhere, as long as there was never anybody else.
    """

    def __init__(self, width: int, patience: int = 25) -> None:
        self._width = width
        self._patience = patience
        self._away = 0
        self._new_scene = False
        self._last: PersonPose | None = None
        self.most_people = 0
        self.first_x = 0.5

    def begin_scene(self) -> None:
        """A cut may have come: the person may be anywhere now."""
        self._new_scene = True

    def choose(self, people: list[PersonPose]) -> PersonPose | None:
        """The followed person among `people`, or None if they are not there."""
        people = [person for person in people if person.area > 0]
        self.most_people = max(self.most_people, len(people))
        self._away += 1
        if not people:
            return None
        if self._last is None:
            chosen = max(people, key=lambda person: person.area)
            self.first_x = float(chosen.center[0]) / self._width
        else:
            last = self._last
            chosen = min(people, key=lambda person: _distance(person, last))
            _, top, _, bottom = last.box
            returned = self._new_scene or (self._away > self._patience and self.most_people == 1)
            if _distance(chosen, last) > MAX_JUMP * max(bottom - top, 1.0) and not returned:
                return None
        self._last, self._away, self._new_scene = chosen, 0, False
        return chosen


def _distance(person: PersonPose, other: PersonPose) -> float:
    """Mean distance in pixels of the body points seen in both; of the boxes' middles if there are none."""
    both = (person.scores[:17] >= SEEN) & (other.scores[:17] >= SEEN)
    if not both.any():
        return float(np.linalg.norm(person.center - other.center))
    return float(np.linalg.norm(person.keypoints[:17][both] - other.keypoints[:17][both], axis=1).mean())


def fill_gaps(
    sequence: PoseSequence, seen: Bool[np.ndarray, " frames"], max_seconds: float = 0.5, cuts: Sequence[int] = ()
) -> PoseSequence:
    """Interpolate linearly over frames without the person, where a gap lasts at most `max_seconds`.

    Scores of filled points are the lower of both ends'. Longer gaps, gaps at the ends, and gaps in which a new scene
    begins (`cuts`: the first frames of scenes) keep score 0.
    """
    keypoints, scores, hands = sequence.keypoints.copy(), sequence.scores.copy(), sequence.hands.copy()
    for before, after in gaps(seen):
        if after - before - 1 > max_seconds * sequence.fps or any(before < cut <= after for cut in cuts):
            continue
        weight = (np.arange(before + 1, after) - before) / (after - before)
        inside = slice(before + 1, after)
        keypoints[inside] = _mix(keypoints[before], keypoints[after], weight)
        hands[inside] = _mix(hands[before], hands[after], weight)
        scores[inside] = np.minimum(scores[before], scores[after])
    return PoseSequence(keypoints, scores, hands, sequence.size, sequence.fps)


def gaps(seen: Bool[np.ndarray, " frames"]) -> list[tuple[int, int]]:
    """(last seen frame before, first seen frame after) of each gap between two sightings."""
    frames = np.flatnonzero(seen)
    return [(int(a), int(b)) for a, b in pairwise(frames) if b > a + 1]


def _mix(before: np.ndarray, after: np.ndarray, weight: Float[np.ndarray, " gap"]) -> np.ndarray:
    weight = weight.astype(np.float32).reshape(-1, *[1] * before.ndim)
    return before * (1 - weight) + after * weight


def shoulders_seen(person: PersonPose) -> bool:
    """Whether at least one shoulder or the nose is seen: the least that a skeleton needs."""
    names = ("nose", "left_shoulder", "right_shoulder")
    return bool(any(person.scores[INDEX[name]] >= SEEN for name in names))
