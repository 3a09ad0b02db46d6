"""Reads `.pose` files (sign language research), versions 0.0 to 0.2.

Own code for the file's core, because pose-format's metadata names no licence. Its two traps are handled here: OpenPose
files whose face is empty hold the hands in the place of the face, and OpenPose's finger joints carry the names of the
joints before them.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, read_bytes
from posegen.motion.motion_data import Asked, Motion, check_amount, simple_rate

FORM = ".pose"
_MAX_BYTES = 2048 * MEGABYTE
_VERSIONS = (0.0, 0.1, 0.2)
_SKIPPED = ("FACE", "WORLD")
"""Words in names of components that are not read: faces are never drawn, and world landmarks are not in pixels."""
_OPENPOSE_FINGERS = {"T": 0, "I": 1, "M": 2, "R": 3, "P": 4}
_OPENPOSE_JOINTS = {"STT": 1, "BCMC": 2, "CMC": 1, "MCP": 2, "PIP": 3, "DIP": 4}
_OPENPOSE_THUMB = {"STT": 1, "BCMC": 2, "MCP": 3, "IP": 4}


@dataclass(frozen=True)
class _Component:
    name: str
    points: tuple[str, ...]
    form: str
    first: int

    @property
    def part(self) -> slice:
        return slice(self.first, self.first + len(self.points))


class _Bytes:
    """Reads little-endian values one after the other. Raises `PosegenError` at the end of the file."""

    def __init__(self, content: bytes, path: Path) -> None:
        self.content, self.path, self.place = content, path, 0

    def values(self, form: str) -> tuple[Any, ...]:
        size = struct.calcsize(f"<{form}")
        if self.place + size > len(self.content):
            raise PosegenError(f"{self.path}: ends in the middle of its header: it is cut off")
        self.place += size
        return struct.unpack_from(f"<{form}", self.content, self.place - size)

    def text(self) -> str:
        (length,) = self.values("H")
        return str(self.values(f"{int(length)}s")[0].decode("utf-8", "replace"))


def is_pose(head: bytes) -> bool:
    """Return True if a file that begins with these bytes may be `.pose`: a version, a size, and named components."""
    if len(head) < 14:
        return False
    version, width, height, _, components, length = struct.unpack_from("<fHHHHH", head)
    name = head[14 : 14 + length]
    return any(abs(version - known) < 1e-3 for known in _VERSIONS) and bool(
        0 < components < 64
        and 0 < length < 200
        and width
        and height
        and name
        and all(32 <= code < 127 for code in name)
    )


def read_pose(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a `.pose` file. Raises `PosegenError` for a damaged one, and one in space without a scale."""
    reader = _Bytes(read_bytes(path, "a .pose file", _MAX_BYTES), path)
    version, width, height, _ = reader.values("fHHH")
    components = _components(reader)
    if version < 0.05:
        rate, data, confidence = _frames_one_by_one(reader, components)
    else:
        rate, data, confidence = _frames_at_once(reader, components, version > 0.15)
    check_amount(str(path), len(data), data.shape[2], data.shape[3])
    person, notes = asked.choose(np.asarray((confidence > 0).any(axis=2).T), path)
    fps, more = asked.rate(rate, path)
    motion = _motion(components, data[:, person], confidence[:, person], fps, (int(height), int(width)), path)
    lines = (*notes, *more)
    if 0.05 <= version <= 0.15:
        lines += (f"version 0.1 stores the frame rate as a whole number ({float(fps):g}): 29.97 would be 29 in it",)
    return Motion(**{**vars(motion), "people": data.shape[1], "notes": (*motion.notes, *lines)})


def _components(reader: _Bytes) -> list[_Component]:
    (count,) = reader.values("H")
    found, first = [], 0
    for _ in range(int(count)):
        name, form = reader.text(), reader.text()
        points, limbs, colours = (int(value) for value in reader.values("HHH"))
        names = tuple(reader.text() for _ in range(points))
        reader.values(f"{2 * limbs}H")
        reader.values(f"{3 * colours}H")
        found.append(_Component(name, names, form, first))
        first += points
    forms = {component.form for component in found}
    if not found or first == 0 or len({len(form) for form in forms}) != 1 or any(form[-1:] != "C" for form in forms):
        raise PosegenError(f"{reader.path}: its components have no points, or differ in their coordinates")
    return found


def _frames_at_once(
    reader: _Bytes, components: list[_Component], is_new: bool
) -> tuple[Fraction | None, np.ndarray, np.ndarray]:
    """Read versions 0.1 and 0.2: all coordinates, then all confidences."""
    rate, frames, people = (*reader.values("fI"), *reader.values("H")) if is_new else reader.values("HHH")
    points, axes = sum(len(each.points) for each in components), len(components[0].form) - 1
    left = len(reader.content) - reader.place
    size = int(people) * points * (axes + 1) * 4
    if not is_new and size:
        frames = left // size  # the stored number has 16 bits and overflows
    if people < 1 or frames < 1 or int(frames) * size > left:
        raise PosegenError(
            f"{reader.path}: holds {left:,} bytes of frames, not those of {int(frames):,}: it is cut off"
        )
    shape = (int(frames), int(people), points)
    values = np.frombuffer(reader.content, "<f4", int(np.prod(shape)) * (axes + 1), reader.place)
    cut = int(np.prod(shape)) * axes
    return simple_rate(rate), values[:cut].reshape(*shape, axes), values[cut:].reshape(shape)


