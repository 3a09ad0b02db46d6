"""Keeps the detections of everybody in a clip, compactly, while its frames pass by.

Body points, scores and looks of each person take 400 bytes; hands and face only where the estimator has found them
together with the body. Who is followed is decided from all of them afterwards, in `following`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Float16, Float32, Int

from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import BODY, BODY_NAMES, HANDS, NUM_KEYPOINTS, PIECE, SEEN, PersonPose
from posegen.conditions.looks import NUM_LOOKS, looks_of
from posegen.types import Frame

KEPT_POINTS = len(BODY_NAMES)
"""Number of points that are kept of everybody: body and feet."""
_EXTENT_IN_HANDS = 10.0
"""Height of a person in hand lengths."""
MOST_KEPT = 16
"""Maximum number of people kept of one frame: the largest."""


@dataclass(frozen=True)
class Detections:
    """Everybody who was seen in a clip, ordered by frame.

    frames: number of the frame of each detection; points, scores: body and feet in pixels of frames of `size` (height,
    width); whole: the complete detection of those that have hands or a face; first: index of the first detection of
    each frame, and the total at the end.
    """

    frames: Int[np.ndarray, " people"]
    points: Float32[np.ndarray, "people 23 2"]
    scores: Float32[np.ndarray, "people 23"]
    looks: Float16[np.ndarray, "people 44"]
    whole: dict[int, PersonPose]
    num_frames: int
    size: tuple[int, int]
    fps: Fraction

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def first(self) -> Int[np.ndarray, " frames_and_one"]:
        """Index of the first detection of each frame, and the number of all at the end."""
        return np.searchsorted(self.frames, np.arange(self.num_frames + 1))

    @cached_property
    def body_seen(self) -> Bool[np.ndarray, "people 17"]:
        """Body points with sufficient scores."""
        return self.scores[:, BODY] >= SEEN

    @cached_property
    def boxes(self) -> Float32[np.ndarray, "people 4"]:
        """Box (left, top, right, bottom) of each person, as `PersonPose.box`."""
        body, seen = self.points[:, BODY], self.body_seen[..., None]
        with np.errstate(invalid="ignore"):
            boxes = np.concatenate(
                [np.where(seen, body, np.inf).min(axis=1), np.where(seen, body, -np.inf).max(axis=1)], axis=1
            )
        for index in np.flatnonzero(self.body_seen.sum(axis=1) < 2):
            boxes[index] = self.person(int(index)).box
        return boxes.astype(np.float32)

    @cached_property
    def extents(self) -> Float32[np.ndarray, " people"]:
        """Longer side of each box in pixels, at least 1; estimated from the hands of people who show nothing else."""
        if not len(self):
            return np.zeros(0, np.float32)
        extents = np.maximum((self.boxes[:, 2:] - self.boxes[:, :2]).max(axis=1), 1).astype(np.float32)
        for index in np.flatnonzero(self.body_seen.sum(axis=1) < 2):
            person = self.person(int(index))
            for hand in HANDS:
                joints = person.keypoints[hand][person.drawn[hand]]
                if len(joints):
                    extents[index] = max(extents[index], _EXTENT_IN_HANDS * float(np.ptp(joints, axis=0).max()))
        return extents

    @cached_property
    def heights(self) -> Float[np.ndarray, " people"]:
        """Standing height of each person in pixels by the least foreshortened part; NaN if unknown."""
        heights = np.full(len(self), np.nan)
        for start in range(0, len(self), PIECE):
            part = slice(start, min(start + PIECE, len(self)))
            points = np.zeros((part.stop - start, NUM_KEYPOINTS, 2), np.float32)
            seen = np.zeros((part.stop - start, NUM_KEYPOINTS), bool)
            points[:, :KEPT_POINTS], seen[:, :KEPT_POINTS] = self.points[part], self.scores[part] >= SEEN
            heights[part] = standing_height(points, seen)
        return heights

    def person(self, index: int) -> PersonPose:
        """Return one detection; where only the body was kept, other points have score 0."""
        if index in self.whole:
            return self.whole[index]
        return whole_person(self.points[index], self.scores[index])


def whole_person(points: Float[np.ndarray, "23 2"], scores: Float[np.ndarray, " 23"]) -> PersonPose:
    """Return a person of whom body and feet are known."""
    keypoints, all_scores = np.zeros((NUM_KEYPOINTS, 2), np.float32), np.zeros(NUM_KEYPOINTS, np.float32)
    keypoints[:KEPT_POINTS], all_scores[:KEPT_POINTS] = points, scores
    return PersonPose(keypoints, all_scores)


@dataclass
class DetectionRecorder:
    """Collects the detections of a clip frame by frame."""

    size: tuple[int, int]
    fps: Fraction
    _columns: tuple[bytearray, ...] = field(default_factory=lambda: tuple(bytearray() for _ in range(4)))
    _whole: dict[int, PersonPose] = field(default_factory=dict)
    _count: int = 0
    _frames: int = 0

    def __len__(self) -> int:
        """Return the number of people recorded so far."""
        return self._count

    def add(self, frame: Frame, people: Sequence[PersonPose]) -> tuple[list[int], Detections]:
        """Add the people of the next frame, at most `MOST_KEPT`; return the places in `people` of those kept, and them.

        They are numbered in this order: the first one is the detection after the last one of the frames before.
        """
        kept = sorted(sorted(range(len(people)), key=lambda number: -people[number].area)[:MOST_KEPT])
        body, own = slice(0, KEPT_POINTS), [people[number] for number in kept]
        rows = (
            np.full(len(own), self._frames, np.int32),
            np.array([person.keypoints[body] for person in own], np.float32).reshape(-1, KEPT_POINTS, 2),
            np.array([person.scores[body] for person in own], np.float32).reshape(-1, KEPT_POINTS),
            np.array([looks_of(frame, person) for person in own], np.float16).reshape(-1, NUM_LOOKS),
        )
        whole = {
            number: person
            for number, person in enumerate(own)
            if (person.scores[KEPT_POINTS:] > 0).any() or np.isfinite(person.hands).any()
        }
        for column, values in zip(self._columns, rows, strict=True):
            column.extend(np.asarray(values).tobytes())
        self._whole.update({self._count + number: person for number, person in whole.items()})
        self._count += len(own)
        self._frames += 1
        return kept, Detections(*rows, whole, self._frames, self.size, self.fps)

    def finish(self) -> Detections:
        """Return what was collected."""
        frames, points, scores, looks = (
            np.frombuffer(column, kind)
            for column, kind in zip(self._columns, (np.int32, np.float32, np.float32, np.float16), strict=True)
        )
        return Detections(
            frames,
            points.reshape(-1, KEPT_POINTS, 2),
            scores.reshape(-1, KEPT_POINTS),
            looks.reshape(-1, NUM_LOOKS),
            self._whole,
            self._frames,
            self.size,
            self.fps,
        )
