"""Videos that are no good driving videos: each is told in one line, and nothing crashes."""

import json
import logging
from fractions import Fraction

import cv2
import keypoint_writers
import numpy as np
import pytest

from posegen.conditions.estimators.mediapipe import MediaPipePose, without_hidden_face
from posegen.conditions.extract import estimate_pose, extract_conditions
from posegen.conditions.framing import choose_framing, describe_back, from_behind
from posegen.conditions.keypoints import INDEX, SEEN, PersonPose
from posegen.config import EstimatorConfig
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image
from posegen.media.video import VideoWriter, iterate_frames, sample_frames

TARGET = (96, 64)


def film(path, frames, fps=Fraction(30)):
    frames = list(frames)
    with VideoWriter(path, fps, size=frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return path


def extract(path, folder, **options):
    height, width = next(iterate_frames(path)).shape[:2]
    chosen = EstimatorConfig(**options)
    return extract_conditions(path, folder, plan_fit((height, width), TARGET, "crop"), Fraction(30), chosen=chosen)


@pytest.fixture(scope="module")
def presenter(shared_media):
    """24 frames at 540 x 960."""
    frames = iterate_frames(shared_media / "driving_presenter_half_body.mp4")
    return [np.ascontiguousarray(next(frames)[::2, ::2]) for _ in range(24)]


def test_only_a_face_is_a_close_up_without_hands(presenter, tmp_path):
    """The head fills the picture: its skeleton is drawn, and that no hand is seen is said."""
    faces = [cv2.resize(frame[40:200, 545:705], (480, 480), interpolation=cv2.INTER_CUBIC) for frame in presenter[:8]]
    conditions = extract(film(tmp_path / "face.mp4", faces), tmp_path / "c")
    pose = conditions.pose
    assert (pose.scores[:, INDEX["nose"]] > SEEN).all()
    assert np.abs(pose.keypoints[:, INDEX["nose"]] - [240, 240]).max() < 90
    assert choose_framing(pose.keypoints, pose.scores, pose.size) == "close-up"
    assert "no hand is seen in any frame: the hand normals are black" in conditions.report
    assert not conditions.hand_frames(0, 8).any()
    assert conditions.skeleton_frames(0, 8).any()


def test_hands_that_are_never_visible_leave_black_normals_and_one_line(presenter, tmp_path):
    chests = [np.ascontiguousarray(frame[:300, 420:820]) for frame in presenter[:8]]
    conditions = extract(film(tmp_path / "chest.mp4", chests), tmp_path / "c")
    assert [line for line in conditions.report if "hand" in line] == [
        "no hand is seen in any frame: the hand normals are black"
    ]
    assert not conditions.hand_frames(0, 8).any()


def test_somebody_who_leaves_and_comes_back_is_followed_again(presenter, tmp_path):
    """One second away, then back at another place: nothing is drawn meanwhile, and the report says how long."""
    empty = np.full_like(presenter[0], 120)
    back = [np.roll(frame, -250, axis=1) for frame in presenter]
    frames = [*presenter[:12], *[empty] * 30, *back[:12]]
    conditions = extract(film(tmp_path / "away.mp4", frames), tmp_path / "c")
    pose = conditions.pose
    nose = INDEX["nose"]
    assert (pose.scores[16:40].max(axis=1) == 0).mean() > 0.9
    assert "without a person (nothing drawn there)" in conditions.report[0]
    assert (pose.scores[45:, nose] > SEEN).all()
    assert np.abs(pose.keypoints[45:, nose, 0] - pose.keypoints[3:12, nose, 0] + 250).max() < 60
    assert not conditions.skeleton_frames(25, 26).any()


def test_a_mirror_is_told_as_people_and_the_larger_is_followed(presenter, tmp_path, caplog):
    """The presenter, and beside him a smaller picture of him the other way round."""
    frames = []
    for frame in presenter[:10]:
        picture = np.full((540, 960, 3), 90, np.uint8)
        picture[:, :480] = frame[:, 380:860]
        image = cv2.resize(frame[:, 860:380:-1], (320, 360), interpolation=cv2.INTER_AREA)
        picture[180:, 600:920] = image
        frames.append(picture)
    with caplog.at_level(logging.WARNING, "posegen"):
        conditions = extract(film(tmp_path / "mirror.mp4", frames), tmp_path / "c")
    assert "up to 2 people are in the video: following the one who is largest at first, at the left" in caplog.text
    pose = conditions.pose
    assert (pose.keypoints[:, INDEX["nose"], 0] < 480).all()
    assert (pose.keypoints[:, INDEX["left_shoulder"], 0] > pose.keypoints[:, INDEX["right_shoulder"], 0]).all()


def test_two_people_who_cross_are_not_exchanged(presenter, tmp_path):
    """Two copies slide through each other, the nearer one in front."""
    frames = []
    man, mask = presenter[0][:, 420:840], None
    mask = np.ones(man.shape[:2], bool)
    other = cv2.resize(man[:, ::-1], (294, 378), interpolation=cv2.INTER_AREA)
    for step in np.linspace(0, 1, 40):
        picture = np.full((540, 1400, 3), (70, 90, 80), np.uint8)
        left = round(1050 - 1000 * step)
        picture[162:, left : left + 294] = other
        front = round(40 + 900 * step)
        picture[:, front : front + 420][mask] = man[mask]
        frames.append(picture)
    estimator = MediaPipePose()
    pose, report = estimate_pose(film(tmp_path / "cross.mp4", frames), estimator, Fraction(30), hands=False)
    estimator.close()
    assert report.most_people == 2
    x = pose.keypoints[:, INDEX["nose"], 0]
    seen = pose.scores[:, INDEX["nose"]] > SEEN
    assert seen[-5:].all()
    assert (np.diff(x[seen]) > -40).all()  # always to the right
    assert x[-1] > 900


def exchanged(person):
    """Left and right exchanged: the same outline, seen from behind."""
    points, scores = person.keypoints.copy(), person.scores.copy()
    for name, index in INDEX.items():
        if name.startswith("left_"):
            other = INDEX[name.replace("left_", "right_")]
            points[[index, other]], scores[[index, other]] = points[[other, index]], scores[[other, index]]
    return PersonPose(points, scores)


@pytest.fixture(scope="module")
def facing(shared_media):
    """People who face the camera: the man, the presenter, and the dancer, who turns as she dances."""
    estimator = MediaPipePose(single_image=True)
    frames = [read_image(shared_media / "reference_man_half_body.png")]
    frames += [
        frame
        for name in ("driving_presenter_half_body.mp4", "driving_dance_full_body.mp4")
        for frame in sample_frames(shared_media / name, [0, 30, 60, 90])
    ]
    people = [max(estimator.estimate(frame), key=lambda person: person.area) for frame in frames]
    estimator.close()
    return people


def test_a_back_view_is_told_and_has_no_face(facing):
    for person in facing:
        assert not from_behind(person.keypoints, person.scores)
        assert without_hidden_face(person) is person
    backs = [exchanged(person) for person in facing]
    told = [bool(from_behind(back.keypoints, back.scores)) for back in backs]
    assert np.mean(told) > 0.7  # who stands sideways has neither front nor back
    back = without_hidden_face(backs[0])
    assert (back.scores[[INDEX["nose"], INDEX["left_eye"], INDEX["right_eye"]]] == 0).all()
    assert back.scores[INDEX["left_shoulder"]] > SEEN
    points, scores = (np.stack([getattr(one, name) for one in backs]) for name in ("keypoints", "scores"))
    assert "seen from behind" in describe_back(points, scores)
    assert (
        describe_back(*(np.stack([getattr(one, name) for one in facing]) for name in ("keypoints", "scores"))) is None
    )


def test_turning_the_picture_does_not_turn_the_person(facing):
    """Upside down and lying people are still seen from where they were."""
    for turn in (np.diag([-1, -1]), np.array([[0, -1], [1, 0]])):
        for person in (facing[0], exchanged(facing[0])):
            turned = (person.keypoints @ turn.T.astype(np.float32)).astype(np.float32)
            assert from_behind(turned, person.scores) == from_behind(person.keypoints, person.scores)


def written(points, scores, path):
    return keypoint_writers.write_published(path, points, scores, (540, 960))


def test_keypoint_files_of_wrong_length_or_layout_say_what_is_known(presenter, tmp_path):
    video = film(tmp_path / "video.mp4", presenter[:6])
    points, scores = keypoint_writers.people(5, (540, 960))
    short = written(points, scores, tmp_path / "short")
    with pytest.raises(PosegenError, match="keypoints of 5 frames, but the driving video has 6"):
        extract(video, tmp_path / "a", pose="file", pose_file=short)
    layout = written(points[:, :21], scores[:, :21], tmp_path / "layout")
    with pytest.raises(PosegenError, match=r"21 points a person is no known layout; known are 17 \(COCO\), 18 and 25"):
        extract(video, tmp_path / "b", pose="file", pose_file=layout)
    nobody = tmp_path / "nobody.json"
    nobody.write_text(json.dumps([[]] * 6))
    with pytest.raises(PosegenError, match="no person is seen"):
        extract(video, tmp_path / "c", pose="file", pose_file=nobody)
    for folder in "abc":
        assert not (tmp_path / folder / "manifest.json").exists()
