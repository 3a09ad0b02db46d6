"""Links detections from frame to frame to pieces of tracks, with a limit that depends on the time between two.

Where people hide each other or are missed, pieces end; `linked_pieces` links them over the gaps.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from posegen.conditions.detections import Detections
from posegen.conditions.link_costs import NEVER, Sightings, joined, link_costs

_PATIENCE = 0.2
"""Maximum gap in seconds inside a piece."""
_OLD, _MARGIN = 3, 0.5
"""Minimum length of pieces that can be confused, and the difference in cost, in limits, below which they are."""

Piece = list[int]
"""Indices of the detections of one person, in order of their frames."""


class OpenPiece:
    """Piece that may still grow.

    numbers: those of its detections; last: the latest; velocity: pixels per frame; extent, height: running means.
    """

    def __init__(self, number: int, person: Sightings) -> None:
        self.numbers: Piece = [number]
        self.last = person
        self.velocity = np.zeros(2)
        self.extent, self.height = float(person.extents[0]), float(person.heights[0])

    def extend(self, number: int, person: Sightings, fps: float) -> None:
        """Add the next sighting."""
        step = movement(self.last, person)
        if step is not None:
            keep = 0.5 ** (30 / fps)
            self.velocity = keep * self.velocity + (1 - keep) * step
        self.numbers.append(number)
        self.last = person
        self.extent += 0.2 * (float(person.extents[0]) - self.extent)
        height = float(person.heights[0])
        if np.isfinite(height):
            self.height = height if not np.isfinite(self.height) else self.height + 0.2 * (height - self.height)


class PieceGrower:
    """Links the detections of frames that come in order: a whole scene, or a video while it passes by.

    growing: pieces that may still grow.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._patience = max(2, round(_PATIENCE * fps))
        self.growing: list[OpenPiece] = []

    def add(self, frame: int, numbers: Sequence[int], people: Sightings) -> list[OpenPiece]:
        """Add the people of a frame, with their numbers; return the pieces that end."""
        ended = [each for each in self.growing if frame - each.last.frames[0] > self._patience]
        if ended:
            self.growing = [each for each in self.growing if frame - each.last.frames[0] <= self._patience]
        if not len(numbers):
            return ended
        taken: set[int] = set()
        if self.growing:
            matches, unclear = self._matches(people)
            for track, person in matches:
                self.growing[track].extend(numbers[person], people.row(person), self._fps)
                taken.add(person)
            ended += [self.growing[track] for track in unclear]
            self.growing = [each for track, each in enumerate(self.growing) if track not in unclear]
        self.growing += [
            OpenPiece(number, people.row(place)) for place, number in enumerate(numbers) if place not in taken
        ]
        return ended

    def _matches(self, people: Sightings) -> tuple[list[tuple[int, int]], set[int]]:
        """Return which piece continues with which person of the frame, and the pieces for which that is unclear.

        It is unclear where one of two people hides the other and who is seen fits both: then both pieces end, and what
        follows decides.
        """
        growing = self.growing
        cost = link_costs(
            joined([each.last for each in growing]),
            np.array([each.velocity for each in growing]),
            np.array([each.extent for each in growing]),
            np.array([each.height for each in growing]),
            people,
            self._fps,
        )
        pairs = assigned(cost)
        if cost.size == 1:
            return pairs, set()
        old = np.array([len(each.numbers) >= _OLD for each in growing])
        lost = old.copy()
        lost[[row for row, _ in pairs]] = False
        unclear: set[int] = set()
        for row, column in pairs:
            rivals = (
                np.flatnonzero(lost & (cost[:, column] < cost[row, column] + _MARGIN)) if old[row] else np.zeros(0, int)
            )
            if len(rivals):
                unclear.update([row, *rivals.tolist()])
        return [pair for pair in pairs if pair[0] not in unclear], unclear


def pieces_of_scene(detections: Detections, start: int, stop: int) -> list[Piece]:
    """Link the detections of the frames from `start` to before `stop`, which are one scene, from frame to frame."""
    grower = PieceGrower(float(detections.fps))
    done: list[Piece] = []
    for frame in range(start, stop):
        people = range(int(detections.first[frame]), int(detections.first[frame + 1]))
        done += [each.numbers for each in grower.add(frame, people, Sightings.of(detections, people))]
    return done + [each.numbers for each in grower.growing]


def assigned(cost: Float[np.ndarray, "tracks others"]) -> list[tuple[int, int]]:
    """Return the pairs (row, column) of the cheapest assignment, without impossible ones."""
    rows, columns = linear_sum_assignment(cost)
    return [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if cost[row, column] < NEVER]


def movement(before: Sightings, after: Sightings) -> Float[np.ndarray, "2"] | None:
    """Return the mean movement between two sightings of one person in pixels per frame; None without common points."""
    both = before.seen[0] & after.seen[0]
    if not both.any():
        return None
    step = (after.points[0][both] - before.points[0][both]).mean(axis=0)
    return np.asarray(step / float(after.frames[0] - before.frames[0]))
