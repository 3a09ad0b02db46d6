"""The losses, as plain functions: flow matching for the transformer, reconstruction for the autoencoder.

Random numbers come in as arguments. The stages choose the weights and the data.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from posegen.errors import PosegenError

NUM_TRAIN_TIMESTEPS = 1000


def shifted(u: Float[Tensor, " b"], shift: float) -> Float[Tensor, " b"]:
    """Return noise levels s·u / (1 + (s-1)·u) of uniform u in 0..1: more high ones, as in sampling (SD3 Eq. 23)."""
    return shift * u / (1.0 + (shift - 1.0) * u)


@dataclass(frozen=True)
class FlowBatch:
    """A batch of the diffusion stages; None switches an input off. The loss needs float32."""

    latents: Float[Tensor, "b c f h w"]
    condition_latents: Float[Tensor, "b m f h w"]
    hand_latents: Float[Tensor, "b c f h w"] | None
    reference_latents: Float[Tensor, "b c 1 hr wr"] | None
    text: Float[Tensor, "b t dt"]
    image: Float[Tensor, "b i di"] | None
    noise: Float[Tensor, "b c f h w"]
    sigmas: Float[Tensor, " b"]

    def to(self, device: torch.device) -> "FlowBatch":
        """Return the batch on a device in float32; encoded clips are moved as bfloat16, at half the size."""
        values = {name: None if value is None else value.to(device).float() for name, value in vars(self).items()}
        return FlowBatch(**values)  # type: ignore[arg-type]


def flow_matching_loss(
    transformer: Any, batch: FlowBatch, channel_weights: Float[Tensor, " c"] | None = None
) -> Float[Tensor, " b"]:
    """Return the mean squared error of the velocity for each item, with channels weighted by `channel_weights`.

    Noisy latents (1 - σ)·x + σ·ε, target ε - x (rectified flow, arXiv:2209.03003, in Wan's notation).
    """
    sigmas = batch.sigmas.view(-1, 1, 1, 1, 1)
    noisy = (1.0 - sigmas) * batch.latents + sigmas * batch.noise
    velocity = transformer(
        hidden_states=noisy,
        condition_latents=batch.condition_latents,
        hand_latents=batch.hand_latents,
        reference_latents=batch.reference_latents,
        timestep=batch.sigmas * NUM_TRAIN_TIMESTEPS,
        encoder_hidden_states=batch.text,
        encoder_hidden_states_image=batch.image,
        return_dict=False,
    )[0]
    error = (velocity.float() - (batch.noise - batch.latents)) ** 2
    if channel_weights is not None:
        error = error * channel_weights.view(1, -1, 1, 1, 1)
    return error.flatten(1).mean(1)


@torch.no_grad()
def pixel_energy(vae: Any) -> Float[Tensor, " c"]:
    """Measure the influence of each latent channel on the image: squared change of the decoded pixels, mean 1, float32.

    One latent of each channel in turn is moved by that channel's standard deviation, in a grey clip.
    """
    config, place = vae.config, {"device": vae.device, "dtype": vae.dtype}
    mean, deviation = (torch.tensor(values, **place) for values in (config.latents_mean, config.latents_std))
    grey = mean.view(1, -1, 1, 1, 1).expand(1, -1, 3, 5, 5)
    still = vae.decode(grey, return_dict=False)[0].float()
    energies = []
    for channel in range(len(mean)):
        moved = grey.clone()
        moved[:, channel, 1, 2, 2] += deviation[channel]
        energies.append((vae.decode(moved, return_dict=False)[0].float() - still).square().sum())
    energy = torch.stack(energies).cpu()
    return energy / energy.mean()


def chroma(pixels: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, "b 2 f h w"]:
    """Return the blue and red differences of BT.601, in the unit of the pixels."""
    red, green, blue = pixels.unbind(1)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    return torch.stack([0.564 * (blue - luma), 0.713 * (red - luma)], dim=1)


def reconstruction_loss(
    reconstruction: Float[Tensor, "b 3 f h w"], pixels: Float[Tensor, "b 3 f h w"], chroma_weight: float
) -> Float[Tensor, ""]:
    """Return the L1 of pixels plus weighted L1 of colour differences, without which a VAE learns colour late."""
    error = (reconstruction - pixels).abs().mean()
    return error + chroma_weight * (chroma(reconstruction) - chroma(pixels)).abs().mean()


def motion_loss(reconstruction: Float[Tensor, "b 3 f h w"], pixels: Float[Tensor, "b 3 f h w"]) -> Float[Tensor, ""]:
    """Return the L1 of the changes from each frame to the next; 0 for a single frame."""
    if pixels.shape[2] < 2:
        return pixels.new_zeros(())
    return (reconstruction.diff(dim=2) - pixels.diff(dim=2)).abs().mean()


def stutter(pixels: Float[Tensor, "b 3 f h w"], group: int) -> Float[Tensor, ""]:
    """Return the ratio of frame changes where a new latent begins to those elsewhere; 1 for real movement.

    group: pixel frames for each latent frame.
    """
    change = pixels.diff(dim=2).abs().mean(dim=(0, 1, 3, 4))
    first = torch.arange(len(change), device=pixels.device) % group == 0
    return change[first].mean() / change[~first].mean().clamp_min(1e-8)


def divergence(moments: Float[Tensor, "b cc f h w"]) -> Float[Tensor, ""]:
    """Return the mean over elements of the Kullback-Leibler divergence of N(mean, exp(logvar)) from N(0, 1)."""
    mean, logvar = moments.float().chunk(2, dim=1)
    logvar = logvar.clamp(-30.0, 20.0)
    return 0.5 * (mean**2 + logvar.exp() - 1.0 - logvar).mean()


def psnr(reconstruction: Tensor, pixels: Tensor) -> Float[Tensor, " f"]:
    """Return the PSNR in dB of each frame over a batch of (b, 3, f, h, w) in -1..1."""
    if reconstruction.shape != pixels.shape:
        raise PosegenError(f"PSNR of different shapes: {tuple(reconstruction.shape)} and {tuple(pixels.shape)}")
    error = functional.mse_loss(reconstruction.float().clamp(-1, 1), pixels.float(), reduction="none")
    return 10.0 * torch.log10(4.0 / error.mean(dim=(0, 1, 3, 4)).clamp_min(1e-10))
