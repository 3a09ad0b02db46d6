"""Shares of face and hands in latents: exact where masks are, in the order of the encoded clips."""

import numpy as np
import pytest
import torch

from posegen.data.clips import FACE_BIT, HIDDEN, LEFT_HAND_BIT, Clip, Drawing
from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache, LatentItems, write_encoded
from posegen.data.regions import FACE_REGION, HAND_REGION, RegionShares, latent_shares, prepare_regions, region_masks
from posegen.data.shards import open_shards
from posegen.model.mini import build_mini
from tiny_shards import write_shards


@pytest.fixture(scope="module")
def mini():
    return build_mini(adapters=False)


@pytest.fixture
def shards(tmp_path):
    return open_shards(write_shards(tmp_path / "shards", "train"), "train")


@pytest.fixture
def clip(shards):
    return Clip(shards[0].samples[0], Drawing())


def test_a_latent_has_the_share_of_its_pixels_and_frames():
    masks = np.zeros((2, 5, 16, 24), bool)
    masks[0, 0, :8, :4] = True  # the first frame is a latent of its own
    masks[1, 1:3, 8:, 16:] = True  # two of the next four frames
    shares = latent_shares((masks[0], masks[1]))
    assert shares.shape == (2, 2, 2, 3)
    wanted = torch.zeros(2, 2, 2, 3)
    wanted[0, 0, 0, 0] = wanted[1, 1, 1, 2] = 128
    assert torch.equal(shares.float(), wanted)


def test_hands_come_from_the_masks(clip):
    _, hands = region_masks(clip, 2, 6)
    assert np.array_equal(hands, (clip.array("masks")[2:6] & LEFT_HAND_BIT) > 0)
    assert hands.any()


def test_a_face_is_its_mask_or_else_the_hull_of_its_seen_points(clip):
    hull, _ = region_masks(clip, 0, 9)
    for image, points in zip(hull, clip.array("keypoints")[:, 23:91].round().astype(int), strict=True):
        assert image[points[:, 1], points[:, 0]].all()
        assert image.sum() <= 15 * 11  # no larger than the person
    clip.array("visibility")[:] = HIDDEN
    assert not region_masks(clip, 0, 9)[0].any()
    clip.array("masks")[3, 5:8, 6:9] |= FACE_BIT
    face, _ = region_masks(clip, 0, 9)
    assert face.sum() == 9
    assert face[3, 5:8, 6:9].all()


def test_rows_are_those_of_the_encoded_clips(tmp_path, shards, mini, caplog):
    """Windows, then the same in a mirror, of each clip; and nothing is computed a second time."""
    cache = LatentCache(tmp_path / "cache", mini, torch.float32)
    encoding = Encoding(num_frames=5, windows=2, mirrored=True)
    items = LatentItems(cache.prepare(shards, encoding))
    files = prepare_regions(cache, shards, encoding)
    regions = RegionShares(files)
    for item in (0, 3, len(items) - 1):
        shape = items.shape("latents", item)
        assert list(regions.read(item).shape) == [2, *shape[1:]]
    clip = Clip(shards[1].samples[2], cache.drawing, mirrored=True)
    wanted = latent_shares(region_masks(clip, 4, 9)).float() / 255
    assert torch.equal(regions.read(len(items) - 1), wanted)
    assert torch.equal(regions.read(len(items) - 1, slice(1, 2)), wanted[:, 1:2])
    assert wanted[FACE_REGION].any()
    assert wanted[HAND_REGION].any()
    written = [file.stat().st_mtime_ns for file in files]
    assert prepare_regions(cache, shards, encoding) == files
    assert [file.stat().st_mtime_ns for file in files] == written
    first = regions.read(0)
    del regions
    files[0].write_bytes(b"damaged")
    again = RegionShares(prepare_regions(cache, shards, encoding))
    assert torch.equal(again.read(0), first)
    assert str(files[0]) in caplog.text


def test_clips_that_are_left_out_have_no_row(tmp_path, shards, mini):
    cache, encoding = LatentCache(tmp_path / "cache", mini, torch.float32), Encoding(num_frames=5)
    first, second, third = shards[0].samples
    kept = [cache.encode(sample, encoding) for sample in (first, third)]
    write_encoded(cache.file(shards[0], encoding), kept, encoding, [second.key])
    regions = RegionShares(prepare_regions(cache, shards[:1], encoding))
    wanted = latent_shares(region_masks(Clip(third, cache.drawing), 0, 5)).float() / 255
    assert torch.equal(regions.read(1), wanted)
