"""Every file format gives back the people that were written, and whatever else there is one line that helps."""

import json
import os
from fractions import Fraction

import keypoint_writers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.conditions.estimators import file, keypoint_files, layouts
from posegen.conditions.estimators.file import FilePose, chosen, video_of_pictures
from posegen.conditions.estimators.keypoint_files import read_keypoints
from posegen.conditions.extraction import estimate_pose
from posegen.conditions.keypoints import BODY_NAMES, INDEX, LEFT_HAND, PersonPose, PoseSequence
from posegen.conditions.person_in_frame import describe_place
from posegen.conditions.skeleton import draw_skeleton
from posegen.conditions.tracking import people_seen
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter, probe_video, shown_frames

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


@pytest.mark.parametrize("name", ["keypoint_id2name", "keypoint_name2id", "dataset_name"])
def test_human36m_is_known_by_its_names_in_each_form(name, tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    (person,), _ = read_keypoints(
        keypoint_writers.write_human36m(tmp_path / "k", points, scores, SIZE, name), SIZE
    ).people
    seen = person.scores > 0
    assert np.array_equal(np.flatnonzero(seen), range(5, 17))
    assert np.allclose(person.keypoints[seen], points[0][seen], atol=1e-3)


def test_names_of_other_bodies_are_refused_and_names_that_say_nothing_are_passed_over(tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    path = keypoint_writers.write_coco_with_names(tmp_path / "k", points, scores, SIZE)
    content = json.loads(path.read_text())
    content["categories"][1]["keypoints"] = [f"keypoint_{number}" for number in range(17)]
    path.write_text(json.dumps(content))
    (person,), _ = read_keypoints(path, SIZE).people
    assert np.allclose(person.keypoints[0], points[0, 16], atol=1e-3)  # in COCO's order, which it was not
    content["categories"][1]["keypoints"] = [f"left_paw_{number}" for number in range(17)]
    path.write_text(json.dumps(content))
    with pytest.raises(PosegenError, match=r"left_paw_0.*left_shoulder"):
        read_keypoints(path, SIZE)


def named_otherwise(points, scores, form):
    """Human3.6M's points with their names, each way that a file may give them."""
    names = list(keypoint_writers.HUMAN36M)
    places = [0 if place is None else place for place in keypoint_writers.HUMAN36M.values()]
    flat = keypoint_writers.flat(points[places], scores[places])
    person = {"keypoints": points[places].tolist(), "keypoint_scores": scores[places].tolist()}
    by_number = {str(number): name for number, name in enumerate(names)}
    return {
        "dataset_meta": {
            "dataset_meta": {"keypoint_id2name": by_number},
            "instance_info": [{"frame_id": 1, "instances": [person]}],
        },
        "list": {"meta_info": {"keypoint_names": names}, "instance_info": [{"frame_id": 1, "instances": [person]}]},
        "only category": {
            "images": [{"id": 1, "file_name": "0.png"}],
            "annotations": [{"image_id": 1, "keypoints": flat}],
            "categories": [{"id": 1, "name": "person", "keypoints": names}],
        },
        "results": {
            "meta_info": {"keypoint_id2name": by_number},
            "predictions": [{"image_id": 0, "category_id": 1, "keypoints": flat, "score": 1.0}],
        },
    }[form]


@pytest.mark.parametrize("form", ["dataset_meta", "list", "only category", "results"])
def test_names_count_wherever_a_file_has_them(form, tmp_path):
    points, scores = keypoint_writers.people(1, SIZE)
    path = tmp_path / "k.json"
    path.write_text(json.dumps(named_otherwise(points[0], scores[0], form)))
    ((person,),) = read_keypoints(path, SIZE).people
    assert np.array_equal(np.flatnonzero(person.scores > 0), range(5, 17))
    assert np.allclose(person.keypoints[5:17], points[0, 5:17], atol=1e-3)


def test_names_in_an_npz_count(tmp_path):
    points, scores = keypoint_writers.people(1, SIZE)
    order = np.random.default_rng(5).permutation(17)
    names = np.array(BODY_NAMES[:17])[order]
    np.savez(tmp_path / "k.npz", keypoints=points[:, order], scores=scores[:, order], keypoint_names=names)
    ((person,),) = read_keypoints(tmp_path / "k.npz", SIZE).people
    assert np.allclose(person.keypoints[:17], points[0, :17], atol=1e-3)


def in_metres():
    """A body as MMPose's lifters write it: x and y about its middle, z up from the ground."""
    random = np.random.default_rng(3)
    return np.concatenate([random.uniform(-0.5, 0.5, (17, 2)), np.linspace(0, 1.7, 17)[:, None]], axis=1)


@pytest.mark.parametrize("form", ["instances", "flat", "annotations", "keypoints_3d"])
def test_a_body_in_metres_without_scores_is_refused_in_one_line(form, tmp_path):
    places = in_metres()
    content = {
        "instances": [{"frame_id": 0, "instances": [{"keypoints": places.tolist()}]}],
        "flat": [{"frame_id": 0, "instances": [{"keypoints": places.ravel().tolist()}]}],
        "annotations": {
            "images": [{"id": 1, "file_name": "0.png"}],
            "annotations": [{"image_id": 1, "category_id": 1, "keypoints": places.ravel().tolist()}],
        },
        "keypoints_3d": [{"frame_id": 0, "instances": [{"keypoints_3d": places.tolist()}]}],
    }[form]
    path = tmp_path / "lifted.json"
    path.write_text(json.dumps(content))
    with pytest.raises(PosegenError, match="three coordinates"):
        read_keypoints(path, SIZE)
    np.savez(tmp_path / "lifted.npz", keypoints=places[None])
    with pytest.raises(PosegenError, match="three coordinates"):
        read_keypoints(tmp_path / "lifted.npz", SIZE)


def test_lists_of_bare_numbers_are_refused_with_the_form_that_takes_them(tmp_path):
    path = tmp_path / "k.json"
    path.write_text(json.dumps([in_metres().tolist()]))
    with pytest.raises(PosegenError, match="NPZ"):
        read_keypoints(path, SIZE)


@pytest.mark.parametrize("scored", [True, False])
def test_the_file_of_a_lifter_is_refused_in_one_line(scored, tmp_path):
    places = np.random.default_rng(3).normal(size=(17, 3)).tolist()
    person = {"keypoints": places, "keypoint_scores": [1.0] * 17} if scored else {"keypoints": places}
    path = tmp_path / "lifted.json"
    path.write_text(json.dumps([{"frame_id": 0, "instances": [person]}]))
    with pytest.raises(PosegenError, match="three coordinates"):
        read_keypoints(path, SIZE)
    np.savez(tmp_path / "lifted.npz", keypoints=np.array([places]), scores=np.ones((1, 17)))
    with pytest.raises(PosegenError, match="three coordinates"):
        read_keypoints(tmp_path / "lifted.npz", SIZE)


def test_hands_alone_are_a_person_without_a_body(tmp_path):
    points, scores = keypoint_writers.people(1, SIZE)
    person = keypoint_writers.openpose_person(points[0], scores[0], layouts.OPENPOSE_18, 18)
    alone = {**person, "pose_keypoints_2d": [], "face_keypoints_2d": None}
    path = tmp_path / "k.json"
    path.write_text(json.dumps([{"people": [person, alone]}]))
    both = read_keypoints(path, SIZE).people[0]
    assert np.allclose(both[1].keypoints[91:], points[0, 91:], atol=1e-3)
    assert both[1].scores[:91].max() == 0


def only(person, *parts):
    """OpenPose's person with these parts of the body alone."""
    return {name: values if name.split("_key")[0] in parts else [] for name, values in person.items()}


def test_people_with_hands_alone_are_followed_and_drawn(tmp_path):
    """Both hands, the left one, the right one far from it; a face alone is never drawn, and one line says so."""
    points, scores = keypoint_writers.people(1, SIZE)
    points[0, 91:112] = np.add([400, 100], np.random.default_rng(1).uniform(-20, 20, (21, 2)))
    points[0, 112:] = np.add([150, 260], np.random.default_rng(2).uniform(-20, 20, (21, 2)))
    scores[:] = 0.9
    person = keypoint_writers.openpose_person(points[0], scores[0], layouts.OPENPOSE_25, 25)
    left, right, face = "hand_left", "hand_right", "face"
    shown = [(left, right, face), (left,), (right,), *[(left, right)] * 6, (face,)]
    path, video = tmp_path / "k.json", tmp_path / "video.mp4"
    path.write_text(json.dumps([{"people": [only(person, *parts)]} for parts in shown]))
    with VideoWriter(video, Fraction(10), size=SIZE) as writer:
        for _ in shown:
            writer.write(np.zeros((*SIZE, 3), np.uint8))
    given = FilePose(path, SIZE, range(10), 10)
    (doubt,) = given.doubts
    assert "1 of 10 frames" in doubt
    pose, tracking = estimate_pose(video, given, Fraction(10))
    assert tracking.seen == 9
    for index, parts in enumerate(shown):
        picture = draw_skeleton(pose.keypoints[index], pose.scores[index], SIZE)
        assert picture[60:140, 360:440].any() == (left in parts)
        assert picture[220:300, 110:190].any() == (right in parts)
    assert describe_place(pose) == []
    far = PoseSequence(pose.keypoints + 2000, pose.scores, pose.hands, SIZE, pose.fps)
    assert "outside" in describe_place(far)[0]


def test_a_body_is_followed_before_hands_and_a_few_points_are_enough(tmp_path):
    points, scores = keypoint_writers.people(1, SIZE)
    sparse = scores.copy()
    sparse[:, 7:] = sparse[:, :5] = 0
    both = [layouts.to_wholebody(points[0], each[0], layouts.WHOLEBODY_133) for each in (scores, sparse)]
    hands = np.where(np.arange(133) < 91, 0, scores[0]).astype(np.float32)
    whole, few, only_hands = (PersonPose(points[0], score) for score in (both[0][1], both[1][1], hands))
    assert people_seen([whole, few, only_hands], keeps_everybody=True) == [whole, few, only_hands]
    assert people_seen([whole, few, only_hands], keeps_everybody=False) == [whole, few]
    assert whole.box == PersonPose(points[0], np.where(np.arange(133) < 17, scores[0], 0).astype(np.float32)).box


@pytest.mark.parametrize("form", ["holistic", "coco"])
def test_hands_without_a_body_are_read_in_forms_that_have_them_beside_it(form, tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    path = tmp_path / "k.json"
    if form == "holistic":
        content = json.loads(keypoint_writers.write_mediapipe_holistic(path, points, scores, SIZE).read_text())
        for frame in content:
            del frame["poseLandmarks"]
    else:
        content = json.loads(keypoint_writers.write_coco_annotations(path, points, scores, SIZE).read_text())
        for annotation in content["annotations"]:
            del annotation["keypoints"]
    path.write_text(json.dumps(content))
    found, found_scores = keypoint_writers.stacked(read_keypoints(path, SIZE).people)
    assert np.allclose(found[:, 91:], points[:, 91:], atol=1e-2)
    assert (found_scores[:, 91:] > 0.5).all()
    assert not found_scores[:, :17].any()


def test_a_byte_order_mark_and_numbers_that_are_none_are_read(tmp_path):
    points, scores = keypoint_writers.people(3, SIZE)
    path = keypoint_writers.write_inferencer(tmp_path / "k", points, scores, SIZE)
    content = json.loads(path.read_text())
    content[1]["instances"][0]["keypoints"][4] = [float("nan"), 1e300]
    content[2]["instances"][0]["keypoint_scores"][5] = float("nan")
    path.write_bytes(json.dumps(content).encode("utf-8-sig"))
    found, found_scores = keypoint_writers.stacked(read_keypoints(path, SIZE).people)
    assert found_scores[1, 4] == found_scores[2, 5] == 0
    assert np.allclose(np.delete(found[1], 4, axis=0), np.delete(points[1], 4, axis=0), atol=1e-3)


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
    "no whole points": (json.dumps([{"image_id": 0, "keypoints": [1.0, 2.0]}]), "x, y, score"),
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
    np.savez(tmp_path / "hands.npz", keypoints=np.ones((3, 133, 2)), hands=np.ones((3, 2, 20, 3)))
    os.mkfifo(tmp_path / "pipe.json")
    for name in ("objects.npz", "folder", "poses.pkl", "shape.npz", "missing.json", "hands.npz", "pipe.json"):
        with pytest.raises(PosegenError, match=name):
            read_keypoints(tmp_path / name, SIZE)


def test_a_file_far_larger_than_the_videos_frames_need_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(keypoint_files, "_LEAST_MEMORY", 1000)
    monkeypatch.setattr(keypoint_files, "_LEAST_ARRAYS", 1000)
    points = np.random.default_rng(0).uniform(5, 60, (100, 133, 2)).astype(np.float32)
    np.savez(tmp_path / "k.npz", keypoints=points, scores=np.ones((100, 133), np.float32))
    keypoint_writers.write_coco_results(tmp_path / "k", points, np.ones((100, 133), np.float32), SIZE)
    assert len(read_keypoints(tmp_path / "k.npz", SIZE, 100).people) == 100
    assert len(read_keypoints(tmp_path / "k.json", SIZE, 100).people) == 100
    with pytest.raises(PosegenError, match=r"k\.npz.* 100 frames, but the driving video has 90"):
        read_keypoints(tmp_path / "k.npz", SIZE, 90)
    for name in ("k.npz", "k.json"):
        with pytest.raises(PosegenError, match=rf"{name}.* of 1 frames"):
            read_keypoints(tmp_path / name, SIZE, 1)
    monkeypatch.setattr(keypoint_files, "MAX_BYTES", 1000)
    with pytest.raises(PosegenError, match=r"k\.json: larger than"):
        keypoint_files.check_size(tmp_path / "k.json")


def of_one(path, points, scores):
    """The first frame of a file, as the unit of its coordinates decided."""
    found = read_keypoints(path, SIZE)
    person = found.people[0][0]
    sure = scores[0] > 0
    return found, float(np.abs(person.keypoints[sure] - points[0][sure]).max())


@pytest.mark.parametrize("name", ["openpose folder", "openpose scale 3", "openpose scale 4", "openpose list"])
@pytest.mark.parametrize("wrong", [(9000.0, -700.0), (0.2, 0.3), (-1e5, 1e5)])
def test_a_few_wrong_points_do_not_decide_the_unit(name, wrong, tmp_path):
    points, scores = keypoint_writers.people(6, SIZE)
    scores[2, 20] = 0.31
    points[2, 20] = points[4, 100] = wrong
    write, what = keypoint_writers.WRITERS[name]
    scores = keypoint_writers.expected_scores(scores, what)
    found, error = of_one(write(tmp_path / "k", points, scores, SIZE), points, scores)
    assert error < 1e-2
    assert not found.doubts


def test_a_canvas_decides_whatever_the_points_are(tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    for name, share in (("pixels", 2.0), ("shares", np.array([1 / SIZE[1], 1 / SIZE[0]], np.float32))):
        people = [keypoint_writers.openpose_person(p * share, s, layouts.OPENPOSE_25, 25)
                  for p, s in zip(points, scores, strict=True)]  # fmt: skip
        path = tmp_path / f"{name}.json"
        canvas = {"canvas_width": 2 * SIZE[1], "canvas_height": 2 * SIZE[0]}
        path.write_text(json.dumps([{"people": [person], **canvas} for person in people]))
        found, error = of_one(path, points, scores)
        assert error < 1e-2
        assert not found.doubts
    content = json.loads((tmp_path / "pixels.json").read_text())
    for frame in content:
        frame["canvas_width"] = 512
    path.write_text(json.dumps(content))
    assert "stretched" in read_keypoints(path, SIZE).doubts[0]


def test_people_who_are_partly_outside_keep_their_unit(tmp_path):
    points, scores = keypoint_writers.people(4, SIZE)
    points[..., 0] -= 0.4 * SIZE[1]
    for name in ("mediapipe", "dwpose", "openpose folder"):
        write, what = keypoint_writers.WRITERS[name]
        expected = keypoint_writers.expected_scores(scores, what)
        inside = (points[..., 0] >= 0) | (not name.startswith("mediapipe"))
        _, error = of_one(write(tmp_path / name.replace(" ", ""), points, scores, SIZE), points, expected * inside)
        assert error < 1e-2


@pytest.mark.parametrize("share", [0.6, 0.4])
def test_two_units_in_one_file_are_a_warning(share, tmp_path):
    points, scores = keypoint_writers.people(10, SIZE)
    points[: int(10 * share)] /= [SIZE[1], SIZE[0]]
    np.savez(tmp_path / "k.npz", keypoints=points, scores=scores)
    (doubt,) = read_keypoints(tmp_path / "k.npz", SIZE).doubts
    assert "not certain" in doubt
    assert f"{100 * share:.0f} %" in doubt


def test_keypoints_of_posegen_at_another_size_are_scaled(tmp_path):
    points, scores = keypoint_writers.people(2, SIZE)
    path = keypoint_writers.write_own(tmp_path / "own", points, scores, SIZE)
    (person,), _ = read_keypoints(path, (2 * SIZE[0], 2 * SIZE[1])).people
    assert np.allclose(person.keypoints, 2 * points[0], atol=1e-3)
    with np.load(path) as data:
        assert np.allclose(person.hands, 2 * data["hands"][0], atol=1e-5)


NUMBERED = ["alphapose", "halpe 136", "alphapose cmu", "alphapose separate", "coco results", "coco annotations",
            "inferencer", "inferencer folder", "human3.6m", "old openpose", "openpose scale 4", "sapiens folder",
            "mediapipe tasks"]  # fmt: skip


@pytest.mark.parametrize("name", NUMBERED)
def test_frames_that_are_left_out_of_any_numbered_form_stay_empty(name, tmp_path):
    """And a part of the video, at half its rate, gets the frames that are its own."""
    points, scores = keypoint_writers.people(24, SIZE)
    write, what = keypoint_writers.WRITERS[name]
    path = write(tmp_path / "k", points, scores, SIZE)
    left_out = {5, 6, 7, 13}
    if path.is_dir():
        for index, file in enumerate(sorted(path.glob("*.json"), key=lambda file: (len(file.name), file.name))):
            if index in left_out:
                file.unlink()
    else:
        content = json.loads(path.read_text())
        if name == "alphapose cmu":
            for index in left_out:
                del content[f"{index}.jpg"]
        elif name == "coco annotations":
            content["images"] = [image for index, image in enumerate(content["images"]) if index not in left_out]
            content["annotations"] = [each for each in content["annotations"] if each["image_id"] - 100 not in left_out]
        else:
            frames = content
            if isinstance(content, dict):
                frames = content["instance_info" if "instance_info" in content else "frames"]
            frames[:] = [frame for index, frame in enumerate(frames) if index not in left_out]
        path.write_text(json.dumps(content))
    expected = keypoint_writers.expected_scores(scores, what) > 0
    picture = np.zeros((*SIZE, 3), np.uint8)
    for shown in (range(24), range(3, 23, 2), [frame // 2 for frame in range(8, 40)]):
        estimator = FilePose(path, SIZE, list(shown), 24)
        for number in shown:
            people = estimator.estimate(picture)
            assert (not people) == (number in left_out)
            if people:
                right = expected[number]
                assert np.array_equal(people[0].scores > 0, right)
                apart = np.linalg.norm(people[0].keypoints[right] - points[number][right], axis=-1)
                assert np.median(apart) < 1e-2  # a wrist that is also a hand's root is moved
        assert "20 of the video's 24 frames" in estimator.description
        assert bool(estimator.doubts) == (len(shown) > 24)  # 20 entries may be of 32 used frames, too


@pytest.mark.parametrize(("start", "end", "fps"), [(None, None, 25), (0.2, 0.8, 25), (0.12, None, 12.5)])
def test_a_gap_is_filled_where_it_is_in_any_part_of_the_video(start, end, fps, tmp_path):
    """From the file to the keypoints that are drawn: somebody who walks, and whom a tool lost for five frames."""
    points, scores = keypoint_writers.people(24, SIZE)
    points[:] = points[0] + np.arange(24)[:, None, None] * [6, 1]
    path = keypoint_writers.write_alphapose(tmp_path / "k", points, scores, SIZE)
    people = json.loads(path.read_text())
    path.write_text(json.dumps([person for person in people if not 10 <= int(person["image_id"][:-4]) < 15]))
    video = tmp_path / "video.mkv"
    with VideoWriter(video, 25, size=SIZE, codec="ffv1") as writer:
        for _ in range(24):
            writer.write(np.zeros((*SIZE, 3), np.uint8))
    shown = shown_frames(probe_video(video), Fraction(fps), start, end).tolist()
    pose, tracking = estimate_pose(video, FilePose(path, SIZE, shown, 24), Fraction(fps), False, start=start, end=end)
    assert tracking.interpolated == sum(10 <= number < 15 for number in shown) > 0
    assert np.allclose(pose.keypoints[:, :17], points[shown, :17], atol=0.01)
    assert describe_place(pose) == []


def test_a_folder_of_two_videos_or_with_something_else_is_refused(tmp_path):
    points, scores = keypoint_writers.people(3, SIZE)
    path = keypoint_writers.write_old_openpose(tmp_path / "k", points, scores, SIZE)
    (path / "._walk2_000000000000_keypoints.json").write_bytes(b"Mac OS X")  # beside each file on some disks
    assert len(read_keypoints(path, SIZE).people) == 3
    other = path / "run_000000000001_keypoints.json"
    other.write_text((path / "walk2_000000000001_keypoints.json").read_text())
    with pytest.raises(PosegenError, match="4 frames"):
        FilePose(path, SIZE, range(3), 3)
    other.write_text('{"fps": 25}')
    with pytest.raises(PosegenError, match="run_000000000001_keypoints"):
        read_keypoints(path, SIZE)


def test_images_of_coco_are_in_the_order_of_their_numbers(tmp_path):
    points, scores = keypoint_writers.people(3, SIZE)
    path = keypoint_writers.write_coco_annotations(tmp_path / "k", points, scores, SIZE)
    content = json.loads(path.read_text())
    content["images"].reverse()
    path.write_text(json.dumps(content))
    found = read_keypoints(path, SIZE).people
    assert np.allclose([people[0].keypoints for people in found], points)


JUNK = [None, True, -1, 1e308, float("nan"), "", "x", [], {}, [[]], [{}], "12.jpg", 10**18, [1, 2, 3], [[1, 2]],
        [[[1, 2, 3]]], {"x": 1, "y": 2}, "9" * 5000, [[], None, 3], {"landmark": [{"x": 1}]}]  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """One file of each form in JSON."""
    points, scores = keypoint_writers.people(4, SIZE)
    folder, found = tmp_path_factory.mktemp("written"), []
    for number, (write, _) in enumerate(keypoint_writers.WRITERS.values()):
        path = write(folder / f"form{number}", points, scores, SIZE)
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        found += [file.read_text() for file in files[:1] if file.suffix == ".json"]
    return found


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_wrong_in_a_file_is_one_line(written, tmp_path_factory, data):
    """A value at any place is exchanged for another, or left out."""
    content = json.loads(data.draw(st.sampled_from(written)))
    places, value = [], content
    while isinstance(value, dict | list) and value and not (places and data.draw(st.integers(0, 3)) == 0):
        key = data.draw(st.sampled_from(sorted(value) if isinstance(value, dict) else range(min(len(value), 3))))
        places.append((value, key))
        value = value[key]
    container, key = places[-1]
    junk = data.draw(st.sampled_from([*JUNK, "left out"]))
    if junk == "left out":
        del container[key]
    else:
        container[key] = junk
    path = tmp_path_factory.getbasetemp() / "changed.json"
    path.write_text(json.dumps(content))
    try:
        FilePose(path, SIZE, range(4), 4)
    except PosegenError as error:
        told = str(error)
        assert "changed.json" in told
        assert "\n" not in told
        assert len(told) < 1000


def test_more_people_than_fit_into_memory_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "k.json"
    path.write_text(json.dumps({"people": [{}] * 2000}))
    with pytest.raises(PosegenError, match="2,000 people in one frame"):
        read_keypoints(path, SIZE)
    path.write_text("[" + "0," * 600_000 + "0]")
    with pytest.raises(PosegenError, match="longer than any video"):
        read_keypoints(path, SIZE)
    monkeypatch.setattr("posegen.conditions.estimators.keypoint_content.MAX_PEOPLE", 5)
    monkeypatch.setattr("posegen.conditions.estimators.keypoint_files.MAX_PEOPLE", 5)
    points, scores = keypoint_writers.people(6, SIZE)
    for name in ("inferencer", "alphapose", "coco annotations", "openpose folder"):
        written = keypoint_writers.WRITERS[name][0](tmp_path / name.replace(" ", ""), points, scores, SIZE)
        with pytest.raises(PosegenError, match=r"people|longer than any video"):
            read_keypoints(written, SIZE)


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


def test_a_file_is_read_once_unless_it_changes(tmp_path, monkeypatch):
    points, scores = keypoint_writers.people(4, SIZE)
    path = keypoint_writers.write_alphapose_separate(tmp_path / "k", points, scores, SIZE)
    reads = []
    monkeypatch.setattr(file, "read_keypoints", lambda *given: reads.append(given) or read_keypoints(*given))
    first, second = FilePose(path, SIZE, range(4), 4), FilePose(path, SIZE, range(4), 4)
    picture = np.zeros((*SIZE, 3), np.uint8)
    assert np.array_equal(first.estimate(picture)[0].keypoints, second.estimate(picture)[0].keypoints)
    assert len(reads) == 1
    (path / "3.json").rename(path / "4.json")  # the same content, of another frame
    FilePose(path, SIZE, range(5), 5)
    assert len(reads) == 2
    changed = path / "0.json"
    times = changed.stat().st_atime_ns, changed.stat().st_mtime_ns
    changed.write_text(changed.read_text().replace("[", "]", 1))
    os.utime(changed, ns=times)
    for _ in range(2):
        with pytest.raises(PosegenError, match=r"0\.json"):
            FilePose(path, SIZE, range(5), 5)


def test_a_video_of_pictures_is_fitted_and_must_show_the_same_picture(tmp_path):
    path = tmp_path / "skeleton.mkv"
    with VideoWriter(path, 25, size=(180, 320), codec="ffv1") as writer:
        for number in range(6):
            writer.write(np.full((180, 320, 3), 20 * number, np.uint8))
    fit = plan_fit(SIZE, (96, 96), "crop")
    pictures = list(video_of_pictures(path, "skeletons", SIZE, fit, [1, 3, 3, 5], 6))
    assert [int(picture.mean()) for picture in pictures] == [20, 60, 60, 100]
    assert pictures[0].shape == (96, 96, 3)
    with pytest.raises(PosegenError, match="same scene"):
        video_of_pictures(path, "skeletons", (640, 360), fit, [0], 6)
    with pytest.raises(PosegenError, match="6 frames"):
        video_of_pictures(path, "skeletons", SIZE, fit, [0], 7)
