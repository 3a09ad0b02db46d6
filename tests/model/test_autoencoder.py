"""The light video autoencoder: Wan's strides and causality, exact streaming, saving and loading, a linear start."""

import pytest
import torch
from einops import rearrange

from posegen.errors import PosegenError
from posegen.model.autoencoder import AutoencoderLightVideo, cosine_code, group_patches

SIZES = {"z_dim": 16, "encoder_channels": [8, 8, 8], "decoder_channels": [8, 8, 8]}


@pytest.fixture
def autoencoder():
    torch.manual_seed(0)
    model = AutoencoderLightVideo(**SIZES)
    for name, parameter in model.named_parameters():  # as if trained: every path has an effect
        if "out." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def clip(frames, height=32, width=24):
    return torch.rand(1, 3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def test_strides_are_wans(autoencoder):
    latents = autoencoder.encode(clip(9)).latent_dist.mode()
    assert latents.shape == (1, 16, 3, 4, 3)
    assert autoencoder.decode(latents).sample.shape == (1, 3, 9, 32, 24)


@pytest.mark.parametrize("frames", [1, 5, 9])
@torch.no_grad()
def test_a_clips_beginning_does_not_know_its_end(autoencoder, frames):
    video = clip(13)
    whole, part = (autoencoder.moments(video[:, :, :count]) for count in (13, frames))
    torch.testing.assert_close(whole[:, :, : part.shape[2]], part)
    latents = torch.randn(1, 16, 4, 4, 3, generator=torch.Generator().manual_seed(1))
    whole, part = (autoencoder.reconstruct(latents[:, :, :count]) for count in (4, (frames - 1) // 4 + 1))
    torch.testing.assert_close(whole[:, :, :frames], part)


@torch.no_grad()
def test_every_frame_matters_to_its_own_latent_only(autoencoder):
    video = clip(9)
    before = autoencoder.moments(video)
    changed = video.clone()
    changed[:, :, 6] += 0.5
    differs = (autoencoder.moments(changed) - before).abs().amax((0, 1, 3, 4)) > 1e-6
    assert differs.tolist() == [False, False, True]


@torch.no_grad()
def test_it_starts_as_a_cosine_transform():
    model = AutoencoderLightVideo(**SIZES)
    flat = torch.tensor([0.6, -0.2, 0.1]).view(1, 3, 1, 1, 1).expand(1, 3, 5, 16, 16)
    torch.testing.assert_close(model(flat), flat, atol=1e-5, rtol=0)
    analysis, synthesis = cosine_code(16)
    torch.testing.assert_close(analysis @ synthesis, torch.eye(16), atol=1e-5, rtol=0)


@torch.no_grad()
def test_the_fitted_code_is_the_best_linear_one():
    model = AutoencoderLightVideo(**SIZES)
    video = clip(9)
    patches = rearrange(group_patches(video), "g p h w -> (g h w) p").double()
    error_before = (model(video) - video).square().mean()
    model.fit_linear_code(patches.T @ patches)
    left = torch.linalg.svdvals(patches)[16:].square().sum() / patches.numel()  # Eckart and Young
    found = rearrange(group_patches(model(video) - video), "g p h w -> (g h w) p").double()
    torch.testing.assert_close(
        found.square().mean(), left, rtol=1e-2, atol=0
    )  # the first frame counts once, not four times
    assert (model(video) - video).square().mean() < error_before


@torch.no_grad()
def test_training_form_agrees_with_the_plain_one(autoencoder):
    video = clip(5)
    moments, drawn = autoencoder(video, torch.zeros(1, 16, 2, 4, 3))
    torch.testing.assert_close(drawn, autoencoder(video))
    torch.testing.assert_close(moments, autoencoder.moments(video))


@torch.no_grad()
def test_saved_and_loaded_alike(autoencoder, tmp_path):
    autoencoder.register_to_config(latents_mean=[0.5] * 16, latents_std=[2.0] * 16)
    autoencoder.save_pretrained(tmp_path)
    loaded = AutoencoderLightVideo.from_pretrained(tmp_path)
    assert list(loaded.config.latents_std) == [2.0] * 16
    torch.testing.assert_close(loaded(clip(5)), autoencoder(clip(5)))


@pytest.mark.parametrize(("frames", "height"), [(4, 32), (5, 30)])
def test_other_lengths_and_sizes_are_refused(autoencoder, frames, height):
    with pytest.raises(PosegenError, match="1 \\+ 4k frames of multiples of 8 pixels"):
        autoencoder.encode(clip(frames, height))


def test_other_strides_are_refused():
    with pytest.raises(PosegenError, match="strides"):
        AutoencoderLightVideo(scale_factor_temporal=8)
