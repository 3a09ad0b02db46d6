"""Turns a motion's joints into the 133 points of COCO-WholeBody, in space (z up) or in the plane of an image.

Points that a file does not have are computed where the body says enough: a face from head and shoulders, heels and toes
from ankles and toes, fingertips from the last two joints. Everything else is not known (NaN), and never guessed.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Float32

from posegen.conditions.estimators.layouts import WHOLEBODY_NAMES
from posegen.conditions.keypoints import HANDS, INDEX, NUM_KEYPOINTS
from posegen.errors import PosegenError
from posegen.motion.joint_names import SIDES, check_names, keypoint_sources
from posegen.motion.motion_data import Motion

_NUMBER = {name: number for number, name in enumerate(WHOLEBODY_NAMES)}
_TIP = 0.85
"""Length of a fingertip, in lengths of the bone before it."""
_FACE = {
    "nose": (0.28, 0.0, 0.0),
    "left_eye": (0.20, 0.09, 0.10),
    "right_eye": (0.20, -0.09, 0.10),
    "left_ear": (0.0, 0.21, 0.06),
    "right_ear": (0.0, -0.21, 0.06),
}
"""Places around the middle of the head: forward, to the person's left, up, in widths of the shoulders."""
_HEAD_ABOVE = 0.5
"""Distance of the middle of the head from the middle of the shoulders, in widths of the shoulders."""
_FEET = {"big_toe": (1.45, -0.2), "small_toe": (1.1, 0.35), "heel": (-0.35, 0.0)}
"""Places along the foot and outward, in distances from the ankle to the ball of the foot."""
_HAND = 6
"""Minimum number of joints, beside the wrist, from which a hand is drawn."""
_UPRIGHT = 0.5
"""Minimum length of the mean direction from feet or hips to shoulders by which the axis that points up is known."""


@dataclass(frozen=True)
class WholeBody:
    """The 133 points of one person over time.

    points: in space, z up and in units of the file, or in pixels; NaN where not known. scores: 0 to 1, 0 where not
    known. depth: as of a motion in an image. computed: names of points that the file does not have. height: of the
    standing person, in units of the points; None in an image. lines: for the user.
    """

    points: Float32[np.ndarray, "frames 133 axes"]
    scores: Float32[np.ndarray, "frames 133"]
    depth: Float32[np.ndarray, "frames 133"] | None
    computed: tuple[str, ...]
    height: float | None
    lines: tuple[str, ...]

    def finger_joints(self, side: int) -> int:
        """Count the joints of a hand (0 left, 1 right) that are ever known, without the wrist."""
        hand = HANDS[side]
        return int(np.isfinite(self.points[:, hand.start + 1 : hand.stop, 0]).any(axis=0).sum())

    def has_hand(self, side: int) -> bool:
        """Return True if enough of a hand is known to draw it: a wrist alone is no hand."""
        return self.finger_joints(side) >= _HAND


def whole_body(motion: Motion, where: str) -> WholeBody:
    """Find the points of the body by the names of the joints. Raises `PosegenError` if the names are not a body's."""
    sources = keypoint_sources(motion.names)
    check_names(sources, motion.names, where)
    points = np.full((len(motion), NUM_KEYPOINTS, motion.positions.shape[2]), np.nan, np.float32)
    scores = np.zeros((len(motion), NUM_KEYPOINTS), np.float32)
    for name, number in _NUMBER.items():
        if name in sources:
            points[:, number] = motion.positions[:, sources[name]]
            scores[:, number] = 1 if motion.scores is None else motion.scores[:, sources[name]]
    known = np.asarray(np.isfinite(points).all(axis=2))
    if not known.any():
        raise PosegenError(f"{where}: none of its joints is known in any frame")
    lines: list[str] = []
    height = None
    if motion.in_space:
        named = {name: motion.positions[:, index] for name, index in sources.items()}
        axes, line = _upright_axes(motion, named, where)
        lines += line
        points = points @ axes.T
        named = {name: place @ axes.T for name, place in named.items()}
        height = _standing_height(points)
        _add_face(points, named)
        _add_feet(points, named)
        lines += _about_sides(points, named)
    else:
        for name in ("toe",):
            for side in SIDES:
                if f"{side}_{name}" in sources and f"{side}_big_toe" not in sources:
                    points[:, _NUMBER[f"{side}_big_toe"]] = motion.positions[:, sources[f"{side}_{name}"]]
    _add_fingertips(points)
    added = np.isfinite(points).all(axis=2) & ~known
    scores[added] = 1 if motion.scores is None else 0.5
    scores[~np.isfinite(points).all(axis=2)] = 0
    computed = {WHOLEBODY_NAMES[number] for number in np.flatnonzero(added.any(axis=0)).tolist()} | motion.derived
    return WholeBody(
        points, scores, _depths(motion, sources), tuple(sorted(computed, key=_order)), height, tuple(lines)
    )


