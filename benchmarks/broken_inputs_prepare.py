"""One `posegen prepare` over a folder of broken videos: each is used, or named with a reason, and none stops the run.

Apart from the corpus, where each input has a child of its own: a run with Ray has many processes and takes a minute.
"""

import random
import shutil
import zlib
from collections import Counter
from pathlib import Path

import broken_inputs_damages as damages
from limited_child import run_limited
from warm_start import run_posegen

SECONDS, MEMORY = 300.0, 20_000_000_000
"""Limits of the whole run; memory counts what its processes share several times."""


def break_videos(good: Path, folder: Path) -> int:
    """Every second damage of each container; returns how many files there are."""
    folder.mkdir(parents=True)
    some = {name: damages.REFUSED[name] for name in ("empty", "noise", "zeros", "text")}
    for path in sorted((good / "videos").iterdir()):
        for name, damage in {**damages.PARTIAL, **some}.items():
            number = zlib.crc32(f"{path.name} {name}".encode())
            if number % 2 == 0:
                broken = folder / f"{name.replace(' ', '-')}-{path.name}"
                shutil.copy(path, broken)
                damage(broken, random.Random(number))
    return len(list(folder.iterdir()))


def prepare_broken_videos(good: Path, work: Path) -> dict[str, object]:
    """Run it; counts of what became of the videos, and what is wrong."""
    shutil.rmtree(work, ignore_errors=True)
    count, output = break_videos(good, work / "in"), work / "set"

    def run() -> None:
        run_posegen("prepare", work / "in", "--output", output, "--recipe", good / "prepare" / "recipe.toml")

    ended = run_limited(run, work, SECONDS, MEMORY)
    wrong = [f"stopped: {ended.stopped}"] if ended.stopped else []
    if ended.code != 0 or "Traceback" in ended.stderr + ended.stdout or "the traceback is in" in ended.stderr:
        wrong.append(f"exit code {ended.code}: {ended.stderr.strip().splitlines()[-1:]}")
    outcomes: Counter[str] = Counter()
    if (output / "index.parquet").exists():
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        rows = pq.read_table(output / "index.parquet", columns=["source", "clip", "reason"]).to_pylist()
        for path in sorted((work / "in").iterdir()):
            found = [row for row in rows if Path(row["source"]).name == path.name]
            if not found:
                wrong.append(f"{path.name} is not in the index")
            elif any(row["clip"] for row in found):
                outcomes["looked through"] += 1
            elif found[0]["reason"]:
                outcomes["left out with a reason"] += 1
            else:
                wrong.append(f"{path.name} is left out without a reason")
    return {"videos": count, "exit_code": ended.code, "outcomes": dict(outcomes), "wrong": wrong}
