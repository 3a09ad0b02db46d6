"""Decides, when a clip was seen to its end, in which detections the followed person is.

The whole clip is known, so the decision does not depend on one frame: people are linked forwards and backwards
(`linked_pieces`), recognised after cuts and absences (`people`), and detections that cannot be right are dropped
(`plausibility`). In scenes without the person, the largest one there is followed, which is reported.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from posegen.conditions.detections import Detections
from posegen.conditions.exchanges import settle_exchanges
from posegen.conditions.linked_pieces import link_people
from posegen.conditions.people import SeenPerson, areas, choose_person, recognise
from posegen.conditions.plausibility import judge
from posegen.config import PersonChoice

VERSION = "4"
"""Version, increased when the same detections would give another person or other frames."""


@dataclass(frozen=True)
class Following:
    """Decision about a clip.

    people: everybody, numbered; person: the followed one. chosen: index of the detection in each frame, -1 without the
    person; implausible, weak, doubted: frames whose detection cannot be right, could be better, or is to be confirmed
    by a second look; others: frames in which only somebody else is detected. replaced: (first, last) frame of each
    scene in which somebody else is followed. direction: the body's usual one, in degrees from upright.
    """

    people: tuple[SeenPerson, ...]
    person: SeenPerson
    chosen: Int[np.ndarray, " frames"]
    implausible: Bool[np.ndarray, " frames"]
    weak: Bool[np.ndarray, " frames"]
    doubted: Bool[np.ndarray, " frames"]
    others: Bool[np.ndarray, " frames"]
    replaced: tuple[tuple[int, int], ...]
    direction: float

    @property
    def usable(self) -> Bool[np.ndarray, " frames"]:
        """Frames with a detection of the person that is not implausible."""
        return (self.chosen >= 0) & ~self.implausible


def follow_person(detections: Detections, cuts: Sequence[int], choice: PersonChoice) -> Following | None:
    """Decide who is followed and where they are; None if nobody was detected.

    cuts: first frames of scenes. Raises `PosegenError` for a chosen number that nobody has.
    """
    if not len(detections):
        return None
    people = settle_exchanges(detections, recognise(detections, link_people(detections, cuts), cuts))
    person = choose_person(detections, people, choice, cuts)
    chosen = np.full(detections.num_frames, -1)
    chosen[detections.frames[person.detections]] = person.detections
    replaced = _fill_scenes(detections, cuts, people, chosen)
    own = chosen[chosen >= 0]
    judgement = judge(detections, own, cuts)
    implausible, weak, doubted = (np.zeros(detections.num_frames, bool) for _ in range(3))
    implausible[detections.frames[own]] = judgement.implausible
    weak[detections.frames[own]] = judgement.weak
    doubted[detections.frames[own]] = judgement.doubted
    others = (np.diff(detections.first) > 0) & (chosen < 0)
    return Following(
        people=tuple(people),
        person=person,
        chosen=chosen,
        implausible=implausible,
        weak=weak,
        doubted=doubted,
        others=others,
        replaced=tuple(replaced),
        direction=judgement.direction,
    )


def most_at_once(detections: Detections, people: Sequence[SeenPerson]) -> int:
    """Return the maximum number of counted people in one frame."""
    count = np.zeros(detections.num_frames, int)
    for person in people:
        count[detections.frames[person.detections]] += 1
    return int(count.max(initial=0))


def _fill_scenes(
    detections: Detections, cuts: Sequence[int], people: Sequence[SeenPerson], chosen: Int[np.ndarray, " frames"]
) -> list[tuple[int, int]]:
    """Follow the largest of each scene in which the person never is, in place; return those scenes."""
    replaced = []
    for start, stop in zip((0, *cuts), (*cuts, detections.num_frames), strict=True):
        if (chosen[start:stop] >= 0).any():
            continue
        sizes = []
        for person in people:
            frames = detections.frames[person.detections]
            own = person.detections[(frames >= start) & (frames < stop)]
            sizes.append((float(areas(detections, own).sum()), own))
        size, own = max(sizes, key=lambda each: each[0])
        if size > 0 and len(own):
            chosen[detections.frames[own]] = own
            replaced.append((start, stop - 1))
    return replaced
