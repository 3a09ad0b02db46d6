"""How long work tells what it is doing: a protocol, and the silent form of it.

The command line shows it with rich (`apps/terminal.py`), a web page could show it otherwise.
"""

from typing import Protocol, runtime_checkable


@runtime_checkable
class Progress(Protocol):
    """Hears of tasks by name; a task starts when it is first heard of and ends at `done == total`."""

    def update(self, task: str, done: int, total: int) -> None:
        """`done` of `total` units of the task are finished."""

    def say(self, line: str) -> None:
        """One line that the user should read."""


class NullProgress:
    """Shows nothing."""

    def update(self, task: str, done: int, total: int) -> None:
        """Ignore."""

    def say(self, line: str) -> None:
        """Ignore."""
