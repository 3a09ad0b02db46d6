"""One processor core for each call that a worker computes, so that libraries start no more threads than help.

Decoders and MediaPipe start as many threads as they see cores, in every worker: on a large machine thousands. A call
that sees one core starts one of each. Cores are claimed through the operating system, so that all runs of this machine
share them; the engine decides the number of workers.
"""

import contextlib
import functools
import os
import socket
from collections.abc import Iterator

_CLAIM = "posegen-core"
"""Name of a claim, all over the machine."""


@contextlib.contextmanager
def one_core() -> Iterator[int | None]:
    """Keep this process on a core that nobody else holds while the context is open; gives the core's number.

    None, and all cores that were allowed to the process, where every one is held, or where the system knows no such
    thing (it is Linux's).
    """
    if not hasattr(os, "sched_setaffinity"):
        yield None
        return
    for core in _allowed():
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as claim:
            try:
                claim.bind(f"\0{_CLAIM}-{core}")  # a name without a file: it goes with the process, however it ends
            except OSError:
                continue
            _keep_on({core})
            yield core
            return
    _keep_on(set(_allowed()))
    yield None


@functools.cache
def _allowed() -> tuple[int, ...]:
    """Return the cores that the process could use when it started."""
    return tuple(sorted(os.sched_getaffinity(0)))


def _keep_on(cores: set[int]) -> None:
    """Set the cores of all threads, including those that libraries started before."""
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # it has just ended
            os.sched_setaffinity(int(thread), cores)
