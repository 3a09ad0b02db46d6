"""The losses as formulas, and what they must not change."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import skimage.metrics
import torch

from posegen.errors import PosegenError
from posegen.model.mini import build_mini
from posegen.train.objective import (
    FlowBatch,
    chroma,
    divergence,
    flow_matching_loss,
    motion_loss,
    pixel_energy,
    psnr,
    reconstruction_loss,
    region_psnr,
    region_weights,
    sharpness_ratio,
    shifted,
    stutter,
)


def make_batch(sigmas):
    random = torch.Generator().manual_seed(0)
    count = len(sigmas)
    latents, noise = (torch.randn(count, 4, 3, 4, 4, generator=random) for _ in range(2))
    return FlowBatch(
        latents, torch.zeros(count, 8, 3, 4, 4), None, None, torch.zeros(count, 2, 5), None, noise, torch.tensor(sigmas)
    )


class Oracle:
    """Knows the answer, or answers with something else; remembers what it was asked."""

    def __init__(self, batch, error=0.0):
        self.answer = batch.noise - batch.latents + error

    def __call__(self, **asked):
        self.asked = asked
        return (self.answer,)


def test_the_velocity_is_noise_minus_latents():
    batch = make_batch([0.25, 1.0])
    assert flow_matching_loss(Oracle(batch), batch).tolist() == [0.0, 0.0]
    off = flow_matching_loss(Oracle(batch, error=0.5), batch)
    torch.testing.assert_close(off, torch.tensor([0.25, 0.25]))


def test_the_model_sees_the_noise_level_and_its_timestep():
    batch = make_batch([0.25, 1.0])
    oracle = Oracle(batch)
    flow_matching_loss(oracle, batch)
    torch.testing.assert_close(oracle.asked["timestep"], torch.tensor([250.0, 1000.0]))
    torch.testing.assert_close(oracle.asked["hidden_states"][0], 0.75 * batch.latents[0] + 0.25 * batch.noise[0])
    torch.testing.assert_close(oracle.asked["hidden_states"][1], batch.noise[1])


def test_one_euler_step_from_noise_along_the_target_ends_at_the_latents():
    batch = make_batch([1.0])
    torch.testing.assert_close(batch.noise - Oracle(batch).answer, batch.latents)


def test_shift_moves_levels_towards_noise_and_keeps_the_ends():
    u = torch.tensor([0.0, 0.5, 1.0])
    torch.testing.assert_close(shifted(u, 5.0), torch.tensor([0.0, 5 / 6, 1.0]))
    torch.testing.assert_close(shifted(u, 1.0), u)


def test_chroma_ignores_brightness_only():
    grey = torch.rand(1, 1, 2, 4, 4).expand(1, 3, 2, 4, 4)
    torch.testing.assert_close(chroma(grey), torch.zeros(1, 2, 2, 4, 4), atol=1e-6, rtol=0)
    red = torch.zeros(1, 3, 2, 4, 4)
    red[:, 0] = 1.0
    weighted, plain = (reconstruction_loss(red, torch.zeros_like(red), weight) for weight in (2.0, 0.0))
    torch.testing.assert_close(plain, torch.tensor(1 / 3))
    assert weighted > plain + 0.5


def test_motion_loss_sees_changes_not_pictures():
    still = torch.rand(1, 3, 1, 4, 4).expand(1, 3, 9, 4, 4)
    brighter = still + 0.5
    torch.testing.assert_close(motion_loss(brighter, still), torch.zeros(()), atol=1e-6, rtol=0)
    moving = still + 0.1 * torch.arange(9.0).view(1, 1, 9, 1, 1)
    torch.testing.assert_close(motion_loss(still, moving), torch.tensor(0.1))
    assert motion_loss(still[:, :, :1], moving[:, :, :1]) == 0


def test_stutter_is_one_for_even_movement_and_grows_with_steps():
    even = (0.01 * torch.arange(9.0)).view(1, 1, 9, 1, 1).expand(1, 3, 9, 4, 4)
    torch.testing.assert_close(stutter(even, 4), torch.tensor(1.0))
    steps = torch.tensor([0.0, 2, 2.5, 3, 3.5, 5.5, 6, 6.5, 7]).view(1, 1, 9, 1, 1).expand(1, 3, 9, 4, 4)
    torch.testing.assert_close(stutter(steps, 4), torch.tensor(4.0))


def test_divergence_is_torchs():
    moments = torch.randn(2, 8, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    mean, logvar = moments.chunk(2, dim=1)
    normal = torch.distributions.Normal(mean, torch.exp(0.5 * logvar))
    unit = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    torch.testing.assert_close(divergence(moments), torch.distributions.kl_divergence(normal, unit).mean())


def test_psnr_is_skimages():
    from skimage.metrics import peak_signal_noise_ratio

    random = torch.Generator().manual_seed(0)
    first, second = (torch.rand(1, 3, 2, 8, 8, generator=random) * 2 - 1 for _ in range(2))
    for frame, value in enumerate(psnr(first, second)):
        wanted = peak_signal_noise_ratio(first[:, :, frame].numpy(), second[:, :, frame].numpy(), data_range=2.0)
        assert float(value) == pytest.approx(wanted, abs=1e-4)
    with pytest.raises(PosegenError, match="different shapes"):
        psnr(first, second[:, :, :1])


def test_pixel_energy_is_that_of_the_decoder():
    """Doubling what a channel's deviation stands for quadruples its energy; the mean is 1."""
    vae = build_mini(adapters=False).vae
    energy = pixel_energy(vae)
    assert energy.mean().item() == pytest.approx(1.0, abs=1e-5)
    deviation = list(vae.config.latents_std)
    vae.register_to_config(latents_std=[2 * deviation[0], *deviation[1:]])
    louder = pixel_energy(vae)
    # one latent more or less of the same wave changes little: the decoder is nearly linear
    assert (louder[0] / louder[1]).item() == pytest.approx(4 * (energy[0] / energy[1]).item(), rel=0.1)


