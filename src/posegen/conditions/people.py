"""Recognises people through a clip, also after cuts and long absences, numbers them, and chooses one of them.

People are recognised by looks and size; nothing is learned about who they are. Numbers count from 1, by first
appearance, then from left to right.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float16, Int
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from posegen.conditions.detections import Detections
from posegen.conditions.link_costs import max_jump
from posegen.conditions.looks import mean_looks, similarity
from posegen.conditions.track_pieces import Piece
from posegen.config import PersonChoice
from posegen.errors import PosegenError

EARLY = 1.0
"""Seconds from the first sighting of anybody that count as the beginning of a clip."""
THERE = 0.3
"""Share of the beginning in which somebody must be seen to count as there."""
_MOSTLY = 0.5
"""Share of the frames between their first and last sighting in which somebody must be seen to count fully."""
BEGINNING = 0.5
"""Seconds from the first sighting in which `left`, `right` and a point are looked up."""
SHORTEST = 0.12
"""Minimum duration in seconds of somebody who is counted, if there are others."""
_FEW_POINTS = 5
"""Minimum number of body points of somebody who is counted, if there are others: not an arm that enters."""
SMALL = 0.25
"""Size, relative to the largest, below which people are not considered at the left or the right."""
RECOGNISED, SAME_SCENE = 0.82, 0.82
"""Minimum similarity of looks of one person after a cut, and after an absence within a scene."""
ONLY_ONE = 0.7
"""The same where nobody else is in the scene."""
WALKS_AWAY = 1.0
"""Seconds after which somebody may appear anywhere."""
_SIZES = float(np.log(2.0))
"""Maximum change in size over an absence within a scene, as a logarithm."""


@dataclass(frozen=True)
class SeenPerson:
    """Somebody who was seen in a clip.

    number: from 1; detections: in order of frames; best: the detection that shows them best; looks: their mean.
    """

    number: int
    detections: Int[np.ndarray, " sightings"]
    best: int
    looks: Float16[np.ndarray, "44"]


def recognise(detections: Detections, chains: Sequence[Piece], cuts: Sequence[int]) -> list[SeenPerson]:
    """Join the chains of the same people, and number those who count as people.

    Within a scene, somebody who was away is recognised only by agreeing looks and size, or if nobody else was there.
    """
    chains = sorted(chains, key=lambda chain: (int(detections.frames[chain[0]]), float(detections.boxes[chain[0], 0])))
    real = [chain for chain in chains if _counts(detections, chain)]
    real = real or chains  # only hands or a face: nobody shows more
    scenes = np.searchsorted(np.asarray(cuts, int), detections.frames[[chain[0] for chain in real]], side="right")
    known: list[list[Piece]] = []
    for scene in np.unique(scenes).tolist():
        here = [chain for chain, own in zip(real, scenes, strict=True) if own == scene]
        _join_scene(detections, known, here)
    joined = [np.array(sorted(index for chain in person for index in chain)) for person in known]
    joined.sort(key=lambda own: (int(detections.frames[own[0]]), float(detections.boxes[own[0], 0])))
    return [
        SeenPerson(number, own, best_detection(detections, own), mean_looks(detections.looks[_spread(own)]))
        for number, own in enumerate(joined, start=1)
    ]


def choose_person(
    detections: Detections, people: Sequence[SeenPerson], choice: PersonChoice, cuts: Sequence[int] = ()
) -> SeenPerson:
    """Return the chosen one of the people. Raises `PosegenError` for a number that nobody has."""
    if isinstance(choice, int):
        if choice > len(people):
            raise PosegenError(_no_such_number(detections, people, choice))
        return people[choice - 1]
    if isinstance(choice, tuple):
        point = choice
        return min(people, key=lambda person: _away_from(detections, person, point))
    if choice == "largest":
        return max(people, key=lambda person: _prominence(detections, person, cuts))
    return _at_side(detections, people, choice)


def describe_place(detections: Detections, index: int) -> str:
    """Return where a detection is, in words."""
    left, _, right, _ = detections.boxes[index].tolist()
    middle = (left + right) / 2 / max(detections.size[1], 1)
    return "at the left" if middle < 1 / 3 else "at the right" if middle > 2 / 3 else "in the middle"


def areas(detections: Detections, own: Int[np.ndarray, " people"]) -> np.ndarray:
    """Return the part of each person's box inside the frame in square pixels; a thin box counts as a wider one."""
    height, width = detections.size
    boxes = detections.boxes[own].clip(0, [width, height, width, height])
    sides = boxes[:, 2:] - boxes[:, :2]
    longer = sides.max(axis=1)
    return np.asarray(longer * np.maximum(sides.min(axis=1), 0.4 * longer))


