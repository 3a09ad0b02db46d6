"""Writes on another thread, so that encoding continues while the producer computes."""

import queue
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Generic, TypeVar

Item = TypeVar("Item")


class WriteBehind(Generic[Item]):
    """Context manager that passes items to `write` in order, on another thread, at most `depth` of them late.

    On leaving, also with an error, every item that was accepted is written. An error of `write` is raised by the next
    call of `put`, or on leaving; nothing is written after it.
    """

    def __init__(self, write: Callable[[Item], None], depth: int) -> None:
        self._write = write
        self._waiting: queue.Queue[tuple[Item] | None] = queue.Queue(depth)
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, daemon=True)

    def put(self, item: Item) -> None:
        """Have the item written; waits while `depth` others do."""
        if self._error is None:
            self._waiting.put((item,))
        if self._error is not None:
            raise self._error

    def __enter__(self) -> "WriteBehind[Item]":
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if error is None and self._error is not None:
            raise self._error

    def _work(self) -> None:
        while (waiting := self._waiting.get()) is not None:
            if self._error is None:
                try:
                    self._write(*waiting)
                except BaseException as error:  # raised where items come from
                    self._error = error
