"""Makes the batches of the next steps on threads, and moves them to the device before they are needed.

A GPU computes a step faster than one thread prepares it; each step's batch is a function of its number, so threads can
make several at once without changing anything. On a CPU, where both would want its cores, batches are made when they
are asked for. The stage defines what a batch is.
"""

import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import is_dataclass, replace
from typing import Any

import torch

_THREADS = 6
_DEPTH = 8
"""Steps whose batches are made ahead."""


class Prefetcher:
    """Gives the batches of steps `first` .. `last` - 1, in order. Close it, or use it as a context manager."""

    def __init__(self, make: Callable[[int], list[Any]], first: int, last: int, device: torch.device) -> None:
        """make: returns the batches of a step, on the CPU."""
        self._make, self._next, self._last, self._device = make, first, last, device
        self._waiting: deque[Future[list[Any]]] = deque()
        self._threads: ThreadPoolExecutor | None = None
        if device.type != "cpu":
            self._threads = ThreadPoolExecutor(max(1, min(_THREADS, (os.cpu_count() or 2) - 1)), "batches")

    def __enter__(self) -> "Prefetcher":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop making batches."""
        for future in self._waiting:
            future.cancel()
        if self._threads is not None:
            self._threads.shutdown(cancel_futures=True)

    def take(self) -> list[Any]:
        """Return the batches of the next step, on the device. Raises what making them raised."""
        if self._threads is None:
            self._next += 1
            return self._make(self._next - 1)
        while len(self._waiting) < _DEPTH and self._next < self._last:
            self._waiting.append(self._threads.submit(self._made, self._next))
            self._next += 1
        return self._waiting.popleft().result()

    def _made(self, step: int) -> list[Any]:
        batches = self._make(step)
        if self._device.type != "cuda":
            return batches
        stream = torch.cuda.Stream(self._device)
        with torch.cuda.stream(stream):  # else copies would wait for the step that is being computed
            placed = [placed_on(batch, self._device) for batch in batches]
        stream.synchronize()
        return placed


def placed_on(batch: Any, device: torch.device) -> Any:
    """Return a batch, a dictionary or dataclass of tensors, on a device; other values are unchanged."""
    if isinstance(batch, dict):
        return {name: _moved(value, device) for name, value in batch.items()}
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{name: _moved(value, device) for name, value in vars(batch).items()})
    raise TypeError(f"a batch is a dictionary or dataclass of tensors, not {type(batch).__name__}")


def _moved(value: Any, device: torch.device) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    moved = value.to(device)
    if device.type == "cuda":  # freed by the stream that computes with it, not by the one that copied it
        moved.record_stream(torch.cuda.default_stream(device))
    return moved
