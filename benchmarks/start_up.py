"""Seconds from the command `generate` to the first line of segment work, of this checkout and of another one.

    python benchmarks/start_up.py --against ../before --runs 7

The inputs are the demo's, with its conditions: libraries are imported, everything is checked and planned, the camera of
the driving video is measured, the mini is loaded, and the first segment's conditions are encoded. Checkouts run in
turns, each run in a new process with an empty output folder, after one run of each that does not count (it fills the
disk's cache). `seconds` is time on the wall, `cpu_seconds` what the process computed. Run it on a machine that does
nothing else.
"""

import argparse
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
import os, sys, time
from posegen.apps import cli, terminal

update = terminal.Terminal.update


def stop_at_segments(self, task, done, total):
    if task.startswith("segment"):
        print("reached", time.monotonic(), sum(os.times()[:2]), flush=True)
        os._exit(0)
    update(self, task, done, total)


terminal.Terminal.update = stop_at_segments
cli.main(sys.argv[1:])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--runs", type=int, default=7, help="of each checkout")
    arguments = parser.parse_args()
    checkouts = {"before": arguments.against.resolve(), "after": ROOT}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in checkouts}
    for checkout in checkouts.values():
        measure(checkout)
    for number in range(arguments.runs):
        for name in sorted(checkouts, reverse=number % 2 == 0):
            runs[name].append(measure(checkouts[name]))
            print(name, *(f"{value:.2f}" for value in runs[name][-1]), file=sys.stderr)
    figures: dict[str, object] = {}
    for place, figure in enumerate(("seconds", "cpu_seconds")):
        for kind, summary in (("minimum", min), ("median", statistics.median)):
            before, after = (summary([run[place] for run in runs[name]]) for name in checkouts)
            figures[f"{figure}_{kind}"] = {
                "before": round(before, 2),
                "after": round(after, 2),
                "ratio": round(after / before, 3),
            }
    write_result("start_up", {"runs": arguments.runs, **figures})


def measure(checkout: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one start."""
    demo = checkout / "src" / "posegen" / "demo"
    environment = {**os.environ, "PYTHONPATH": str(checkout / "src")}
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "reference": demo / "reference.png",
            "driving": demo / "driving.mp4",
            "conditions": demo / "conditions",
            "output": Path(folder) / "result.mp4",
            "prompt": (demo / "prompt.txt").read_text().strip(),
            "retarget": "off",
        }
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        command = [sys.executable, "-c", COMMAND, "generate", *words, "--no-person-check"]
        began = time.monotonic()
        said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    _, reached, cpu = said.split()
    return float(reached) - began, float(cpu)


if __name__ == "__main__":
    main()
