"""What a model's folder says of itself is checked before anything is loaded, and the bad file is named."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from posegen.errors import PosegenError
from posegen.model.loading import loading_errors
from posegen.model.sources import describe_model, load_folder

INDEX, INSIDE, CODING = "model_index.json", "transformer/config.json", "vae/config.json"
SCHEDULE = "scheduler/scheduler_config.json"


@pytest.fixture
def model(narrow, tmp_path):
    """A copy, since it is damaged."""
    return Path(shutil.copytree(narrow, tmp_path / "model"))


def change(path, **settings):
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))


WRONG = [
    (INDEX, "segment_length", "x"), (INDEX, "segment_length", 0), (INDEX, "head", -1), (INDEX, "draw_scale", True),
    (INDEX, "default_area", 10**40), (INDEX, "default_guidance", float("nan")), (INDEX, "trained", "yes"),
    (INDEX, "negative_prompt", ["a"]), (INDEX, "skeleton_colors", "pink"), (INDEX, "trained_size", [64]),
    (INSIDE, "num_layers", None), (INSIDE, "patch_size", []), (INSIDE, "patch_size", [1, 2, "2"]),
    (CODING, "scale_factor_spatial", 0), (CODING, "scale_factor_temporal", [4]), (SCHEDULE, "shift", "much"),
]  # fmt: skip  # a table, read in rows


@pytest.mark.parametrize(("file", "setting", "value"), WRONG)
def test_a_setting_that_cannot_be_names_its_file(model, file, setting, value):
    change(model / file, **{setting: value})
    with pytest.raises(PosegenError) as caught:
        describe_model(str(model))
    assert str(model / file) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("latents_mean", [0.0]), ("latents_std", [0.0] * 32), ("latents_mean", [float("nan")] * 32)],
)
def test_scales_of_latents_must_fit(model, name, value):
    change(model / CODING, **{name: value})
    with pytest.raises(PosegenError) as caught:
        load_folder(model, torch.float32)
    assert str(model / CODING) in str(caught.value)


def test_a_missing_setting_is_named(model):
    path = model / INSIDE
    path.write_text(json.dumps({key: value for key, value in json.loads(path.read_text()).items() if key != "ffn_dim"}))
    with pytest.raises(PosegenError, match="ffn_dim"):
        describe_model(str(model))


@pytest.mark.parametrize("file", ["tokenizer/tokenizer.json", "image_processor/preprocessor_config.json"])
def test_a_part_that_is_no_json_is_named(model, file):
    (model / file).write_text('{"cut": ')
    with pytest.raises(PosegenError) as caught:
        load_folder(model, torch.float32)
    assert str(model / file) in str(caught.value)


@pytest.mark.parametrize("error", [KeyError("a"), ZeroDivisionError(), AssertionError(), TypeError("b")])
def test_whatever_a_library_raises_names_the_folder(tmp_path, error):
    with pytest.raises(PosegenError) as caught, loading_errors(tmp_path):
        raise error
    assert str(tmp_path) in str(caught.value)


def test_too_little_memory_is_not_a_bad_folder(tmp_path):
    with pytest.raises(MemoryError), loading_errors(tmp_path):
        raise MemoryError


def test_a_damaged_adapter_is_named(model):
    from safetensors import safe_open
    from safetensors.torch import save_file

    file = model / "adapters" / "stitch" / "pytorch_lora_weights.safetensors"
    with safe_open(file, "pt") as opened:
        described = opened.metadata()
        weights = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
    save_file(weights, file, {key: value.replace('"lora_alpha"', '"alpha"') for key, value in described.items()})
    with pytest.raises(PosegenError) as caught:
        load_folder(model, torch.float32)
    assert str(file) in str(caught.value)
