"""Finds videos: files, folders, globs, lists and URLs -> sources in one order, each with a name of its own.

Local names are never read as patterns where such a file exists, nor as URLs without `://`. Nothing is opened here
except lists. A source's identifier depends on its place and on its size and time (or entity tag).
"""

import contextlib
import glob
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posegen.data.fetching import filesystem, one_line, open_at, read_pieces, read_small
from posegen.errors import OutputError, PosegenError
from posegen.media.data_files import decode_text, parse_json, read_bytes
from posegen.media.files import output_errors

SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".mkv",
        ".webm",
        ".avi",
        ".ts",
        ".m2ts",
        ".mts",
        ".mpg",
        ".mpeg",
        ".flv",
        ".ogv",
        ".wmv",
        ".3gp",
        ".mxf",
        ".y4m",
        ".gif",
        ".dv",
    ]
)
"""Suffixes of videos in folders; a file that is named, or matches a glob, is taken whatever its suffix."""
_LISTS = (".txt", ".json")
_LARGEST_LIST = 64 << 20
"""Maximum bytes of a list at a URL."""
_MOST_ENTRIES = 1_000_000
_LONGEST_NAME = 4096
"""Characters of a path or an address, as most file systems and servers have it."""


@dataclass(frozen=True, order=True)
class Video:
    """One video: a path or URL, and a text that changes when its content does."""

    url: str
    state: str

    @property
    def id(self) -> str:
        """Identifier: twelve hexadecimal digits."""
        return hashlib.sha256(f"{self.url}\0{self.state}".encode("utf-8", "surrogateescape")).hexdigest()[:12]

    @property
    def is_local(self) -> bool:
        """True for a file of this machine (or of a file system that all machines share)."""
        return "://" not in self.url


def find_videos(inputs: Iterable[str]) -> list[Video]:
    """Return all videos of the inputs, each once, in order of their names.

    An input is a file, a folder (searched through), a glob, a URL that fsspec knows, or a list: a .txt with one a
    line (# for remarks), or a .json with an array, relative to its own place, which may be a URL. Raises
    `PosegenError` for an input that is not there, cannot be reached, or holds no video; entries of lists that are not
    there fail later, by themselves.
    """
    videos: set[Video] = set()
    for text in inputs:
        found = set(_remote(text)) if "://" in text else set(_local(text))
        if not found:
            raise PosegenError(f"{text}: no video is there (looked for {', '.join(sorted(SUFFIXES))})")
        videos |= found
    return sorted(videos)


def _local(text: str) -> Iterator[Video]:
    path = Path(text)
    try:
        if path.is_dir():
            for folder, folders, names in os.walk(path, onerror=_raise):
                folders.sort()
                yield from (_video(Path(folder, name)) for name in names if Path(name).suffix.lower() in SUFFIXES)
        elif path.is_file():
            if path.suffix.lower() in _LISTS:
                yield from _listed(path)
            else:
                yield _video(path)
        elif glob.has_magic(text):
            yield from (_video(Path(name)) for name in glob.glob(text, recursive=True) if os.path.isfile(name))
        else:
            raise PosegenError(f"{text}: no such file, folder or pattern")
    except OSError as error:
        raise PosegenError(f"{error.filename or text}: cannot be read ({error.strerror})") from error


def _raise(error: OSError) -> None:
    raise error


def _video(path: Path) -> Video:
    path = Path(os.path.abspath(path))
    try:
        status = path.stat()
    except OSError:
        return Video(str(path), "missing")
    return Video(str(path), f"{status.st_size} {status.st_mtime_ns}")


def _listed(path: Path) -> Iterator[Video]:
    for entry in _entries(str(path), read_bytes(path, "a list of videos", _LARGEST_LIST)):
        yield from _remote_entry(entry) if "://" in entry else [_video(path.parent / entry)]


