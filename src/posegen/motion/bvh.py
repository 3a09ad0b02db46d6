"""Reads BVH (Biovision hierarchy): a skeleton and its channels, frame by frame.

Own code, for three reasons found by running the libraries: PyPI's `bvh` cuts names at spaces, `bvhio` does not end on
some damaged files, and both take minutes for ten minutes of motion. What readers disagree about is decided here and
explained in docs/motion.md: position channels take the place of the root's OFFSET, and `Frames:` is not trusted.
"""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from io import BufferedReader
from pathlib import Path

import numpy as np
from jaxtyping import Float

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, decode_text
from posegen.media.files import open_input
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_data import MAX_JOINTS, Asked, Motion, check_amount, rate_of_period
from posegen.motion.rigs import CHUNK, Rig, attach_face_and_feet, pose_rig

FORM = "BVH"
_MAX_HEADER = 4 * MEGABYTE
_MAX_DEPTH = 500
_PIECE = 4 * MEGABYTE
_MAX_BYTES = 4096 * MEGABYTE
_CHANNELS = {f"{axis}{kind}": (kind, number) for number, axis in enumerate("xyz") for kind in ("position", "rotation")}


@dataclass
class _Joint:
    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    channels: list[tuple[str, int]] = field(default_factory=list)
    """Kind and axis of each channel, in the order of the file."""


