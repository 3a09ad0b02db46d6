"""Locates hair, face, clothes and limbs in an image from keypoints alone (COCO-WholeBody, pixels).

Each part is a strip (or a disc) around a bone, with a width in proportion to the person. Pixels are not used: the
colours of the parts are measured in `colours.py` (for words) and `evaluate/metrics/appearance.py` (for comparison).
"""

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.keypoints import INDEX, SEEN

PARTS = ("hair", "face", "torso", "upper arms", "forearms", "hips", "thighs", "shins")
_LIMBS = {
    "thighs": (("left_hip", "left_knee"), ("right_hip", "right_knee")),
    "shins": (("left_knee", "left_ankle"), ("right_knee", "right_ankle")),
    "upper arms": (("left_shoulder", "left_elbow"), ("right_shoulder", "right_elbow")),
    "forearms": (("left_elbow", "left_wrist"), ("right_elbow", "right_wrist")),
}
_WIDTHS = {"thighs": 0.16, "shins": 0.10, "upper arms": 0.09, "forearms": 0.07}
"""Half width of a limb's strip, in units of the person's scale (about the width of the shoulders)."""
_ALONG = (0.2, 0.9)
"""Measured part of a limb, without its joints."""


def part_regions(
    keypoints: Float[np.ndarray, "133 2"], scores: Float[np.ndarray, " 133"], size: tuple[int, int]
) -> dict[str, Bool[np.ndarray, "height width"]]:
    """Return a mask of each part of `PARTS` in an image of `size` (H, W), without parts whose keypoints are not seen.

    No pixel belongs to two parts: forearms cover everything, then hair and face, upper arms, torso, hips and legs.
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
    """Return a mask of the pixels whose centres lie within `radius` of the line from start to stop."""
    x, y = np.arange(size[1]) + 0.5 - start[0], np.arange(size[0])[:, None] + 0.5 - start[1]
    axis = stop - start
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis @ axis), 1e-9), 0, 1)
    return (x - along * axis[0]) ** 2 + (y - along * axis[1]) ** 2 <= radius**2
