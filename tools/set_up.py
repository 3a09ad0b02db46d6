"""Make the virtual environment that `make demo` and `make test` run in, with the standard library only.

    python tools/set_up.py demo     # what `posegen demo` and `posegen generate` need
    python tools/set_up.py all      # also extras, tests, lint and types

Prints one line for each step. A problem that can be solved (no network, a full disk, a folder that may not be written)
ends in one line that says how; pip's own output is in the log that the line names. The same command again continues. It
ignores which packages are installed already, because pip knows.
"""

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parents[1]
EXTRAS = "dev,docs,synthetic,evaluate,prepare,train,serve,motion"
GIGABYTES = {"demo": 2.5, "all": 5.0}
"""Free space that a set-up from nothing needs, pip's temporary files included."""
NO_NETWORK = re.compile(
    r"NewConnectionError|NameResolutionError|Failed to establish|ProxyError|SSLError|Temporary failure in name|"
    r"ConnectTimeoutError|ReadTimeoutError|Connection refused|Network is unreachable|No route to host|ConnectionReset|"
    r"from versions: none"
)
"""What pip prints where a package index cannot be reached."""


class SetUpError(Exception):
    """A problem that whoever runs the set-up can solve, in one line."""


def main(arguments: list[str]) -> int:
    """Set up one level; returns the exit code."""
    if len(arguments) != 1 or arguments[0] not in GIGABYTES:
        print("usage: python tools/set_up.py demo|all", file=sys.stderr)
        return 2
    try:
        set_up(arguments[0], ROOT / ".venv")
    except SetUpError as error:
        print(f"set-up: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("set-up: interrupted; the same command continues", file=sys.stderr)
        return 130
    return 0


def set_up(level: str, venv: Path) -> None:
    """Install what a level needs into `venv`. Raises `SetUpError` for what can be solved."""
    if sys.version_info[:2] < OLDEST:
        found, oldest = (".".join(map(str, version)) for version in (sys.version_info[:2], OLDEST))
        raise SetUpError(f"this is Python {found}, posegen needs {oldest} or newer: make PYTHON=python{oldest} ...")
    check_place(venv, level)
    log, python = venv / "set_up.log", str(venv / "bin" / "python")
    if not Path(python).exists():
        run_step("virtual environment", [sys.executable, "-m", "venv", str(venv)], log)
    # torch first and by itself, because a resolver that sees a range may take several GB of CUDA packages.
    # pip would compile all of every package on one core; Python compiles what is imported.
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", "--no-input"]
    pip += ["--retries", "2", "-c", str(ROOT / "constraints.txt")]
    run_step("torch", [*pip, "torch"], log)
    run_step("posegen and what it needs", [*pip, "-e", str(ROOT)], log)
    if level == "all":
        run_step("extras and test tools", [*pip, "-e", f"{ROOT}[{EXTRAS}]"], log)
        compile_all = [python, "-m", "compileall", "-q", "-j", "0", "-x", "/tests/", str(venv / "lib")]
        run_step("compiling Python files", compile_all, log, must_succeed=False)  # some packages hold templates
        run_step("pose models", [python, "-m", "posegen.apps.cli", "setup"], log)


def check_place(venv: Path, level: str) -> None:
    """Fail before anything is downloaded: a folder that may not be written, a disk that is too small."""
    try:
        venv.mkdir(parents=True, exist_ok=True)
        (venv / "set_up.log").touch()
    except OSError as error:
        raise SetUpError(f"{venv} cannot be written ({error.strerror}): clone posegen into a folder of yours") from None
    free = shutil.disk_usage(venv).free / 1e9
    installed = (venv / "bin" / "posegen").exists()  # then most of it is there
    if not installed and free < GIGABYTES[level]:
        raise SetUpError(f"{free:.1f} GB free in {ROOT}, about {GIGABYTES[level]:g} are needed: free some space, "
                         "then run the same command again")  # fmt: skip


def run_step(name: str, command: list[str], log: Path, must_succeed: bool = True) -> None:
    """Run one command, its output into the log; one line says what happens and how long it took."""
    print(f"set-up: {name} ...", end="", flush=True)
    began = time.monotonic()
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=ROOT,
                          text=True, errors="replace", check=False)  # fmt: skip
    print(f" {time.monotonic() - began:.0f} s", flush=True)
    try:
        with log.open("a") as file:
            file.write(f"$ {' '.join(command)}\n{done.stdout}\n")
    except OSError as error:
        raise SetUpError(explain(name, f"{done.stdout}\n{os.strerror(error.errno or 0)}", log)) from None
    if done.returncode and must_succeed:
        raise SetUpError(explain(name, done.stdout, log))


def explain(name: str, output: str, log: Path) -> str:
    """Return one line about a step that failed, from what its command printed."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    own = [line for line in lines if line.startswith("posegen: ")]
    if "No space left on device" in output:
        return f"the disk became full at {name!r}: free some space, then run the same command again"
    if own:
        return own[-1]
    if NO_NETWORK.search(output):
        return (f"packages cannot be fetched, no package index answers: check the network and pip's proxy and index "
                f"settings, then run the same command again; pip's output is in {log}")  # fmt: skip
    if "Permission denied" in output:
        return f"a file may not be written ({log} says which): clone posegen into a folder of yours"
    if "ensurepip is not available" in output:
        return "this Python cannot make virtual environments: install its venv package (on Debian python3-venv)"
    last = next((line for line in reversed(lines) if "ERROR" in line), lines[-1] if lines else "no output")
    return f"{name!r} failed: {last} (all of its output is in {log})"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
