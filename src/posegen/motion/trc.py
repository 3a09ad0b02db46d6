"""Reads TRC, the table of points in space of Motion Analysis, OpenSim, OpenCap and Pose2Sim.

Own code: there is no maintained reader; OpenSim's needs OpenSim. Missing points are empty fields.
"""

import os
import warnings
from io import BufferedReader
from pathlib import Path

import numpy as np

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, decode_text
from posegen.media.files import open_input
from posegen.motion.markers import add_marker_joints
from posegen.motion.motion_data import Asked, Motion, check_amount, even_times, simple_rate

FORM = "TRC"
_MAX_BYTES = 4096 * MEGABYTE
_PIECE, _MAX_LINE = 4 * MEGABYTE, MEGABYTE
_UNITS = {"m": 1.0, "cm": 0.01, "mm": 0.001, "in": 0.0254, "ft": 0.3048, "meters": 1.0, "millimeters": 0.001}
_DAMAGED = "it is cut off, or not a TRC table"


def is_trc(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is TRC."""
    return head.removeprefix(b"\xef\xbb\xbf").lstrip()[:12].lower() == b"pathfiletype"


def read_trc(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a TRC file. Raises `PosegenError` for a damaged one."""
    with open_input(path, "a TRC file") as stream:
        if os.fstat(stream.fileno()).st_size > _MAX_BYTES:
            raise PosegenError(f"{path}: larger than {_MAX_BYTES // MEGABYTE} MB, the maximum for TRC")
        lines = [decode_text(stream.readline(_MAX_LINE), str(path), "TRC").rstrip("\r\n") for _ in range(5)]
        if not lines[4] and not lines[3]:
            raise PosegenError(f"{path}: has fewer than five lines: {_DAMAGED}")
        header = dict(zip((key.lower() for key in lines[1].split()), lines[2].split(), strict=False))
        names = [name.strip() for name in lines[3].split("\t")[2:] if name.strip()] or lines[3].split()[2:]
        if not names:
            raise PosegenError(f"{path}: names no points in its fourth line: {_DAMAGED}")
        times, rows = _read_rows(stream, 2 + 3 * len(names), path)
    check_amount(str(path), len(rows), len(names))
    try:
        stated = simple_rate(float(header["datarate"])) if "datarate" in header else None
    except ValueError:
        stated = None
    positions = rows.reshape(len(rows), len(names), 3)
    positions[(positions == 0).all(axis=2)] = np.nan
    notes: tuple[str, ...] = ()
    measured, (placed,), moved = even_times(times, positions)
    if measured is not None and (stated is None or moved or abs(float(measured / stated) - 1) > 0.01):
        if stated is not None and abs(float(measured / stated) - 1) > 0.01:
            notes = (
                f"it states {float(stated):g} frames per second, but its times say {float(measured):g}: these count",
            )
        stated, positions, notes = measured, placed, (*notes, *moved)
    rate, more = asked.rate(stated, path)
    found, positions, derived = add_marker_joints(names, positions)
    return Motion(
        FORM,
        found,
        positions,
        1 / rate,
        metres=_UNITS.get(header.get("units", "").lower()),
        derived=derived,
        notes=(*notes, *more),
    )


def _read_rows(stream: BufferedReader, columns: int, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the table in pieces: times (frames,) and positions (frames, columns - 2), NaN in empty fields."""
    times: list[np.ndarray] = []
    positions: list[np.ndarray] = []
    rest, line = b"", 6
    while True:
        read = stream.read(_PIECE)
        content = (rest + read).replace(b"\r", b"")
        end = content.rfind(b"\n") + 1 if read else len(content)
        content, rest = content[:end], content[end:]
        if content.strip():
            values = _numbers(content, columns, path, line)
            times.append(values[:, 1])
            positions.append(values[:, 2:].astype(np.float32))
        line += content.count(b"\n")
        if not read:
            break
    if not times:
        return np.empty(0), np.empty((0, columns - 2), np.float32)
    return np.concatenate(times), np.concatenate(positions)


def _numbers(content: bytes, columns: int, path: Path, line: int) -> np.ndarray:
    """Parse some lines of the table; empty fields become NaN."""
    text = content.decode("latin-1")
    table = text.strip("\n")
    rows = table.count("\n") + 1
    filled = table
    if "\t\t" in table:
        filled = table.replace("\t\t", "\tnan\t").replace("\t\t", "\tnan\t")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            values = np.fromstring(filled, np.float64, sep=" ")
            if len(values) == rows * columns:
                return values.reshape(rows, columns)
        except (DeprecationWarning, ValueError):
            pass
    return _numbers_by_row(text, columns, path, line)


def _numbers_by_row(text: str, columns: int, path: Path, first: int) -> np.ndarray:
    """Parse rows one by one: some end early, or have a tab more."""
    table = []
    for number, line in enumerate(text.split("\n"), first):
        if not line.strip():
            continue
        fields = line.split("\t") if "\t" in line else line.split()
        try:
            row = [float(value) if value.strip() else np.nan for value in fields]
        except ValueError:
            raise PosegenError(f"{path}, line {number}: {line.strip()[:40]!r} is not a row of numbers") from None
        extra = row[columns:]
        if not np.isnan(extra).all() or len(row) < 2:
            raise PosegenError(f"{path}, line {number}: has {len(row)} numbers, not {columns}: {_DAMAGED}")
        table.append((row + [np.nan] * columns)[:columns])
    return np.array(table, np.float64).reshape(-1, columns)
