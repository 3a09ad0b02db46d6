"""Reads what FreeMoCap writes: the folder of a recording, its arrays of points in space, and tables with named columns.

The arrays carry no names: their files do (mediapipe_body_3d_xyz.npy), and the order is then MediaPipe's. Own code: the
package would install a graphical program to read two arrays. Tables (name_x, name_y, name_z) may come from anywhere.
"""

import csv
import io
import re
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.estimators.layouts import MEDIAPIPE_NAMES
from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, read_text
from posegen.media.files import open_input
from posegen.motion.motion_data import MAX_VALUES, Asked, Motion, check_amount, even_times

FORM = "FreeMoCap"
_MAX_BYTES = 1024 * MEGABYTE
_PARTS = {"body": 33, "right_hand": 21, "left_hand": 21}
_HANDS = {side: tuple(f"{side}_hand_{joint}" for joint in range(21)) for side in ("left", "right")}
_NAMES = {"body": MEDIAPIPE_NAMES, "right_hand": _HANDS["right"], "left_hand": _HANDS["left"]}
_WHOLE = re.compile(r"(mediapipe_skeleton_3d|mediapipeskel_3d_body_hands_face|mediapipe_3d_body_hands_face).*\.npy\Z")
_PART = re.compile(r"(?:mediapipe_)?(body|right_hand|left_hand)_3d_xyz\.npy\Z")
_TIMES = ("timestamp", "time", "seconds", "t")


