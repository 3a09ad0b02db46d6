"""Clips of several sizes: each video has the one of which it loses least, shards hold one, names fit the trainings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.errors import PosegenError
from posegen.prepare.prepare_recipe import ClipSettings, PrepareRecipe, read_prepare_recipe
from posegen.prepare.stages.packing import shard_tasks
from posegen.recipes.lookup import recipe_names
from posegen.train.stage_settings import STAGES
from posegen.train.train_recipe import read_recipe

BOTH = ClipSettings(sizes=((832, 480), (480, 832)))
TIERS = ClipSettings(sizes=((480, 832), (720, 1280), (832, 480)), most_cropped=0.3)


@pytest.mark.parametrize(
    ("clips", "video", "size"),
    [
        (BOTH, (1920, 1080), (832, 480)),
        (BOTH, (1080, 1920), (480, 832)),
        (TIERS, (2160, 3840), (720, 1280)),  # the larger of two of one shape
        (TIERS, (540, 960), (480, 832)),  # which is too large for this one
        (TIERS, (1280, 720), (832, 480)),
    ],
)
def test_a_video_has_the_size_of_which_it_loses_least(clips, video, size):
    assert clips.size_for(video) == size


@pytest.mark.parametrize(("video", "reason"), [((300, 400), "enlarged"), ((1000, 1000), "cut off")])
def test_a_video_that_fits_no_size_says_why(video, reason):
    with pytest.raises(PosegenError, match=reason):
        TIERS.size_for(video)


@given(st.permutations([(832, 480), (480, 832), (640, 640)]), st.integers(900, 3000), st.integers(900, 3000))
def test_the_order_of_sizes_does_not_matter(sizes, height, width):
    size = ClipSettings(sizes=tuple(sizes), most_cropped=1.0).size_for((height, width))
    assert size == ClipSettings(sizes=((832, 480), (480, 832), (640, 640)), most_cropped=1.0).size_for((height, width))


def test_one_size_has_the_fingerprints_that_it_had():
    """What was prepared before there could be several sizes is not made again."""
    assert PrepareRecipe(clips=ClipSettings(sizes=((480, 832),))).fingerprint("clips") == "1e3eefb596ee"
    assert PrepareRecipe(clips=BOTH).fingerprint("clips") != "1e3eefb596ee"


def test_a_shard_holds_clips_of_one_size():
    samples = {f"{name}-0": name for name in "abcdef"}
    splits = dict.fromkeys(samples, "train") | {"f-0": "val-same"}
    sizes = {key: (832, 480) if key[0] in "ace" else (480, 832) for key in samples}
    tasks = shard_tasks(samples, splits, 2, sizes)
    assert [(task.shard, list(task.keys)) for task in tasks] == [
        ("train-000000.tar", ["b-0", "d-0"]),
        ("train-000001.tar", ["a-0", "c-0"]),
        ("train-000002.tar", ["e-0"]),
        ("val-same-000000.tar", ["f-0"]),
    ]
    alike = shard_tasks(samples, splits, 2, dict.fromkeys(samples, (832, 480)))
    assert alike == shard_tasks(samples, splits, 2)


@pytest.mark.parametrize("text", ["size = [96, 64]\nsizes = [[64, 96]]\n", "sizes = []\n", "sizes = [[96, 60]]\n"])
def test_sizes_that_cannot_be_are_named(text, tmp_path):
    (tmp_path / "own.toml").write_text(f"[clips]\n{text}")
    with pytest.raises(PosegenError, match="size"):
        read_prepare_recipe(tmp_path / "own.toml")


def test_a_single_size_may_be_written_as_one(tmp_path):
    (tmp_path / "own.toml").write_text("[clips]\nsize = [96, 64]\n")
    assert read_prepare_recipe(tmp_path / "own.toml").clips.sizes == ((96, 64),)


@pytest.mark.parametrize("name", recipe_names("train"))
def test_the_recipe_of_a_training_makes_what_the_training_takes(name):
    clips, training = read_prepare_recipe(name).clips, read_recipe(name)
    assert not training.data.sizes or set(clips.sizes) == set(training.data.sizes)
    assert {height > width for height, width in clips.sizes} == {True, False}
    for stage in STAGES:
        if getattr(training, stage) is not None:
            for phase in training.stage(stage).phases:
                assert phase.frames_of_clip <= clips.num_frames
                assert phase.crop <= min(map(min, clips.sizes))


def test_there_is_no_other_recipe_for_preparing():
    assert recipe_names("prepare") == recipe_names("train")
