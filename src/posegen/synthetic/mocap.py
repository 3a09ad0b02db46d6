"""Motion capture: the humanoid clips that come with pybullet's data, transferred to a body, fingers and face apart.

The clips' axes are x ahead, y up, z to the right, and their zero pose stands with straight legs and arms hanging.
"""

import functools
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]
from scipy.spatial.transform import Rotation, Slerp  # type: ignore[import-untyped]

from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import Body
from posegen.synthetic.motion import add_face, add_hand, add_spine, still_pose
from posegen.synthetic.rig import SIDES, Leg, Pose, forward_kinematics, keep_arms_outside, rotation, skinning_transforms

CLIPS = ("walk", "dance_a", "dance_b", "jump", "kick", "punch", "spin", "spinkick")
_IN_THE_AIR = ("jump", "spinkick", "spin")
_TO_OUR_AXES = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], float)
_LEG_LENGTH = 0.81
"""Hip to ankle of the captured skeleton, metres."""
_TURNING = 3.5
"""Seconds after which a clip that repeats is played backwards, and so on: dancers would leave the picture."""
_QUATERNIONS = {
    "root": 4,
    "chest": 8,
    "neck": 12,
    "hip.R": 16,
    "ankle.R": 21,
    "shoulder.R": 25,
    "hip.L": 30,
    "ankle.L": 35,
    "shoulder.L": 39,
}
_ANGLES = {"knee.R": 20, "elbow.R": 29, "knee.L": 34, "elbow.L": 43}


@dataclass(frozen=True)
class Capture:
    """One clip: seconds (N,), rows (N, 44) as in the file, and whether it repeats."""

    seconds: np.ndarray
    rows: np.ndarray
    cyclic: bool


@functools.cache
def load_capture(name: str) -> Capture:
    """A clip of pybullet's data by name."""
    import pybullet_data  # type: ignore[import-untyped]

    path = Path(pybullet_data.getDataPath()) / "data" / "motions" / f"humanoid3d_{name}.txt"
    content = json.loads(path.read_text())
    rows = np.array(content["Frames"], float)
    seconds = np.concatenate([[0], np.cumsum(rows[:-1, 0])])
    return Capture(seconds, rows, content["Loop"] == "wrap")


def captured_motion(random: np.random.Generator, body: Body, frames: int, fps: float, name: str, facing: float) -> Pose:
    """The clip `name` from its start, turned by `facing` radians, played to and fro: the person stays near."""
    local, root = _sampled(load_capture(name), frames, fps)
    assets, heads = load_assets(), body.bone_heads
    turn = rotation(np.array([0, 0, facing]))
    turned = {"root": local["root"]}
    turned["chest"] = turned["root"] @ local["chest"]
    for side, _ in SIDES:
        for top, middle, parent in (("hip", "knee", "root"), ("shoulder", "elbow", "chest")):
            turned[f"{top}.{side}"] = turned[parent] @ local[f"{top}.{side}"]
            turned[f"{middle}.{side}"] = turned[f"{top}.{side}"] @ local[f"{middle}.{side}"]
        turned[f"ankle.{side}"] = turned[f"knee.{side}"] @ local[f"ankle.{side}"]

    def ours(matrices: np.ndarray) -> np.ndarray:
        return _TO_OUR_AXES @ matrices @ _TO_OUR_AXES.T

    pose = still_pose(body, frames)
    pose.rotations[:, 0] = turn @ ours(turned["root"])
    add_spine(pose, Rotation.from_matrix(ours(local["chest"])).as_rotvec(), np.zeros((frames, 3)))
    neck = Rotation.from_matrix(ours(local["neck"])).as_rotvec()
    for bone in ("neck01", "neck02", "neck03", "head"):
        pose.rotations[:, assets.bone(bone)] = rotation(neck / 4)
    for side, _ in SIDES:
        chains = (
            (("upperleg01", "hip"), ("lowerleg01", "knee"), ("foot", "ankle")),
            (("upperarm01", "shoulder"), ("lowerarm01", "elbow")),
        )
        joints = {"upperleg01": "lowerleg01", "lowerleg01": "foot", "upperarm01": "lowerarm01", "lowerarm01": "wrist"}
        for chain, start in zip(chains, ("root", "spine01"), strict=True):
            before = turn @ ours(turned["root" if start == "root" else "chest"])
            for bone, source in chain:
                straight = np.eye(3)
                if bone in joints:
                    rest = heads[assets.bone(f"{joints[bone]}.{side}")] - heads[assets.bone(f"{bone}.{side}")]
                    straight = _between(rest, np.array([0, 0, -1.0]))
                wanted = turn @ ours(turned[f"{source}.{side}"]) @ straight
                pose.rotations[:, assets.bone(f"{bone}.{side}")] = before.transpose(0, 2, 1) @ wanted
                before = wanted
        add_hand(random, pose, body, side, fps)
    add_face(random, pose, fps)
    leg = Leg.of(body, "L")
    pose.root[:] = ours_points(root - root[0], (leg.thigh + leg.shank) / _LEG_LENGTH) @ turn.T
    _stand_on_ground(pose, body, airborne=name in _IN_THE_AIR)
    keep_arms_outside(body, pose, margin=0.03)
    return pose


