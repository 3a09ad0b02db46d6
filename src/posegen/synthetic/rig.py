"""The skeleton: forward kinematics, planted feet, and arms kept out of the body. Plain functions over frames.

Every bone's rotation is about the template's axes and follows its parent: G_bone = G_parent R_bone. Shapes: T frames,
J bones.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]
from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import HEAD, Body, regions

FORWARD = np.array([0.0, -1.0, 0.0])
SIDES = (("L", 1.0), ("R", -1.0))


@dataclass
class Pose:
    """A movement: bone rotations (T, J, 3, 3), root offsets from the rest pose (T, 3), facial actions (T, A)."""

    rotations: np.ndarray
    root: np.ndarray
    actions: np.ndarray


def rotation(vectors: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) in radians -> matrices (..., 3, 3)."""
    vectors = np.asarray(vectors, float)
    return Rotation.from_rotvec(vectors.reshape(-1, 3)).as_matrix().reshape(*vectors.shape[:-1], 3, 3)


def forward_kinematics(heads: np.ndarray, rotations: np.ndarray, root: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Global rotations (T, J, 3, 3) and joint positions (T, J, 3)."""
    turned, places = np.empty_like(rotations), np.empty((*rotations.shape[:2], 3))
    for bone, parent in enumerate(load_assets().parents):
        if parent < 0:
            turned[:, bone] = rotations[:, bone]
            places[:, bone] = heads[bone] + root
        else:
            turned[:, bone] = turned[:, parent] @ rotations[:, bone]
            places[:, bone] = places[:, parent] + turned[:, parent] @ (heads[bone] - heads[parent])
    return turned, places


def skinning_transforms(heads: np.ndarray, turned: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(T, J, 3, 4): rest position -> posed position, per bone."""
    moved = places - np.einsum("tjab,jb->tja", turned, heads)
    return np.concatenate([turned, moved[..., None]], -1)


@dataclass(frozen=True)
class Leg:
    """Joint numbers and lengths of one leg at rest."""

    hip: int
    knee: int
    ankle: int
    thigh: float
    shank: float

    @classmethod
    def of(cls, body: Body, side: str) -> "Leg":
        """The leg of a side, `L` or `R`."""
        assets, heads = load_assets(), body.bone_heads
        hip, knee, ankle = (assets.bone(f"{name}.{side}") for name in ("upperleg01", "lowerleg01", "foot"))
        lengths = np.linalg.norm(heads[knee] - heads[hip]), np.linalg.norm(heads[ankle] - heads[knee])
        return cls(hip, knee, ankle, float(lengths[0]), float(lengths[1]))


def ankle_height(body: Body, sole: float = 0.012) -> float:
    """Height of the ankle joint above the ground when standing; `sole` is the shoe's thickness."""
    return float(body.bone_heads[load_assets().bone("foot.L"), 2] - body.vertices[:, 2].min() + sole)


def plant_feet(body: Body, pose: Pose, ankles: np.ndarray, yaw: np.ndarray, pitch: np.ndarray) -> None:
    """Set the legs so that the ankles are at (T, 2, 3), feet turned by `yaw` and tipped by `pitch` (T, 2), left first.

    The pelvis is lowered where a leg would not reach. Changes `pose` in place.
    """
    assets, heads = load_assets(), body.bone_heads
    pelvis = pose.rotations[:, 0]
    legs = [Leg.of(body, side) for side, _ in SIDES]
    for number, leg in enumerate(legs):
        offset = pelvis @ (heads[leg.hip] - heads[0])
        flat = ankles[:, number, :2] - (heads[0] + pose.root + offset)[:, :2]
        reach = 0.997 * (leg.thigh + leg.shank)
        highest = ankles[:, number, 2] + np.sqrt(np.maximum(reach**2 - (flat**2).sum(1), 0.01))
        pose.root[:, 2] = np.minimum(pose.root[:, 2], highest - heads[0][2] - offset[:, 2])
    for number, (leg, (side, sign)) in enumerate(zip(legs, SIDES, strict=True)):
        hip = heads[0] + pose.root + pelvis @ (heads[leg.hip] - heads[0])
        line = ankles[:, number] - hip
        distance = np.clip(
            np.linalg.norm(line, axis=1), abs(leg.thigh - leg.shank) + 0.02, 0.999 * (leg.thigh + leg.shank)
        )
        line = _unit(line)
        turned_foot = rotation(np.stack([0 * yaw[:, number], 0 * yaw[:, number], yaw[:, number]], 1))
        pole = turned_foot @ (FORWARD + np.array([0.12 * sign, 0, 0])) + pelvis @ FORWARD
        cosine = (leg.thigh**2 + distance**2 - leg.shank**2) / (2 * leg.thigh * distance)
        bend = _across(pole, line) * np.sqrt(np.maximum(1 - cosine**2, 0))[:, None]
        knee = hip + leg.thigh * (line * cosine[:, None] + bend)
        thigh = _aim(heads[leg.knee] - heads[leg.hip], knee - hip, pole)
        shank = _aim(heads[leg.ankle] - heads[leg.knee], hip + line * distance[:, None] - knee, pole)
        tipped = rotation(np.stack([pitch[:, number], 0 * yaw[:, number], 0 * yaw[:, number]], 1))
        pose.rotations[:, leg.hip] = pelvis.transpose(0, 2, 1) @ thigh
        pose.rotations[:, leg.knee] = thigh.transpose(0, 2, 1) @ shank
        pose.rotations[:, assets.bone(f"foot.{side}")] = shank.transpose(0, 2, 1) @ turned_foot @ tipped


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)


