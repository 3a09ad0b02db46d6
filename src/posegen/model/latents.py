"""Converts frames of one segment to latents and back, and makes the mask of frames to preserve.

Frames are uint8 (F, H, W, 3), latents float32 (1, c, f, h, w), normalised by the VAE's own mean and deviation as
Wan's transformer expects them. The pipeline chooses the frames and uses the latents.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from einops import rearrange, repeat
from jaxtyping import Float

from posegen.errors import PosegenError
from posegen.model.decoding import decode_pieces, wake
from posegen.model.tensor_types import Latents
from posegen.types import Frame, Frames

PreserveMask = Float[torch.Tensor, "1 four latent_frames latent_height latent_width"]


def to_pixels(frames: Frames) -> Float[torch.Tensor, "1 3 frames height width"]:
    """Convert uint8 0..255 to float32 -1..1."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames)).to(torch.float32) / 127.5 - 1.0
    return rearrange(pixels, "f h w c -> 1 c f h w")


def to_frames(pixels: Float[torch.Tensor, "1 3 frames height width"]) -> Frames:
    """Convert float -1..1 (clipped) to uint8 0..255, rounded to the nearest."""
    levels = ((pixels.float() + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return rearrange(levels, "1 c f h w -> f h w c").contiguous().cpu().numpy()


def _statistics(vae: Any) -> tuple[torch.Tensor, torch.Tensor]:
    mean = torch.tensor(vae.config.latents_mean, dtype=torch.float32)
    deviation = torch.tensor(vae.config.latents_std, dtype=torch.float32)
    return mean.view(1, -1, 1, 1, 1), deviation.view(1, -1, 1, 1, 1)


def use_channels_last(vae: Any) -> None:
    """Store the weights of an autoencoder on a CPU channels-last: 0.9 x the time (benchmarks/cpu_forward.py)."""
    if vae.device.type == "cpu":
        for module in vae.modules():
            if isinstance(module, torch.nn.Conv2d):
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


@torch.no_grad()
def encode_frames(vae: Any, frames: Frames) -> Latents:
    """Encode to the mode of the VAE's distribution, normalised. Raises `PosegenError` unless F = 1 + k · stride.

    The check matters: AutoencoderKLWan silently drops frames beyond the last whole group.
    """
    stride = vae.config.scale_factor_temporal
    if (len(frames) - 1) % stride:
        raise PosegenError(f"the VAE takes 1 + {stride}k frames at a time, not {len(frames)}")
    pixels = to_pixels(frames).to(device=vae.device, dtype=vae.dtype)
    latents = vae.encode(pixels).latent_dist.mode().float().cpu()
    mean, deviation = _statistics(vae)
    return (latents - mean) / deviation


def decode_latents(vae: Any, latents: Latents) -> Frames:
    """Decode normalised latents (1, c, f, h, w) to (f - 1) · stride + 1 frames."""
    return np.stack(list(iterate_decoded(vae, latents)))


@torch.no_grad()
def iterate_decoded(vae: Any, latents: Latents) -> Iterator[Frame]:
    """Yield the frames of `decode_latents`, decoded latent frame by latent frame, so that few are in memory at once."""
    mean, deviation = _statistics(vae)
    latents = latents.float().cpu() * deviation + mean
    wake(vae)
    for pixels in decode_pieces(vae, latents.to(device=vae.device, dtype=vae.dtype)):
        yield from to_frames(pixels)


def preserve_mask(num_frames: int, head: int, tail: int, height: int, width: int, stride: int = 4) -> PreserveMask:
    """Make the mask of frames to preserve (1) or generate (0), folded like Wan's image-to-video mask.

    The first frame is repeated `stride` times, then each group of `stride` frames becomes the channels of one latent
    frame (design: "motion, by channels"). height and width are those of the latents. Returns (1, stride, f, h, w).
    """
    mask = torch.zeros(num_frames)
    mask[:head] = 1.0
    mask[num_frames - tail :] = 1.0
    mask = torch.cat([mask[:1].repeat(stride), mask[1:]])
    return repeat(mask, "(f four) -> 1 four f h w", four=stride, h=height, w=width).contiguous()
