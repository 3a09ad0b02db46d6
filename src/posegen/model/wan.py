"""Sizes and settings of Wan2.1, and a PoseGen pipeline around the parts of a stock Wan2.1-I2V folder."""

from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline

from posegen.errors import PosegenError
from posegen.model.loading import loading_errors
from posegen.model.model_description import FLOW_SHIFT
from posegen.model.pipeline import PoseGenPipeline, load_encoders
from posegen.offline import no_network

WAN_SETTINGS = {"segment_length": 81, "head": 21, "tail": 20, "draw_scale": 1, "max_text_tokens": 512}
WAN_PARTS = ("tokenizer", "text_encoder", "image_processor", "image_encoder", "vae")
WAN_AREA = 1280 * 720
WAN_TRANSFORMER = {
    "num_attention_heads": 40,
    "attention_head_dim": 128,
    "ffn_dim": 13824,
    "num_layers": 40,
}
WAN_INPUTS = {
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "image_dim": 1280,
    "added_kv_proj_dim": 5120,
}
IMAGE_TOKENS = 257
"""Number of tokens of Wan's CLIP for an image."""


def pipeline_around(folder: Path, transformer: Any, dtype: torch.dtype, **settings: Any) -> PoseGenPipeline:
    """Make a pipeline from the transformer and the other parts of a stock Wan folder. Raises `PosegenError`."""
    for part in WAN_PARTS:
        if not (folder / part).is_dir():
            raise PosegenError(f"{folder} is not a whole model folder: {part} is missing")
    given = load_encoders(folder, dtype)
    with no_network(), loading_errors(folder):
        wan = WanImageToVideoPipeline.from_pretrained(
            str(folder), **given, transformer=transformer, dtype=dtype, local_files_only=True
        )
    parts = {name: wan.components[name] for name in WAN_PARTS}
    scheduler = FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT)
    return PoseGenPipeline(**parts, transformer=transformer, scheduler=scheduler, **{**WAN_SETTINGS, **settings})
