"""Filters about single pictures: blur."""

import cv2
import numpy as np
from jaxtyping import UInt8
from skimage.measure import blur_effect

from posegen.data.prepare.people import People
from posegen.data.prepare.sampling import SampledClip

_SIDE = 384
"""Pixels to which the longer side of the person's part is reduced before its blur is measured."""


class BlurFilter:
    """`sharpness`: 1 - the blur of the part that shows the largest person (Crété-Roffet et al. 2007), median."""

    name = "blur"
    columns: tuple[str, ...] = ("sharpness",)

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """0 (all smooth) to 1; whole pictures where nobody is."""
        values = []
        for frame, person in zip(clip.frames, found.largest, strict=True):
            part = cut_out(frame, person.box if person else (0.0, 0.0, 1.0, 1.0))
            values.append(1 - float(blur_effect(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), h_size=11)))
        return {"sharpness": float(np.median(values))}


def cut_out(
    frame: UInt8[np.ndarray, "height width 3"], box: tuple[float, float, float, float]
) -> UInt8[np.ndarray, "part_height part_width 3"]:
    """The middle of a part of the picture at full resolution, at most `_SIDE` pixels a side, at least 16."""
    height, width = frame.shape[:2]
    spans = []
    for low, high, side in ((box[1], box[3], height), (box[0], box[2], width)):
        length = int(np.clip(round((high - low) * side), min(16, side), min(_SIDE, side)))
        begin = int(np.clip(round((low + high) / 2 * side - length / 2), 0, side - length))
        spans.append(slice(begin, begin + length))
    return frame[spans[0], spans[1]]
