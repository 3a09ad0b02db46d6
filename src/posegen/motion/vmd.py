"""Reads VMD (MikuMikuDance) where the legs are keyed: rotations of bones with Japanese names, 30 frames per second.

A VMD file has no skeleton: its rotations are put on the usual proportions, with arms at rest a third of the way down as
in most models. Most dance files move the legs by IK targets alone; knees cannot be had from them without the model, so
these are refused with the way to bake them. Own code: mmd-bone-tools reads keys, and leaves their curves and the
skeleton to the caller.
"""

import struct
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Float

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, read_bytes
from posegen.motion.motion_data import Asked, Motion, check_amount
from posegen.motion.rigs import CHUNK, Rig, attach_face_and_feet, pose_rig

FORM = "VMD"
_SIGNATURE = b"Vocaloid Motion Data"
_MAX_BYTES = 512 * MEGABYTE
_MAX_FRAME = 1_000_000
_KEY = 111
"""Bytes of one key: name 15, frame, position, quaternion, 64 of interpolation."""
_UNIT = 0.08
"""Metres of MikuMikuDance's unit: a usual model is 20 of them tall."""
_STEADY = 0.02
"""Angle in radians by which a leg must turn over the clip to count as keyed."""
_FPS = Fraction(30)

_ARM_DOWN = np.radians(35)
_DOWN, _ASIDE = float(np.sin(_ARM_DOWN)), float(np.cos(_ARM_DOWN))
_SKELETON: dict[str, tuple[str, str | None, tuple[float, float, float]]] = {
    # English name: (Japanese name, parent, offset from it: to the person's left, up, ahead; metres)
    "Root": ("全ての親", None, (0, 0, 0)),
    "Center": ("センター", "Root", (0, 0.64, 0)),
    "Groove": ("グルーブ", "Center", (0, 0, 0)),
    "Hips": ("下半身", "Groove", (0, 0.33, 0)),
    "Spine": ("上半身", "Groove", (0, 0.36, 0)),
    "Chest": ("上半身2", "Spine", (0, 0.12, 0)),
    "Neck": ("首", "Chest", (0, 0.26, 0)),
    "Head": ("頭", "Neck", (0, 0.08, 0.01)),
}
for _side, _japanese, _sign in (("Left", "左", 1), ("Right", "右", -1)):
    _arm = (_sign * _ASIDE, -_DOWN, 0.0)
    _SKELETON |= {
        f"{_side}Shoulder": (f"{_japanese}肩", "Chest", (_sign * 0.04, 0.22, 0)),
        f"{_side}UpperArm": (f"{_japanese}腕", f"{_side}Shoulder", (_sign * 0.13, 0, 0)),
        f"{_side}LowerArm": (f"{_japanese}ひじ", f"{_side}UpperArm", (0.27 * _arm[0], 0.27 * _arm[1], 0)),
        f"{_side}Hand": (f"{_japanese}手首", f"{_side}LowerArm", (0.24 * _arm[0], 0.24 * _arm[1], 0)),
        f"{_side}UpperLeg": (f"{_japanese}足", "Hips", (_sign * 0.09, -0.07, 0)),
        f"{_side}LowerLeg": (f"{_japanese}ひざ", f"{_side}UpperLeg", (0, -0.41, 0.01)),
        f"{_side}Foot": (f"{_japanese}足首", f"{_side}LowerLeg", (0, -0.41, -0.02)),
        f"{_side}Toes": (f"{_japanese}つま先", f"{_side}Foot", (0, -0.08, 0.13)),
    }
    for _finger, _word, _first, _across in (
        ("Thumb", "親指", 0, 0.03), ("Index", "人指", 1, 0.025), ("Middle", "中指", 1, 0.0), ("Ring", "薬指", 1, -0.02),
        ("Little", "小指", 1, -0.04),
    ):  # fmt: skip  # a table, read in rows
        _before = f"{_side}Hand"
        for _joint, _name in enumerate(("Proximal", "Intermediate", "Distal")):
            _reach = (0.035 if _finger == "Thumb" else 0.09) if _joint == 0 else 0.03
            _ahead = _across if _joint == 0 else 0.0
            _digit = "０１２３"[_first + _joint]
            _offset = (_reach * _arm[0], _reach * _arm[1], _ahead)
            _SKELETON[f"{_side}{_finger}{_name}"] = (f"{_japanese}{_word}{_digit}", _before, _offset)
            _before = f"{_side}{_finger}{_name}"