def is_bvh(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is BVH."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:9].upper() == b"HIERARCHY"


def read_bvh(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a BVH file. Raises `PosegenError` for a damaged one, and names the line."""
    with open_input(path, "a BVH file") as stream:
        head = stream.read(_MAX_HEADER)
        found = re.search(rb"^[ \t]*MOTION[ \t\r]*$", head, re.MULTILINE | re.IGNORECASE)
        if found is None:
            raise PosegenError(f"{path}: has no line MOTION in its first {_MAX_HEADER // MEGABYTE} MB: it is cut off")
        joints = _parse_hierarchy(decode_text(head[: found.start()], str(path), "BVH"), path)
        declared, rate, begin, line = _parse_motion_head(head[found.end() :], path)
        stream.seek(found.end() + begin)
        width = sum(len(joint.channels) for joint in joints)
        lines_before = head[: found.end()].count(b"\n") + line
        rows, broken = _read_rows(stream, width, path, lines_before)
    check_amount(str(path), len(rows), len(joints))
    notes = []
    if declared != len(rows):
        notes.append(f"it declares {declared:,} frames and holds {len(rows):,}: all that are there are read")
    if broken:
        notes.append("its last frame is incomplete, and left out")
    rate, _ = asked.rate(rate, path)
    roots = [index for index, joint in enumerate(joints) if joint.parent < 0]
    chosen = asked.index(len(roots), path)
    if len(roots) > 1 and chosen is None:
        notes.append(f"it holds {len(roots)} skeletons: the first is taken (--person 2 takes the second)")
    return _pose(joints, rows, rate, roots, chosen or 0, notes)


def _parse_hierarchy(text: str, path: Path) -> list[_Joint]:
    """Read joints in the order of their channels; ends of chains are joints without channels."""
    joints: list[_Joint] = []
    open_joints: list[int] = []
    waiting: int | None = None
    for number, line in enumerate(text.splitlines(), 1):
        for words in _statements(line):
            key = words[0].upper()
            where = f"{path}, line {number}"
            if key == "HIERARCHY":
                continue
            if key in ("ROOT", "JOINT", "END"):
                if waiting is not None:
                    raise PosegenError(f"{where}: `{{` was expected after {joints[waiting].name}")
                parent = open_joints[-1] if open_joints else -1
                if (key == "ROOT") != (parent < 0):
                    raise PosegenError(f"{where}: {key} is in the wrong place")
                name = f"{joints[parent].name} End" if key == "END" else " ".join(words[1:])
                joints.append(_Joint(name or f"joint {len(joints)}", parent))
                waiting = len(joints) - 1
                if len(joints) > MAX_JOINTS or len(open_joints) > _MAX_DEPTH:
                    raise PosegenError(f"{where}: more than {MAX_JOINTS} joints, or nested deeper than {_MAX_DEPTH}")
            elif key == "{":
                if waiting is None:
                    raise PosegenError(f"{where}: `{{` does not follow a joint")
                open_joints.append(waiting)
                waiting = None
            elif key == "}":
                if not open_joints or waiting is not None:
                    raise PosegenError(f"{where}: `}}` closes nothing")
                open_joints.pop()
            elif key in ("OFFSET", "CHANNELS") and open_joints:
                _read_values(joints[open_joints[-1]], key, words[1:], where)
            else:
                raise PosegenError(f"{where}: {line.strip()[:60]!r} is not understood")
    if open_joints or waiting is not None or not joints:
        raise PosegenError(f"{path}: the skeleton is incomplete before MOTION: it is cut off or damaged")
    return joints


def _statements(line: str) -> Iterator[list[str]]:
    """Yield the statements of a line: braces may stand beside others."""
    for part in re.split(r"([{}])", line):
        if words := part.split():
            yield words


def _read_values(joint: _Joint, key: str, words: list[str], where: str) -> None:
    try:
        if key == "OFFSET":
            x, y, z = map(float, words)
            if not np.isfinite([x, y, z]).all():
                raise ValueError("not finite")
            joint.offset = (x, y, z)
        else:
            joint.channels = [_CHANNELS[word.lower()] for word in words[1:]]
            if len(joint.channels) != int(words[0]) or len(set(joint.channels)) != len(joint.channels):
                raise ValueError("another number of channels")
    except (ValueError, KeyError, IndexError):
        raise PosegenError(f"{where}: {key} {' '.join(words)[:60]!r} of {joint.name} is not understood") from None


def _parse_motion_head(content: bytes, path: Path) -> tuple[int, Fraction, int, int]:
    """Return the declared frames, the rate, where numbers begin, and the lines before them."""
    found = re.match(rb"\s*Frames:?\s*(\d+)\s+Frame\s*Time:?\s*(\S+)[^\n]*(?:\n|\Z)", content, re.IGNORECASE)
    if found is None:
        raise PosegenError(f"{path}: after MOTION, `Frames:` and `Frame Time:` were expected")
    rate = rate_of_period(found[2].decode("ascii", "replace"))
    if rate is None:
        shown = found[2][:20].decode("ascii", "replace")
        raise PosegenError(f"{path}: Frame Time {shown} is not a time above 0: write the seconds of a frame")
    return int(found[1]), rate, found.end(), found[0].count(b"\n")


def _read_rows(stream: BufferedReader, width: int, path: Path, line: int) -> tuple[np.ndarray, bool]:
    """Read all numbers, in pieces; return the frames (n, width), and whether the last one is incomplete."""
    if width == 0:
        raise PosegenError(f"{path}: its joints have no channels")
    pieces: list[np.ndarray] = []
    total, rest = 0, b""
    while True:
        read = stream.read(_PIECE)
        total += len(read)
        if total > _MAX_BYTES:
            raise PosegenError(f"{path}: larger than {_MAX_BYTES // MEGABYTE} MB, the maximum for BVH")
        content = rest + read
        end = len(content) if not read else max(content.rfind(space) for space in (b"\n", b" ", b"\t")) + 1
        content, rest = content[:end], content[end:]
        if content.strip():
            pieces.append(_numbers(content, path, line))
        line += content.count(b"\n")
        if not read:
            break
    values = np.concatenate(pieces) if pieces else np.empty(0, np.float32)
    whole = len(values) // width
    return values[: whole * width].reshape(whole, width), bool(len(values) % width)


def _numbers(content: bytes, path: Path, line: int) -> np.ndarray:
    """Parse numbers between white space; float32 is enough for angles and places: 1 part in 10 million."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            numbers = np.fromstring(content.decode("latin-1"), np.float64, sep=" ")
        except (DeprecationWarning, ValueError):
            raise _no_number(content, path, line) from None
    if not np.isfinite(numbers).all():
        raise _no_number(content, path, line)
    return numbers.astype(np.float32)


def _no_number(content: bytes, path: Path, line: int) -> PosegenError:
    """Return the error that names the line with the first word that is not a number."""
    for offset, row in enumerate(content.split(b"\n")):
        for word in row.split():
            try:
                if np.isfinite(float(word)) and b"_" not in word:
                    continue
            except ValueError:
                pass
            shown = word[:20].decode("latin-1")
            hint = " (a decimal comma? write a point)" if re.fullmatch(r"-?\d+,\d+", shown) else ""
            return PosegenError(f"{path}, line {line + offset + 1}: {shown!r} is not a number{hint}")
    return PosegenError(f"{path}: its numbers cannot be read after line {line}")


def _pose(
    joints: list[_Joint], rows: np.ndarray, rate: Fraction, roots: list[int], person: int, notes: list[str]
) -> Motion:
    """Compute positions of one person, who has one of the roots, from the channels."""
    chosen = roots[person]
    stop = next((root for root in roots if root > chosen), len(joints))
    column = sum(len(joint.channels) for joint in joints[:chosen])
    own = [
        _Joint(joint.name, max(joint.parent - chosen, -1), joint.offset, joint.channels)
        for joint in joints[chosen:stop]
    ]
    rest = np.zeros((len(own), 3))
    for index, joint in enumerate(own):
        rest[index] = np.add(joint.offset, rest[joint.parent] if joint.parent >= 0 else 0)
    names = tuple(joint.name for joint in own)
    parents = tuple(joint.parent for joint in own)
    attached = attach_face_and_feet(Rig(names, parents, rest))
    adds = _added_positions(own, rows, column, notes)
    positions = np.empty((len(rows), len(own) + len(attached.names), 3), np.float32)
    for first in range(0, len(rows), CHUNK):
        part = slice(first, first + CHUNK)
        positions[part] = pose_rig(parents, *_local(own, rows[part].astype(np.float64), column, adds), attached)
    if len(keypoint_sources(names)) and not attached.names:
        notes.append("its rest pose is not that of somebody who stands: the face is placed by the shoulders")
    return Motion(
        FORM,
        (*names, *attached.names),
        positions,
        1 / rate,
        derived=frozenset(attached.names),
        people=len(roots),
        notes=tuple(notes),
    )


def _added_positions(joints: list[_Joint], rows: np.ndarray, column: int, notes: list[str]) -> frozenset[int]:
    """Return the joints below the root whose position channels are added to OFFSET instead of taking its place.

    Most programs write whole positions, some write differences: nearly 0 where OFFSET is not.
    """
    added = []
    for index, joint in enumerate(joints):
        columns = [column + at for at, (kind, _) in enumerate(joint.channels) if kind == "position"]
        axes = [axis for kind, axis in joint.channels if kind == "position"]
        column += len(joint.channels)
        length = float(np.linalg.norm(joint.offset))
        if joint.parent >= 0 and columns and length > 0:
            given = np.zeros(3)
            given[axes] = np.median(rows[:, columns], axis=0)
            if np.linalg.norm(given) < 0.5 * np.linalg.norm(given - joint.offset):
                added.append(index)
    if added:
        notes.append(f"positions of {len(added)} joints below the root are near 0: they are added to OFFSET")
    return frozenset(added)


def _local(
    joints: list[_Joint], rows: Float[np.ndarray, "frames width"], column: int, adds: frozenset[int]
) -> tuple[np.ndarray, np.ndarray]:
    """Return local rotations and translations of some frames."""
    rotations = np.empty((len(rows), len(joints), 3, 3))
    translations = np.empty((len(rows), len(joints), 3))
    for index, joint in enumerate(joints):
        translations[:, index] = joint.offset
        turned: np.ndarray | None = None
        for kind, axis in joint.channels:
            values = rows[:, column]
            if kind == "position":
                translations[:, index, axis] = values + (joint.offset[axis] if index in adds else 0)
            else:
                one = _turn(axis, np.radians(values))
                turned = one if turned is None else turned @ one
            column += 1
        rotations[:, index] = np.eye(3) if turned is None else turned
    return rotations, translations


def _turn(axis: int, angles: Float[np.ndarray, " frames"]) -> Float[np.ndarray, "frames 3 3"]:
    """Return rotations about one axis."""
    cosines, sines = np.cos(angles), np.sin(angles)
    result = np.zeros((len(angles), 3, 3))
    second, third = (axis + 1) % 3, (axis + 2) % 3
    result[:, axis, axis] = 1
    result[:, second, second] = result[:, third, third] = cosines
    result[:, second, third], result[:, third, second] = -sines, sines
    return result
