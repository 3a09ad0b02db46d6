"""Ends a failed command with one line and an exit code, whatever happened.

SIGTERM and SIGHUP are treated like Ctrl-C. An unforeseen error is one line, too, which names a log file with its
traceback. `cli` defines the commands.
"""

import contextlib
import errno
import os
import re
import signal
import sys
import tempfile
import threading
import time
import traceback
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import platformdirs

from posegen import __version__
from posegen.errors import PosegenError, settings_named_as_options
from posegen.extras import how_to_install

ADDRESS_SPACE = 4_000_000_000
"""Bytes that a process must be allowed to map: the libraries alone map 2.8 GB."""
_RESUMES = "finished work is kept, and the same command resumes"
_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "can't start new thread",
              "failed to map", "not enough memory", "bad_alloc")  # fmt: skip  # a table, read in rows
_UNREADABLE = (EOFError, ArithmeticError, RecursionError, zipfile.BadZipFile, zlib.error)
_SYSTEM_LIBRARY = re.compile(r"(\S+\.(?:so|dylib|dll)[.\d]*): cannot open shared object file")
_KEPT_LOGS = 20
_LONGEST_LINE = 1500
"""Characters: an input may hold a name of megabytes."""


class Stopped(KeyboardInterrupt):
    """Raised by SIGTERM and SIGHUP. It is a KeyboardInterrupt, so that finished work is kept as for Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def answering_signals() -> Iterator[None]:
    """Make SIGTERM and SIGHUP raise `Stopped` inside the block, once; a second one ends the process at once.

    A signal that is ignored, as under `nohup`, stays ignored. In other threads than the main one this does nothing.
    """
    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    before = {number: signal.getsignal(number) for number in numbers}
    mine = [number for number, handler in before.items() if handler is signal.SIG_DFL]

    def stop(number: int, frame: FrameType | None) -> None:
        for each in mine:
            signal.signal(each, signal.SIG_DFL)
        raise Stopped(number)

    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def guarded(run: Callable[[], None]) -> int:
    """Run, and turn any error into one line and an exit code (listed in `cli`)."""
    try:
        with answering_signals(), settings_named_as_options():
            run()
    except PosegenError as error:
        with settings_named_as_options():
            return _end(2, str(error))
    except Stopped as error:
        return _end(128 + error.number, f"stopped by {error}; the same command resumes")
    except KeyboardInterrupt:
        return _end(130, "interrupted; the same command resumes")
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python tries again at its end
        return 128 + signal.SIGPIPE
    except Exception as error:
        return _unforeseen(error)
    return 0


def _end(code: int, line: str) -> int:
    with contextlib.suppress(OSError):  # the terminal is gone
        line = " ".join(line.splitlines())
        shown = line if len(line) <= _LONGEST_LINE else f"{line[:_LONGEST_LINE]}... ({len(line):,} characters in all)"
        print(f"posegen: {shown}", file=sys.stderr, flush=True)
    return code


def _unforeseen(error: Exception) -> int:
    text = " ".join(str(error).split())
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _end(2, f"the disk is full: free some space; {_RESUMES}")
    if isinstance(error, MemoryError) or any(words in text.lower() for words in _NO_MEMORY) or _is(error, errno.ENOMEM):
        problem = f"there is not enough memory ({text[:120] or 'none is left'}): free some, or choose a smaller size"
        return _end(2, f"{problem}; {_RESUMES}; {_write_log(error)}")
    missing = _missing_module(error)
    if missing is not None:
        return _end(2, f"{missing}; {_write_log(error)}")
    if isinstance(error, OSError) and error.filename is not None and type(error).__module__ == "builtins":
        return _end(2, f"{error.filename}: {error.strerror}")  # too long a name, a folder that may not be read, ...
    if isinstance(error, ValueError) and "embedded null" in text:  # Python's words for a path that it does not hand on
        return _end(2, "a path contains a NUL character: correct the file that it comes from")
    what = f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
    file = file_of(error)
    if isinstance(error, (*_UNREADABLE, OSError)) or type(error).__module__.startswith("av."):
        where = f"{file}: cannot be used" if file else "an input cannot be used"
        return _end(2, f"{where} ({what}); {_write_log(error)}")
    where = f" with {file}" if file else ""
    return _end(1, f"a defect of posegen{where} ({what}): please report it; {_write_log(error)}")


def _missing_module(error: BaseException) -> str | None:
    """A line about a module that cannot be imported, why, and what to do; None where the error has another cause.

    Libraries wrap the error in their own, so the first of the chain counts.
    """
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None and cause not in chain:
        chain.append(cause)
    found = next((each for each in reversed(chain) if isinstance(each, ImportError)), None)
    text = " ".join(str(found or error).split())[:200]
    library = _SYSTEM_LIBRARY.search(text)
    if found is None:
        return f"{_of_the_system(library[1])} ({text})" if library and isinstance(error, OSError) else None
    if found.name is None and "pip install" in text:  # a library's own message about an optional package
        return f"a package is missing: {text}"
    module = found.name or _imported_by(found)
    problem = f"the module {module} cannot be imported ({text or type(found).__name__})"
    if library and not re.match(r"lib(torch|c10|cud|nv)", Path(library[1]).name):  # these come with packages
        return f"{problem}: {_of_the_system(library[1])}"
    return f"{problem}, so the installation is incomplete: {how_to_install(module)}"


def _of_the_system(library: str) -> str:
    return f"the system's library {Path(library).name} is missing: install the package of your system that contains it"


def _imported_by(error: ImportError) -> str:
    """The module that raised an import error without a name."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    return str(frames[-1].f_globals.get("__name__", "posegen")) if frames else "posegen"


def _is(error: BaseException, number: int) -> bool:
    return isinstance(error, OSError) and error.errno == number


def file_of(error: BaseException) -> Path | None:
    """The file in use: the error's own, or the nearest argument that is one; None if none is."""
    named = getattr(error, "filename", None)
    if isinstance(named, str) and named:
        return Path(named.removeprefix("file:"))
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        code = frame.f_code
        if "posegen" in Path(code.co_filename).parts:
            for name in code.co_varnames[: code.co_argcount]:
                value: Any = frame.f_locals.get(name)
                with contextlib.suppress(OSError):
                    if isinstance(value, Path) and value.is_file():
                        return value
    return None


def _write_log(error: BaseException) -> str:
    """Write the traceback to a file; return words that name it."""
    text = f"posegen {__version__}, Python {sys.version}\n{sys.argv}\n{''.join(traceback.format_exception(error))}"
    for folder in (platformdirs.user_log_path("posegen"), Path(tempfile.gettempdir())):
        path = folder / f"posegen-error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, errors="backslashreplace")
            for old in sorted(folder.glob("posegen-error-*.log"))[:-_KEPT_LOGS]:
                old.unlink(missing_ok=True)
            return f"the traceback is in {path}"
    return "its traceback cannot be written anywhere"


def check_address_space() -> None:
    """Raise `PosegenError` where the process may map too little memory for its libraries, which would crash."""
    try:
        import resource
    except ImportError:  # not on Windows
        return
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit not in (resource.RLIM_INFINITY, -1) and limit < ADDRESS_SPACE:
        raise PosegenError(
            f"the address space is limited to {limit / 1e9:.1f} GB (ulimit -v), and posegen's libraries alone need "
            f"{ADDRESS_SPACE / 1e9:.0f} GB: raise the limit, for example with `ulimit -v unlimited`"
        )
