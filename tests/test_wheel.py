"""The built wheel works on its own: from another folder, without the repository, with files that come inside it."""

import os
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Folder of a fresh environment with the wheel, beside the packages that are installed already."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", folder, ROOT]
    subprocess.run(build, check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False, symlinks=True)
    packages = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))  # its own .pth files are not followed
    install = [sys.executable, "-m", "pip", "--python", folder / "venv", "install", "--quiet", "--no-deps"]
    subprocess.run([*install, *folder.glob("*.whl")], check=True, capture_output=True, env=clean_environment())
    return folder


def clean_environment():
    ignored = ("PYTHONPATH", "PYTEST_CURRENT_TEST")
    return {name: value for name, value in os.environ.items() if name not in ignored}


def run(folder, *command):
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir(exist_ok=True)
    done = subprocess.run(
        [folder / "venv" / "bin" / command[0], *command[1:]],
        capture_output=True,
        text=True,
        check=False,
        cwd=elsewhere,
        env=clean_environment(),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_commands_work_from_a_wheel(installed):
    where = run(installed, "python", "-c", "import posegen; print(posegen.__file__)")
    assert where.startswith(str(installed / "venv"))
    assert "mini" in run(installed, "posegen", "models")
    commands = [
        ["demo", "--output", "demo.mp4", "--steps", "1"],
        ["synth", "--output", "people", "--clips", "1", "--frames", "5", "--workers", "0"],
        ["train", "vae", "--recipe", "mini-cpu", "--dry-run"],
    ]
    # One process for all three, because each would load torch
    program = f"from posegen.apps.cli import dispatch, parse\nfor line in {commands!r}: dispatch(parse(line))"
    printed = run(installed, "python", "-c", program)
    assert (installed / "elsewhere" / "demo_side_by_side.mp4").stat().st_size > 10_000
    assert list((installed / "elsewhere" / "people").glob("train-*.tar"))
    assert "mini-cpu" in printed
