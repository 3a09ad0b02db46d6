"""Digests the contents of a model folder, so that the same weights are the same model in any place.

Every byte is read, because one changed weight makes another model. The digest of a large file is cached in posegen's
cache folder by the state of the file (device, inode, size, times), so that only the first use of a model waits for it.
Names that start with a dot and `.md` files are ignored: models do not read them, and systems and downloads add them.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from posegen.cache_folder import cache_folder
from posegen.digests import DiskState, file_digest
from posegen.errors import PosegenError, logger
from posegen.media.files import read_kept, readable_size, write_whole

KEPT_FROM = 64_000_000
"""Minimum size in bytes of a file whose digest is cached on disk: smaller ones are read in a tenth of a second."""
REPORTED_FROM = 4_000_000_000
"""Minimum bytes to read for which a line is logged."""
_READERS = 4
_HEXADECIMAL = 64


def folder_digest(folder: Path, ignored: tuple[str, ...] = ()) -> str:
    """Return the SHA-256 of the relative names and contents of a folder's files, in hexadecimal.

    It does not change if the folder is copied, touched or moved. `ignored`: names of files to leave out. Raises
    `PosegenError` for a file that cannot be read.
    """
    files = {path.relative_to(folder).as_posix(): path for path in _files(folder) if path.name not in ignored}
    try:
        states = {name: DiskState.of(path.stat()) for name, path in files.items()}
        unread = sum(state.size for state in states.values() if _kept_digest(state) is None)
        if unread >= REPORTED_FROM:
            logger.info("%s: reading %s once to identify the model by its contents", folder, readable_size(unread))
        with ThreadPoolExecutor(_READERS) as readers:
            digests = dict(zip(files, readers.map(_digest, files.values(), states.values()), strict=True))
    except OSError as error:
        raise PosegenError(f"{error.filename or folder}: cannot be read ({error.strerror or error})") from error
    lines = (f"{name} {digest}" for name, digest in sorted(digests.items()))
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _files(folder: Path) -> Iterator[Path]:
    """Yield all files, following links to folders: parts that several models share are often linked."""
    for root, folders, names in os.walk(folder, followlinks=True):
        here = Path(root).resolve()
        shown = [name for name in folders if not name.startswith(".")]
        folders[:] = [
            name for name in shown if not here.is_relative_to((here / name).resolve())
        ]  # otherwise the walk would never end
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.suffix != ".md" and path.is_file():
                yield path


def _digest(path: Path, state: DiskState) -> str:
    kept = _kept_digest(state)
    if kept is not None:
        return kept
    digest = file_digest(path)
    unchanged = DiskState.of(path.stat()) == state and state.is_settled
    if state.size >= KEPT_FROM and unchanged:
        with contextlib.suppress(PosegenError):  # without the note, the next process reads the file again
            write_whole(_note(state), digest.encode())
    return digest


def _kept_digest(state: DiskState) -> str | None:
    """Return the cached digest of a file in this state, if any."""
    if state.size < KEPT_FROM:
        return None
    try:
        digest = read_kept(_note(state)).decode("ascii", "replace").strip()
    except OSError:
        return None
    return digest if len(digest) == _HEXADECIMAL else None


def _note(state: DiskState) -> Path:
    return cache_folder() / "digests" / "-".join(f"{number:x}" for number in state)
