"""Blocks of Wan2.1-14B's size on a GPU: time, memory and correctness of everything that the transformer offers.

    python benchmarks/wan_14b.py [--seconds 90] [--output benchmarks/results] [--only NAME ...] [--tiny]

Random weights in the 14B's dimensions, a few of its 40 blocks, the published working sizes. Times of a denoising step
and of a segment are extrapolated from the blocks measured, except under "whole_model". Every measurement stands for
itself: an error is a result, the file is written after each one, and what does not fit into `--seconds` is skipped and
named. `--tiny` runs the very same code at toy sizes on a CPU. Loading, text encoders and the autoencoder are not timed.

The measurements are in `wan_14b_speed`, `_sharing`, `_adapters` and `_correctness`, the blocks in `_blocks`.
"""

import argparse
import functools
import logging
import warnings
from pathlib import Path

import torch

import wan_14b_adapters as adapters
import wan_14b_correctness as correctness
import wan_14b_sharing as sharing
import wan_14b_speed as speed
from results_file import RESULTS
from wan_14b_blocks import Workbench
from wan_14b_measuring import Report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=90, help="time allowed, from the start of the program")
    parser.add_argument("--blocks", type=int, default=4, help="blocks of Wan's size to measure")
    parser.add_argument("--tiny", action="store_true", help="toy sizes on the CPU: does it run at all?")
    parser.add_argument("--only", nargs="+", default=[], help="names of the measurements to make")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of wan_14b.json")
    report = Report(parser.parse_args())
    if not report.cuda and not report.arguments.tiny:
        parser.error("there is no GPU here: --tiny runs the same code at toy sizes")
    for name in ("posegen", "diffusers"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False  # concerns float32 only
    torch.manual_seed(0)
    if report.arguments.tiny:
        torch.set_num_threads(1)

    bench = Workbench(report)
    small, large = bench.sizes
    for name, seconds, measurement in (
        ("machine", 3, speed.machine),
        ("480p", 6, functools.partial(speed.working_size, size=small, repeats=3)),
        ("correctness", 12, correctness.correctness),
        ("sharing", 20, sharing.sharing),
        ("attention_backends", 5, speed.attention_backends),
        ("lora", 4, adapters.lora),
        ("training", 8, adapters.training),
        ("fp8", 4, adapters.fp8),
        ("720p", 12, functools.partial(speed.working_size, size=large, repeats=2)),
        ("compiled", 20, speed.compiled),
        ("whole_model", 14, speed.whole_model),
        ("compiled_correctness", 20, correctness.compiled_correctness),
    ):
        report.measure(name, seconds, functools.partial(measurement, bench))
    print(report.write().read_text())


if __name__ == "__main__":
    main()