def _depths(motion: Motion, sources: dict[str, int]) -> Float32[np.ndarray, "frames 133"] | None:
    """Return the depth of the points of an image; 0 where it is not known."""
    if motion.depth is None:
        return None
    depth = np.zeros((len(motion), NUM_KEYPOINTS), np.float32)
    for name, number in _NUMBER.items():
        if name in sources:
            depth[:, number] = np.nan_to_num(motion.depth[:, sources[name]])
    return depth


def _order(name: str) -> int:
    return _NUMBER.get(name, NUM_KEYPOINTS)


def _upright_axes(
    motion: Motion, named: dict[str, np.ndarray], where: str
) -> tuple[Float32[np.ndarray, "3 3"], list[str]]:
    """Return the rotation that makes z point up, and a line where the axis had to be guessed."""
    if motion.up is not None:
        return _rotation_to_z(motion.up), []
    direction = _body_direction(named)
    number = int(np.abs(direction).argmax())
    axis = f"{'+' if direction[number] >= 0 else '-'}{'xyz'[number]}"
    if abs(direction[number]) < _UPRIGHT:
        # somebody who lies or rolls: the usual axis of the format is as good as any
        return _rotation_to_z("+y"), [f"{where}: nobody stands upright, so +y is taken as up"]
    return _rotation_to_z(axis), [f"{axis} is taken as up: that is where heads are above feet"]


def _body_direction(named: dict[str, np.ndarray]) -> Float[np.ndarray, " 3"]:
    """Return the mean direction (at most 1 long) from ankles, knees or hips to shoulders."""
    low = next((part for part in ("ankle", "knee", "hip") if all(f"{side}_{part}" in named for side in SIDES)), None)
    top = [named[f"{side}_shoulder"] for side in SIDES if f"{side}_shoulder" in named]
    bottom = [named[f"{side}_{low}"] for side in SIDES] if low else [named[name] for name in ("hips",) if name in named]
    if not bottom:
        return np.zeros(3)
    vectors = np.mean(top, axis=0) - np.mean(bottom, axis=0)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    usable = np.isfinite(lengths[:, 0]) & (lengths[:, 0] > 0)
    return np.asarray((vectors[usable] / lengths[usable]).mean(axis=0)) if usable.any() else np.zeros(3)


def _rotation_to_z(axis: str) -> Float32[np.ndarray, "3 3"]:
    """Return the rotation that turns a signed axis to +z (no mirroring)."""
    up = np.zeros(3)
    up["xyz".index(axis[1])] = 1 if axis[0] == "+" else -1
    right = np.eye(3)[0] if axis[1] != "x" else np.eye(3)[1]
    return np.stack([right, np.cross(up, right), up]).astype(np.float32)


def _standing_height(points: np.ndarray) -> float:
    """Return the height of the person when upright, from median lengths of bones; 1 if no bone is known."""

    def length(*chain: str) -> float:
        total = 0.0
        for start, stop in pairwise(chain):
            bones = [
                np.linalg.norm(points[:, INDEX[f"{side}_{start}"]] - points[:, INDEX[f"{side}_{stop}"]], axis=1)
                for side in SIDES
            ]
            found = np.concatenate(bones)
            found = found[np.isfinite(found)]
            total += float(np.median(found)) if len(found) else np.nan
        return total

    for chain, share in (
        (("shoulder", "hip", "knee", "ankle"), 0.78),
        (("hip", "knee", "ankle"), 0.49),
        (("shoulder", "hip"), 0.29),
        (("shoulder", "elbow", "wrist"), 0.32),
    ):
        found = length(*chain)
        if np.isfinite(found) and found > 0:
            return found / share
    return 1.0


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def _middle(points: np.ndarray, part: str) -> np.ndarray:
    """Return the middle of a left and a right point, or the one that is known."""
    pair = np.stack([points[:, INDEX[f"{side}_{part}"]] for side in SIDES])
    middle = pair.mean(axis=0)
    return np.where(np.isfinite(middle), middle, np.where(np.isfinite(pair[0]), pair[0], pair[1]))


