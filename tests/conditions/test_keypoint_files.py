"""Every file format gives back the people that were written, and whatever else there is one line that helps."""

import json

import keypoint_writers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.conditions.estimators import layouts
from posegen.conditions.estimators.file import FilePose, chosen, video_of_pictures
from posegen.conditions.estimators.keypoint_files import read_keypoints
from posegen.conditions.keypoints import BODY_NAMES, INDEX, LEFT_HAND
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter

SIZE = (360, 640)


@pytest.mark.parametrize("name", keypoint_writers.WRITERS)
def test_every_format_comes_back_as_it_was_written(name, tmp_path):
    points, scores = keypoint_writers.people(12, SIZE)
    write, what = keypoint_writers.WRITERS[name]
    frames = read_keypoints(write(tmp_path / "keypoints", points, scores, SIZE), SIZE).people
    found, found_scores = keypoint_writers.stacked(frames)
    expected = keypoint_writers.expected_scores(scores, what)
    if name == "sapiens folder":  # the wrist is also the hand's root there: one point, the hand's came last
        for side, hand in (("left", 91), ("right", 112)):
            points[:, INDEX[f"{side}_wrist"]] = points[:, hand]
            expected[:, INDEX[f"{side}_wrist"]] = expected[:, hand]
    assert np.allclose(found_scores, expected, atol=1e-6)
    seen = expected > 0
    assert np.allclose(found[seen], points[seen], atol=1e-3)


