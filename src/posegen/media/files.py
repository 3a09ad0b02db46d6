"""Checked input files, and atomic output files: written under another name, then renamed.

The content is read and written elsewhere (`reading`, `writing`, `image`).
"""

import contextlib
import errno
import glob
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from posegen.errors import DiskFullError, OutputError, PosegenError

MAX_KEPT = 64 << 20
"""Bytes of a description that posegen keeps; most have a few thousand."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextlib.contextmanager
def output_errors(target: Path) -> Iterator[None]:
    """Turn an operating system's error inside the block into an `OutputError` that names `target`.

    A full disk, quota or limit becomes a `DiskFullError`.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise DiskFullError(
                f"{target}: the disk is full ({error.strerror}); free some space and run again"
            ) from error
        raise OutputError(f"{target}: cannot be written ({error.strerror or error})") from error


def open_input(path: Path, kind: str) -> BufferedReader:
    """Open a regular file for reading; `kind` names the expected content ("a video"). Never blocks, as a pipe would.

    Raises `PosegenError` for a missing or unreadable file, a folder, a pipe or a device.
    """
    try:
        # without O_NONBLOCK, opening a pipe waits for a writer
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise PosegenError(f"{path}: no such file") from error
    except IsADirectoryError:
        raise PosegenError(f"{path} is a folder, not {kind}") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL character in the path
        raise PosegenError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        if stat.S_ISDIR(mode):
            raise PosegenError(f"{path} is a folder, not {kind}")
        raise PosegenError(f"{path} is a pipe or a device, not {kind} in a file")
    return os.fdopen(descriptor, "rb")


def read_kept(path: Path, max_bytes: int | None = MAX_KEPT) -> bytes:
    """Read a file that posegen wrote. Raises `OSError` if it is missing or cannot be what was written.

    Opening a pipe that was put in its place would wait for ever, and a file larger than `max_bytes` is another one.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "is a folder, a pipe or a device, not a file", str(path))
    if max_bytes is not None and status.st_size > max_bytes:
        raise OSError(errno.EFBIG, f"has {status.st_size:,} bytes, which posegen did not write", str(path))
    return path.read_bytes()


def check_input(path: Path, kind: str) -> None:
    """Raise `PosegenError` unless `path` is a readable file; `kind` names the expected content ("a video")."""
    open_input(path, kind).close()


class AtomicFile:
    """Temporary file for writing `target`: `commit` moves it into place, `discard` removes it.

    A killed process leaves its `.part` file. Missing parent folders are made. `temporary` keeps the target's suffix,
    since encoders choose by it. Raises `OutputError` at once if nothing can be written there.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self.temporary = target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")
        with output_errors(target):
            if target.is_dir():
                raise OutputError(f"{target}: is a folder; give the name of a file")
            target.parent.mkdir(parents=True, exist_ok=True)
            self.temporary.touch(exist_ok=False)  # not tempfile: the result must have the user's usual permissions

    def commit(self) -> None:
        """Put the finished file in the target's place. Raises `OutputError`."""
        with output_errors(self.target):
            os.replace(self.temporary, self.target)

    def discard(self) -> None:
        """Remove what was written."""
        self.temporary.unlink(missing_ok=True)


def write_whole(target: Path, content: bytes) -> None:
    """Write a small file at once or not at all. Raises `OutputError`."""
    file = AtomicFile(target)
    try:
        with output_errors(target):
            file.temporary.write_bytes(content)
        file.commit()
    except BaseException:
        file.discard()
        raise


def remove_leftovers(target: Path) -> None:
    """Remove the `.part` files that killed processes left for `target`. The caller must be the only writer there."""
    for path in target.parent.glob(f".{glob.escape(target.stem)}.????????.part{target.suffix}"):
        path.unlink(missing_ok=True)


def remove_all_leftovers(folder: Path) -> None:
    """Remove the `.part` files that killed processes left in `folder`. The caller must be the only writer there."""
    for path in folder.glob(".*.????????.part*"):
        path.unlink(missing_ok=True)


def check_writable(folder: Path, advice: str = "choose another --output") -> None:
    """Create the folder if necessary and write a byte into it; raises `OutputError`, with advice, if that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".posegen-") as probe:
            probe.write(b"0")
    except OSError as error:
        file = next((path for path in (folder, *folder.parents) if path.is_file()), None)
        reason = f"{file} is a file, not a folder" if file else error.strerror or error
        raise OutputError(f"cannot write into {folder}: {reason}; {advice}") from None


def readable_size(size: float | int) -> str:
    """Format bytes for people: `1.2 GB`, in powers of 1000."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
