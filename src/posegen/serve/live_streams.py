"""Streams that last as long as a job: its events (SSE), and the video that grows.

One task looks for changes of the store; all streams of events wait for it, so that many readers cost little.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from starlette.concurrency import run_in_threadpool

from posegen.serve.job_store import JobStore, UnknownJobError

_LOOK = 0.15
"""Seconds between two looks for changes, and for more of a growing video."""
_ALIVE = 15.0
"""Seconds after which a comment shows that a stream without events is still there."""
_BLOCK = 256 << 10
_OVER = ("completed", "failed", "cancelled")
"""Statuses after which nothing more happens by itself."""


class Changes:
    """Tells waiting streams when anything in the store has changed; `stops` tells when the server is to stop."""

    def __init__(self, store: JobStore, stops: Callable[[], bool]) -> None:
        self.store, self.stops = store, stops
        self._task: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()

    async def next(self, seconds: float) -> bool:
        """Wait for a change, or so long. Returns False once the server is to stop."""
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._watch())
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)
        return not self.stops()

    async def _watch(self) -> None:
        database = sqlite3.connect(self.store.path, timeout=5)  # one that changes nothing: it sees others' changes
        try:
            seen = None
            while not self.stops():
                version = database.execute("PRAGMA data_version").fetchone()[0]
                if version != seen:
                    seen = version
                    changed, self._changed = self._changed, asyncio.Event()
                    changed.set()
                await asyncio.sleep(_LOOK)
        finally:
            self._changed.set()
            database.close()


async def job_events(
    store: JobStore, changes: Changes, name: str, after: int, shown: Callable[[str], dict[str, Any]]
) -> AsyncIterator[str]:
    """Yield a job's events as server-sent events, from the one after number `after`, until nothing more will happen.

    Between them come events `progress` without a number: the job as `shown` returns it, whenever it has changed.
    """
    last, quiet = "", 0.0
    while True:
        try:
            events = await run_in_threadpool(store.events, name, after)
            job = await run_in_threadpool(shown, name)
        except UnknownJobError:
            yield _event("status", {"status": "deleted"})
            return
        for event in events:
            after, quiet = event.number, 0.0
            yield _event(event.kind, {**event.data, "at": round(event.moment, 3)}, event.number)
        progress = json.dumps(job)
        if progress != last:
            last, quiet = progress, 0.0
            yield _event("progress", job)
        if job["status"] in _OVER and not events:
            return
        if quiet >= _ALIVE:
            quiet = 0.0
            yield ": nothing new\n\n"
        if not await changes.next(1.0):
            return
        quiet += 1.0


def _event(kind: str, data: dict[str, Any], number: int | None = None) -> str:
    head = f"event: {kind}\n" if number is None else f"event: {kind}\nid: {number}\n"
    return f"{head}data: {json.dumps(data, ensure_ascii=False)}\n\n"


async def growing_video(path: Path, running: Callable[[], bool], stops: Callable[[], bool]) -> AsyncIterator[bytes]:
    """Yield a file from its beginning while it grows, until the work is over or begins anew (then in another file).

    Raises `FileNotFoundError` at once if it is not there.
    """
    file = await run_in_threadpool(path.open, "rb")
    return _tail(file, path, running, stops)


async def _tail(
    file: BinaryIO, path: Path, running: Callable[[], bool], stops: Callable[[], bool]
) -> AsyncIterator[bytes]:
    with file:
        while True:
            block = await run_in_threadpool(file.read, _BLOCK)
            if block:
                yield block
                continue
            if stops() or not _is_same(file, path) or not await run_in_threadpool(running):
                while block := await run_in_threadpool(file.read, _BLOCK):  # what came in the meantime
                    yield block
                return
            await asyncio.sleep(_LOOK)


def _is_same(file: BinaryIO, path: Path) -> bool:
    """Return whether the path still leads to the opened file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except OSError:
        return False
