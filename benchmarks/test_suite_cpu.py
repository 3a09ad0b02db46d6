"""User and system CPU seconds of the whole test suite, all its processes together; the slowest tests by name.

    python benchmarks/test_suite_cpu.py [--against FOLDER] [--output benchmarks/results] [-- PYTEST ARGUMENTS]

Runs `make test` in this working tree, and then, for a comparison in one sitting, in a second checkout. What counts is
what the kernel reports for processes that ended, as `/usr/bin/time -v` does; setting up comes before and is not part
of it. Durations of single tests are wall time, and depend on what else the machine does. Arguments after `--` run
that part of the suite only, which checks this program and is no result.
"""

import argparse
import os
import resource
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree

from results_file import RESULTS, write_result

REPOSITORY = Path(__file__).resolve().parents[1]
SLOWEST = 25


def children_seconds() -> tuple[float, float]:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime, usage.ru_stime


def revision(folder: Path) -> str:
    """The commit, marked where files differ from it."""
    described = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(described, capture_output=True, text=True, check=False).stdout.strip() or "no repository"


def measure(folder: Path, arguments: list[str]) -> dict[str, object]:
    """Run the suite of a checkout."""
    subprocess.run(["make", "setup"], cwd=folder, check=True)
    with tempfile.TemporaryDirectory() as place:
        report = Path(place) / "report.xml"
        options = shlex.join([f"--junitxml={report}", *arguments])
        before, began = children_seconds(), time.perf_counter()
        environment = {**os.environ, "PYTEST_ADDOPTS": options}
        code = subprocess.run(["make", "test"], cwd=folder, env=environment, check=False).returncode
        user, system = (after - start for after, start in zip(children_seconds(), before, strict=True))
        wall = time.perf_counter() - began
        suite = next(ElementTree.parse(report).getroot().iter("testsuite"))
    durations = {
        f"{case.get('classname')}::{case.get('name')}": float(case.get("time", 0)) for case in suite.iter("testcase")
    }
    slowest = sorted(durations.items(), key=lambda item: -item[1])[:SLOWEST]
    return {
        "commit": revision(folder),
        "exit_code": code,
        "user_seconds": round(user, 1),
        "system_seconds": round(system, 1),
        "cpu_seconds": round(user + system, 1),
        "wall_seconds": round(wall, 1),
        **{name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")},
        "slowest": [{"test": name, "wall_seconds": seconds} for name, seconds in slowest],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", type=Path, help="a second checkout, measured after this one")
    parser.add_argument("--output", type=Path, default=RESULTS)
    parser.add_argument("pytest", nargs="*", help="after --: arguments for pytest")
    arguments = parser.parse_args()
    figures: dict[str, object] = {"here": measure(REPOSITORY, arguments.pytest)}
    if arguments.against is not None:
        figures["against"] = measure(arguments.against.resolve(), arguments.pytest)
        here, against = figures["here"], figures["against"]
        assert isinstance(here, dict)
        assert isinstance(against, dict)
        figures["cpu_here_of_against"] = round(here["cpu_seconds"] / against["cpu_seconds"], 3)
    write_result("test_suite_cpu", figures, arguments.output)


if __name__ == "__main__":
    main()
