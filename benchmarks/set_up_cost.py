"""Measure `make demo` from nothing: seconds and installed bytes, of this checkout and of another one.

    python benchmarks/set_up_cost.py --against ../before --pairs 3

Each checkout is cloned into an empty folder and runs `make demo` there with an empty HOME, without a cache of pip: the
packages come from wherever pip is configured to look. Single runs differ by a tenth, so that the pairs run in
alternating order, all of them are kept, and ratios are those of the sums. Run it on a machine that does nothing else.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results_file import write_result

ROOT = Path(__file__).resolve().parents[1]
KEPT = ("PIP_", "SSL_", "OPENBLAS_", "LANG", "LC_")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", type=Path, required=True, help="another checkout")
    parser.add_argument("--pairs", type=int, default=3)
    arguments = parser.parse_args()
    checkouts = {"before": arguments.against, "after": ROOT}
    runs: dict[str, list[dict[str, float | str]]] = {name: [] for name in checkouts}
    for pair in range(arguments.pairs):
        for name in sorted(checkouts, reverse=pair % 2 == 0):
            runs[name].append(measure(checkouts[name]))
    ratios = {
        f"{figure}_ratio": round(total(runs["after"], figure) / total(runs["before"], figure), 3)
        for figure in ("installed_bytes", "seconds")
    }
    write_result("set_up_cost", {**runs, **ratios})


def total(runs: list[dict[str, float | str]], figure: str) -> float:
    return sum(float(run[figure]) for run in runs)


def measure(checkout: Path) -> dict[str, float | str]:
    with tempfile.TemporaryDirectory() as folder:
        place, home = Path(folder) / "posegen", Path(folder) / "home"
        home.mkdir()
        subprocess.run(["git", "clone", "--quiet", str(checkout), str(place)], check=True)
        environment = {
            name: value for name, value in os.environ.items() if name.startswith(KEPT) or name.endswith("_proxy")
        }
        environment |= {"HOME": str(home), "PATH": f"{Path(sys.base_prefix) / 'bin'}:/usr/local/bin:/usr/bin:/bin"}
        began = time.monotonic()
        subprocess.run(["make", "demo"], cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
        seconds = time.monotonic() - began
        installed = sum(
            path.lstat().st_size for root in (place / ".venv", home) for path in root.rglob("*") if not path.is_dir()
        )
        set_up = next(place.glob(".venv/.[dr]e*")).stat().st_mtime - (place / "Makefile").stat().st_mtime
        commit = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], cwd=place, capture_output=True, text=True, check=True
        )
    return {"commit": commit.stdout.strip(), "seconds": round(seconds, 1), "set_up_seconds": round(set_up, 1),
            "installed_bytes": installed}  # fmt: skip


if __name__ == "__main__":
    main()
