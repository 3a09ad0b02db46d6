"""Masks and pixel conversions; the VAE's own traps."""

import numpy as np
import pytest
import torch

from posegen.errors import PosegenError
from posegen.model.latents import decode_latents, encode_frames, iterate_decoded, preserve_mask, to_frames, to_pixels


def test_every_level_survives_the_way_to_float_and_back():
    frames = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    pixels = to_pixels(frames)
    assert pixels.shape == (1, 3, 1, 16, 16)
    assert float(pixels.min()) == -1.0
    assert float(pixels.max()) == 1.0
    assert np.array_equal(to_frames(pixels), frames)


def test_mask_of_a_stitch_segment_is_folded_like_wans():
    mask = preserve_mask(81, 21, 20, 2, 3)
    assert mask.shape == (1, 4, 21, 2, 3)
    per_frame = mask[0, :, :, 0, 0].T.reshape(-1)  # latent frame by latent frame
    expected = torch.zeros(84)
    expected[:24] = 1  # first frame four times, then frames 1..20
    expected[64:] = 1
    assert torch.equal(per_frame, expected)
    assert torch.equal(mask, mask[..., :1, :1].expand_as(mask))
    assert preserve_mask(81, 0, 0, 2, 3).sum() == 0


def test_frames_that_the_vae_would_drop_are_refused(mini):
    with pytest.raises(PosegenError, match=r"1 \+ 4k frames at a time, not 8"):
        encode_frames(mini.vae, np.zeros((8, 64, 64, 3), np.uint8))


def test_encode_and_decode_have_the_promised_shapes_and_use_the_statistics(mini):
    frames = np.random.default_rng(0).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    latents = encode_frames(mini.vae, frames)
    assert latents.shape == (1, 32, 3, 8, 12)
    assert decode_latents(mini.vae, latents).shape == frames.shape
    plain = dict(mini.vae.config)
    try:
        mini.vae.register_to_config(latents_mean=[1.0] * 32, latents_std=[2.0] * 32)
        assert torch.allclose(encode_frames(mini.vae, frames), (latents - 1) / 2)
        shifted = decode_latents(mini.vae, (latents - 1) / 2)
    finally:
        mini.vae.register_to_config(latents_mean=plain["latents_mean"], latents_std=plain["latents_std"])
    plainly = decode_latents(mini.vae, latents)
    assert np.abs(shifted.astype(int) - plainly).max() <= 1


def test_frames_are_decoded_as_they_are_taken_and_are_those_of_the_whole(mini):
    latents = torch.randn(1, 32, 3, 8, 12, generator=torch.Generator().manual_seed(0))
    whole, calls = decode_latents(mini.vae, latents), []
    hook = mini.vae.decoder_out.register_forward_hook(lambda *_: calls.append(1))
    frames = iterate_decoded(mini.vae, latents)
    try:
        assert np.array_equal(next(frames), whole[0])
        assert len(calls) == 1
        assert np.array_equal(np.stack(list(frames)), whole[1:])
        assert len(calls) == 3
    finally:
        hook.remove()
    with torch.no_grad():
        at_once = to_frames(mini.vae.decode(latents).sample)
    assert np.abs(at_once.astype(int) - whole).max() <= 1
