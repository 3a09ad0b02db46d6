"""Converts decoded frames of any pixel format to upright 8-bit RGB with square pixels.

Honours the frame's colour matrix and range, the display matrix and the given size. `reading` chooses the frames and
finds the pixel aspect ratio.
"""

from typing import Any, Literal

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, Interpolation, VideoReformatter
from jaxtyping import UInt8

from posegen.media.hdr import to_standard_range

# full chroma and accurate rounding: without them edges of saturated colours are two pixels wide and levels are off by
# up to 3
RESAMPLING = Interpolation.BILINEAR | Interpolation.FULL_CHR_H_INT | Interpolation.ACCURATE_RND
# with full chroma libswscale 9 fills 16-bit RGB with wrong colours from the second row on
_DEEP_RESAMPLING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND

# for images that are measured, not kept: levels are up to 3 too low, colours coarser, in half of the time
_FAIR_RESAMPLING = Interpolation.BILINEAR | Interpolation.ACCURATE_RND
# for coarse images: averaged, in two thirds of the time
_ROUGH_RESAMPLING = Interpolation.AREA

Quality = Literal["exact", "fair", "rough"]
_UNSPECIFIED_MATRIX = 2  # AVCOL_SPC_UNSPECIFIED
_HDR_TRANSFERS: dict[int, Literal["pq", "hlg"]] = {int(ColorTrc.SMPTE2084): "pq", int(ColorTrc.ARIB_STD_B67): "hlg"}


def is_hdr(frame: VideoFrame) -> bool:
    """Return True if the frame's transfer function is PQ (HDR10, Dolby Vision) or HLG."""
    return int(frame.color_trc) in _HDR_TRANSFERS


class Orientation:
    """Rotation of a stored frame for display: transposed first, then mirrored.

    Read from the 3x3 display matrix that phones write, which maps stored (x, y) to x' = a x + c y, y' = b x + d y. Only
    quarter turns and mirrorings exist in practice; other angles are rounded to the nearest.
    """

    def __init__(self, frame: VideoFrame) -> None:
        data: Any = frame.side_data.get("DISPLAYMATRIX")
        a, b, _, c, d = np.frombuffer(bytes(data), dtype="<i4")[:5] if data is not None else (1, 0, 0, 0, 1)
        self.transposed = abs(int(b)) + abs(int(c)) > abs(int(a)) + abs(int(d))
        self.mirrored_x = bool((c if self.transposed else a) < 0)
        self.mirrored_y = bool((b if self.transposed else d) < 0)

    @property
    def degrees(self) -> int:
        """Clockwise rotation for display: 0, 90, 180 or 270 (does not express mirroring in one direction)."""
        if self.transposed:
            return 270 if self.mirrored_y else 90
        return 180 if self.mirrored_x and self.mirrored_y else 0

    def apply(self, image: UInt8[np.ndarray, "h w 3"]) -> UInt8[np.ndarray, "h2 w2 3"]:
        """Return the image as displayed (a view)."""
        if self.transposed:
            image = image.transpose(1, 0, 2)
        return image[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1]


class RgbConverter:
    """Converts the frames of one video; `size` is the stored frame's (H, W) with square pixels, before rotation.

    HDR (PQ, HLG) is mapped to the standard range by `hdr`. `quality`: "exact"; "fair", in half of the time, with
    levels up to 3 too low and edges of saturated colours two pixels wide; "rough", faster still, with levels that may
    be off by 3.
    """

    def __init__(self, size: tuple[int, int], orientation: Orientation, quality: Quality = "exact") -> None:
        self._height, self._width = size
        self._orientation = orientation
        self._resampling = {"exact": RESAMPLING, "fair": _FAIR_RESAMPLING, "rough": _ROUGH_RESAMPLING}[quality]
        self._reformatter = VideoReformatter()  # keeps its tables between frames

    def __call__(self, frame: VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        """Return RGB, C-contiguous: rows of PyAV frames can be padded, which libraries that ignore strides misread."""
        deep = is_hdr(frame)
        rgb = self._reformatter.reformat(
            frame,
            self._width,
            self._height,
            "rgb48le" if deep else "rgb24",
            src_colorspace=_matrix(frame),
            dst_color_range=ColorRange.JPEG,
            interpolation=_DEEP_RESAMPLING if deep else self._resampling,
        )
        pixels = rgb.to_ndarray()
        if deep:
            wide_gamut = int(frame.color_primaries) in (ColorPrimaries.BT2020, ColorPrimaries.UNSPECIFIED)
            pixels = to_standard_range(pixels, _HDR_TRANSFERS[int(frame.color_trc)], wide_gamut)
        return np.ascontiguousarray(self._orientation.apply(pixels))


def _matrix(frame: VideoFrame) -> int:
    """Return the YUV matrix: as tagged, else BT.709 for 720 lines or more and BT.601 below, as players do."""
    tagged = int(frame.colorspace)
    if tagged != _UNSPECIFIED_MATRIX:
        return tagged
    return int(Colorspace.ITU709 if frame.height >= 720 else Colorspace.ITU601)
