"""Fetches shards from any URL that fsspec knows, each when it is needed, and checks them.

The index beside the shards (`SPLIT.json`, as `posegen synth` and `posegen prepare` write it) lists their names,
sizes and hashes: no server has to list anything. Files in the local folder are named by hash, appear whole or not at
all, and are removed, the oldest first, when there are too many. `shards.py` reads their content.
"""

import contextlib
import hashlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from posegen.errors import OutputError, PosegenError, logger
from posegen.media.data_files import parse_json
from posegen.media.files import output_errors

_NAME = re.compile(r"[\w-][\w. -]{0,199}")
"""Names of shards: without folders, and without characters that are special in URLs or file systems."""
_SHA256 = re.compile(r"[0-9a-f]{64}")
_LARGEST_INDEX = 32 << 20
"""Bytes: more than a hundred thousand shards."""
_PIECE = 4 << 20
"""Bytes read at a time."""
_ATTEMPTS = 4
"""Number of tries of a connection that breaks off; each resumes where the one before ended."""
_PATIENCE = 60
"""Seconds without a byte after which a connection counts as broken."""
_ABANDONED = 24 * 3600
"""Seconds after which a partly fetched shard may be removed."""


class UnreachableURLError(PosegenError):
    """A store does not answer: unlike a damaged shard, this stops a training."""


def filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path in it.

    Its cached listings are dropped: other processes write, too. Raises `PosegenError` for an unknown kind of URL, or a
    missing package.
    """
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise PosegenError(f"{url}: {error}") from error
    system.invalidate_cache()
    return system, path


def one_line(error: BaseException) -> str:
    """Return the beginning of an error's text in one line; libraries often write several."""
    return " ".join(str(error).split())[:200]


def open_at(url: str, start: int = 0) -> tuple[Any, int]:
    """Open a URL at byte `start`; give the stream, and where it really begins: 0 where only whole files are given.

    Raises what the file system raises.
    """
    system, path = filesystem(url)
    if "http" not in system.protocol:
        stream = system.open(path, "rb")
        stream.seek(start)
        return stream, start
    import aiohttp

    # one request for the whole: fsspec's own blocks need servers that know ranges; `size` saves it from asking for it
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    patience = aiohttp.ClientTimeout(total=None, sock_connect=_PATIENCE, sock_read=_PATIENCE)
    stream = system.open(path, "rb", block_size=0, size=1, headers=headers, timeout=patience)
    return stream, start if stream.r.status == 206 else 0


def read_small(url: str, most_bytes: int) -> bytes:
    """Read a small file at a URL. Raises `PosegenError` if it is larger, and what the file system raises."""
    stream, _ = open_at(url)
    with stream:
        content = bytearray()
        for piece in read_pieces(stream):
            content += piece
            if len(content) > most_bytes:
                raise PosegenError(f"{url}: is larger than {most_bytes / 1e6:.0f} MB")
    return bytes(content)


def read_pieces(stream: Any) -> Iterator[bytes]:
    """Yield the rest of a stream in pieces.

    Raises `UnreachableURLError` where reading breaks off, so that an OSError in the caller is one of its own disk.
    """
    while True:
        try:
            piece = bytes(stream.read(_PIECE))
        except Exception as error:  # every file system has its own errors
            raise UnreachableURLError(f"reading broke off ({one_line(error)})") from error
        if not piece:
            return
        yield piece


