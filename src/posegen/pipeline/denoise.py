"""From noise to latents: the sampling loop of one segment, a plain function of its inputs.

It knows guidance, steps and the background to record or share; it does not know prompts, pixels or segments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float

from posegen.model.transformer import PoseGenTransformer3DModel

Latents = Float[torch.Tensor, "batch channels latent_frames latent_height latent_width"]


@dataclass(frozen=True)
class Conditioning:
    """Everything that steers a segment; None switches an input off.

    `condition_latents` are 4 mask + 16 pose channels; text features are those of UMT5, image features those of CLIP.
    """

    condition_latents: Float[torch.Tensor, "b m f h w"]
    hand_latents: Float[torch.Tensor, "b c f h w"] | None
    reference_latents: Float[torch.Tensor, "b c 1 h w"] | None
    text: Float[torch.Tensor, "b t dt"]
    negative_text: Float[torch.Tensor, "b t dt"] | None
    image: Float[torch.Tensor, "b i di"] | None


Branch = Literal["positive", "negative"]
Background = Callable[[int, Branch], Any]
"""Asked with (step, branch) for the transformer's `background` argument."""


def no_background(step: int, branch: Branch) -> None:
    """Nothing recorded, nothing shared."""


def flow_sigmas(num_steps: int) -> Float[np.ndarray, " steps"]:
    """Noise levels before the shift: 1 - i/n for i = 0..n-1. The scheduler applies its shift s: s·u / (1 + (s-1)·u).

    Passed explicitly because `FlowMatchEulerDiscreteScheduler.set_timesteps(n)` would shift its smallest level twice.
    """
    return 1.0 - np.arange(num_steps, dtype=np.float64) / num_steps


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
) -> Latents:
    """Integrate the flow from `noise` (float32) to clean latents with classifier-free guidance.

    At each step the positive branch runs before the negative one (background sharing relies on it). `stop_after` ends
    early, after that many steps: for recording an anchor's background again without finishing it. `on_step` hears the
    number of finished steps. Latents stay float32 between steps, whatever the transformer computes in.
    """
    device, dtype = transformer.device, transformer.dtype

    def moved(tensor: torch.Tensor | None) -> torch.Tensor | None:
        return None if tensor is None else tensor.to(device=device, dtype=dtype)

    scheduler.set_timesteps(sigmas=flow_sigmas(num_steps).tolist(), device=device)
    condition = moved(conditioning.condition_latents)
    hands, reference = moved(conditioning.hand_latents), moved(conditioning.reference_latents)
    image = moved(conditioning.image)
    texts: dict[Branch, torch.Tensor | None] = {"positive": moved(conditioning.text)}
    if guidance_scale != 1.0 and conditioning.negative_text is not None:
        texts["negative"] = moved(conditioning.negative_text)

    latents = noise.to(device=device, dtype=torch.float32)
    for step, timestep in enumerate(scheduler.timesteps[:stop_after]):
        velocity = {
            branch: transformer(
                hidden_states=latents.to(dtype),
                condition_latents=condition,
                hand_latents=hands,
                reference_latents=reference,
                timestep=timestep.expand(len(latents)),
                encoder_hidden_states=text,
                encoder_hidden_states_image=image,
                background=background(step, branch),
                return_dict=False,
            )[0].float()
            for branch, text in texts.items()
        }
        guided = velocity["positive"]
        if "negative" in velocity:
            guided = velocity["negative"] + guidance_scale * (guided - velocity["negative"])
        latents = scheduler.step(guided, timestep, latents, return_dict=False)[0]
        on_step(step + 1)
    return latents
