"""Defers signals to the end of a training step, so that a checkpoint can be written before the process ends.

SIGINT, SIGTERM and SIGHUP are deferred once; a second one acts at once, as it would without this. A signal that the
process was started to ignore stays ignored: a shell that starts a command in the background of a script sets SIGINT so,
because Ctrl-C then belongs to another command, and nohup sets SIGHUP so. SIGTERM ends such a run.
"""

import signal
import threading
from types import FrameType
from typing import Any

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")


class Interruption:
    """Notes a signal inside a `with` block, instead of acting on it."""

    def __init__(self) -> None:
        self.number: int | None = None
        """The signal that came; None without one."""
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interruption":
        """Take over the signals; Python allows it on the main thread only, so elsewhere do nothing."""
        if threading.current_thread() is threading.main_thread():
            numbers = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
            handlers = {number: signal.getsignal(number) for number in numbers}
            self._before = {
                number: handler for number, handler in handlers.items() if handler not in (signal.SIG_IGN, None)
            }
            for number in self._before:
                signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        self._restore()

    @property
    def came(self) -> bool:
        """True once a signal came."""
        return self.number is not None

    def act(self) -> None:
        """Do what the signal would have done. Raises `KeyboardInterrupt` if another process received it."""
        self._restore()
        if self.number is not None:
            signal.raise_signal(self.number)
        raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
