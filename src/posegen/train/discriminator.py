"""Discriminator of latents: tells clips from what a few steps make of noise, given the same conditions.

It judges places, not whole clips: at the latents' own resolution and at half of it, so that a small data set has many
examples of skin, cloth, hands and faces. It is trained beside the transformer (`few_steps.py`) and not exported.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from posegen.train.objective import FlowBatch

_SLOPE = 0.2
_DISTURBANCE = 0.1
"""Standard deviation of the noise with which the discriminator's steepness is measured."""


class LatentDiscriminator(nn.Module):
    """Convolutions over space, then time, at two scales, on latents beside their conditions."""

    def __init__(self, channels: int, condition_channels: int, width: int) -> None:
        """channels: of the latents. condition_channels: mask and pose, hands, reference. width: of hidden layers."""
        super().__init__()
        self.enter = nn.Conv3d(channels + condition_channels, width, (1, 3, 3), padding=(0, 1, 1))
        self.fine = nn.ModuleList([_in_time(width), _in_space(width)])
        self.fine_head = nn.Conv3d(width, 1, 1)
        self.halve = nn.Conv3d(width, width, (1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))
        self.coarse = nn.ModuleList([_in_time(width), _in_space(width), _in_time(width)])
        self.coarse_head = nn.Conv3d(width, 1, 1)

    def forward(
        self, latents: Float[Tensor, "b c f h w"], conditions: Float[Tensor, "b m f h w"]
    ) -> list[Float[Tensor, "b 1 f hh ww"]]:
        """Return logits, positive for real, at both scales."""
        hidden = functional.leaky_relu(self.enter(torch.cat([latents, conditions], dim=1)), _SLOPE)
        for layer in self.fine:
            hidden = hidden + functional.leaky_relu(layer(hidden), _SLOPE)
        logits = [self.fine_head(hidden)]
        hidden = functional.leaky_relu(self.halve(hidden), _SLOPE)
        for layer in self.coarse:
            hidden = hidden + functional.leaky_relu(layer(hidden), _SLOPE)
        return [*logits, self.coarse_head(hidden)]


def _in_space(width: int) -> nn.Conv3d:
    return nn.Conv3d(width, width, (1, 3, 3), padding=(0, 1, 1))


def _in_time(width: int) -> nn.Conv3d:
    return nn.Conv3d(width, width, (3, 1, 1), padding=(1, 0, 0))


def conditions_of(batch: FlowBatch) -> Float[Tensor, "b m f h w"]:
    """Return what the discriminator sees beside latents: mask and pose, hands (0 without), reference in every frame."""
    latents, hands, reference = batch.latents, batch.hand_latents, batch.reference_latents
    hands = torch.zeros_like(latents) if hands is None else hands
    reference = torch.zeros_like(latents) if reference is None else reference.expand_as(latents)
    return torch.cat([batch.condition_latents, hands, reference], dim=1)


def weighted(scores: Float[Tensor, "b 1 f h w"], weights: Float[Tensor, "b 1 f wh ww"] | None) -> Float[Tensor, " b"]:
    """Return the mean score of each item, with places weighted; weights have a mean of 1 and any resolution."""
    if weights is not None:
        frames, height, width = scores.shape[2:]
        scores = scores * functional.adaptive_avg_pool3d(weights, (frames, height, width))
    return scores.flatten(1).mean(1)


def discriminator_loss(
    discriminator: LatentDiscriminator,
    real: Float[Tensor, "b c f h w"],
    made: Float[Tensor, "b c f h w"],
    noise: Float[Tensor, "b c f h w"],
    conditions: Float[Tensor, "b m f h w"],
    weights: Float[Tensor, "b 1 f h w"] | None,
    smoothness: float,
) -> Float[Tensor, " b"]:
    """Return the hinge loss of each item, plus `smoothness` times the squared steepness on real latents.

    The steepness is the change for a little noise, instead of R1's gradient, which needs a second backward pass
    (approximated R1, arXiv 2501.08316 Sec. 3.4).
    """
    logits, false_logits = discriminator(real, conditions), discriminator(made, conditions)
    disturbed = discriminator(real + _DISTURBANCE * noise, conditions)
    total = real.new_zeros(len(real))
    for own, other, moved in zip(logits, false_logits, disturbed, strict=True):
        hinge = functional.relu(1.0 - own.float()) + functional.relu(1.0 + other.float())
        steepness = ((moved.float() - own.float()) / _DISTURBANCE).square()
        total = total + weighted(hinge + smoothness * steepness, weights)
    return total / len(logits)
