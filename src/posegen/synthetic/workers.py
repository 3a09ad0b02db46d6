"""Runs a task over numbers in worker processes: renewed, replaced when they die, and ended with this process.

Not `concurrent.futures`: in Python 3.11 its pool stops for ever when `max_tasks_per_child` is reached (cpython issue
115634), on Ctrl-C it waits for everything queued, and when killed it leaves its processes behind. It knows nothing of
the task.
"""

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

import psutil

from posegen.errors import PosegenError, logger

Task = Callable[[int, Callable[[int], None]], Any]
"""Called with a number and with a function that reports progress; picklable."""
WORKER_MEMORY = 1_000_000_000
"""Bytes that a worker needs (measured: 0.7 GB)."""
_TASKS_PER_PROCESS = 8
"""Processes are renewed after so many, so that no leak of a library can grow."""
_ATTEMPTS = 3


def default_workers() -> int:
    """One worker for each physical core that this process may use, fewer where memory is short."""
    cores = psutil.cpu_count(logical=False) or os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        cores = min(cores, len(os.sched_getaffinity(0)))
    return max(1, min(cores, psutil.virtual_memory().available // WORKER_MEMORY))


@dataclass
class _Worker:
    """A process, the number it works on, and the count of its tasks."""

    process: BaseProcess
    number: int
    given: int = 1


def run_in_processes(
    task: Task,
    numbers: Sequence[int],
    workers: int,
    report: Callable[[int, int], None],
    done: Callable[[int, Any], None],
) -> None:
    """Run `task` for each number in up to `workers` spawned processes; `report` and `done` are called in this one.

    A task whose process dies is tried again a few times. Raises what a task raises, and `PosegenError` where processes
    keep dying; then, and on Ctrl-C, all processes are ended at once.
    """
    waiting, deaths = deque(numbers), Counter[int]()
    running: dict[Connection, _Worker] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                _start(task, waiting.popleft(), running)
            for connection in wait(list(running)):
                assert isinstance(connection, Connection)
                worker = running[connection]
                try:
                    kind, content = connection.recv()
                except (EOFError, OSError):
                    del running[connection]
                    _count_death(worker, deaths)
                    waiting.appendleft(worker.number)
                    continue
                if kind == "report":
                    report(worker.number, content)
                elif kind == "failed":
                    raise content
                else:
                    done(worker.number, content)
                    if waiting and worker.given < _TASKS_PER_PROCESS:
                        worker.number, worker.given = waiting.popleft(), worker.given + 1
                        with contextlib.suppress(OSError):  # it died: found out by the next recv
                            connection.send(worker.number)
                    else:
                        del running[connection]
                        connection.close()
                        worker.process.join()
    finally:
        for worker in running.values():
            worker.process.terminate()
        for connection, worker in running.items():
            connection.close()
            worker.process.join()


def _start(task: Task, number: int, running: dict[Connection, _Worker]) -> None:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(task, theirs), daemon=True)
    with _interrupts_held():
        process.start()
        running[ours] = _Worker(process, number)
    theirs.close()
    with contextlib.suppress(OSError):
        ours.send(number)


def _count_death(worker: _Worker, deaths: Counter[int]) -> None:
    worker.process.join()
    deaths[worker.number] += 1
    code = worker.process.exitcode
    if deaths[worker.number] == _ATTEMPTS:
        raise PosegenError(
            f"worker processes keep dying (exit code {code}): each needs about {WORKER_MEMORY / 1e9:.0f} GB of memory, "
            "so try fewer workers"
        )
    logger.warning("A worker process died (exit code %s); a new one continues.", code)


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Start processes inside that never see Ctrl-C, which a terminal sends to all: only their parent handles it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(task: Task, connection: Connection) -> None:
    """Do a task for each number that comes, until there are no more: the main function of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(EOFError, OSError):
        while True:
            number = connection.recv()
            try:
                message = ("done", task(number, lambda content: connection.send(("report", content))))
            except Exception as error:
                error.add_note(traceback.format_exc())
                message = ("failed", error)
            connection.send(message)


def _end_with_parent() -> None:
    if (parent := multiprocessing.parent_process()) is not None:
        parent.join()
    os._exit(1)
