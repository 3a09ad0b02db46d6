"""Give broken inputs of every kind to every command, and check how each ends.

    python benchmarks/broken_inputs.py [--work FOLDER] [--only TEXT ...] [--part 1/2] [--again] [--report]

Each of the cases in `broken_inputs_cases.py` runs in a child with limits. It must end within 30 seconds and 2 GB, with
exit code 0 and whole outputs, or with exit code 2 and one line that names the file, and no output at all. What was
found is kept in FOLDER, so the corpus can be run in pieces, and by several processes at once (`--part`); `--again`
repeats cases with a fault and those that ran with other code, `--report` only writes results/broken_inputs.json, after
one `posegen prepare` over a folder of broken videos. Same corpus, same bytes, on each run.
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import traceback
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from broken_inputs_cases import ACCEPTED, REFUSED, Case, all_cases
from broken_inputs_good import steps
from broken_inputs_prepare import prepare_broken_videos
from limited_child import Ended, run_limited
from results_file import write_result
from warm_start import digest_of_source, load, run_posegen

SECONDS, MEMORY = 30.0, 2_000_000_000
_UNFINISHED = ("result.mp4", "demo.mp4", "result_preview.png", "result_preview.mp4", "manifest.json", "report.html",
               "report.md", "scores.csv", "index.parquet", "benchmark.yaml", "model_index.json", "study.md",
               "ablation.json")  # fmt: skip
"""Names of finished results: none of them may be there where a command failed."""
_HALF_WRITTEN = re.compile(r"\.partial|\.tmp$|\.part$|^tmp|~$")


@dataclass(frozen=True)
class Found:
    """Result of a case. outcome: in words; faults: what must not happen."""

    case: str
    kind: str
    command: str
    outcome: str
    faults: list[str]
    seconds: float
    peak: int
    line: str
    source: str


def make_good_files(work: Path) -> Path:
    """The folder of good files, made where it is not there yet."""
    good = work / "good"
    good.mkdir(parents=True, exist_ok=True)
    for name, step in steps(good).items():
        mark = good / f"{name}.made"
        if not mark.exists():
            ended = run_limited(step, good, 600.0, 4 * MEMORY)
            if ended.code != 0:
                raise RuntimeError(f"good files cannot be made ({name}): {ended.stderr[-2000:]}")
            mark.touch()
    return good


def check(case: Case, good: Path, folder: Path, url: str, port: int, source: str) -> Found:
    """Run one case in an empty folder."""
    shutil.rmtree(folder, ignore_errors=True)
    inputs, out = folder / "in", folder / "out"
    for each in (inputs, out):
        each.mkdir(parents=True)
    broken = case.place(good, inputs)
    arguments = arguments_of(case, good, folder, url, port)
    ended = run_limited(partial(_run, arguments, folder, out), folder, SECONDS, MEMORY)
    faults = list(faults_of(case, ended, broken, folder, out))
    last = ended.stderr.strip().splitlines()[-1:] or [""]
    line = last[0].replace(str(folder), "").replace(str(good), "")[:400]
    command = case.command[0] if case.command else "(none)"
    outcome = _outcome(ended, broken)
    shutil.rmtree(folder, ignore_errors=True)
    return Found(case.name, case.kind, command, outcome, faults, round(ended.seconds, 2), ended.peak, line, source)


def arguments_of(case: Case, good: Path, folder: Path, url: str, port: int) -> list[str]:
    """The case's command with real places in it."""
    places = {"good": str(good), "in": str(folder / "in"), "out": str(folder / "out"), "url": url, "port": str(port)}
    return [re.sub(r"\{(\w+)\}", lambda found: places[found[1]], argument) for argument in case.command]


def _run(arguments: list[str], folder: Path, out: Path) -> None:
    """In the child: run the command, then read what it wrote."""
    os.environ["XDG_STATE_HOME"] = str(folder / "state")
    try:
        run_posegen(*arguments)
    except SystemExit as asked:
        if not asked.code:
            try:
                _read_all(out)
            except Exception:
                (folder / "unreadable").write_text(traceback.format_exc())
        raise


def _read_all(out: Path) -> None:
    """Read every video, picture and folder of conditions to its end; raises what reading raises."""
    from posegen.conditions.folder import open_conditions
    from posegen.media.image import read_image
    from posegen.media.video import iterate_frames, probe_video

    for path in sorted(out.rglob("*")):
        if any(part.endswith(".posegen") for part in path.parts):
            continue
        if path.suffix in (".mp4", ".mkv"):
            for _ in iterate_frames(path, probe_video(path).fps):
                pass
        elif path.suffix == ".png":
            read_image(path)
        elif path.name == "manifest.json":
            open_conditions(path.parent)


def faults_of(case: Case, ended: Ended, broken: Path, folder: Path, out: Path) -> Iterator[str]:
    """Faults of a result; `folder` and the empty folder `out` in it are where it ran."""
    said = f"{ended.stdout}\n{ended.stderr}"
    if ended.stopped:
        yield f"over the limit of {ended.stopped}"
        return
    if ended.code < 0:
        yield f"ended by signal {-ended.code}"
        return
    if ended.peak > MEMORY:
        yield "over the limit of memory"
    if "Traceback (most recent call last)" in said:
        yield "traceback"
    elif "the traceback is in" in said:
        yield "unforeseen"
    if (
        ended.code not in (0, 2)
        or (case.expected == REFUSED and ended.code == 0)
        or (case.expected == ACCEPTED and ended.code)
    ):
        yield f"exit code {ended.code}"
    lines = [line for line in ended.stderr.splitlines() if line.strip()]
    if ended.code == 2:
        ours = [number for number, line in enumerate(lines) if line.startswith("posegen: ")]
        if ours != [len(lines) - 1]:
            yield "not one line"
        elif case.names_file and not _is_named(broken, lines[-1]):
            yield "file not named"
    if (folder / "unreadable").exists():
        yield f"partial output: {(folder / 'unreadable').read_text().splitlines()[-1]}"
    for path in sorted(folder.rglob("*")):
        kept = any(part.endswith(".posegen") or part == "work" for part in path.relative_to(folder).parts[:-1])
        if "cache" in path.relative_to(folder).parts:
            continue  # fetched parts of shards are kept there on purpose
        is_result = ended.code != 0 and path.name in _UNFINISHED and out in path.parents and not kept
        if is_result or (_HALF_WRITTEN.search(path.name) and not path.is_symlink()):
            yield f"partial output: {path.relative_to(folder)}"


