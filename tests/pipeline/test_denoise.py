"""The sampling loop on the real classes."""

import itertools

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from posegen.pipeline.denoise import Conditioning, denoise, flow_sigmas


@pytest.mark.parametrize(("steps", "shift"), [(25, 5.0), (7, 3.0), (1, 5.0)])
def test_scheduler_reaches_the_levels_of_the_method(steps, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    scheduler.set_timesteps(sigmas=flow_sigmas(steps).tolist())
    u = 1 - np.arange(steps) / steps
    expected = np.append(shift * u / (1 + (shift - 1) * u), 0)
    assert np.allclose(scheduler.sigmas.numpy(), expected, atol=1e-6)
    assert np.allclose(scheduler.timesteps.numpy(), 1000 * expected[:-1], atol=1e-3)


@pytest.fixture(scope="module")
def conditioning(mini):
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator)

    return Conditioning(
        condition_latents=random(1, 36, 3, 8, 6),
        hand_latents=random(1, 32, 3, 8, 6),
        reference_latents=random(1, 32, 1, 8, 6),
        text=random(1, 12, 64),
        negative_text=random(1, 12, 64),
        image=random(1, 65, 64),
    )


def run(mini, conditioning, **options):
    noise = torch.randn(1, 32, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    return denoise(mini.transformer, mini.scheduler, noise, conditioning, 4, **options)


def velocity(mini, conditioning, text, latents, timestep):
    with torch.no_grad():
        return mini.transformer(
            hidden_states=latents,
            condition_latents=conditioning.condition_latents,
            hand_latents=conditioning.hand_latents,
            reference_latents=conditioning.reference_latents,
            timestep=torch.tensor([timestep]),
            encoder_hidden_states=text,
            encoder_hidden_states_image=conditioning.image,
            return_dict=False,
        )[0]


def test_loop_equals_euler_by_hand(mini, conditioning):
    mini.use_adapter("base")
    u = 1 - np.arange(4) / 4
    shift = mini.scheduler.config.shift
    sigmas = np.append(shift * u / (1 + (shift - 1) * u), 0)
    latents = torch.randn(1, 32, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    for sigma, following in itertools.pairwise(sigmas):
        positive = velocity(mini, conditioning, conditioning.text, latents, 1000 * sigma)
        negative = velocity(mini, conditioning, conditioning.negative_text, latents, 1000 * sigma)
        latents = latents + (following - sigma) * (negative + 3.0 * (positive - negative))
    assert torch.allclose(run(mini, conditioning, guidance_scale=3.0), latents, atol=1e-4)


def test_guidance_one_runs_one_branch_positive_first(mini, conditioning):
    calls = []

    def background(step, branch):
        calls.append((step, branch))

    run(mini, conditioning, guidance_scale=1.0, background=background)
    assert calls == [(step, "positive") for step in range(4)]
    calls.clear()
    run(mini, conditioning, guidance_scale=2.0, background=background)
    assert calls == [(step, branch) for step in range(4) for branch in ("positive", "negative")]


def test_stop_after_gives_the_first_steps_only(mini, conditioning):
    steps = []
    run(mini, conditioning, on_step=steps.append, stop_after=2)
    assert steps == [1, 2]
