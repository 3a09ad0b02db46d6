"""Measure multiplication and convolution in float32 and bfloat16 on this CPU: the reason for `--dtype auto`.

python benchmarks/number_formats.py
"""

import os
import time

import torch

from posegen.devices import computes_bfloat16
from results_file import write_result

SIDE, CHANNELS = 1024, 96


@torch.no_grad()
def gflops(dtype: torch.dtype) -> dict[str, float]:
    """Speed of a square matrix product and of a 3 x 3 convolution like the mini's."""
    first, second = (torch.randn(SIDE, SIDE, dtype=dtype) for _ in range(2))
    layer = torch.nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1).to(dtype)
    pictures = torch.randn(4, CHANNELS, 64, 36, dtype=dtype)
    return {
        "matrix product": round(2 * SIDE**3 / seconds(lambda: first @ second) / 1e9, 2),
        "convolution": round(2 * 9 * CHANNELS**2 * 4 * 64 * 36 / seconds(lambda: layer(pictures)) / 1e9, 2),
    }


def seconds(work) -> float:
    work()
    times = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return min(times)


if __name__ == "__main__":
    figures: dict[str, object] = {
        "processor capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "load": round(os.getloadavg()[0], 1),
        "instructions for bfloat16": computes_bfloat16(torch.device("cpu")),
        "gflops": {str(dtype).removeprefix("torch."): gflops(dtype) for dtype in (torch.float32, torch.bfloat16)},
    }
    write_result("number_formats", figures)
