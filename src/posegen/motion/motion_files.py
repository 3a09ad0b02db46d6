"""Finds the reader of a motion file by its content, and its name where the content does not tell.

To add a format: a file with a function that recognises it and one that reads it, and a row in `READERS`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from posegen.errors import PosegenError
from posegen.media.files import open_input
from posegen.motion import (
    bvh,
    c3d,
    deeplabcut,
    freemocap,
    gltf,
    hdf5_files,
    mediapipe_landmarks,
    pose_files,
    sleap,
    trc,
    vmd,
)
from posegen.motion.motion_data import Asked, Motion

_HEAD = 65536


@dataclass(frozen=True)
class Reader:
    """A format: its name, suffixes, how its beginning is recognised, and how it is read."""

    name: str
    suffixes: tuple[str, ...]
    is_one: Callable[[bytes], bool]
    read: Callable[[Path, Asked], Motion]


def _read_hdf5(path: Path, asked: Asked) -> Motion:
    """Read HDF5 of DeepLabCut or SLEAP. Raises `PosegenError` for that of others."""
    with hdf5_files.open_hdf5(path) as file:
        is_table, is_sleap = deeplabcut.is_deeplabcut_table(file), sleap.is_sleap(file)
    if is_table:
        return deeplabcut.read_deeplabcut(path, asked)
    if is_sleap:
        return sleap.read_sleap(path, asked)
    raise PosegenError(f"{path}: this HDF5 file is neither DeepLabCut's nor SLEAP's")


def _is_freemocap(head: bytes) -> bool:
    return freemocap.is_array(head) or freemocap.is_named_table(head)


READERS: tuple[Reader, ...] = (
    Reader(bvh.FORM, (".bvh",), bvh.is_bvh, bvh.read_bvh),
    Reader(gltf.FORM, (".glb", ".gltf", ".vrm", ".vrma"), gltf.is_gltf, gltf.read_gltf),
    Reader(
        mediapipe_landmarks.FORM,
        (".json", ".csv"),
        mediapipe_landmarks.is_mediapipe,
        mediapipe_landmarks.read_mediapipe,
    ),
    Reader(c3d.FORM, (".c3d",), c3d.is_c3d, c3d.read_c3d),
    Reader(trc.FORM, (".trc",), trc.is_trc, trc.read_trc),
    Reader(deeplabcut.FORM, (".csv", ".h5"), deeplabcut.is_deeplabcut, deeplabcut.read_deeplabcut),
    Reader(sleap.FORM, (".slp", ".h5"), hdf5_files.is_hdf5, _read_hdf5),
    Reader(freemocap.FORM, (".npy", ".csv"), _is_freemocap, freemocap.read_freemocap),
    Reader(vmd.FORM, (".vmd",), vmd.is_vmd, vmd.read_vmd),
    Reader(pose_files.FORM, (".pose",), pose_files.is_pose, pose_files.read_pose),
)
KNOWN = ", ".join(reader.name for reader in READERS)


def read_motion(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a motion file of any known format.

    Raises `PosegenError` for files of other kinds, damaged ones, and those that hold no motion of a person.
    """
    if not path.exists():
        raise PosegenError(f"{path}: there is no such motion file")
    reader = _reader_of(path)
    return reader.read(path, asked)


def _reader_of(path: Path) -> Reader:
    if path.is_dir():
        freemocap.check_recording(path)
        return next(reader for reader in READERS if reader.name == freemocap.FORM)
    with open_input(path, "a motion file") as stream:
        head = stream.read(_HEAD)
    for reader in READERS:
        if reader.is_one(head):
            return reader
    if path.suffix.lower() == ".json" and head.lstrip()[:1] in (b"[", b"{"):  # landmarks may come late in a file
        return next(reader for reader in READERS if reader.name == mediapipe_landmarks.FORM)
    for reader in READERS:
        if path.suffix.lower() in reader.suffixes:
            raise PosegenError(
                f"{path}: is named like {reader.name}, but its content is not: it is damaged or another file"
            )
    raise PosegenError(f"{path}: not a motion file that can be read; known are {KNOWN} (others: export BVH or glTF)")


def looks_like_motion(path: Path) -> str | None:
    """Return the format of a file that is motion, without reading all of it; None for other files."""
    try:
        return _reader_of(path).name
    except PosegenError:
        return None
