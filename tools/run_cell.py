"""Run the tests in one cell of the version matrix: this Python with pinned, lowest or newest packages.

    python tools/run_cell.py pinned|lowest|newest [pytest's arguments]

uv chooses the versions (lowest-direct or highest) within the bounds of pyproject.toml, and pip installs them
into `.cells/PYTHON-VERSIONS`, which is kept. Prints the versions that matter most before the tests begin.
"""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RESOLUTION = {"pinned": "highest", "lowest": "lowest-direct", "newest": "highest"}
SHOWN = ("torch", "diffusers", "transformers", "peft", "accelerate", "numpy", "mediapipe", "av", "ray")


def main(arguments: list[str]) -> int:
    """Make the cell's environment and run the tests in it; returns pytest's exit code."""
    if not arguments or arguments[0] not in RESOLUTION:
        print("usage: python tools/run_cell.py pinned|lowest|newest [pytest's arguments]", file=sys.stderr)
        return 2
    versions, *chosen = arguments
    python_version = "{}.{}".format(*sys.version_info[:2])
    cell = ROOT / ".cells" / f"{python_version}-{versions}"
    python = str(cell / "bin" / "python")
    cell.parent.mkdir(exist_ok=True)
    subprocess.run([sys.executable, "-m", "venv", str(cell)], check=True)
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, "uv"], check=True)
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    test_tools = extras.pop("dev")  # always the newest: they are nobody's dependency
    resolve = [python, "-m", "uv", "pip", "compile", "--quiet", str(ROOT / "pyproject.toml")]
    resolve += [f"--extra={extra}" for extra in extras]
    resolve += ["--resolution", RESOLUTION[versions], "--python-version", python_version]
    resolve += ["--no-annotate", "--no-header", "--output-file", str(cell / "versions.txt")]
    if versions == "pinned":
        resolve += ["--constraint", str(ROOT / "constraints.txt")]
    subprocess.run(resolve, check=True)
    lines = (cell / "versions.txt").read_text().splitlines()
    print(f"Python {python_version}:", *(line for line in lines if line.split("==")[0] in SHOWN))
    subprocess.run([*pip, "-r", str(cell / "versions.txt")], check=True)
    subprocess.run([*pip, "-c", str(cell / "versions.txt"), *test_tools], check=True)
    subprocess.run([*pip, "--no-deps", "-e", str(ROOT)], check=True)
    subprocess.run([python, "-m", "posegen.apps.cli", "setup"], check=True)
    processes = str((os.cpu_count() or 1) + 1)
    tests = chosen or ["--numprocesses", processes, "--dist", "worksteal"]
    return subprocess.run(
        [python, "-m", "pytest", *tests], check=False, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}
    ).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
