"""Every example runs: five scripts and the cells of the notebook, on small inputs and a narrow model."""

import json
import runpy
import sys
from fractions import Fraction
from pathlib import Path

import PIL.Image
import pytest

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
STAGE = "steps = 1\nnum_frames = 5\nbatch_size = 1\nlearning_rate = 1e-3\nvalidation_clips = 1\nsample_steps = 1\n"
RECIPE = f"""
name = "tiny"
[model]
start = "scratch:mini"
layers = 2
heads = 1
[vae]
crop = 16
{STAGE}
[pretrain]
{STAGE}
[base]
{STAGE}
[stitch]
from_base = true
{STAGE.replace("num_frames = 5", "num_frames = 9")}
"""


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


def test_example_training(monkeypatch, capsys, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(RECIPE)
    run_example(monkeypatch, "train_a_mini.py", tmp_path / "made", 1, recipe, "64x64")
    assert (tmp_path / "made" / "run" / "stitch" / "model" / "model_index.json").exists()
    assert "stitch: " in capsys.readouterr().out


def test_example_evaluation(monkeypatch, capsys, inputs, tmp_path):
    reference, video = inputs
    for method in ("same", "other"):
        (tmp_path / method).mkdir()
        (tmp_path / method / "a.mp4").write_bytes(Path(video).read_bytes())
    (tmp_path / "set.yaml").write_text(f"name: tiny\nclips: [{{name: a, reference: {reference}, truth: {video}}}]\n")
    methods = [f"{method}={tmp_path / method}" for method in ("same", "other")]
    run_example(monkeypatch, "evaluate_results.py", tmp_path / "set.yaml", tmp_path / "report", *methods)
    assert "PSNR" in capsys.readouterr().out
    assert (tmp_path / "report" / "report.html").exists()