def _listed_remotely(url: str, content: bytes) -> Iterator[Video]:
    """Entries without a host are beside the list or below it; others are of the same kind of URL as the list is.

    Whoever wrote the list is a stranger: with another kind of URL it could name files of this machine.
    """
    scheme, folder = url.partition("://")[0].lower(), url.partition("?")[0].rpartition("/")[0]
    allowed = {"http", "https"} if scheme in ("http", "https") else {scheme}
    for entry in _entries(url, content):
        if "://" in entry or "::" in entry:
            if entry.partition("://")[0].lower() not in allowed or "::" in entry:
                raise PosegenError(f"{url}: may name {' and '.join(sorted(allowed))} addresses, not {entry[:200]}")
        elif entry.startswith(("/", "\\")) or ".." in re.split(r"[/\\]|%2f|%5c", entry.replace("%2e", "."), flags=re.I):
            raise PosegenError(f"{url}: may name what is beside it or below, not {entry[:200]}")
        yield from _remote_entry(entry if "://" in entry else f"{folder}/{entry}")


def _entries(name: str, content: bytes) -> list[str]:
    """Return the entries of a list. Raises `PosegenError` for what cannot be a list of names."""
    if name.lower().endswith(".json"):
        entries = parse_json(content, name, "a list of videos in JSON")
        if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
            raise PosegenError(f"{name} is not a list of videos: an array of names was expected")
    else:
        _check_number(name, content.count(b"\n") + content.count(b"\r"))
        lines = [line.strip() for line in re.split(r"[\r\n]+", decode_text(content, name, "a list of videos"))]
        entries = [line for line in lines if line and not line.startswith("#")]
    _check_number(name, len(entries))
    long = next((entry for entry in entries if len(entry) > _LONGEST_NAME), None)
    if long is not None:
        raise PosegenError(f"{name} is not a list of videos: {long[:40]}... has {len(long):,} characters")
    return entries


def _check_number(name: str, count: int) -> None:
    if count > _MOST_ENTRIES:
        raise PosegenError(f"{name} has {count:,} lines or names; at most {_MOST_ENTRIES:,} are read: split it")


def _remote_entry(url: str) -> Iterator[Video]:
    """Return the videos of a URL in a list; it may turn out later that it is missing. Lists do not name lists."""
    try:
        yield from _remote(url, may_be_list=False)
    except PosegenError:
        yield Video(url, "missing")


def _remote(url: str, may_be_list: bool = True) -> Iterator[Video]:
    system, path = filesystem(url)
    try:
        if may_be_list and Path(path).suffix.lower() in _LISTS and not glob.has_magic(path):
            yield from _listed_remotely(url, read_small(url, _LARGEST_LIST))
            return
        if glob.has_magic(path):
            found: dict[str, Any] = system.glob(path, detail=True)
        elif system.isdir(path) and not Path(path).suffix:
            every = system.find(path, detail=True).items()
            found = {name: info for name, info in every if Path(name).suffix.lower() in SUFFIXES}
        else:
            found = {path: system.info(path)}
    except PosegenError:
        raise
    except Exception as error:  # every file system has its own errors
        raise PosegenError(f"{url}: cannot be reached ({type(error).__name__}: {one_line(error)})") from error
    for name, info in found.items():
        if info.get("type") != "directory":
            tag = next((str(info[key]) for key in ("ETag", "etag", "mtime", "LastModified") if info.get(key)), "")
            yield Video(system.unstrip_protocol(name), f"{info.get('size')} {tag}")


@contextlib.contextmanager
def local_copy(video: Video, most_bytes: float) -> Iterator[Path]:
    """Provide the video as a local file; a remote one is fetched into a temporary folder, which is removed afterwards.

    Raises `PosegenError` where it cannot be reached or is larger than `most_bytes`, `OutputError` for a full disk.
    """
    if video.is_local:
        yield Path(video.url)
        return
    system, path = filesystem(video.url)
    with tempfile.TemporaryDirectory(prefix="posegen-fetch-") as folder:
        target = Path(folder, "video" + Path(path).suffix)
        try:
            size = system.info(path).get("size") or 0
            if size > most_bytes:
                raise PosegenError(f"{video.url}: {size / 1e9:.1f} GB are more than [compute] scratch_gb allows")
            with open_at(video.url)[0] as stream, output_errors(target), target.open("wb") as out:
                for piece in read_pieces(stream):
                    out.write(piece)
                    if out.tell() > most_bytes:
                        raise PosegenError(f"{video.url}: is larger than [compute] scratch_gb allows")
        except (PosegenError, OutputError):
            raise
        except Exception as error:
            raise PosegenError(f"{video.url}: cannot be fetched ({type(error).__name__}: {one_line(error)})") from error
        yield target
