"""Extraction: what is found, kept, reused and reported."""

import itertools
import json
import logging
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

from posegen.conditions import extraction as extract
from posegen.conditions.estimators import task_files
from posegen.conditions.estimators.mediapipe import HandCrop, MediaPipePose, hand_square
from posegen.conditions.extraction import extract_conditions, write_overlay
from posegen.conditions.keypoints import FACE, HAND_DRAWN, INDEX, LEFT_HAND, RIGHT_HAND, SEEN, PoseSequence
from posegen.conditions.reference_person import find_reference_people
from posegen.conditions.skeleton import draw_skeleton
from posegen.config import EstimatorConfig
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image
from posegen.media.video import VideoWriter, iterate_frames, probe_video, read_frames

SIZE, TARGET = (360, 640), (192, 112)


@pytest.fixture(scope="module")
def clip(tmp_path_factory, media):
    """24 frames of the presenter in which both hands are seen."""
    path = tmp_path_factory.mktemp("clip") / "presenter.mp4"
    with VideoWriter(path, Fraction(30), size=SIZE) as writer:
        for frame in read_frames(media / "presenter.mp4", 30, 54):
            writer.write(frame)
    return path


@pytest.fixture(scope="module")
def fit():
    return plan_fit(SIZE, TARGET, "crop")


@pytest.fixture(scope="module")
def extracted(clip, fit, tmp_path_factory):
    folder = tmp_path_factory.mktemp("conditions")
    return extract_conditions(clip, folder, fit, Fraction(30), draw_scale=2)


def test_a_person_with_hands_is_found_where_they_are(extracted):
    pose = extracted.pose
    assert extracted.num_frames == 24
    assert extracted.fps == 30
    assert pose.size == SIZE
    assert (pose.scores[:, INDEX["nose"]] > 0.9).all()
    nose, left, right = (pose.keypoints[:, INDEX[name]] for name in ("nose", "left_shoulder", "right_shoulder"))
    assert np.abs(nose - [296, 74]).max() < 20
    assert (left[:, 0] > right[:, 0]).all()  # she faces the camera
    assert (pose.scores[:, FACE] == 0).all()
    assert (pose.scores[:, INDEX["left_small_toe"]] == 0).all()
    for hand, wrist in ((LEFT_HAND, "left_wrist"), (RIGHT_HAND, "right_wrist")):
        seen = pose.scores[:, hand.start] > 0.5
        assert seen.mean() > 0.5
        distance = np.linalg.norm(pose.keypoints[seen, hand.start] - pose.keypoints[seen, INDEX[wrist]], axis=1)
        assert np.median(distance) < 17
    assert any("left hand found in" in line for line in extracted.report)


def test_videos_are_lossless_drawings_at_the_results_size(clip, extracted, fit, tmp_path):
    skeletons, hands = extracted.skeleton_frames(0, 24), extracted.hand_frames(0, 24)
    assert skeletons.shape == hands.shape == (24, *TARGET, 3)
    assert hands.any()
    # without draw_scale the picture is exactly the drawing of the fitted points; they come back from their file
    kept = EstimatorConfig(pose="file", pose_file=extracted.folder / "keypoints.npz", smoothing=False)
    plain = extract_conditions(clip, tmp_path, fit, Fraction(30), chosen=kept)
    assert np.array_equal(plain.pose.keypoints, extracted.pose.keypoints)
    assert np.array_equal(plain.pose.hands, extracted.pose.hands, equal_nan=True)
    person = extract.fit_pose(extracted.pose[5], plain.cropping(fit))
    assert np.array_equal(plain.skeleton_frames(5, 6)[0], draw_skeleton(person.keypoints, person.scores, TARGET))


