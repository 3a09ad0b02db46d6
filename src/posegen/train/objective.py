"""The losses, as plain functions: flow matching for the transformer, reconstruction for the autoencoder.

Random numbers come in as arguments. The stages choose the weights and the data.
"""

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional

from posegen.errors import PosegenError

NUM_TRAIN_TIMESTEPS = 1000
Batch = TypeVar("Batch", bound="FlowBatch")


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
    weights: Float[Tensor, "b 1 f h w"] | None = None
    """Weights of latents in the loss, mean 1 in each item (`region_weights`); None: all 1."""
    unposed_latents: Float[Tensor, "b m f h w"] | None = None
    unposed_hands: Float[Tensor, "b c f h w"] | None = None
    """The same conditions without a pose, for the guidance of a teacher."""

    def to(self, device: torch.device) -> "FlowBatch":
        """Return the batch on a device in float32; encoded clips are moved as bfloat16, at half the size."""
        moved = {name: value.to(device).float() for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **moved)


def items_of(batch: Batch, chosen: Bool[Tensor, " b"]) -> Batch:
    """Return the chosen items of a batch."""
    values = {item.name: getattr(batch, item.name) for item in fields(batch)}
    return replace(batch, **{name: value[chosen] for name, value in values.items() if isinstance(value, Tensor)})


def region_weights(shares: Float[Tensor, "b 2 f h w"], face: float, hands: float) -> Float[Tensor, "b 1 f h w"]:
    """Return weights of latents by the shares of face and hands in them, with mean 1 in each item.

    Before that, a latent that shows nothing but face has the weight `face`, of hands `hands`, of anything else 1.
    """
    weights = 1.0 + (face - 1.0) * shares[:, :1] + (hands - 1.0) * shares[:, 1:]
    return weights / weights.mean(dim=(1, 2, 3, 4), keepdim=True)


def noised(batch: FlowBatch) -> Float[Tensor, "b c f h w"]:
    """Return the noisy latents (1 - σ)·x + σ·ε of a batch (rectified flow, as Wan; PoseGen Eq. 1)."""
    sigmas = batch.sigmas.view(-1, 1, 1, 1, 1)
    return (1.0 - sigmas) * batch.latents + sigmas * batch.noise


def predict_velocity_of(
    transformer: Any, batch: FlowBatch, noisy: Float[Tensor, "b c f h w"], sigmas: Float[Tensor, " b"]
) -> Float[Tensor, "b c f h w"]:
    """Return the transformer's velocity (float32) at noisy latents, with the batch's conditions."""
    velocity: Tensor = transformer(
        hidden_states=noisy,
        condition_latents=batch.condition_latents,
        hand_latents=batch.hand_latents,
        reference_latents=batch.reference_latents,
        timestep=sigmas * NUM_TRAIN_TIMESTEPS,
        encoder_hidden_states=batch.text,
        encoder_hidden_states_image=batch.image,
        return_dict=False,
    )[0]
    return velocity.float()


def velocity_errors(
    velocity: Float[Tensor, "b c f h w"],
    target: Float[Tensor, "b c f h w"],
    weights: Float[Tensor, "b 1 f h w"] | None,
    channel_weights: Float[Tensor, " c"] | None,
) -> Float[Tensor, " b"]:
    """Return the mean squared error of each item, with latents and channels weighted."""
    error = (velocity - target) ** 2
    if channel_weights is not None:
        error = error * channel_weights.view(1, -1, 1, 1, 1)
    if weights is not None:
        error = error * weights
    return error.flatten(1).mean(1)


def flow_matching_loss(
    transformer: Any, batch: FlowBatch, channel_weights: Float[Tensor, " c"] | None = None
) -> Float[Tensor, " b"]:
    """Return the mean squared error of the velocity for each item, with channels weighted by `channel_weights`.

    Noisy latents (1 - σ)·x + σ·ε, target ε - x (rectified flow, arXiv:2209.03003, in Wan's notation).
    """
    velocity = predict_velocity_of(transformer, batch, noised(batch), batch.sigmas)
    return velocity_errors(velocity, batch.noise - batch.latents, batch.weights, channel_weights)


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


def region_psnr(
    frames: UInt8[Tensor, "f h w 3"], truth: UInt8[Tensor, "f h w 3"], region: Bool[Tensor, "f h w"]
) -> float:
    """Return the PSNR in dB of frames over a region, with the errors of all its pixels pooled."""
    errors = (frames.double() - truth.double()).square()[region]
    return float(10.0 * torch.log10(255.0**2 / errors.mean().clamp_min(1e-10)))


def sharpness_ratio(
    frames: UInt8[Tensor, "f h w 3"], truth: UInt8[Tensor, "f h w 3"], region: Bool[Tensor, "f h w"]
) -> float:
    """Return the mean change of brightness (BT.601) from pixel to pixel in a region, relative to the truth's.

    1: as sharp as the truth, or as noisy: look at it beside the PSNR.
    """

    def changes(video: Tensor) -> Tensor:
        luma = video.double() @ torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64)
        across, down = luma.diff(dim=2).abs(), luma.diff(dim=1).abs()
        return (across[:, :-1] + down[:, :, :-1])[region[:, :-1, :-1]].mean()

    return float(changes(frames) / changes(truth).clamp_min(1e-9))
