"""Who is in a picture, by the colours of hair, face, clothes and limbs: a descriptor, and the nearest of candidates.

Body parts are found by keypoints alone (COCO-WholeBody, pixels), so that generated frames, which have no masks, are
measured like real ones: each part is a strip (or a disc) around a bone, with a width in proportion to the person. Of
each part the mean and the spread of its colours in CIELAB are kept, over all frames. The descriptor looks at what a
bystander would name (dark hair, red striped top, blue jeans), not at a face: at 192 x 112 pixels there is none.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.color import rgb2lab

from posegen.conditions.keypoints import INDEX, SEEN

PARTS = ("hair", "face", "torso", "upper arms", "forearms", "hips", "thighs", "shins")
_LIMBS = {
    "thighs": (("left_hip", "left_knee"), ("right_hip", "right_knee")),
    "shins": (("left_knee", "left_ankle"), ("right_knee", "right_ankle")),
    "upper arms": (("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow")),
    "forearms": (("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
}
_WIDTHS = {"thighs": 0.16, "shins": 0.10, "upper arms": 0.09, "forearms": 0.07}
"""Half width of a limb's strip, in lengths of the person's scale (about the width of the shoulders)."""
_ALONG = (0.2, 0.9)
"""Which stretch of a limb is measured: not its joints."""
_LIGHTNESS = 0.6
"""How much a difference of lightness counts against one of colour: light falls differently on every pose."""
_FEWEST_PIXELS = 6.0
"""Per frame in which the part is seen; fewer say nothing."""


@dataclass(frozen=True)
class Appearance:
    """Colours of the parts of one person, in the order of `PARTS`; NaN for a part that is not seen.

    mean and spread (standard deviation) are in CIELAB units, lightness weighted as `_LIGHTNESS` says.
    """

    mean: Float[np.ndarray, "parts 3"]
    spread: Float[np.ndarray, "parts 3"]

    def distance(self, other: "Appearance") -> float:
        """Mean over the parts that both show; infinite where there is none."""
        apart = np.sqrt(((self.mean - other.mean) ** 2 + (self.spread - other.spread) ** 2).sum(axis=1))
        both = np.isfinite(apart)
        return float(apart[both].mean()) if both.any() else float("inf")


def describe_appearance(
    frames: UInt8[np.ndarray, "frames height width 3"],
    keypoints: Float[np.ndarray, "frames 133 2"],
    scores: Float[np.ndarray, "frames 133"],
) -> Appearance:
    """The appearance of the person whom the keypoints follow; a single picture is a clip of one frame."""
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
    """Index of the candidate who looks most like the person."""
    return int(np.argmin([person.distance(candidate) for candidate in candidates]))


def part_regions(
    keypoints: Float[np.ndarray, "133 2"], scores: Float[np.ndarray, " 133"], size: tuple[int, int]
) -> dict[str, Bool[np.ndarray, "height width"]]:
    """Where each part of `PARTS` is in a picture of `size` (H, W); parts whose keypoints are not seen are left out.

    No pixel belongs to two parts: forearms lie over everything, then hair and face, upper arms, torso, hips and legs.
    """

    def point(name: str) -> np.ndarray | None:
        return keypoints[INDEX[name]].astype(np.float64) if scores[INDEX[name]] >= SEEN else None

    left, right = point("left_shoulder"), point("right_shoulder")
    if left is None or right is None:
        return {}
    neck = (left + right) / 2
    nose, hips = point("nose"), (point("left_hip"), point("right_hip"))
    scale = float(np.linalg.norm(left - right))
    if nose is not None:  # seen from the side, shoulders are narrow
        scale = max(scale, 1.1 * float(np.linalg.norm(nose - neck)))
    labels = np.full(size, -1)

    def paint(part: str, start: np.ndarray, stop: np.ndarray, radius: float) -> None:
        labels[_strip(start, stop, radius * scale, size)] = PARTS.index(part)

    def paint_limbs(part: str) -> None:
        for names in _LIMBS[part]:
            start, stop = (point(name) for name in names)
            if start is not None and stop is not None:
                first, last = (start + share * (stop - start) for share in _ALONG)
                paint(part, first, last, _WIDTHS[part])

    paint_limbs("thighs")
    paint_limbs("shins")
    if hips[0] is not None and hips[1] is not None:
        waist = (hips[0] + hips[1]) / 2
        paint("hips", waist + 0.25 * (hips[0] - waist), waist + 0.25 * (hips[1] - waist), 0.12)
        paint("torso", neck + 0.25 * (waist - neck), neck + 0.75 * (waist - neck), 0.22)
    else:
        down = np.array([0, scale])
        paint("torso", neck + 0.4 * down, neck + 0.6 * down, 0.22)
    paint_limbs("upper arms")
    if nose is not None:
        ears = [ear for ear in (point("left_ear"), point("right_ear")) if ear is not None]
        middle = np.mean([nose, *ears], axis=0)
        up = (middle - neck) / max(float(np.linalg.norm(middle - neck)), 1e-6)
        face = nose + 0.3 * (middle - nose)  # a nose seen from the side stands out of the face
        paint("face", face, face, 0.12)
        top = middle + 0.36 * scale * up
        paint("hair", top, top, 0.10)
    paint_limbs("forearms")
    return {part: labels == row for row, part in enumerate(PARTS) if (labels == row).any()}


def _strip(
    start: Float[np.ndarray, " 2"], stop: Float[np.ndarray, " 2"], radius: float, size: tuple[int, int]
) -> Bool[np.ndarray, "height width"]:
    """Pixels whose centres lie within `radius` of the line from start to stop."""
    x, y = np.arange(size[1]) + 0.5 - start[0], np.arange(size[0])[:, None] + 0.5 - start[1]
    axis = stop - start
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-9), 0, 1)
    return (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 <= radius**2
