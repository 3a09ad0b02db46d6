"""Decoding in pieces: the same pixels as decoding at once, from real autoencoders of tiny size."""

import pytest
import torch
from diffusers import AutoencoderKLWan

from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.decoding import decode_pieces, wake

WAN = {
    "wan 2.1": {"base_dim": 8, "dim_mult": [1, 2, 2, 2], "num_res_blocks": 1},
    "wan 2.2": {
        "base_dim": 8, "dim_mult": [1, 1, 1], "num_res_blocks": 1, "temperal_downsample": [True, True],
        "patch_size": 2, "in_channels": 12, "out_channels": 12, "is_residual": False,
    },
}  # fmt: skip  # a table, read in rows


def light():
    torch.manual_seed(0)
    model = AutoencoderLightVideo(z_dim=16, encoder_channels=[8, 8, 8], decoder_channels=[8, 8, 8])
    for name, parameter in model.named_parameters():  # as if trained: every path has an effect
        if "out." in name:
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


def wan(kind="wan 2.1"):
    torch.manual_seed(0)
    return AutoencoderKLWan(z_dim=16, **WAN[kind]).eval()


def latents(frames=5, height=4, width=3, batch=1):
    return torch.randn(batch, 16, frames, height, width, generator=torch.Generator().manual_seed(frames))


@pytest.mark.parametrize("kind", WAN)
@torch.no_grad()
def test_wans_pieces_are_what_it_decodes_at_once(kind):
    vae = wan(kind)
    pieces = list(decode_pieces(vae, latents()))
    assert [piece.shape[2] for piece in pieces] == [1, 4, 4, 4, 4]
    torch.testing.assert_close(torch.cat(pieces, dim=2), vae.decode(latents()).sample)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.bfloat16, 0)])
@torch.no_grad()
def test_our_pieces_are_what_it_decodes_at_once(dtype, tolerance):
    vae, z = light().to(dtype), latents(batch=2).to(dtype)
    pieces = list(decode_pieces(vae, z))
    assert [piece.shape[2] for piece in pieces] == [1, 4, 4, 4, 4]
    torch.testing.assert_close(torch.cat(pieces, dim=2), vae.decode(z).sample, atol=tolerance, rtol=0)


@pytest.mark.parametrize("build", [wan, light])
@torch.no_grad()
def test_a_piece_is_decoded_only_when_it_is_asked_for_and_other_work_does_not_disturb_it(build):
    vae, z = build(), latents()
    whole = vae.decode(z).sample
    pieces, calls = decode_pieces(vae, z), []
    last = vae.decoder.conv_out if isinstance(vae, AutoencoderKLWan) else vae.decoder_out
    last.register_forward_hook(lambda *_: calls.append(1))
    found = []
    for index, piece in enumerate(pieces):
        assert len(calls) == index + 1
        found.append(piece)
        vae.encode(torch.zeros(1, 3, 5, 32, 24))  # clears Wan's own cache
    torch.testing.assert_close(torch.cat(found, dim=2), whole, atol=1e-6, rtol=1e-5)


@torch.no_grad()
def test_what_is_decoded_in_tiles_stays_so():
    vae, z = wan(), latents(2, 8, 8)
    vae.enable_tiling(32, 32, 24, 24)
    pieces = list(decode_pieces(vae, z))
    assert [piece.shape[2] for piece in pieces] == [5]
    assert torch.equal(pieces[0], vae.decode(z).sample)
    assert len(list(decode_pieces(vae, latents(2, 4, 4)))) == 2  # as small as a tile: `decode` makes none


def test_an_offloaded_model_is_woken_as_for_decode():
    class Hook:
        woken = 0

        def pre_forward(self, model):
            self.woken += 1

    vae = wan()
    vae._hf_hook = Hook()
    wake(vae)
    assert vae._hf_hook.woken == 1
