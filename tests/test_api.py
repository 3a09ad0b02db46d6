"""The public names: complete, lazy, callable packages among them; settings from Python; errors in Python's words."""

import inspect
import subprocess
import sys

import pytest

import posegen
from posegen.errors import settings_named_as_options, with_python_names


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
            capture_output=True,
            text=True,
            check=True,
        )
        assert child.stdout == "--steps\n"
    assert with_python_names("--start 1 must be before --end 0") == "start 1 must be before end 0"
