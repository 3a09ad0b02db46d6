"""SHA-256 of files, streamed; a file that has not changed since is not read a second time in one process."""

import hashlib
import os
import time
from pathlib import Path

_RESOLUTION = 20_000_000
"""Nanoseconds: file systems round times. A file written so shortly before may be written again within the same tick."""
_known: dict[tuple[str, int, int, int, int, int], str] = {}


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal. Raises `OSError`."""
    with path.open("rb") as file:
        status = os.fstat(file.fileno())
        state = (str(path), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if state in _known:
            return _known[state]
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _RESOLUTION:
            _known[state] = digest
        return digest


def content_digest(path: Path) -> str:
    """SHA-256 of a file, or of all files of a folder with their names. Raises `OSError`."""
    if not path.is_dir():
        return file_digest(path)
    parts = [f"{file.relative_to(path)} {file_digest(file)}" for file in sorted(path.rglob("*")) if file.is_file()]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
