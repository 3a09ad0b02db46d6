"""`posegen synth` as a user meets it: real processes, real files."""

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from posegen.apps import cli
from posegen.data.clips import Clip, Drawing
from posegen.data.shards import open_shards
from posegen.extras import missing_modules
from posegen.media.image import read_image

if missing_modules("synthetic"):
    pytest.skip("the extra `synthetic` is not installed", allow_module_level=True)

LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))  # stands for a full disk
from posegen.apps.cli import main
main()
"""
IN_A_TERMINAL = """
import os
os.setsid()  # a group of its own, to which a terminal sends signals
from posegen.apps.cli import main
main()
"""
COMMAND = [sys.executable, "-m", "posegen.apps.cli", "synth"]
TINY = ("--clips", "2", "--size", "64x64", "--frames", "3", "--clips-per-shard", "1")


def synth(output, *arguments):
    return cli.guarded(lambda: cli.dispatch(cli.parse(["synth", "--output", str(output), *map(str, arguments)])))


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("synth") / "train"
    assert synth(out, *TINY, "--workers", "0") == 0
    return out


def test_a_real_process_makes_the_same_with_its_default_workers_and_says_where_it_is(made, tmp_path):
    done = subprocess.run(
        [*COMMAND, "--output", tmp_path / "out", *TINY], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert content(tmp_path / "out") == content(made)
    lines = done.stderr.splitlines()
    assert lines[0] == "clips: 0/2"
    assert lines[-2] == "clips: 2/2"
    assert "2 clips in 2 shards" in lines[-1]
    assert "--contact-sheet" in lines[-1]


def test_the_contact_sheet_shows_what_is_in_the_shards(made, tmp_path, capfd):
    sheet = tmp_path / "new" / "sheet.png"
    assert synth(made, *TINY, "--contact-sheet", sheet) == 0
    assert str(sheet) in capfd.readouterr().err
    picture = read_image(sheet)
    assert picture.shape[1] == 2 * (4 * 64 + 8)
    for number, shard in enumerate(open_shards(made, "train")):
        clip = Clip(shard.samples[0], Drawing(draw_scale=4))
        block = picture[:, number * 264 :]
        np.testing.assert_array_equal(block[:64, :64], clip.reference)
        for column, frame in enumerate((0, 1, 2), start=1):
            across = slice(64 * column, 64 * (column + 1))
            np.testing.assert_array_equal(block[:64, across], clip.frames(frame, frame + 1)[0])
            np.testing.assert_array_equal(block[64:128, across], clip.skeletons(frame, frame + 1)[0])
            np.testing.assert_array_equal(block[128:192, across], clip.hands(frame, frame + 1)[0])
            np.testing.assert_array_equal(block[192:256, across].any(-1), clip.array("masks")[frame] > 0)
        assert block[256:, :256].max() == 255, "no caption"


BAD = {
    "a size that is none": (["--size", "large"], "HEIGHTxWIDTH"),
    "a small size": (["--size", "32x32"], "between 64"),
    "no fps": (["--fps", "0"], "between 1"),
    "no clips": (["--clips", "0"], "--clips"),
    "no frames": (["--frames", "0"], "--frames"),
    "a negative seed": (["--seed", "-1"], "--seed"),
    "too many workers": (["--workers", "5000"], "--workers"),
    "no clips in a shard": (["--clips-per-shard", "0"], "--clips-per-shard"),
    "a sheet that is no picture": (["--contact-sheet", "sheet.txt"], ".jpg"),
    "a sheet in a file": (["--contact-sheet", "{made}/train.json/sheet.jpg"], "cannot be written"),
    "output in a file": (["--output", "{made}/train.json/out"], "cannot be written"),
    "other settings": (["--output", "{made}", "--clips", "1"], "clips 2 instead of 1"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_makes_nothing(case, made, tmp_path, capfd):
    arguments, expected = BAD[case]
    options = dict(zip(["--workers", *TINY[::2]], ["0", *TINY[1::2]], strict=True))
    options |= {"--output": str(tmp_path / "out")}
    options |= dict(zip(arguments[::2], (text.format(made=made) for text in arguments[1::2]), strict=True))
    before = content(made)
    assert cli.guarded(lambda: cli.dispatch(cli.parse(["synth", *(t for pair in options.items() for t in pair)]))) == 2
    error = capfd.readouterr().err
    assert expected in error
    assert len(error.splitlines()) == 1
    assert error.startswith("posegen: ")
    assert not list(tmp_path.rglob("*.tar"))
    assert content(made) == before


def test_without_the_extra_it_says_what_to_install(tmp_path, capfd, monkeypatch):
    monkeypatch.setitem(sys.modules, "pybullet_data", None)
    assert synth(tmp_path / "out", *TINY) == 2
    error = capfd.readouterr().err
    assert "pybullet_data" in error
    assert "pip install 'posegen[synthetic]'" in error
    assert len(error.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_full_disk_gives_one_line_and_leaves_no_half_shard(warm, workers, tmp_path):
    arguments = ["synth", "--output", tmp_path / "out", *TINY, "--workers", workers]
    done = warm.run(LIMITED, arguments, timeout=120)
    assert done.returncode == 2, done.stderr
    assert "disk is full" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert not {name for name in names if name.endswith(".tar")}
    if workers == "0":
        assert names == {"train.json", ".train.lock"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_an_interrupted_run_ends_its_workers_and_goes_on_to_the_same_bytes(
    number, code, warm, tmp_path, tmp_path_factory
):
    settings = ("--clips", "6", "--size", "64x64", "--frames", "3", "--clips-per-shard", "1", "--workers", "2")
    out = tmp_path / "out"
    process = warm(IN_A_TERMINAL, ["synth", "--output", out, *settings], stderr=subprocess.PIPE)
    deadline = time.monotonic() + 90
    while not list(out.glob("*.tar")) and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    workers = psutil.Process(process.pid).children(recursive=True)
    if number == signal.SIGINT:
        os.killpg(process.pid, number)  # as a terminal does
    else:
        process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code, said
    assert not psutil.wait_procs(workers, timeout=10)[1]
    assert "Traceback" not in said
    if number == signal.SIGINT:
        assert said.splitlines()[-1].startswith("posegen: interrupted; ")
    assert not json.loads((out / "train.json").read_text())["complete"], "interrupted too late to be a test"
    assert synth(out, *settings[:-2], "--workers", "0") == 0
    straight = tmp_path_factory.mktemp("straight")
    assert synth(straight, *settings[:-2], "--workers", "0") == 0
    assert content(out) == content(straight)
