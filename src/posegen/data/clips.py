"""Clips for training, made from a sample's arrays: frames, skeleton and hand frames, reference, caption.

Skeletons are drawn exactly as they are when videos are generated; hand frames are camera-space normals, black outside
the hands. Arrays of a sample's `.npz`: `frames` (F, H, W, 3) uint8, unless they are a video (`.mkv`), `keypoints`
(F, 133, 2) pixels, also outside the frame, or (0, 0) where unknown, `visibility` (F, 133), `masks` (F, H, W) bits,
`normals` (F, H, W, 3) uint8, `reference` (H, W, 3) uint8.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posegen.conditions.frame_edges import outside_by, settle_edges
from posegen.conditions.keypoints import LEFT_HAND, RIGHT_HAND, PoseSequence, empty_hands
from posegen.conditions.skeleton import Colors, draw_skeleton
from posegen.data.fetching import UnreachableURLError
from posegen.data.shards import Sample
from posegen.errors import OutputError, PosegenError
from posegen.media.data_files import parse_npz
from posegen.media.packed import unpack_frames
from posegen.types import Frames, Size

VIDEO = "mkv"
"""The part of a sample that holds its frames, if they are not among the arrays."""
OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2
"""Values of `visibility`."""
PERSON_BIT, LEFT_HAND_BIT, RIGHT_HAND_BIT, FACE_BIT = 1, 2, 4, 8
"""Bits of `masks`; those of prepared videos have no face."""
_MOST_BYTES = 1 << 30
"""Bytes of one array: 380 frames of 1280 x 720."""
_POINTS_BYTES = 133 * 2 * 8
"""Bytes of a frame's keypoints."""
_HAND_SEEN = 0.5
"""Share of a hand's joints that must be visible: fewer, and an estimator would not find it."""
_USUAL_FPS = 16
"""Frames per second of clips whose description has none."""


@dataclass(frozen=True)
class Drawing:
    """Settings of drawing skeletons, as the model has them: at a multiple of the size, then reduced."""

    draw_scale: int = 1
    colors: Colors = "openpose"


class Clip:
    """One clip; each property reads and decompresses only what it needs. Raises `PosegenError` for damaged arrays."""

    def __init__(self, sample: Sample, drawing: Drawing, mirrored: bool = False) -> None:
        """Open the arrays; nothing is decompressed yet. `mirrored`: left and right exchanged, as in a mirror."""
        self.sample, self.drawing, self.mirrored = sample, drawing, mirrored
        self._packed = self._guarded(lambda: sample.read("npz"))
        self._kept: dict[str, np.ndarray] = {}

    def _guarded(self, read: Callable[[], Any]) -> Any:
        try:
            return read()
        except (UnreachableURLError, OutputError):
            raise
        except Exception as error:  # numpy, zip, zlib and codecs each have errors of their own for damage
            raise PosegenError(f"{self.sample.shard.name}: {self.sample.key} is damaged ({error})") from error

    @property
    def _most_bytes(self) -> int:
        """Bytes that an array may have: four times what the largest one needs by the clip's description."""
        height, width = self.sample.size
        return min(_MOST_BYTES, 4 * (self.sample.num_frames + 1) * (3 * height * width + _POINTS_BYTES))

    def _shape_of_frame(self, name: str) -> tuple[int, ...] | None:
        """The shape of one frame of an array by the clip's description, None where that does not tell it."""
        height, width = self.sample.size
        return {
            "frames": (height, width, 3),
            "normals": (height, width, 3),
            "masks": (height, width),
            "keypoints": (133, 2),
            "visibility": (133,),
        }.get(name)

    def array(self, name: str) -> np.ndarray:
        """Return one array of the sample."""
        if name not in self._kept:
            where, most = f"{self.sample.key}.npz", self._most_bytes
            array = self._guarded(lambda: parse_npz(self._packed, where, names=(name,), max_bytes=most)[name])
            shape = self._shape_of_frame(name)
            if shape is not None and array.shape[1:] != shape:
                was = f"{self.sample.shard.name}: {self.sample.key} is damaged"
                raise PosegenError(f"{was} ({name}: frames of shape {array.shape[1:]} instead of {shape})")
            self._kept[name] = mirror(name, array, self.sample.size[1]) if self.mirrored else array
        return self._kept[name]

    def check(self) -> None:
        """Read everything that videos are made of. Raises `PosegenError` if it is damaged or too short."""
        count = self.sample.num_frames
        arrays = {name: self.array(name) for name in ("keypoints", "visibility", "masks", "normals")}
        for name, array in {"frames": self.frames(0, count), **arrays}.items():
            if len(array) < count:
                where = f"{self.sample.shard.name}: {self.sample.key}"
                raise PosegenError(f"{where} is damaged ({name}: {len(array)} of {count} frames)")

    @property
    def caption(self) -> str:
        """The prompt, as in PoseGen: image style; subject and background; camera."""
        return self.sample.read("txt").decode("utf-8-sig", "replace").strip()

    @property
    def reference(self) -> UInt8[np.ndarray, "height width 3"]:
        """The reference image, uint8 RGB (H, W, 3)."""
        return self.array("reference")

    def frames(self, start: int, stop: int) -> Frames:
        """Return frames `start` to `stop`, uint8 RGB (F, H, W, 3)."""
        if VIDEO not in self.sample.parts:
            return self.array("frames")[start:stop]
        frames = self._guarded(lambda: unpack_frames(self.sample.read(VIDEO), start, stop))
        return mirror("frames", frames, self.sample.size[1]) if self.mirrored else frames

    def person(self, start: int, stop: int) -> np.ndarray:
        """Return the person's mask, bool (F, H, W)."""
        return (self.array("masks")[start:stop] & PERSON_BIT) > 0

    @functools.cached_property
    def _scores(self) -> Float[np.ndarray, "frames 133"]:
        fps = Fraction(str(self.sample.description.get("fps", _USUAL_FPS)))
        return clip_scores(self.array("keypoints"), self.array("visibility"), self.sample.size, fps)

    def skeletons(self, start: int, stop: int, hands: bool = True) -> Frames:
        """Return skeleton frames at the clip's size, with or without hands, uint8 RGB (F, H, W, 3)."""
        height, width = self.sample.size
        scale = self.drawing.draw_scale
        points = self.array("keypoints")
        drawn = []
        for number in range(start, stop):
            scores = self._scores[number].copy()
            if not hands:
                scores[[*range(133)[LEFT_HAND], *range(133)[RIGHT_HAND]]] = 0.0
            size = (height * scale, width * scale)
            image = draw_skeleton(points[number].astype(np.float32) * scale, scores, size, colors=self.drawing.colors)
            drawn.append(image if scale == 1 else cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))
        return np.stack(drawn)

    def hands(self, start: int, stop: int) -> Frames:
        """Return hand-normal frames: (n + 1) / 2 · 255, black outside the hands, uint8 (F, H, W, 3)."""
        hands = (self.array("masks")[start:stop] & (LEFT_HAND_BIT | RIGHT_HAND_BIT)) > 0
        return np.where(hands[..., None], self.array("normals")[start:stop], 0).astype(np.uint8)


