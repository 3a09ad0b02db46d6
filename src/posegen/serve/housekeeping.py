"""Keeps the server's folder within its limits: counts bytes, removes old uploads and what deleted jobs left."""

import contextlib
import os
import shutil
import threading
from pathlib import Path

from posegen.config import ServeConfig, parse_amount
from posegen.errors import logger
from posegen.media.files import readable_size
from posegen.serve.job_fields import FieldError
from posegen.serve.job_store import JobStore, UnknownJobError
from posegen.serve.upload_folder import UploadFolder

_EVERY = 20.0
"""Seconds between two rounds."""
_SPARE = 0.9
"""Share of the quota from which conditions of finished jobs are removed; another job may make them again."""
_FREE = 500 << 20
"""Bytes that must be free on the disk for a new job."""


class Housekeeping:
    """Looks after the folder in a thread of its own."""

    def __init__(self, config: ServeConfig, store: JobStore, uploads: UploadFolder) -> None:
        self.folder, self.store, self.uploads = config.folder, store, uploads
        self.limit = parse_amount(config.max_disk, "--max-disk")
        self.used = 0
        """Bytes of the folder, at the last look."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)

    def start(self) -> None:
        """Look once, then begin."""
        self.used = size_of(self.folder)
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopping.set()
        self._thread.join()

    def check_room(self, bytes_more: int = 0) -> None:
        """Raise `FieldError` if no new job should be taken: the quota is used up, or the disk nearly full."""
        if self.used + bytes_more > self.limit:
            raise FieldError(
                f"the server's folder has reached its limit of {readable_size(self.limit)}: delete old videos",
                None,
                "disk_full",
            )
        free = shutil.disk_usage(self.folder).free
        if free < _FREE + bytes_more:
            raise FieldError(
                f"the server's disk has only {readable_size(free)} left: delete old videos, or free some space",
                None,
                "disk_full",
            )

    def _run(self) -> None:
        while not self._stopping.wait(_EVERY):
            try:
                self.look()
            except Exception as error:  # the next round may succeed; without any the folder would grow unseen
                logger.warning("housekeeping failed: %s: %s", type(error).__name__, error)

    def look(self) -> None:
        """Do one round."""
        self.uploads.remove_old()
        self._remove_orphans()
        self.used = size_of(self.folder)
        if self.used > _SPARE * self.limit:
            self._remove_conditions()
            self.used = size_of(self.folder)

    def _remove_orphans(self) -> None:
        """Remove folders of jobs that are no more."""
        for place in (self.folder / "jobs").glob("*_*"):
            try:
                self.store.job(place.name)
            except UnknownJobError:
                shutil.rmtree(place, ignore_errors=True)

    def _remove_conditions(self) -> None:
        """Remove the conditions of jobs that have ended."""
        for place in (self.folder / "jobs").glob("*_*"):
            with contextlib.suppress(UnknownJobError):
                if self.store.job(place.name).status in ("completed", "cancelled"):
                    shutil.rmtree(place / "result.posegen", ignore_errors=True)
                    shutil.rmtree(place / "given_conditions", ignore_errors=True)


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                size += os.lstat(os.path.join(place, name)).st_size
    return size
