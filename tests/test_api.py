"""The public names: complete, lazy, callable packages among them; settings from Python; errors in Python's words."""

import inspect
import json
import runpy
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import PIL.Image
import pytest

import posegen
from posegen.errors import settings_named_as_options, with_python_names

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


def test_importing_posegen_loads_nothing_heavy_and_every_name_is_there():
    code = (
        "import sys, posegen; heavy = {'torch', 'numpy', 'av', 'tyro'}; assert not heavy & set(sys.modules), "
        "heavy & set(sys.modules); assert set(posegen.__all__) <= set(dir(posegen))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert all(getattr(posegen, name) is not None for name in posegen.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = posegen.nothing


@pytest.mark.parametrize("name", ["generate", "prepare", "train", "evaluate"])
def test_packages_of_four_names_can_be_called_and_explain_themselves(name):
    __import__(f"posegen.{name}.__init__".removesuffix(".__init__"))
    function = getattr(posegen, name)
    assert "progress" in inspect.signature(function).parameters
    assert function.__path__  # a package all the same


WRONG = """
from pathlib import Path
import posegen
from posegen import GenerateConfig
config = GenerateConfig("a.png", "b.mp4", "c.mp4", fps=16, guidance=3, lora=["x.safetensors:0.5"])
assert (config.output, config.fps, config.lora) == (Path("c.mp4"), "16", ("x.safetensors:0.5",))
for wrong, named in (
    ({"steps": "5"}, "steps '5'"), ({"steps": 2.5}, "steps"), ({"fit": "cropp"}, "crop, pad"),
    ({"hands": 1}, "True or False"), ({"steps": 0}, "steps 0"), ({"model": None}, "model"), ({"lora": "x"}, "lora"),
):
    try:
        GenerateConfig("a.png", "b.mp4", "c.mp4", **wrong)
    except posegen.PosegenError as error:
        assert named in str(error) and "--" not in str(error), error
    else:
        raise AssertionError(wrong)
"""


def test_settings_take_texts_and_name_what_is_wrong():
    """In a process of its own: here every argument's type is checked before the settings see it."""
    subprocess.run([sys.executable, "-c", WRONG], check=True)


def test_a_setting_that_there_is_not_is_named_with_the_nearest(tmp_path):
    with pytest.raises(posegen.PosegenError, match="did you mean steps"):
        posegen.generate("a.png", "b.mp4", tmp_path / "c.mp4", step=3)


def test_errors_name_settings_as_their_reader_writes_them():
    error = posegen.PosegenError("--pose-file and --no-hands: see `posegen generate --help`; non--option stays")
    assert str(error) == "pose_file and hands=False: see `posegen generate --help`; non--option stays"
    with settings_named_as_options():
        assert str(error).startswith("--pose-file and --no-hands")
        child = subprocess.run(
            [sys.executable, "-c", "import posegen; print(posegen.PosegenError('--steps'))"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert child.stdout == "--steps\n"
    assert with_python_names("--start 1 must be before --end 0") == "start 1 must be before end 0"


@pytest.fixture
def inputs(media, tmp_path, made_once):
    """A driving video of one segment of the narrow model, and the person in it as reference."""
    from posegen.media.image import write_image
    from posegen.media.video import VideoWriter, iterate_frames

    def make(folder):
        with VideoWriter(folder / "dance.mp4", Fraction(16), size=(360, 640)) as writer:
            for number, frame in zip(range(34), iterate_frames(media / "presenter.mp4"), strict=False):
                if number == 0:
                    write_image(folder / "person.png", frame)
                writer.write(frame)

    folder = made_once("example-inputs", make)
    return str(folder / "person.png"), str(folder / "dance.mp4")


def run_example(monkeypatch, name, *arguments):
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    runpy.run_path(str(EXAMPLES / name), run_name="__main__")


def test_examples_are_short():
    scripts = sorted(EXAMPLES.glob("*.py"))
    assert len(scripts) == 5
    assert max(len(path.read_text().splitlines()) for path in scripts) <= 40


def test_example_generate(monkeypatch, capsys, inputs, narrow, tmp_path):
    run_example(monkeypatch, "generate_video.py", *inputs, tmp_path / "out.mp4", "--model", narrow, "--steps", 1)
    assert f"{tmp_path / 'out.mp4'}: 34 frames" in capsys.readouterr().out
    with pytest.raises(SystemExit, match=r"none\.png"):
        run_example(monkeypatch, "generate_video.py", "none.png", inputs[1], tmp_path / "other.mp4")


def test_example_preview(monkeypatch, capsys, inputs, narrow, tmp_path):
    empty = tmp_path / "empty.png"
    PIL.Image.new("RGB", (144, 256), "gray").save(empty)
    with pytest.raises(SystemExit, match="nothing is generated"):
        run_example(monkeypatch, "preview_first.py", empty, inputs[1], tmp_path / "out.mp4", narrow)
    assert "warning: " in capsys.readouterr().out
    assert (tmp_path / "out_preview.png").exists()


def test_example_of_one_segment(monkeypatch, capsys, inputs, narrow, tmp_path):
    run_example(monkeypatch, "one_segment.py", *inputs, tmp_path, narrow)
    assert capsys.readouterr().out.count("step ") == 8
    assert len(list(tmp_path.glob("[0-9]*.png"))) == 33


def test_example_notebook(monkeypatch, inputs, narrow, tmp_path):
    """Its cells, one after the other; the parameters are replaced, and so are the demo's inputs."""
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in json.loads((EXAMPLES / "quickstart.ipynb").read_text())["cells"]:
        if cell["cell_type"] != "code":
            continue
        exec("".join(cell["source"]), names)
        if cell["metadata"].get("tags") == ["parameters"]:
            names |= {"model": narrow, "steps": 1}
        elif "reference" in names and "ahead" not in names:
            names |= {"reference": inputs[0], "driving": inputs[1]}
    assert names["result"].num_frames == 32
    assert names["frame"].size == names["result"].size[::-1]