_LEGS = ("左足", "右足", "左ひざ", "右ひざ")
_IK = ("左足ＩＫ", "右足ＩＫ", "左足IK", "右足IK")


def is_vmd(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is VMD."""
    return head.startswith(_SIGNATURE)


def read_vmd(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a VMD file. Raises `PosegenError` for one whose legs follow IK targets, and for damaged ones."""
    keys = _read_keys(read_bytes(path, "a VMD file", _MAX_BYTES), path)
    asked.index(1, path)
    rate, _ = asked.rate(_FPS, path)
    if not any(name in keys for name, _, _ in _SKELETON.values()):
        raise PosegenError(f"{path}: moves no bone of a body (a camera's or a face's motion?)")
    targets = _check_legs(keys, path)
    frames = 1 + max(int(numbers[-1]) for numbers, *_ in keys.values())
    names = tuple(_SKELETON)
    check_amount(str(path), frames, len(names))
    parents = tuple(-1 if parent is None else names.index(parent) for _, parent, _ in _SKELETON.values())
    # left-handed: x to the person's left, y up, z to their back; turned to z ahead by mirroring z
    offsets = np.array([offset for _, _, offset in _SKELETON.values()], float)
    rest = np.zeros_like(offsets)
    for index, parent in enumerate(parents):
        rest[index] = offsets[index] + (rest[parent] if parent >= 0 else 0)
    attached = attach_face_and_feet(Rig(names, parents, rest))
    positions = np.empty((frames, len(names) + len(attached.names), 3), np.float32)
    for first in range(0, frames, CHUNK):
        times = np.arange(first, min(first + CHUNK, frames), dtype=float)
        rotations = np.broadcast_to(np.eye(3), (len(times), len(names), 3, 3)).copy()
        moves = np.broadcast_to(offsets, (len(times), *offsets.shape)).copy()
        for index, (japanese, _, _) in enumerate(_SKELETON.values()):
            if japanese in keys:
                move, rotations[:, index] = _sample(*keys[japanese], times)
                moves[:, index] += _UNIT * move
        positions[first : first + len(times)] = pose_rig(parents, rotations, moves, attached)
    return Motion(
        FORM,
        (*names, *attached.names),
        positions,
        1 / rate,
        metres=1.0,
        up="+y",
        derived=frozenset(attached.names),
        notes=(
            "a VMD file has no skeleton: usual proportions are taken, which the reference person's then replace",
            *([f"legs move as they are keyed; IK targets ({', '.join(targets)}) are left out"] if targets else []),
        ),
    )


def _read_keys(content: bytes, path: Path) -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]:
    """Return frames, positions (z ahead), quaternions and curves of each bone's keys, in order of time."""
    if len(content) < 54:
        raise PosegenError(f"{path}: ends in its header: it is cut off")
    begin = 50 if content[:30].rstrip(b"\0 ").endswith(b"0002") else 40  # the older version has a shorter name
    (count,) = struct.unpack_from("<I", content, begin)
    if count == 0:
        raise PosegenError(f"{path}: has no keys of bones (a camera's or a face's motion?)")
    if begin + 4 + count * _KEY > len(content):
        raise PosegenError(f"{path}: declares {count:,} keys and holds fewer: it is cut off")
    kind = np.dtype([("name", "S15"), ("frame", "<u4"), ("place", "<f4", 3), ("turn", "<f4", 4), ("curve", "u1", 64)])
    table = np.frombuffer(content, kind, count, begin + 4)
    if int(table["frame"].max()) > _MAX_FRAME or not (
        np.isfinite(table["place"]).all() and np.isfinite(table["turn"]).all()
    ):
        raise PosegenError(f"{path}: its keys are damaged (times or places that cannot be)")
    found = {}
    for raw in np.unique(table["name"]):
        rows = table[table["name"] == raw]
        rows = rows[np.argsort(rows["frame"], kind="stable")]
        last = np.append(np.diff(rows["frame"].astype(np.int64)) > 0, True)  # of two keys in a frame the later counts
        rows = rows[last]
        name = bytes(raw).split(b"\0")[0].decode("shift_jis", "replace")
        place, turn = (
            rows["place"] * np.array([1, 1, -1], np.float32),
            rows["turn"] * np.array([-1, -1, 1, 1], np.float32),
        )
        found[name] = (rows["frame"].astype(float), place.astype(float), turn.astype(float), _curves(rows["curve"]))
    return found


