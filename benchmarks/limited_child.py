"""Runs a function in a forked child with limits on memory and time, and reports how it ended.

Only for Linux: memory and the time that a child waited for a processor come from /proc. That waiting, which depends on
what else the machine does, does not count against the time limit.
"""

import contextlib
import io
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ADDRESS_SPACE, FILE_SIZE = 10 << 30, 1 << 30
"""Bytes; the libraries alone map 3 GB."""
_LOOK = 0.05
"""Seconds between two looks at a child."""
_SLOWEST = 20
"""A child is ended in any case when so many times the time limit are over."""


@dataclass(frozen=True)
class Ended:
    """Result of a child. code: exit code, negative for a signal; seconds: without waiting for a processor; peak: bytes
    of memory, children of the child included; stopped: the limit that ended it, or an empty text."""

    code: int
    seconds: float
    peak: int
    stopped: str
    stdout: str
    stderr: str


def run_limited(
    work: Callable[[], object],
    folder: Path,
    seconds: float,
    memory: int,
    kill_when: Callable[[float], bool] | None = None,
) -> Ended:
    """Run `work` in a child; `folder` gets its standard streams, and is its working folder.

    kill_when: asked a hundred times a second with the seconds so far; once it says so, the child, but none of its
    children, gets SIGKILL, as from somebody at a terminal.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    began = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(work, folder)
    peak, waited, stopped = 0, 0.0, ""
    while True:
        ended, status, usage = os.wait4(child, os.WNOHANG)
        if ended:
            break
        waited = _waited(child) or waited
        peak = max(peak, memory_now(child))
        spent = time.monotonic() - began
        if peak > memory:
            stopped = "memory"
        elif spent - waited > seconds or spent > _SLOWEST * seconds:
            stopped = "time"
        if kill_when is not None and kill_when(spent):
            os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            break
        if stopped:
            try:
                os.killpg(child, signal.SIGKILL)
            except ProcessLookupError:  # it leads no group yet
                os.kill(child, signal.SIGKILL)
            _, status, usage = os.wait4(child, 0)
            break
        time.sleep(_LOOK if kill_when is None else _LOOK / 5)
    spent = time.monotonic() - began
    if kill_when is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # what it may have left behind
    stdout, stderr = (
        (folder / name).read_text(encoding="utf-8", errors="backslashreplace") for name in ("stdout", "stderr")
    )
    code = os.waitstatus_to_exitcode(status)
    return Ended(code, max(0.0, spent - waited), max(peak, usage.ru_maxrss * 1024), stopped, stdout, stderr)


def _become(work: Callable[[], object], folder: Path) -> None:
    """Be the child; never returns."""
    code = 1
    try:
        os.setsid()
        os.chdir(folder)
        for number, name in ((1, "stdout"), (2, "stderr")):
            opened = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
            os.dup2(opened, number)
            os.close(opened)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False))
        sys.stdout, sys.stderr = (
            io.TextIOWrapper(io.FileIO(number, "w", closefd=False), "utf-8", line_buffering=True) for number in (1, 2)
        )
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
        resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_SIZE, FILE_SIZE))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        try:
            work()
            code = 0
        except SystemExit as asked:
            code = asked.code if isinstance(asked.code, int) else int(asked.code is not None)
        except BaseException:
            traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            import atexit

            atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(BaseException):
                stream.flush()
        os._exit(code)


def _waited(process: int) -> float:
    """Seconds that the main thread of a process was ready, but had no processor; 0 where that cannot be seen."""
    try:
        return int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


def memory_now(process: int) -> int:
    """Bytes of memory that a process and its children have now."""
    try:
        content = Path(f"/proc/{process}/status").read_text()
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return 0
    line = next((line for line in content.splitlines() if line.startswith("VmRSS:")), "VmRSS: 0 kB")
    return int(line.split()[1]) * 1024 + sum(memory_now(int(child)) for child in children)
