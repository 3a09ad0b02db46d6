"""The folder of a job: what it was asked for, and the segments that are finished.

`OUTPUT.posegen/` holds `conditions/` (made once for a driving video) and one `job-XXXXXXXXXXXX/` for each set of
settings, with a manifest and the finished segments as lossless video. A segment counts as finished once its SHA-256 is
kept beside it (`sha256sum -c` reads it) and for as long as the file agrees with it: so nothing is made twice, and
nothing damaged is used. One process at a time writes an output, whatever its settings. What a segment contains is not
this file's concern.
"""

import contextlib
import errno
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import chain
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock

from posegen.errors import DiskFullError, OutputError, PosegenError, logger
from posegen.generate.job.manifest import JobProgress, Manifest, NewerFormatError, describe_changes, now, versions
from posegen.generate.segments import Segment
from posegen.media.checksums import checksum_path, remove_checked, state_of, write_checksum
from posegen.media.files import check_writable, readable_size
from posegen.media.video import VideoWriter, probe_video, read_frames
from posegen.types import Frame, Frames

_IDENTITY = 1
"""Part of what a job is recognised by. Another number makes every older job another one: raise it if segments of before
must not be used any more."""
_LOCK_WAIT = 0.5
"""Seconds: listing jobs tries their locks for a moment."""
_OUTPUT_SHARE = 0.15
"""Bytes of the result for a byte of lossless segments, rather too many, while none of it is there to be measured."""
_COPIES = 2
"""Of the result while a job runs: itself, and the one that grows."""


def work_folder(output: Path) -> Path:
    """The folder beside the result that keeps its conditions and jobs."""
    return output.with_suffix(".posegen")


def growing_path(output: Path) -> Path:
    """OUTPUT.growing.mp4: the result as far as it is made, which plays while the job runs."""
    return output.with_suffix(".growing.mp4")


def side_by_side_path(output: Path) -> Path:
    """OUTPUT_side_by_side.mp4."""
    return output.with_stem(output.stem + "_side_by_side")


def lock_path(folder: Path) -> Path:
    """The file by which a process holds a job's folder, or an output's."""
    return folder / "lock"


def job_folder(output: Path, settings: dict[str, Any]) -> Path:
    """The folder of the job that makes `output` with these settings."""
    text = json.dumps([_IDENTITY, settings], sort_keys=True, ensure_ascii=False)
    return work_folder(output) / f"job-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def background_folder(folder: Path) -> Path:
    """Path of the shared background in a job's folder, where it is kept while segments are made."""
    return folder / "background"


def background_sizes(folder: Path) -> list[int]:
    """Bytes of each file of a job's shared background: one for each step, branch and layer."""
    return [path.stat().st_size for path in background_folder(folder).glob("step*.safetensors")]


@contextlib.contextmanager
def hold_output(output: Path) -> Iterator[None]:
    """Inside the block no other process writes `output`, with whatever settings. It ends with the process.

    Raises `OutputError` where another one does, or nothing can be written. A folder in which nothing was done goes.
    """
    folder = work_folder(output)
    check_writable(folder)
    lock = filelock.FileLock(lock_path(folder))
    try:
        lock.acquire(timeout=_LOCK_WAIT)
    except filelock.Timeout:
        raise OutputError(
            f"another posegen process is writing {output}: wait for it, or choose another --output"
        ) from None
    try:
        yield
    finally:
        remove_if_unused(folder)
        lock.release()


def remove_if_unused(folder: Path) -> None:
    """Remove the lock of an output's folder without jobs, and the folder if that empties it. For who holds the lock."""
    if any(folder.glob("job-*")):
        return
    with contextlib.suppress(OSError):
        lock_path(folder).unlink(missing_ok=True)
        if not any(folder.iterdir()):
            folder.rmdir()


