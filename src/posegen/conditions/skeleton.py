"""Draws one frame's keypoints as the skeleton image that conditions the model (OpenPose style, without a face).

Identical to the drawing with which the published weights were trained (repository Jessie459/PoseGen, visualizer.py):
same points, order, rounding and OpenCV calls. Line widths suit images of about 720 x 1280 pixels. Keypoints may come
from any estimator.
"""

import colorsys
import math
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posegen.conditions.keypoints import HAND_DRAWN

Colors = Literal["openpose", "release"]

BODY_THICKNESS, BODY_RADIUS = 4, 4
HAND_THICKNESS, HAND_RADIUS = 2, 4

_OPENPOSE_BODY = (0, -1, 6, 8, 10, 5, 7, 9, 12, 14, 16, 11, 13, 15, 2, 1, 4, 3, 17, 18, 19, 20, 21, 22)
"""COCO-WholeBody index of each of OpenPose's 18 body points and 6 foot points; -1 is the neck, computed below."""
_LINKS = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13), (1, 0),
    (0, 14), (14, 16), (0, 15), (15, 17), (13, 18), (13, 19), (13, 20), (10, 21), (10, 22), (10, 23),
)  # fmt: skip  # a table, read in rows
_FOOT_COLOR = (255, 128, 0)
_LINK_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 225), (0, 170, 255), (0, 85, 255), (0, 0, 255), (255, 0, 170), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), *((0, 255, 0),) * 3, *(_FOOT_COLOR,) * 3,
)  # fmt: skip  # a table, read in rows
_POINT_COLORS = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85), *(_FOOT_COLOR,) * 6,
)  # fmt: skip  # a table, read in rows
_HAND_LINKS = tuple(
    (0 if joint == 0 else 4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in range(4)
)
_HAND_COLORS = tuple(tuple(255 * part for part in colorsys.hsv_to_rgb(link / 20, 1.0, 1.0)) for link in range(20))
_HANDS = (91, 112)

_FARTHEST = 1_000_000
"""Maximum coordinate in pixels; larger ones are estimator failures and would overflow OpenCV's fixed-point numbers."""


def draw_skeleton(
    keypoints: Float[np.ndarray, "133 2"],
    scores: Float[np.ndarray, " 133"],
    size: tuple[int, int],
    body_threshold: float = 0.3,
    hand_threshold: float = HAND_DRAWN,
    colors: Colors = "openpose",
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw COCO-WholeBody keypoints (pixels, x right, y down) with scores (0..1; below 0 counts as 0) on black.

    size: (height, width) in pixels. A link is drawn if both its ends reach the threshold; the neck is the middle of the
    shoulders, with their mean score; a hand's joint is drawn only as an end of a drawn link; the face never is. Points
    that are not finite or extremely far away are left out. colors: "openpose" is the palette as RGB; "release" swaps
    red and blue, as in the training of the published weights (drawn as RGB, written as BGR).
    Raises `ValueError` for other shapes, sizes or colours.
    """
    if keypoints.shape != (133, 2) or scores.shape != (133,):
        raise ValueError(f"expected 133 keypoints (133, 2) with scores (133,), not {keypoints.shape}, {scores.shape}")
    if colors not in ("openpose", "release"):
        raise ValueError(f"colors must be 'openpose' or 'release', not {colors!r}")
    image = np.zeros((*size, 3), dtype=np.uint8)
    points = np.concatenate([keypoints, np.maximum(scores, 0)[:, None]], axis=1)
    usable = np.isfinite(points).all(axis=1) & (np.abs(points[:, :2]) < _FARTHEST).all(axis=1)
    points = np.where(usable[:, None], points, np.array([0, 0, -np.inf], dtype=points.dtype))

    body = points[list(_OPENPOSE_BODY)]
    body[1] = points[[5, 6]].mean(axis=0)
    _draw_body(image, body, body_threshold)
    for first in _HANDS:
        _draw_hand(image, points[first : first + 21], hand_threshold)
    return image if colors == "openpose" else np.ascontiguousarray(image[..., ::-1])


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])


def _draw_body(image: np.ndarray, points: np.ndarray, threshold: float) -> None:
    for (start, stop), color in zip(_LINKS, _LINK_COLORS, strict=True):
        if points[start, 2] < threshold or points[stop, 2] < threshold:
            continue
        (x1, y1), (x2, y2) = _pixel(points[start]), _pixel(points[stop])
        middle = (int((x1 + x2) / 2), int((y1 + y2) / 2))
        length = math.hypot(x1 - x2, y1 - y2)
        angle = math.degrees(math.atan2(y1 - y2, x1 - x2))
        polygon = cv2.ellipse2Poly(middle, (int(length / 2), BODY_THICKNESS), int(angle), 0, 360, 1)
        cv2.fillConvexPoly(image, np.asarray(polygon), color)
    for point, color in zip(points, _POINT_COLORS, strict=True):
        if point[2] >= threshold:
            cv2.circle(image, _pixel(point), BODY_RADIUS, color, thickness=-1)


def _draw_hand(image: np.ndarray, points: np.ndarray, threshold: float) -> None:
    links = [
        (start, stop, color)
        for (start, stop), color in zip(_HAND_LINKS, _HAND_COLORS, strict=True)
        if points[start, 2] >= threshold and points[stop, 2] >= threshold
    ]
    for joint in sorted({joint for start, stop, _ in links for joint in (start, stop)}):
        cv2.circle(image, _pixel(points[joint]), HAND_RADIUS, (255, 255, 255), thickness=-1)
    for start, stop, color in links:
        cv2.line(image, _pixel(points[start]), _pixel(points[stop]), color, thickness=HAND_THICKNESS)