_FACE_MIRROR = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42, 47, 46, 39, 38, 37, 36,
    41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip  # a table, read in rows
_MIRROR = np.array([
    0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 20, 21, 22, 17, 18, 19,
    *(23 + point for point in _FACE_MIRROR), *range(112, 133), *range(91, 112),
])  # fmt: skip  # a table, read in rows
"""Index of the keypoint that each of the 133 becomes in a mirror."""


def mirror(name: str, array: np.ndarray, width: int) -> np.ndarray:
    """Return an array of a sample as if the clip had been filmed in a mirror."""
    if name.endswith("visibility"):
        return array[..., _MIRROR]
    if name.endswith("keypoints"):
        points = array[..., _MIRROR, :].copy()
        points[..., 0] = width - 1 - points[..., 0]
        return points
    if name == "masks":
        array = array[..., ::-1]
        left, right = array & LEFT_HAND_BIT, array & RIGHT_HAND_BIT
        others = array & ~np.uint8(LEFT_HAND_BIT | RIGHT_HAND_BIT)
        return others | np.where(left > 0, RIGHT_HAND_BIT, 0).astype(np.uint8) | (right >> 1)
    array = np.ascontiguousarray(array[..., ::-1, :])
    if name == "normals":
        array[..., 0] = 255 - array[..., 0]
    return array


def clip_scores(
    keypoints: Float[np.ndarray, "frames 133 2"], visibility: UInt8[np.ndarray, "frames 133"], size: Size, fps: Fraction
) -> Float[np.ndarray, "frames 133"]:
    """Return the scores of a clip as an extraction would finish them: drawn points have 1, others outside -1, or 0.

    keypoints: pixels of frames of `size` (height, width); those outside have true places, or any inside if unknown.
    """
    scores = np.stack([keypoint_scores(row) for row in visibility])
    points = keypoints.astype(np.float32)
    scores[(visibility == OUTSIDE) & (outside_by(points, size) > 0)] = -1.0
    for hand in (LEFT_HAND, RIGHT_HAND):
        absent = ~(scores[:, hand] > 0).any(axis=1)
        scores[absent, hand] = 0.0
    no_hands = np.stack([empty_hands()] * len(points))
    return settle_edges(PoseSequence(points, scores, no_hands, size, fps)).scores


def keypoint_scores(visibility: np.ndarray) -> Float[np.ndarray, " 133"]:
    """Return scores (0 or 1) like an estimator's: hidden points of the body are guessed, mostly hidden hands not.

    Points outside the picture have score 0; a hand is whole or absent.
    """
    scores = (visibility != OUTSIDE).astype(np.float32)
    for hand in (LEFT_HAND, RIGHT_HAND):
        if np.mean(visibility[hand] == VISIBLE) < _HAND_SEEN:
            scores[hand] = 0.0
    return scores
