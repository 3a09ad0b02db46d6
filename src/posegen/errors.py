"""Errors that a user can mend, and warnings that a user should read.

Everything a user can cause (a bad file, a bad option, a bad checkpoint) is raised as `PosegenError` with one
line that says what was expected, what came and what to do; the command line prints that line and exits with 2.
Anything else that escapes is a defect of posegen: the command line writes its traceback to a log file.
"""

import logging

logger = logging.getLogger("posegen")
"""The package's one logger. The command line shows it through rich; libraries may configure it as usual."""


class PosegenError(ValueError):
    """A problem of the input, said in one line. Exit code 2."""


class OutputError(PosegenError):
    """The result cannot be written (folder not writable, disk full). Finished work is kept."""


class DiskFullError(OutputError):
    """There is no room for what is to be written. Finished work is kept."""
