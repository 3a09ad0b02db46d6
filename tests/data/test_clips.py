"""What the model sees of a clip."""

import io
import tarfile

import numpy as np
import pytest

from posegen.conditions.skeleton import draw_skeleton
from posegen.data.clips import HIDDEN, OUTSIDE, VISIBLE, Clip, Drawing, keypoint_scores, mirror
from posegen.data.fetching import UnreachableURLError
from posegen.data.shards import Sample, open_shards
from posegen.errors import PosegenError
from posegen.media.packed import pack_frames
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


@pytest.mark.parametrize("place", [slice(0, None), slice(60, 90), slice(-40, None)])
def test_damaged_arrays_are_named(place, clip):
    """The whole, what is compressed, and the list of what is in it."""
    path, part = clip.sample.shard, clip.sample.parts["npz"]
    content, arrays = bytearray(path.read_bytes()), bytearray(clip.sample.read("npz"))
    arrays[place] = bytes(byte ^ 85 for byte in arrays[place])
    content[part.offset : part.offset + part.size] = arrays
    path.write_bytes(content)
    with pytest.raises(PosegenError, match="train-00000000 is damaged"):
        Clip(clip.sample, Drawing()).check()


def test_arrays_far_larger_than_the_clip_are_not_unpacked(clip):
    clip.sample.description.update(num_frames=1, height=2, width=2)
    with pytest.raises(PosegenError, match="its arrays take more than"):
        Clip(clip.sample, Drawing()).array("frames")


def test_frames_of_another_size_than_the_description_says_are_damage(clip):
    clip.sample.description.update(height=64)
    with pytest.raises(PosegenError, match=r"train-00000000 is damaged \(masks: .*\(64, 32\)"):
        Clip(clip.sample, Drawing()).check()


def test_too_few_frames_are_damage_too(clip):
    clip.check()
    clip.sample.description["num_frames"] = 10
    with pytest.raises(PosegenError, match=r"train-00000000 is damaged \(frames: 9 of 10 frames\)"):
        clip.check()


def test_a_shard_that_cannot_be_fetched_again_is_no_damaged_clip(clip, monkeypatch):
    def unreachable(*_):
        raise UnreachableURLError("no answer")

    monkeypatch.setattr(Sample, "read", unreachable)
    with pytest.raises(UnreachableURLError, match="no answer"):
        Clip(clip.sample, Drawing())


def test_a_mirror_exchanges_left_and_right(clip):
    seen, plain = Clip(clip.sample, clip.drawing, mirrored=True), clip
    np.testing.assert_array_equal(seen.frames(0, 9), plain.frames(0, 9)[:, :, ::-1])
    np.testing.assert_array_equal(seen.reference, plain.reference[:, ::-1])
    left_of, right_of = ((view.array("masks") & bit) > 0 for view, bit in ((plain, 2), (seen, 4)))
    np.testing.assert_array_equal(left_of[..., ::-1], right_of)
    wrist = plain.array("keypoints")[:, 9]
    np.testing.assert_allclose(seen.array("keypoints")[:, 10], [31, 0] + wrist * [-1, 1], rtol=1e-6)
    tilted = np.array([[[[200, 90, 250]]]], np.uint8)
    np.testing.assert_array_equal(mirror("normals", tilted, 1), [[[[55, 90, 250]]]])


def test_a_mirror_of_a_mirror_is_the_thing_itself():
    for name, array in sample_arrays(3).items():
        np.testing.assert_allclose(mirror(name, mirror(name, array, 32), 32), array, atol=1e-5)


def test_mirrored_faces_keep_their_features():
    """In COCO-WholeBody's picture of a frontal face, every point's mirror image is where its partner is."""
    points = np.arange(133)
    swapped = mirror("visibility", points[None], 1)[0]
    assert swapped[23 + 8] == 23 + 8  # chin
    assert swapped[23 + 0] == 23 + 16  # ends of the jaw
    assert swapped[23 + 36] == 23 + 45  # outer corners of the eyes
    assert swapped[23 + 48] == 23 + 54  # corners of the mouth
    assert swapped[17] == 20  # big toes
    assert (swapped[91:112] == points[112:133]).all()
    np.testing.assert_array_equal(mirror("visibility", swapped[None], 1)[0], points)


@pytest.mark.parametrize("mirrored", [False, True])
def test_frames_kept_as_a_video_are_those_of_the_arrays(mirrored, clip, tmp_path):
    """Everything else comes from the arrays, which then have no frames."""
    arrays = sample_arrays(0)
    packed = pack_frames(arrays.pop("frames"), 16.0, "ffv1")
    npz = io.BytesIO()
    np.savez_compressed(npz, **arrays)
    parts = {"json": clip.sample.read("json"), "mkv": packed, "npz": npz.getvalue(), "txt": b"A person."}
    with tarfile.open(tmp_path / "val-same-000000.tar", "w") as tar:
        for extension, content in parts.items():
            member = tarfile.TarInfo(f"one.{extension}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (sample,) = open_shards(tmp_path, "val-same")[0].samples
    video, plain = Clip(sample, Drawing(), mirrored), Clip(clip.sample, Drawing(), mirrored)
    for kind in ("frames", "skeletons", "hands", "person"):
        np.testing.assert_array_equal(getattr(video, kind)(2, 7), getattr(plain, kind)(2, 7))
    content = bytearray(sample.shard.read_bytes())
    place = sample.parts["mkv"]
    content[place.offset : place.offset + place.size] = bytes(place.size)
    sample.shard.write_bytes(content)
    with pytest.raises(PosegenError, match="one is damaged"):
        video.frames(0, 9)
