"""Guesses in each frame who is the followed person while a video passes by, and fills short gaps.

The guess is the largest in the first frame with people, then always the one nearest to the predicted position; it says
whose hands to look for. `following` decides when the whole clip is known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from posegen.conditions.keypoints import BODY, HANDS, INDEX, SEEN, PersonPose, PoseSequence

MAX_JUMP = 1.0
"""Maximum movement between two sightings, in heights of the person; anyone farther away is another person."""
_HEIGHT_IN_HANDS = 10.0
"""Height of a person in hand lengths."""
_COAST = 10
"""Number of frames for which an unseen person is predicted to keep moving as before."""
_APART = 3
"""Number of frames beside the followed person after which a detection counts as another person, not a duplicate."""


@dataclass
class _PersonTrack:
    """Track of a person: their last pose, and their movement in pixels per frame."""

    last: PersonPose
    velocity: np.ndarray
    away: int = 0
    """Number of frames since the last pose."""
    apart: int = 0
    """Number of frames clearly beside the followed person."""

    def distance(self, person: PersonPose) -> float:
        """Return the distance of a person from the predicted position."""
        moved = min(self.away, _COAST) * self.velocity
        return _distance(person, PersonPose((self.last.keypoints + moved).astype(np.float32), self.last.scores))

    def see(self, person: PersonPose) -> None:
        """Update the track with a new pose."""
        both = (person.scores[:17] >= SEEN) & (self.last.scores[:17] >= SEEN)
        if both.any() and self.away <= _COAST:
            step = (person.keypoints[:17][both] - self.last.keypoints[:17][both]).mean(axis=0) / self.away
            self.velocity = 0.5 * self.velocity + 0.5 * step
        else:
            self.velocity = np.zeros(2)
        self.last, self.away = person, 0


class Tracker:
    """Chooses one person in each frame; frames are passed in order.

    Others are tracked as well, so that two people who cross, where one may hide the other, are not confused: each is
    predicted from their movement. A person who was away for `patience` frames may return anywhere, if there was never
    another person: in `_APART` frames or more, since models sometimes detect a person twice.
    """

    def __init__(self, width: int, patience: int = 25) -> None:
        self._width = width
        self._patience = patience
        self._new_scene = False
        self._followed: _PersonTrack | None = None
        self._others: list[_PersonTrack] = []
        self.most_people = 0
        self.first_x = 0.5

    def begin_scene(self) -> None:
        """Start a possible new scene, in which people may be anywhere."""
        self._new_scene = True

    def choose(self, people: list[PersonPose]) -> PersonPose | None:
        """Return the followed person among `people`, or None if absent."""
        people = [person for person in people if person.extent > 0]
        self.most_people = max(self.most_people, min(len(people), 1))
        for track in self._tracks():
            track.away += 1
        if not people:
            return None
        if self._followed is None:
            chosen = max(people, key=lambda person: person.area)
            self._followed = _PersonTrack(chosen, np.zeros(2))
            self.first_x = float(chosen.center[0]) / self._width
            found: PersonPose | None = chosen
        else:
            found = self._match(self._followed, people)
        self._remember([person for person in people if person is not found])
        return found

    def _tracks(self) -> list[_PersonTrack]:
        return ([] if self._followed is None else [self._followed]) + self._others

    def _match(self, followed: _PersonTrack, people: list[PersonPose]) -> PersonPose | None:
        """Match people to tracks and return the followed person; the other tracks take the people they match better."""
        nearest = min(people, key=followed.distance)
        limit = MAX_JUMP * _height(followed.last)
        anywhere = self._new_scene or (followed.away > self._patience and self.most_people == 1)
        if anywhere:
            self._others = []
        rivals = [track for track in self._others if track.apart >= _APART]
        distances = np.array([[track.distance(person) for person in people] for track in (followed, *rivals)])
        allowed = np.minimum(distances, 10 * limit)  # anyone farther away counts as absent
        who, whom = linear_sum_assignment(allowed)
        taken = dict(zip(who.tolist(), whom.tolist(), strict=True))
        chosen = people[taken[0]] if 0 in taken else None
        if anywhere:
            chosen = nearest
        elif chosen is None or distances[0, taken[0]] > limit:
            return None
        followed.see(chosen)
        if anywhere:  # a jump says nothing about velocity
            followed.velocity = np.zeros(2)
        self._new_scene = False
        return chosen

    def _remember(self, people: list[PersonPose]) -> None:
        """Track the people who were not chosen."""
        assert self._followed is not None
        last = self._followed.last
        reach = _height(last)
        self._others = [track for track in self._others if track.away <= self._patience]
        left = list(people)
        for track in sorted(self._others, key=lambda track: track.away):
            nearest = min(left, key=track.distance, default=None)
            if nearest is not None and track.distance(nearest) <= MAX_JUMP * reach:
                track.see(nearest)
                left = [person for person in left if person is not nearest]
        self._others += [_PersonTrack(person, np.zeros(2)) for person in left]
        for track in self._others:
            track.apart += track.away == 0 and _distance(track.last, last) > 0.25 * reach
        beside = sum(track.away == 0 and track.apart >= _APART for track in self._others)
        self.most_people = max(self.most_people, beside + (self._followed.away == 0))


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


def _height(person: PersonPose) -> float:
    """Return the height of the box in pixels, at least 1; estimated from the hands if no body is seen."""
    _, top, _, bottom = person.box
    height = max(bottom - top, 1.0)
    if (person.scores[BODY] >= SEEN).sum() < 2:
        hands = [person.keypoints[hand][person.drawn[hand]] for hand in HANDS]
        height = max([height, *(_HEIGHT_IN_HANDS * float(np.ptp(hand, axis=0).max()) for hand in hands if len(hand))])
    return height


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
