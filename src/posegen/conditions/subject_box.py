"""Locates the subject of an image without recognising it: for drawings in which estimators find no person.

The region that differs from the image's edges is taken as the subject (GrabCut, Rother et al. 2004). An image without
such a region has none.
"""

import cv2
import numpy as np
from jaxtyping import UInt8

_LONG_SIDE = 256
_MIN_SHARE, _MAX_SHARE = 0.03, 0.75
"""Minimum and maximum fraction of the image that a subject covers."""
_MARGIN = 0.04
_DIFFERENT = 12.0
"""Minimum difference, in grey levels, of the subject's mean colour from that of the rest."""


def find_subject_box(image: UInt8[np.ndarray, "height width 3"]) -> tuple[float, float, float, float] | None:
    """Return the box (left, top, right, bottom) of the subject in pixels; None if nothing stands out."""
    height, width = image.shape[:2]
    scale = _LONG_SIDE / max(height, width)
    small = cv2.resize(
        image, (max(8, round(width * scale)), max(8, round(height * scale))), interpolation=cv2.INTER_AREA
    )
    rows, columns = small.shape[:2]
    if float(small.std()) < 2:
        return None
    side, top = max(1, round(_MARGIN * columns)), max(1, round(_MARGIN * rows))
    mask = np.full((rows, columns), cv2.GC_BGD, np.uint8)
    mask[top:, side : columns - side] = cv2.GC_PR_FGD  # a half-length portrait reaches the lower edge
    cv2.setRNGSeed(0)
    ignored = (0, 0, 0, 0)  # the rectangle, since there is a mask
    cv2.grabCut(small, mask, ignored, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(found)
    if count < 2:
        return None
    largest = 1 + int(statistics[1:, cv2.CC_STAT_AREA].argmax())
    subject = labels == largest
    if not _MIN_SHARE <= float(subject.mean()) <= _MAX_SHARE:
        return None
    difference = np.abs(small[subject].mean(axis=0) - small[~subject].mean(axis=0)).max()
    if float(difference) < _DIFFERENT:
        return None
    left, top_row, across, down = (int(value) for value in statistics[largest, :4])
    corners = np.array([left, top_row, left + across, top_row + down]) / np.array([columns, rows] * 2)
    box = corners * np.array([width, height] * 2)
    return float(box[0]), float(box[1]), float(box[2]), float(box[3])
