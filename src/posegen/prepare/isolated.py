"""Runs a function in a process of its own: a crash, a hang or too much memory ends that process, not the caller's.

Decoders and models are C code that a broken file can bring down. The process lives on between items, so models are
loaded once; after a death the next item gets a new one. It knows nothing of the function.
"""

import contextlib
import os
import pickle
import selectors
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from typing import IO, Any

import psutil

from posegen.errors import DiskFullError, OutputError, PosegenError
from posegen.library_imports import imported_for_good

_HEAD = struct.Struct("<Q")
_LOOK = 0.25
"""Seconds between looks at the process's memory."""
_START = 600
"""Seconds that a process may take to start: libraries are large, and machines busy."""
_GRACE = 5
"""Seconds after the time limit at which the process ends itself, should its parent be gone."""
_launch = subprocess.Popen
_works = threading.Event()
"""Set in an isolated process."""


class CrashError(PosegenError):
    """The process died, or was ended because it hung or took too much memory; the message says which."""


class SetupError(PosegenError):
    """Something that the process needs for every item is missing, such as a model's weights; the message names it."""


class UnreachableWorkerError(PosegenError):
    """The operating system refused to read an input, which it may not do next time."""


_KINDS: dict[str, type[PosegenError]] = {
    kind.__name__: kind for kind in (PosegenError, UnreachableWorkerError, OutputError, DiskFullError)
}


class Isolated:
    """Calls `make()(item)` in a process that is started when it is first needed, `make()` once in each.

    make: picklable, and what it makes a function of picklable items; timeout: seconds for an item; memory: bytes.
    """

    def __init__(self, make: Callable[[], Callable[[Any], Any]], timeout: float, memory: float) -> None:
        self._make, self._timeout, self._memory = make, timeout, memory
        self._process: subprocess.Popen[bytes] | None = None

    def __call__(self, item: Any, patience: float | int = 1) -> Any:
        """Return the result, which may take `patience` times the time limit.

        Raises `CrashError`, or what the function raised: `PosegenError`s as they are, else RuntimeError; `SetupError`
        where the function cannot be made.
        """
        try:
            process = self._process or self._start()
            kind, content = self._answer(process, item, patience * self._timeout)
        except (BrokenPipeError, EOFError):
            raise CrashError(self._end()) from None
        if kind == "result":
            return content
        if kind in _KINDS:
            raise _KINDS[kind](content)
        raise RuntimeError(content)

    def close(self) -> None:
        """End the process."""
        self._end()

    def _start(self) -> subprocess.Popen[bytes]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        self._process = process = _launch(
            [sys.executable, "-c", "from posegen.prepare import isolated; isolated.work()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )
        _send(process.stdin, os.getpid())
        try:
            kind, content = self._answer(process, self._make, _START)
        except (BrokenPipeError, EOFError):
            raise SetupError(f"a worker cannot start: {self._end()}") from None
        except CrashError as error:
            raise SetupError(f"a worker cannot start: {error}") from None
        if kind != "result":
            self._end()
            raise SetupError(
                content if kind in _KINDS else f"a worker cannot start: {content.strip().splitlines()[-1]}"
            )
        return process

    def _answer(self, process: subprocess.Popen[bytes], item: Any, timeout: float | int) -> Any:
        _send(process.stdin, (item, timeout))
        return self._receive(process, timeout)

    def _receive(self, process: subprocess.Popen[bytes], timeout: float | int) -> Any:
        assert process.stdout is not None
        deadline = time.monotonic() + timeout
        watched = psutil.Process(process.pid)
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            while not selector.select(_LOOK):
                if time.monotonic() > deadline:
                    self._end()
                    raise CrashError(f"hung: not done after {timeout:g} s")
                with contextlib.suppress(psutil.Error):
                    if watched.memory_info().rss > self._memory:
                        self._end()
                        raise CrashError(f"took more than {self._memory / 1e9:.1f} GB of memory")
        return _receive(process.stdout)

    def _end(self) -> str:
        """End the process, if there is one, and return how it had died if it had."""
        process, self._process = self._process, None
        if process is None:
            return "was ended"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)  # one that has closed its pipe is about to die by itself
        code = process.poll()
        process.kill()
        process.wait()
        for stream in (process.stdin, process.stdout):
            with contextlib.suppress(OSError):
                stream.close()  # type: ignore[union-attr]
        if code is None:
            return "was ended"
        name = signal.Signals(-code).name if code < 0 else f"exit code {code}"
        return f"its process crashed ({name})"


def _send(stream: Any, content: Any) -> None:
    data = pickle.dumps(content)
    stream.write(_HEAD.pack(len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> Any:
    head = stream.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise EOFError
    (size,) = _HEAD.unpack(head)
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return pickle.loads(data)


def allow(seconds: float) -> None:
    """Set a new time limit from now on, for a part of an item. Does nothing outside an isolated process."""
    if _works.is_set():
        signal.alarm(int(seconds) + _GRACE)


def work() -> None:
    """Answer items until there are no more: the main function of an isolated process."""
    _works.set()
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints is not to disturb the answers
    # if memory ends for the machine, this process goes first
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    with contextlib.suppress(EOFError):
        parent = _receive(requests)
        threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
        function: Callable[[Any], Any] | None = None
        while True:
            with imported_for_good() if function is None else contextlib.nullcontext():
                item, timeout = _receive(requests)
                allow(timeout)  # by the system, even if Python itself hangs
                try:
                    if function is None:  # the first item is what makes it
                        function = item()
                        answer: tuple[str, Any] = ("result", None)
                    else:
                        answer = ("result", function(item))
                except PosegenError as error:
                    answer = (_kind_of(error), str(error))
                except Exception:
                    answer = ("failed", traceback.format_exc(limit=-6))
            signal.alarm(0)
            _send(answers, answer)


def _kind_of(error: PosegenError) -> str:
    """Return the name under which an error is raised again in the caller's process."""
    if isinstance(error, OutputError):
        return type(error).__name__
    return UnreachableWorkerError.__name__ if isinstance(error.__cause__, OSError) else PosegenError.__name__


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)