def _counts(detections: Detections, chain: Piece) -> bool:
    """Return True for a chain that is long enough and shows enough of a person."""
    if len(chain) < max(2, SHORTEST * float(detections.fps)):
        return False
    return float(np.median(detections.body_seen[chain].sum(axis=1))) >= _FEW_POINTS


def _join_scene(detections: Detections, known: list[list[Piece]], here: Sequence[Piece]) -> None:
    """Add the chains of one scene to the people they belong to, or as new ones, in place."""
    before = [list(person) for person in known]
    added: list[int] = []
    # those seen longest are recognised first: each person of earlier scenes at most once
    if before and here:
        looks = np.stack([_looks(detections, person) for person in before])
        new = np.stack([_looks(detections, [chain]) for chain in here])
        alike = np.nan_to_num(similarity(looks[:, None], new[None]), nan=0.0)
        rows, columns = linear_sum_assignment(-np.where(alike >= RECOGNISED, alike, 0))
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if alike[row, column] >= RECOGNISED:
                known[row].append(here[column])
                added.append(column)
    waiting = [chain for number, chain in enumerate(here) if number not in added]
    for chain in waiting:
        candidates = [
            (fit, place)
            for place, person in enumerate(known)
            if (fit := _returns(detections, person, chain, here)) is not None
        ]
        if candidates:
            place = max(candidates)[1]
            known[place] = sorted([*known[place], chain], key=lambda each: int(detections.frames[each[0]]))
        else:
            known.append([chain])


def _returns(detections: Detections, person: Sequence[Piece], chain: Piece, here: Sequence[Piece]) -> float | None:
    """Return how well a chain fits somebody who was in the same scene before or after it, None if not at all."""
    own = [each for each in person if any(each is other for other in here)]
    if not own:
        return None
    frames = set(detections.frames[chain].tolist())
    if any(frames.intersection(detections.frames[each].tolist()) for each in own):
        return None
    alike = float(similarity(_looks(detections, own), _looks(detections, [chain])))
    sizes = [_size(detections, each) for each in (np.concatenate(own), np.array(chain))]
    if np.isfinite(sizes).all() and abs(float(np.log(sizes[0] / sizes[1]))) > _SIZES:
        return None
    if len(own) == len(here) - 1:  # nobody else was ever in this scene
        return None if alike < ONLY_ONE or _jumps(detections, own, chain) else 1.0
    return alike if alike >= SAME_SCENE else None


def _jumps(detections: Detections, own: Sequence[Piece], chain: Piece) -> bool:
    """Return True if the chain is farther away than somebody gets in the time between."""
    boxes, frames = detections.boxes, detections.frames
    for before, after in [(each[-1], chain[0]) for each in own] + [(chain[-1], each[0]) for each in own]:
        seconds = float(frames[after] - frames[before]) / float(detections.fps)
        if 0 < seconds < WALKS_AWAY:
            apart = (
                float(np.linalg.norm(boxes[before, :2] + boxes[before, 2:] - boxes[after, :2] - boxes[after, 2:])) / 2
            )
            if apart > float(max_jump(seconds)) * float(max(detections.extents[[before, after]])):
                return True
    return False


def _looks(detections: Detections, chains: Sequence[Piece]) -> Float16[np.ndarray, "44"]:
    return mean_looks(detections.looks[_spread(np.concatenate([np.array(chain) for chain in chains]))])


def _spread(own: Int[np.ndarray, " people"], most: int = 64) -> Int[np.ndarray, " some"]:
    return own[np.unique(np.linspace(0, len(own) - 1, min(len(own), most)).round().astype(int))]


def _size(detections: Detections, own: Int[np.ndarray, " people"]) -> float:
    heights = detections.heights[own]
    heights = heights[np.isfinite(heights)]
    return float(np.median(heights)) if len(heights) else float("nan")