def _is_named(broken: Path, text: str) -> bool:
    """Return whether the line names the file, or a folder around it that the command was given."""
    inside = next((parent for parent in broken.parents if parent.name == "in"), broken.parent)
    around = [parent for parent in broken.parents if inside in parent.parents]
    return broken.name in text or broken.stem in text or any(str(parent) in text for parent in around)


def _outcome(ended: Ended, broken: Path) -> str:
    if ended.stopped:
        return f"stopped: {ended.stopped}"
    if ended.code == 0:
        said = _is_named(broken, ended.stderr) or re.search(r"is damaged|is not used|made again", ended.stderr)
        return "exit 0, and said" if said else "exit 0"
    lines = sum(line.startswith("posegen: ") for line in ended.stderr.splitlines())
    return f"exit {ended.code} with one line" if lines == 1 else f"exit {ended.code} with {lines} lines"


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """A folder over HTTP on this machine; its address."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        try:
            assert server.stdout is not None
            match = re.search(r"port (\d+)", server.stdout.readline())
            assert match is not None
            yield f"http://127.0.0.1:{match[1]}"
        finally:
            server.terminate()


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    """A port on which something listens already."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield int(listener.getsockname()[1])


def kept_results(work: Path) -> dict[str, Found]:
    """Results so far, by case; the last of each counts."""
    path = work / "found.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return {found.case: found for line in lines if (found := Found(**json.loads(line)))}


def figures(cases: list[Case], found: dict[str, Found], source: str) -> dict[str, object]:
    """Counts by kind of file, command and outcome; extremes; all that is wrong."""
    ended = [found[case.name] for case in cases if case.name in found]
    longest, largest = (max(ended, key=key) for key in (lambda each: each.seconds, lambda each: each.peak))
    faults = Counter(fault.split(":")[0] for each in ended for fault in each.faults)
    kinds: dict[str, Counter[str]] = {}
    commands: dict[str, Counter[str]] = {}
    for each in ended:
        kinds.setdefault(each.kind, Counter())[each.outcome] += 1
        commands.setdefault(each.command, Counter())[each.outcome] += 1
    return {
        "cases": len(cases),
        "run": len(ended),
        "run_with_this_code": sum(each.source == source for each in ended),
        "limits": {"seconds": SECONDS, "bytes": MEMORY},
        "outcomes": dict(Counter(each.outcome for each in ended).most_common()),
        "faults": dict(faults),
        "longest": {"case": longest.case, "seconds": longest.seconds},
        "most_memory": {"case": largest.case, "bytes": largest.peak},
        "by_command": {name: dict(counts) for name, counts in sorted(commands.items())},
        "by_kind_of_file": {name: dict(counts) for name, counts in sorted(kinds.items())},
        "wrong": [{"case": each.case, "faults": each.faults, "line": each.line} for each in ended if each.faults],
    }


def main() -> None:
    """Read the options, run what was not run yet, write the result."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "posegen-broken-inputs")
    parser.add_argument("--only", nargs="+", default=[], help="cases whose name holds one of these texts")
    parser.add_argument("--part", default="1/1", help="which of how many parts")
    parser.add_argument("--again", action="store_true", help="repeat cases with a fault, or of other code")
    parser.add_argument("--report", action="store_true", help="run no case")
    options = parser.parse_args()
    work, (part, parts) = options.work.resolve(), map(int, options.part.split("/"))
    load()
    good, source = make_good_files(work), digest_of_source()
    cases, found = all_cases(good), kept_results(work)
    numbers = {case.name: zlib.crc32(case.name.encode()) for case in cases}
    right = {name for name, one in found.items() if not options.again or (not one.faults and one.source == source)}
    wanted = [] if options.report else [
        case for case in sorted(cases, key=lambda case: numbers[case.name])
        if numbers[case.name] % parts == part - 1
        and case.name not in right
        and (not options.only or any(text in case.name for text in options.only))
    ]  # fmt: skip
    served = work / f"served-{part}"
    served.mkdir(exist_ok=True)
    with serving(served) as url, taken_port() as port:
        for number, case in enumerate(wanted, 1):
            one = check(case, good, served / "case", f"{url}/case/in", port, source)
            found[one.case] = one
            with (work / "found.jsonl").open("a") as log:
                log.write(json.dumps(asdict(one)) + "\n")
            mark = " !! " + "; ".join(one.faults) if one.faults else ""
            print(f"{number}/{len(wanted)} {one.case}: {one.outcome}, {one.seconds:.1f} s, "
                  f"{one.peak / 1e6:.0f} MB{mark}\n    {one.line}", flush=True)  # fmt: skip
    if parts == 1 and not options.only:
        prepared = prepare_broken_videos(good, work / "prepare")
        write_result("broken_inputs", {**figures(cases, found, source), "one_prepare": prepared}, show=False)


if __name__ == "__main__":
    main()
