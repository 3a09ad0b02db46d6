"""Writes how far a job is into the store, and stops the job where that is wished.

It is the `Progress` of a job in a worker: stage, segments, seconds left, and lines for people become the job's progress
and its events.
"""

import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from posegen.errors import logger
from posegen.generate.job.job_folder import finished_sizes, work_folder
from posegen.generate.job.manifest import JobProgress as KeptProgress
from posegen.serve.job_fields import SentFile, for_client
from posegen.serve.job_store import JobStore, ServerJob, Wish

_EVERY = 0.4
"""Seconds between two changes of the stored progress, and between two looks at what is wished."""
_SEGMENT, _BACKGROUND = "segment ", "background of "


class JobStopped(KeyboardInterrupt):
    """Ends a job at a wish: pause, cancel, delete; None: the worker stops, and the job waits for another one.

    It is a KeyboardInterrupt, so that finished work is kept as for Ctrl-C.
    """

    def __init__(self, wish: Wish | None) -> None:
        super().__init__(wish or "the server stops")
        self.wish = wish


class ReportedProgress(logging.Handler):
    """A `Progress` of one job, and a handler of posegen's log lines while it runs."""

    def __init__(
        self, store: JobStore, job: ServerJob, output: Path, files: Sequence[SentFile], stops: Callable[[], bool]
    ) -> None:
        """`stops` tells whether the worker is to stop."""
        super().__init__(logging.INFO)
        self._store, self._job, self._output, self._files, self._stops = store, job, output, files, stops
        self._last, self._shown = 0.0, ""
        self._progress: dict[str, Any] = {"stage": "starting", "done": 0, "total": 0}
        self._finished: int | None = None
        self._began: float | None = None
        self._steps_before = 0
        self.segment_seconds = 0.0
        """Seconds since the first segment of this run began."""
        self.first_segment: float | None = None
        """Moment (seconds since 1970) at which the first segment of this run began."""

    # -- Progress ------------------------------------------------------------------------------------------------------

    def update(self, task: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of the task are finished. Raises `JobStopped`."""
        segments: dict[str, Any] = {}
        if task.startswith(_SEGMENT):
            segments = self._segments(done, total)
        elif "segments" in self._progress:
            segments = {key: self._progress[key] for key in ("segment", "segments", "seconds_left")}
        self._progress = {"stage": _stage(task), "done": done, "total": total, **segments}
        if time.monotonic() - self._last >= _EVERY or self._shown != task or self._stops():
            self._shown = task
            self._report()

    def say(self, line: str) -> None:
        """Make a line an event: a plan, or a note."""
        plan, warning = line.startswith("reference  "), line.startswith("warning: ")
        kind, line = "plan" if plan else "warning" if warning else "note", line.removeprefix("warning: ")
        self._store.tell(self._job.id, kind, {"text": for_client(line, self._files)})
        self._report()

    def emit(self, record: logging.LogRecord) -> None:
        """Make a log line an event."""
        kind = "warning" if record.levelno >= logging.WARNING else "note"
        line = record.getMessage()
        if str(self._output.parent) not in line:  # paths of the server are nobody's business
            self._store.tell(self._job.id, kind, {"text": for_client(line, self._files)})

    # -- segments ------------------------------------------------------------------------------------------------------

    def _segments(self, done: int, total: int) -> dict[str, Any]:
        """Return the number of the segment in progress, how many there are, and the seconds left."""
        folder = self._job_folder()
        count = 0 if folder is None else KeptProgress.read(folder).segments
        finished = 0 if folder is None else len(finished_sizes(folder))
        if self._finished is not None and finished > self._finished:
            self._store.tell(self._job.id, "segment", {"segment": finished, "segments": count})
        self._finished = finished
        now = time.time()
        steps = finished * total + done
        if self._began is None:
            self._began, self._steps_before, self.first_segment = now, steps, now
            self._store.tell(self._job.id, "segment", {"segment": finished, "segments": count})
        self.segment_seconds = now - self._began
        made, left = steps - self._steps_before, max(0, count * total - steps)
        seconds = round(self.segment_seconds / made * left, 1) if made > 0 else None
        return {"segment": min(finished + 1, max(count, 1)), "segments": count, "seconds_left": seconds}

    def _job_folder(self) -> Path | None:
        folders = sorted(work_folder(self._output).glob("job-*"), key=lambda path: path.stat().st_mtime)
        return folders[-1] if folders else None

    def _report(self) -> None:
        self._last = time.monotonic()
        wish = self._store.report(self._job.id, self._progress)
        if wish is not None:
            raise JobStopped(wish)
        if self._stops():
            raise JobStopped(None)

    def finish(self) -> None:
        """Tell that all segments of the video are made."""
        segments = self._progress.get("segments")
        if segments:
            self._store.tell(self._job.id, "segment", {"segment": segments, "segments": segments})

    def __enter__(self) -> "ReportedProgress":
        logger.addHandler(self)
        logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        logger.removeHandler(self)


def _stage(task: str) -> str:
    for prefix in (_SEGMENT, _BACKGROUND):
        if task.startswith(prefix):
            return prefix.strip()
    return task