def _across(vectors: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Unit part of `vectors` at right angles to the unit `line`."""
    return _unit(vectors - (vectors * line).sum(-1, keepdims=True) * line)


def _aim(rest: np.ndarray, wanted: np.ndarray, pole: np.ndarray) -> np.ndarray:
    """Rotations that take the bone `rest` (3,) to `wanted` (T, 3), and its front to the side of `pole` (T, 3)."""

    def frame(line: np.ndarray, front: np.ndarray) -> np.ndarray:
        first = _unit(line)
        second = _across(front, first)
        return np.stack([first, second, np.cross(first, second)], -1)

    return frame(wanted, pole) @ frame(rest[None], FORWARD[None]).transpose(0, 2, 1)


@dataclass(frozen=True)
class Colliders:
    """Balls that stand for torso, thighs and head: each at `offset` (N, 3) from the head of `bone` (N,)."""

    bone: np.ndarray
    offset: np.ndarray
    radius: np.ndarray


def colliders(body: Body) -> Colliders:
    """Balls measured on the rest body: rows through the torso, along the thighs, and the skull."""
    assets, region = load_assets(), regions()
    used = np.zeros(len(body.vertices), bool)
    used[assets.faces["body"].reshape(-1)] = True
    torso = used & (region.arm < 0.2) & (region.part != HEAD)
    vertices = body.vertices
    centres, radii, bones = [], [], []

    def add(centre: np.ndarray, radius: float, bone: int) -> None:
        centres.append(centre - body.bone_heads[bone])
        radii.append(radius)
        bones.append(bone)

    hip, neck = body.bone_heads[assets.bone("upperleg01.L"), 2], body.bone_heads[assets.bone("neck01"), 2]
    for height in np.linspace(hip - 0.02, neck - 0.09, 8):
        band = torso & (np.abs(vertices[:, 2] - height) < 0.03)
        half_width = float(np.percentile(np.abs(vertices[band, 0]), 95))
        depth = vertices[band, 1]
        front, back = np.percentile(depth, 3), np.percentile(depth, 97)
        radius = float((back - front) / 2)
        spread = max(half_width - radius, 0)
        spine = [assets.bone(f"spine0{number}") for number in range(1, 6)]
        bone = spine[int(np.abs(body.bone_heads[spine, 2] - height).argmin())]
        for x in (-spread, 0.0, spread):
            add(np.array([x, (front + back) / 2, height]), radius, bone)
    for side, _ in SIDES:
        leg = Leg.of(body, side)
        for share in (0.15, 0.35, 0.6):
            centre = body.bone_heads[leg.hip] * (1 - share) + body.bone_heads[leg.knee] * share
            add(centre, 0.085 - 0.03 * share, leg.hip)
    head = assets.bone("head")
    skull = vertices[used & (region.part == HEAD)]
    middle = (skull.max(0) + skull.min(0)) / 2
    add(middle + np.array([0, 0.01, 0.02]), float(np.ptp(skull[:, 1]) / 2), head)
    add(middle + np.array([0, -0.03, -0.06]), 0.07, head)
    add(body.bone_heads[assets.bone("neck02")], 0.06, assets.bone("neck02"))
    return Colliders(np.array(bones), np.array(centres), np.array(radii))


def keep_arms_outside(body: Body, pose: Pose, margin: float, steps: int = 5) -> None:
    """Turn the upper arms so that forearms and hands stay `margin` metres outside the body and each other, in place.

    The corrections are smoothed over time; a fast hand may still graze a sleeve.
    """
    assets, balls = load_assets(), colliders(body)
    names = ("lowerarm02", "wrist", "finger1-3", "finger2-2", "finger3-3", "finger5-2")
    points = {side: [assets.bone(f"{name}.{side}") for name in names] for side, _ in SIDES}
    for _ in range(steps):
        turned, places = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
        centres = places[:, balls.bone] + np.einsum("tnab,nb->tna", turned[:, balls.bone], balls.offset)
        chest = turned[:, assets.bone("spine01")]
        for side, _ in SIDES:
            arm = assets.bone(f"upperarm01.{side}")
            other = places[:, points["R" if side == "L" else "L"][1:]]
            obstacles = np.concatenate([centres, other], 1)
            radii = np.concatenate([balls.radius + margin, np.full(other.shape[1], 0.05)])
            limb = places[:, points[side]]
            apart = limb[:, :, None] - obstacles[:, None]
            distance = np.maximum(np.linalg.norm(apart, axis=-1), 1e-6)
            depth = np.maximum(radii - distance, 0)
            # out along the line between the centres, and forwards, so that a hand leaves through the front
            way = _unit(apart / distance[..., None] + 0.7 * (chest @ FORWARD)[:, None, None])
            point, ball = np.divmod(depth.reshape(len(depth), -1).argmax(1), depth.shape[2])
            frame = np.arange(len(depth))
            push = way[frame, point, ball] * depth[frame, point, ball, None]
            lever = limb[frame, point] - places[:, arm]
            turn = np.cross(lever, push) / np.maximum((lever**2).sum(1, keepdims=True), 0.02)
            turn = gaussian_filter1d(turn, 1.2, axis=0, mode="nearest")
            parent = turned[:, assets.parents[arm]]
            pose.rotations[:, arm] = parent.transpose(0, 2, 1) @ rotation(turn) @ parent @ pose.rotations[:, arm]
