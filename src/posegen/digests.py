"""SHA-256 of files, streamed; within one process an unchanged file is read once."""

import contextlib
import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

_RESOLUTION = 20_000_000
"""Nanoseconds. File systems round times: a file written more recently may change again within the same tick."""


class DiskState(NamedTuple):
    """File metadata that changes whenever the content does."""

    device: int
    inode: int
    size: int
    modified: int
    changed: int

    @classmethod
    def of(cls, status: os.stat_result) -> "DiskState":
        """Build the state from a result of `stat`."""
        return cls(status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """True if the last change is old enough that a further one would alter the times."""
        return time.time_ns() - max(self.modified, self.changed) > _RESOLUTION


_known: dict[tuple[tuple[str, DiskState], ...], str] = {}


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal. Raises `OSError`."""
    return joined_digest([path])


def joined_digest(paths: Sequence[Path]) -> str:
    """Return the SHA-256 of the concatenated contents of several files, in hexadecimal. Raises `OSError`."""
    with contextlib.ExitStack() as opened:
        files = [opened.enter_context(path.open("rb")) for path in paths]
        states = [DiskState.of(os.fstat(file.fileno())) for file in files]
        key = tuple((str(path), state) for path, state in zip(paths, states, strict=True))
        if key in _known:
            return _known[key]
        digest = hashlib.sha256()
        for file in files:
            hashlib.file_digest(file, lambda: digest)
        if all(state.is_settled for state in states):
            _known[key] = digest.hexdigest()
        return digest.hexdigest()


def content_digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files in a folder and their names. Raises `OSError`."""
    if not path.is_dir():
        return file_digest(path)
    parts = [f"{file.relative_to(path)} {file_digest(file)}" for file in sorted(path.rglob("*")) if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
