"""The filter for overlays: text laid over frames, and black bars at the edges.

Text is recognised by its looks, without a network: strokes much brighter or darker than their surroundings, which stay
in place from sample to sample, in shapes of even stroke width and like height, side by side in a line. Text that moves
with the person's clothes does not stay; a sign on a wall does, and counts. Single stickers are not found.
"""

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import People

_LONG_SIDE = 832
"""Pixels of the longer side at which text is looked for."""
_SAMPLES = 9
"""Maximum number of samples of a clip that are searched, evenly spaced."""
_STROKE = 0.06
"""Maximum stroke width of text, as a share of the picture's shorter side."""
_CONTRAST = 34
"""Grey levels that strokes differ from their surroundings."""
_HEIGHTS = (0.015, 0.22)
"""Minimum and maximum height of letters, as shares of the picture's shorter side."""
_LEAST_HEIGHT = 6.0  # pixels; smaller shapes are noise
_WIDEST = 2.2
"""Heights up to which a shape is a single letter."""
_REVERSALS = 1.5
"""Changes between light and dark in one height of a line, in each third of it."""
_LETTERS, _FEW = 4, 4
"""Letters side by side that make a line; so few must stay nearly perfectly."""
_STAYS, _STAYS_WELL = 0.68, 0.9
"""Share of a line's strokes that must be the same in two samples, and in one before or after them: clothes with letters
or folds on them stand still for a moment."""
_REPEATS = 8
"""Shapes in a row that may be a pattern; fewer may be a word in wide letters, unless they are all but the same."""
_SLANTED = 6
"""Shapes in a row that are enough to tell a pattern on a wall that is seen at an angle."""
_BAR = 0.7
"""Share of a shape's width from which its stroke makes it a bar, like I and l, but also boards and pickets."""
_BLACK = 24
"""Grey level up to which an edge counts as a black bar."""


@dataclass(frozen=True)
class Letter:
    """A shape that may be a letter: place and size in pixels."""

    left: int
    top: int
    width: int
    height: int
    solid: bool = False
    """A bar: its stroke is nearly as thick as it is wide."""

    @property
    def bottom(self) -> int:
        """The lower edge."""
        return self.top + self.height

    @property
    def right(self) -> int:
        """The right edge."""
        return self.left + self.width


class OverlayFilter:
    """`overlay_text`: share of the picture under lines of text, at the moment with most; `bars`: under black bars."""

    name = "overlay"
    columns: tuple[str, ...] = ("overlay_text", "bars")

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Return shares of the picture, 0..1."""
        chosen = np.unique(np.linspace(0, len(clip) - 1, min(len(clip), _SAMPLES)).round().astype(int))
        scale = min(1.0, _LONG_SIDE / max(clip.frames.shape[1:3]))
        pictures = [
            cv2.resize(clip.frames[number], None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for number in chosen
        ]
        most = max(_text(pictures, operation) for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT))
        return {"overlay_text": most, "bars": _bars([_most(picture) for picture in pictures])}


def _text(pictures: list[UInt8[np.ndarray, "height width 3"]], operation: int) -> float:
    """Return the share of the picture under lines of text, at the moment with most."""
    strokes = [stroke_picture(picture, operation) for picture in pictures]
    pairs = list(pairwise(strokes)) or [(strokes[0], strokes[0])]
    most = 0.0
    for number, (one, other) in enumerate(pairs):
        covered = np.zeros(one.shape, np.uint8)
        beside = [pairs[near] for near in (number - 1, number + 1) if 0 <= near < len(pairs)]
        for line in text_lines(np.minimum(one, other)):
            left, top = min(each.left for each in line), min(each.top for each in line)
            right, bottom = max(each.right for each in line), max(each.bottom for each in line)
            window = (slice(int(top), int(bottom)), slice(int(left), int(right)))
            wanted = _STAYS_WELL if len(line) == _FEW else _STAYS
            here = _staying(one[window], other[window]) >= wanted
            if here and (not beside or any(_staying(*(each[window] for each in pair)) >= _STAYS for pair in beside)):
                covered[window] = 1
        most = max(most, float(covered.mean()))
    return most


def _staying(one: UInt8[np.ndarray, "height width"], other: UInt8[np.ndarray, "height width"]) -> float:
    """Return the share of the strokes of either picture that is the same in both."""
    staying, either = (int((each > _CONTRAST).sum()) for each in (np.minimum(one, other), np.maximum(one, other)))
    return staying / max(1, either)


def stroke_picture(picture: UInt8[np.ndarray, "height width 3"], operation: int) -> UInt8[np.ndarray, "height width"]:
    """Measure how much narrow parts differ from their surroundings (brighter: top hat; darker: black hat).

    In the colour in which it stands out most: writing can be as bright as the wall behind it.
    """
    side = 2 * max(3, round(_STROKE * min(picture.shape[:2]) / 2)) + 1
    return _most(cv2.morphologyEx(picture, operation, cv2.getStructuringElement(cv2.MORPH_RECT, (side, side))))


def _most(picture: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "height width"]:
    """Return the largest of the three colours; numpy's `max` over a last axis of three takes ten times as long."""
    red, green, blue = cv2.split(picture)
    return cv2.max(cv2.max(red, green), blue)


