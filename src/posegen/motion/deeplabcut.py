"""Reads DeepLabCut's results, CSV and HDF5, of one or several individuals, in pixels of the video.

Own code: DeepLabCut's readers are pandas with PyTables, whose HDF5 files hold pickles that may run code. The names of
the columns are read from them by an unpickler that knows texts, numbers and lists alone. Triangulated points have z.
"""

import csv
import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, read_text
from posegen.media.files import open_input
from posegen.motion.hdf5_files import hdf5_error, open_hdf5
from posegen.motion.motion_data import Asked, Motion, check_amount

FORM = "DeepLabCut"
_MAX_BYTES = 1024 * MEGABYTE
_MAX_COLUMNS = 20_000
_LEVELS = ("scorer", "individuals", "bodyparts", "coords")
Columns = list[tuple[str, ...]]


def is_deeplabcut(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is a CSV of DeepLabCut."""
    lines = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 4)
    return len(lines) > 2 and lines[0].startswith(b"scorer,") and any(line[:9] == b"bodyparts" for line in lines[1:3])


def is_deeplabcut_table(file: Any) -> bool:
    """Return True if an open HDF5 file holds a table of DeepLabCut."""
    return "df_with_missing" in file


def read_deeplabcut(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a CSV or HDF5 file. Raises `PosegenError` for others."""
    with open_input(path, "a file of DeepLabCut") as stream:
        is_text = is_deeplabcut(stream.read(4096))
    columns, frames, values = _read_csv(path) if is_text else _read_hdf5(path)
    return _motion(columns, frames, values, asked, path)


def _read_csv(path: Path) -> tuple[Columns, np.ndarray, np.ndarray]:
    text = read_text(path, "a CSV of DeepLabCut", _MAX_BYTES).lstrip()
    lines = text.split("\n", 5)
    levels = []
    for line in lines[:4]:
        row = next(csv.reader(io.StringIO(line)), [])
        if row and row[0] in _LEVELS:
            levels.append(row)
    if len(levels) < 3 or len({len(row) for row in levels}) != 1 or levels[-1][0] != "coords":
        raise PosegenError(f"{path}: its header is not DeepLabCut's (scorer, bodyparts, coords)")
    skipped = sum(not name for name in levels[-1][1:])  # labelled frames: folder, video, image
    columns = list(zip(*(row[1 + skipped :] for row in levels), strict=True))
    table = text.split("\n", len(levels))[-1].strip("\n")
    filled = table.replace("\r", "").replace(",,", ",nan,").replace(",,", ",nan,").replace(",\n", ",nan\n")
    filled += "nan" if filled.endswith(",") else ""
    if skipped:
        rows = [line.split(",")[1 + skipped :] for line in filled.split("\n")]
        filled = "\n".join(f"{number},{','.join(line)}" for number, line in enumerate(rows))
    try:
        values = np.loadtxt(io.StringIO(filled), delimiter=",", ndmin=2)
    except ValueError as error:
        raise PosegenError(f"{path}: is not a table of numbers ({str(error)[:120]})") from None
    if values.shape[1] != len(columns) + 1:
        raise PosegenError(f"{path}: has {values.shape[1] - 1} columns of numbers, and names of {len(columns)}")
    return columns, values[:, 0], values[:, 1:]


class _Plain(pickle.Unpickler):
    """Unpickles texts, numbers, lists and tuples; anything that could run code is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain data")


def _read_hdf5(path: Path) -> tuple[Columns, np.ndarray, np.ndarray]:
    with open_hdf5(path) as file, hdf5_error(path):
        group = file["df_with_missing"]
        if "table" not in group:
            raise PosegenError(f"{path}: is not a table of DeepLabCut: write it as CSV (save_as_csv=True)")
        axes = _Plain(io.BytesIO(bytes(group.attrs["non_index_axes"]))).load()
        columns = [tuple(map(str, names)) for names in axes[0][1]]
        table = group["table"]
        if len(columns) > _MAX_COLUMNS or any(len(names) not in (3, 4) for names in columns):
            raise PosegenError(f"{path}: its columns are not DeepLabCut's (scorer, bodyparts, coords)")
        check_amount(str(path), len(table), max(1, len(columns) // 3))
        content = table[:]
        blocks = [name for name in content.dtype.names if name.startswith("values_block_")]
        order: list[tuple[str, ...]] = []
        for block in blocks:
            names_in_block = _Plain(io.BytesIO(bytes(table.attrs[f"{block}_kind"]))).load()
            order += [tuple(map(str, names)) for names in names_in_block]
        values = np.concatenate([content[block].reshape(len(content), -1) for block in blocks], axis=1)
        index = content["index"]
        frames = index.astype(float) if index.dtype.kind in "iuf" else np.arange(len(content), dtype=float)
        return order, frames, values.astype(float)


def _motion(columns: Columns, frames: np.ndarray, values: np.ndarray, asked: Asked, path: Path) -> Motion:
    names = list(dict.fromkeys(column[-2] for column in columns))
    individuals = list(dict.fromkeys(column[1] if len(column) == 4 else "" for column in columns))
    if "single" in individuals and len(individuals) > 1:  # parts that belong to nobody
        individuals.remove("single")
    place = {(column[1] if len(column) == 4 else "", *column[-2:]): number for number, column in enumerate(columns)}
    coords = {column[-1] for column in columns}
    axes = ("x", "y", "z") if "z" in coords else ("x", "y")
    if not set(axes) <= coords:
        raise PosegenError(f"{path}: its columns have no x and y")
    rows, count = _rows(frames)
    check_amount(str(path), count, len(names), len(axes))

    def taken(individual: str, coord: str) -> np.ndarray:
        found = np.full((count, len(names)), np.nan)
        for number, name in enumerate(names):
            column = place.get((individual, name, coord))
            if column is not None:
                found[rows, number] = values[:, column]
        return found

    known = np.stack([np.isfinite(taken(each, "x")).any(axis=1) for each in individuals])
    person, notes = asked.choose(known, path)
    individual = individuals[person]
    positions = np.stack([taken(individual, axis) for axis in axes], axis=2).astype(np.float32)
    scores = taken(individual, "likelihood") if "likelihood" in coords else np.ones(positions.shape[:2])
    scores = np.where(np.isfinite(positions).all(axis=2), np.nan_to_num(scores), 0)
    rate, more = asked.rate(None, path)
    return Motion(
        FORM,
        tuple(names),
        positions,
        1 / rate,
        scores=np.clip(scores, 0, 1).astype(np.float32),
        estimated=True,
        people=len(individuals),
        notes=(*notes, *more),
    )


def _rows(frames: np.ndarray) -> tuple[np.ndarray, int]:
    """Return the row of each frame by its number, and how many there are with those that are left out."""
    numbers = np.rint(frames).astype(np.int64)
    if len(numbers) == 0 or numbers[0] < 0 or (np.diff(numbers) <= 0).any() or numbers[-1] > 50 * len(numbers) + 1000:
        return np.arange(len(frames)), len(frames)
    return numbers, int(numbers[-1]) + 1