@dataclass(frozen=True)
class RemoteFolder:
    """A folder of shards at a URL, with a local folder that keeps up to `most_bytes` of them."""

    url: str
    cache: Path
    most_bytes: float = 200e9

    def __str__(self) -> str:
        return self.url

    def shards(self, split: str) -> "list[RemoteShard]":
        """Return the shards of a split in order of their names, by its index; nothing else is fetched.

        Raises `PosegenError` without an index, or for one that cannot be used; `UnreachableURLError`.
        """
        url = f"{self.url.rstrip('/')}/{split}.json"
        try:
            content = read_small(url, _LARGEST_INDEX)
            index = parse_json(content, url, "an index of shards", max_memory=8 * _LARGEST_INDEX)
            found = [
                RemoteShard(self, str(entry["file"]), str(entry["sha256"]), int(entry["bytes"]))
                for entry in index["shards"]
            ]
        except FileNotFoundError:
            raise PosegenError(
                f"{url} is not there: shards at a URL need the index that `posegen synth` and `posegen prepare` write"
            ) from None
        except PosegenError:
            raise
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise PosegenError(f"{url} is not an index of shards with sizes and hashes ({error!r})") from error
        except Exception as error:  # every file system has its own errors
            raise UnreachableURLError(
                f"{url}: cannot be reached ({type(error).__name__}: {one_line(error)})"
            ) from error
        if not index.get("complete", True) or not found:
            raise PosegenError(f"{url}: these shards are still being made, or there are none")
        for shard in found:  # before names and hashes become paths
            if not _NAME.fullmatch(shard.name):
                raise PosegenError(f"{url}: {shard.name[:100]!r} is no name of a shard")
            if not _SHA256.fullmatch(shard.sha256):
                raise PosegenError(f"{url}: {shard.sha256[:100]!r} is no SHA-256 of a shard")
            if shard.size < 0:
                raise PosegenError(f"{url}: {shard.name} cannot have {shard.size} bytes")
        size = sum(shard.size for shard in found)
        if size > self.most_bytes:
            logger.warning(
                "%s: the shards %s-* have %.3g GB, of which %.3g GB are kept in %s: some will be fetched again ([data] "
                "fetched_gb)",
                self.url,
                split,
                size / 1e9,
                self.most_bytes / 1e9,
                self.cache,
            )
        return sorted(found, key=lambda shard: shard.name)

    def make_room(self, size: int) -> None:
        """Remove the oldest shards until one of `size` bytes fits. Raises `PosegenError` if it never will."""
        if size > self.most_bytes:
            raise PosegenError(
                f"a shard of {size / 1e9:.3g} GB does not fit into {self.most_bytes / 1e9:.3g} GB: raise [data] "
                "fetched_gb in the recipe"
            )
        with FileLock(self.cache / ".room.lock"):
            kept = []
            for path in (*self.cache.glob("*.tar"), *(self.cache.glob("*.part") if size else ())):
                with contextlib.suppress(FileNotFoundError):  # another process has finished it
                    status = path.stat()
                    kept.append((status.st_mtime, status.st_size, path))
            room = self.most_bytes - size - sum(size for _, size, _ in kept)
            for age, bytes_freed, path in sorted(kept):
                if room >= 0:
                    break
                if path.suffix == ".part" and time.time() - age < _ABANDONED:
                    continue
                path.unlink(missing_ok=True)
                room += bytes_freed


@dataclass(frozen=True)
class RemoteShard:
    """One shard by its entry in the index."""

    folder: RemoteFolder
    name: str
    sha256: str
    size: int

    @property
    def path(self) -> Path:
        """Path of the fetched file."""
        return self.folder.cache / f"{Path(self.name).stem}.{self.sha256[:32]}.tar"

    def fetch(self) -> Path:
        """Fetch it unless it is there. It may be removed again as soon as others are fetched.

        Raises `PosegenError` where it is missing or not what the index says, `UnreachableURLError`, `OutputError`.
        """
        if self.path.exists():
            return self.path
        with output_errors(self.path):
            self.folder.cache.mkdir(parents=True, exist_ok=True)
        with FileLock(self.path.with_suffix(".lock")):
            for attempt in range(_ATTEMPTS):
                if self.path.exists():
                    break
                self.folder.make_room(self.size)
                try:
                    self._fetch(self.path.with_suffix(".part"))
                except UnreachableURLError as error:
                    if attempt == _ATTEMPTS - 1:
                        raise UnreachableURLError(f"{self._url}: {error}") from error
                    time.sleep(0.5 * 4**attempt)
        return self.path

    @property
    def _url(self) -> str:
        return f"{self.folder.url.rstrip('/')}/{self.name}"

    def _fetch(self, partial: Path) -> None:
        """Fetch the rest of a shard, check it, and move it to its place."""
        before = partial.stat().st_size if partial.exists() else 0
        try:
            if before < self.size:
                stream, before = open_at(self._url, before)
                with stream, output_errors(partial), partial.open("r+b" if partial.exists() else "wb") as out:
                    out.truncate(before)
                    out.seek(before)
                    for piece in read_pieces(stream):
                        out.write(piece)
                        if out.tell() > self.size:  # another file, which may have no end
                            break
        except FileNotFoundError:
            raise PosegenError("missing") from None
        except (PosegenError, OutputError):
            raise
        except Exception as error:  # every file system has its own errors
            raise UnreachableURLError(f"cannot be fetched ({type(error).__name__}: {one_line(error)})") from error
        size = partial.stat().st_size
        if size < self.size:
            raise UnreachableURLError(f"ended after {size} of {self.size} bytes")
        if size > self.size or not has_hash(partial, self.sha256):
            partial.unlink()
            if before:  # a server that does not know ranges, or another file under the old name: once more, whole
                raise UnreachableURLError("what was fetched before does not go with the rest")
            raise PosegenError("damaged: its hash is not the index's")
        with output_errors(self.path):
            partial.replace(self.path)
        self.folder.make_room(0)  # others may have fetched, too


def has_hash(path: Path, sha256: str) -> bool:
    """Return whether a file's bytes have this SHA-256."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == sha256
