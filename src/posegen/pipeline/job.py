"""The folder of a job: what it was asked for, and the segments that are finished.

`OUTPUT.posegen/` holds `conditions/` (made once for a driving video) and one `job-XXXXXXXXXXXX/` for each set of
settings, with a manifest and the finished segments as lossless video. A file is there whole or not at all, so whatever
is there need not be made again. What a segment contains is not this file's concern.
"""

import hashlib
import json
import tempfile
from fractions import Fraction
from pathlib import Path
from typing import Any

import filelock
import numpy as np
from jaxtyping import UInt8

from posegen.errors import OutputError, logger
from posegen.media.files import remove_leftovers, write_whole
from posegen.media.video import VideoWriter, probe_video, read_frames
from posegen.pipeline.segments import Segment

Frames = UInt8[np.ndarray, "frames height width 3"]


def work_folder(output: Path) -> Path:
    """The folder beside the result that keeps its conditions and jobs."""
    return output.with_suffix(".posegen")


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(folder: Path) -> None:
    """Create the folder if need be and write a byte into it; raises `OutputError` where that fails."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".posegen-") as probe:
            probe.write(b"0")
    except OSError as error:
        raise OutputError(f"cannot write into {folder}: {error.strerror or error}; choose another --output") from None


class Job:
    """One set of settings applied to one pair of inputs. Open it as a context manager: it is locked while open."""

    def __init__(self, output: Path, settings: dict[str, Any]) -> None:
        """`settings` is everything that the result depends on, as JSON values."""
        self.settings = settings
        text = json.dumps(settings, sort_keys=True, ensure_ascii=False)
        self.folder = work_folder(output) / f"job-{hashlib.sha256(text.encode()).hexdigest()[:12]}"
        self.segments = self.folder / "segments"
        self._lock = filelock.FileLock(self.folder / "lock")

    def __enter__(self) -> "Job":
        check_writable(self.segments)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise OutputError(
                f"another posegen process works on {self.folder}: wait for it, or choose another --output"
            ) from None
        self._describe_change()
        self._write_manifest()
        return self

    def __exit__(self, *exception: object) -> None:
        self._lock.release()

    @property
    def _manifest(self) -> Path:
        return self.folder / "manifest.json"

    def _write_manifest(self) -> None:
        if self._manifest.exists():
            return
        text = json.dumps(self.settings, indent=2, sort_keys=True, ensure_ascii=False)
        write_whole(self._manifest, text.encode())

    def _describe_change(self) -> None:
        """Say in one line how this job differs from the latest other one of the same output, if it is new."""
        others = [path for path in self.folder.parent.glob("job-*/manifest.json") if path.parent != self.folder]
        if self._manifest.exists() or not others:
            return
        latest = json.loads(max(others, key=lambda path: path.stat().st_mtime).read_text())
        keys = sorted(key for key in {*latest, *self.settings} if latest.get(key) != self.settings.get(key))
        logger.info("a new job, because of changed settings: %s", ", ".join(keys))

    def path(self, segment: Segment) -> Path:
        """Where the segment's frames are kept."""
        return self.segments / f"{segment.name}.mkv"

    def has(self, segment: Segment) -> bool:
        """Whether the segment is finished."""
        return self.path(segment).is_file()

    def save(self, segment: Segment, frames: Frames, fps: Fraction) -> None:
        """Keep the segment's frames, losslessly and at once (never half a file)."""
        remove_leftovers(self.path(segment))
        with VideoWriter(self.path(segment), fps, size=(frames.shape[1], frames.shape[2]), codec="ffv1") as writer:
            for frame in frames:
                writer.write(frame)

    def load(self, segment: Segment) -> Frames:
        """The frames of a finished segment, exactly as they were saved."""
        return read_frames(self.path(segment), 0, probe_video(self.path(segment)).num_frames)
