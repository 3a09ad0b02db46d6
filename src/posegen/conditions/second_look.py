"""Plans and makes the second look: at frames in which the followed person is missing or cannot be right.

Where to look follows from the sightings before and after. In long gaps, looking goes on outwards for as long as the
person is found. A clip without such frames costs nothing here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from jaxtyping import Int

from posegen.conditions.detections import KEPT_POINTS, Detections, whole_person
from posegen.conditions.estimators.cropped import Box
from posegen.conditions.estimators.interfaces import SecondLook
from posegen.conditions.following import Following
from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import BODY, SEEN, PersonPose
from posegen.conditions.link_costs import max_jump
from posegen.conditions.looks import looks_of, similarity
from posegen.conditions.plausibility import CONTRADICTS, body_angles, turned
from posegen.types import Frame

_WHOLE_GAP = 1.5
"""Longest gap in seconds in which every frame is looked at; of longer ones only the ends."""
_AT_ENDS = 0.3
"""Seconds beside a sighting that are looked at, in long gaps and at the ends of a scene."""
_ROUNDS = 8
"""Maximum number of times that looking goes on by that much."""
_EDGE = 0.03
"""Distance from the frame's edge, in sides of the frame, of somebody who is just leaving."""
_SAMPLES = 12
"""Number of frames by which a long doubted stretch is confirmed."""
_SIZE = 1.7
"""Maximum ratio of a person's size to that in the sightings around."""
_NEAR = 8
"""Number of sightings before and after that tell the size."""
_RATHER = 0.08
"""Difference of looks by which a found body resembles somebody else more, to count as them."""
_SAME = 0.12
"""Maximum distance, in heights, of detections of the same person in the same frame."""

FrameReader = Callable[[Sequence[int]], Iterator[Frame]]
"""Reads the frames of the clip with these rising numbers."""


@dataclass(frozen=True)
class Expected:
    """Place in a frame at which somebody is expected.

    seconds: time to the nearest sighting; person: points interpolated between the sightings around; height: standing
    height, NaN if unknown.
    """

    box: Box
    person: PersonPose
    seconds: float
    height: float


@dataclass
class Found:
    """Result of the second look: new detections by frame, frames looked at, and frames no longer believed."""

    people: dict[int, PersonPose] = field(default_factory=dict)
    looked: set[int] = field(default_factory=set)
    refuted: set[int] = field(default_factory=set)


def frames_to_check(
    detections: Detections, following: Following, cuts: Sequence[int], found: Found | None = None
) -> list[int]:
    """Return the frames in which the person is missing near sightings, or cannot be right, if not yet looked at."""
    found = found or Found()
    usable, fps = following.usable, float(detections.fps)
    usable[sorted(found.refuted)] = False
    usable[sorted(found.people)] = True
    wanted = following.implausible | following.weak
    wanted[sorted(found.refuted)] = True
    reach = max(1, round(_AT_ENDS * fps))
    for start, stop in pairwise((0, *cuts, detections.num_frames)):
        seen = np.flatnonzero(usable[start:stop]) + start
        if not len(seen):
            continue
        for before, after in pairwise([start - 1, *seen.tolist(), stop]):
            missing = np.arange(before + 1, after)
            if not len(missing):
                continue
            inner = before >= start and after < stop
            if inner and len(missing) <= _WHOLE_GAP * fps:
                wanted[missing] = True
                continue
            for sighting, near in ((before, missing[:reach]), (after, missing[-reach:])):
                if start <= sighting < stop and not _leaves(detections, following, sighting, found):
                    wanted[near] = True
    wanted[sorted(found.looked)] = False
    return np.flatnonzero(wanted).tolist()


