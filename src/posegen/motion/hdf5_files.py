"""Opens HDF5 files and tells DeepLabCut's and SLEAP's apart. Needs h5py, from the extra `motion`."""

import contextlib
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from posegen.errors import PosegenError
from posegen.extras import require_extra
from posegen.media.files import check_input

_DAMAGES = (
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
    RuntimeError,
    EOFError,
    pickle.UnpicklingError,
)
"""Errors that h5py raises for damaged content."""
SIGNATURE = b"\x89HDF\r\n\x1a\n"


def is_hdf5(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is HDF5."""
    return head.startswith(SIGNATURE)


@contextlib.contextmanager
def open_hdf5(path: Path) -> Iterator[Any]:
    """Open a file for reading; links to other files are not followed by the readers. Raises `PosegenError`."""
    require_extra("motion", f"reading {path.name}")
    import h5py

    check_input(path, "an HDF5 file")
    try:
        file = h5py.File(path, "r")
    except OSError as error:
        raise PosegenError(f"{path}: is not an HDF5 file that can be read ({str(error)[:100]})") from None
    with file:
        yield file


@contextlib.contextmanager
def hdf5_error(path: Path) -> Iterator[None]:
    """Turn errors of damaged content inside the block into a `PosegenError`."""
    try:
        yield
    except PosegenError:
        raise
    except _DAMAGES as error:
        raise PosegenError(f"{path}: its content is damaged or another program's ({error!r:.120})") from None