def _curves(raw: np.ndarray) -> Float[np.ndarray, "keys 4 4"]:
    """Return x1, y1, x2, y2 (0 to 1) of the curves of x, y, z and the rotation, for the way to each key.

    The bytes of z and of the rotation in the first row are used for other things; the second row repeats them.
    """
    first = raw[:, :16].reshape(-1, 4, 4).astype(float)  # x1, y1, x2, y2 by axis
    result = first.transpose(0, 2, 1).copy()
    again = raw[:, 16:31].astype(float)  # the same without its first value
    result[:, 2, 0], result[:, 3, 0] = again[:, 1], again[:, 2]
    return np.clip(result / 127, 0, 1)


def _sample(
    frames: np.ndarray, places: np.ndarray, turns: np.ndarray, curves: np.ndarray, times: np.ndarray
) -> tuple[Float[np.ndarray, "times 3"], Float[np.ndarray, "times 3 3"]]:
    """Return places and rotations of a bone; between two keys they follow the later one's curves."""
    if len(frames) == 1:
        return np.tile(places[0], (len(times), 1)), np.tile(_matrices(turns[:1])[0], (len(times), 1, 1))
    after = np.clip(np.searchsorted(frames, times, side="right"), 1, len(frames) - 1)
    before = after - 1
    share = np.clip((times - frames[before]) / (frames[after] - frames[before]), 0, 1)
    eased = np.stack([_ease(curves[after, axis], share) for axis in range(4)], axis=1)
    place = places[before] + eased[:, :3] * (places[after] - places[before])
    first, second = turns[before], turns[after]
    cosine = (first * second).sum(axis=1, keepdims=True)
    second, cosine = np.where(cosine < 0, -second, second), np.clip(np.abs(cosine), 0, 1)
    angle, weight = np.arccos(cosine), eased[:, 3:]
    sine = np.sin(angle)
    near = sine < 1e-5
    safe = np.where(near, 1, sine)
    mixed = np.where(near, 1 - weight, np.sin((1 - weight) * angle) / safe) * first
    mixed = mixed + np.where(near, weight, np.sin(weight * angle) / safe) * second
    return place, _matrices(mixed)


def _ease(curve: Float[np.ndarray, "times 4"], share: Float[np.ndarray, " times"]) -> Float[np.ndarray, " times"]:
    """Return y of a cubic Bezier curve from (0, 0) to (1, 1) at x = share, by bisection."""
    x1, y1, x2, y2 = curve.T
    low, high = np.zeros_like(share), np.ones_like(share)
    for _ in range(24):
        middle = (low + high) / 2
        x = 3 * (1 - middle) ** 2 * middle * x1 + 3 * (1 - middle) * middle**2 * x2 + middle**3
        low, high = np.where(x < share, middle, low), np.where(x < share, high, middle)
    at = (low + high) / 2
    return np.asarray(3 * (1 - at) ** 2 * at * y1 + 3 * (1 - at) * at**2 * y2 + at**3)


def _matrices(quaternions: Float[np.ndarray, "n 4"]) -> Float[np.ndarray, "n 3 3"]:
    from scipy.spatial.transform import Rotation  # type: ignore[import-untyped]

    length = np.linalg.norm(quaternions, axis=1, keepdims=True)
    return np.asarray(Rotation.from_quat(np.where(length > 1e-9, quaternions, (0, 0, 0, 1))).as_matrix())


def _check_legs(keys: Mapping[str, tuple[np.ndarray, ...]], path: Path) -> list[str]:
    """Return the IK targets that move beside keyed legs. Raises `PosegenError` where they alone move the legs."""
    turned = []
    for name in _LEGS:
        turns = keys[name][2] if name in keys else np.array([[0.0, 0, 0, 1]])
        turns = turns / np.maximum(np.linalg.norm(turns, axis=1, keepdims=True), 1e-9)
        turned.append(2 * np.arccos(np.clip(np.abs(turns @ turns[0]), 0, 1)).max() > _STEADY)
    targets = [name for name in _IK if name in keys and np.ptp(keys[name][1], axis=0).max() > _STEADY]
    if targets and not all(turned):
        raise PosegenError(
            f"{path}: its legs are moved by IK targets ({', '.join(targets)}), and knees are not in the file: bake the "
            "motion to the bones with its model (MikuMikuMoving, or Blender's mmd_tools: import model and motion, Bake "
            "Action with Visual Keying, export as BVH or glTF)"
        )
    return targets
