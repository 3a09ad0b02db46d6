"""Errors that a user can fix, and the logger for warnings.

Everything a user can cause (a bad file, a bad option, a bad checkpoint) is raised as `PosegenError` with one
line that states what was expected, what was found and what to do; the command line prints that line and exits with 2.
Any other exception is a bug in posegen: the command line writes its traceback to a log file.

Messages name settings as on the command line (`--pose-file`). In Python they are shown with Python's names
(`pose_file`), unless the command line runs, in this process or in the one that started it.
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator

logger = logging.getLogger("posegen")
"""The package's only logger. The command line shows it through rich; applications may configure it as usual."""

_SHELL = "POSEGEN_NAMES_SETTINGS_AS_OPTIONS"
"""Environment variable, so that processes started by a command name settings in the same way."""
_OPTION = re.compile(r"(?<![\w-])--(no-)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")


class PosegenError(ValueError):
    """A problem with the input, described in one line. Exit code 2."""

    def __str__(self) -> str:
        """Return the line, with settings named as its reader writes them."""
        text = super().__str__()
        return text if os.environ.get(_SHELL) else with_python_names(text)


class OutputError(PosegenError):
    """The result cannot be written (folder not writable, disk full). Finished work is kept."""


class DiskFullError(OutputError):
    """The disk is full. Finished work is kept."""


@contextlib.contextmanager
def settings_named_as_options() -> Iterator[None]:
    """Make errors inside the block name settings as command-line options, in this process and its subprocesses."""
    before = os.environ.get(_SHELL)
    os.environ[_SHELL] = "1"
    try:
        yield
    finally:
        os.environ.pop(_SHELL)
        if before is not None:
            os.environ[_SHELL] = before


def with_python_names(text: str) -> str:
    """Replace options with Python's names: `--pose-file` with `pose_file`, `--no-hands` with `hands=False`.

    Commands between backquotes are left unchanged: they are for a shell.
    """
    parts = text.split("`")
    return "`".join(_OPTION.sub(_python_name, part) if at % 2 == 0 else part for at, part in enumerate(parts))


def _python_name(option: re.Match[str]) -> str:
    name = option[2].replace("-", "_")
    return f"{name}=False" if option[1] else name
