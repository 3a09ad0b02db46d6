"""Filters about single frames: blur, and technical quality as an embedded stand-in for a quality model."""

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import People

_SIDE = 384
"""Pixels of the longest side of the person's part whose blur is measured."""
_EVERY = 2
"""The blur of one in so many samples is measured: a median needs no more, and it takes time."""


class BlurFilter:
    """`sharpness`: 1 - the blur of the part that shows the largest person (Crété-Roffet et al. 2007), median.

    Of every second sample.
    """

    name = "blur"
    columns: tuple[str, ...] = ("sharpness",)

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """0 (all smooth) to 1; whole pictures where nobody is."""
        from skimage.measure import blur_effect

        values = []
        for frame, person in zip(clip.frames[::_EVERY], found.largest[::_EVERY], strict=True):
            part = cut_out(frame, person.box if person else (0.0, 0.0, 1.0, 1.0))
            values.append(1 - float(blur_effect(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), h_size=11)))
        return {"sharpness": float(np.median(values))}


def cut_out(
    frame: UInt8[np.ndarray, "height width 3"], box: tuple[float, float, float, float]
) -> UInt8[np.ndarray, "part_height part_width 3"]:
    """Return the middle of a part of the picture at full resolution, at most `_SIDE` pixels a side, at least 16."""
    height, width = frame.shape[:2]
    spans = []
    for low, high, side in ((box[1], box[3], height), (box[0], box[2], width)):
        length = int(np.clip(round((high - low) * side), min(16, side), min(_SIDE, side)))
        begin = int(np.clip(round((low + high) / 2 * side - length / 2), 0, side - length))
        spans.append(slice(begin, begin + length))
    return frame[spans[0], spans[1]]


class TechnicalQualityFilter:
    """`technical_quality`: the embedded stand-in for an image-quality model, on a scale of its own, 0 to 1.

    The worst of three, each the median over samples: `contrast` (grey levels between the 2nd and 98th percentile, 1
    from 110 on), `exposure` (1 - twice the share of pixels at either end of the range), `cleanness` (1 without noise, 0
    from a deviation of 16 grey levels on; Immerkaer 1996, by a median instead of a mean). It knows nothing of beauty.
    """

    name = "image_quality"
    columns: tuple[str, ...] = ("technical_quality", "contrast", "exposure", "cleanness")

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """All columns."""
        values = np.median([_technical(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)) for frame in clip.frames], axis=0)
        contrast, exposure, cleanness = (float(value) for value in values)
        worst = min(contrast, exposure, cleanness)
        return {"technical_quality": worst, "contrast": contrast, "exposure": exposure, "cleanness": cleanness}


_LAPLACIANS = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6
"""The difference of two Laplacians, blind to edges; noise of deviation 1 leaves 1."""


def _technical(grey: UInt8[np.ndarray, "height width"]) -> tuple[float, float, float]:
    """(contrast, exposure, cleanness)."""
    counts = np.bincount(grey[::2, ::2].ravel(), minlength=256)
    low, high = np.searchsorted(np.cumsum(counts) / counts.sum(), (0.02, 0.98))
    ends = float(counts[:4].sum() + counts[252:].sum()) / float(counts.sum())
    noise = float(np.median(np.abs(cv2.filter2D(grey, cv2.CV_32F, _LAPLACIANS)[::2, ::2]))) / 0.6745
    return min(1.0, (float(high) - float(low)) / 110), max(0.0, 1 - 2 * ends), max(0.0, 1 - noise / 16)
