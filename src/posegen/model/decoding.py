"""Decodes latents to pixels one latent frame at a time, so that a segment's pixels are never all in memory.

For causal video autoencoders: Wan's carries features from piece to piece in a cache, posegen's own in its blocks.
Latents are denormalised and pixels converted to frames in `model/latents.py`.
"""

from collections.abc import Iterator
from typing import Any

from diffusers import AutoencoderKLWan
from diffusers.models.autoencoders.autoencoder_kl_wan import unpatchify
from diffusers.utils.accelerate_utils import apply_forward_hook

from posegen.model.tensor_types import Latents, Pixels

wake = apply_forward_hook(lambda model: None)
"""Bring an offloaded model to its device, as diffusers does before `decode`."""


def decode_pieces(vae: Any, latents: Latents) -> Iterator[Pixels]:
    """Yield the frames of `vae.decode(latents)`, -1..1, in pieces of one latent frame: 1 frame, then 4 at a time.

    An autoencoder that decodes in tiles (`enable_tiling`), or is of another kind, yields everything in one piece.
    """
    if isinstance(vae, AutoencoderKLWan) and not _is_tiled(vae, latents):
        yield from _wan_pieces(vae, latents)
    elif hasattr(vae, "decode_pieces"):
        yield from vae.decode_pieces(latents)
    else:
        yield vae.decode(latents, return_dict=False)[0]


def _is_tiled(vae: AutoencoderKLWan, latents: Latents) -> bool:
    """Return True if `decode` would work in tiles."""
    ratio = vae.spatial_compression_ratio
    height, width = vae.tile_sample_min_height // ratio, vae.tile_sample_min_width // ratio
    return vae.use_tiling and (latents.shape[-1] > width or latents.shape[-2] > height)


def _wan_pieces(vae: AutoencoderKLWan, latents: Latents) -> Iterator[Pixels]:
    """Decode like `AutoencoderKLWan._decode` of diffusers 0.42, but yield the pieces separately.

    The feature cache belongs to this generator: the autoencoder may do other work between two pieces.
    """
    vae.clear_cache()
    features: list[Any] = [None] * len(vae._feat_map)
    hidden = vae.post_quant_conv(latents)
    for index in range(latents.shape[2]):
        options = {"first_chunk": True} if index == 0 else {}
        pixels = vae.decoder(hidden[:, :, index : index + 1], feat_cache=features, feat_idx=[0], **options)
        if vae.config.patch_size is not None:
            pixels = unpatchify(pixels, patch_size=vae.config.patch_size)
        yield pixels.clamp(-1.0, 1.0)
