"""What the model sees of a clip."""

import numpy as np
import pytest

from posegen.conditions.skeleton import draw_skeleton
from posegen.data.clips import HIDDEN, OUTSIDE, VISIBLE, Clip, Drawing, keypoint_scores
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from tiny_shards import sample_arrays, write_shards


@pytest.fixture
def clip(tmp_path):
    return Clip(open_shards(write_shards(tmp_path, "train"), "train")[0].samples[0], Drawing(1, "openpose"))


def test_skeletons_are_those_of_generation(clip):
    arrays = sample_arrays(0)
    drawn = draw_skeleton(arrays["keypoints"][4], np.ones(133, np.float32), (32, 32))
    np.testing.assert_array_equal(clip.skeletons(4, 5)[0], drawn)
    assert not np.array_equal(clip.skeletons(4, 5, hands=False)[0], drawn)


def test_larger_drawing_is_reduced_to_the_clips_size(clip):
    large = Clip(clip.sample, Drawing(4, "openpose"))
    assert large.skeletons(0, 2).shape == (2, 32, 32, 3)
    assert not np.array_equal(large.skeletons(0, 2), clip.skeletons(0, 2))


def test_hands_are_normals_inside_hands_only(clip):
    hands, masks = clip.hands(2, 4), sample_arrays(0)["masks"][2:4]
    assert (hands[masks & 6 > 0] == (128, 128, 255)).all()
    assert (hands[masks & 6 == 0] == 0).all()


def test_hidden_points_are_guessed_and_hidden_hands_are_not():
    visibility = np.full(133, HIDDEN, np.uint8)
    visibility[3] = OUTSIDE
    visibility[91:112] = VISIBLE
    scores = keypoint_scores(visibility)
    assert scores[:3].all()
    assert scores[3] == 0
    assert scores[91:112].all()
    assert not scores[112:].any()


def test_damaged_arrays_are_named(clip):
    path = clip.sample.shard
    content = bytearray(path.read_bytes())
    part = clip.sample.parts["npz"]
    content[part.offset : part.offset + part.size] = bytes(part.size)
    path.write_bytes(content)
    with pytest.raises(PosegenError, match="train-00000000 is damaged"):
        Clip(clip.sample, Drawing())
