"""Reads folders of WebDataset tar shards by random access: the list of clips, and the parts of one clip.

A folder may be a URL (`fetching.RemoteFolder`): a shard is then fetched once to list its content, which is kept
beside it, and again only if it was removed to make room for others.

A shard that is empty, damaged or does not match its index is left out, named and counted; more than one in a hundred is
an error. Clips too short for a segment are treated alike. `clips.py` reads a clip's arrays. Any program may write
shards if each sample has a `.json` (with "num_frames", "height", "width"), an `.npz` and a `.txt`.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from posegen.data.fetching import RemoteFolder, RemoteShard, UnreachableURLError, has_hash
from posegen.data.tar_files import tar_files
from posegen.errors import OutputError, PosegenError, logger
from posegen.media.checksums import DamagedFileError, checked_json, read_checked_json
from posegen.media.data_files import parse_json, read_json
from posegen.media.files import open_input, read_kept, write_whole
from posegen.media.probing import MAX_SIDE

PARTS = ("json", "npz", "txt")
TOLERATED = 0.01
"""Share of bad shards, or of clips that are too short, above which training refuses to start."""
_LONGEST = {"json": 4 << 20, "txt": 1 << 16}
"""Bytes of a sample's description, and of its caption."""
_MOST_FRAMES = 10_000_000
_ATTEMPTS = 5
"""Number of tries to open a fetched shard: others may remove it to make room just before it is opened."""
_AT_ONCE = 4
"""Shards fetched at once; they are returned in order of name."""


class NoShardsError(PosegenError):
    """A local folder holds no shards of a split, or is missing."""


