"""Measures memory and seconds that inputs cost which promise, or unpack to, much more than they hold.

    python benchmarks/oversized_inputs.py [--work FOLDER] [--only TEXT ...] [--again] [--report]

YAML, JSON and TOML that are deep, wide or multiply themselves; array, tar and picture headers that promise more than
there is; absurd sizes in recipes and model folders; named pipes; files of two gigabytes of nothing; pictures and
archives that unpack to a thousand times their size. Each is given to a command in a child of its own, forked from a
process that has imported everything. Refused ones may take 5 seconds and 500 MB more memory than the child began with,
others 30 s and 2 GB; a command's lines must stay short. What was found is kept in FOLDER, so that a run that was cut
off resumes.
"""

import argparse
import json
import os
import shutil
import tempfile
import traceback
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from broken_inputs import arguments_of, faults_of, make_good_files, serving, taken_port
from broken_inputs_cases import Case
from limited_child import memory_now, run_limited
from oversized_inputs_cases import oversized_cases
from results_file import write_result
from warm_start import digest_of_source, load, run_posegen

SECONDS, MEMORY = 5.0, 500_000_000
"""Limits for what is refused."""
ACCEPTED_SECONDS, ACCEPTED_MEMORY = 30.0, 2_000_000_000
LONGEST_LINE = 2_000
"""Characters that a command may say about an input, all lines together."""


@dataclass(frozen=True)
class Found:
    """Result of a case. seconds: without waiting for a processor; growth: bytes of memory over those at its start."""

    case: str
    code: int
    seconds: float
    growth: int
    faults: list[str]
    line: str
    source: str


def check(case: Case, good: Path, folder: Path, url: str, port: int, source: str) -> Found:
    """Run one case in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in ("in", "out"):
        (folder / name).mkdir(parents=True)
    _make(case, good, folder / "in")
    broken = case.broken(folder / "in")
    arguments = arguments_of(case, good, folder, url, port)
    ended = run_limited(partial(_run, arguments, folder), folder, ACCEPTED_SECONDS, 4 << 30)
    growth = max(0, ended.peak - int((folder / "baseline").read_text()))
    faults = list(faults_of(case, ended, broken, folder, folder / "out"))
    limits = (ACCEPTED_SECONDS, ACCEPTED_MEMORY) if ended.code == 0 else (SECONDS, MEMORY)
    if ended.seconds > limits[0]:
        faults.append(f"more than {limits[0]:g} s")
    if growth > limits[1]:
        faults.append(f"more than {limits[1] / 1e6:.0f} MB")
    if len(ended.stderr) + len(ended.stdout) > LONGEST_LINE:
        faults.append(f"{len(ended.stderr) + len(ended.stdout):,} characters said")
    last = ended.stderr.strip().splitlines()[-1:] or [""]
    line = last[0].replace(str(folder), "").replace(str(good), "")[:300]
    shutil.rmtree(folder, ignore_errors=True)
    return Found(case.name, ended.code, round(ended.seconds, 2), growth, list(dict.fromkeys(faults)), line, source)


def _make(case: Case, good: Path, inputs: Path) -> None:
    """Place the input, in a child too: what it takes to make it is no concern of what is measured."""
    child = os.fork()
    if child == 0:
        try:
            case.place(good, inputs)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if os.waitpid(child, 0)[1] != 0:
        raise RuntimeError(f"{case.name} cannot be made")


def _run(arguments: list[str], folder: Path) -> None:
    """In the child: note the memory it has, and run the command."""
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    (folder / "baseline").write_text(str(memory_now(os.getpid())))
    run_posegen(*arguments)


def figures(cases: list[Case], found: dict[str, Found], source: str) -> dict[str, object]:
    """Counts, extremes, all that is wrong, and what each case took."""
    ended = [found[case.name] for case in cases if case.name in found]
    refused = [each for each in ended if each.code]
    longest, largest = (max(refused, key=key) for key in (lambda each: each.seconds, lambda each: each.growth))
    return {
        "cases": len(cases),
        "run": len(ended),
        "run_with_this_code": sum(each.source == source for each in ended),
        "limits_where_refused": {"seconds": SECONDS, "bytes": MEMORY},
        "limits_where_accepted": {"seconds": ACCEPTED_SECONDS, "bytes": ACCEPTED_MEMORY},
        "exit_codes": dict(Counter(str(each.code) for each in ended)),
        "faults": dict(Counter(fault for each in ended for fault in each.faults)),
        "longest_of_the_refused": {"case": longest.case, "seconds": longest.seconds},
        "most_memory_of_the_refused": {"case": largest.case, "megabytes": round(largest.growth / 1e6)},
        "wrong": [asdict(each) for each in ended if each.faults],
        "each": {each.case: f"exit {each.code}, {each.seconds:.1f} s, {each.growth / 1e6:.0f} MB" for each in ended},
    }


def main() -> None:
    """Read the options, run what was not run yet, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "posegen-broken-inputs")
    parser.add_argument("--only", nargs="+", default=[], help="cases whose name holds one of these texts")
    parser.add_argument("--again", action="store_true", help="repeat cases with a fault, or of other code")
    parser.add_argument("--report", action="store_true", help="run no case")
    options = parser.parse_args()
    load()
    work, source, cases = options.work.resolve(), digest_of_source(), list(oversized_cases())
    good, log = make_good_files(work), work / "oversized.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    found = {one.case: one for line in lines if (one := Found(**json.loads(line)))}
    right = {name for name, one in found.items() if not options.again or (not one.faults and one.source == source)}
    wanted = [] if options.report else [
        case for case in cases
        if case.name not in right and (not options.only or any(text in case.name for text in options.only))
    ]  # fmt: skip
    served = work / "served-oversized"
    served.mkdir(exist_ok=True)
    with serving(served) as url, taken_port() as port:
        for number, case in enumerate(wanted, 1):
            one = check(case, good, served / "case", f"{url}/case/in", port, source)
            found[one.case] = one
            with log.open("a") as kept:
                kept.write(json.dumps(asdict(one)) + "\n")
            mark = " !! " + "; ".join(one.faults) if one.faults else ""
            print(f"{number}/{len(wanted)} {one.case}: exit {one.code}, {one.seconds:.1f} s, {one.growth / 1e6:.0f} MB"
                  f"{mark}\n    {one.line}", flush=True)  # fmt: skip
    write_result("oversized_inputs", figures(cases, found, source), show=False)


if __name__ == "__main__":
    main()