def test_channel_weights_count_channels():
    class Nothing(torch.nn.Module):
        def forward(self, hidden_states, **_):
            return (torch.zeros_like(hidden_states),)

    shape = (2, 3, 1, 2, 2)
    batch = FlowBatch(
        torch.zeros(shape),
        torch.zeros(shape),
        None,
        None,
        torch.zeros(2, 1, 1),
        None,
        torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1, 1).expand(shape),
        torch.ones(2),
    )
    assert flow_matching_loss(Nothing(), batch).tolist() == pytest.approx([14 / 3] * 2)
    weighted = flow_matching_loss(Nothing(), batch, torch.tensor([3.0, 0.0, 0.0]))
    assert weighted.tolist() == pytest.approx([1.0] * 2)


def test_regions_that_count_alike_change_nothing():
    batch = make_batch([0.25, 0.7])
    shares = torch.rand(2, 2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    weights = region_weights(shares, 1.0, 1.0)
    assert weights.eq(1).all()
    oracle = Oracle(batch, error=torch.randn(2, 4, 3, 4, 4, generator=torch.Generator().manual_seed(2)))
    plain = flow_matching_loss(oracle, batch)
    assert torch.equal(flow_matching_loss(oracle, replace(batch, weights=weights)), plain)


def test_region_weights_have_a_mean_of_one_and_their_ratio():
    shares = torch.zeros(2, 2, 1, 2, 2)
    shares[0, 0, 0, 0, 0] = 1.0  # one latent of face
    shares[0, 1, 0, 1, 1] = 0.5  # one half of hands
    weights = region_weights(shares, face=4.0, hands=3.0)
    assert weights.mean(dim=(1, 2, 3, 4)).tolist() == pytest.approx([1.0, 1.0])
    assert (weights[0] / weights[0, 0, 0, 0, 1]).flatten().tolist() == pytest.approx([4.0, 1.0, 1.0, 2.0])
    assert weights[1].eq(1).all()  # an item without either


def test_an_error_counts_as_much_as_its_region():
    batch = make_batch([0.5])
    error = torch.zeros(1, 4, 3, 4, 4)
    error[:, :, 0, 0, 0] = 1.0
    shares = torch.zeros(1, 2, 3, 4, 4)
    shares[:, 0, 0, 0, 0] = 1.0
    weights = region_weights(shares, face=5.0, hands=1.0)
    plain = flow_matching_loss(Oracle(batch, error), batch).item()
    weighed = flow_matching_loss(Oracle(batch, error), replace(batch, weights=weights)).item()
    assert weighed / plain == pytest.approx(5.0 * 48 / (47 + 5))


def test_sharpness_is_that_of_the_region_and_blur_lowers_it():
    truth = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), np.uint8))
    region = torch.zeros(2, 24, 24, dtype=torch.bool)
    region[:, 4:12, 4:12] = True
    soft = torch.from_numpy(np.stack([cv2.GaussianBlur(frame, (0, 0), 1.0) for frame in truth.numpy()]))
    mixed = torch.where(region[..., None], truth, soft)
    assert sharpness_ratio(truth, truth, region) == pytest.approx(1.0)
    assert sharpness_ratio(mixed, truth, region) == pytest.approx(1.0, abs=0.05)
    assert sharpness_ratio(soft, truth, region) < 0.5
    assert region_psnr(mixed, truth, region) == pytest.approx(10 * np.log10(255**2 / 1e-10))
    assert region_psnr(truth // 2, truth, region) == pytest.approx(
        skimage.metrics.peak_signal_noise_ratio(truth.numpy()[:, 4:12, 4:12], truth.numpy()[:, 4:12, 4:12] // 2)
    )
