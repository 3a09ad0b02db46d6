"""Progress of long-running work: a protocol, and an implementation that shows nothing.

The command line implements it with rich (`apps/terminal.py`); other front ends can implement it differently.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Receives updates of named tasks; a task starts with its first update and ends at `done == total`."""

    def update(self, task: str, done: int, total: int) -> None:
        """Report that `done` of `total` units of the task are finished."""

    def say(self, line: str) -> None:
        """Show one line to the user."""


class NullProgress:
    """Progress that shows nothing."""

    def update(self, task: str, done: int, total: int) -> None:
        """Ignore."""

    def say(self, line: str) -> None:
        """Ignore."""