def _frames_one_by_one(reader: _Bytes, components: list[_Component]) -> tuple[Fraction | None, np.ndarray, np.ndarray]:
    """Read version 0.0: frame by frame, each with its people."""
    rate, frames = reader.values("HH")
    points, columns = sum(len(each.points) for each in components), len(components[0].form)
    everybody: list[list[np.ndarray]] = []
    for _ in range(int(frames)):
        (people,) = reader.values("H")
        row = []
        for _ in range(int(people)):
            reader.values("h")
            row.append(np.array(reader.values(f"{points * columns}f"), np.float32).reshape(points, columns))
        everybody.append(row)
    most = max((len(row) for row in everybody), default=0)
    if not most:
        raise PosegenError(f"{reader.path}: nobody is in it")
    values = np.zeros((len(everybody), most, points, columns), np.float32)
    for index, row in enumerate(everybody):
        for number, person in enumerate(row):
            values[index, number] = person
    return simple_rate(rate), values[..., :-1], values[..., -1]


def _motion(
    components: list[_Component],
    data: Float32[np.ndarray, "frames points axes"],
    confidence: Float32[np.ndarray, "frames points"],
    fps: Fraction,
    size: tuple[int, int],
    path: Path,
) -> Motion:
    data, confidence, notes = _hands_out_of_face(components, data, confidence)
    names: list[str] = []
    chosen: list[int] = []
    for component in components:
        if any(word in component.name.upper() for word in _SKIPPED):
            continue
        side = next((side for side in ("left", "right") if side in component.name.lower()), "")
        is_hand = "hand" in component.name.lower()
        for number, point in enumerate(component.points):
            names.append(_name(point, side if is_hand else ""))
            chosen.append(component.first + number)
    if not chosen:
        raise PosegenError(f"{path}: has components {', '.join(each.name for each in components):.120}: none is a body")
    points, scores = data[:, chosen], confidence[:, chosen]
    unknown = (scores <= 0) | ~np.isfinite(points[..., :2]).all(axis=2)
    places = np.where(unknown[..., None], np.nan, points[..., :2]).astype(np.float32)
    depth = None
    if points.shape[2] > 2:
        depth = np.nan_to_num(points[..., 2]).astype(np.float32)
        if np.percentile(np.abs(depth), 99) < 5:  # MediaPipe's z is stored as a part of the width
            depth = depth * size[1]
    if unknown.all():
        raise PosegenError(f"{path}: none of its points is known in any frame")
    if np.nanpercentile(np.abs(places), 99) < 5:  # normalized by the shoulders: the scale is anybody's
        size_known, notes = None, (*notes, "its points are normalized, not in pixels: they are fitted into the frame")
    else:
        size_known = size
    return Motion(
        FORM,
        tuple(names),
        places,
        1 / fps,
        size=size_known,
        depth=depth,
        scores=np.clip(np.where(unknown, 0, scores), 0, 1).astype(np.float32),
        estimated=True,
        notes=notes,
    )


def _name(point: str, side: str) -> str:
    """Return the name of a point; those of a hand get its side, and OpenPose's are put right."""
    if not side:
        return point
    finger, _, joint = point.partition("_")
    if point == "BASE":
        return f"{side}_hand_0"
    if finger in _OPENPOSE_FINGERS and joint:
        number = (_OPENPOSE_THUMB if finger == "T" else _OPENPOSE_JOINTS).get(joint)
        if number is not None:
            return f"{side}_hand_{4 * _OPENPOSE_FINGERS[finger] + number}"
    if point.lower().startswith(side):
        return point
    return f"{side}_hand_{point}"


def _hands_out_of_face(
    components: list[_Component], data: np.ndarray, confidence: np.ndarray
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Put OpenPose's hands back that are stored as points of an empty face.

    Such frames have no hands, and only the first 42 points of the face; these lie at the wrists, not at the nose.
    """
    parts = {part: next((each for each in components if part in each.name), None) for part in _OPENPOSE_COMPONENTS}
    if any(each is None for each in parts.values()):
        return data, confidence, ()
    body, face, left, right = (each for each in parts.values() if each is not None)
    points = {name: body.first + number for number, name in enumerate(body.points)}
    if len(face.points) < 43 or not {"Nose", "LWrist", "RWrist"} <= points.keys():
        return data, confidence, ()
    shown = confidence > 0
    stored = [slice(face.first, face.first + 21), slice(face.first + 21, face.first + 42)]
    without = ~shown[:, left.part].any(axis=1) & ~shown[:, right.part].any(axis=1)
    moved = without & shown[:, stored[0]].any(axis=1) & ~shown[:, face.first + 42 : face.part.stop].any(axis=1)
    for part, wrist in zip(stored, ("LWrist", "RWrist"), strict=True):
        root = data[:, part.start, :2]
        to_wrist = np.linalg.norm(root - data[:, points[wrist], :2], axis=1)
        to_nose = np.linalg.norm(root - data[:, points["Nose"], :2], axis=1)
        moved &= (to_wrist < to_nose) | ~shown[:, part].any(axis=1)
    if not moved.any():
        return data, confidence, ()
    data, confidence = data.copy(), confidence.copy()
    for part, hand in zip(stored, (left, right), strict=True):
        data[moved, hand.part] = data[moved, part]
        confidence[moved, hand.part] = confidence[moved, part]
    line = f"hands were stored as points of an empty face in {int(moved.sum())} frames: they are put back"
    return data, confidence, (line,)


_OPENPOSE_COMPONENTS = ("pose_keypoints_2d", "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d")
