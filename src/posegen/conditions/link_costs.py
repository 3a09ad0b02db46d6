"""Decides which sighting of somebody may be which later one: the limit of movement, size and looks.

The same rule links the detections of a whole clip (`track_pieces`, `linked_pieces`) and guesses who is followed while
it passes by (`online_guess`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int

from posegen.conditions.detections import Detections
from posegen.conditions.keypoints import BODY
from posegen.conditions.looks import similarity

MAX_JUMP = 0.3
"""Maximum movement in 1/30 s, in heights of the person; over longer times it grows with their root."""
_FARTHEST = 2.5
"""Maximum movement over any gap in a scene, in heights."""
_SIZE = float(np.log(1.7))
"""Maximum change in size, as a logarithm, from one sighting to the next."""
ALIKE = 0.9
"""Similarity of looks assumed where it is unknown."""
_COAST = 0.35
"""Seconds for which somebody unseen is predicted to keep moving as before."""
_GAP_SIZE = float(np.log(1.6))
"""Maximum change in size, as a logarithm, over a gap."""
_UNLIKE, _UNLIKE_LATER = 0.65, 0.8
"""Similarity of looks below which people are not linked over a gap at once, and after 2 s."""
_DOUBLE_LIMIT, _DOUBLE_COST = 2.0, 0.2
"""Factors on maximum movement and cost of a piece's double: a person detected twice moves fast, or one is off."""
_TURN = 0.5
"""Cost of a change of velocity over a gap by one height per second."""
_FLIPPED = 0.12
"""Distance in heights that is added to that of boxes."""
NEVER = 1e3
"""Cost of a link that is not possible."""


class Sightings(NamedTuple):
    """Some detections, as far as matching needs them; arrays as in `Detections`, a row each."""

    frames: Int[np.ndarray, " people"]
    points: Float32[np.ndarray, "people 17 2"]
    seen: Bool[np.ndarray, "people 17"]
    boxes: Float32[np.ndarray, "people 4"]
    extents: Float32[np.ndarray, " people"]
    heights: Float[np.ndarray, " people"]
    looks: Float16[np.ndarray, "people 44"]

    @classmethod
    def of(cls, detections: Detections, people: Sequence[int] | Int[np.ndarray, " people"]) -> "Sightings":
        """Take these detections."""
        numbers = np.asarray(people, int)
        return cls(
            detections.frames[numbers],
            detections.points[numbers][:, BODY],
            detections.body_seen[numbers],
            detections.boxes[numbers],
            detections.extents[numbers],
            detections.heights[numbers],
            detections.looks[numbers],
        )

    def row(self, number: int) -> "Sightings":
        """Return one of them."""
        return Sightings(*(values[number : number + 1] for values in self))


class PieceEnd(NamedTuple):
    """One end of a piece of a track.

    sighting: the one there; velocity: there, in pixels per frame; height, extent, looks: those of the piece.
    """

    sighting: Sightings
    velocity: Float[np.ndarray, "2"]
    height: float
    extent: float
    looks: Float16[np.ndarray, "44"]


def joined(sightings: Sequence[Sightings]) -> Sightings:
    """Put several, at least one, into one."""
    return Sightings(*(np.concatenate(values) for values in zip(*sightings, strict=True)))


def max_jump(seconds: Float[np.ndarray, "*links"] | float) -> Float[np.ndarray, "*links"]:
    """Return the maximum movement over some time, in heights of the person."""
    return np.asarray(np.minimum(MAX_JUMP * np.sqrt(np.asarray(seconds, float) * 30), _FARTHEST))


def distances(
    before: Sightings, moved: Float[np.ndarray, "tracks 2"], after: Sightings
) -> Float[np.ndarray, "tracks people"]:
    """Return the mean distance in pixels of the body points that are seen in both, else that of the boxes.

    A body that is suddenly upside down is at the same place all the same: where the boxes are much nearer than the
    points, their distance counts, with something added. moved: predicted movement of those seen `before`.
    """
    seen = before.seen[:, None] & after.seen[None]
    apart = np.linalg.norm(after.points[None] - (before.points + moved[:, None])[:, None], axis=-1)
    count = seen.sum(axis=-1)
    mean = np.where(seen, apart, 0).sum(axis=-1) / np.maximum(count, 1)
    middles, later = ((each.boxes[:, :2] + each.boxes[:, 2:]) / 2 for each in (before, after))
    near = np.linalg.norm(later[None] - (middles + moved)[:, None], axis=-1)
    near = near + 0.5 * np.abs(after.extents[None] - before.extents[:, None])
    return np.asarray(np.where(count > 0, np.minimum(mean, near + _FLIPPED * after.extents[None]), near), float)


def link_costs(
    last: Sightings,
    velocities: Float[np.ndarray, "tracks 2"],
    extents: Float[np.ndarray, " tracks"],
    heights: Float[np.ndarray, " tracks"],
    people: Sightings,
    fps: float,
) -> Float[np.ndarray, "tracks people"]:
    """Return the cost of continuing each track with each person of one frame; `NEVER` where that is not possible.

    velocities: pixels per frame; extents, heights: sizes of the tracks in pixels.
    """
    away = people.frames[0] - last.frames
    apart = distances(last, velocities * away[:, None], people)
    limit = max_jump(away / fps)[:, None] * extents[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.nan_to_num(np.abs(np.log(people.heights[None] / heights[:, None])), nan=0.0)
    allowed = (apart < limit) & (size < _SIZE)
    looks = np.nan_to_num(similarity(last.looks[:, None], people.looks[None]), nan=ALIKE)
    return np.asarray(np.where(allowed, apart / limit + 0.6 * size / _SIZE + 2.0 * (1 - looks), NEVER))


def gap_cost(before: PieceEnd, after: PieceEnd, fps: float, doubled: bool = False) -> float:
    """Return the cost of continuing one piece with a later one; `NEVER` if that is not possible.

    doubled: the end of the first is a second detection of the person with whom the later one begins.
    """
    end, start = before.sighting, after.sighting
    seconds = float(start.frames[0] - end.frames[0]) / fps
    coast = min(seconds, _COAST) * fps
    apart = min(
        float(distances(end, coast * before.velocity[None], start)[0, 0]),
        float(distances(start, -coast * after.velocity[None], end)[0, 0]),
        1.3 * float(distances(end, np.zeros((1, 2)), start)[0, 0]),
    )
    extent = max(before.extent, after.extent)
    limit = float(max_jump(seconds)) * extent * (_DOUBLE_LIMIT if doubled else 1.0)
    size = abs(float(np.nan_to_num(np.log(before.height / after.height), nan=0.0)))
    alike = float(np.nan_to_num(similarity(before.looks, after.looks), nan=ALIKE))
    enough = _UNLIKE + (_UNLIKE_LATER - _UNLIKE) * min(seconds / 2, 1.0)
    if not (apart < limit and size < _GAP_SIZE and alike > enough):
        return NEVER
    turn = float(np.linalg.norm(before.velocity - after.velocity)) * fps / extent
    # after a while somebody may walk elsewhere
    cost = apart / limit + size / _GAP_SIZE + 4 * (1 - alike) + 0.1 * min(seconds, 2.0) + _TURN * turn / (1 + seconds)
    return cost * (_DOUBLE_COST if doubled else 1.0)  # the same body at the same time is no guess
