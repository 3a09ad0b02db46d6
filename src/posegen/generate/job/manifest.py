"""Manifest and progress of a job's folder: what it was asked for and made with (manifest), how far it is (progress).

Both are small JSON files with a checksum, written whole or not at all. The manifest never changes once it is there; a
posegen that does not know its format leaves the folder alone. Segments and locks are `job`'s business.
"""

import json
import platform
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from posegen import __version__
from posegen.errors import PosegenError, logger
from posegen.media.checksums import DamagedFileError, checked_json, read_checked_json
from posegen.media.files import read_kept, remove_leftovers, write_whole

FORMAT = 1
"""Of manifests that this posegen writes. Jobs of before there was a number count as format 0."""

_SHOWN = 48
"""Characters of a value in a line about changed settings."""


class NewerFormatError(PosegenError):
    """A job was made by a posegen that came after this one."""


def versions() -> dict[str, str]:
    """Return the versions of posegen and of the libraries that its results depend on."""
    libraries = {name: metadata.version(name) for name in ("torch", "diffusers")}
    return {"posegen": __version__, **libraries, "python": platform.python_version()}


def now() -> str:
    """The moment, in UTC, as ISO 8601 to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Manifest:
    """Settings that a job was asked for, and versions that it was made with."""

    settings: dict[str, Any]
    """Everything the result depends on, with hashes of the inputs: what the job is recognised by."""
    configuration: dict[str, Any] = field(default_factory=dict)
    """The configuration as it was given, as JSON values."""
    output: str = ""
    """Name of the result's file."""
    versions: dict[str, str] = field(default_factory=versions)
    made: str = field(default_factory=now)
    """When, in UTC."""
    format: int = FORMAT

    def write(self, folder: Path) -> None:
        """Write it into the job's folder. Raises `OutputError`."""
        content = {**vars(self), "seed": self.settings.get("seed")}
        remove_leftovers(manifest_path(folder))
        write_whole(manifest_path(folder), checked_json(content, indent=2))

    @classmethod
    def read(cls, folder: Path) -> "Manifest | None":
        """The manifest of a job's folder; None where there is none that can be read.

        Raises `NewerFormatError` where a newer posegen has written it.
        """
        path = manifest_path(folder)
        content = _read_object(path)
        if content is None:
            return None
        number = content.get("format", 0)
        if not isinstance(number, int) or number > FORMAT:
            raise NewerFormatError(
                f"{path} has format {number!r}, and this posegen knows up to {FORMAT}: update posegen, choose another "
                f"--output, or delete {folder}"
            )
        if number == 0:  # then the settings were all there was
            made = datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(timespec="seconds")
            return cls(content, versions={}, made=made, format=0)
        try:
            return cls(**{key: content[key] for key in ("settings", "configuration", "output", "versions", "made")})
        except KeyError:
            return None


def manifest_path(folder: Path) -> Path:
    """Path of a job's manifest."""
    return folder / "manifest.json"


def _read_object(path: Path) -> dict[str, Any] | None:
    try:
        return read_checked_json(read_kept(path), path)
    except OSError:
        return None
    except DamagedFileError as error:
        logger.warning("%s: it is not used", error)
        return None


def describe_changes(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """One short line for each setting that differs: `seed: 42 -> 7`. Long texts are shown where they part."""
    keys = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    return [f"{key}: {' -> '.join(_excerpts(_text(old, key), _text(new, key)))}" for key in keys]


def _text(settings: dict[str, Any], key: str) -> str:
    if key not in settings:
        return "(not set)"
    value = settings[key]
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _excerpts(old: str, new: str) -> tuple[str, str]:
    """Both texts, shortened so that the first place where they differ can be seen."""
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    start = max(0, same - _SHOWN // 3) if max(len(old), len(new)) > _SHOWN else 0

    def shown(text: str) -> str:
        text = " ".join(text.split()) if start == 0 else " ".join(text[start:].split())
        cut = text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
        return f"...{cut}" if start else cut

    return shown(old), shown(new)


@dataclass(frozen=True)
class JobProgress:
    """Progress of a job; finished `segments` are counted from their files."""

    segments: int = 0
    """How many there will be; 0 while that is not known, and where none are kept."""
    segment_length: int = 0
    """Frames of a segment."""
    num_frames: int = 0
    """Of the result; 0 while that is not known."""
    frame_pixels: int = 0
    """Bytes of a frame without compression."""
    background_files: int = 0
    """How many will keep the shared background; 0 if it is not kept in files."""
    background_file: int = 0
    """Bytes of one of them, at most."""
    finished: str | None = None
    """When the result was written, in UTC."""

    def write(self, folder: Path) -> None:
        """Write it into the job's folder. Raises `OutputError`."""
        remove_leftovers(_progress_path(folder))
        write_whole(_progress_path(folder), checked_json(vars(self), indent=2))

    @classmethod
    def read(cls, folder: Path) -> "JobProgress":
        """The progress of a job's folder; that of a job just begun where none can be read."""
        content = _read_object(_progress_path(folder)) or {}
        names = [field.name for field in fields(cls) if field.name != "finished"]
        counts = {name: count for name in names if isinstance(count := content.get(name), int)}
        finished = content.get("finished")
        return cls(**counts, finished=finished if isinstance(finished, str) else None)


def _progress_path(folder: Path) -> Path:
    return folder / "progress.json"