def look_again(
    detections: Detections,
    following: Following,
    cuts: Sequence[int],
    eyes: SecondLook,
    read: FrameReader,
    hands: bool = True,
) -> Found:
    """Look at the frames that need it; keep what fits to the sightings around and to the clip, with hands if wanted."""
    found = Found()
    expecting = _Expectations(detections, following, cuts)
    for run in _runs(np.flatnonzero(following.doubted)):
        sample = sorted(
            {int(run[place]) for place in np.linspace(0, len(run) - 1, min(len(run), _SAMPLES)).astype(int)}
        )
        if _is_refuted(detections, following, sample, eyes, read):
            found.refuted.update(int(frame) for frame in run)
    if found.refuted:
        expecting.forget(found.refuted)
    direction = following.direction
    if found.refuted and abs(direction) > CONTRADICTS:
        direction = 0.0
    for _ in range(_ROUNDS):
        frames, before = frames_to_check(detections, following, cuts, found), len(found.people)
        for frame, picture in zip(frames, read(frames), strict=True):
            found.looked.add(frame)
            expected = expecting.at(frame)
            if expected is None:
                continue
            people = eyes.look_again(picture, expected.box)
            people = [each for each in people if not _looks_like_another(detections, following, frame, each, picture)]
            person = _fitting(detections, following, frame, people, expected, direction)
            if person is not None:
                found.people[frame] = eyes.add_hands(picture, person) if hands else person
        if len(found.people) == before:
            break
        expecting.add(found.people)
    return found


class _Expectations:
    """Interpolates where the person is between the sightings of each scene."""

    def __init__(self, detections: Detections, following: Following, cuts: Sequence[int]) -> None:
        self._detections, self._chosen = detections, following.chosen
        self._usable = following.usable & ~following.weak
        self._own = self._chosen[self._usable]
        self._starts = np.array([0, *cuts, detections.num_frames])
        self._found: dict[int, PersonPose] = {}

    def add(self, people: dict[int, PersonPose]) -> None:
        """Take people who were found at a second look for sightings, too."""
        self._found = dict(people)

    def forget(self, frames: set[int]) -> None:
        """Leave out frames that are no longer believed."""
        self._usable[sorted(frames)] = False
        self._own = self._chosen[self._usable]

    def at(self, frame: int) -> Expected | None:
        """Return where the person is expected; None if the scene tells nothing."""
        scene = int(np.searchsorted(self._starts, frame, side="right")) - 1
        start, stop = int(self._starts[scene]), int(self._starts[scene + 1])
        usable = self._usable[start:stop].copy()
        usable[[each - start for each in self._found if start <= each < stop]] = True
        seen = np.flatnonzero(usable) + start
        place = int(np.searchsorted(seen, frame))
        around = [int(each) for each in (*seen[max(place - 1, 0) : place], *seen[place : place + 1])]
        if not around:
            own = int(self._chosen[frame])
            return None if own < 0 else self._expected([frame], [1.0], 1.0)
        weights = [1.0]
        if len(around) == 2:
            share = (frame - around[0]) / (around[1] - around[0])
            weights = [1 - share, share]
        seconds = min(abs(frame - each) for each in around) / float(self._detections.fps)
        return self._expected(around, weights, seconds)

    def _expected(self, frames: Sequence[int], weights: Sequence[float], seconds: float) -> Expected:
        detections = self._detections
        people = [self._found.get(each) or detections.person(int(self._chosen[each])) for each in frames]
        boxes = np.average([person.box for person in people], axis=0, weights=weights).tolist()
        kept = slice(0, KEPT_POINTS)
        points = np.average([person.keypoints[kept] for person in people], axis=0, weights=weights).astype(np.float32)
        scores = np.min([person.scores[kept] for person in people], axis=0)
        indices = np.searchsorted(detections.frames, frames)  # any detection of about that time
        near = np.searchsorted(self._own, indices)
        around = np.concatenate([self._own[max(place - _NEAR, 0) : place + _NEAR + 1] for place in near.tolist()])
        heights = detections.heights[around if len(around) else self._own]
        known = heights[np.isfinite(heights)]
        height = float(np.median(known)) if len(known) else float("nan")
        return Expected((boxes[0], boxes[1], boxes[2], boxes[3]), whole_person(points, scores), seconds, height)


def _fitting(
    detections: Detections,
    following: Following,
    frame: int,
    people: Sequence[PersonPose],
    expected: Expected,
    direction: float,
) -> PersonPose | None:
    """Return the one who is where the person is expected, of their size, plausible, and not somebody else."""
    extent = max(expected.box[2] - expected.box[0], expected.box[3] - expected.box[1], 1.0)
    limit = max(float(max_jump(expected.seconds)), 0.3) * extent
    best, nearest = None, limit
    for person in people:
        apart = _apart(person, expected.person)
        if (
            apart < nearest
            and _is_plausible(person, expected, direction)
            and not _is_another(detections, following, frame, person, extent)
        ):
            best, nearest = person, apart
    return best


