"""A folder on any file system that fsspec knows, in which files appear whole or not at all.

Local files are written beside their place and renamed; object stores show an object when it is complete. The meaning
of files is not known here.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from posegen.data.fetching import filesystem
from posegen.errors import OutputError
from posegen.media.checksums import DamagedFileError, checked_json, read_checked_json
from posegen.media.files import AtomicFile, output_errors, read_kept, write_whole

_NAME = "kept as"
"""Key of a file's own name."""
_AT_ONCE = 16
"""Files read at once from a store: most of the time is waiting."""

_OBJECT_STORES = frozenset({"s3", "gs", "abfs", "az", "oci"})
"""Stores without folders: a missing bucket is a wrong name, and is not created."""


_damaged: list[str] = []


def parsed(content: bytes | None, name: str) -> Any:
    """Parse a file of `Store.write_json`; None for None, and for a damaged or exchanged one, whose name is noted."""
    try:
        if content is None:
            return None
        kept = read_checked_json(content, name, required=True)
        own = kept.pop(_NAME, None)
        if own not in (None, Path(name).name):  # files of earlier versions do not say their names
            raise DamagedFileError(f"{name}: holds what belongs to {own}")
        return kept
    except DamagedFileError as error:
        _damaged.append(str(error))
        return None


def note_damaged(line: str) -> None:
    """Note a line about a damaged file, to be reported by the process that the user started."""
    _damaged.append(line)


def take_damaged() -> list[str]:
    """Return the lines noted in this process since the last call."""
    found = list(dict.fromkeys(_damaged))
    _damaged.clear()
    return found


class Store:
    """A local folder, or one by URL; picklable. Errors of writing are `OutputError`s."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/") if "://" in url else str(Path(url).absolute())
        self.is_local = "://" not in self.url

    def __truediv__(self, name: str) -> "Store":
        """Return a folder in it."""
        return Store(f"{self.url}/{name}")

    def path(self, name: str) -> str:
        """Return the path or URL of a file."""
        return f"{self.url}/{name}"

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if it is not there."""
        try:
            if self.is_local:
                return read_kept(Path(self.path(name)), max_bytes=None)  # samples and latents are among them
            system, path = filesystem(self.path(name))
            return bytes(system.cat_file(path))
        except FileNotFoundError:
            return None
        except Exception as error:
            raise OutputError(f"{self.path(name)}: cannot be read ({error})") from error

    def read_many(self, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
        """Yield (name, content) in order of the names, read ahead, a few at once; None for a missing file."""
        from itertools import islice

        names = iter(names)
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            while batch := list(islice(names, 4 * _AT_ONCE)):
                yield from zip(batch, threads.map(self.read, batch), strict=True)

    def write_json(self, name: str, content: dict[str, Any]) -> None:
        """Write JSON with a checksum and the file's own name, so that files which are exchanged are noticed."""
        self.write(name, checked_json({**content, _NAME: Path(name).name}, indent=None))

    def write(self, name: str, content: bytes) -> None:
        """Write a file, whole or not at all."""
        if self.is_local:
            write_whole(Path(self.path(name)), content)
            return
        self._remotely(name, lambda system, path: system.pipe_file(path, content))

    def put(self, local: Path, name: str) -> None:
        """Move a finished local file to its place."""
        if not self.is_local:
            self._remotely(name, lambda system, path: system.put_file(str(local), path))
            local.unlink()
            return
        file = AtomicFile(Path(self.path(name)))
        try:
            with output_errors(file.target):
                shutil.move(local, file.temporary)
            file.commit()
        except BaseException:
            file.discard()
            raise

    def size(self, name: str) -> int | None:
        """Return the bytes of a file; None if it is not there."""
        try:
            if self.is_local:
                return Path(self.path(name)).stat().st_size
            system, path = filesystem(self.path(name))
            return int(system.size(path))
        except FileNotFoundError:
            return None

    def names(self, pattern: str) -> list[str]:
        """Return the sorted names of the files that match a pattern, without folders."""
        if self.is_local:
            return sorted(path.name for path in Path(self.url).glob(pattern))
        system, path = filesystem(self.path(pattern))
        try:
            return sorted(Path(found).name for found in system.glob(path))
        except Exception as error:
            raise OutputError(f"{self.url}: cannot be read ({type(error).__name__}: {error})") from error

    def delete(self, name: str) -> None:
        """Remove a file, if it is there."""
        if self.is_local:
            with output_errors(Path(self.path(name))):
                Path(self.path(name)).unlink(missing_ok=True)
            return
        system, path = filesystem(self.path(name))
        if system.exists(path):
            system.rm_file(path)

    def _remotely(self, name: str, write: Any) -> None:
        system, path = filesystem(self.path(name))
        try:
            protocols = {system.protocol} if isinstance(system.protocol, str) else {*system.protocol}
            if not protocols & _OBJECT_STORES:
                system.makedirs(path.rpartition("/")[0], exist_ok=True)
            write(system, path)
        except Exception as error:
            raise OutputError(f"{self.path(name)}: cannot be written ({type(error).__name__}: {error})") from error


def read_sample(samples: Store, key: str, sha256: str) -> bytes:
    """Read a finished sample. Raises `OutputError` for a missing or damaged one, which the next run makes again."""
    content = samples.read(f"{key}.tar")
    if content is None or hashlib.sha256(content).hexdigest() != sha256:
        samples.delete(f"{key}.json")
        raise OutputError(f"{samples.path(key)}.tar is missing or damaged: the same command makes it again")
    return content
