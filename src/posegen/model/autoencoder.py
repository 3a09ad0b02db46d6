"""Small video autoencoder for models trained from scratch: two-dimensional convolutions with light temporal mixing.

It has the interface, strides and causality of Wan's autoencoder (1 + 4k frames; 8 x 8 pixels and 4 frames per latent;
the first latent depends on the first frame only), at a fraction of its cost: frames are encoded one by one, four make a
latent, and the decoder looks one step back in time at each level. It is neither recurrent nor deep in time, so quality
does not decay over a clip, whatever length it was trained on. The convolutions learn only the residual of a linear code
of 8 x 8 patches (residual autoencoding, as in DC-AE, arXiv 2410.10733), which starts as a cosine transform, or as the
principal components of given patches, so that colours and shapes are right from the first step. It is trained in
`train/autoencoding.py`.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import ModelMixin
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from posegen.errors import PosegenError
from posegen.model.tensor_types import Latents, Pixels

_FOLD = 2
"""Side of the blocks of pixels that are folded into channels before the first convolution."""
_PATCH, _GROUP = 8, 4
_FIRST_LOGVAR = -6.0
"""Initial log variance of the latents: nearly deterministic."""
Patches = Float[Tensor, "n p"]
"""Flattened patches: p = 4 frames · 3 colours · 8 · 8 pixels, in this order."""


def cosine_code(z_dim: int) -> tuple[Float[Tensor, "z p"], Float[Tensor, "p z"]]:
    """Return a linear code of patches of 4 frames x 8 x 8 RGB pixels, and its pseudo-inverse.

    Discrete cosine coefficients, lowest frequencies first: two of three for brightness, the rest for the two colour
    differences (BT.601). Orthonormal except for the colour transform.
    """

    def waves(length: int) -> Tensor:
        steps = torch.arange(length, dtype=torch.float64)
        table = torch.cos(math.pi / length * (steps[None, :] + 0.5) * steps[:, None]) * math.sqrt(2 / length)
        table[0] /= math.sqrt(2)
        return table

    space, time = waves(_PATCH), waves(_GROUP)
    order = sorted(
        (u + v + 2 * t, t, abs(u - v), u, v) for t in range(_GROUP) for u in range(_PATCH) for v in range(_PATCH)
    )
    to_rgb = torch.tensor([[1, 0, 1.402], [1, -0.344136, -0.714136], [1, 1.772, 0]], dtype=torch.float64)
    to_luma = torch.linalg.inv(to_rgb)
    chroma = z_dim // 6
    chosen = [(0, index) for index in range(z_dim - 2 * chroma)]
    chosen += [(part, index) for part in (1, 2) for index in range(chroma)]
    analysis, synthesis = [], []
    for part, index in chosen:
        _, t, _, u, v = order[index]
        wave = time[t][:, None, None, None] * torch.outer(space[u], space[v])
        analysis.append((to_luma[part, :, None, None] * wave).flatten())
        synthesis.append((to_rgb[:, part, None, None] * wave).flatten())
    return torch.stack(analysis).float(), torch.stack(synthesis, dim=1).float()


def group_patches(pixels: Pixels) -> Float[Tensor, "g p lh lw"]:
    """Return the patches of all groups of a batch: the first frame (four times) is a group, then four frames each."""
    frames = rearrange(pixels, "b c f h w -> b f c h w")
    frames = torch.cat([repeat(frames[:, :1], "b 1 c h w -> b three c h w", three=_GROUP - 1), frames], dim=1)
    patches = functional.pixel_unshuffle(frames.flatten(0, 1), _PATCH)
    return rearrange(patches, "(g four) p h w -> g (four p) h w", four=_GROUP)


class ResidualBlock(nn.Module):
    """Residual block of two convolutions; with `memory`, the first one also sees the frame before."""

    def __init__(self, channels: int, memory: bool = False) -> None:
        super().__init__()
        self.memory = memory
        self.first = nn.Conv2d(channels * (2 if memory else 1), channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(
        self, x: Float[Tensor, "bf c h w"], frames: int, carried: "Carried" = None
    ) -> Float[Tensor, "bf c h w"]:
        """Apply the block to `frames` frames of each clip, consecutive in `x`; the first is its own predecessor.

        If clips come in pieces, `carried` passes each block's last frame on to the next piece.
        """
        inputs = x
        if self.memory:
            clips = x.unflatten(0, (-1, frames))
            first = clips[:, :1]
            if carried is not None:
                first, carried[self] = carried.get(self, first), clips[:, -1:].clone()
            before = torch.cat([first, clips[:, :-1]], dim=1).flatten(0, 1)
            inputs = torch.cat([x, before], dim=1)
        return x + self.second(functional.silu(self.first(functional.silu(inputs))))


Carried = dict[ResidualBlock, Float[Tensor, "_ 1 _ _ _"]] | None
"""Last frame seen by each block with a memory, while a clip is decoded in pieces."""


class JoinFrames(nn.Module):
    """Merges pairs of frames into one."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * channels, channels, 1)

    def forward(self, x: Float[Tensor, "bf c h w"]) -> Float[Tensor, "half c h w"]:
        """Fold neighbouring pairs into channels and mix them."""
        return self.mix(rearrange(x, "(bf two) c h w -> bf (two c) h w", two=2))


