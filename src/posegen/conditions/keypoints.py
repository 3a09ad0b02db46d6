"""Keypoints of people: the COCO-WholeBody layout, one person in one frame, one person through a clip.

Coordinates are pixels of the picture they belong to (x right, y down), scores 0 (not seen) to 1. How keypoints are
found, followed or drawn is done elsewhere.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float

from posegen.errors import PosegenError
from posegen.media.data_files import read_npz
from posegen.media.files import AtomicFile, output_errors

NUM_KEYPOINTS = 133
BODY, FEET, FACE = slice(0, 17), slice(17, 23), slice(23, 91)
LEFT_HAND, RIGHT_HAND = slice(91, 112), slice(112, 133)
HANDS = (LEFT_HAND, RIGHT_HAND)
BODY_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle", "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
"""The 17 body and 6 foot points, in order; then come 68 face points, 21 of the left and 21 of the right hand."""
INDEX = {name: index for index, name in enumerate(BODY_NAMES)}
SEEN = 0.3
"""Score from which a keypoint counts as seen."""
HAND_DRAWN = 0.7
"""Score from which a joint of a hand is drawn."""
PIECE = 4096
"""Frames of a clip that are worked on at once, so that hours need no more memory than minutes."""


def empty_hands() -> Float[np.ndarray, "2 21 3"]:
    """No hand: NaN everywhere."""
    return np.full((2, 21, 3), np.nan, np.float32)


@dataclass(frozen=True)
class PersonPose:
    """One person in one frame.

    hands: left and right hand in three dimensions, pixels: x right, y down, z away from the camera, relative to the
    wrist; NaN for a hand that was not found.
    """

    keypoints: Float[np.ndarray, "133 2"]
    scores: Float[np.ndarray, " 133"]
    hands: Float[np.ndarray, "2 21 3"] = field(default_factory=empty_hands)

    @property
    def drawn(self) -> Bool[np.ndarray, " 133"]:
        """The points of which a skeleton can be drawn: body, feet and hands, where they are sure enough; no face."""
        drawn = self.scores >= SEEN
        drawn[FACE] = False
        for hand in HANDS:
            drawn[hand] = self.scores[hand] >= HAND_DRAWN
        return drawn

    @property
    def box(self) -> tuple[float, float, float, float]:
        """(left, top, right, bottom) in pixels of the seen body points, or of all that can be drawn of somebody of
        whom the body shows no two; all zero if nothing is.
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
        """Longer side of the box in pixels; 0 for nobody, and for a single point."""
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
    """One person through a clip. Frames in which the person is missing have scores 0.

    size: (height, width) of the pictures in pixels; hands: as in `PersonPose`, for each frame.
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
        """The frames in pieces of `PIECE`, in order: what is computed piece by piece needs no more memory for hours."""
        for first in range(0, len(self), PIECE):
            yield slice(first, min(first + PIECE, len(self)))

    @classmethod
    def of(cls, people: Iterable[PersonPose], size: tuple[int, int], fps: Fraction) -> "PoseSequence":
        """One frame after the other, as they come; the arrays can be changed. 2 kB a frame are needed, and no more."""
        columns = (bytearray(), bytearray(), bytearray())
        for person in people:
            for column, values in zip(columns, (person.keypoints, person.scores, person.hands), strict=True):
                column.extend(np.asarray(values, np.float32).tobytes())
        keypoints, scores, hands = (np.frombuffer(column, np.float32) for column in columns)
        return cls(
            keypoints.reshape(-1, NUM_KEYPOINTS, 2), scores.reshape(-1, NUM_KEYPOINTS), hands.reshape(-1, 2, 21, 3),
            size, fps,
        )  # fmt: skip

    def save(self, path: Path) -> None:
        """Write as NPZ, at once or not at all. Raises `OutputError`."""
        file = AtomicFile(path)
        try:
            with output_errors(path):
                np.savez_compressed(
                    file.temporary, keypoints=self.keypoints, scores=self.scores, hands=self.hands,
                    size_hw=np.array(self.size), fps=np.array([self.fps.numerator, self.fps.denominator]),
                )  # fmt: skip
            file.commit()
        finally:
            file.discard()

    @classmethod
    def load(cls, path: Path) -> "PoseSequence":
        """Read what `save` wrote. Raises `PosegenError` for another or a damaged file."""
        data = read_npz(path, "keypoints of `posegen extract`")
        try:
            height, width = data["size_hw"].tolist()
            fps = Fraction(*data["fps"].tolist())
            return cls(data["keypoints"], data["scores"], data["hands"], (height, width), fps)
        except (ValueError, KeyError, TypeError, ArithmeticError, IndexError) as error:
            raise PosegenError(f"{path}: holds no keypoints of `posegen extract` ({error})") from None
