"""Reads folders of WebDataset tar shards by random access: which clips there are, and the parts of one clip.

A shard that is empty, damaged or does not match its index is left out, named and counted; more than one in a hundred is
an error. Clips too short for a segment are treated alike. What a clip's arrays mean is `clips.py`'s; who writes shards
does not matter, as long as each sample has a `.json` (with "num_frames", "height", "width"), an `.npz` and a `.txt`.
"""

import hashlib
import json
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posegen.errors import PosegenError, logger

PARTS = ("json", "npz", "txt")
TOLERATED = 0.01
"""Share of bad shards, or of clips that are too short, above which training refuses to start."""


@dataclass(frozen=True)
class Part:
    """Where a file lies inside a shard, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True)
class Sample:
    """One clip of a shard."""

    shard: Path
    key: str
    parts: dict[str, Part]
    description: dict[str, Any]

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return int(self.description["num_frames"])

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return int(self.description["height"]), int(self.description["width"])

    def read(self, part: str) -> bytes:
        """The bytes of one part. Raises `PosegenError` if the shard has shrunk since it was opened."""
        return _read(self.shard, self.parts[part])


@dataclass(frozen=True)
class Shard:
    """One whole shard and the hash of its bytes."""

    path: Path
    sha256: str
    samples: tuple[Sample, ...]


def open_shards(folder: Path, split: str, num_frames: int = 1) -> list[Shard]:
    """The whole shards `<split>-*.tar` of a folder, in order of name, with clips of at least `num_frames` frames.

    Raises `PosegenError`: no shards; more than 1 % of them bad; more than 1 % of clips too short; unequal sizes.
    """
    paths = sorted(folder.glob(f"{split}-*.tar"))
    if not paths:
        raise PosegenError(f"no shards {split}-*.tar in {folder}: make some with `posegen synth --split {split}`")
    index = _read_index(folder / f"{split}.json")
    missing = sorted(set(index) - {path.name for path in paths})
    shards, bad = [], [f"{name} (missing)" for name in missing]
    for path in paths:
        try:
            shards.append(_open(path, index.get(path.name)))
        except PosegenError as error:
            bad.append(f"{path.name} ({error})")
    tolerate(bad, len(paths) + len(missing), f"shards in {folder}", "make them again, or delete them with their .json")
    short = [s.key for shard in shards for s in shard.samples if s.num_frames < num_frames]
    total = sum(len(shard.samples) for shard in shards)
    tolerate(short, total, f"clips in {folder}", f"they are shorter than the {num_frames} frames that the recipe wants")
    if short:
        left_out = set(short)
        shards = [
            Shard(shard.path, shard.sha256, tuple(s for s in shard.samples if s.key not in left_out))
            for shard in shards
        ]
    sizes = {sample.size for shard in shards for sample in shard.samples}
    if len(sizes) > 1:
        raise PosegenError(f"clips in {folder} differ in size {sorted(sizes)}: make shards of one size")
    return shards


def tolerate(bad: list[str], total: int, what: str, reason: str) -> None:
    """Warn of a few bad ones, refuse more."""
    if not bad:
        return
    named = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "")
    if len(bad) > TOLERATED * total:
        raise PosegenError(f"{len(bad)} of {total} {what} cannot be used: {named}; {reason}")
    logger.warning("%d of %d %s left out: %s; %s", len(bad), total, what, named, reason)


def _read_index(path: Path) -> dict[str, dict[str, Any]]:
    """What the index says of each shard; empty without an index, or while shards are still being made."""
    if not path.is_file():
        return {}
    try:
        return {entry["file"]: entry for entry in json.loads(path.read_text()).get("shards", [])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise PosegenError(f"{path} is not an index of shards ({error}): delete it to go without") from error


def _open(path: Path, entry: dict[str, Any] | None) -> Shard:
    """One shard, checked against its entry of the index where there is one. Raises `PosegenError` with the reason."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        if entry is not None and entry.get("sha256") != digest:
            raise PosegenError("damaged: its hash is not the index's")
        with tarfile.open(path, "r:") as tar:
            members = [member for member in tar if member.isfile()]
    except (OSError, tarfile.TarError) as error:
        raise PosegenError(f"unreadable: {error}") from error
    if members and members[-1].offset_data + members[-1].size > path.stat().st_size:
        raise PosegenError("cut off")
    found: dict[str, dict[str, Part]] = {}
    for member in members:
        key, _, extension = member.name.partition(".")
        found.setdefault(key, {})[extension] = Part(member.offset_data, member.size)
    if not found:
        raise PosegenError("empty")
    samples = []
    for key, parts in found.items():
        lacking = [part for part in PARTS if part not in parts]
        if lacking:
            raise PosegenError(f"{key} has no .{lacking[0]}")
        try:
            description = json.loads(_read(path, parts["json"]))
            samples.append(Sample(path, key, parts, description))
            _ = samples[-1].num_frames, samples[-1].size
        except (ValueError, KeyError, TypeError) as error:
            raise PosegenError(f"{key}.json cannot be used: {error!r}") from error
    return Shard(path, digest, tuple(samples))


def _read(path: Path, part: Part) -> bytes:
    with path.open("rb") as stream:
        stream.seek(part.offset)
        content = stream.read(part.size)
    if len(content) != part.size:
        raise PosegenError(f"{path} has become shorter since it was opened")
    return content
