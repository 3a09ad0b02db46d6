"""Reads C3D, the format of motion capture laboratories: points in space, frame by frame.

Own code for the points alone: of a recording of more than 65,535 frames, ten minutes at 200 Hz, ezc3d reads a part and
c3d nothing, because the header counts in 16 bits. Forces and analog channels are skipped.
"""

import struct
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE
from posegen.media.files import open_input
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.markers import add_marker_joints
from posegen.motion.motion_data import Asked, Motion, check_amount, simple_rate

FORM = "C3D"
_BLOCK = 512
_MAX_PARAMETERS = MEGABYTE
_INTEL, _DEC, _MIPS = 84, 85, 86
_UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "inch": 0.0254, "ft": 0.3048}
_READ_AT_ONCE = 8 * MEGABYTE
_UNUSED = 0.5
"""Fraction of the points with a negative residual from which residuals are not used to mark missing ones."""


@dataclass
class _Parameters:
    order: str
    is_dec: bool
    values: dict[str, Any] = field(default_factory=dict)
    """GROUP:NAME -> numbers or texts."""

    def number(self, name: str) -> float | None:
        found = self.values.get(name)
        return float(found[0]) if isinstance(found, list) and found and not isinstance(found[0], str) else None

    def texts(self, name: str) -> list[str]:
        found = self.values.get(name, [])
        return [each for each in found if isinstance(each, str)]


