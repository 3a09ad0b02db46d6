"""The cache of latents: what it holds is what the pipeline would make, and nothing stale is ever read."""

import resource

import pytest
import torch

from posegen.data.clips import Clip
from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache, LatentItems
from posegen.data.shards import open_shards
from posegen.errors import DiskFullError, PosegenError
from posegen.model.mini import build_mini
from tiny_shards import break_clip, write_shards


@pytest.fixture(scope="module")
def mini():
    return build_mini(adapters=False)


@pytest.fixture
def shards(tmp_path):
    return open_shards(write_shards(tmp_path / "shards", "train"), "train")


@pytest.fixture
def cache(tmp_path, mini):
    return LatentCache(tmp_path / "cache", mini, torch.float32)


def close(found, wanted):
    torch.testing.assert_close(found.float(), wanted.float(), atol=0.02, rtol=0.01)  # bfloat16


def test_items_are_what_generation_would_encode(cache, shards, mini):
    items = LatentItems(cache.prepare(shards, Encoding(num_frames=9, head=1, tail=4)))
    assert len(items) == 6
    clip = Clip(shards[1].samples[2], cache.drawing)
    item, frames = items[5], clip.frames(0, 9)
    condition, hands = mini.encode_conditions(clip.skeletons(0, 9), clip.hands(0, 9), frames[:1], frames[-4:])
    close(item["condition"], condition[0, 4:])
    close(item["hands"], hands[0])
    close(item["text"], mini.encode_text(clip.caption)[0])
    close(item["image"], mini.encode_image(clip.reference)[0])
    assert item["reference"].shape == (32, 1, 4, 4)
    assert not torch.equal(item["condition"], item["condition_without_hands"])


def test_image_to_video_items_are_given_the_first_frame_and_grey(cache, shards, mini):
    import numpy as np

    items = LatentItems(cache.prepare(shards, Encoding(num_frames=9, head=1, pose=False)))
    frames = Clip(shards[0].samples[0], cache.drawing).frames(0, 9)
    grey = np.full_like(frames, 128)
    close(items[0]["condition"], mini.encode_conditions(grey, None, frames[:1])[0][0, 4:])
    assert "hands" not in items[0]


def test_windows_are_spread_over_the_clip(cache, shards):
    encoding = Encoding(num_frames=1, windows=3)
    assert encoding.starts(9) == [0, 4, 8]
    items = LatentItems(cache.prepare(shards, encoding))
    assert len(items) == 18
    clip = Clip(shards[0].samples[1], cache.drawing)
    close(items[5]["latents"], cache.latents(clip.frames(8, 9)))
    close(items[5]["reference"], items[3]["reference"])


def test_nothing_is_encoded_twice_and_what_is_missing_is(cache, shards):
    encoding = Encoding(num_frames=5)
    files = cache.prepare(shards, encoding)
    first = files[0].read_bytes()
    stamp = files[1].stat().st_mtime_ns
    files[0].write_bytes(first[:100])  # a file of a dead disk
    assert cache.prepare(shards, encoding) == files
    assert files[0].read_bytes() == first
    assert files[1].stat().st_mtime_ns == stamp


def test_a_damaged_file_is_encoded_again(cache, shards, caplog):
    (file, *_) = cache.prepare(shards, Encoding(num_frames=5))
    whole = file.read_bytes()
    content = bytearray(whole)
    content[-1] ^= 1  # a value, which would be read without an error
    file.write_bytes(content)
    cache.prepare(shards, Encoding(num_frames=5))
    assert file.read_bytes() == whole
    assert file.name in caplog.text


def test_other_weights_have_other_files(cache, shards, tmp_path):
    other = LatentCache(tmp_path / "cache", build_mini(seed=1, adapters=False), torch.float32)
    encoding = Encoding(num_frames=5)
    assert not set(other.prepare(shards, encoding)) & set(cache.prepare(shards, encoding))


def test_processes_share_the_work(cache, shards):
    encoding = Encoding(num_frames=5)
    files = cache.prepare(shards, encoding, rank=0, world=2)
    assert [file.exists() for file in files] == [True, False]
    cache.prepare(shards, encoding, rank=1, world=2)
    assert len(LatentItems(files)) == 6


def test_damaged_clips_are_named(cache, shards):
    break_clip(shards[0].samples[1])
    with pytest.raises(PosegenError, match="1 of 6 clips cannot be used: train-00000001"):
        cache.prepare(shards, Encoding(num_frames=5))


def test_a_shard_of_which_no_clip_can_be_read_counts_like_others(cache, tmp_path, caplog):
    shards = open_shards(write_shards(tmp_path / "many", "train", shards=100, clips=1), "train")
    break_clip(shards[0].samples[0])
    encoding = Encoding(num_frames=1, head=1, pose=False)
    for _ in range(2):  # encoded, and found in the cache
        caplog.clear()
        items = LatentItems(cache.prepare(shards, encoding))
        assert "1 of 100 clips left out: train-00000000" in caplog.text
        assert (len(items), items.shape("latents")) == (99, list(items[0]["latents"].shape))
        assert torch.equal(items[0]["latents"], cache.encode(shards[1].samples[0], encoding)["latents"][0])


def test_a_full_disk_is_one_line_and_leaves_no_half_file(cache, shards):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(DiskFullError, match="the disk is full"):
            cache.prepare(shards, Encoding(num_frames=5))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(cache.folder.iterdir())
    assert len(LatentItems(cache.prepare(shards, Encoding(num_frames=5)))) == 6
