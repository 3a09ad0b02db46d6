"""Keypoint layouts of estimators and files, and their conversion to COCO-WholeBody's 133 points.

A layout is a tuple of 133 numbers: the index of its point for each COCO-WholeBody point, -1 if it has none. Left and
right are the person's own.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from posegen.conditions.keypoints import BODY_NAMES, FACE, NUM_KEYPOINTS
from posegen.errors import PosegenError

Layout = tuple[int, ...]
Layouts = Mapping[int, Layout]
"""Layouts by their number of points."""

_FACE_NAMES = tuple(f"face_{index}" for index in range(FACE.stop - FACE.start))
_HAND_NAMES = tuple(tuple(f"{side}_hand_{index}" for index in range(21)) for side in ("left", "right"))
WHOLEBODY_NAMES = (*BODY_NAMES, *_FACE_NAMES, *_HAND_NAMES[0], *_HAND_NAMES[1])
"""Names of the 133 points, those of face and hands numbered."""

_OPENPOSE_18 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow", "left_wrist",
    "right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye", "left_eye",
    "right_ear", "left_ear",
)  # fmt: skip  # a table, read in rows
_FEET = BODY_NAMES[17:23]
_OPENPOSE_25 = (*_OPENPOSE_18[:8], "middle_hip", *_OPENPOSE_18[8:], *_FEET)

_HALPE_26 = (
    *BODY_NAMES[:17], "head", "neck", "hip", "left_big_toe", "right_big_toe", "left_small_toe", "right_small_toe",
    "left_heel", "right_heel",
)  # fmt: skip  # a table, read in rows
MEDIAPIPE_NAMES = (
    "nose", "left_eye_inner", "left_eye", "left_eye_outer", "right_eye_inner", "right_eye", "right_eye_outer",
    "left_ear", "right_ear", "mouth_left", "mouth_right", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_pinky", "right_pinky", "left_index", "right_index", "left_thumb",
    "right_thumb", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_heel",
    "right_heel", "left_foot_index", "right_foot_index",
)  # fmt: skip  # a table, read in rows
"""MediaPipe's names of its 33 landmarks, in order."""
_HUMAN36M_17 = (
    "root", "right_hip", "right_knee", "right_foot", "left_hip", "left_knee", "left_foot", "spine", "thorax",
    "neck_base", "head", "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
)  # fmt: skip  # a table, read in rows

_BEYOND_WRIST = 0.2
"""Distance from the wrist, where COCO's annotators mark it, to MediaPipe's root of the hand, as a part of the line from
that root to the middle knuckle: over all hands of `benchmarks/extraction_accuracy.py` whose wrists are visible."""
_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")


def _goliath_hand(side: str) -> tuple[str, ...]:
    """Return Sapiens' names of a hand's points: each finger from its tip, then the wrist."""
    joints = ("4", "3", "2", "_third_joint")
    return (*(f"{side}_{finger}{joint}" for finger in _FINGERS for joint in joints), f"{side}_wrist")


_GOLIATH = (
    *BODY_NAMES[:9],
    *BODY_NAMES[11:23],
    *_goliath_hand("right"),
    *_goliath_hand("left"),
)
"""Names of the first 63 of Sapiens' 308 points: body, feet, hands with wrists. Its face points differ from COCO's."""


_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_PARTS = {
    "eye": "eye", "ear": "ear", "shoulder": "shoulder", "sho": "shoulder", "elbow": "elbow", "elb": "elbow",
    "wrist": "wrist", "wri": "wrist", "hip": "hip", "knee": "knee", "kne": "knee", "ankle": "ankle", "ank": "ankle",
    "big_toe": "big_toe", "bigtoe": "big_toe", "foot_index": "big_toe", "small_toe": "small_toe",
    "smalltoe": "small_toe", "little_toe": "small_toe", "heel": "heel", "hand_root": "hand_0",
}  # fmt: skip  # a table, read in rows
"""Words for parts on both sides of the body."""
_FINGER_WORDS = {
    "thumb": 0,
    "forefinger": 1,
    "index": 1,
    "index_finger": 1,
    "middle": 2,
    "middle_finger": 2,
    "ring": 3,
    "ring_finger": 3,
    "pinky": 4,
    "pinky_finger": 4,
    "little_finger": 4,
}
_JOINT_WORDS = {"third_joint": 1, "cmc": 1, "mcp": 1, "pip": 2, "dip": 3, "tip": 4}
_THUMB_WORDS = {"cmc": 1, "mcp": 2, "ip": 3, "tip": 4}
_MEANINGLESS = {"keypoint", "kp", "kpt", "point", "pt", "joint", "landmark", "part", "p", "k"}
_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


