"""The command line as a user meets it: real processes, real files."""

import contextlib
import os
import pty
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from posegen import __version__
from posegen.apps import cli
from posegen.errors import PosegenError, settings_named_as_options
from posegen.media.video import probe_video

COMMAND = [sys.executable, "-m", "posegen.apps.cli"]
ENVIRONMENT = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}


def posegen(*arguments, **keywords):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=240,
        check=False,
        **keywords,
    )


def make_video(path: Path, frames: int = 5, size=(128, 96), fps: int = 10) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps)
        stream.height, stream.width, stream.pix_fmt = *size, "yuv420p"
        for index in range(frames):
            picture = np.full((*size, 3), 10 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, media):
    folder = tmp_path_factory.mktemp("inputs")
    Image.new("RGB", (200, 300), "grey").save(folder / "nobody.png")
    Image.new("RGB", (40, 40)).save(folder / "tiny.png")
    (folder / "text.png").write_text("not an image")
    (folder / "text.mp4").write_text("not a video")
    make_video(folder / "nobody.mp4")
    whole = (media / "presenter.mp4").read_bytes()
    (folder / "truncated.mp4").write_bytes(whole[: len(whole) // 2])
    return folder


def test_the_version_is_that_of_the_package():
    done = posegen("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"posegen {__version__}\n", "")


def test_help_is_fast_and_every_command_explains_itself():
    def worked():  # of the processor: other tests run beside this one
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    times = []
    for _ in range(3):
        start = worked()
        done = posegen("--help")
        times.append(worked() - start)
        assert done.returncode == 0
    assert min(times) < 1  # torch alone takes several seconds
    for command in ("generate", "extract", "synth", "jobs", "models", "demo"):
        assert command in done.stdout
        text = posegen(command, "--help").stdout
        assert len(text.splitlines()) > 4
    assert "--dry-run" in posegen("generate", "--help").stdout


def test_models_lists_every_name(warm):
    done = warm.run_posegen("models")
    assert done.returncode == 0
    assert "mini" in done.stdout
    assert "wan2.1-i2v-14b-720p" in done.stdout


BAD = {
    "missing reference": (["--reference", "{inputs}/none.png"], "none.png"),
    "missing driving": (["--driving", "{inputs}/none.mp4"], "none.mp4"),
    "not an image": (["--reference", "{inputs}/text.png"], "text.png"),
    "not a video": (["--driving", "{inputs}/text.mp4"], "text.mp4"),
    "a folder as image": (["--reference", "{inputs}"], "is a folder"),
    "truncated video": (["--driving", "{inputs}/truncated.mp4"], "truncated.mp4"),
    "small image": (["--reference", "{inputs}/tiny.png"], "64"),
    "no person in the reference": (["--reference", "{inputs}/nobody.png"], "person"),
    "no person in the driving video": (["--driving", "{inputs}/nobody.mp4"], "person"),
    "unknown model": (["--model", "gpt"], "unknown model"),
    "folder that is no model": (["--model", "{inputs}"], "model_index.json"),
    "size that is none": (["--size", "large"], "HEIGHTxWIDTH"),
    "absurd size": (["--size", "100000x100000"], "8192"),
    "size off the multiple": (["--size", "190x112"], "192"),
    "absurd fps": (["--fps", "100000"], "240"),
    "no fps": (["--fps", "0"], "between 1"),
    "no steps": (["--steps", "0"], "--steps"),
    "guidance nan": (["--guidance", "nan"], "--guidance"),
    "pose guidance": (["--pose-guidance", "-1"], "--pose-guidance"),
    "pose strength": (["--pose-strength", "11"], "--pose-strength"),
    "prompt without subject": (["--prompt", "A red house on a hill."], "--subject"),
    "subject not in prompt": (["--prompt", "A man.", "--subject", "wizard"], "wizard"),
    "anchor where none is shared": (["--anchor", "1", "--long-method", "freenoise"], "--long-method freenoise"),
    "empty prompt": (["--prompt", " "], "--prompt"),
    "no conditions": (["--conditions", "{outputs}/none"], "posegen extract"),
    "unknown device": (["--device", "cuda:77"], "--device"),
    "output is no mp4": (["--output", "{outputs}/result.avi"], ".mp4"),
    "output in a file": (["--output", "{inputs}/text.png/result.mp4"], "text.png is a file, not a folder"),
    "output over the input": (["--output", "{media}/presenter.mp4"], "one of the inputs"),
}


def generate_options(media, output, **changes):
    options = {
        "--reference": media / "man.png",
        "--driving": media / "presenter.mp4",
        "--output": output,
        "--steps": "1",
        **changes,
    }
    return ["generate", *(str(part) for pair in options.items() for part in pair)]


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gives_one_line_and_leaves_nothing(case, inputs, tmp_path, media, capfd):
    arguments, expected = BAD[case]
    arguments = [text.format(inputs=inputs, outputs=tmp_path, media=media) for text in arguments]
    changes = dict(zip(arguments[::2], arguments[1::2], strict=True))
    code = cli.guarded(lambda: cli.dispatch(cli.parse(generate_options(media, tmp_path / "result.mp4", **changes))))
    error = capfd.readouterr().err
    assert code == 2, error
    assert expected in error
    assert not [path for path in tmp_path.rglob("*") if path.suffix in {".mp4", ".avi", ".partial"}]
    assert error.rstrip().splitlines()[-1].startswith("posegen: ")


def test_exit_code_of_a_real_process_is_2_without_a_traceback(tmp_path, media):
    done = posegen(*generate_options(media, tmp_path / "result.mp4", **{"--driving": tmp_path / "none.mp4"}))
    assert done.returncode == 2
    assert done.stderr.splitlines() == [f"posegen: {done.stderr.strip().removeprefix('posegen: ')}"]
    assert posegen("generate", "--colour", "red").returncode == 2


NEEDED = ["generate", "--reference", "a.png", "--driving", "b.mp4", "--output", "c.mp4"]
WRONG_ARGUMENTS = {
    "not a number": ([*NEEDED, "--steps", "x"], "--steps takes INT, not 'x'; see posegen generate --help"),
    "no whole number": ([*NEEDED, "--seed", "1.5"], "--seed takes INT, not '1.5'; see posegen generate --help"),
    "no value": ([*NEEDED, "--steps"], "--steps needs a value; see posegen generate --help"),
    "misspelt option": (
        [*NEEDED, "--stpes", "4"],
        "unknown: --stpes; perhaps you meant --steps; see posegen generate --help",
    ),
    "option of nothing": ([*NEEDED, "--colour", "red"], "unknown: --colour; see posegen generate --help"),
    "a word too many": ([*NEEDED, "extra"], "unknown: extra; see posegen generate --help"),
    "missing option": (NEEDED[:-2], "missing --output PATH; see posegen generate --help"),
    "misspelt needed option": (
        [*NEEDED[:-2], "--outptu", "c.mp4"],
        "missing --output PATH (unknown: --outptu c.mp4); see posegen generate --help",
    ),
    "missing options": (["extract"], "missing --driving PATH, --output PATH; see posegen extract --help"),
    "no choice": (
        [*NEEDED, "--framing", "foo"],
        "--framing takes auto, close-up, half-body, full-body, distant, not 'foo'; see posegen generate --help",
    ),
    "misspelt command": (["generat"], "generat is no command; there are generate, extract, "),
    "no command": ([], "Expected one of {generate, extract, "),
    "out of range": ([*NEEDED, "--seed", "-1"], "--seed -1 is out of range: it must be from 0 to 9223372036854775807"),
}


CONTRADICTIONS = {
    "anchor": ["--sharing", "off", "--anchor", "1"],
    "sharing-steps": ["--sharing", "off", "--sharing-steps", "2"],
    "sharing-layers": ["--sharing", "off", "--sharing-layers", "2"],
    "sharing-store": ["--sharing", "off", "--sharing-store", "disk"],
    "memory-budget": ["--long-method", "freenoise", "--memory-budget", "1GB"],
    "pose-weights": ["--pose-weights", "x"],
    "detector-weights": ["--detector-weights", "x"],
    "normals-weights": ["--normals-weights", "x"],
    "parts-weights": ["--normals", "file", "--normals-file", "a.mp4", "--parts-weights", "x"],
    "no-hands": ["--no-hands", "--normals", "sapiens2"],
    "prompt-model": ["--prompt", "A man.", "--prompt-model", "x"],
    "subject": ["--subject", ""],
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_options_that_contradict_each_other_are_refused(case):
    with settings_named_as_options(), pytest.raises(PosegenError, match=f"--{case}"):
        cli.parse([*NEEDED, *CONTRADICTIONS[case]])


@pytest.mark.parametrize("command", ["extract", "prompt"])
def test_a_device_that_is_none_is_refused_also_where_nothing_computes_on_it(command, tmp_path, media, capfd):
    needed = {
        "extract": ["--driving", media / "presenter.mp4", "--output", tmp_path / "c"],
        "prompt": ["--reference", media / "man.png"],
    }
    arguments = [command, *map(str, needed[command]), "--device", "foo"]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 2
    assert capfd.readouterr().err == "posegen: --device foo is not a device: use auto, cpu, cuda, cuda:1, ...\n"


@pytest.mark.parametrize("case", WRONG_ARGUMENTS)
def test_wrong_arguments_give_one_line_that_names_them(case, capfd):
    arguments, expected = WRONG_ARGUMENTS[case]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"posegen: {expected}")
    assert "help" in line or "out of range" in line


def test_help_names_no_value_that_only_stands_for_an_unset_option(capfd):
    for command in ("generate", "jobs"):
        with pytest.raises(SystemExit) as exit_request:
            cli.parse([command, "--help"])
        assert exit_request.value.code == 0
        assert not re.search(r"--\S+ \S*None", capfd.readouterr().out)


MISSING_INPUTS = {
    "driving": ([*NEEDED, "--reference", "{inputs}/nobody.png", "--driving", "nope.mp4"], "nope.mp4: no such file"),
    "reference": ([*NEEDED, "--reference", "nope.png"], "nope.png: no such file"),
    "conditions": (
        [*NEEDED, "--reference", "{inputs}/nobody.png", "--driving", "{inputs}/nobody.mp4", "--conditions", "nope"],
        "there are no conditions in nope",
    ),
    "preview": (["preview", *NEEDED[1:], "--reference", "nope.png"], "nope.png: no such file"),
    "extract": (["extract", "--driving", "{inputs}", "--output", "{outputs}/c"], "is a folder, not a video"),
    "prompt": (["prompt", "--reference", "nope.png"], "nope.png: no such file"),
    "recipe": (["train", "base", "--recipe", "nope.toml", "--output", "{outputs}/run"], "nope.toml: no such recipe"),
    "benchmark": (
        ["evaluate", "--benchmark", "nope", "--methods", "a={inputs}", "--output", "{outputs}/report"],
        "nope: no such file",
    ),
}


@pytest.mark.parametrize("case", MISSING_INPUTS)
def test_a_missing_input_is_told_before_the_heavy_imports(case, inputs, tmp_path):
    arguments, expected = MISSING_INPUTS[case]
    arguments = [text.format(inputs=inputs, outputs=tmp_path) for text in arguments]
    code = (
        "import sys; from posegen.apps import cli\n"
        f"code = cli.guarded(lambda: cli.dispatch(cli.parse({arguments!r})))\n"
        "print(code, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=240, check=True)
    assert done.stdout.split() == ["2", "False"]
    assert expected in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments",
    [
        ["jobs", "{long}"],
        ["evaluate", "--benchmark", "{long}", "--methods", "a=b", "--output", "{outputs}/report"],
        ["evaluate", "--benchmark", "{outputs}/good.yaml", "--methods", "a={long}", "--output", "{outputs}/report"],
        ["evaluate", "--benchmark", "{outputs}/nul.yaml", "--methods", "a=b", "--output", "{outputs}/report"],
        ["extract", "--driving", "{inputs}/nobody.mp4", "--output", "{outputs}/c", "--model", "{long}"],
    ],
    ids=["jobs", "benchmark", "methods", "NUL in a benchmark", "model"],
)
def test_a_path_that_no_file_can_have_gives_one_line(arguments, inputs, tmp_path, capfd):
    clip = f"clips: [{{name: a, reference: {inputs}/nobody.png, driving: %s}}]"
    (tmp_path / "good.yaml").write_text(clip % (inputs / "nobody.mp4"))
    (tmp_path / "nul.yaml").write_text(clip % '"a\\0b.mp4"')
    arguments = [text.format(long="n" * 300, inputs=inputs, outputs=tmp_path) for text in arguments]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("posegen: ")
    assert "name too long" in line or "NUL" in line


def test_dry_run_prints_the_plan_and_writes_nothing(warm, tmp_path, media):
    done = warm.run_posegen(
        "generate", "--reference", media / "man.png",
        "--driving", media / "dancer.mp4", "--output", tmp_path / "x.mp4", "--dry-run",
    )  # fmt: skip  # short arguments, read in rows
    assert done.returncode == 0, done.stderr
    for expected in ("96 frames", "3 base + 2 stitch", "video + ", "GB (estimated)"):
        assert expected in done.stderr
    assert not list(tmp_path.iterdir())


def test_extract_makes_conditions_and_an_overlay(tmp_path, media):
    driving = media / "presenter.mp4"
    arguments = [
        "extract",
        "--driving",
        str(driving),
        "--output",
        str(tmp_path / "c"),
        "--fps",
        "4",
        "--size",
        "192x336",
    ]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 0
    names = {path.name for path in (tmp_path / "c").iterdir()}
    assert names == {"keypoints.npz", "skeleton.mkv", "hands.mkv", "manifest.json", "overlay.mp4"}
    overlay, skeleton = probe_video(tmp_path / "c" / "overlay.mp4"), probe_video(tmp_path / "c" / "skeleton.mkv")
    assert overlay.num_frames == skeleton.num_frames == 14
    assert (skeleton.height, skeleton.width) == (192, 336)


def test_a_reader_that_has_seen_enough_is_no_error():
    process = subprocess.Popen(
        [sys.executable, "-m", "posegen.apps.cli", "generate", "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    _, said = process.communicate()
    assert process.returncode == 128 + signal.SIGPIPE
    assert said == b""


def test_a_terminal_hears_at_once_that_libraries_are_loaded(warm, tmp_path):
    leader, follower = pty.openpty()
    environment = {**ENVIRONMENT, "TERM": "xterm"}
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen([*COMMAND, "models"], stdout=said, stderr=follower, env=environment)
    os.close(follower)
    heard = b""
    while b"loading libraries" not in heard:
        heard += os.read(leader, 1024)
    assert (tmp_path / "said").stat().st_size == 0
    with contextlib.suppress(OSError):  # how a terminal ends
        while os.read(leader, 1024):
            pass
    os.close(leader)
    assert process.wait(timeout=120) == 0
    answer = (tmp_path / "said").read_text()
    assert "mini" in answer
    quiet = warm.run_posegen("models")
    assert (quiet.stdout, quiet.stderr) == (answer, "")
