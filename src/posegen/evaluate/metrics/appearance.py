"""Recognises a person by the colours of hair, face, clothes and limbs: a descriptor, and the nearest of candidates.

Body parts are found by keypoints alone (`conditions/body_parts.py`), so that generated frames, which have no masks, are
measured like real ones. The descriptor holds mean and spread of each part's colours in CIELAB, over all frames. The
descriptor looks at what a bystander would name (dark hair, red striped top, blue jeans), not at a face: at 192 x 112
pixels there is none.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8
from skimage.color import rgb2lab

from posegen.conditions.body_parts import PARTS, part_regions

_LIGHTNESS = 0.6
"""Weight of lightness against colour: light falls differently on every pose."""
_FEWEST_PIXELS = 6.0
"""Minimum number of pixels of a part, per frame in which it is seen."""


@dataclass(frozen=True)
class Appearance:
    """Colours of the parts of one person, in the order of `PARTS`; NaN for a part that is not seen.

    mean and spread (standard deviation) are in CIELAB units, lightness weighted as `_LIGHTNESS` says.
    """

    mean: Float[np.ndarray, "parts 3"]
    spread: Float[np.ndarray, "parts 3"]

    def distance(self, other: "Appearance") -> float:
        """Mean distance over the parts that both show; infinite where there is none."""
        apart = np.sqrt(((self.mean - other.mean) ** 2 + (self.spread - other.spread) ** 2).sum(axis=1))
        both = np.isfinite(apart)
        return float(apart[both].mean()) if both.any() else float("inf")


def describe_appearance(
    frames: UInt8[np.ndarray, "frames height width 3"],
    keypoints: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
) -> Appearance:
    """Describe the person whom the keypoints follow; a single image is a clip of one frame."""
    count, total, squares = np.zeros((len(PARTS), 1)), np.zeros((len(PARTS), 3)), np.zeros((len(PARTS), 3))
    seen = np.zeros((len(PARTS), 1))
    for frame, points, score in zip(frames, keypoints, scores, strict=True):
        colours = rgb2lab(frame) * (_LIGHTNESS, 1.0, 1.0)
        for part, region in part_regions(points, score, frame.shape[:2]).items():
            inside = colours[region]
            row = PARTS.index(part)
            seen[row] += 1
            count[row] += len(inside)
            total[row] += inside.sum(axis=0)
            squares[row] += (inside**2).sum(axis=0)
    enough = count >= _FEWEST_PIXELS * np.maximum(seen, 1)
    number = np.maximum(count, 1)
    mean = total / number
    spread = np.sqrt(np.maximum(squares / number - mean**2, 0))
    return Appearance(np.where(enough, mean, np.nan), np.where(enough, spread, np.nan))


def identify(person: Appearance, candidates: list[Appearance]) -> int:
    """Index of the candidate most like the person."""
    return int(np.argmin([person.distance(candidate) for candidate in candidates]))
