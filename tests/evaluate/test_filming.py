"""Filmed clips: files that `generate --conditions` takes, with the conditions that training shows the model."""

import importlib.util
from fractions import Fraction

import numpy as np
import pytest

if importlib.util.find_spec("anny") is None:
    pytest.skip("needs the extra of synthetic people", allow_module_level=True)

from posegen.conditions.folder import Inputs, check_conditions, open_conditions
from posegen.data.clips import Clip as ShardClip
from posegen.data.clips import Drawing
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from posegen.evaluate.comparison import load_person
from posegen.evaluate.filming import FilmFormat, film
from posegen.media.fitting import plan_fit
from posegen.media.video import iterate_frames, probe_video
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, make_shards, place_of

FRAMES, SIZE, DRAWING = 5, (192, 112), Drawing(2)


def filmed(folder, frame_size):
    place = place_of(ShardSettings("val-same", 1, 3), 0)
    clip = SyntheticClip(
        place.identity_seed, place.seed, SyntheticClipSettings(*frame_size, FRAMES, 16.0), place.framing
    )
    form = FilmFormat(Fraction(16), frame_size, SIZE, DRAWING)
    return film(clip.frames(), folder / "driving.mp4", folder / "c", form)


def test_conditions_are_those_of_the_same_clip_in_a_shard(tmp_path):
    made = filmed(tmp_path, SIZE)
    make_shards(tmp_path, ShardSettings("val-same", 1, 3, clip=SyntheticClipSettings(*SIZE, FRAMES)), workers=0)
    clip = ShardClip(open_shards(tmp_path, "val-same")[0].samples[0], DRAWING)
    assert np.array_equal(made.skeleton_frames(0, FRAMES), clip.skeletons(0, FRAMES))
    assert np.array_equal(made.hand_frames(0, FRAMES), clip.hands(0, FRAMES))
    assert np.array_equal(load_person(tmp_path / "c"), clip.person(0, FRAMES))
    ground_truth = np.stack(list(iterate_frames(tmp_path / "driving.mp4"))).astype(int)
    assert np.abs(ground_truth - clip.frames(0, FRAMES)).mean() < 4
    conditions, inputs = open_conditions(tmp_path / "c")
    wanted = Inputs.of(
        tmp_path / "driving.mp4", plan_fit(SIZE, SIZE, "crop"), Fraction(16), True, "openpose", 2, "an estimator"
    )
    check_conditions(conditions, inputs, wanted, probe_video(tmp_path / "driving.mp4").num_frames)


def test_a_larger_film_has_nearly_the_same_conditions(tmp_path):
    small, large = filmed(tmp_path / "small", SIZE), filmed(tmp_path / "large", (384, 224))
    assert np.abs(large.pose.keypoints / 2 - small.pose.keypoints).max() < 0.01
    for frames in ("skeleton_frames", "hand_frames"):
        left, right = (getattr(made, frames)(0, FRAMES).astype(float) for made in (small, large))
        assert np.abs(left - right).mean() < 0.1 * max(left.mean(), 1)
    assert (load_person(tmp_path / "small" / "c") != load_person(tmp_path / "large" / "c")).mean() < 0.01


def test_other_shapes_are_refused(tmp_path):
    with pytest.raises(PosegenError, match="shapes differ"):
        filmed(tmp_path, (128, 112))