@dataclass(frozen=True)
class Part:
    """Position of a file inside a shard, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class Sample:
    """One clip of a shard."""

    shard: Path
    key: str
    parts: dict[str, Part]
    description: dict[str, Any]
    remote: RemoteShard | None = None
    """Source of the shard, if it is fetched when it is needed."""

    @property
    def num_frames(self) -> int:
        """Number of frames of the clip."""
        return int(self.description["num_frames"])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.description["height"]), int(self.description["width"])

    def read(self, part: str) -> bytes:
        """Return the bytes of one part. Raises `PosegenError` if the shard has shrunk, or cannot be fetched again."""
        return _present(self.remote, self.shard, lambda path: _read(path, self.parts[part]))


@dataclass(frozen=True)
class Shard:
    """One shard and the hash of its bytes, with all of its clips, or those of one size."""

    path: Path
    sha256: str
    samples: tuple[Sample, ...]


def open_shards(folder: Path | RemoteFolder, split: str, num_frames: int = 1) -> list[Shard]:
    """Open the whole shards `<split>-*.tar` of a folder, in order of name, with clips of at least `num_frames` frames.

    A shard with clips of several sizes is given several times, each time with those of one size. Raises `PosegenError`:
    no shards; more than 1 % of them bad; more than 1 % of clips too short; for a URL also if any shard cannot be
    reached.
    """
    opened = list(_opened_remote(folder, split) if isinstance(folder, RemoteFolder) else _opened_here(folder, split))
    shards = [shard for _, shard in opened if isinstance(shard, Shard)]
    bad = [f"{name} ({shard})" for name, shard in opened if isinstance(shard, str)]
    tolerate(bad, len(opened), f"shards in {folder}", "make them again, or delete them with their .json")
    short = {s.key: s.key for shard in shards for s in shard.samples if s.num_frames < num_frames}
    shards = without(
        shards, short, f"clips in {folder}", f"they are shorter than the {num_frames} frames that the recipe wants"
    )
    return [part for shard in shards for part in _by_size(shard)]


def without(shards: list[Shard], bad: dict[str, str], what: str, reason: str) -> list[Shard]:
    """Return the shards without a few bad clips (key -> displayed name). Raises `PosegenError` for more than 1 %."""
    tolerate(list(bad.values()), sum(len(shard.samples) for shard in shards), what, reason)
    if not bad:
        return shards
    return [replace(shard, samples=tuple(s for s in shard.samples if s.key not in bad)) for shard in shards]


def _by_size(shard: Shard) -> list[Shard]:
    sizes = sorted({sample.size for sample in shard.samples})
    if len(sizes) <= 1:
        return [shard]
    return [replace(shard, samples=tuple(s for s in shard.samples if s.size == size)) for size in sizes]


def _opened_here(folder: Path, split: str) -> Iterator[tuple[str, Shard | str]]:
    """Return name and shard, or its fault, of each in a local folder."""
    paths = sorted(folder.glob(f"{split}-*.tar"))
    if not paths:
        raise NoShardsError(f"no shards {split}-*.tar in {folder}: make some with `posegen synth --split {split}`")
    index = _read_index(folder / f"{split}.json")
    for path in paths:
        try:
            yield path.name, _open(path, index.get(path.name))
        except (PosegenError, FileNotFoundError) as error:
            yield path.name, str(error)
    yield from ((name, "missing") for name in sorted(set(index) - {path.name for path in paths}))


def _opened_remote(folder: RemoteFolder, split: str) -> Iterator[tuple[str, Shard | str]]:
    """Return the same for a URL, a few fetched at once."""

    def opened(remote: RemoteShard) -> tuple[str, Shard | str]:
        try:
            return remote.name, _open_remote(remote)
        except (UnreachableURLError, OutputError):
            raise
        except PosegenError as error:
            return remote.name, str(error)

    shards = folder.shards(split)
    there_is_room_for = int(folder.most_bytes // max(shard.size for shard in shards))
    with ThreadPoolExecutor(max(1, min(_AT_ONCE, there_is_room_for - 1))) as threads:
        waiting = [threads.submit(opened, remote) for remote in shards]
        try:
            for future in waiting:
                yield future.result()
        finally:
            for future in waiting:
                future.cancel()


def _open_remote(remote: RemoteShard) -> Shard:
    """Return a shard by its kept list of content; without one it is fetched, read, and the list is kept."""
    if remote.path.exists() and not has_hash(remote.path, remote.sha256):
        remote.path.unlink()  # damaged since it was fetched
    notes = remote.path.with_suffix(".json")
    with contextlib.suppress(OSError, DamagedFileError):  # they are written again
        written = read_checked_json(read_kept(notes), notes, required=True)
        return Shard(remote.path, remote.sha256, tuple(_noted(remote, *sample) for sample in written["samples"]))
    samples = _present(remote, remote.path, samples_of)
    content = [[sample.key, _places(sample), sample.description] for sample in samples]
    write_whole(notes, checked_json({"samples": content}, indent=None))
    return Shard(remote.path, remote.sha256, tuple(replace(sample, remote=remote) for sample in samples))


def _places(sample: Sample) -> dict[str, list[int]]:
    return {name: [part.offset, part.size] for name, part in sample.parts.items()}


def _noted(remote: RemoteShard, key: str, places: dict[str, list[int]], description: dict[str, Any]) -> Sample:
    return Sample(remote.path, key, {name: Part(*place) for name, place in places.items()}, description, remote)


T = TypeVar("T")


def _present(remote: RemoteShard | None, path: Path, read: Callable[[Path], T]) -> T:
    """Return the result of `read` for a shard, which is fetched if it is not there."""
    for _ in range(_ATTEMPTS):
        if remote is not None:
            remote.fetch()
        with contextlib.suppress(FileNotFoundError):
            return read(path)
    raise PosegenError(f"{path} is not there any more")


def tolerate(bad: list[str], total: int, what: str, reason: str) -> None:
    """Warn of a few bad ones, refuse more."""
    if not bad:
        return
    named = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    if len(bad) > TOLERATED * total:
        raise PosegenError(f"{len(bad)} of {total} {what} cannot be used: {named}; {reason}")
    logger.warning("%d of %d %s left out: %s; %s", len(bad), total, what, named, reason)


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """Read the index by shard; empty without an index. Raises `PosegenError` while shards are being made."""
    if not path.is_file():
        return {}
    try:
        index = read_json(path, "an index of shards")
        entries, complete = {entry["file"]: entry for entry in index["shards"]}, index.get("complete", True)
    except PosegenError as error:
        raise PosegenError(f"{error}: delete it to go without") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise PosegenError(f"{path} is not an index of shards ({error!r}): delete it to go without") from error
    if not complete:
        raise PosegenError(
            f"{path}: these shards are still being made: wait for the end, or make them again if that was broken off"
        )
    return entries


def _open(path: Path, entry: dict[str, Any] | None) -> Shard:
    """Read one shard and check it against its entry in the index, if any. Raises `PosegenError` with the reason."""
    try:
        with open_input(path, "a shard") as stream:
            size = os.fstat(stream.fileno()).st_size
            if entry is not None and entry.get("bytes", size) != size:  # what is far too large need not be hashed
                raise PosegenError(f"damaged: it has {size} bytes, and {entry['bytes']} by the index")
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise PosegenError(f"unreadable: {error}") from error
    if entry is not None and entry.get("sha256") != digest:
        raise PosegenError("damaged: its hash is not the index's")
    return Shard(path, digest, samples_of(path))


def samples_of(path: Path) -> tuple[Sample, ...]:
    """List the samples of a shard. Raises `PosegenError` with the reason why it cannot be used, FileNotFoundError."""
    found: dict[str, dict[str, Part]] = {}
    try:
        for file in tar_files(path):
            if (name := key_and_extension(file.name)) is not None:
                parts = found.setdefault(name[0], {})
                if name[1] in parts:
                    raise PosegenError(f"{file.name} is there twice")
                parts[name[1]] = Part(file.offset, file.size)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PosegenError(f"unreadable: {error}") from error
    found = {key: parts for key, parts in found.items() if not parts.keys().isdisjoint(PARTS)}
    if not found:
        raise PosegenError("empty")
    samples = []
    for key, parts in found.items():
        lacking = [part for part in PARTS if part not in parts]
        if lacking:
            raise PosegenError(f"{key} has no .{lacking[0]}")
        for part, most in _LONGEST.items():
            if parts[part].size > most:
                raise PosegenError(f"{key}.{part} has {parts[part].size} bytes: it should describe one clip")
        try:
            sample = Sample(path, key, parts, parse_json(_read(path, parts["json"]), f"{key}.json"))
            if not 0 < sample.num_frames <= _MOST_FRAMES or not all(0 < side <= MAX_SIDE for side in sample.size):
                raise ValueError(f"{sample.num_frames} frames of {sample.size} pixels")
        except PosegenError:
            raise
        except (ValueError, KeyError, TypeError, ArithmeticError) as error:
            raise PosegenError(f"{key}.json cannot be used: {error!r}") from error
        samples.append(sample)
    return tuple(samples)


def key_and_extension(name: str) -> tuple[str, str] | None:
    """Return the sample that a file of a shard belongs to, and its part: split at the first dot after the last slash.

    As the webdataset library does it; None for what it leaves out (names in double underscores) and for hidden files,
    such as macOS's companions (`._clip.json`).
    """
    folder, slash, base = name.rpartition("/")
    key, dot, extension = base.partition(".")
    if not dot or not key or name.startswith("__MACOSX/") or re.match(r"__[^/]*__($|/)", name):
        return None
    return f"{folder}{slash}{key}", extension.lower()


def _read(path: Path, part: Part) -> bytes:
    with path.open("rb") as stream:
        stream.seek(part.offset)
        content = stream.read(part.size)
    if len(content) != part.size:
        raise PosegenError(f"{path} has become shorter since it was opened")
    return content