def best_detection(detections: Detections, own: Int[np.ndarray, " people"], unlike: np.ndarray | float = 0.0) -> int:
    """Return the detection that shows most of a person, the largest of those; `unlike`: how little each fits them."""
    shown = detections.scores[own][:, :17].sum(axis=1)
    area = areas(detections, own)
    return int(own[np.argmax(shown + 4 * area / max(float(area.max()), 1e-6) - 8 * unlike)])


def _prominence(detections: Detections, person: SeenPerson, cuts: Sequence[int]) -> float:
    """Return the mean size over the whole clip, where absence counts as 0, plus twice that at its beginning.

    At the beginning, absence counts only for those who are hardly there: an estimator may need some frames to find
    somebody. Size is standing height times extent, so that spread arms do not count.
    """
    first, own = int(detections.frames[0]), person.detections
    scene = min([cut for cut in cuts if cut > first], default=detections.num_frames)
    early = max(1.0, min(EARLY * float(detections.fps), scene - first))
    extents = np.minimum(detections.extents[own], np.sqrt(areas(detections, own) / 0.4))
    sizes = sizes_of(detections.heights[own], extents)
    begins = detections.frames[own] < first + early
    presence = len(own) / (int(detections.frames[own[-1]]) - int(detections.frames[own[0]]) + 1)
    there = min(float(begins.sum()) / (THERE * early), 1.0) * min(presence / _MOSTLY, 1.0)
    beginning = there * float(sizes[begins].mean()) if begins.any() else 0.0
    return 2 * beginning + float(sizes.sum()) / max(detections.num_frames - first, 1)


def sizes_of(heights: Float[np.ndarray, " people"], extents: Float[np.ndarray, " people"]) -> np.ndarray:
    """Return the sizes by which people are compared, in square pixels: standing height times extent."""
    sizes = np.nan_to_num(heights, nan=0.0) * extents
    return np.asarray(np.where(sizes > 0, sizes, extents**2))


def _at_side(detections: Detections, people: Sequence[SeenPerson], side: str) -> SeenPerson:
    last = int(detections.frames[0]) + max(1.0, BEGINNING * float(detections.fps))
    early = {
        person.number: own
        for person in people
        if len(own := person.detections[detections.frames[person.detections] < last])
    }
    sizes = {number: float(np.median(areas(detections, own))) for number, own in early.items()}
    there = [
        person for person in people if person.number in sizes and sizes[person.number] > SMALL * max(sizes.values())
    ]
    boxes = detections.boxes

    def middle(person: SeenPerson) -> float:
        own = boxes[early[person.number]]
        return float(np.median((own[:, 0] + own[:, 2]) / 2))

    return min(there, key=middle) if side == "left" else max(there, key=middle)


def _away_from(detections: Detections, person: SeenPerson, point: tuple[float, float]) -> tuple[float, float, float]:
    """Return how far somebody is from a point of the first frames: how late, outside the box, off its middle."""
    frames = detections.frames[person.detections]
    late = float(max(0.0, frames[0] - max(1.0, BEGINNING * float(detections.fps))))
    return late, *distance_from_point(detections.boxes[person.detections[0]], point)


def distance_from_point(box: Float[np.ndarray, "4"], point: tuple[float, float]) -> tuple[float, float]:
    """Return how far a point is outside a box (left, top, right, bottom), and how far from its middle, in pixels."""
    left, top, right, bottom = box.tolist()
    more = 0.1 * max(right - left, bottom - top)  # hair, hands and clothes reach beyond the points
    x, y = point
    outside = float(np.hypot(max(left - more - x, 0, x - right - more), max(top - more - y, 0, y - bottom - more)))
    return outside, float(np.hypot((left + right) / 2 - x, (top + bottom) / 2 - y))


def _no_such_number(detections: Detections, people: Sequence[SeenPerson], number: int) -> str:
    there = ", ".join(
        f"{person.number} {describe_place(detections, int(person.detections[0]))} from second "
        f"{float(detections.frames[person.detections[0]] / detections.fps):.1f}"
        for person in people[:8]
    )
    count = "1 person is" if len(people) == 1 else f"{len(people)} people are"
    more = "" if len(people) <= 8 else ", ..."
    return f"--person {number}: {count} in the driving video ({there}{more}); `posegen preview` shows their numbers"