def test_finished_pictures_go_through_unchanged(clip, extracted, tmp_path):
    """The videos of one extraction, given to another as files: the same pictures, and no claim to know the person."""
    fit = plan_fit(SIZE, (288, 512), "crop")
    first = extract_conditions(
        clip,
        tmp_path / "first",
        fit,
        Fraction(30),
        chosen=EstimatorConfig(pose="file", pose_file=extracted.folder / "keypoints.npz"),
    )
    given = EstimatorConfig(
        pose="file", pose_file=first.folder / "skeleton.mkv", normals="file", normals_file=first.folder / "hands.mkv"
    )
    second = extract_conditions(clip, tmp_path / "second", fit, Fraction(30), chosen=given)
    assert np.array_equal(second.skeleton_frames(0, 24), first.skeleton_frames(0, 24))
    assert np.array_equal(second.hand_frames(0, 24), first.hand_frames(0, 24))
    assert not second.pose.scores.any()
    assert "is not known" in second.report[0]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"normals": "file", "normals_file": Path("none.mkv")}, "none.mkv: no such file"),
        ({"normals": "sapiens2", "normals_weights": "none.pt2"}, "normals_weights none.pt2"),
    ],
)
def test_what_hand_normals_lack_is_told_before_the_pass_over_the_video(
    clip, fit, tmp_path, monkeypatch, options, expected
):
    monkeypatch.setattr(extract, "estimate_pose", lambda *arguments: pytest.fail("the video was gone through"))
    with pytest.raises(PosegenError, match=expected):
        extract_conditions(clip, tmp_path / "c", fit, Fraction(30), chosen=EstimatorConfig(**options))
    assert not (tmp_path / "c").exists()


def test_the_same_again_is_reused_and_a_change_is_not(clip, fit, extracted, caplog):
    manifest = extracted.folder / "manifest.json"
    before = manifest.stat().st_mtime_ns
    with caplog.at_level(logging.INFO, "posegen"):
        again = extract_conditions(clip, extracted.folder, fit, Fraction(30), draw_scale=2)
    assert "up to date" in caplog.text
    assert manifest.stat().st_mtime_ns == before
    assert np.array_equal(again.pose.keypoints, extracted.pose.keypoints)
    assert json.loads(manifest.read_text())["inputs"]["draw_scale"] == 2
    slower = extract_conditions(clip, extracted.folder.parent / "slower", fit, Fraction(15), draw_scale=2)
    assert slower.num_frames == 12
    other = extract_conditions(clip, slower.folder, fit, Fraction(10), draw_scale=2)
    assert other.num_frames == 8


def test_an_interrupted_extraction_is_not_taken_for_a_finished_one(clip, fit, tmp_path, monkeypatch):
    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(extract, "draw_videos", interrupt)
    with pytest.raises(KeyboardInterrupt):
        extract_conditions(clip, tmp_path, fit, Fraction(10))
    assert not (tmp_path / "manifest.json").exists()
    monkeypatch.undo()
    assert extract_conditions(clip, tmp_path, fit, Fraction(10)).num_frames == 8


def test_bodies_are_found_ahead_of_hands_and_nobody_is_at_work_when_the_models_are_closed(
    clip, fit, tmp_path, monkeypatch
):
    events = []
    estimate, close = MediaPipePose.estimate, MediaPipePose.close

    def slowly(self, frame):
        events.append("begin")
        time.sleep(0.05)
        people = estimate(self, frame)
        events.append("end")
        return people

    def interrupted(self, frame, person):
        until = time.monotonic() + 30
        while events.count("begin") < 3:  # the next ones are being looked for while this one has no hands yet
            assert time.monotonic() < until, events
            time.sleep(0.01)
        raise KeyboardInterrupt

    def closing(self):
        events.append("close")
        close(self)

    for name, method in (("estimate", slowly), ("add_hands", interrupted), ("close", closing)):
        monkeypatch.setattr(MediaPipePose, name, method)
    with pytest.raises(KeyboardInterrupt):
        extract_conditions(clip, tmp_path, fit, Fraction(10))
    assert events[-1] == "close"
    assert events.count("begin") == events.count("end")


def test_extraction_is_deterministic(clip, fit, extracted, tmp_path):
    again = extract_conditions(clip, tmp_path, fit, Fraction(30), draw_scale=2)
    for name in ("keypoints", "scores", "hands"):
        assert np.array_equal(getattr(again.pose, name), getattr(extracted.pose, name), equal_nan=True)


def test_no_hands_leaves_hands_black(clip, fit, tmp_path):
    conditions = extract_conditions(clip, tmp_path, fit, Fraction(10), hands=False)
    assert not conditions.hand_frames(0, 8).any()
    assert (conditions.pose.scores[:, LEFT_HAND] == 0).all()


def test_overlay_shows_the_skeleton_on_the_person(clip, extracted, tmp_path):
    write_overlay(extracted, clip, tmp_path / "overlay.mp4")
    assert probe_video(tmp_path / "overlay.mp4").num_frames == 24
    over, plain = (list(iterate_frames(path))[12].astype(int) for path in (tmp_path / "overlay.mp4", clip))
    changed = np.abs(over - plain).max(axis=-1) > 60
    x, y = extracted.pose.keypoints[12, INDEX["left_shoulder"]]
    assert changed[int(y) - 3 : int(y) + 4, int(x) - 3 : int(x) + 4].mean() > 0.5
    assert changed.mean() < 0.1