def text_lines(strokes: UInt8[np.ndarray, "height width"]) -> list[list[Letter]]:
    """Find lines of at least `_LETTERS` letters in a picture of strokes."""
    shapes = _shapes(strokes)
    letters = sorted((each for each in shapes if each.width <= _WIDEST * each.height), key=lambda each: each.left)
    lines: list[list[Letter]] = []
    for letter in letters:
        fitting = [line for line in lines if _continues(line[-1], letter)]
        if fitting:
            min(fitting, key=lambda line: letter.left - line[-1].right).append(letter)
        else:
            lines.append([letter])
    merged = [[each] for each in shapes if each.width > _WIDEST * each.height and _is_written(strokes, each)]
    return [line for line in lines if _is_text(line)] + merged


def _shapes(strokes: UInt8[np.ndarray, "height width"]) -> list[Letter]:
    mask = (strokes > _CONTRAST).astype(np.uint8)
    low, high = (share * min(strokes.shape) for share in _HEIGHTS)
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    depth = cv2.distanceTransform(mask, cv2.DIST_L2, 3)
    found = []
    for number, (left, top, width, height, area) in enumerate(boxes[1:].tolist(), start=1):
        if not max(low, _LEAST_HEIGHT) <= height <= high or width < 0.08 * height:
            continue
        fill = area / (width * height)
        if fill < 0.15 or (fill > 0.85 and width > 0.5 * height):  # lines of a grid; tiles and bricks
            continue
        solid = False
        if width <= _WIDEST * height:
            window = (slice(top, top + height), slice(left, left + width))
            inside = depth[window][labels[window] == number]
            thickness = 2 * float(inside.max())
            if thickness > 0.55 * height or thickness < 1.5:  # blobs; hairlines
                continue
            solid = thickness >= _BAR * width
        found.append(Letter(left, top, width, height, solid))
    return found


def _is_written(strokes: UInt8[np.ndarray, "height width"], shape: Letter) -> bool:
    """Return whether a wide shape is a line of letters whose outlines touch: light and dark change all along.

    Nobody writes over the picture's edge; what is cut by it is clothes, or hair.
    """
    height, width = strokes.shape
    cut = shape.left == 0 or shape.top == 0 or shape.right == width or shape.bottom == height
    if cut or shape.width < 3 * shape.height:
        return False
    rows = [shape.top + round(share * shape.height) for share in (0.35, 0.5, 0.65)]
    parts = np.array_split(strokes[rows, shape.left : shape.right].astype(int), 3, axis=1)
    changes = [np.mean([_reversals(row) for row in part]) / (part.shape[1] / shape.height) for part in parts]
    return bool(min(changes) > _REVERSALS)


