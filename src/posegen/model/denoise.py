"""Denoises latents: the sampling loop of one segment, a plain function of its inputs.

It handles guidance, steps and the background to record or share; prompts, pixels and segments are handled elsewhere.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from posegen.model.background_store import Branch
from posegen.model.tensor_types import Latents
from posegen.model.transformer import PoseGenTransformer3DModel


class PoseLatents(NamedTuple):
    """Encoded skeletons and hand normals of a segment.

    condition_latents: 4 mask + c pose channels.
    unposed_latents, unposed_hands: the same for black frames, from which pose guidance leads away.
    """

    condition_latents: Float[torch.Tensor, "b m f h w"]
    hand_latents: Float[torch.Tensor, "b c f h w"] | None
    unposed_latents: Float[torch.Tensor, "b m f h w"] | None = None
    unposed_hands: Float[torch.Tensor, "b c f h w"] | None = None


@dataclass(frozen=True)
class Conditioning:
    """Conditions of a segment; None switches an input off.

    Text features are from UMT5, image features from CLIP.
    """

    pose: PoseLatents
    reference_latents: Float[torch.Tensor, "b c 1 h w"] | None
    text: Float[torch.Tensor, "b t dt"]
    negative_text: Float[torch.Tensor, "b t dt"] | None
    image: Float[torch.Tensor, "b i di"] | None

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditioning":
        """Move to another device and dtype."""

        def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
            return None if tensor is None else tensor.to(device, dtype)

        pose = self.pose
        return Conditioning(
            pose=PoseLatents(
                pose.condition_latents.to(device, dtype),
                moved(pose.hand_latents),
                moved(pose.unposed_latents),
                moved(pose.unposed_hands),
            ),
            reference_latents=moved(self.reference_latents),
            text=self.text.to(device, dtype),
            negative_text=moved(self.negative_text),
            image=moved(self.image),
        )


@dataclass(frozen=True)
class PoseGuidance:
    """Pose guidance: classifier-free guidance (arXiv 2207.12598) away from the prediction without a pose.

    scale: 1 switches it off.
    until: noise level, 0 to 1: steps that begin below it are not guided (a limited interval, arXiv 2404.07724).
    """

    scale: float = 1.0
    until: float = 0.0

    def leads(self, level: float) -> bool:
        """Return True if a step that begins at this noise level is guided."""
        return self.scale != 1.0 and level >= self.until


UNGUIDED = PoseGuidance()


@dataclass(frozen=True)
class Sampling:
    """Steps and guidance of a segment.

    steps: of the whole schedule. guidance: scale of classifier-free guidance; 1 switches it off.
    """

    steps: int
    guidance: float = 5.0
    pose_guidance: PoseGuidance = UNGUIDED


TIMESTEPS = 1000
"""Training steps of the scheduler: a timestep is this number times the noise level."""
BackgroundOfStep = Callable[[int, Branch], Any]
"""Function of (step, branch) that returns the transformer's `background` argument."""


def no_background(step: int, branch: Branch) -> None:
    """Record and share nothing."""


def flow_sigmas(num_steps: int) -> Float[np.ndarray, " steps"]:
    """Return noise levels before the shift: 1 - i/n for i = 0..n-1. The scheduler's shift s maps u to
    s·u / (1 + (s-1)·u).

    Passed explicitly because `FlowMatchEulerDiscreteScheduler.set_timesteps(n)` would shift its smallest level twice.
    """
    return 1.0 - np.arange(num_steps, dtype=np.float64) / num_steps


def forward_passes(shift: float, sampling: Sampling) -> list[tuple[int, Branch]]:
    """List step and branch of each forward pass of `denoise`, in order; `shift` is the scheduler's."""
    levels = flow_sigmas(sampling.steps)
    levels = shift * levels / (1 + (shift - 1) * levels)
    passes: list[tuple[int, Branch]] = []
    for step, level in enumerate(levels.tolist()):
        passes.append((step, "positive"))
        if sampling.guidance != 1.0:
            passes.append((step, "negative"))
        if sampling.pose_guidance.leads(level):
            passes.append((step, "unposed"))
    return passes