def _is_plausible(person: PersonPose, expected: Expected, direction: float) -> bool:
    if (person.scores[BODY] >= SEEN).sum() < 4:
        return False
    angle, before = _angle(person), _angle(expected.person)
    contradicts = np.isfinite(angle) and abs(float(turned(angle, direction))) > CONTRADICTS
    if contradicts and not abs(float(turned(angle, before))) < 45:  # also where the angle before is unknown
        return False
    height = float(standing_height(person.keypoints[None], person.scores[None] >= SEEN)[0])
    return not abs(np.log(height / expected.height)) > np.log(_SIZE)


def _is_another(detections: Detections, following: Following, frame: int, person: PersonPose, extent: float) -> bool:
    """Return True if a person is somebody else who is known and was detected in this frame."""
    here = np.arange(detections.first[frame], detections.first[frame + 1])
    others = [each for each in following.people if each.number != following.person.number]
    known = [int(index) for index in here if any(_is_one_of(int(index), other.detections) for other in others)]
    return any(_apart(person, detections.person(index)) < _SAME * extent for index in known)


def _looks_like_another(
    detections: Detections, following: Following, frame: int, person: PersonPose, picture: Frame
) -> bool:
    """Return True if a body looks more like somebody else who is detected at about that time."""
    if len(following.people) < 2:
        return False
    looks, some = looks_of(picture, person), float(detections.fps)
    own = similarity(looks, following.person.looks)
    others = [
        similarity(looks, each.looks)
        for each in following.people
        if each.number != following.person.number and np.abs(detections.frames[each.detections] - frame).min() <= some
    ]
    return any(float(other) > float(own) + _RATHER for other in others)


def _is_one_of(index: int, rising: Int[np.ndarray, " numbers"]) -> bool:
    place = int(np.searchsorted(rising, index))
    return place < len(rising) and int(rising[place]) == index


def _is_refuted(
    detections: Detections, following: Following, frames: Sequence[int], eyes: SecondLook, read: FrameReader
) -> bool:
    """Return True if crops show an upright body in most frames of a stretch in which it seemed upside down."""
    votes = []
    for frame, picture in zip(frames, read(frames), strict=True):
        index = int(following.chosen[frame])
        left, top, right, bottom = (float(side) for side in detections.boxes[index])
        people = eyes.look_again(picture, (left, top, right, bottom))
        seen = detections.person(index)
        person = min(people, key=lambda each: float(np.linalg.norm(each.center - seen.center)), default=None)
        angle = float("nan") if person is None else _angle(person)
        if np.isfinite(angle):
            votes.append(abs(float(turned(angle, _angle(seen)))) > CONTRADICTS)
    return len(votes) >= max(1, len(frames) // 3) and bool(np.mean(votes) > 0.5)


def _angle(person: PersonPose) -> float:
    return float(body_angles(person.keypoints[None], person.scores[None])[0])


def _apart(person: PersonPose, other: PersonPose) -> float:
    """Return the mean distance of body points seen in both in pixels, else of the boxes' middles."""
    both = (person.scores[BODY] >= SEEN) & (other.scores[BODY] >= SEEN)
    if not both.any():
        return float(np.linalg.norm(person.center - other.center))
    return float(np.linalg.norm(person.keypoints[BODY][both] - other.keypoints[BODY][both], axis=1).mean())


def _leaves(detections: Detections, following: Following, frame: int, found: Found) -> bool:
    """Return True if the person is at the left or right edge of a frame."""
    again = found.people.get(frame)
    left, _, right, _ = detections.boxes[following.chosen[frame]].tolist() if again is None else again.box
    width = detections.size[1]
    return bool(left < _EDGE * width or right > (1 - _EDGE) * width)


def _runs(frames: Int[np.ndarray, " frames"]) -> list[Int[np.ndarray, " run"]]:
    """Split rising numbers where one is missing."""
    return [run for run in np.split(frames, np.flatnonzero(np.diff(frames) > 1) + 1) if len(run)]
