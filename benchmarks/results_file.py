"""Writes a benchmark's result: figures with the command, the machine, the date and the versions that made them."""

import datetime
import json
import os
import platform
import shlex
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def processor_name() -> str:
    """Name, generation and widest vectors: rented processors of five generations may all be called the same."""
    cpuinfo = Path("/proc/cpuinfo")
    if not cpuinfo.exists():
        return platform.processor() or platform.machine()
    first = cpuinfo.read_text().split("\n\n")[0]
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in first.splitlines())}
    flags = set(facts.get("flags", "").split())
    vectors = next((name for name in ("avx512_bf16", "avx512f", "avx2") if name in flags), "no AVX2")
    generation = f"family {facts.get('cpu family', '?')} model {facts.get('model', '?')}"
    return f"{facts.get('model name', platform.machine())} ({generation}, {vectors})"


def installed_versions(*packages: str) -> dict[str, str | None]:
    """Versions of packages; None where one is not installed, as not every benchmark needs them all."""
    versions: dict[str, str | None] = {}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    return versions


def figures_of(name: str) -> dict[str, object]:
    """Figures of an earlier run; empty if there was none."""
    path = RESULTS / f"{name}.json"
    return dict(json.loads(path.read_text())["figures"]) if path.exists() else {}


def write_result(name: str, figures: dict[str, object], folder: Path = RESULTS, show: bool = True) -> Path:
    """Write FOLDER/NAME.json and print it."""
    result = {
        "command": shlex.join(
            ["python", *(os.path.relpath(word) if os.path.isabs(word) else word for word in sys.argv)]
        ),
        "date": datetime.date.today().isoformat(),
        "machine": f"{processor_name()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "versions": installed_versions("torch", "diffusers", "mediapipe", "av", "numpy"),
        "figures": figures,
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(result, indent=2) + "\n")
    if show:
        print(path.read_text())
    return path
