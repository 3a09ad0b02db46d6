"""Shows progress in a terminal: bars with time left, lines that stay, posegen's log lines.

In a pipe or a log file bars become single lines. Nothing here affects the work.
"""

import logging
import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from posegen.errors import logger

LINE_EVERY = 15.0
"""Seconds between lines of progress where there is no terminal."""


class _ConsoleHandler(logging.Handler):
    """Shows posegen's log lines above the bars; warnings begin with "warning:"."""

    def __init__(self, console: Console) -> None:
        super().__init__(logging.INFO)
        self.console = console

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        prefix = "warning: " if record.levelno >= logging.WARNING else ""
        self.console.print(prefix + record.getMessage(), highlight=False, markup=False, soft_wrap=True)


class Terminal:
    """A `posegen.progress.Progress` on stderr, which also shows posegen's log lines while it is open."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            speed_estimate_period=300,  # seconds: steps may take longer than rich's 30
            disable=not self.console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._last_line = 0.0
        self._handler = _ConsoleHandler(self.console)

    def __enter__(self) -> "Terminal":
        logger.addHandler(self._handler)
        logger.setLevel(logging.INFO)
        logger.propagate = False
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()
        logger.removeHandler(self._handler)

    def update(self, task: str, done: int, total: int) -> None:
        """Move the task's bar; without a terminal, print a line every `LINE_EVERY` seconds."""
        if self.console.is_terminal:
            if task not in self._tasks:
                self._tasks[task] = self._bars.add_task(task, total=total, completed=done)  # kept work has no speed
            self._bars.update(self._tasks[task], completed=done, total=total)
        elif done == total or time.monotonic() - self._last_line > LINE_EVERY:
            self._last_line = time.monotonic()
            self.say(f"{task}: {done}/{total}")

    def say(self, line: str) -> None:
        """Print a line that stays."""
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)