def test_own_files_keep_the_depth_of_hands(tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    path = keypoint_writers.write_own(tmp_path / "own", points, scores, SIZE)
    frames = read_keypoints(path, SIZE).people
    with np.load(path) as data:
        assert np.array_equal(frames[1][0].hands, data["hands"][1])


def test_left_and_right_are_the_persons_own_in_every_layout():
    """Each layout's names put a left shoulder where its documentation has it."""
    places = {17: 5, 18: 5, 25: 5, 26: 5, 33: 11, 133: 5, 134: 5, 136: 5, 308: 5}
    for count, layout in layouts.LAYOUTS.items():
        assert layout[INDEX["left_shoulder"]] == places[count]
    assert layouts.OPENPOSE_18[INDEX["right_shoulder"]] == 2
    assert layouts.GOLIATH_308[LEFT_HAND.start] == 62  # left wrist; the right one is 41
    assert layouts.GOLIATH_308[LEFT_HAND.start + 4] == 42  # tip of the left thumb


@given(st.permutations(range(23)))
@settings(max_examples=20)
def test_names_decide_whatever_their_order(order):
    names = tuple(BODY_NAMES[index].replace("_", " ").title() for index in order)
    points = np.stack([np.arange(23.0)[list(order)]] * 2, axis=-1)
    keypoints, scores = layouts.to_wholebody(points, np.ones(23), layouts.layout_of_names(names))
    assert np.array_equal(keypoints[:23, 0], np.arange(23))
    assert scores.sum() == 23


def test_several_people_stay_several(tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    both = [
        keypoint_writers.wholebody_annotation(points[0], scores[0], 0),
        keypoint_writers.wholebody_annotation(points[1], scores[1], 0),
        keypoint_writers.wholebody_annotation(points[1], scores[1], 3),
    ]
    path = tmp_path / "both.json"
    path.write_text(json.dumps(both))
    found = read_keypoints(path, SIZE)
    assert [len(frame) for frame in found.people] == [2, 1]
    assert found.numbers == [0, 3]


BAD = {
    "another number of points": (json.dumps([[{"keypoints": [[0, 0]] * 21, "keypoint_scores": [1] * 21}]]), "133"),
    "no whole points": (json.dumps([{"image_id": 0, "keypoints": [1.0, 2.0]}]), "no x, y, score"),
    "unknown form": (json.dumps({"frames": []}), "known are JSON of OpenPose"),
    "empty list": ("[]", "known are JSON of OpenPose"),
    "no JSON": ("{", "is not keypoints in JSON"),
    "no scores": (json.dumps([[{"keypoints": [[0, 0]] * 133}]]), "keypoint_scores"),
    "text": (json.dumps([[{"keypoints": "abc", "keypoint_scores": []}]]), "cannot be read"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_told_in_one_line_that_names_what_is_known(name, tmp_path):
    content, told = BAD[name]
    path = tmp_path / "bad.json"
    path.write_text(content)
    with pytest.raises(PosegenError, match=told) as caught:
        read_keypoints(path, SIZE)
    assert "\n" not in str(caught.value)
    assert "bad.json" in str(caught.value)


def test_pickles_folders_without_json_and_other_files_are_refused(tmp_path):
    np.savez(tmp_path / "objects.npz", keypoints=np.array([{"a": 1}], dtype=object))
    (tmp_path / "folder").mkdir()
    (tmp_path / "poses.pkl").write_bytes(b"x")
    np.savez(tmp_path / "shape.npz", keypoints=np.zeros((3, 133, 2)), scores=np.zeros((4, 133)))
    for name in ("objects.npz", "folder", "poses.pkl", "shape.npz", "missing.json"):
        with pytest.raises(PosegenError, match=name):
            read_keypoints(tmp_path / name, SIZE)


def test_images_of_coco_are_in_the_order_of_their_numbers(tmp_path):
    points, scores = keypoint_writers.people(3, SIZE)
    path = keypoint_writers.write_coco_annotations(tmp_path / "k", points, scores, SIZE)
    content = json.loads(path.read_text())
    content["images"].reverse()
    path.write_text(json.dumps(content))
    found = read_keypoints(path, SIZE).people
    assert np.allclose([people[0].keypoints for people in found], points)


@pytest.mark.parametrize("nobody", [[], [[]]])
def test_a_frame_of_dwpose_without_people_is_one(tmp_path, nobody):
    body = [[0.25, 0.5]] * 18
    bodies = [{"candidate": body, "subset": [list(range(18))]}, {"candidate": nobody, "subset": nobody}]
    path = tmp_path / "k.json"
    path.write_text(json.dumps([{"bodies": each, "hands": [], "faces": []} for each in bodies]))
    assert [len(people) for people in read_keypoints(path, SIZE).people] == [1, 0]


def test_a_file_fits_the_whole_video_or_the_used_frames(tmp_path):
    points, scores = keypoint_writers.people(10, SIZE)
    path = keypoint_writers.write_dwpose_npz(tmp_path / "k", points, scores, SIZE)
    picture = np.zeros((*SIZE, 3), np.uint8)
    shown = [2, 4, 4, 6]
    estimator = FilePose(path, SIZE, shown, 10)
    found = [people for (people,) in estimator.estimate_batch([picture] * 4)]
    assert np.allclose([person.keypoints[0] for person in found], points[shown, 0])
    used = FilePose(path, SIZE, range(20, 30), 300)
    assert np.allclose(used.estimate(picture)[0].keypoints[0], points[0, 0])
    with pytest.raises(PosegenError, match="10 frames, but the driving video has 11, 4 of them used"):
        FilePose(path, SIZE, shown, 11)
    assert list(chosen(path, "keypoints", 11, shown, 11)) == shown


def test_a_video_of_pictures_is_fitted_and_must_show_the_same_picture(tmp_path):
    path = tmp_path / "skeleton.mkv"
    with VideoWriter(path, 25, size=(180, 320), codec="ffv1") as writer:
        for number in range(6):
            writer.write(np.full((180, 320, 3), 20 * number, np.uint8))
    fit = plan_fit(SIZE, (96, 96), "crop")
    pictures = list(video_of_pictures(path, "skeletons", SIZE, fit, [1, 3, 3, 5], 6))
    assert [int(picture.mean()) for picture in pictures] == [20, 60, 60, 100]
    assert pictures[0].shape == (96, 96, 3)
    with pytest.raises(PosegenError, match="same picture"):
        video_of_pictures(path, "skeletons", (640, 360), fit, [0], 6)
    with pytest.raises(PosegenError, match="6 frames"):
        video_of_pictures(path, "skeletons", SIZE, fit, [0], 7)
