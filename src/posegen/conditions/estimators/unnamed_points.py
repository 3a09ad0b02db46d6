"""Decides whether 17 points without names are COCO's or Human3.6M's: the layout with shorter bones is right.

Connected joints are near each other in any pose, and bones between the wrong points cross the body. In clips of people
dancing, talking, turning and leaving, Human3.6M's points read as COCO's have bones 1.4 to 2.8 times as long as when
read correctly, in every frame; for COCO's points that ratio has a median of 1.0 or less in each clip.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.estimators.keypoint_content import UNNAMED_POINTS, People
from posegen.conditions.estimators.layouts import HUMAN36M_17, to_wholebody
from posegen.conditions.keypoints import SEEN, PersonPose

_COCO_BONES = (
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 5), (0, 6), (5, 7), (7, 9), (6, 8), (8, 10), (5, 11), (6, 12), (11, 13),
    (13, 15), (12, 14), (14, 16),
)  # fmt: skip  # a table, read in rows
_HUMAN36M_BONES = (
    (0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10), (8, 11), (11, 12), (12, 13),
    (8, 14), (14, 15), (15, 16),
)  # fmt: skip  # a table, read in rows
_FEWEST_BONES = 3
"""Minimum number of bones that a person must show in both layouts to count."""
_LONGER = 0.3
"""Minimum log ratio of bone lengths, read as COCO to read as Human3.6M, for Human3.6M."""
_CLEARLY = 0.15
"""Distance from that threshold below which the decision is a guess."""


@dataclass(frozen=True)
class PointOwner:
    """Decision on points without names, and the reason for doubt, if any."""

    is_human36m: bool
    doubt: str | None = None

    @property
    def name(self) -> str:
        """Name of the data set."""
        return "Human3.6M" if self.is_human36m else "COCO"

    @property
    def description(self) -> str:
        """Description of the decision."""
        return f"17 points without names taken as those of {self.name} by the lengths of bones"


def name_points(people: Sequence[People], unnamed: Sequence[Sequence[bool]]) -> tuple[list[People], PointOwner | None]:
    """Reorder the points of the people of all frames, and return the decision; None if no person is `unnamed`.

    people: in pixels, unnamed ones with the 17 points in the file's own order.
    """
    pairs = [list(zip(*frame, strict=True)) for frame in zip(people, unnamed, strict=True)]
    asked = [person for frame in pairs for person, is_asked in frame if is_asked]
    if not asked:
        return list(people), None
    first = slice(0, UNNAMED_POINTS)
    points = np.stack([person.keypoints[first] for person in asked])
    owner = find_owner(points, np.stack([person.scores[first] for person in asked]))
    if not owner.is_human36m:
        return list(people), owner
    named = [[_human36m(person) if is_asked else person for person, is_asked in frame] for frame in pairs]
    return named, owner


def find_owner(points: Float[np.ndarray, "people 17 2"], scores: Float[np.ndarray, "people 17"]) -> PointOwner:
    """Decide for a file by the median over all its people."""
    seen = (scores >= SEEN) & points.any(axis=-1)
    coco, coco_count = _mean_length(points, seen, _COCO_BONES)
    human36m, human36m_count = _mean_length(points, seen, _HUMAN36M_BONES)
    tells = (np.minimum(coco_count, human36m_count) >= _FEWEST_BONES) & (coco > 0) & (human36m > 0)
    ratio = float(np.median(np.log(coco[tells] / human36m[tells]))) if tells.any() else 0.0
    if tells.any() and abs(ratio - _LONGER) >= _CLEARLY:
        return PointOwner(ratio > _LONGER)
    why = "too few of them are seen" if not tells.any() else "bones are about as long in both readings"
    owner = PointOwner(ratio > _LONGER)
    return replace(
        owner,
        doubt=f"its 17 points are taken as those of {owner.name}, which is a guess ({why}): to decide, write "
        '{"dataset_name": "coco", "frames": ...} or "h36m" around the content (JSON), or save an array dataset_name '
        "with it (NPZ)",
    )


def _mean_length(
    points: Float[np.ndarray, "people 17 2"], seen: Bool[np.ndarray, "people 17"], bones: Sequence[tuple[int, int]]
) -> tuple[Float[np.ndarray, " people"], np.ndarray]:
    """Return the mean length in pixels of each person's bones whose ends are seen, and their number."""
    ends = np.array(bones)
    shown = seen[:, ends].all(axis=-1)
    lengths = np.linalg.norm(points[:, ends[:, 0]] - points[:, ends[:, 1]], axis=-1).astype(np.float64)
    count = shown.sum(axis=1)
    return np.where(shown, lengths, 0).sum(axis=1) / np.maximum(count, 1), count


def _human36m(person: PersonPose) -> PersonPose:
    first = slice(0, UNNAMED_POINTS)
    keypoints, scores = to_wholebody(person.keypoints[first], person.scores[first], HUMAN36M_17)
    return PersonPose(keypoints, scores, person.hands)
