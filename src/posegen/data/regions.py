"""Shares of face and hands in each latent of encoded clips, for losses that weigh them.

One small safetensors file beside each file of encoded clips, with a row for each of its windows. The masks of
synthetic clips are exact; clips without a mask of the face have the hull of the face's seen keypoints instead. What
the shares are used for is chosen in `train/diffusion.py`.
"""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from einops import reduce
from jaxtyping import Float, UInt8
from safetensors.torch import load_file

from posegen.conditions.keypoints import FACE
from posegen.data.clips import FACE_BIT, LEFT_HAND_BIT, RIGHT_HAND_BIT, VISIBLE, Clip
from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache, clips_left_out
from posegen.data.shards import Shard
from posegen.errors import logger
from posegen.media.checksums import forget_checksum, state_of, write_checksum
from posegen.media.tensors import save_safetensors
from posegen.types import Masks

FACE_REGION, HAND_REGION = 0, 1
_PIXELS, _FRAMES = 8, 4
"""Pixels and frames of a latent, in every autoencoder that posegen trains with."""
_HULL = 3
"""Minimum number of seen points of a face."""


class RegionShares:
    """Shares of the face and of the hands in each latent of encoded windows, by number."""

    def __init__(self, files: list[Path]) -> None:
        """Open the files in the order of the encoded clips'."""
        self._rows = [row for file in files for row in load_file(file).get("regions", ())]

    def read(self, item: int, frames: slice = slice(None)) -> Float[torch.Tensor, "2 f h w"]:
        """Return the shares, 0 to 1, of face and hands in some latent frames of a window."""
        return self._rows[item][:, frames].float() / 255.0


def prepare_regions(
    cache: LatentCache,
    shards: list[Shard],
    encoding: Encoding,
    progress: Callable[[int, int], None] = lambda done, total: None,
    rank: int = 0,
    world: int = 1,
) -> list[Path]:
    """Write the missing files of every `world`-th shard, whose clips are encoded, and return all files in order."""
    files = []
    for number, shard in enumerate(shards):
        encoded = cache.file(shard, encoding)
        files.append(file := encoded.with_suffix(".regions.safetensors"))
        if number % world != rank:
            continue
        if not _is_whole(file):
            left_out = set(clips_left_out(encoded))
            rows = [
                latent_shares(region_masks(clip, start, start + encoding.num_frames))
                for sample in shard.samples
                if sample.key not in left_out
                for clip in (Clip(sample, cache.drawing, side) for side in (False, True)[: 1 + encoding.mirrored])
                for start in encoding.starts(sample.num_frames)
            ]
            forget_checksum(file)
            save_safetensors({"regions": torch.stack(rows)} if rows else {}, file, {"posegen": "1"})
            write_checksum(file)
        progress(number + 1, len(shards))
    return files


def _is_whole(file: Path) -> bool:
    """Return whether a file of shares is there and undamaged; a damaged one is reported."""
    state = state_of(file)
    if state == "damaged":
        logger.warning("%s is damaged: the places of faces and hands are found again", file)
    return state == "intact"


def region_masks(clip: Clip, start: int, stop: int) -> tuple[Masks, Masks]:
    """Return where the face is, and where the hands are, in the frames of a clip: bool (F, H, W) each."""
    bits = clip.array("masks")[start:stop]
    hands = (bits & (LEFT_HAND_BIT | RIGHT_HAND_BIT)) > 0
    if (clip.array("masks") & FACE_BIT).any():
        return (bits & FACE_BIT) > 0, hands
    face = np.zeros(bits.shape, np.uint8)
    points, seen = clip.array("keypoints")[start:stop, FACE], clip.array("visibility")[start:stop, FACE] == VISIBLE
    for image, places, kept in zip(face, points, seen, strict=True):
        if kept.sum() >= _HULL:
            cv2.fillConvexPoly(image, cv2.convexHull(places[kept].round().astype(np.int32)), 1)
    return face > 0, hands


def latent_shares(masks: tuple[Masks, Masks]) -> UInt8[torch.Tensor, "2 f h w"]:
    """Return the share of each mask's pixels that belong to each latent, 0 to 255; the first latent has one frame."""
    pixels = np.stack(masks).astype(np.float32)
    size = {"h": _PIXELS, "w": _PIXELS}
    first = reduce(pixels[:, :1], "r f (y h) (x w) -> r f y x", "mean", **size)
    others = reduce(pixels[:, 1:], "r (g f) (y h) (x w) -> r g y x", "mean", f=_FRAMES, **size)
    return torch.from_numpy((np.concatenate([first, others], axis=1) * 255.0).round().astype(np.uint8))
