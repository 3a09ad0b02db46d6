"""Procedural movement: arms, hands, spine, face and feet as curves between drawn targets.

Feet are planted, or lifted and put down elsewhere: they do not slide. Motion capture is in `mocap.py`.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d  # type: ignore[import-untyped]

from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import Body
from posegen.synthetic.liveliness import CALM, Liveliness, move_about
from posegen.synthetic.rig import SIDES, Leg, Pose, ankle_height, keep_arms_outside, plant_feet, rotation

LEG_STYLES = ("stand", "step", "march", "squat")

# radians for a left arm: away from the body, forwards, twist, elbow, turn of the forearm; zero is the A-pose
_ARMS = {
    "rest": (0.62, 0.10, 0, 0.15, 0),
    "hip": (0.25, -0.25, 0.5, 1.5, 0.5),
    "wave": (-0.75, 0.35, 0.9, 1.75, 0.2),
    "point": (0.15, 1.1, 0.1, 0.25, 0),
    "up": (-1.5, 0.2, 0.2, 0.3, 0),
    "chest": (0.45, 0.75, -0.55, 1.75, 0.2),
    "out": (-0.55, 0.1, 0.1, 0.15, 0),
    "face": (0.30, 1.15, -0.2, 1.95, 0.3),
    "forwards": (0.35, 0.95, 0, 1.0, -0.3),
    "talk": (0.55, 0.35, -0.15, 1.35, -0.7),
    "explain": (0.35, 0.55, 0.25, 1.25, -0.9),
    "cross": (0.50, 0.80, -0.9, 1.6, 0.2),
    "clap": (0.45, 0.85, -0.55, 1.2, 0.6),
    "flex": (-0.5, 0.1, 0.35, 1.9, -0.6),
}
# how far index, middle, ring, little finger and thumb are bent
_HANDS = {
    "open": (0, 0, 0, 0, -0.05),
    "relaxed": (0.35, 0.4, 0.45, 0.5, 0.15),
    "fist": (1.35, 1.45, 1.45, 1.4, 0.7),
    "point": (0.05, 1.4, 1.45, 1.4, 0.7),
    "peace": (0.02, 0.05, 1.4, 1.4, 0.75),
    "thumb": (1.4, 1.45, 1.45, 1.4, -0.35),
    "ok": (0.75, 0.25, 0.2, 0.15, 0.5),
    "horns": (0.05, 1.4, 1.4, 0.05, 0.6),
    "three": (0.02, 0.03, 0.06, 1.35, 0.7),
    "spread": (-0.05, -0.05, -0.05, -0.05, -0.25),
}
_FACES = (
    (("mouthSmileLeft", "mouthSmileRight"), 0.28),
    (("cheekSquintLeft", "cheekSquintRight"), 0.1),
    (("browInnerUp", "browOuterUpLeft", "browOuterUpRight"), 0.12),
    (("browDownLeft", "browDownRight"), 0.0),
    (("mouthPucker",), 0.0),
    (("mouthFrownLeft", "mouthFrownRight"), 0.0),
    (("eyeSquintLeft", "eyeSquintRight"), 0.0),
    (("eyeWideLeft", "eyeWideRight"), 0.0),
    (("mouthLeft",), 0.0),
)


def between_targets(
    random: np.random.Generator,
    frames: int,
    fps: float,
    draw: Callable[[], npt.ArrayLike],
    seconds: tuple[float, float],
    hold: float = 0.5,
) -> np.ndarray:
    """Minimum-jerk movements (frames, N) between targets from `draw()`, `seconds` long, with pauses up to `hold`."""
    current = np.asarray(draw(), float)
    result = np.empty((frames, len(current)))
    frame = 0
    while frame < frames:
        pause = int(random.uniform(0, hold) * fps)
        result[frame : frame + pause] = current
        frame += pause
        length = max(3, round(random.uniform(*seconds) * fps))
        target = np.asarray(draw(), float)
        share = np.arange(1, length + 1) / length
        share = share**3 * (10 - 15 * share + 6 * share**2)
        moved = current + (target - current) * share[:, None]
        part = moved[: max(0, frames - frame)]
        result[frame : frame + len(part)] = part
        frame += length
        current = target
    return result


def wobble(
    random: np.random.Generator, frames: int, fps: float, size: int, amplitude: float, hertz: tuple[float, float]
) -> np.ndarray:
    """A sum of slow sines (frames, size)."""
    time = np.arange(frames)[:, None] / fps
    total = np.zeros((frames, size))
    for overtone in range(3):
        frequency = random.uniform(*hertz, size) * (1 + 0.6 * overtone)
        total += amplitude / (overtone + 1) * np.sin(2 * np.pi * frequency * time + random.uniform(0, 2 * np.pi, size))
    return total


def still_pose(body: Body, frames: int) -> Pose:
    """The A-pose, standing on the ground."""
    assets = load_assets()
    rotations = np.tile(np.eye(3), (frames, len(assets.bones), 1, 1))
    root = np.zeros((frames, 3))
    root[:, 2] = -body.vertices[:, 2].min()
    return Pose(rotations, root, np.zeros((frames, len(assets.action_names))))


def procedural_motion(
    random: np.random.Generator, body: Body, frames: int, fps: float, legs: str, lively: Liveliness = CALM
) -> Pose:
    """A movement of the whole person; `legs` is one of `LEG_STYLES`."""
    pose = still_pose(body, frames)
    spine = between_targets(random, frames, fps, lambda: random.normal((0.02, 0, 0), (0.08, 0.06, 0.16)), (0.6, 1.6))
    add_spine(pose, spine + wobble(random, frames, fps, 3, 0.02, (0.15, 0.7)), 0 * spine)
    add_head(random, pose, fps)
    both = _arm_curve(random, frames, fps, lively) if lively.alike else None
    for side, sign in SIDES:
        _add_arm(pose, body, side, sign, _arm_curve(random, frames, fps, lively) if both is None else both)
        add_hand(random, pose, body, side, fps)
    add_face(random, pose, fps)
    turn = between_targets(random, frames, fps, lambda: [random.normal(0, 0.22)], (0.8, 2.0))
    pose.rotations[:, 0] = rotation(np.concatenate([np.zeros((frames, 2)), turn], 1))
    _add_legs(random, pose, body, fps, legs)
    keep_arms_outside(body, pose, margin=0.035)
    if lively != CALM:
        _move_about(random, pose, body, fps, lively)
    return pose


def _move_about(random: np.random.Generator, pose: Pose, body: Body, fps: float, lively: Liveliness) -> None:
    """Turn the person, and bring them near and far."""
    frames = len(pose.root)
    swing = between_targets(random, frames, fps, lambda: [random.uniform(-1, 1)], (0.6, 1.6))[:, 0]
    heading = lively.facing + lively.heading * swing + lively.spin * np.arange(frames) / fps
    walk = between_targets(random, frames, fps, lambda: [random.uniform(-0.8, 1)], (1.0, 2.5))[:, 0]
    move_about(pose, body, heading, lively.approach * walk)


def add_spine(pose: Pose, spine: np.ndarray, chest: np.ndarray) -> None:
    """Bend the spine by rotation vectors (T, 3), shared by its bones; `chest` goes to the upper two."""
    assets = load_assets()
    for number in range(1, 6):
        extra = chest / 2 if number <= 2 else 0 * chest
        pose.rotations[:, assets.bone(f"spine0{number}")] = rotation(spine / 5 + extra)


def add_head(random: np.random.Generator, pose: Pose, fps: float) -> None:
    """Look around."""
    assets, frames = load_assets(), len(pose.root)
    neck = between_targets(random, frames, fps, lambda: random.normal(0, (0.13, 0.08, 0.30)), (0.4, 1.1))
    neck += wobble(random, frames, fps, 3, 0.02, (0.15, 0.7))
    for bone, share in (("neck01", 0.2), ("neck02", 0.25), ("neck03", 0.2), ("head", 0.35)):
        pose.rotations[:, assets.bone(bone)] = rotation(neck * share)


def _arm_curve(random: np.random.Generator, frames: int, fps: float, lively: Liveliness) -> np.ndarray:
    names, lazy = list(lively.arms or _ARMS), random.random() < 0.25

    def draw() -> np.ndarray:
        name = "rest" if lazy and random.random() < 0.7 else names[int(random.integers(len(names)))]
        return np.array(_ARMS[name]) + random.normal(0, 0.11, 5)

    seconds, hold = (0.5 * lively.tempo, 1.2 * lively.tempo), 0.6 * lively.tempo
    curve = between_targets(random, frames, fps, draw, seconds, hold) + wobble(random, frames, fps, 5, 0.03, (0.4, 1.2))
    if random.random() < 0.35:
        curve[:, 2] += 0.45 * np.sin(2 * np.pi * random.uniform(0.8, 1.6) * np.arange(frames) / fps)
    return curve


def _add_arm(pose: Pose, body: Body, side: str, sign: float, curve: np.ndarray) -> None:
    assets, heads = load_assets(), body.bone_heads
    shoulder, elbow, wrist = (heads[assets.bone(f"{name}.{side}")] for name in ("upperarm01", "lowerarm01", "wrist"))
    upper, lower = _unit(elbow - shoulder), _unit(wrist - elbow)
    away, forwards, twist, bend, turn = curve.T
    zero = 0 * away
    lift = np.clip(-away - 0.1, 0, 2) * 0.30
    pose.rotations[:, assets.bone(f"clavicle.{side}")] = rotation(np.stack([zero, -sign * lift, zero], 1))
    half_twist = rotation(twist[:, None] * 0.5 * sign * -upper)
    swing = rotation(np.stack([-forwards, zero, zero], 1)) @ rotation(np.stack([zero, sign * away, zero], 1))
    pose.rotations[:, assets.bone(f"upperarm01.{side}")] = swing @ half_twist
    pose.rotations[:, assets.bone(f"upperarm02.{side}")] = half_twist
    hinge = _unit(np.cross(upper, [0, -1.0, 0]))
    pose.rotations[:, assets.bone(f"lowerarm01.{side}")] = rotation(hinge * (np.clip(bend, 0, 2.35) - 0.25)[:, None])
    turn = np.clip(turn, -1.2, 1.2)[:, None]
    pose.rotations[:, assets.bone(f"lowerarm02.{side}")] = rotation(turn * 0.6 * sign * lower)
    pose.rotations[:, assets.bone(f"wrist.{side}")] = rotation(turn * 0.4 * sign * lower)


def add_hand(random: np.random.Generator, pose: Pose, body: Body, side: str, fps: float) -> None:
    """Bend wrist and fingers."""
    assets, heads, frames = load_assets(), body.bone_heads, len(pose.root)

    def joint(finger: int, number: int) -> np.ndarray:
        return heads[assets.bone(f"finger{finger}-{number}.{side}")]

    wrist = heads[assets.bone(f"wrist.{side}")]
    palm = _unit(np.cross(joint(2, 1) - wrist, joint(5, 1) - wrist))
    hinges = [_unit(np.cross(_unit(joint(f, 2) - joint(f, 1)), _unit(joint(f, 3) - joint(f, 2)))) for f in range(2, 6)]
    hinge = _unit(np.mean(hinges, 0))
    tilt = between_targets(random, frames, fps, lambda: random.normal(0, (0.28, 0.14)), (0.3, 0.9))
    bone = assets.bone(f"wrist.{side}")
    pose.rotations[:, bone] = rotation(tilt[:, 1:] * palm) @ rotation(tilt[:, :1] * hinge) @ pose.rotations[:, bone]
    shapes = list(_HANDS.values())
    bends = between_targets(
        random,
        frames,
        fps,
        lambda: np.array(shapes[int(random.integers(len(shapes)))]) + random.normal(0, 0.06, 5),
        (0.25, 0.6),
        0.9,
    )
    spread = between_targets(random, frames, fps, lambda: [random.uniform(-0.05, 0.18)], (0.3, 0.8))
    for number, finger in enumerate(range(2, 6)):
        along = _unit(joint(finger, 2) - joint(finger, 1))
        axis = _unit(hinge - along * (hinge @ along))
        side_axis = palm * (1.2 - 0.8 * number) * np.sign(hinge @ np.cross(along, palm) + 1e-9)
        for knuckle, share in ((1, 0.85), (2, 1.0), (3, 0.7)):
            turn = rotation((np.maximum(bends[:, number : number + 1], -0.1) * share - 0.12) * axis)
            if knuckle == 1:
                turn = rotation(spread * side_axis) @ turn
            pose.rotations[:, assets.bone(f"finger{finger}-{knuckle}.{side}")] = turn
    axis = _unit(np.cross(joint(1, 2) - joint(1, 1), joint(1, 3) - joint(1, 2)))
    for knuckle, share in ((1, 0.5), (2, 0.7), (3, 0.8)):
        pose.rotations[:, assets.bone(f"finger1-{knuckle}.{side}")] = rotation(bends[:, 4:] * share * axis)


def add_face(random: np.random.Generator, pose: Pose, fps: float) -> None:
    """Expressions around a friendly one, talk, blinks and gaze."""
    assets, frames = load_assets(), len(pose.root)
    index = {name: number for number, name in enumerate(assets.action_names)}
    base = np.array([level for _, level in _FACES]) * random.uniform(0, 2)
    face = between_targets(
        random,
        frames,
        fps,
        lambda: base + random.beta(0.5, 2.4, len(_FACES)) * (random.random(len(_FACES)) < 0.4),
        (0.15, 0.5),
        0.6,
    )
    for (names, _), level in zip(_FACES, face.T, strict=True):
        for name in names:
            pose.actions[:, index[name]] += level
    if random.random() < 0.6:
        talk = np.clip(wobble(random, frames, fps, 1, 0.3, (1.5, 3.2))[:, 0], 0, 1)
        pose.actions[:, index["jawOpen"]] += talk * 0.55
        pose.actions[:, index["mouthFunnel"]] += talk * 0.25
    frame = int(random.uniform(0, 2.5) * fps)
    while frame < frames:
        lids = np.array([0.4, 1, 1, 0.5])[: frames - frame]
        for name in ("eyeBlinkLeft", "eyeBlinkRight"):
            pose.actions[frame : frame + len(lids), index[name]] = lids
        frame += int(random.uniform(1.5, 4) * fps)
    np.clip(pose.actions, 0, 1, out=pose.actions)
    gaze = between_targets(random, frames, fps, lambda: random.normal(0, (0.1, 0.2)), (0.1, 0.2), 1.2)
    for side, _ in SIDES:
        turn = np.stack([gaze[:, 0], 0 * gaze[:, 0], gaze[:, 1]], 1)
        pose.rotations[:, assets.bone(f"eye.{side}")] = rotation(turn)


def _add_legs(random: np.random.Generator, pose: Pose, body: Body, fps: float, style: str) -> None:
    if style not in LEG_STYLES:
        raise ValueError(f"legs must be one of {', '.join(LEG_STYLES)}, not {style!r}")
    frames = len(pose.root)
    stance = random.uniform(0.09, 0.16) * (1.6 if style == "squat" else 1)
    ankles = np.zeros((frames, 2, 3))
    ankles[:, :, 0] = (stance, -stance)
    ankles[:, :, 1] = random.normal(0, 0.04, 2)
    ankles[:, :, 2] = ankle_height(body)
    yaw = np.tile(np.array([1.0, -1.0]) * random.uniform(0.02, 0.3), (frames, 1))
    pitch = np.zeros((frames, 2))
    if style in ("step", "march"):
        _lift_feet(random, ankles, pitch, fps, march=style == "march")
    lean = between_targets(random, frames, fps, lambda: random.normal(0, (0.035, 0.025)), (0.8, 1.8))
    load = gaussian_filter1d(ankles[:, :, :2].mean(1), 0.3 * fps, axis=0, mode="nearest")
    pose.root[:, :2] = load + lean
    bend = np.clip(
        between_targets(random, frames, fps, lambda: [max(random.normal(-0.01, 0.03), 0)], (0.5, 1.4))[:, 0], 0, 0.12
    )
    if style == "squat":
        time = np.arange(frames) / fps
        bend = bend + random.uniform(0.08, 0.2) * (1 - np.cos(2 * np.pi * random.uniform(0.35, 0.7) * time))
    leg = Leg.of(body, "L")
    hip = ankle_height(body) + 0.994 * (leg.thigh + leg.shank)
    pose.root[:, 2] = hip - body.bone_heads[leg.hip, 2] - bend
    plant_feet(body, pose, ankles, yaw, pitch)


def _lift_feet(random: np.random.Generator, ankles: np.ndarray, pitch: np.ndarray, fps: float, march: bool) -> None:
    """Lift one foot after the other and put it down: in place when marching, up to a short step away otherwise."""
    frames = len(ankles)
    home = ankles[0].copy()
    frame, foot = int(random.uniform(0.1, 0.5) * fps), int(random.integers(2))
    beat = random.uniform(0.45, 0.7)
    height = random.uniform(0.10, 0.28) if march else random.uniform(0.04, 0.08)
    while frame < frames:
        length = max(4, round(beat * fps))
        away = np.zeros(2) if march else random.uniform(-1, 1, 2) * (0.09, 0.11)
        start, stop = ankles[frame, foot, :2].copy(), home[foot, :2] + away
        share = (np.arange(length) + 1) / length
        ease = share**3 * (10 - 15 * share + 6 * share**2)
        window = slice(frame, min(frame + length, frames))
        part = window.stop - window.start
        ankles[window, foot, :2] = (start + (stop - start) * ease[:, None])[:part]
        arc = np.sin(np.pi * ease)
        ankles[window, foot, 2] += (height * arc)[:part]
        pitch[window, foot] = (-1.6 * height * arc)[:part]
        ankles[window.stop :, foot, :2] = stop
        frame += length + (0 if march else int(random.uniform(0.1, 0.8) * fps))
        foot = 1 - foot


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / max(float(np.linalg.norm(vector)), 1e-9)