def wholebody_name(name: str) -> str | None:
    """Return COCO-WholeBody's name for a point that another tool or data set calls `name`; None if it has none.

    Known are the names of COCO, MMPose, OpenPose, Halpe, MPII, Human3.6M, MediaPipe and Sapiens; case and separators do
    not matter.
    """
    words = [word.lower() for word in _WORDS.findall(name)]
    if words and words[0] not in _SIDES and words[0][:1] in _SIDES and words[0][1:] in _PARTS:
        words[:1] = [words[0][0], words[0][1:]]  # lshoulder
    sides = [_SIDES[word] for word in words if word in _SIDES]
    part = "_".join(word for word in words if word not in _SIDES)
    if not sides:
        return part if part == "nose" or (part.startswith("face_") and part in WHOLEBODY_NAMES) else None
    if len(sides) > 1:
        return None
    if part in _PARTS:
        return f"{sides[0]}_{_PARTS[part]}"
    if f"{sides[0]}_{part}" in WHOLEBODY_NAMES:  # points of a hand by number
        return f"{sides[0]}_{part}"
    for finger, number in _FINGER_WORDS.items():
        rest = part.removeprefix(f"{finger}_")
        joints = _THUMB_WORDS if number == 0 and rest in _THUMB_WORDS else _JOINT_WORDS
        joint = int(rest) if rest in ("1", "2", "3", "4") else joints.get(rest)
        if rest != part and joint is not None:
            return f"{sides[0]}_hand_{4 * number + joint}"
    return None


def layout_of_names(names: Sequence[str]) -> Layout:
    """Build the layout of points with these names, by `wholebody_name`; -1 for points not among them."""
    found: dict[str, int] = {}
    for index, name in enumerate(names):
        known = wholebody_name(name)
        if known is not None:
            found.setdefault(known, index)
    for index, name in enumerate(names):  # Human3.6M calls the ankle a foot
        words = [word.lower() for word in _WORDS.findall(name)]
        if len(words) == 2 and words[0] in _SIDES and words[1] == "foot":
            found.setdefault(f"{_SIDES[words[0]]}_ankle", index)
    for side in ("left", "right"):
        if f"{side}_hand_1" in found and f"{side}_wrist" in found:  # a hand whose root has no name of its own
            found.setdefault(f"{side}_hand_0", found[f"{side}_wrist"])
    return tuple(found.get(name, -1) for name in WHOLEBODY_NAMES)


COCO_17 = layout_of_names(BODY_NAMES[:17])
WHOLEBODY_133 = tuple(range(NUM_KEYPOINTS))
OPENPOSE_18 = layout_of_names(_OPENPOSE_18)
OPENPOSE_25 = layout_of_names(_OPENPOSE_25)
DWPOSE_134 = layout_of_names((*_OPENPOSE_18, *_FEET, *WHOLEBODY_NAMES[23:]))
GOLIATH_308 = layout_of_names(_GOLIATH)
HALPE_26 = layout_of_names(_HALPE_26)
HALPE_136 = layout_of_names((*_HALPE_26, *WHOLEBODY_NAMES[23:]))
MEDIAPIPE_33 = layout_of_names(MEDIAPIPE_NAMES)
HUMAN36M_17 = layout_of_names(_HUMAN36M_17)
"""Layout of Human3.6M, with as many points as COCO's, so that it must be identified by name."""

