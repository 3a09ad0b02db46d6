"""Times, memory and errors for `wan_14b.py`, and the report that its measurements fill in.

Every measurement stands for itself: an error is a result, and what does not fit into the time allowed is skipped and
named.
"""

import argparse
import gc
import statistics
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from results_file import write_result

STARTED = time.perf_counter() - (time.time() - psutil.Process().create_time())
"""When this process began: importing takes its part of `--seconds`."""


class Report:
    """Figures by measurement, kept inside the time allowed and written after each one."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments, self.figures, self.seconds, self.skipped = arguments, {}, {}, []
        self.cuda = torch.cuda.is_available() and not arguments.tiny

    def left(self) -> float:
        return self.arguments.seconds - (time.perf_counter() - STARTED)

    def measure(self, name: str, expected: float, function: Callable[[dict], None]) -> None:
        """Let `function` fill in its figures, if its `expected` seconds are left."""
        if self.arguments.only and name not in self.arguments.only:
            return
        if (0 if self.arguments.tiny else expected) > self.left():
            self.skipped.append(name)
            self.write()
            return
        figures = self.figures[name] = {}
        begin = time.perf_counter()
        attempt(figures, function, figures)
        self.seconds[name] = round(time.perf_counter() - begin, 2)
        release_memory()
        self.write()
        print(f"[{time.perf_counter() - STARTED:6.1f} s] {name}: {self.seconds[name]} s {figures.get('error', '')}")

    def write(self) -> Path:
        return write_result(
            "wan_14b",
            {**self.figures, "seconds_of_measurements": self.seconds, "skipped_for_lack_of_time": self.skipped,
             "seconds_in_all": round(time.perf_counter() - STARTED, 1)},
            self.arguments.output, show=False,
        )  # fmt: skip


def attempt(figures: dict, function: Callable, *arguments):
    """Return what `function` returns; an error becomes a figure."""
    try:
        return function(*arguments)
    except Exception as error:
        where = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)]
        figures["error"] = f"{type(error).__name__}: {str(error)[:600]} ({' < '.join(reversed(where[-6:]))})"
        return None


def release_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def milliseconds(function: Callable[[], object], repeats: int = 3, warm_up: int = 1) -> float:
    """Median time: by CUDA events on a GPU, by the wall elsewhere."""
    for _ in range(warm_up):
        function()
    times = []
    for _ in range(repeats):
        if torch.cuda.is_available():
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            function()
            end.record()
            end.synchronize()
            times.append(begin.elapsed_time(end))
        else:
            clock = time.perf_counter()
            function()
            times.append((time.perf_counter() - clock) * 1e3)
    return statistics.median(times)


def gigabytes(size: float) -> float:
    return round(size / 1e9, 3)


@contextmanager
def peak_memory(figures: dict, name: str) -> Iterator[None]:
    """Bytes allocated at most inside, in all and beyond what was there before."""
    before = 0
    if torch.cuda.is_available():
        synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    yield
    if torch.cuda.is_available():
        peak = torch.cuda.max_memory_allocated()
        figures[name] = {"peak_gb": gigabytes(peak), "beyond_weights_gb": gigabytes(peak - before)}


def relative_error(actual: torch.Tensor, expected: torch.Tensor) -> float:
    actual, expected = actual.detach().double().cpu(), expected.detach().double().cpu()
    error = ((actual - expected).norm() / expected.norm()).item()
    return float(f"{error:.3g}")


@contextmanager
def one_thread() -> Iterator[None]:
    """Tiny operations on a CPU are fastest on one thread, above all beside other programs."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
