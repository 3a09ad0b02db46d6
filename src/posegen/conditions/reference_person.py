"""Finds the people of a reference image, and the person who is asked for (`--reference-person`).

Where the first look finds nobody who stands upright, the image is looked at again: padded, smaller, then in parts at
twice the size. A padded image can mislead an estimator (of a half-length portrait it may make a dwarf), so a second
look never overrules a plausible first one, and what several looks agree on counts more than a high score.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.conditions.estimators.choosing import make_reference_estimator
from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.keypoints import INDEX, SEEN, PersonPose
from posegen.conditions.person_choice import choose_person, from_left
from posegen.conditions.tracking import people_seen
from posegen.config import EstimatorConfig, PersonChoice
from posegen.errors import logger
from posegen.types import Image

_PADDING, _SMALL = 0.5, 320
"""Padding on each side in longer sides of the image, and the height in pixels of a reduced one."""
_PARTS = (0.5, 0.3)
"""Sides of parts that are looked at alone, enlarged, as fractions of the image's; the smaller if nobody was found."""
_AROUND = 0.5
"""Margin of the last look, around a person who was found, in extents."""
_ALIKE = 0.25
"""Maximum mean distance, in extents of the person, of two looks at the same person."""
_CERTAIN = 0.6
"""Minimum score (`_score`) of a person who is found at a second look."""
_CORE = [INDEX[name] for name in ("nose", "left_shoulder", "right_shoulder")]
_BODY = slice(0, 17)


@dataclass(frozen=True)
class ReferencePeople:
    """People of a reference image, numbered from the left, and the chosen one, with hands; None without anybody.

    second_look: the image had to be looked at again.
    """

    people: tuple[PersonPose, ...] = ()
    chosen: PersonPose | None = None
    number: int | None = None
    second_look: bool = False


NO_PEOPLE = ReferencePeople()


def find_reference_people(
    image: Image,
    estimators: EstimatorConfig = EstimatorConfig(),  # noqa: B008 - it is frozen
    device: str = "auto",
    choice: PersonChoice = "largest",
) -> ReferencePeople:
    """Find the people in a reference image, and which of them is meant; logs a line for what is not evident.

    Raises `PosegenError` for missing weights, and for a choice that nobody in the image fits.
    """
    estimator = make_reference_estimator(estimators, device)
    try:
        people, again = _look(image, estimator)
        if not people:
            return ReferencePeople(second_look=True)
        person = choose_person(people, choice, "--reference-person", "the reference image")
        if not again and not is_plausible(person) and (better := _found_again(image, estimator, person)) is not None:
            people = [better if each is person else each for each in people]
            person, again = better, True
        people = from_left(people)
        number = next(place for place, each in enumerate(people, 1) if each is person)
        if again:
            logger.warning("the person in the reference image was found at a second look, padded or at another scale")
        if len(people) > 1:
            logger.warning(
                "%d people are in the reference image: using %s (--reference-person; preview numbers them)",
                len(people),
                f"number {number} from the left" + (", the largest" if choice == "largest" else ""),
            )
        return ReferencePeople(tuple(people), estimator.add_hands(image, person), number, again)
    finally:
        estimator.close()


def is_plausible(person: PersonPose) -> bool:
    """Return True for an upright person: head above shoulders above hips, where each is seen, and both shoulders."""
    seen = person.scores >= SEEN
    left, right = INDEX["left_shoulder"], INDEX["right_shoulder"]
    if not (seen[left] and seen[right]):
        return False
    shoulders = float(person.keypoints[[left, right], 1].mean())
    head = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear") if seen[INDEX[name]]]
    hips = [INDEX[name] for name in ("left_hip", "right_hip") if seen[INDEX[name]]]
    above = not head or float(person.keypoints[head, 1].mean()) < shoulders
    return above and (not hips or shoulders < float(person.keypoints[hips, 1].mean()))


def _look(image: Image, estimator: PoseEstimator) -> tuple[list[PersonPose], bool]:
    """Return the people of the image, and whether it took a second look."""
    people = people_seen(estimator.estimate(image), estimator.keeps_everybody)
    return (people, False) if people else (_second_look(image, estimator), True)


def _found_again(image: Image, estimator: PoseEstimator, person: PersonPose) -> PersonPose | None:
    """Return the upright person at the place of an implausible one, if several looks agree on them."""
    reach = 0.5 * person.extent
    near = [each for each in _second_look(image, estimator, 2) if np.linalg.norm(each.center - person.center) < reach]
    return max(near, key=_score, default=None)


