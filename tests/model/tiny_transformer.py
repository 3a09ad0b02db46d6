"""Tiny transformers and inputs of the real classes."""

from dataclasses import dataclass

import torch

HEADS, WIDTH, LAYERS, CHANNELS = 2, 24, 4, 4

CONFIG = {
    "patch_size": (1, 2, 2),
    "num_attention_heads": HEADS,
    "attention_head_dim": WIDTH,
    "in_channels": 2 * CHANNELS + 4,
    "out_channels": CHANNELS,
    "text_dim": 20,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": LAYERS,
    "image_dim": 40,
    "added_kv_proj_dim": HEADS * WIDTH,
}


def randomise(module, seed=0, scale=0.3):
    """Random weights of a size at which every path has an effect."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            fan_in = parameter[0].numel() if parameter.ndim > 1 else 1
            one = name.endswith("weight") and parameter.ndim == 1
            parameter.copy_(1 + 0.1 * noise if one else scale * noise if parameter.ndim == 1 else noise / fan_in**0.5)
    return module


@dataclass
class Inputs:
    hidden_states: torch.Tensor
    condition_latents: torch.Tensor
    hand_latents: torch.Tensor | None
    reference_latents: torch.Tensor | None
    timestep: torch.Tensor
    encoder_hidden_states: torch.Tensor
    encoder_hidden_states_image: torch.Tensor | None

    def item(self, index):
        parts = {name: tensor[index : index + 1] for name, tensor in vars(self).items() if tensor is not None}
        return Inputs(**{**vars(self), **parts})

    def to(self, dtype):
        return Inputs(**{name: None if tensor is None else tensor.to(dtype) for name, tensor in vars(self).items()})

    def but(self, **changes):
        return Inputs(**{**vars(self), **changes})


def make_inputs(batch=1, frames=3, rows=8, columns=6, text=12, image=5, seed=1):
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(batch, *shape, generator=generator)

    return Inputs(
        hidden_states=normal(CHANNELS, frames, rows, columns),
        condition_latents=normal(CHANNELS + 4, frames, rows, columns),
        hand_latents=normal(CHANNELS, frames, rows, columns),
        reference_latents=normal(CHANNELS, 1, rows, columns),
        timestep=torch.linspace(900, 300, batch),
        encoder_hidden_states=normal(text, 20),
        encoder_hidden_states_image=normal(image, 40),
    )


def predict(model, inputs, background=None):
    with torch.no_grad():
        return model(**vars(inputs), background=background, return_dict=False)[0]