def ours_points(points: np.ndarray, scale: float) -> np.ndarray:
    """Points (T, 3) of the clip's axes in ours, scaled."""
    return points @ _TO_OUR_AXES.T * scale


def _sampled(capture: Capture, frames: int, fps: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Local rotations (T, 3, 3) per joint and root places (T, 3) at the wanted times, in the clip's axes."""
    length = capture.seconds[-1]
    time = _to_and_fro(np.arange(frames) / fps, _TURNING if capture.cyclic else length)
    cycle = np.floor(time / length) if capture.cyclic else np.zeros(frames)
    time = time - cycle * length
    root = np.stack([np.interp(time, capture.seconds, capture.rows[:, axis]) for axis in (1, 2, 3)], 1)
    travel = capture.rows[-1, 1:4] - capture.rows[0, 1:4]
    root += cycle[:, None] * travel * [1, 0, 1]
    local = {}
    for name, column in _QUATERNIONS.items():
        keys = Rotation.from_quat(capture.rows[:, [column + 1, column + 2, column + 3, column]])
        local[name] = Slerp(capture.seconds, keys)(time).as_matrix()
    for name, column in _ANGLES.items():
        angle = np.interp(time, capture.seconds, capture.rows[:, column])
        local[name] = rotation(np.stack([0 * angle, 0 * angle, angle], 1))
    return local, root


def _to_and_fro(time: np.ndarray, length: float) -> np.ndarray:
    """Times (T,) in seconds, running back after `length`, and forwards again after as long."""
    cycle = np.floor(time / length)
    within = time - cycle * length
    return np.where(cycle % 2 == 1, length - within, within)


def _between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The smallest rotation that takes one direction to another."""
    first, second = first / np.linalg.norm(first), second / np.linalg.norm(second)
    axis = np.cross(first, second)
    sine = float(np.linalg.norm(axis))
    return rotation(axis / max(sine, 1e-9) * np.arctan2(sine, float(first @ second)))


def _stand_on_ground(pose: Pose, body: Body, airborne: bool) -> None:
    """Put the lowest point of the feet on the ground: in every frame, or once for clips that leave it."""
    assets = load_assets()
    feet = [assets.bone(f"foot.{side}") for side, _ in SIDES]
    near = np.nonzero(body.vertices[:, 2] < body.bone_heads[feet[0], 2])[0][::7]
    transforms = skinning_transforms(body.bone_heads, *forward_kinematics(body.bone_heads, pose.rotations, pose.root))
    weights = assets.weights[near]
    points = np.concatenate([body.vertices[near], np.ones((len(near), 1))], 1)
    heights = np.einsum("vj,tjk,vk->tv", weights, transforms[:, :, 2], points, optimize=True)
    lowest = heights.min(1)
    drop = (
        np.full(len(lowest), np.percentile(lowest, 5)) if airborne else gaussian_filter1d(lowest, 0.8, mode="nearest")
    )
    pose.root[:, 2] -= drop - 0.012