def test_a_person_who_is_missing_for_some_frames_is_interpolated_and_reported(clip, fit, tmp_path):
    path = tmp_path / "gap.mp4"
    with VideoWriter(path, Fraction(30), size=SIZE) as writer:
        for index, frame in enumerate(iterate_frames(clip)):
            writer.write(np.zeros_like(frame) if 10 <= index < 14 else frame)
    conditions = extract_conditions(path, tmp_path / "conditions", fit, Fraction(30))
    assert "4 interpolated" in conditions.report[0] or "3 interpolated" in conditions.report[0]
    assert (conditions.pose.scores[:, INDEX["nose"]] > 0).all()
    nose = conditions.pose.keypoints[8:16, INDEX["nose"]]
    assert np.abs(np.diff(nose, axis=0)).max() < 20


def test_bodies_upside_down_get_a_second_look(clip, fit, tmp_path, monkeypatch):
    """The first frames and two later ones, as a landmarker of videos sometimes sees them; crops show the truth."""
    estimate = MediaPipePose.estimate
    looked = itertools.count()

    def confused(self, frame):
        people = estimate(self, frame)
        if not self._single_image and next(looked) in (0, 1, 2, 12, 13):
            for person in people:
                seen = person.scores >= SEEN
                low, high = person.keypoints[seen, 1].min(), person.keypoints[seen, 1].max()
                person.keypoints[:, 1] = low + high - person.keypoints[:, 1]
        return people

    monkeypatch.setattr(MediaPipePose, "estimate", confused)
    conditions = extract_conditions(clip, tmp_path, fit, Fraction(30), hands=False)
    assert conditions.report[0] == "person followed in 24 of 24 frames, 5 of them at a second look"
    nose, shoulder = (conditions.pose.keypoints[:, INDEX[name], 1] for name in ("nose", "left_shoulder"))
    assert (nose < shoulder).all()
    assert np.abs(nose - 74).max() < 30
    assert "5 looked at again" in conditions.report[-1]


def test_several_people_are_reported_and_the_larger_is_followed(clip, tmp_path):
    path = tmp_path / "two.mp4"
    with VideoWriter(path, Fraction(30), size=SIZE) as writer:
        for frame in iterate_frames(clip):
            half = np.ascontiguousarray(frame[:, 150:470])
            smaller = cv2.resize(half, (256, 288), interpolation=cv2.INTER_AREA)
            picture = np.full_like(frame, 60)
            picture[:, :320] = half
            picture[72:, 346:602] = smaller
            writer.write(picture)
    conditions = extract_conditions(path, tmp_path / "c", plan_fit(SIZE, TARGET, "crop"), Fraction(30))
    told = [line for line in conditions.report if line.startswith("warning: ") and "2 people" in line]
    assert "at the left" in told[0]
    assert (conditions.pose.keypoints[:, INDEX["nose"], 0] < 320).all()


@pytest.mark.parametrize("name", ["rendered", "photo"])
def test_the_person_of_a_reference_is_found(media, name):
    image = read_image(media / "man.png") if name == "rendered" else data.astronaut()
    person = find_reference_people(image).chosen
    seen = person.keypoints[:13][person.scores[:13] >= SEEN]
    assert len(seen) >= 7
    assert (seen >= 0).all()
    assert (seen[:, 0] < image.shape[1]).all()


def test_every_found_hand_is_drawn_at_the_end_of_its_forearm(extracted):
    """Whichever hand it is taken for: in the skeleton, and in the hand normals."""
    pose = extracted.pose
    for side, (hand, wrist) in enumerate(((LEFT_HAND, "left_wrist"), (RIGHT_HAND, "right_wrist"))):
        found = np.isfinite(pose.hands[:, side]).all(axis=(1, 2))
        assert found.mean() > 0.8
        assert ((pose.scores[:, hand] >= HAND_DRAWN).all(axis=1) == found).all()
        assert np.array_equal(pose.keypoints[found, INDEX[wrist]], pose.keypoints[found, hand.start])
        assert np.array_equal(pose.keypoints[found, hand], pose.hands[found, side, :, :2])


