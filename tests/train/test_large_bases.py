"""What large bases need, on the small one: frozen weights in fp8, adapters exported alone, and loaded again."""

import json

import pytest
import torch

from posegen.errors import PosegenError
from posegen.model import lora
from posegen.model.sources import ADAPTED, describe_model, load_pipeline, transformer_arguments
from posegen.train.diffusion import DiffusionStage
from posegen.train.train_recipe import read_recipe
from posegen.train.training import TrainingPaths, train

RECIPE = """
name = "large"
[model]
start = "{start}"
base_weights = "{weights}"
export = "adapter"
[base]
steps = 3
num_frames = 5
batch_size = 2
validation_clips = 2
sample_steps = 2
gradient_checkpointing = true
[stitch]
steps = 2
num_frames = 5
batch_size = 2
validation_clips = 2
sample_steps = 2
[distill]
few_steps = 2
few_step_shift = 4.0
stitch_share = 0.5
steps = 2
num_frames = 5
batch_size = 2
validation_clips = 2
sample_steps = 2
discriminator_width = 8
gradient_checkpointing = true
"""


@pytest.mark.parametrize("weights", ["fp8", "bf16"])
def test_adapters_are_trained_on_small_frozen_weights_and_exported_alone(
    weights, pretrained, shards, tmp_path, monkeypatch
):
    seen = {}
    original = DiffusionStage.loss

    def loss(self, module, batch, device):
        seen["frozen"] = self.pipeline.transformer.blocks[0].ffn.net[2].base_layer.weight.dtype
        seen["trained"] = {p.dtype for p in self.pipeline.transformer.parameters() if p.requires_grad}
        return original(self, module, batch, device)

    monkeypatch.setattr(DiffusionStage, "loss", loss)
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(start=pretrained, weights=weights))
    recipe, places = read_recipe(path), TrainingPaths(tmp_path / "run", shards, shards, tmp_path / "cache")
    train("base", recipe, places)
    assert seen == {
        "frozen": {"fp8": torch.float8_e4m3fn, "bf16": torch.bfloat16}[weights],
        "trained": {torch.float32},
    }
    folder = train("stitch", recipe, places)
    assert not list(folder.rglob("diffusion_pytorch_model*"))
    assert json.loads((folder / ADAPTED).read_text()) == {"base": str(pretrained)}
    losses = [json.loads(line) for line in (tmp_path / "run" / "base" / "metrics.jsonl").read_text().splitlines()]
    assert all(torch.tensor(list(record.values())).isfinite().all() for record in losses)

    loaded = load_pipeline(str(folder), torch.device("cpu"), torch.float32)
    assert lora.adapter_names(loaded.transformer) == ["base", "stitch"]
    assert loaded.transformer.blocks[0].attn1.to_q.lora_B["base"].weight.abs().max() > 0
    assert describe_model(str(folder)).segment_length == describe_model(str(pretrained)).segment_length
    assert transformer_arguments(str(folder)) == transformer_arguments(str(pretrained))
    if weights == "bf16":
        return  # few steps train alike on both
    few, before = train("distill", recipe, places), describe_model(str(folder))
    described = describe_model(str(few))
    assert (described.few_steps, described.default_steps, described.flow_shift) == (2, 2, 4.0)
    assert (described.default_guidance, described.default_pose_guidance, described.default_pose_strength) == (1, 1, 1)
    assert (before.few_steps, before.flow_shift) == (0, 3.0)
    loaded = load_pipeline(str(few), torch.device("cpu"), torch.float32)
    assert (loaded.config.default_steps, loaded.scheduler.config.shift) == (2, 4.0)


def test_a_broken_note_of_the_base_is_named(tmp_path):
    (tmp_path / ADAPTED).write_text("{}")
    with pytest.raises(PosegenError, match=r'posegen\.json: expected \{"base"'):
        describe_model(str(tmp_path))
