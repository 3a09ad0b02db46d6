"""Measures the steadiness of a long video with exact masks: background by segment and window, appearance by window.

Frames are uint8 RGB, masks say where the person is (and is meant to be); differences are in units of 0..255. The scores
"background drift" and "appearance drift" of `person_motion.py` are other measures, for videos without masks. Single
frames are scored by `pixel_metrics.py`, flicker at seams by `generate/seams.py`.
"""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float

from posegen.evaluate.metrics.appearance import Appearance, describe_appearance
from posegen.types import Frames, Masks

_MARGIN = 5
"""Pixels around the person that count as the person: for shadows, and for edges that the model moves."""


def mean_background(frames: Frames, person: Masks) -> Float[np.ndarray, "height width 3"]:
    """Mean of each pixel over the frames in which it is background; NaN where it never is."""
    kernel = np.ones((2 * _MARGIN + 1, 2 * _MARGIN + 1), np.uint8)
    outside = np.stack([cv2.dilate(mask.astype(np.uint8), kernel) == 0 for mask in person])
    count = outside.sum(axis=0)[..., None]
    total = np.einsum("fhwc,fhw->hwc", frames.astype(np.float64), outside.astype(np.float64))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def background_difference(frames: Frames, person: Masks, parts: Sequence[range]) -> list[float]:
    """Mean absolute difference of each part's background to the first part's, where both show it.

    `parts` are runs of frames (the base segments); the first is compared with all others. NaN without common
    background.
    """
    backgrounds = [mean_background(frames[part.start : part.stop], person[part.start : part.stop]) for part in parts]
    differences = []
    for background in backgrounds[1:]:
        apart = np.abs(background - backgrounds[0])
        differences.append(float(np.nanmean(apart)) if np.isfinite(apart).any() else float("nan"))
    return differences


def windowed_background_difference(frames: Frames, person: Masks, window: int) -> list[float]:
    """`background_difference` of every `window` frames to the first: a curve over time, from 0."""
    starts = range(0, len(frames) - window + 1, window)
    return [0.0, *background_difference(frames, person, [range(start, start + window) for start in starts])]


def windowed_appearance_distance(
    frames: Frames,
    keypoints: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
    reference: Appearance,
    window: int,
) -> list[float]:
    """Distance in CIELAB units of the person in every `window` frames from the reference: a curve over time."""
    return [
        describe_appearance(
            frames[start : start + window], keypoints[start : start + window], scores[start : start + window]
        ).distance(reference)
        for start in range(0, len(frames) - window + 1, window)
    ]