def leftward(points: Float32[np.ndarray, "frames 133 3"]) -> Float32[np.ndarray, "frames 3"]:
    """Return the direction to the person's left in each frame: across shoulders, else hips; NaN if neither is known."""
    across = [points[:, INDEX[f"left_{part}"]] - points[:, INDEX[f"right_{part}"]] for part in ("shoulder", "hip")]
    both = _unit(across[0]) + _unit(across[1])
    return np.asarray(_unit(np.where(np.isfinite(both), both, np.where(np.isfinite(across[0]), across[0], across[1]))))


def _add_face(points: np.ndarray, named: dict[str, np.ndarray]) -> None:
    """Place a face on the head in frames without one, looking where the shoulders do; in place."""
    shoulders, left = _middle(points, "shoulder"), leftward(points)
    left_of_shoulders = points[:, INDEX["left_shoulder"]] - points[:, INDEX["right_shoulder"]]
    widths = np.linalg.norm(left_of_shoulders, axis=1)
    if not np.isfinite(widths).any():
        return
    width = float(np.nanmedian(widths))
    nose = points[:, INDEX["nose"]]
    given = next((named[name] for name in ("head", "head_top", "neck") if name in named), None)
    if given is not None:
        up = given - shoulders
        if "head" not in named and "head_top" not in named:
            up = np.where(np.isfinite(_middle(points, "hip")), shoulders - _middle(points, "hip"), up)
        up = _unit(np.where(np.linalg.norm(up, axis=1, keepdims=True) > 0.1 * width, up, np.nan))
        forward = _unit(np.cross(left, up))
        aside = np.cross(up, forward)
        places = {
            name: width * (ahead * forward + across * aside + above * up)
            for name, (ahead, across, above) in _FACE.items()
        }
        middle = np.where(np.isfinite(nose), nose - places["nose"], shoulders + _HEAD_ABOVE * width * up)
        for name, place in places.items():
            missing = ~np.isfinite(points[:, INDEX[name]]).all(axis=1)
            points[missing, INDEX[name]] = (middle + place)[missing]


def _add_feet(points: np.ndarray, named: dict[str, np.ndarray]) -> None:
    """Add toes and heels where ankle and ball of the foot are known; in place."""
    for side, sign in zip(SIDES, (1, -1), strict=True):
        ankle, toe, knee = points[:, INDEX[f"{side}_ankle"]], named.get(f"{side}_toe"), points[:, INDEX[f"{side}_knee"]]
        if toe is None:
            toe = named.get(f"{side}_big_toe")
        if toe is None:
            continue
        along = toe - ankle
        down = _unit(ankle - knee)
        drop = (along * down).sum(axis=1, keepdims=True)
        flat = along - np.clip(drop, 0, None) * down  # from above the ball to the ankle, along the sole
        outward = _unit(np.cross(flat, -down)) * -sign
        reach = np.linalg.norm(flat, axis=1, keepdims=True)
        sole = ankle + np.clip(drop, 0, None) * down
        has_tip = f"{side}_big_toe" in named
        for part, (ahead, aside) in _FEET.items():
            index = INDEX[f"{side}_{part}"]
            reaches = min(ahead, 1.0) if has_tip else ahead
            missing = ~np.isfinite(points[:, index]).all(axis=1)
            points[missing, index] = (sole + reaches * flat + aside * reach * outward)[missing]


def _about_sides(points: np.ndarray, named: dict[str, np.ndarray]) -> list[str]:
    """Warn where toes point backwards: sides are exchanged, or axes mirrored."""
    forward = np.cross(leftward(points), np.array([0.0, 0.0, 1.0]))
    toes = []
    for side in SIDES:
        toe = next((named[name] for name in (f"{side}_toe", f"{side}_big_toe") if name in named), None)
        if toe is not None:
            toes.append(((toe - points[:, INDEX[f"{side}_ankle"]]) * forward).sum(axis=1))
    if not toes:
        return []
    ahead = np.concatenate(toes)
    ahead = ahead[np.isfinite(ahead)]
    if len(ahead) and np.mean(ahead < 0) > 0.8:
        return [
            "warning: toes point backwards in most frames: left and right are exchanged in the file's names, or its "
            "axes are left-handed, so the result may be mirrored"
        ]
    return []


def _add_fingertips(points: np.ndarray) -> None:
    """Add tips to fingers whose last two joints are known; in place."""
    for hand in HANDS:
        for finger in range(5):
            first = hand.start + 1 + 4 * finger
            before, last, tip = first + 1, first + 2, first + 3
            missing = ~np.isfinite(points[:, tip]).all(axis=1)
            points[missing, tip] = (points[:, last] + _TIP * (points[:, last] - points[:, before]))[missing]
