"""Protocols by name: the size, windows and quirks with which videos are compared.

A score without these says nothing, so every table prints them. `disco` differs from DisCo in one point: DisCo's windows
pass through GIFs of 256 colours before FID-VID and FVD, ours are the frames themselves.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image

from posegen.errors import PosegenError


@dataclass(frozen=True)
class Protocol:
    """The rules by which videos are compared.

    size: (H, W), a square, to which the central square of every frame is brought; None: frames stay as they are, and
    result and ground truth must agree. window, stride: frames of a window of a video distance, and between starts.
    zero_to_one: LPIPS sees 0..1 (as published code feeds it) instead of the -1..1 that it was made for.
    weighted: a mean counts every frame alike, so a long clip counts more; otherwise every clip counts alike.
    pose_rate: times per second at which keypoints and faces are looked for.
    """

    name: str
    size: tuple[int, int] | None
    window: int
    stride: int
    zero_to_one: bool
    weighted: bool
    pose_rate: float = 8.0

    def fit(self, frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "new_height new_width 3"]:
        """A frame at the protocol's size, as DisCo's loader of validation frames makes it.

        Its RandomResizedCrop with scale and ratio 1 falls back to the central square of a frame that is none; that is
        reduced bilinearly with smoothing (Pillow's).
        """
        if self.size is None or frame.shape[:2] == self.size:
            return frame
        top, left, side = central_square(frame.shape[:2])
        square = Image.fromarray(frame[top : top + side, left : left + side])
        return np.asarray(square.resize(self.size[::-1], Image.Resampling.BILINEAR))

    def place(self, points: Float[np.ndarray, "*n 2"], size: tuple[int, int]) -> Float[np.ndarray, "*n 2"]:
        """Move points (x, y) of a frame of `size` as `fit` moves the frame."""
        if self.size is None or size == self.size:
            return points
        top, left, side = central_square(size)
        return (points - (left, top) + 0.5) * (self.size[0] / side) - 0.5

    def describe(self, size: tuple[int, int]) -> str:
        """The resolution beside a score, WIDTH×HEIGHT; `size` is that of a clip's frames."""
        height, width = self.size or size
        return f"{width}×{height}"


PROTOCOLS = {
    "disco": Protocol("disco", (256, 256), window=16, stride=1, zero_to_one=True, weighted=True),
    "native": Protocol("native", None, window=16, stride=8, zero_to_one=False, weighted=False),
}


def central_square(size: tuple[int, int]) -> tuple[int, int, int]:
    """(top, left, side) of the largest square in the middle of a frame of `size` (H, W)."""
    side = min(size)
    return (size[0] - side) // 2, (size[1] - side) // 2, side


def find_protocol(name: str) -> Protocol:
    """The protocol of that name. Raises `PosegenError` for another name."""
    if name not in PROTOCOLS:
        raise PosegenError(f"--protocol {name}: there is no such protocol; these are known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]


def reduced(frame: UInt8[np.ndarray, "height width 3"], side: int) -> UInt8[np.ndarray, "side side 3"]:
    """A frame at side x side for an embedded network: averaged where it is larger."""
    area = cv2.INTER_AREA if min(frame.shape[:2]) >= side else cv2.INTER_LINEAR
    return cv2.resize(frame, (side, side), interpolation=area)
