"""Keypoints in the COCO-WholeBody layout: of one person in one frame, and of one person through a clip.

Coordinates are pixels of the frame (x right, y down), scores 0 (not seen) to 1. A negative score marks a point that an
estimator places outside the frame: it counts as not seen, its absolute value is the estimator's score of the position.
Keypoints are found, tracked and drawn elsewhere.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from posegen.errors import PosegenError
from posegen.media.data_files import read_npz
from posegen.media.files import AtomicFile, output_errors

NUM_KEYPOINTS = 133
BODY, FEET, FACE = slice(0, 17), slice(17, 23), slice(23, 91)
MOUTH = (FACE.start + 48, FACE.start + 54)
"""Right and left corner of the mouth, among the 68 points of the face."""
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)
HANDS = (LEFT_HAND, RIGHT_HAND)
BODY_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip  # a table, read in rows
"""Names of the 17 body and 6 foot points, in order; 68 face points, 21 of the left and 21 of the right hand follow."""
INDEX = {name: index for index, name in enumerate(BODY_NAMES)}
SEEN = 0.3
"""Minimum score of a keypoint that counts as seen."""
HAND_DRAWN = 0.7
"""Minimum score of a hand joint that is drawn."""
HAND_FOUND = 0.9
"""Score of the joints of a hand that a model found without a score of its own for them."""
PIECE = 4096
"""Number of frames that are processed at once, so that long clips need no more memory than short ones."""


def empty_hands() -> Float[np.ndarray, "2 21 3"]:
    """Return the joints of no hand: NaN everywhere."""
    return np.full((2, 21, 3), np.nan, np.float32)


@dataclass(frozen=True)
class PersonPose:
    """Keypoints of one person in one frame.

    hands: left and right hand in three dimensions, pixels: x right, y down, z away from the camera, relative to the
    wrist; NaN for a hand that was not found.
    """

    keypoints: Float[np.ndarray, "133 2"]
    scores: Float[np.ndarray, " 133"]
    hands: Float[np.ndarray, "2 21 3"] = field(default_factory=empty_hands)

    @property
    def drawn(self) -> Bool[np.ndarray, " 133"]:
        """Points from which a skeleton can be drawn: body, feet and hands with sufficient scores; no face."""
        drawn = self.scores >= SEEN
        drawn[FACE] = False
        for hand in HANDS:
            drawn[hand] = self.scores[hand] >= HAND_DRAWN
        return drawn

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Box (left, top, right, bottom) of the seen body points in pixels.

        With fewer than two of them, the box of all points that can be drawn; all zero without any.
        """
        seen = self.keypoints[BODY][self.scores[BODY] >= SEEN]
        if len(seen) < 2:
            seen = self.keypoints[self.drawn]
        if not len(seen):
            return (0.0, 0.0, 0.0, 0.0)
        (left, top), (right, bottom) = seen.min(axis=0), seen.max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def extent(self) -> float:
        """Longer side of the box in pixels; 0 without a person, and for a single point."""
        left, top, right, bottom = self.box
        return max(right - left, bottom - top)

    @property
    def area(self) -> float:
        """Area of the box in square pixels."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)

    @property
    def center(self) -> np.ndarray:
        """Middle of the box, (x, y)."""
        left, top, right, bottom = self.box
        return np.array([(left + right) / 2, (top + bottom) / 2])


@dataclass(frozen=True)
class PoseSequence:
    """Keypoints of one person through a clip. Frames in which the person is missing have scores 0.

    size: (height, width) of the frames in pixels; hands: as in `PersonPose`, for each frame.
    """

    keypoints: Float[np.ndarray, "frames 133 2"]
    scores: Float[np.ndarray, "frames 133"]
    hands: Float[np.ndarray, "frames 2 21 3"]
    size: tuple[int, int]
    fps: Fraction

    def __post_init__(self) -> None:
        frames = len(self.keypoints)
        shapes = (self.keypoints.shape, self.scores.shape, self.hands.shape)
        if shapes != ((frames, NUM_KEYPOINTS, 2), (frames, NUM_KEYPOINTS), (frames, 2, 21, 3)):
            raise ValueError(f"keypoints, scores and hands do not fit each other: {shapes}")

    def __len__(self) -> int:
        return len(self.keypoints)

    def __getitem__(self, frame: int) -> PersonPose:
        return PersonPose(self.keypoints[frame], self.scores[frame], self.hands[frame])

    def pieces(self) -> Iterator[slice]:
        """Yield slices of `PIECE` frames in order, to process long clips in constant memory."""
        for first in range(0, len(self), PIECE):
            yield slice(first, min(first + PIECE, len(self)))

    @classmethod
    def of(cls, people: Iterable[PersonPose], size: tuple[int, int], fps: Fraction) -> "PoseSequence":
        """Collect the frames one by one, in arrays that can be changed. The memory needed is 2 kB per frame."""
        columns = (bytearray(), bytearray(), bytearray())
        for person in people:
            for column, values in zip(columns, (person.keypoints, person.scores, person.hands), strict=True):
                column.extend(np.asarray(values, np.float32).tobytes())
        keypoints, scores, hands = (np.frombuffer(column, np.float32) for column in columns)
        return cls(
            keypoints.reshape(-1, NUM_KEYPOINTS, 2),
            scores.reshape(-1, NUM_KEYPOINTS),
            hands.reshape(-1, 2, 21, 3),
            size,
            fps,
        )

    def save(self, path: Path, more: Mapping[str, np.ndarray] | None = None) -> None:
        """Write as NPZ, atomically, with other arrays by name, if there are `more`. Raises `OutputError`."""
        arrays: dict[str, Any] = {
            "keypoints": self.keypoints,
            "scores": self.scores,
            "hands": self.hands,
            "size_hw": np.array(self.size),
            "fps": np.array([self.fps.numerator, self.fps.denominator]),
            **(more or {}),
        }
        file = AtomicFile(path)
        try:
            with output_errors(path):
                np.savez_compressed(file.temporary, **arrays)
            file.commit()
        finally:
            file.discard()

    @classmethod
    def load(cls, path: Path) -> "PoseSequence":
        """Read a file written by `save`. Raises `PosegenError` for another or a damaged file."""
        data = read_npz(path, "keypoints of `posegen extract`")
        try:
            height, width = data["size_hw"].tolist()
            fps = Fraction(*data["fps"].tolist())
            return cls(data["keypoints"], data["scores"], data["hands"], (height, width), fps)
        except (ValueError, KeyError, TypeError, ArithmeticError, IndexError) as error:
            raise PosegenError(f"{path}: not a keypoint file of `posegen extract` ({error})") from None
