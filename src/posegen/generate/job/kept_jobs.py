"""Lists and removes jobs that are kept in a folder of results, with their progress and size.

It looks at folders only: nothing is loaded, and segments are counted, not checked. A job that is locked is being worked
on and is never touched; nor is any of an output that is locked while none of its jobs is: one of them is about to be.
"""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import filelock

from posegen.errors import OutputError, PosegenError
from posegen.generate.job.job_folder import finished_sizes, lock_path, remove_if_unused
from posegen.generate.job.manifest import JobProgress, Manifest, NewerFormatError

JobState = Literal["running", "finished", "unfinished", "newer"]
"""`newer`: made by a newer posegen, so its state is not known."""


@dataclass(frozen=True)
class KeptJob:
    """One job as its folder shows it."""

    folder: Path
    output: str
    """Name of the result's file."""
    made: datetime
    changed: datetime
    """When a file of the job was last written."""
    finished: int
    """Segments that are finished."""
    segments: int | None
    """Segments that there will be; None where that is not known."""
    size: int
    """Bytes on disk."""
    state: JobState


def list_jobs(folder: Path) -> list[KeptJob]:
    """The jobs of all `*.posegen` folders in `folder` (or of `folder`, if it is one), the oldest first.

    Raises `PosegenError` if there is no such folder or it cannot be read.
    """
    if not folder.is_dir():
        raise PosegenError(f"{folder}: is a file, not a folder" if folder.exists() else f"{folder}: no such folder")
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise PosegenError(f"{folder}: cannot be read ({error.strerror})") from error
    work_folders = [path for path in inside if path.suffix == ".posegen" and path.is_dir()]
    if folder.resolve().suffix == ".posegen":
        work_folders.append(folder)
    jobs = [_look_at(path) for work in work_folders for path in sorted(work.glob("job-*")) if path.is_dir()]
    return sorted(jobs, key=lambda job: job.made)


def _look_at(folder: Path) -> KeptJob:
    size, changed = _size_and_change(folder)
    progress, newer = JobProgress.read(folder), False
    try:
        manifest = Manifest.read(folder)
    except NewerFormatError:
        manifest, newer = None, True
    state: JobState = "newer" if newer else "finished" if progress.finished else "unfinished"
    return KeptJob(
        folder=folder,
        output=(manifest.output if manifest else "") or f"{folder.resolve().parent.stem}.mp4",
        made=_moment(manifest.made if manifest else "", changed),
        changed=changed,
        finished=len(finished_sizes(folder)),
        segments=progress.segments or None,
        size=size,
        state="running" if _is_locked(folder) or _may_begin(folder.parent) else state,
    )


def _moment(text: str, otherwise: datetime) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return otherwise
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _size_and_change(folder: Path) -> tuple[int, datetime]:
    """Bytes of all files, and when the last of them was written (looking at a lock writes it: it does not count)."""
    size, changed = 0, 0.0
    for path in folder.rglob("*"):
        try:
            status = path.lstat()
        except FileNotFoundError:  # a running job has just renamed or removed it
            continue
        if path.is_dir():
            continue
        size += status.st_size
        if path != lock_path(folder):
            changed = max(changed, status.st_mtime)
    return size, datetime.fromtimestamp(changed or folder.stat().st_mtime, UTC)


def _is_locked(folder: Path) -> bool:
    path = lock_path(folder)
    if not path.is_file():
        return False
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except (filelock.Timeout, OSError):  # one that may not be opened is somebody else's
        return True
    lock.release()
    return False


def _may_begin(work: Path) -> bool:
    """Return whether a process holds the output without a job yet: it may be about to resume any of them."""
    return _is_locked(work) and not any(_is_locked(folder) for folder in work.glob("job-*"))


def remove_job(job: KeptJob) -> int:
    """Remove a job, and with the last one of a result its conditions. Returns the freed bytes.

    Raises `OutputError` if it is being worked on, or cannot be removed.
    """
    work = job.folder.parent
    with _lock(work) as alone:
        begins = not alone and _may_begin(work)
        with _lock(job.folder) as free:
            if begins or not free:
                raise OutputError(f"{job.folder}: a posegen process works on it: it stays")
            freed = _remove(job.folder)
        if alone and not any(work.glob("job-*")):
            if (work / "conditions").is_dir():
                freed += _remove(work / "conditions")
            remove_if_unused(work)  # what else there is, is not ours
    return freed


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Hold the lock of a job's folder, or an output's, inside the block; False where another process has it."""
    lock = filelock.FileLock(lock_path(folder))
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        yield False
        return
    except OSError as error:
        raise OutputError(f"{folder}: cannot be removed ({error.strerror})") from error
    try:
        yield True
    finally:
        lock.release()


def _remove(folder: Path) -> int:
    size, _ = _size_and_change(folder)
    try:
        shutil.rmtree(folder)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be removed ({error.strerror})") from error
    return size
