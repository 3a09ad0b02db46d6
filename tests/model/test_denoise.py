"""The sampling loop on the real classes."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from posegen.model.denoise import (
    NO_HOOKS,
    UNGUIDED,
    Conditioning,
    PoseGuidance,
    PoseLatents,
    Sampling,
    StepHooks,
    denoise,
    flow_sigmas,
    forward_passes,
    no_background,
)


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
        pose=PoseLatents(*(random(1, channels, 3, 8, 6) for channels in (36, 32, 36, 32))),
        reference_latents=random(1, 32, 1, 8, 6),
        text=random(1, 12, 64),
        negative_text=random(1, 12, 64),
        image=random(1, 65, 64),
    )


def run(mini, conditioning, guidance=5.0, pose_guidance=UNGUIDED, background=no_background, hooks=NO_HOOKS):
    noise = torch.randn(1, 32, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    sampling = Sampling(4, guidance, pose_guidance)
    return denoise(mini.transformer, mini.scheduler, noise, conditioning, sampling, background, hooks)


def velocity(mini, conditioning, text, latents, timestep):
    with torch.no_grad():
        return mini.transformer(
            hidden_states=latents,
            condition_latents=conditioning.pose.condition_latents,
            hand_latents=conditioning.pose.hand_latents,
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
    assert torch.allclose(run(mini, conditioning, guidance=3.0), latents, atol=1e-4)


def test_guidance_one_runs_one_branch_positive_first(mini, conditioning):
    calls = []

    def background(step, branch):
        calls.append((step, branch))

    run(mini, conditioning, guidance=1.0, background=background)
    assert calls == [(step, "positive") for step in range(4)]
    calls.clear()
    run(mini, conditioning, guidance=2.0, background=background)
    assert calls == [(step, branch) for step in range(4) for branch in ("positive", "negative")]


def test_pose_guidance_leads_away_from_the_prediction_without_it(mini, conditioning):
    """By hand: in the steps that begin at noise level 0.8 or above (1, 0.9; not 0.75, 0.5), and beside the text's."""
    mini.use_adapter("base")
    blind = replace(conditioning, pose=PoseLatents(*conditioning.pose[2:]))
    sigmas = [1.0, 0.9, 0.75, 0.5, 0.0]
    latents = torch.randn(1, 32, 3, 8, 6, generator=torch.Generator().manual_seed(1))
    for sigma, following in itertools.pairwise(sigmas):
        positive = velocity(mini, conditioning, conditioning.text, latents, 1000 * sigma)
        negative = velocity(mini, conditioning, conditioning.negative_text, latents, 1000 * sigma)
        unposed = velocity(mini, blind, conditioning.text, latents, 1000 * sigma)
        guided = negative + 3.0 * (positive - negative)
        if sigma > 0.8:
            guided += 0.5 * (positive - unposed)
        latents = latents + (following - sigma) * guided
    calls = []

    def background(step, branch):
        calls.append((step, branch))

    pose_guidance = PoseGuidance(1.5, until=0.8)
    result = run(mini, conditioning, guidance=3.0, pose_guidance=pose_guidance, background=background)
    assert torch.allclose(result, latents, atol=1e-4)
    assert not torch.allclose(result, run(mini, conditioning, guidance=3.0), atol=1e-2)
    assert calls == forward_passes(mini.scheduler.config.shift, Sampling(4, 3.0, pose_guidance))
    assert [step for step, branch in calls if branch == "unposed"] == [0, 1]


def test_pose_guidance_keeps_the_text_and_costs_nothing_at_one(mini, conditioning):
    calls = []

    def background(step, branch):
        calls.append(branch)

    run(mini, conditioning, guidance=1.0, background=background, pose_guidance=PoseGuidance(1.0))
    assert calls == 4 * ["positive"]
    same = replace(conditioning, pose=PoseLatents(*conditioning.pose[:2], *conditioning.pose[:2]))
    led = run(mini, same, guidance=1.0, pose_guidance=PoseGuidance(4.0))
    assert torch.equal(led, run(mini, same, guidance=1.0))


def test_stop_after_gives_the_first_steps_only(mini, conditioning):
    steps = []
    run(mini, conditioning, hooks=StepHooks(on_step=steps.append, stop_after=2))
    assert steps == [1, 2]