def test_a_hand_is_looked_for_where_it_was_and_a_lost_one_once_a_frame(media, monkeypatch):
    image = read_image(media / "man.png")
    shown: list[float] = []  # sizes that show the hand
    looks: list[float] = []

    def look(crop, result, person, side):
        if side == 1:
            return None
        looks.append(round(crop.side_length / hand_square(person, side)[1], 3))
        return np.zeros((21, 3), np.float32) if looks[-1] in shown else None

    def looked(estimator, *sizes):
        shown[:], looks[:] = sizes, []
        estimator.add_hands(image, person)
        return list(looks)

    monkeypatch.setattr(HandCrop, "nearest_hand", look)
    still, clip = MediaPipePose(single_image=True), MediaPipePose()
    (person,) = still.estimate(image)
    assert hand_square(person, 0) is not None
    assert [looked(still), looked(still), looked(still, 1.4)] == [[1.0, 1.4]] * 3  # pictures have nothing before them
    assert looked(clip, 1.4) == [1.0, 1.4]
    assert looked(clip, 1.0, 1.4) == [1.4]  # followed
    assert looked(clip) == [1.4, 1.4, 1.0]  # lost, and searched for
    assert [looked(clip), looked(clip), looked(clip)] == [[1.4], [1.0], [1.4]]
    assert looked(clip, 1.0) == [1.0]
    assert looked(clip, 1.4) == [1.0, 1.0, 1.4]
    still.close()
    clip.close()


def test_hands_that_are_followed_are_those_that_are_searched_for(clip):
    following, searching = MediaPipePose(), MediaPipePose(single_image=True)
    apart = []
    for frame in iterate_frames(clip):
        (person,) = following.estimate(frame)
        found, searched = (estimator.add_hands(frame, person) for estimator in (following, searching))
        for hand in (LEFT_HAND, RIGHT_HAND):
            if min(found.scores[hand.start], searched.scores[hand.start]) >= SEEN:
                distance = np.linalg.norm(found.keypoints[hand] - searched.keypoints[hand], axis=1).mean()
                apart.append(distance / np.ptp(searched.keypoints[hand], axis=0).max())
    assert all(size is not None for size in following._followed)  # so the last frames were not searched
    assert len(apart) >= 40
    assert np.median(apart) < 0.1
    following.close()
    searching.close()


def test_one_hand_followed_from_both_wrists_is_searched_for_again(clip, monkeypatch):
    """Hands that touch and part: both followers may stay on one of them."""
    estimator = MediaPipePose()
    frame = next(iter(iterate_frames(clip)))
    (person,) = estimator.estimate(frame)
    right = estimator.add_hands(frame, person)  # now both are followed
    points = np.concatenate([right.keypoints[RIGHT_HAND], right.hands[1][:, 2:]], axis=1)
    monkeypatch.setattr(MediaPipePose, "_find_hand", lambda *_: points)
    again = estimator.add_hands(frame, person)
    assert np.array_equal(again.keypoints, right.keypoints)
    assert again.scores[LEFT_HAND.start] >= SEEN
    estimator.close()


def test_in_a_grey_picture_nobody_is_found():
    assert find_reference_people(np.full((300, 200, 3), 127, np.uint8)).chosen is None


def test_a_frame_with_padded_rows_is_seen_all_the_same(media):
    image = read_image(media / "man.png")
    padded = np.zeros((image.shape[0], image.shape[1] + 40, 3), np.uint8)
    padded[:, : image.shape[1]] = image
    estimator = MediaPipePose(single_image=True)
    view = padded[:, : image.shape[1]]
    assert not view.flags.c_contiguous
    assert len(estimator.estimate(view)) == len(estimator.estimate(image)) == 1
    estimator.close()


def test_missing_models_that_cannot_be_fetched_name_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv("POSEGEN_CACHE", str(tmp_path))
    nowhere = {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_CONFIG_FILE": "/dev/null"}
    for name, value in nowhere.items():
        monkeypatch.setenv(name, value)
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(PosegenError, match="posegen setup"):
        MediaPipePose()


def test_a_model_with_a_wrong_hash_is_refused():
    with pytest.raises(PosegenError, match="refusing to use it"):
        task_files.checked("hand_landmark/hand_landmark_full.tflite", b"something else")


def test_pose_sequences_survive_saving(extracted, tmp_path):
    extracted.pose.save(tmp_path / "pose.npz")
    loaded = PoseSequence.load(tmp_path / "pose.npz")
    assert loaded.fps == extracted.pose.fps
    assert loaded.size == extracted.pose.size
    assert np.array_equal(loaded.hands, extracted.pose.hands, equal_nan=True)
    assert [path.name for path in tmp_path.iterdir()] == ["pose.npz"]
