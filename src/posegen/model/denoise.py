"""From noise to latents: the sampling loop of one segment, a plain function of its inputs.

It knows guidance, steps and the background to record or share; it does not know prompts, pixels or segments.
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
    """Skeletons and hand normals of a segment, encoded.

    condition_latents: 4 mask + c pose channels.
    unposed_latents, unposed_hands: the same of black frames, which guidance by the pose leads away from.
    """

    condition_latents: Float[torch.Tensor, "b m f h w"]
    hand_latents: Float[torch.Tensor, "b c f h w"] | None
    unposed_latents: Float[torch.Tensor, "b m f h w"] | None = None
    unposed_hands: Float[torch.Tensor, "b c f h w"] | None = None


@dataclass(frozen=True)
class Conditioning:
    """Everything that steers a segment; None switches an input off.

    Text features are those of UMT5, image features those of CLIP.
    """

    pose: PoseLatents
    reference_latents: Float[torch.Tensor, "b c 1 h w"] | None
    text: Float[torch.Tensor, "b t dt"]
    negative_text: Float[torch.Tensor, "b t dt"] | None
    image: Float[torch.Tensor, "b i di"] | None

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditioning":
        """The same on another device, in another number format."""

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
    """Guidance away from the prediction without a pose (classifier-free guidance, arXiv 2207.12598, of the skeletons).

    scale: 1 switches it off.
    until: noise level, 0 to 1: steps that begin below it are not guided (a limited interval, arXiv 2404.07724).
    """

    scale: float = 1.0
    until: float = 0.0

    def leads(self, level: float) -> bool:
        """Whether it leads a step that begins at this noise level."""
        return self.scale != 1.0 and level >= self.until


UNGUIDED = PoseGuidance()
TIMESTEPS = 1000
"""The scheduler's steps of training: a timestep is so many times the noise level."""
Background = Callable[[int, Branch], Any]
"""Asked with (step, branch) for the transformer's `background` argument."""


def no_background(step: int, branch: Branch) -> None:
    """Nothing recorded, nothing shared."""


def flow_sigmas(num_steps: int) -> Float[np.ndarray, " steps"]:
    """Noise levels before the shift: 1 - i/n for i = 0..n-1. The scheduler applies its shift s: s·u / (1 + (s-1)·u).

    Passed explicitly because `FlowMatchEulerDiscreteScheduler.set_timesteps(n)` would shift its smallest level twice.
    """
    return 1.0 - np.arange(num_steps, dtype=np.float64) / num_steps


def forward_passes(
    shift: float, num_steps: int, guidance_scale: float, pose_guidance: PoseGuidance
) -> list[tuple[int, Branch]]:
    """Step and branch of each forward pass of `denoise`, in order; `shift` is the scheduler's."""
    levels = flow_sigmas(num_steps)
    levels = shift * levels / (1 + (shift - 1) * levels)
    passes: list[tuple[int, Branch]] = []
    for step, level in enumerate(levels.tolist()):
        passes.append((step, "positive"))
        if guidance_scale != 1.0:
            passes.append((step, "negative"))
        if pose_guidance.leads(level):
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
    """One forward pass: the velocity (float32) of one branch of guidance.

    `conditioning` is on the transformer's device, in its number format.
    """
    text = conditioning.negative_text if branch == "negative" else conditioning.text
    pose = conditioning.pose
    condition_latents, hand_latents = pose.condition_latents, pose.hand_latents
    if branch == "unposed":
        assert pose.unposed_latents is not None
        condition_latents, hand_latents = pose.unposed_latents, pose.unposed_hands
    velocity: Latents = transformer(
        hidden_states=latents.to(condition_latents.dtype),  # asking a transformer for its own looks at all its modules
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
    guidance_scale: float,
    background: Callable[[Branch], Any] = lambda branch: None,
    pose_guidance: PoseGuidance = UNGUIDED,
) -> Latents:
    """Velocity with guidance: u_negative + s (u_positive - u_negative) + (s_pose - 1) (u_positive - u_unposed).

    The positive branch runs first (background sharing relies on it).
    """

    def predict(branch: Branch) -> Latents:
        return predict_velocity(transformer, latents, timestep, conditioning, branch, background(branch))

    guided = positive = predict("positive")
    if guidance_scale != 1.0 and conditioning.negative_text is not None:
        negative = predict("negative")
        guided = negative + guidance_scale * (positive - negative)
    if pose_guidance.leads(float(timestep) / TIMESTEPS):
        guided = guided + (pose_guidance.scale - 1.0) * (positive - predict("unposed"))
    return guided


@torch.no_grad()
def denoise(
    transformer: PoseGenTransformer3DModel,
    scheduler: Any,
    noise: Latents,
    conditioning: Conditioning,
    num_steps: int,
    guidance_scale: float = 5.0,
    background: Background = no_background,
    on_step: Callable[[int], None] = lambda step: None,
    stop_after: int | None = None,
    on_latents: Callable[[int, Latents], None] = lambda step, latents: None,
    pose_guidance: PoseGuidance = UNGUIDED,
    change_latents: Callable[[int, torch.Tensor, Latents], Latents] | None = None,
) -> Latents:
    """Integrate the flow from `noise` (float32) to clean latents with classifier-free guidance.

    `stop_after` ends early, after that many steps: for recording an anchor's background again without finishing it.
    `on_step` hears the number of finished steps, `on_latents` what each step begins with; `change_latents` gets each
    step's number, timestep and result, and returns the latents of the next step. Latents stay float32 between steps,
    whatever the transformer computes in.
    """
    device = transformer.device
    scheduler.set_timesteps(sigmas=flow_sigmas(num_steps).tolist(), device=device)
    conditioning = conditioning.to(device, transformer.dtype)
    latents = noise.to(device=device, dtype=torch.float32)
    for step, timestep in enumerate(scheduler.timesteps[:stop_after]):
        on_latents(step, latents)
        velocity = guided_velocity(
            transformer,
            latents,
            timestep,
            conditioning,
            guidance_scale,
            functools.partial(background, step),
            pose_guidance,
        )
        latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        if change_latents is not None:
            latents = change_latents(step, timestep, latents)
        on_step(step + 1)
    return latents