def _second_look(image: Image, estimator: PoseEstimator, looks: int = 1) -> list[PersonPose]:
    """Return the plausible people that the best looks show, those of at least so many `looks`."""
    for views in (_whole_views(image), *(_parts(image, share) for share in _PARTS)):
        sightings = [
            found
            for picture, back in views
            for person in people_seen(estimator.estimate(picture), estimator.keeps_everybody)
            if is_plausible(found := _inside(person, back, image))
        ]
        groups: list[list[PersonPose]] = []
        for sighting in sorted(sightings, key=_score, reverse=True):
            group = next((group for group in groups if _same(group[0], sighting)), None)
            if group is None:
                groups.append([sighting])
            else:
                group.append(sighting)
        groups = [group for group in groups if len(group) >= looks and _score(group[0]) >= _CERTAIN]
        if groups:
            most = max(len(group) for group in groups)
            return [_closer(image, estimator, group[0]) for group in groups if 2 * len(group) >= most]
    return []


def _closer(image: Image, estimator: PoseEstimator, person: PersonPose) -> PersonPose:
    """Return the person as the surroundings of a sighting alone show them, if they are as well seen there."""
    left, top, right, bottom = person.box
    more = _AROUND * person.extent
    sides = np.array([left - more, top - more, right + more, bottom + more]).round().astype(int)
    height, width = image.shape[:2]
    box = [int(side) for side in np.clip(sides, 0, [width, height, width, height])]
    if min(box[2] - box[0], box[3] - box[1]) < 2:
        return person
    picture, back = _part(image, (box[0], box[1], box[2], box[3]), max(1.0, 2 * _SMALL / (box[3] - box[1])))
    found = people_seen(estimator.estimate(picture), estimator.keeps_everybody)
    better = [other for each in found if is_plausible(other := _inside(each, back, image)) and _same(other, person)]
    best = max(better, key=_score, default=person)
    return best if _score(best) > _score(person) else person


View = UInt8[np.ndarray, "view_height view_width 3"]
Back = Callable[[np.ndarray], np.ndarray]
"""Maps points (x, y) of a view to the image."""


def _whole_views(image: Image) -> Iterator[tuple[View, Back]]:
    """Yield the image padded in several ways and reduced, each with the way back to its pixels."""
    height, width = image.shape[:2]
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    mean = tuple(float(value) for value in edges.mean(axis=0))
    for share, border, wanted in (
        (_PADDING, cv2.BORDER_REPLICATE, None),
        (_PADDING, cv2.BORDER_CONSTANT, None),
        (2 * _PADDING, cv2.BORDER_CONSTANT, None),
        (0.0, cv2.BORDER_CONSTANT, _SMALL),
        (_PADDING, cv2.BORDER_CONSTANT, _SMALL),
    ):
        edge = round(share * max(height, width))
        picture = cv2.copyMakeBorder(image, edge, edge, edge, edge, border, value=mean)
        scale = 1.0 if wanted is None else wanted / picture.shape[0]
        yield _scaled(picture, scale), partial(_back, scale=scale, corner=np.array([-edge, -edge]))


def _parts(image: Image, share: float) -> Iterator[tuple[View, Back]]:
    """Yield overlapping parts of the image, enlarged to its size or nearly so, with the way back to its pixels."""
    height, width = image.shape[:2]
    high, wide = max(2, round(share * height)), max(2, round(share * width))
    steps = 2 * round(1 / share) - 1
    for top in np.linspace(0, height - high, steps).round().astype(int).tolist():
        for left in np.linspace(0, width - wide, steps).round().astype(int).tolist():
            yield _part(image, (left, top, left + wide, top + high), 1 / share)


def _part(image: Image, box: tuple[int, int, int, int], scale: float) -> tuple[View, Back]:
    left, top, right, bottom = box
    return _scaled(image[top:bottom, left:right], scale), partial(_back, scale=scale, corner=np.array([left, top]))


def _back(points: np.ndarray, scale: float, corner: np.ndarray) -> np.ndarray:
    """Map points of a view, scaled from a part whose corner is at `corner` (x, y), to the image."""
    return np.asarray((points + 0.5) / scale - 0.5 + corner)


def _scaled(picture: UInt8[np.ndarray, "height width 3"], scale: float) -> View:
    if scale == 1:
        return np.ascontiguousarray(picture)
    size = [max(2, round(side * scale)) for side in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def _inside(person: PersonPose, back: Back, image: Image) -> PersonPose:
    """Map a person found in a view to the image; points outside it, in the padding, are not seen."""
    points = back(person.keypoints.astype(np.float64))
    height, width = image.shape[:2]
    outside = (points < -0.5).any(axis=1) | (points[:, 0] > width - 0.5) | (points[:, 1] > height - 0.5)
    return PersonPose(points.astype(np.float32), np.where(outside, 0, person.scores).astype(np.float32))


def _score(person: PersonPose) -> float:
    """Return the mean score of the body, head and shoulders twice."""
    return float((person.scores[_BODY].mean() + person.scores[_CORE].mean()) / 2)


def _same(person: PersonPose, other: PersonPose) -> bool:
    both = (person.scores[_BODY] >= SEEN) & (other.scores[_BODY] >= SEEN)
    if not both.any():
        return False
    apart = np.linalg.norm(person.keypoints[_BODY][both] - other.keypoints[_BODY][both], axis=1).mean()
    return bool(apart < _ALIKE * max(person.extent, other.extent))