def is_c3d(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is C3D."""
    return len(head) >= 20 and 2 <= head[0] <= 64 and head[1] == 0x50 and b"\0" in head[:20]  # no text


def read_c3d(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read the points of a C3D file. Raises `PosegenError` for a damaged one, and one without points."""
    with open_input(path, "a C3D file") as stream:
        head = stream.read(_BLOCK)
        if len(head) < _BLOCK:
            raise PosegenError(f"{path}: ends in its header: it is cut off")
        stream.seek((head[0] - 1) * _BLOCK)
        parameters = _read_parameters(stream.read(_MAX_PARAMETERS), path)
        stream.seek(0, 2)
        size = stream.tell()
        layout = _Layout.of(head, parameters, size, path)
        check_amount(str(path), layout.frames, layout.points)
        positions, notes = _read_points(stream, layout)
    labels = [label for key in _numbered("POINT:LABELS", parameters) for label in parameters.texts(key)]
    names = [label.strip() for label in labels[: layout.points]]
    if len(names) < layout.points or not any(names):
        raise PosegenError(
            f"{path}: has {layout.points} points and names of {len(names)}: label the points where the file was made"
        )
    return _motion(names, positions, layout, parameters, asked, notes, path)


def _numbered(name: str, parameters: _Parameters) -> list[str]:
    """Return LABELS, LABELS2, LABELS3 ...: each holds up to 255."""
    return [name, *(f"{name}{number}" for number in range(2, 40) if f"{name}{number}" in parameters.values)]


def _read_parameters(content: bytes, path: Path) -> _Parameters:
    if len(content) < 4 or content[3] not in (_INTEL, _DEC, _MIPS):
        raise PosegenError(f"{path}: its parameters are damaged")
    result = _Parameters(">" if content[3] == _MIPS else "<", content[3] == _DEC)
    groups: dict[int, str] = {}
    waiting: list[tuple[int, str, Any]] = []
    place = 4
    try:
        while True:
            length, group = struct.unpack_from("bb", content, place)
            if length == 0 or group == 0:
                break
            name = content[place + 2 : place + 2 + abs(length)].decode("latin-1").upper()
            place += 2 + abs(length)
            (offset,) = struct.unpack_from(f"{result.order}h", content, place)
            if group < 0:
                groups[-group] = name
            else:
                waiting.append((group, name, _value(content, place + 2, result)))
            if offset <= 0:
                break
            place += offset
    except (struct.error, ValueError, IndexError):
        raise PosegenError(f"{path}: its parameters are damaged or cut off") from None
    result.values = {f"{groups.get(group, group)}:{name}": value for group, name, value in waiting}
    return result


def _value(content: bytes, place: int, parameters: _Parameters) -> list[Any]:
    """Read the values of a parameter: numbers, or texts along the first dimension."""
    kind, count = struct.unpack_from("bB", content, place)
    sides = list(content[place + 2 : place + 2 + count])
    begin, total = place + 2 + count, int(np.prod(sides)) if sides else 1
    if abs(kind) * total > len(content) - begin:
        raise ValueError("longer than the file")
    raw = content[begin : begin + abs(kind) * total]
    if kind == -1:
        length = sides[0] if sides else 1
        return [raw[at : at + length].decode("latin-1").strip(" \0") for at in range(0, len(raw), max(length, 1))]
    if kind == 4:
        return list(_floats(raw, parameters).tolist())
    return np.frombuffer(raw, f"{parameters.order}u2" if kind == 2 else "u1").tolist()  # counts above 32,767 occur


def _floats(raw: bytes, parameters: _Parameters) -> np.ndarray:
    if not parameters.is_dec:
        return np.frombuffer(raw, f"{parameters.order}f4")
    words = np.frombuffer(raw, "<u2").reshape(-1, 2)[:, ::-1]
    return np.ascontiguousarray(words).view("<f4").ravel() / 4  # DEC's exponent is larger by 2


@dataclass(frozen=True)
class _Layout:
    """Place of the points in the file, in values of a frame."""

    begin: int
    points: int
    analog: int
    frames: int
    scale: float
    rate: Fraction | None
    order: str
    is_dec: bool
    disagrees: str | None

    @property
    def value_bytes(self) -> int:
        return 4 if self.scale < 0 else 2

    @property
    def frame_bytes(self) -> int:
        return (4 * self.points + self.analog) * self.value_bytes

    @classmethod
    def of(cls, head: bytes, parameters: _Parameters, size: int, path: Path) -> "_Layout":
        order = parameters.order
        points, analog, first, last = struct.unpack_from(f"{order}HHHH", head, 2)
        scale, rate = (float(_floats(head[at : at + 4], parameters)[0]) for at in (12, 20))
        (begin,) = struct.unpack_from(f"{order}H", head, 16)
        scale = parameters.number("POINT:SCALE") or scale
        rate = parameters.number("POINT:RATE") or rate
        start = int(parameters.number("POINT:DATA_START") or begin)
        layout = cls((start - 1) * _BLOCK, points, analog, 0, scale, None, order, parameters.is_dec, None)
        if points == 0 or start < 2 or layout.frame_bytes == 0:
            raise PosegenError(f"{path}: holds no points in space (forces or analog channels alone?)")
        there = max(size - layout.begin, 0) // layout.frame_bytes
        declared = max(last - first + 1, 0)
        said = [declared]
        ends = [parameters.values.get(f"TRIAL:ACTUAL_{end}_FIELD") for end in ("START", "END")]
        if all(isinstance(end, list) and len(end) == 2 for end in ends):
            begins, stops = (int(end[0]) + 65536 * int(end[1]) for end in ends if end is not None)
            said.append(stops - begins + 1)
        said += [int(parameters.number(name) or 0) for name in ("POINT:LONG_FRAMES", "POINT:FRAMES")]
        fitting = [count for count in said if 0 < count <= there]
        frames = max(fitting, default=0)
        if last == 65535 and there > 65535 and frames <= 65535:  # the counter was full
            frames = there
        if frames == 0:
            raise PosegenError(f"{path}: declares {declared:,} frames and holds {there:,}: it is cut off")
        line = None
        if frames != declared:
            line = f"its header counts {declared:,} frames in 16 bits: {frames:,} are read"
        return cls(layout.begin, points, analog, frames, scale, simple_rate(rate), order, parameters.is_dec, line)


def _read_points(stream: Any, layout: _Layout) -> tuple[np.ndarray, list[str]]:
    """Read positions, in pieces; NaN where a point is missing."""
    positions = np.empty((layout.frames, layout.points, 3), np.float32)
    negative = np.zeros((layout.frames, layout.points), bool)
    step = max(1, _READ_AT_ONCE // layout.frame_bytes)
    stream.seek(layout.begin)
    for first in range(0, layout.frames, step):
        count = min(step, layout.frames - first)
        raw = stream.read(count * layout.frame_bytes)
        if layout.scale < 0:
            values = (
                np.frombuffer(raw, f"{layout.order}f4")
                if not layout.is_dec
                else _floats(raw, _Parameters(layout.order, True))
            )
        else:
            values = np.frombuffer(raw, f"{layout.order}i2")
        frames = values.reshape(count, -1)[:, : 4 * layout.points].reshape(count, layout.points, 4)
        part = slice(first, first + count)
        positions[part] = frames[..., :3] if layout.scale < 0 else frames[..., :3] * np.float32(layout.scale)
        negative[part] = frames[..., 3] < 0
    missing = ~np.isfinite(positions).all(axis=2) | (positions == 0).all(axis=2)
    notes = [] if layout.disagrees is None else [layout.disagrees]
    doubtful = negative & ~missing
    if doubtful.mean() < _UNUSED:
        missing |= negative
    else:
        notes.append("all residuals are negative, so they are not taken for missing points")
    positions[missing] = np.nan
    return positions, notes


def _motion(
    names: list[str],
    positions: np.ndarray,
    layout: _Layout,
    parameters: _Parameters,
    asked: Asked,
    notes: list[str],
    path: Path,
) -> Motion:
    people = _people(names)
    known = np.stack([np.isfinite(positions[:, part, 0]).any(axis=1) for part in people])
    person, about = asked.choose(known, path)
    chosen = people[person]
    rate, more = asked.rate(layout.rate, path)
    found, places, derived = add_marker_joints([names[index] for index in chosen], positions[:, chosen])
    units = next(iter(parameters.texts("POINT:UNITS")), "").strip().lower()
    upward = next(iter(parameters.texts("POINT:Y_SCREEN")), "").strip().lower()
    return Motion(
        FORM,
        found,
        places,
        1 / rate,
        metres=_UNITS.get(units),
        up=upward if upward in ("+x", "-x", "+y", "-y", "+z", "-z") else None,
        derived=derived,
        people=len(people),
        notes=(*notes, *about, *more),
    )


def _people(names: list[str]) -> list[list[int]]:
    """Return the points of each person: names like `Anna:LKNE` say whose they are."""
    groups: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        if name and not name.startswith("*"):  # unlabelled points
            groups.setdefault(name.rpartition(":")[0], []).append(index)
    bodies = [group for group in groups.values() if len(keypoint_sources([names[index] for index in group])) > 4]
    return bodies if len(bodies) > 1 else [[index for group in groups.values() for index in group] or [0]]
