"""LoRA files are part of what a job is recognised by, and of the model that makes it."""

import dataclasses
import shutil

import pytest
import torch
from safetensors.torch import save_file

from planned_jobs import identity, planned
from posegen.errors import PosegenError
from posegen.model import lora
from posegen.model.sources import load_pipeline, transformer_arguments


def test_lora_files_are_part_of_a_job_and_of_the_model(ready_for_lora, tmp_path):
    config, file = ready_for_lora
    plain, none = planned(config), planned(dataclasses.replace(config, lora=(f"{file}:0",)))
    assert identity(plain) == identity(none)  # a job of before goes on
    once = planned(dataclasses.replace(config, lora=(f"{file}:0.5",)))
    assert identity(once) != identity(plain)
    assert file.name in once.description
    copy = tmp_path / "another name.safetensors"
    shutil.copy(file, copy)
    assert identity(planned(dataclasses.replace(config, lora=(f"{copy}:.5",)))) == identity(once)
    cpu = torch.device("cpu")
    first = load_pipeline(config.model, cpu, torch.float32).transformer
    second = load_pipeline(config.model, cpu, torch.float32, once.inputs.loras).transformer
    weights = second.state_dict()
    changed = {name for name, weight in first.state_dict().items() if not torch.equal(weight, weights[name])}
    assert changed == {"blocks.0.attn1.to_q.base_layer.weight"}
    assert lora.adapter_names(second) == ["base", "stitch"]
    save_file({"nowhere.lora_down.weight": torch.ones(2, 2)}, file)
    with pytest.raises(PosegenError, match=r"nowhere\.lora_down"):
        planned(dataclasses.replace(config, lora=(str(file),)))


@pytest.fixture
def ready_for_lora(ready, tmp_path):
    """A job, and a LoRA file for one layer of its model."""
    file = tmp_path / "style.safetensors"
    width = transformer_arguments(ready.model)
    width = width["num_attention_heads"] * width["attention_head_dim"]
    save_file(
        {
            "lora_unet_blocks_0_self_attn_q.lora_down.weight": torch.ones(2, width),
            "lora_unet_blocks_0_self_attn_q.lora_up.weight": torch.ones(width, 2),
        },
        file,
    )
    return ready, file