@torch.no_grad()
def predict_velocity(
    transformer: PoseGenTransformer3DModel,
    latents: Latents,
    timestep: torch.Tensor,
    conditioning: Conditioning,
    branch: Branch,
    background: Any = None,
) -> Latents:
    """Predict the velocity (float32) of one branch of guidance, in one forward pass.

    `conditioning` has the transformer's device and dtype.
    """
    text = conditioning.negative_text if branch == "negative" else conditioning.text
    pose = conditioning.pose
    condition_latents, hand_latents = pose.condition_latents, pose.hand_latents
    if branch == "unposed":
        assert pose.unposed_latents is not None
        condition_latents, hand_latents = pose.unposed_latents, pose.unposed_hands
    velocity: Latents = transformer(
        hidden_states=latents.to(condition_latents.dtype),  # a transformer's own `dtype` looks at all its modules
        condition_latents=condition_latents,
        hand_latents=hand_latents,
        reference_latents=conditioning.reference_latents,
        timestep=timestep.expand(len(latents)),
        encoder_hidden_states=text,
        encoder_hidden_states_image=conditioning.image,
        background=background,
        return_dict=False,
    )[0]
    return velocity.float()


def guided_velocity(
    transformer: PoseGenTransformer3DModel,
    latents: Latents,
    timestep: torch.Tensor,
    conditioning: Conditioning,
    sampling: Sampling,
    background: Callable[[Branch], Any] = lambda branch: None,
) -> Latents:
    """Predict the guided velocity: u_negative + s (u_positive - u_negative) + (s_pose - 1) (u_positive - u_unposed).

    The positive branch runs first (background sharing relies on it).
    """

    def predict(branch: Branch) -> Latents:
        return predict_velocity(transformer, latents, timestep, conditioning, branch, background(branch))

    guided = positive = predict("positive")
    if sampling.guidance != 1.0 and conditioning.negative_text is not None:
        negative = predict("negative")
        guided = negative + sampling.guidance * (positive - negative)
    if sampling.pose_guidance.leads(float(timestep) / TIMESTEPS):
        guided = guided + (sampling.pose_guidance.scale - 1.0) * (positive - predict("unposed"))
    return guided


@dataclass(frozen=True)
class StepHooks:
    """Callbacks between the steps of `denoise`, and an early end.

    on_step: called with the number of finished steps. on_latents: called with a step and its initial latents.
    change_latents: gets a step, its timestep and its result, and returns the latents of the next step.
    stop_after: ends after that many steps, to record an anchor's background again without finishing it.
    """

    on_step: Callable[[int], None] = lambda step: None
    on_latents: Callable[[int, Latents], None] = lambda step, latents: None
    change_latents: Callable[[int, torch.Tensor, Latents], Latents] | None = None
    stop_after: int | None = None


NO_HOOKS = StepHooks()


@torch.no_grad()
def denoise(
    transformer: PoseGenTransformer3DModel,
    scheduler: Any,
    noise: Latents,
    conditioning: Conditioning,
    sampling: Sampling,
    background: BackgroundOfStep = no_background,
    hooks: StepHooks = NO_HOOKS,
) -> Latents:
    """Integrate the flow from `noise` (float32) to clean latents with classifier-free guidance.

    Latents stay float32 between steps, whatever the transformer's dtype.
    """
    device = transformer.device
    scheduler.set_timesteps(sigmas=flow_sigmas(sampling.steps).tolist(), device=device)
    conditioning = conditioning.to(device, transformer.dtype)
    latents = noise.to(device=device, dtype=torch.float32)
    for step, timestep in enumerate(scheduler.timesteps[: hooks.stop_after]):
        hooks.on_latents(step, latents)
        velocity = guided_velocity(
            transformer, latents, timestep, conditioning, sampling, functools.partial(background, step)
        )
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        if hooks.change_latents is not None:
            latents = hooks.change_latents(step, timestep, latents)
        hooks.on_step(step + 1)
    return latents