def is_array(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is an array of NumPy."""
    return head.startswith(b"\x93NUMPY")


def is_named_table(head: bytes) -> bool:
    """Return True for a CSV with columns NAME_x, NAME_y, NAME_z."""
    first = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("latin-1").strip().lower().split(",")
    return sum(name.endswith("_x") for name in first) > 3 and any(name.endswith("_z") for name in first)


def read_freemocap(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a recording's folder, an array or a table. Raises `PosegenError` for arrays with a name of no use."""
    if path.is_dir():
        path = _array_in(path)
    if path.suffix.lower() == ".csv":
        return _read_table(path, asked)
    rate, notes = asked.rate(None, path)
    if _WHOLE.search(path.name.lower()):
        names, points = _split(_load(path), path)
    elif (part := _PART.search(path.name.lower())) is not None:
        names, points = _collect(path, part[1])
    else:
        raise PosegenError(
            f"{path}: an array has no names of joints, and that of the file does not say what it holds: keep "
            "FreeMoCap's names (mediapipe_body_3d_xyz.npy), or write a table with columns left_shoulder_x, ..."
        )
    check_amount(str(path), len(points), len(names))
    return Motion(FORM, names, points.astype(np.float32), 1 / rate, metres=0.001, estimated=True, notes=notes)


def check_recording(folder: Path) -> None:
    """Raise `PosegenError` unless this is the folder of a recording, or its output_data."""
    _array_in(folder)


def _array_in(folder: Path) -> Path:
    for place in (folder / "output_data", folder, folder / "output_data" / "raw_data"):
        files = sorted(place.glob("*.npy")) if place.is_dir() else []
        for pattern in (re.compile(r"(?:mediapipe_)?body_3d_xyz\.npy\Z"), _WHOLE):
            for file in files:
                if pattern.search(file.name.lower()):
                    return file
    raise PosegenError(
        f"{folder}: is a folder without FreeMoCap's mediapipe_body_3d_xyz.npy or mediapipe_skeleton_3d.npy: give a file"
    )


def _load(path: Path) -> np.ndarray:
    """Load an array of numbers (frames, points, 3) without unpickling."""
    with open_input(path, "an array") as stream:
        try:
            version = np.lib.format.read_magic(stream)
            old = version == (1, 0)
            read_header = np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
            shape, _, dtype = read_header(stream)
            if dtype.kind not in "fiu" or len(shape) != 3 or shape[2] not in (3, 4) or np.prod(shape) > MAX_VALUES:
                raise ValueError(f"shape {shape} of {dtype}")
            stream.seek(0)
            values = np.load(stream, allow_pickle=False)
        except (ValueError, EOFError, OSError) as error:
            raise PosegenError(
                f"{path}: expected an array (frames, points, 3) of numbers ({str(error)[:100]})"
            ) from None
    return np.asarray(values[..., :3])


def _split(points: np.ndarray, path: Path) -> tuple[tuple[str, ...], np.ndarray]:
    """Split body, hands and face; the hands are told by the wrists they are at."""
    if points.shape[1] < 75:
        raise PosegenError(f"{path}: has {points.shape[1]} points, fewer than MediaPipe's body and hands")
    body, first, second = points[:, :33], points[:, 33:54], points[:, 54:75]
    left, right = (body[:, MEDIAPIPE_NAMES.index(f"{side}_wrist")] for side in ("left", "right"))

    def apart(hand: np.ndarray, wrist: np.ndarray) -> float:
        away = np.linalg.norm(hand[:, 0] - wrist, axis=1)
        return float(np.median(away[np.isfinite(away)])) if np.isfinite(away).any() else 0.0

    if apart(first, left) + apart(second, right) < apart(first, right) + apart(second, left):
        first, second = second, first
    return (*MEDIAPIPE_NAMES, *_HANDS["right"], *_HANDS["left"]), np.concatenate([body, first, second], axis=1)


def _collect(path: Path, part: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Load the body, and hands from the files beside it."""
    names: tuple[str, ...] = ()
    arrays: list[np.ndarray] = []
    for other, count in _PARTS.items():
        file = path.with_name(re.sub(f"{part}(?=_3d_xyz)", other, path.name))
        if other != "body" and not file.is_file():
            continue
        array = _load(file)
        if array.shape[1] != count or (arrays and len(array) != len(arrays[0])):
            raise PosegenError(f"{file}: has {array.shape[1]} points in {len(array)} frames, not MediaPipe's {count}")
        names += _NAMES[other]
        arrays.append(array)
    return names, np.concatenate(arrays, axis=1)


def _read_table(path: Path, asked: Asked) -> Motion:
    """Read a CSV whose columns are NAME_x, NAME_y, NAME_z; others are times or are skipped."""
    text = read_text(path, "a table", _MAX_BYTES).replace("\r", "").strip("\n")
    first, _, rest = text.partition("\n")
    header = [name.strip() for name in next(csv.reader(io.StringIO(first)))]
    place = {name.lower(): number for number, name in enumerate(header)}
    names = [name[:-2] for name in header if name.lower().endswith("_x") and f"{name[:-2].lower()}_z" in place]
    filled = rest.replace(",,", ",nan,").replace(",,", ",nan,").replace(",\n", ",nan\n").replace("\n,", "\nnan,")
    filled += "nan" if filled.endswith(",") else ""
    columns = [place[f"{name.lower()}_{axis}"] for name in names for axis in "xyz"]
    clock = next((place[name] for name in place if any(word in name for word in _TIMES) and name[-2:-1] != "_"), None)
    used = columns if clock is None else [clock, *columns]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            values = np.loadtxt(io.StringIO(filled), delimiter=",", usecols=used, ndmin=2)
    except (ValueError, UserWarning) as error:
        raise PosegenError(f"{path}: is not a table of numbers ({str(error)[:120]})") from None
    points = values[:, -len(columns) :].reshape(len(values), len(names), 3).astype(np.float32)
    check_amount(str(path), len(points), len(names))
    stated: Fraction | None = None
    notes: tuple[str, ...] = ()
    if clock is not None and len(values) > 1:
        stated, (points,), notes = even_times(values[:, 0], points)
    rate, more = asked.rate(stated, path)
    return Motion(FORM, tuple(names), points, 1 / rate, estimated=True, notes=(*notes, *more))
