"""Tells flat footage (camera log: S-Log, C-Log, V-Log, D-Log) by its pixels, since few files say it.

Log curves put black at about a tenth of the range and white at two thirds, with pale colours. Fog looks alike, so the
line says "looks like". Colours are not changed here: which curve it is cannot be told.
"""

from collections.abc import Iterable

import numpy as np

from posegen.types import Frame

_DARKEST, _BRIGHTEST = 0.075, 0.80
"""Limits, in parts of the range, that the darkest and the brightest pixels of flat frames keep inside of."""
_LEAST_RANGE = 0.12
"""Minimum range of a frame that shows something."""
_PALE = 0.30
"""Maximum saturation (HSV, 90th percentile) of flat frames."""
_MOST = 0.8
"""Fraction of the frames that must be flat."""


def is_flat(frame: Frame) -> bool:
    """Return True if a frame looks like camera log."""
    small = frame[:: max(1, frame.shape[0] // 180), :: max(1, frame.shape[1] // 320)].astype(np.float32) / 255
    brightness = small @ np.array([0.2126, 0.7152, 0.0722], np.float32)
    dark, bright = np.percentile(brightness, [0.5, 99.5])
    high = small.max(axis=2)
    saturation = np.percentile((high - small.min(axis=2)) / np.maximum(high, 1e-3), 90)
    return bool(dark > _DARKEST and bright < _BRIGHTEST and bright - dark > _LEAST_RANGE and saturation < _PALE)


def describe_flat(frames: Iterable[Frame]) -> str | None:
    """Describe in one line that a clip looks like camera log; None if it does not."""
    flat = [is_flat(frame) for frame in frames]
    if not flat or np.mean(flat) < _MOST:
        return None
    return (
        "the driving video looks like flat log footage: people and hands are found less surely in it; convert it, "
        "with the camera maker's LUT (ffmpeg -i video.mp4 -vf lut3d=camera.cube rec709.mp4)"
    )
