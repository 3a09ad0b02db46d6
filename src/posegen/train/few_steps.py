"""Objective of distillation: the transformer learns to generate in a few given steps.

Three parts, for the noise levels that the sampler visits in so few steps. Regression: from noise, from noised clips,
and from latents that the model's own earlier steps have left, a step should lead where the slow model goes in several
guided ones (`teacher.py`), or to the clip. Ordinary flow matching at any noise level for a share of the items, so that
many steps remain possible. And, if wanted, an adversarial part: what a step makes should look like a clip to a
discriminator of latents, the more the later the step; the first one, from pure noise, is left to regression, which
finds where things are.
"""

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from posegen.model import lora
from posegen.model.denoise import flow_sigmas
from posegen.train.discriminator import LatentDiscriminator, conditions_of, discriminator_loss, weighted
from posegen.train.objective import FlowBatch, items_of, noised, predict_velocity_of, velocity_errors
from posegen.train.teacher import Teacher


@dataclass(frozen=True)
class FewStepBatch(FlowBatch):
    """A batch of the stage `distill`. `noise` is also where own steps begin."""

    own_steps: Float[Tensor, " b"] | None = None
    """Steps from the noise that the model takes itself before it learns from the next one; 0: from a noised clip."""
    adversarial: Float[Tensor, " b"] | None = None
    """Norm of the adversarial gradient at the clean latents, relative to that of the regression."""
    taught: Float[Tensor, " b"] | None = None
    """The step of the few that the teacher shows; -1: the item leads to its clip."""
    kind: str = "base"
    """The adapter that learns, if the model has it."""


def step_sigmas(steps: int, shift: float) -> Float[Tensor, " levels"]:
    """Return the noise levels at which the sampler begins its steps, and 0 at the end."""
    levels = torch.from_numpy(flow_sigmas(steps))
    return torch.cat([shift * levels / (1.0 + (shift - 1.0) * levels), torch.zeros(1, dtype=torch.float64)]).float()


class FewStepModel(nn.Module):
    """The transformer that learns, and a discriminator or none: what a run trains, in one module."""

    def __init__(
        self,
        transformer: Any,
        discriminator: LatentDiscriminator | None,
        sigmas: Float[Tensor, " levels"],
        channel_weights: Float[Tensor, " c"] | None = None,
        smoothness: float = 0.1,
        teacher: Teacher | None = None,
    ) -> None:
        """sigmas: `step_sigmas`. channel_weights: of the regression. smoothness: of the discriminator.

        teacher: the model whose steps are learned; without one, the steps lead to the clips.
        """
        super().__init__()
        self.transformer, self.discriminator = transformer, discriminator
        self.sigmas, self.channel_weights, self.smoothness = sigmas, channel_weights, smoothness
        self.teacher = (teacher,)  # in a tuple, and no part of this module: it is neither trained nor kept
        self._learning = [parameter for parameter in transformer.parameters() if parameter.requires_grad]

    def use(self, kind: str) -> None:
        """Switch to the adapter of this kind, if the transformer has it; the others go on having gradients."""
        if kind in getattr(self.transformer, "peft_config", {}) and lora.active_adapter(self.transformer) != kind:
            lora.use_adapter(self.transformer, kind)
            for parameter in self._learning:
                parameter.requires_grad_(True)

    def forward(self, batch: FewStepBatch) -> Float[Tensor, ""]:
        """Return the mean loss of a batch on the model's device."""
        self.use(batch.kind)
        noisy, sigmas = self.starts(batch), batch.sigmas.view(-1, 1, 1, 1, 1)
        clean = noisy - sigmas * predict_velocity_of(self.transformer, batch, noisy, batch.sigmas)
        weights = None if self.channel_weights is None else self.channel_weights.to(noisy)
        # of the velocity that leads to the clip: for a noised one the error of flow matching
        errors = velocity_errors(clean / sigmas, self.ends(batch, noisy) / sigmas, batch.weights, weights)
        if self.discriminator is None or batch.adversarial is None or not (batch.adversarial > 0).any():
            return errors.mean()
        judged = batch.adversarial > 0
        (pull,) = torch.autograd.grad(errors.sum(), clean, retain_graph=True)
        adversarial = self._adversarial(self.discriminator, items_of(batch, judged), clean[judged], pull[judged])
        return errors.mean() + adversarial.sum() / len(errors)

    def _adversarial(
        self,
        discriminator: LatentDiscriminator,
        batch: FewStepBatch,
        made: Float[Tensor, "b c f h w"],
        pull: Float[Tensor, "b c f h w"],
    ) -> Float[Tensor, " b"]:
        """Return both adversarial losses of each item: the transformer's and the discriminator's.

        The transformer's gradient at the clean latents `made` is scaled to `batch.adversarial` times the regression's,
        `pull` (as VQGAN's adaptive weight, arXiv 2012.09841 Eq. 7, but for each item): no weight to choose by model.
        """
        conditions = conditions_of(batch)
        logits = discriminator(made, conditions)
        fooled = -torch.stack([weighted(scores.float(), batch.weights) for scores in logits]).mean(0)
        (push,) = torch.autograd.grad(fooled.sum(), made)  # not into the discriminator's weights
        assert batch.adversarial is not None
        scale = batch.adversarial * _norm(pull) / _norm(push).clamp_min(1e-12)
        towards = (made * (scale.view(-1, 1, 1, 1, 1) * push)).flatten(1).sum(1)  # its gradient is that of scale·fooled
        own = discriminator_loss(
            discriminator, batch.latents, made.detach(), batch.noise, conditions, batch.weights, self.smoothness
        )
        return towards - towards.detach() + (scale * fooled).detach() + own

    @torch.no_grad()
    def ends(self, batch: FewStepBatch, noisy: Float[Tensor, "b c f h w"]) -> Float[Tensor, "b c f h w"]:
        """Return the clean latents that the velocity should lead to: the clips', or by the teacher's velocity."""
        teacher, taught = self.teacher[0], batch.taught
        if teacher is None or taught is None or not (taught >= 0).any():
            return batch.latents
        shown, steps = taught >= 0, (len(teacher.sigmas) - 1) // (len(self.sigmas) - 1)
        part = items_of(batch, shown)
        velocity = teacher.velocity(part, noisy[shown], taught[shown] * steps, steps, batch.kind)
        ends = batch.latents.clone()
        ends[shown] = noisy[shown] - part.sigmas.view(-1, 1, 1, 1, 1) * velocity
        return ends

    @torch.no_grad()
    def starts(self, batch: FewStepBatch) -> Float[Tensor, "b c f h w"]:
        """Return the latents that the step begins from: noised clips, or what own earlier steps from noise leave."""
        noisy = noised(batch)
        if batch.own_steps is None or not (batch.own_steps > 0).any():
            return noisy
        own = batch.noise.clone()
        for step in range(int(batch.own_steps.max())):
            going = batch.own_steps > step
            level, after = self.sigmas[step], self.sigmas[step + 1]
            part = items_of(batch, going)
            velocity = predict_velocity_of(
                self.transformer, part, own[going], torch.full_like(part.sigmas, float(level))
            )
            own[going] = own[going] + float(after - level) * velocity
        return torch.where(batch.own_steps.view(-1, 1, 1, 1, 1) > 0, own, noisy)


def _norm(gradients: Float[Tensor, "b c f h w"]) -> Float[Tensor, " b"]:
    return gradients.flatten(1).norm(dim=1)