class SplitFrames(nn.Module):
    """Splits each frame into two."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(channels, 2 * channels, 1)

    def forward(self, x: Float[Tensor, "bf c h w"]) -> Float[Tensor, "double c h w"]:
        """Unfold channels into frames, the inverse layout of `JoinFrames`."""
        return rearrange(self.mix(x), "bf (two c) h w -> (bf two) c h w", two=2)


class AutoencoderLightVideo(ModelMixin, ConfigMixin):
    """Video autoencoder with Wan's strides; see the module docstring. Its interface is that of `AutoencoderKLWan`.

    Raises `PosegenError` for clips that are not 1 + 4k frames, or not multiples of 8 pixels.
    """

    _supports_gradient_checkpointing = False

    @register_to_config
    def __init__(
        self,
        z_dim: int = 16,
        encoder_channels: list[int] | tuple[int, ...] = (48, 96, 128),
        decoder_channels: list[int] | tuple[int, ...] = (128, 96, 48),
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
        scale_factor_temporal: int = 4,
        scale_factor_spatial: int = 8,
    ) -> None:
        """Build the model; channels are for the levels at 1/2, 1/4 and 1/8 of the size (decoder: 1/8, 1/4, 1/2)."""
        super().__init__()
        if scale_factor_temporal != 4 or scale_factor_spatial != 8:
            raise PosegenError("this autoencoder has strides of 4 frames and 8 pixels, no others")
        self.register_to_config(
            latents_mean=list(latents_mean or [0.0] * z_dim), latents_std=list(latents_std or [1.0] * z_dim)
        )
        half, quarter, eighth = encoder_channels
        self.encoder_in = nn.Conv2d(3 * _FOLD**2, half, 3, padding=1)
        self.encoder_half = ResidualBlock(half)
        self.encoder_down = nn.Conv2d(half, quarter, 3, stride=2, padding=1)
        self.encoder_quarter = ResidualBlock(quarter)
        self.encoder_pairs = JoinFrames(quarter)
        self.encoder_mixed = ResidualBlock(quarter)
        self.encoder_down_again = nn.Conv2d(quarter, eighth, 3, stride=2, padding=1)
        self.encoder_fours = JoinFrames(eighth)
        self.encoder_eighth = nn.ModuleList([ResidualBlock(eighth), ResidualBlock(eighth)])
        self.encoder_out = nn.Conv2d(eighth, 2 * z_dim, 3, padding=1)

        eighth, quarter, half = decoder_channels
        self.decoder_in = nn.Conv2d(z_dim, eighth, 3, padding=1)
        self.decoder_eighth = nn.ModuleList([ResidualBlock(eighth, memory=True) for _ in range(3)])
        self.decoder_pairs = SplitFrames(eighth)
        self.decoder_up = nn.Conv2d(eighth, 4 * quarter, 3, padding=1)
        self.decoder_quarter = nn.ModuleList([ResidualBlock(quarter, memory=True) for _ in range(2)])
        self.decoder_fours = SplitFrames(quarter)
        self.decoder_up_again = nn.Conv2d(quarter, 4 * half, 3, padding=1)
        self.decoder_half = nn.ModuleList([ResidualBlock(half), ResidualBlock(half)])
        self.decoder_out = nn.Conv2d(half, 3 * _FOLD**2, 3, padding=1)

        self.encoder_linear = nn.Conv2d(_GROUP * 3 * _PATCH**2, z_dim, 1, bias=False)
        self.decoder_linear = nn.Conv2d(z_dim, _GROUP * 3 * _PATCH**2, 1, bias=False)
        self._begin_linear()

    @torch.no_grad()
    def _begin_linear(self) -> None:
        """Initialise as the linear code alone: the other layers add nothing yet."""
        analysis, synthesis = cosine_code(self.config.z_dim)
        self.encoder_linear.weight.copy_(analysis[:, :, None, None])
        self.decoder_linear.weight.copy_(synthesis[:, :, None, None])
        for layer in (self.encoder_out, self.decoder_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.get_parameter("bias"))
        self.encoder_out.get_parameter("bias")[self.config.z_dim :] = _FIRST_LOGVAR

    @torch.no_grad()
    def fit_linear_code(self, covariance: Float[Tensor, "p p"]) -> None:
        """Initialise as the best linear code of patches with this (uncentred) covariance: its principal components.

        A latent's deviation is the square root of its component's, so that large ones stay slightly larger.
        """
        values, vectors = torch.linalg.eigh(covariance.double())
        kept = vectors.flip(1)[:, : self.config.z_dim]
        kept = kept * torch.sign(kept.sum(0) + 1e-12)  # the sign of eigenvectors is arbitrary
        scales = values.flip(0)[: self.config.z_dim].clamp_min(1e-8) ** 0.25
        self.encoder_linear.weight.copy_((kept / scales).T[:, :, None, None])
        self.decoder_linear.weight.copy_((kept * scales)[:, :, None, None])

    def moments(self, pixels: Pixels) -> Float[Tensor, "batch cc latent_frames latent_height latent_width"]:
        """Return mean and log variance of the latents, as channels."""
        batch, _, num_frames, height, width = pixels.shape
        if (num_frames - 1) % 4 or height % 8 or width % 8:
            raise PosegenError(
                f"the autoencoder takes 1 + 4k frames of multiples of 8 pixels, not {num_frames} frames of "
                f"{height}x{width}"
            )
        x = functional.pixel_unshuffle(rearrange(pixels, "b c f h w -> (b f) c h w"), _FOLD)
        x = self.encoder_half(self.encoder_in(x), num_frames)
        x = self.encoder_quarter(self.encoder_down(x), num_frames)
        clips = x.unflatten(0, (batch, num_frames))  # the first frame makes a group of its own, as in Wan
        x = torch.cat([repeat(clips[:, :1], "b 1 c h w -> b three c h w", three=3), clips], dim=1).flatten(0, 1)
        x = self.encoder_mixed(self.encoder_pairs(x), 1)
        x = self.encoder_fours(self.encoder_down_again(x))
        for block in self.encoder_eighth:
            x = block(x, 1)
        patches = group_patches(pixels)
        mean, logvar = self.encoder_out(x).chunk(2, dim=1)
        moments = torch.cat([mean + self.encoder_linear(patches), logvar], dim=1)
        return rearrange(moments, "(b f) c h w -> b c f h w", b=batch)

    def encode(self, x: Pixels, return_dict: bool = True) -> AutoencoderKLOutput | tuple[Any]:
        """Encode pixels -1..1 to a distribution of latents (b, z, (f - 1) / 4 + 1, h / 8, w / 8)."""
        posterior = DiagonalGaussianDistribution(self.moments(x))
        return AutoencoderKLOutput(latent_dist=posterior) if return_dict else (posterior,)

    def decode(self, z: Latents, return_dict: bool = True) -> DecoderOutput | tuple[Tensor]:
        """Decode latents to pixels, clipped to -1..1 as Wan's are."""
        sample = self.reconstruct(z).clamp(-1.0, 1.0)
        return DecoderOutput(sample=sample) if return_dict else (sample,)

    def decode_pieces(self, z: Latents) -> Iterator[Pixels]:
        """Yield the frames of `decode` in pieces of one latent frame each: the first frame, then four at a time."""
        carried: Carried = {}
        for index in range(z.shape[2]):
            pixels = self._render(z[:, :, index : index + 1], carried).clamp(-1.0, 1.0)
            yield pixels if index else pixels[:, :, _GROUP - 1 :]

    def reconstruct(self, z: Latents) -> Pixels:
        """Decode latents to pixels without clipping, for training."""
        return self._render(z)[:, :, _GROUP - 1 :]

    def _render(self, z: Latents, carried: Carried = None) -> Pixels:
        """Decode four frames for each latent frame."""
        batch, _, frames = z.shape[:3]
        z = rearrange(z, "b c f h w -> (b f) c h w")
        linear = rearrange(self.decoder_linear(z), "g (four p) h w -> (g four) p h w", four=_GROUP)
        x = self.decoder_in(z)
        for block in self.decoder_eighth:
            x = block(x, frames, carried)
        x = functional.pixel_shuffle(self.decoder_up(self.decoder_pairs(x)), 2)
        for block in self.decoder_quarter:
            x = block(x, 2 * frames, carried)
        x = functional.pixel_shuffle(self.decoder_up_again(self.decoder_fours(x)), 2)
        for block in self.decoder_half:
            x = block(x, 4 * frames, carried)
        pixels = functional.pixel_shuffle(self.decoder_out(functional.silu(x)), _FOLD)
        pixels = pixels + functional.pixel_shuffle(linear, _PATCH)
        return rearrange(pixels, "(b f) c h w -> b c f h w", b=batch)

    def forward(self, sample: Pixels, noise: Latents | None = None, scale: Tensor | None = None) -> Any:
        """Encode to the mode and decode; with noise, return (moments, decoded noisy latents), for training.

        The noise is scaled by the latents' own deviation, or by `scale`.
        """
        moments = self.moments(sample)
        if noise is None:
            return self.reconstruct(DiagonalGaussianDistribution(moments).mode())
        mean, logvar = moments.float().chunk(2, dim=1)
        drawn = mean + (torch.exp(0.5 * logvar.clamp(-20.0, 2.0)) if scale is None else scale) * noise
        return moments, self.reconstruct(drawn.to(moments.dtype))