def _reversals(values: np.ndarray) -> int:
    """Count how often a row of values turns by more than half of the contrast."""
    count, turning, direction = 0, int(values[0]), 0
    for value in values.tolist():
        if direction * (value - turning) >= 0 and direction:
            turning = value  # the same direction
        elif abs(value - turning) > _CONTRAST // 2:
            count, direction, turning = count + 1, 1 if value > turning else -1, value
    return count


def _continues(before: Letter, letter: Letter) -> bool:
    """Return whether a letter may be the next one of the line."""
    small, size = min(before.height, letter.height), max(before.height, letter.height)
    if not -0.3 * size <= letter.left - before.left - before.width <= 0.9 * size:  # nearly all
        return False
    alike = size <= 1.9 * small
    return alike and min(before.bottom, letter.bottom) - max(before.top, letter.top) >= 0.5 * small


def _is_text(line: list[Letter]) -> bool:
    if len(line) < _LETTERS:
        return False
    size = float(np.median([letter.height for letter in line]))
    bottoms, tops = (np.array([getattr(letter, name) for letter in line]) for name in ("bottom", "top"))
    # most letters stand on the line or hang from its upper edge; a script's line may slope a little
    slope = np.polyfit(np.arange(len(line)), bottoms, 1)
    standing = np.abs(bottoms - np.polyval(slope, np.arange(len(line)))) < 0.15 * size
    hanging = np.abs(tops - np.median(tops)) < 0.2 * size
    widths = np.array([letter.width for letter in line])
    narrow = float(np.median(widths)) < 0.3 * size  # stripes, pickets
    level = abs(slope[0]) < 0.15 * size
    boards = np.mean([letter.solid for letter in line]) > 0.5  # the light wood between dark gaps
    return bool(np.mean(standing | hanging) >= 0.7 and level and not (narrow or boards or _is_pattern(line, size)))


def _is_pattern(line: list[Letter], size: float) -> bool:
    """Return whether letters repeat one shape at a distance: wallpaper, tiles, windows."""
    lefts, widths, heights = (
        np.array([getattr(letter, name) for letter in line]) for name in ("left", "width", "height")
    )
    pitches = np.diff(lefts)
    gap = float(np.median(pitches - widths[:-1]))

    def spread(values: np.ndarray) -> float:
        """Median deviation from the median, as a share: cut pieces at the ends, and perspective, matter little."""
        return float(np.median(np.abs(values - np.median(values))) / np.median(values))

    def changes(values: np.ndarray) -> float:
        """Median change from one to the next, as a share: on a wall that is seen at an angle they change slowly."""
        return float(np.median(np.abs(np.diff(np.log(np.maximum(values, 1))))))

    apart = gap / float(np.median(widths))
    if len(line) >= _SLANTED and apart > 0.5 and max(map(changes, (pitches, widths))) < 0.15:
        return True  # successive letters differ by a quarter and more
    if len(line) < _REPEATS:
        # farther apart than the signs of a script that fill equal squares
        return apart > 0.6 and max(map(spread, (pitches, widths, heights))) < 0.1
    return gap > 0.35 * size and spread(pitches) < 0.2 and spread(widths) < 0.2


def _bars(pictures: list[UInt8[np.ndarray, "height width"]]) -> float:
    """Return the share of the picture under rows and columns at its edges that are black in every sample."""
    brightest = np.max(pictures, axis=0)
    share = 0.0
    for axis in (0, 1):
        black = (np.percentile(brightest, 99, axis=1 - axis) <= _BLACK).astype(int)
        if black.all():
            return 1.0
        ends = int(np.argmin(black)) + int(np.argmin(black[::-1]))
        share = 1 - (1 - share) * (1 - ends / len(black))
    return share
