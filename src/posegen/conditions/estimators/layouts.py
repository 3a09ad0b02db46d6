"""Keypoint layouts that estimators and files use, and how each becomes COCO-WholeBody's 133 points.

A layout is a tuple of 133 numbers: which of its points is COCO-WholeBody's point, -1 where it has none. Left and right
are the person's own.
"""

import numpy as np
from jaxtyping import Float

from posegen.conditions.keypoints import BODY_NAMES, FACE, HANDS, NUM_KEYPOINTS
from posegen.errors import PosegenError

Layout = tuple[int, ...]

_FACE_NAMES = tuple(f"face_{index}" for index in range(FACE.stop - FACE.start))
_HAND_NAMES = tuple(tuple(f"{side}_hand_{index}" for index in range(21)) for side in ("left", "right"))
WHOLEBODY_NAMES = (*BODY_NAMES, *_FACE_NAMES, *_HAND_NAMES[0], *_HAND_NAMES[1])
"""Names of the 133 points, those of face and hands numbered."""

_OPENPOSE_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip
_FEET = BODY_NAMES[17:23]
_OPENPOSE_25 = (*_OPENPOSE_18[:8], "middle_hip", *_OPENPOSE_18[8:], *_FEET)

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def _goliath_hand(side: str) -> tuple[str, ...]:
    """Sapiens counts each finger from its tip, and ends with the wrist."""
    joints = ("4", "3", "2", "_third_joint")
    return (*(f"{side}_{finger}{joint}" for finger in _FINGERS for joint in joints), f"{side}_wrist")


_GOLIATH = (
    *BODY_NAMES[:9], *BODY_NAMES[11:23], *_goliath_hand("right"), *_goliath_hand("left"),
)  # fmt: skip
"""The first 63 of Sapiens' 308 points: body, feet, hands with wrists. Its face points are other ones than COCO's."""


def layout_of_names(names: tuple[str, ...]) -> Layout:
    """The layout with these names: COCO-WholeBody's own or Sapiens' (case and separators do not matter)."""
    found = {name.lower().replace(" ", "_").replace("-", "_"): index for index, name in enumerate(names)}
    layout = [found.get(name, -1) for name in WHOLEBODY_NAMES]
    for side, points in zip(("left", "right"), HANDS, strict=True):
        joints = [f"{side}_wrist"]
        joints += [f"{side}_{finger}{joint}" for finger in _FINGERS for joint in ("_third_joint", "2", "3", "4")]
        if all(joint in found for joint in joints):  # else the hands, if there are any, have COCO-WholeBody's names
            layout[points] = [found[joint] for joint in joints]
    return tuple(layout)


COCO_17 = layout_of_names(BODY_NAMES[:17])
WHOLEBODY_133 = tuple(range(NUM_KEYPOINTS))
OPENPOSE_18 = layout_of_names(_OPENPOSE_18)
OPENPOSE_25 = layout_of_names(_OPENPOSE_25)
DWPOSE_134 = layout_of_names((*_OPENPOSE_18, *_FEET, *WHOLEBODY_NAMES[23:]))
GOLIATH_308 = layout_of_names(_GOLIATH)

LAYOUTS = {17: COCO_17, 18: OPENPOSE_18, 25: OPENPOSE_25, 133: WHOLEBODY_133, 134: DWPOSE_134, 308: GOLIATH_308}
"""By the number of points, which tells the known ones apart."""
KNOWN = (
    "17 (COCO), 18 and 25 (OpenPose), 133 (COCO-WholeBody), 134 (DWPose: OpenPose's body with neck, feet, face, hands) "
    "and 308 (Sapiens)"
)


def layout_of_count(count: int, where: str) -> Layout:
    """The layout with `count` points. Raises `PosegenError`, which lists the known ones, if there is none."""
    if count not in LAYOUTS:
        raise PosegenError(f"{where}: {count} points a person is no known layout; known are {KNOWN}")
    return LAYOUTS[count]


def to_wholebody(
    points: Float[np.ndarray, "*people points 2"], scores: Float[np.ndarray, "*people points"], layout: Layout
) -> tuple[Float[np.ndarray, "*people 133 2"], Float[np.ndarray, "*people 133"]]:
    """COCO-WholeBody's 133 points and their scores; points that the layout does not have get score 0, and so do
    coordinates that are not finite.
    """
    sources = np.array(layout)
    keypoints, chosen = points[..., sources, :], scores[..., sources]
    usable = (sources >= 0) & np.isfinite(keypoints).all(axis=-1) & np.isfinite(chosen)
    keypoints = np.where(usable[..., None], keypoints, 0)
    return keypoints.astype(np.float32), np.where(usable, np.clip(chosen, 0, 1), 0).astype(np.float32)
