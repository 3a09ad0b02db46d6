"""Chooses the size to generate at, and fits images of one size to another.

Nothing is ever stretched by more than the rounding of a pixel: the scaled image is cropped, or padded, evenly on both
sides, unless a crop is to keep something. Coordinates count from the centre of the top-left pixel, which is (0, 0); x
to the right, y down. Sizes are (H, W), and HxW in text, as on the command line. Callers choose the mode and report
`describe()`.
"""

import itertools
import math
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, Num, UInt8

from posegen.errors import PosegenError
from posegen.types import Size


@dataclass(frozen=True)
class Fit:
    """Plan for fitting an image of size `source` (H, W) to size `target` (H, W).

    `crop` covers the target and cuts off the excess; `pad` shows everything and fills the rest. `centre` is the point
    (y, x), as fractions of the source, at the middle of a crop where the source is large enough.
    """

    mode: Literal["crop", "pad"]
    source: Size
    target: Size
    centre: tuple[float, float] = (0.5, 0.5)

    @property
    def scaled(self) -> Size:
        """Size (H, W) after scaling, before cropping or padding; one side equals the target's."""
        ratios = [wanted / have for wanted, have in zip(self.target, self.source, strict=True)]
        scale = max(ratios) if self.mode == "crop" else min(ratios)
        bound = max if self.mode == "crop" else min
        height, width = (
            max(1, bound(wanted, round(have * scale))) for wanted, have in zip(self.target, self.source, strict=True)
        )
        return height, width

    @property
    def offset(self) -> Size:
        """Corner (y, x) of the scaled image in the target: negative or 0 for a crop, positive or 0 for padding."""
        top, left = (
            (wanted - have) // 2 if at == 0.5 else max(wanted - have, min(0, round(wanted / 2 - at * have)))
            for have, wanted, at in zip(self.scaled, self.target, self.centre, strict=True)
        )
        return top, left

    def keeping(self, *boxes: tuple[float, float, float, float]) -> "Fit":
        """Return the fit with a crop that shows the `boxes` (left, top, right, bottom; in the source's pixels).

        The first box matters most: each further one moves the crop only where those before stay in it as they are. A
        box that is too large for the crop is shown about its middle. If the crop about the middle of the image shows
        all of them, or if the image is padded, which cuts nothing, the fit is left unchanged.
        """
        if self.mode == "pad":
            return self
        centres = []
        for axis, source, scaled, target in zip((1, 0), self.source, self.scaled, self.target, strict=True):
            half = target / scaled / 2
            low, high, middle = half, 1 - half, 0.5
            for box in boxes:
                begin, end = (min(max(edge / source, 0.0), 1.0) for edge in (box[axis], box[axis + 2]))
                middle = (begin + end) / 2
                first, last = (end - half, begin + half) if end - begin <= 2 * half else (middle, middle)
                low, high = (min(max(bound, low), high) for bound in (first, last))
            centres.append(0.5 if low <= 0.5 <= high else min(max(middle, low), high))
        return replace(self, centre=(centres[0], centres[1]))

    def at_size(self, target: Size) -> "Fit":
        """Return the same fit, with the same crop, to another size of the same shape."""
        return replace(self, target=target)

    def apply(self, image: UInt8[np.ndarray, "h w 3"], pad_value: int = 0) -> UInt8[np.ndarray, "th tw 3"]:
        """Fit an image of size `source` to size `target`; padding has `pad_value` (0..255) in every channel."""
        assert image.shape[:2] == self.source, f"planned for {self.source}, got {image.shape[:2]}"
        (height, width), (top, left), (target_height, target_width) = self.scaled, self.offset, self.target
        if (height, width) != self.source:
            smaller = height * width < self.source[0] * self.source[1]
            # area averaging lets no pattern alias when shrinking; when enlarging it would leave blocks
            image = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_CUBIC)
        if self.mode == "crop":
            return np.ascontiguousarray(image[-top : target_height - top, -left : target_width - left])
        canvas = np.full((target_height, target_width, 3), pad_value, dtype=np.uint8)
        canvas[top : top + height, left : left + width] = image
        return canvas

    def apply_points(self, points: Num[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Map points (x, y) of the source image to the target's pixels; they may lie outside it."""
        return (points + 0.5) * self._scale_xy - 0.5 + self.offset[::-1]

    def invert_points(self, points: Num[np.ndarray, "*n 2"]) -> Float[np.ndarray, "*n 2"]:
        """Map points (x, y) of the target image to the source's pixels."""
        return (points - self.offset[::-1] + 0.5) / self._scale_xy - 0.5

    @property
    def _scale_xy(self) -> Float[np.ndarray, " 2"]:
        return np.array(self.scaled[::-1]) / np.array(self.source[::-1])

    def describe(self) -> str:
        """Describe the fit in one line: the sizes, the scale, and the percentages cropped or padded."""
        (height, width), (target_height, target_width) = self.scaled, self.target
        parts = []
        for side, have, wanted in (("height", height, target_height), ("width", width, target_width)):
            if have > wanted:
                parts.append(f"{100 * (have - wanted) / have:.1f} % of the {side} cut off")
            elif have < wanted:
                parts.append(f"{100 * (wanted - have) / wanted:.1f} % of the {side} is padding")
        change = ", ".join(parts) or f"nothing {'cut off' if self.mode == 'crop' else 'padded'}"
        scale = height / self.source[0]
        return f"{_text(self.source)} fitted to {_text(self.target)} ({self.mode}): scaled by {scale:.3f}, {change}"


def plan_fit(source_hw: Size, target_hw: Size, mode: Literal["crop", "pad"]) -> Fit:
    """Plan the fit of an image of size `source_hw` to `target_hw`, both (H, W).

    Raises `PosegenError` on sizes below 1 or a wrong mode.
    """
    if mode not in ("crop", "pad"):
        raise PosegenError(f"a fit of 'crop' or 'pad' was expected, not {mode!r}")
    if min(*source_hw, *target_hw) < 1:
        raise PosegenError(f"sizes of at least 1x1 were expected, not {_text(source_hw)} and {_text(target_hw)}")
    return Fit(mode, (source_hw[0], source_hw[1]), (target_hw[0], target_hw[1]))


def choose_size(source_hw: Size, area: int, multiple: int) -> Size:
    """Return the size (H, W), both sides multiples of `multiple`, nearest to `area` pixels and the source's shape.

    Nearest means the smallest sum of the relative (logarithmic) errors of area and of aspect ratio.
    Raises `PosegenError` on sizes that are not positive or an area of less than one `multiple` x `multiple` square.
    """
    if min(source_hw) < 1 or multiple < 1 or area < multiple * multiple:
        raise PosegenError(
            f"an area of at least {multiple}x{multiple} pixels and a picture were expected, not {area} pixels "
            f"and {_text(source_hw)}"
        )
    aspect = source_hw[1] / source_hw[0]
    ideal_steps = (math.sqrt(area / aspect) / multiple, math.sqrt(area * aspect) / multiple)
    choices = [range(max(1, math.floor(steps) - 1), math.ceil(steps) + 2) for steps in ideal_steps]

    def error(size: Size) -> float:
        height, width = size
        return abs(math.log(width / height / aspect)) + abs(math.log(height * width / area))

    return min(((h * multiple, w * multiple) for h, w in itertools.product(*choices)), key=error)


def check_size(hw: Size, multiple: int) -> None:
    """Check that both sides of (H, W) are positive multiples of `multiple`.

    Raises `PosegenError`, which names the nearest valid sizes.
    """
    if min(hw) >= multiple and all(side % multiple == 0 for side in hw):
        return
    smaller = tuple(max(multiple, side // multiple * multiple) for side in hw)
    larger = tuple(max(multiple, -(-side // multiple) * multiple) for side in hw)
    nearest = dict.fromkeys(_text((height, width)) for height, width in (smaller, larger))
    raise PosegenError(
        f"size {_text(hw)}: height and width must be multiples of {multiple}; the nearest are {' and '.join(nearest)}"
    )


def _text(size: Size) -> str:
    return f"{size[0]}x{size[1]}"