LAYOUTS: Layouts = {
    17: COCO_17,
    18: OPENPOSE_18,
    25: OPENPOSE_25,
    26: HALPE_26,
    33: MEDIAPIPE_33,
    133: WHOLEBODY_133,
    134: DWPOSE_134,
    136: HALPE_136,
    308: GOLIATH_308,
}
"""Known layouts by their number of points, which distinguishes them."""
KNOWN = (
    "17 (COCO), 18 and 25 (OpenPose), 26 and 136 (Halpe), 33 (MediaPipe), 133 (COCO-WholeBody), 134 (DWPose: "
    "OpenPose's body with neck, feet, face, hands) and 308 (Sapiens)"
)


def layouts_with_names(names: Sequence[str], where: str) -> Layouts:
    """Return the known layouts, with the one that a file names replacing that of the same number of points.

    Generic names ("keypoint_3") are ignored. Raises `PosegenError` for names that are not those of a person's body.
    """
    words = {word.lower() for name in names for word in _WORDS.findall(name) if not word.isdigit()}
    if words <= _MEANINGLESS:
        return LAYOUTS
    layout = layout_of_names(names)
    shoulders = [layout[BODY_NAMES.index(f"{side}_shoulder")] for side in ("left", "right")]
    if max(shoulders) < 0 or sum(source >= 0 for source in layout[:17]) < 4:
        raise PosegenError(
            f"{where}: its points are named {', '.join(names[:5]):.120}, ...: left_shoulder, right_shoulder and the "
            "other joints of a person's body were expected"
        )
    return {**LAYOUTS, len(names): layout}


def layouts_of_meta(meta: Any, where: str) -> Layouts:
    """Return the layouts of a file with MMPose's `meta_info`, which names its points, or their data set.

    Without names it returns the object `LAYOUTS` itself, not a copy.
    """
    if not isinstance(meta, dict):
        return LAYOUTS
    names: dict[int, str] = {}
    if isinstance(meta.get("keypoint_id2name"), dict):
        names = {int(index): str(name) for index, name in meta["keypoint_id2name"].items()}
    elif isinstance(meta.get("keypoint_name2id"), dict):
        names = {int(index): str(name) for name, index in meta["keypoint_name2id"].items()}
    for key in ("keypoint_names", "joint_names"):
        if not names and isinstance(meta.get(key), list) and all(isinstance(name, str) for name in meta[key]):
            names = dict(enumerate(meta[key]))
    if names and sorted(names) == list(range(len(names))):
        return layouts_with_names([names[index] for index in range(len(names))], where)
    data_set = str(meta.get("dataset_name", "")).lower()
    if any(name in data_set for name in ("h36m", "human36m", "human3.6m")):
        return {**LAYOUTS, 17: HUMAN36M_17}
    return dict(LAYOUTS) if "coco" in data_set else LAYOUTS


def layout_of_count(count: int, where: str, layouts: Layouts | None = None) -> Layout:
    """Return the layout with `count` points, from `layouts` or the known ones.

    Raises `PosegenError`, which lists the known ones, if there is none.
    """
    known = LAYOUTS if layouts is None else layouts
    if count not in known:
        raise PosegenError(f"{where}: no known layout has {count} points per person; known are {KNOWN}")
    return known[count]


def hand_from_wrist(hand: Float[np.ndarray, "21 axes"]) -> Float[np.ndarray, "21 axes"]:
    """Return a hand of MediaPipe, whose root lies in the palm, with its root at the wrist, as COCO-WholeBody's."""
    moved = hand.copy()
    moved[0] += _BEYOND_WRIST * (hand[0] - hand[9])
    return moved


def to_wholebody(
    points: Float[np.ndarray, "*people points 2"], scores: Float[np.ndarray, "*people points"], layout: Layout
) -> tuple[Float[np.ndarray, "*people 133 2"], Float[np.ndarray, "*people 133"]]:
    """Convert points and scores to COCO-WholeBody's 133 points.

    Points that the layout does not have, and coordinates that are not finite, get score 0.
    """
    sources = np.array(layout)
    keypoints, chosen = points[..., sources, :], scores[..., sources]
    usable = (sources >= 0) & np.isfinite(keypoints).all(axis=-1) & np.isfinite(chosen)
    keypoints = np.where(usable[..., None], keypoints, 0)
    return keypoints.astype(np.float32), np.where(usable, np.clip(chosen, 0, 1), 0).astype(np.float32)
