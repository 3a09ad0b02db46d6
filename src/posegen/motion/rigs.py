"""Turns rotations of a skeleton's joints into positions, and adds what a face and feet need from the orientations.

A skeleton says where its joints are, not where nose, eyes, ears and heels are: they are attached to the joints of head
and feet in the skeleton's rest pose, with the proportions of an adult. Readers of BVH, glTF and VMD share this.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32

from posegen.motion.joint_names import SIDES, keypoint_sources

CHUNK = 2048
"""Frames that are computed at once: a few megabytes for any skeleton."""
_FACE = {
    "nose": (0.52, 0.0, 0.12),
    "left_eye": (0.40, 0.14, 0.30),
    "right_eye": (0.40, -0.14, 0.30),
    "left_ear": (0.0, 0.33, 0.15),
    "right_ear": (0.0, -0.33, 0.15),
}
"""Places relative to the joint of the head (at the base of the skull): forward, to the person's left, up, in heights of
a head."""
_HEAD_OF_BODY = 0.13
"""Height of a head in heights of a body."""
_FEET = {"big_toe": (0.45, -0.25), "small_toe": (0.15, 0.35), "heel": (-1.45, 0.0)}
"""Places on the sole relative to the ball of the foot: forward and outward, in horizontal distances from the ankle."""


@dataclass(frozen=True)
class Rig:
    """A skeleton: parents come before their children (-1 for none).

    rest: (J, 3) places in the rest pose. turned: (J, 3, 3) orientations in it (they may scale); None if all are
    upright.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    rest: Float[np.ndarray, "joints 3"]
    turned: Float[np.ndarray, "joints 3 3"] | None = None


@dataclass(frozen=True)
class Attached:
    """Points that follow a joint: names, the joint of each, and their places in its own axes."""

    names: tuple[str, ...]
    joints: tuple[int, ...]
    offsets: Float[np.ndarray, "points 3"]


def pose_rig(
    parents: Sequence[int],
    rotations: Float[np.ndarray, "frames joints 3 3"],
    translations: Float[np.ndarray, "frames joints 3"],
    attached: Attached,
) -> Float32[np.ndarray, "frames points 3"]:
    """Return the places of all joints, then of the attached points; rotations and translations are local."""
    frames, joints = rotations.shape[:2]
    turned = np.empty_like(rotations)
    places = np.empty((frames, joints + len(attached.names), 3), np.float32)
    exact = np.empty((frames, joints, 3))
    for joint, parent in enumerate(parents):
        if parent < 0:
            turned[:, joint], exact[:, joint] = rotations[:, joint], translations[:, joint]
        else:
            np.matmul(turned[:, parent], rotations[:, joint], out=turned[:, joint])
            moved = np.matmul(turned[:, parent], translations[:, joint, :, None])[..., 0]
            exact[:, joint] = exact[:, parent] + moved
    places[:, :joints] = exact
    for number, (joint, offset) in enumerate(zip(attached.joints, attached.offsets, strict=True), joints):
        places[:, number] = exact[:, joint] + turned[:, joint] @ offset
    return places


def attach_face_and_feet(rig: Rig) -> Attached:
    """Attach the points that the names do not have to head and feet; none where the rest pose is not that of a stander.

    The rest pose must show somebody upright, with feet below hips, and the left side left of where the toes point.
    """
    sources = keypoint_sources(rig.names)
    axes = _axes_of(rig, sources)
    if axes is None:
        return Attached((), (), np.empty((0, 3)))
    forward, left, up = axes
    height = _height(rig, sources, up)
    names: list[str] = []
    joints: list[int] = []
    offsets: list[np.ndarray] = []

    def attach(name: str, joint: int, offset: np.ndarray) -> None:
        names.append(name)
        joints.append(joint)
        offsets.append(offset if rig.turned is None else np.linalg.solve(rig.turned[joint], offset))

    if "head" in sources and "nose" not in sources:
        joint, size = sources["head"], _HEAD_OF_BODY * height
        for name, (ahead, aside, above) in _FACE.items():
            if name not in sources:
                attach(name, joint, size * (ahead * forward + aside * left + above * up))
    for side, sign in zip(SIDES, (1, -1), strict=True):
        ankle, toe = sources.get(f"{side}_ankle"), sources.get(f"{side}_toe")
        if ankle is None or toe is None:
            continue
        along = rig.rest[toe] - rig.rest[ankle]
        reach = float(along @ forward)
        outward, sole = sign * left, along - 0.02 * height * up
        for part, (ahead, aside) in _FEET.items():
            if f"{side}_{part}" not in sources:
                attach(f"{side}_{part}", ankle, sole + reach * (ahead * forward + aside * outward))
    return Attached(tuple(names), tuple(joints), np.array(offsets).reshape(-1, 3))


def _axes_of(rig: Rig, sources: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Return where forward, left and up are in the rest pose; None if it is not that of somebody who stands."""
    needed = [f"{side}_{part}" for side in SIDES for part in ("shoulder", "hip", "ankle")]
    if any(name not in sources for name in needed):
        return None
    at = {name: rig.rest[index] for name, index in sources.items()}
    hips, neck = ((at[f"left_{part}"] + at[f"right_{part}"]) / 2 for part in ("hip", "shoulder"))
    ankles = (at["left_ankle"] + at["right_ankle"]) / 2
    up = _axis(neck - ankles)
    left = at["left_hip"] - at["right_hip"] + at["left_shoulder"] - at["right_shoulder"]
    if up is None or np.linalg.norm(left) < 1e-9 or abs(left @ up) > 0.3 * np.linalg.norm(left):
        return None
    left = left - (left @ up) * up
    left /= np.linalg.norm(left)
    if (hips - ankles) @ up < 0.5 * np.linalg.norm(hips - ankles) or (neck - hips) @ up <= 0:
        return None
    forward = np.cross(left, up)
    toes = [at[f"{side}_toe"] - at[f"{side}_ankle"] for side in SIDES if f"{side}_toe" in at]
    if toes and np.mean(toes, axis=0) @ forward <= 0:
        return None
    return forward, left, up


def _axis(direction: np.ndarray) -> np.ndarray | None:
    """Return the axis nearest to a direction; None if none is near."""
    length = float(np.linalg.norm(direction))
    number = int(np.abs(direction).argmax())
    if length <= 0 or abs(direction[number]) < 0.9 * length:
        return None
    axis = np.zeros(3)
    axis[number] = np.sign(direction[number])
    return axis


def _height(rig: Rig, sources: dict[str, int], up: np.ndarray) -> float:
    """Return the height of the body in the rest pose, from the ground to the top of the head."""
    ankles, neck = (
        np.mean([rig.rest[sources[f"{side}_{part}"]] @ up for side in SIDES]) for part in ("ankle", "shoulder")
    )
    return float(neck - ankles) / 0.77
