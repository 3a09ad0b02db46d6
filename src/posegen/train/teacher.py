"""The starting model as a teacher: where it would go between two of the few noise levels, in several guided steps.

Its guidance, and the strength of the pose that it is sampled with, become a part of what the few steps do by themselves
(guidance distillation, arXiv 2210.03142; one step for a piece of a trajectory, as in progressive distillation).
"""

from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from posegen.model import lora
from posegen.model.denoise import Sampling
from posegen.train.objective import FlowBatch, items_of, predict_velocity_of


class Teacher:
    """A frozen copy of a transformer, with the settings by which its model is sampled."""

    def __init__(
        self,
        transformer: Any,
        sampling: Sampling,
        pose_strength: float,
        sigmas: Float[Tensor, " levels"],
        negative_text: Float[Tensor, "t dt"] | None = None,
    ) -> None:
        """sampling: its steps are a multiple of the few. sigmas: the noise levels of all its steps, and 0."""
        self.transformer = transformer.requires_grad_(False).eval()
        self.sampling, self.pose_strength, self.sigmas = sampling, pose_strength, sigmas
        self.negative_text = negative_text

    @torch.no_grad()
    def velocity(
        self,
        batch: FlowBatch,
        noisy: Float[Tensor, "b c f h w"],
        first: Float[Tensor, " b"],
        steps: int,
        kind: str,
    ) -> Float[Tensor, "b c f h w"]:
        """Return the mean velocity over `steps` steps from `noisy`, where each item is at its step `first`.

        batch: has the latents of the same conditions without a pose. kind: of the adapter that it uses.
        """
        self._use(kind, noisy.device)
        strong = self._strengthened(batch)
        latents, levels = noisy, self.sigmas.to(noisy.device)
        for step in range(steps):
            level, after = levels[first.long() + step], levels[first.long() + step + 1]
            latents = latents + (after - level).view(-1, 1, 1, 1, 1) * self._guided(strong, latents, level)
        span = levels[first.long() + steps] - levels[first.long()]
        return (latents - noisy) / span.view(-1, 1, 1, 1, 1)

    def _guided(
        self, batch: FlowBatch, latents: Float[Tensor, "b c f h w"], level: Float[Tensor, " b"]
    ) -> Float[Tensor, "b c f h w"]:
        """Return the velocity with both kinds of guidance, as `posegen.model.denoise.guided_velocity` does."""
        positive = predict_velocity_of(self.transformer, batch, latents, level)
        guided = positive
        if self.sampling.guidance != 1.0 and self.negative_text is not None:
            text = self.negative_text.to(latents).expand(len(latents), -1, -1)
            negative = predict_velocity_of(self.transformer, replace(batch, text=text), latents, level)
            guided = negative + self.sampling.guidance * (positive - negative)
        pose = self.sampling.pose_guidance
        led = torch.tensor([pose.leads(value) for value in level.tolist()], device=latents.device)
        if led.any():
            if batch.unposed_latents is None:
                raise ValueError("pose guidance needs the conditions without a pose")
            bare = replace(batch, condition_latents=batch.unposed_latents, hand_latents=batch.unposed_hands)
            unposed = predict_velocity_of(self.transformer, items_of(bare, led), latents[led], level[led])
            guided = guided.clone()
            guided[led] += (pose.scale - 1.0) * (positive[led] - unposed)
        return guided

    def _strengthened(self, batch: FlowBatch) -> FlowBatch:
        """Return the batch with the pose as strong as the model is sampled with (`PoseGenPipeline.encode_pose`)."""
        if self.pose_strength == 1.0 or batch.unposed_latents is None:
            return batch
        strong = replace(
            batch,
            condition_latents=torch.lerp(batch.unposed_latents, batch.condition_latents, self.pose_strength),
        )
        if batch.hand_latents is None or batch.unposed_hands is None:
            return strong
        return replace(strong, hand_latents=torch.lerp(batch.unposed_hands, batch.hand_latents, self.pose_strength))

    def _use(self, kind: str, device: torch.device) -> None:
        if self.transformer.device != device:
            self.transformer.to(device)
        if kind in getattr(self.transformer, "peft_config", {}) and lora.active_adapter(self.transformer) != kind:
            lora.use_adapter(self.transformer, kind, trainable=False)
