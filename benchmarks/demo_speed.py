"""Seconds that `posegen demo` takes from command to file, of this checkout and of others, in turns.

    python benchmarks/demo_speed.py --against ../before --runs 3

Each run is a new process with an empty output folder. For each checkout: time on the wall and CPU seconds in all, until
the first segment's sampling begins, and of a segment (from the first segment's beginning to the last one's end, divided
by their number: conditions, sampling, decoding, writing). The median of the runs. Run it on a machine that does nothing
else.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_file import write_result

ROOT = Path(__file__).resolve().parents[1]
COMMAND = """
import json, os, sys, time
from posegen.apps import cli, terminal

update, stamps = terminal.Terminal.update, []


def stamp(self, task, done, total):
    if task.startswith("segment") and done in (0, total):
        stamps.append((time.monotonic(), sum(os.times()[:2])))
    update(self, task, done, total)


terminal.Terminal.update = stamp
try:
    cli.main(sys.argv[1:])
finally:
    print(json.dumps(stamps))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--against", type=Path, action="append", required=True, help="another checkout; may be repeated"
    )
    parser.add_argument("--runs", type=int, default=3, help="of each checkout")
    arguments = parser.parse_args()
    checkouts = {path.resolve().name: path.resolve() for path in arguments.against} | {"this": ROOT}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in checkouts}
    for number in range(arguments.runs):
        for name in sorted(checkouts, reverse=number % 2 == 1):
            runs[name].append(measure(checkouts[name]))
            print(name, runs[name][-1], file=sys.stderr, flush=True)
    medians = {
        name: {key: statistics.median(run[key] for run in found) for key in found[0]} for name, found in runs.items()
    }
    figures = {
        name: {key: {"seconds": round(value, 2), "of_this_over": round(medians["this"][key] / value, 3)}
               for key, value in found.items()}
        for name, found in medians.items()
    }  # fmt: skip
    write_result("demo_speed", {"runs": arguments.runs, **figures})


def measure(checkout: Path) -> dict[str, float]:
    """Seconds of one run."""
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-c", COMMAND, "demo", "--output", str(Path(folder) / "demo.mp4")]
        began, before = time.monotonic(), os.times()
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
        ended, after = time.monotonic(), os.times()
    stamps = json.loads(said)
    segments = len(stamps) / 2
    return {
        "wall": ended - began,
        "cpu": sum(after[2:4]) - sum(before[2:4]),
        "wall_to_first_segment": stamps[0][0] - began,
        "cpu_to_first_segment": stamps[0][1],
        "wall_of_a_segment": (stamps[-1][0] - stamps[0][0]) / segments,
        "cpu_of_a_segment": (stamps[-1][1] - stamps[0][1]) / segments,
    }


if __name__ == "__main__":
    main()