class Job:
    """One set of settings applied to one pair of inputs. Open it as a context manager: it is locked while open.

    Opening raises `OutputError` where another process has it open or nothing can be written, and `NewerFormatError`
    where a newer posegen made it. A full disk inside the block leaves it as a `DiskFullError` that says how much space
    finishing needs. A job that ends with another `PosegenError` before it has made anything leaves no folder: it would
    count as unfinished, and the mended command is another job.
    """

    def __init__(self, output: Path, settings: dict[str, Any], configuration: dict[str, Any] | None = None) -> None:
        """`settings` is everything that the result depends on, as JSON values; `configuration` what was asked for."""
        self.output, self.settings, self.configuration = output, settings, configuration or {}
        self.folder = job_folder(output, settings)
        self.segments = self.folder / "segments"
        self.progress = JobProgress()
        self._lock = filelock.FileLock(lock_path(self.folder))

    def __enter__(self) -> "Job":
        check_writable(self.segments)
        try:
            self._lock.acquire(timeout=_LOCK_WAIT)
        except filelock.Timeout:
            raise OutputError(
                f"another posegen process works on {self.folder}: wait for it, or choose another --output"
            ) from None
        try:
            self._recognise()
        except BaseException:
            self._lock.release()
            raise
        self.progress = JobProgress.read(self.folder)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()
        full = isinstance(error, DiskFullError) or (isinstance(error, OSError) and error.errno == errno.ENOSPC)
        if error is not None and full and self.progress.num_frames:
            raise DiskFullError(
                f"{error}; to finish, about {readable_size(self.space_needed())} of free space is needed "
                f"({self._what_is_left()})"
            ) from error
        made = any(path.is_file() for path in self.folder.glob("*/*"))  # segments, background: each has a folder
        if isinstance(error, PosegenError) and not made:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _what_is_left(self) -> str:
        total = self.progress.segments
        if not total:
            return "for the result"
        background = "the shared background, " if self._background_left() else ""
        return f"{total - len(self._sizes())} of {total} segments are left, {background}and the result"

    def _recognise(self) -> None:
        """Read the manifest, or write it if the job is new and say how it differs from the output's latest other."""
        manifest = Manifest.read(self.folder)
        if manifest is None:
            self._describe_difference()
            Manifest(self.settings, self.configuration, self.output.name).write(self.folder)
            return
        changes = describe_changes(manifest.versions, versions())
        if changes:
            logger.warning("this job was begun with other versions: %s; its segments may differ", ", ".join(changes))

    def _describe_difference(self) -> None:
        others = []
        for folder in self.folder.parent.glob("job-*"):
            try:
                manifest = Manifest.read(folder)
            except NewerFormatError:
                continue
            if manifest is not None:
                others.append(manifest)
        if not others:
            return
        changes = describe_changes(max(others, key=lambda manifest: manifest.made).settings, self.settings)
        if not changes:
            logger.info("a new job: the earlier one, of an older posegen, has no checksums")
            return
        logger.info("a new job, because of changed settings:")
        for line in changes:
            logger.info("  %s", line)

    # -- how far it is -------------------------------------------------------------------------------------------------

    def record_disk_usage(self, expected: JobProgress) -> None:
        """Note how much there will be of everything."""
        if replace(self.progress, finished=None) != expected:
            self.progress = expected
            self.progress.write(self.folder)

    def finish(self) -> None:
        """Note that the result is written."""
        self.progress = replace(self.progress, finished=now())
        self.progress.write(self.folder)

    def space_needed(self) -> int:
        """Bytes that finishing takes, about: segments and background that are left, as large as so far; and the result.

        The result is taken to go on as it has begun (the growing video is measured). Before any segment is finished
        they are taken to be as large as their pixels; before any of the result is there, it is a part of them.
        """
        progress, sizes = self.progress, self._sizes()
        pixels = progress.segment_length * progress.frame_pixels
        mean = sum(sizes) / len(sizes) if sizes else pixels
        left = max(0, progress.segments - len(sizes))
        per_frame = self._result_bytes_per_frame()
        if per_frame is None:
            per_frame = mean * _OUTPUT_SHARE / progress.segment_length
        return round(mean * left + self._background_left() + _COPIES * per_frame * progress.num_frames)

    def _background_left(self) -> int:
        """Bytes of the shared background's files that are not yet there; none once no other segment needs it."""
        progress, sizes = self.progress, background_sizes(self.folder)
        if len(self._sizes()) >= progress.segments:
            return 0
        each = max(sizes, default=progress.background_file)
        return max(0, progress.background_files - len(sizes)) * each

    def _result_bytes_per_frame(self) -> float | None:
        """Bytes per frame of the growing video; None without one, or if the number of frames to come is unknown."""
        path = growing_path(self.output)
        if not self.progress.num_frames or not path.is_file():
            return None
        try:
            return path.stat().st_size / probe_video(path).num_frames
        except (PosegenError, OSError, ZeroDivisionError):  # it may be damaged: the disk is full
            return None

    def _sizes(self) -> list[int]:
        """Bytes of each finished segment."""
        return finished_sizes(self.folder)

    # -- segments ------------------------------------------------------------------------------------------------------

    def path(self, segment: Segment) -> Path:
        """Path of the segment's frames."""
        return self.segments / f"{segment.name}.mkv"

    def has(self, segment: Segment) -> bool:
        """Return whether the segment is finished and undamaged, by its file. A damaged one is reported and removed."""
        state = state_of(self.path(segment), self.folder.name)
        if state == "unchecked":
            logger.info("segment %s was kept without a checksum: it is made again", segment.name)
        elif state == "damaged":
            logger.warning("segment %s is damaged (its checksum is another): it is made again", segment.name)
            self.remove(segment)
        return state == "intact"

    def save(self, segment: Segment, frames: Iterable[Frame], fps: Fraction) -> None:
        """Keep the segment's frames, losslessly and at once (never half a file). Raises `OutputError`.

        `frames` are written one by one as they come, so they need not be in memory together.
        """
        self.remove(segment)
        path, frames = self.path(segment), iter(frames)
        first = next(frames)
        with VideoWriter(path, fps, size=(first.shape[0], first.shape[1]), codec="ffv1") as writer:
            for frame in chain([first], frames):
                writer.write(frame)
        write_checksum(path, self.folder.name)

    def load(self, segment: Segment) -> Frames:
        """The frames of a finished segment, exactly as they were saved."""
        return read_frames(self.path(segment), 0, probe_video(self.path(segment)).num_frames)

    def remove(self, segment: Segment) -> None:
        """Forget a segment, so that it is made again."""
        remove_checked(self.path(segment))


def finished_sizes(folder: Path) -> list[int]:
    """Bytes of each finished segment of a job's folder; whether they are damaged is not looked at."""
    return [path.stat().st_size for path in (folder / "segments").glob("*.mkv") if checksum_path(path).is_file()]
