"""The built wheel works on its own: from another folder, without the repository, with files that come inside it."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from posegen.media.video import probe_video

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


def test_commands_work_from_a_wheel(installed, narrow):
    """The demo at its own length, of a narrow model; the model that comes inside makes half a second of it."""
    where = run(installed, "python", "-c", "import posegen; print(posegen.__file__)")
    assert where.startswith(str(installed / "venv"))
    assert "generate" in run(installed, "posegen", "--help")
    inside = Path(where.strip()).parent
    commands = [
        ["models"],
        ["demo", "--output", "demo.mp4", "--model", narrow, "--steps", "1"],
        ["generate", "--reference", str(inside / "demo" / "reference.png"), "--end", "0.5", "--model", "mini",
         "--driving", str(inside / "demo" / "driving.mp4"), "--output", "mini.mp4", "--steps", "1"],
        ["synth", "--output", "people", "--clips", "1", "--frames", "5", "--workers", "0"],
        ["train", "vae", "--recipe", "mini-cpu", "--dry-run"],
    ]  # fmt: skip
    # One process for all of them, because each would load torch
    program = f"from posegen.apps.cli import dispatch, parse\nfor line in {commands!r}: dispatch(parse(line))"
    printed = run(installed, "python", "-c", program)
    assert "wan2.1-i2v-14b-720p" in printed
    assert "mini-cpu" in printed
    made = installed / "elsewhere"
    result, beside = probe_video(made / "demo.mp4"), probe_video(made / "demo_side_by_side.mp4")
    assert (result.num_frames, result.fps, result.height, result.width) == (192, 16, 256, 144)
    assert (beside.num_frames, beside.width) == (192, 4 * 144)
    assert "wrote demo.mp4" in printed
    assert re.search(r"PSNR against the true video: \d+\.\d dB", printed)
    assert re.search(r"\d+ % \(by chance: [012] %\)", printed)
    assert probe_video(made / "mini.mp4").num_frames == 8
    assert list((made / "people").glob("train-*.tar"))
