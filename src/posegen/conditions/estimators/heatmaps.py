"""Crops people for top-down pose models, and decodes heat maps into keypoints.

"Unbiased data processing" (UDP, Huang et al. 2020) with DARK's sub-pixel step (Zhang et al. 2020), as ViTPose and
Sapiens were trained: first and last pixel centres of the crop lie on the edges of the box, and so do those of the heat
map. Models are in other files.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posegen.types import Frame

PADDING = 1.25
"""Ratio of the crop to the box."""
_KERNEL = cv2.getGaussianKernel(11, 2.0).ravel()
"""Blur of the heat map before its peak is refined: 11 pixels, sigma 2."""
_REACH = 6  # pixels around the maximum that its 3 x 3 blurred neighbours need


@dataclass(frozen=True)
class Crop:
    """Part of a frame: centre (x, y) and size (width, height), pixels."""

    centre: tuple[float, float]
    size: tuple[float, float]

    @classmethod
    def around(cls, box: tuple[float, float, float, float], shape: tuple[int, int], padding: float = PADDING) -> "Crop":
        """Make the crop around a box (left, top, right, bottom), padded, with the aspect ratio of `shape` = (h, w)."""
        left, top, right, bottom = box
        width, height = max(right - left, 1.0) * padding, max(bottom - top, 1.0) * padding
        ratio = shape[1] / shape[0]
        width, height = max(width, height * ratio), max(height, width / ratio)
        return cls(((left + right) / 2, (top + bottom) / 2), (width, height))

    def to_frame(self, points: Float[np.ndarray, "*n 2"], shape: tuple[int, int]) -> Float[np.ndarray, "*n 2"]:
        """Map points (x, y) of a map of `shape` = (height, width) over this part to pixels of the frame."""
        last = np.array([shape[1] - 1, shape[0] - 1], np.float32)
        return (points / last * self.size + self.centre - np.array(self.size) / 2).astype(np.float32)

    def cut(self, frame: Frame, shape: tuple[int, int]) -> UInt8[np.ndarray, "h w 3"]:
        """Cut this part out of the frame at `shape` = (height, width); black beyond the frame's edges."""
        corner, step = np.array(self.centre) - np.array(self.size) / 2, self._step(shape)
        frame, origin, factor = _shrunk(frame, corner, np.array(self.size), int(step.min()))
        start = (corner - origin + 0.5) / factor - 0.5
        matrix = np.array([[step[0] / factor, 0, start[0]], [0, step[1] / factor, start[1]]])
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        return cv2.warpAffine(frame, matrix, (shape[1], shape[0]), flags=flags, borderMode=cv2.BORDER_CONSTANT)

    def paste(self, values: Float[np.ndarray, "h w c"], shape: tuple[int, int]) -> Float[np.ndarray, "height width c"]:
        """Paste a map over this part into an image of `shape` = (height, width) that is 0 elsewhere."""
        corner, step = np.array(self.centre) - np.array(self.size) / 2, self._step(values.shape[:2])
        matrix = np.array([[step[0], 0, corner[0]], [0, step[1], corner[1]]])
        return cv2.warpAffine(values, matrix, (shape[1], shape[0]), flags=cv2.INTER_LINEAR).reshape(*shape, -1)

    def _step(self, shape: tuple[int, ...]) -> Float[np.ndarray, " 2"]:
        """Return the size of a pixel of the map in pixels of the frame."""
        return np.array(self.size) / np.array([shape[1] - 1, shape[0] - 1])


def _shrunk(
    frame: Frame, corner: np.ndarray, size: np.ndarray, factor: int
) -> tuple[UInt8[np.ndarray, "h w 3"], np.ndarray, int]:
    """Return the needed part of the frame, reduced by averaging `factor` pixels, its origin, and the factor.

    Without it a large person in a small crop would be sampled at single pixels.
    """
    if factor < 2:
        return frame, np.zeros(2), 1
    low = np.maximum(np.floor(corner).astype(int) - factor, 0)
    high = np.minimum(np.ceil(corner + size).astype(int) + factor, frame.shape[1::-1])
    if (high - low < factor).any():
        return frame, np.zeros(2), 1
    high = low + (high - low) // factor * factor
    part = frame[low[1] : high[1], low[0] : high[0]]
    small = cv2.resize(part, tuple(int(side) // factor for side in high - low), interpolation=cv2.INTER_AREA)
    return small, low, factor


def decode_heatmaps(
    heatmaps: Float[np.ndarray, "people points height width"],
) -> tuple[Float[np.ndarray, "people points 2"], Float[np.ndarray, "people points"]]:
    """Return (x, y) of each map's peak in pixels of the map, refined by DARK, and its height as score (0 to 1).

    The logarithm of the blurred map is approximated by a parabola around its maximum, exact for a Gaussian. A peak
    moves by at most one pixel, and not at all if the map is not curved downwards.
    """
    people, count, height, width = heatmaps.shape
    maps = heatmaps.reshape(-1, height, width).astype(np.float32)
    place = maps.reshape(len(maps), -1).argmax(axis=1)
    rows, columns = np.divmod(place, width)
    each = np.arange(len(maps))
    scores = maps[each, rows, columns]

    padded = np.pad(maps, ((0, 0), (_REACH, _REACH), (_REACH, _REACH)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (2 * _REACH + 1,) * 2, axis=(1, 2))[each, rows, columns]
    blur = np.zeros((3, 2 * _REACH + 1), np.float32)
    for shift in range(3):
        blur[shift, shift : shift + len(_KERNEL)] = _KERNEL
    near = blur @ windows @ blur.T  # (maps, 3, 3) around the maximum
    near *= (scores / np.where(near[:, 1, 1] > 0, near[:, 1, 1], 1))[:, None, None]
    near[rows == 0, 0], near[rows == height - 1, 2] = near[rows == 0, 1], near[rows == height - 1, 1]
    near[columns == 0, :, 0], near[columns == width - 1, :, 2] = (
        near[columns == 0, :, 1],
        near[columns == width - 1, :, 1],
    )
    near = np.log(np.clip(near, 1e-3, 50))

    slope_x, slope_y = (near[:, 1, 2] - near[:, 1, 0]) / 2, (near[:, 2, 1] - near[:, 0, 1]) / 2
    curve_x = near[:, 1, 2] - 2 * near[:, 1, 1] + near[:, 1, 0]
    curve_y = near[:, 2, 1] - 2 * near[:, 1, 1] + near[:, 0, 1]
    twist = (
        near[:, 2, 2]
        - near[:, 1, 2]
        - near[:, 2, 1]
        + 2 * near[:, 1, 1]
        - near[:, 1, 0]
        - near[:, 0, 1]
        + near[:, 0, 0]
    ) / 2
    determinant = curve_x * curve_y - twist**2
    peaked = (determinant > 1e-9) & (curve_x < 0)
    determinant = np.where(peaked, determinant, 1)
    move_x = np.where(peaked, (twist * slope_y - curve_y * slope_x) / determinant, 0)
    move_y = np.where(peaked, (twist * slope_x - curve_x * slope_y) / determinant, 0)
    points = np.stack([columns + np.clip(move_x, -1, 1), rows + np.clip(move_y, -1, 1)], axis=-1).astype(np.float32)
    return points.reshape(people, count, 2), np.clip(scores, 0, 1).reshape(people, count)
