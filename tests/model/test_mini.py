"""The mini that comes with the package: whole, small enough, described, and steered by its conditions."""

import hashlib
import json
from importlib import resources

import numpy as np
import pytest
import torch

from posegen.devices import choose_dtype
from posegen.media.image import read_image
from posegen.media.video import read_frames
from posegen.model import lora, mini
from posegen.model.folder_sources import PackagedFolder
from posegen.model.sources import describe_model, load_pipeline, model_identity, transformer_arguments

DEMO = resources.files("posegen") / "demo"
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def shipped():
    return load_pipeline("mini", CPU, choose_dtype("auto", CPU))


def test_it_is_trained_and_small_enough():
    assert describe_model("mini").trained
    assert sum(path.stat().st_size for path in mini.FOLDER.rglob("*") if path.is_file()) <= 48_000_000
    assert describe_model("mini").default_area >= 256 * 144
    assert describe_model("mini").segment_length >= 33


def test_it_has_the_structure_of_the_published_release(shipped):
    assert sorted(lora.adapter_names(shipped.transformer)) == ["base", "stitch"]
    base, stitch = (shipped.transformer.blocks[0].attn1.to_q.lora_B[name].weight for name in ("base", "stitch"))
    assert base.abs().max() > 0
    assert not torch.equal(base, stitch)
    stated = {key: value for key, value in transformer_arguments("mini").items() if key in mini.TRANSFORMER}
    assert stated == mini.TRANSFORMER


def test_other_sizes_keep_its_proportions():
    assert mini.transformer_sizes() == mini.TRANSFORMER
    small = mini.build_mini(layers=2, heads=3, adapters=False).transformer.config
    assert (small.num_layers, small.num_attention_heads, small.ffn_dim) == (2, 3, mini.TRANSFORMER["ffn_dim"] // 2)


def test_its_card_has_measured_figures():
    card = (mini.FOLDER / "README.md").read_text()
    assert "benchmarks/mini_quality.py" in card
    assert "| val-same, PSNR over the frame above the better baseline |" in card
    assert "## Limits" in card


def test_it_says_nothing_of_the_machine_that_made_it():
    for path in mini.FOLDER.rglob("*.json"):
        assert "_name_or_path" not in path.read_text(), path


def test_other_weights_are_another_model(tmp_path):
    """Only weights count; the text stays what kept jobs have in their settings."""
    (tmp_path / "inside").mkdir()
    (tmp_path / "b.safetensors").write_bytes(b"second")
    (tmp_path / "a.safetensors").write_bytes(b"first")
    (tmp_path / "inside" / "config.json").write_text("{}")
    assert PackagedFolder("mini", tmp_path).identity() == f"mini {hashlib.sha256(b'firstsecond').hexdigest()[:16]}"
    assert PackagedFolder("mini", mini.FOLDER).identity() == model_identity("mini")
    (tmp_path / "a.safetensors").write_bytes(b"other")
    assert PackagedFolder("mini", tmp_path).identity() == f"mini {hashlib.sha256(b'othersecond').hexdigest()[:16]}"


def test_the_result_follows_the_skeleton_and_not_another_one(shipped):
    """One segment of the demo: nearer to the truth with its own conditions than with those of another moment."""
    manifest = json.loads((DEMO / "conditions" / "manifest.json").read_text())
    assert manifest
    with resources.as_file(DEMO) as folder:
        skeletons = read_frames(folder / "conditions" / "skeleton.mkv", 0, 192)
        hands = read_frames(folder / "conditions" / "hands.mkv", 0, 192)
        driving = read_frames(folder / "driving.mp4", 0, 33)
        reference = read_image(folder / "reference.png")
        prompt = (folder / "prompt.txt").read_text().strip()
    truth = driving.reshape(33, 256, 2, 144, 2, 3).mean((2, 4))
    fitted = reference.reshape(256, 2, 144, 2, 3).mean((1, 3)).round().astype(np.uint8)

    def error(start):
        made = shipped(
            fitted,
            skeletons[start : start + 33],
            hands[start : start + 33],
            prompt,
            num_inference_steps=2,
            output_type="uint8",
        )
        return np.square(made.frames[0] - truth).mean()

    assert error(0) < 0.7 * error(100)


def test_the_dtype_is_what_the_processor_computes_in(monkeypatch):
    for instructions, found in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda instructions=instructions: instructions)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert choose_dtype("auto", CPU) == found
        assert choose_dtype("bfloat16", CPU) == torch.bfloat16
        assert choose_dtype("float32", CPU) == torch.float32
    assert choose_dtype("auto", torch.device("cuda")) == torch.bfloat16
