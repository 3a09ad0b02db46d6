"""Videos that are no good driving videos: each is told in one line, and nothing crashes."""

import json
from fractions import Fraction

import cv2
import keypoint_writers
import numpy as np
import pytest

from posegen.conditions.estimators.mediapipe import MediaPipePose, without_hidden_face
from posegen.conditions.extraction import extract_conditions
from posegen.conditions.followed_pose import Attention, estimate_pose
from posegen.conditions.framing import choose_framing, describe_back, from_behind
from posegen.conditions.keypoints import INDEX, SEEN, PersonPose
from posegen.config import EstimatorConfig, parse_person
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image
from posegen.media.video import VideoWriter, iterate_frames, read_frames, sample_frames

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
def presenter(media):
    """24 frames at 360 x 640; the nose is at about (300, 72)."""
    return list(read_frames(media / "presenter.mp4", 30, 54))


def test_only_a_face_is_a_close_up_without_hands(presenter, tmp_path):
    """The head fills the picture: its skeleton is drawn, and that no hand is seen is said."""
    faces = [cv2.resize(frame[22:128, 245:351], (480, 480), interpolation=cv2.INTER_CUBIC) for frame in presenter[:8]]
    conditions = extract(film(tmp_path / "face.mp4", faces), tmp_path / "c")
    pose = conditions.pose
    assert (pose.scores[:, INDEX["nose"]] > SEEN).all()
    assert np.abs(pose.keypoints[:, INDEX["nose"]] - [240, 240]).max() < 90
    assert choose_framing(pose.keypoints, pose.scores, pose.size) == "close-up"
    assert "no hand is seen in any frame: the hand normals are black" in conditions.report
    assert not conditions.hand_frames(0, 8).any()
    assert conditions.skeleton_frames(0, 8).any()


def test_hands_that_are_never_visible_leave_black_normals_and_one_line(presenter, tmp_path):
    chests = [cv2.resize(frame[:200, 240:400], (320, 400)) for frame in presenter[:8]]
    conditions = extract(film(tmp_path / "chest.mp4", chests), tmp_path / "c")
    assert [line for line in conditions.report if "hand" in line] == [
        "no hand is seen in any frame: the hand normals are black"
    ]
    assert not conditions.hand_frames(0, 8).any()


def test_somebody_who_leaves_and_comes_back_is_followed_again(media, tmp_path):
    """Two seconds away, then back at another place: nothing is drawn meanwhile, and the report says how long."""
    fit = plan_fit((360, 640), TARGET, "crop")
    conditions = extract_conditions(media / "leaving.mp4", tmp_path / "c", fit, Fraction(16), hands=False)
    pose = conditions.pose
    nose = INDEX["nose"]
    assert (pose.scores[19:49].max(axis=1) == 0).all()
    assert "without a person (nothing drawn there)" in conditions.report[0]
    assert (pose.scores[:13, nose] > SEEN).all()
    assert (pose.scores[54:, nose] > SEEN).all()
    assert np.abs(pose.keypoints[:13, nose, 0] - 430).max() < 30
    assert np.abs(pose.keypoints[54:, nose, 0] - 126).max() < 30
    assert not conditions.skeleton_frames(25, 26).any()


def test_a_mirror_is_told_as_people_and_the_larger_is_followed(presenter, tmp_path):
    """The presenter, and beside her a smaller picture of her the other way round."""
    frames = []
    for frame in presenter[:10]:
        picture = np.full((360, 640, 3), 90, np.uint8)
        picture[:, :320] = frame[:, 150:470]
        image = cv2.resize(frame[:, 470:150:-1], (213, 240), interpolation=cv2.INTER_AREA)
        picture[120:, 400:613] = image
        frames.append(picture)
    conditions = extract(film(tmp_path / "mirror.mp4", frames), tmp_path / "c")
    told = "warning: up to 2 people are in the video: following number 1, who begins at the left"
    assert any(line.startswith(told) for line in conditions.report)
    pose = conditions.pose
    assert (pose.keypoints[:, INDEX["nose"], 0] < 320).all()
    assert (pose.keypoints[:, INDEX["left_shoulder"], 0] > pose.keypoints[:, INDEX["right_shoulder"], 0]).all()


def test_two_people_who_cross_are_not_exchanged(media):
    """The one who is chosen, at the right at first, is hidden by the other one, who is larger, for some frames."""
    estimator = MediaPipePose()
    attention = Attention(parse_person("1"))
    pose, report = estimate_pose(media / "crossing.mp4", estimator, Fraction(16), hands=False, attention=attention)
    estimator.close()
    assert report.most_people == 2
    x = pose.keypoints[:, INDEX["nose"], 0]
    seen = pose.scores[:, INDEX["nose"]] > SEEN
    assert seen[:15].all()
    assert seen[-10:].all()
    assert (np.diff(x[seen]) < 10).all()  # always to the left
    assert x[0] > 470
    assert x[-1] < 130


def exchanged(person):
    """Left and right exchanged: the same outline, seen from behind."""
    points, scores = person.keypoints.copy(), person.scores.copy()
    for name, index in INDEX.items():
        if name.startswith("left_"):
            other = INDEX[name.replace("left_", "right_")]
            points[[index, other]], scores[[index, other]] = points[[other, index]], scores[[other, index]]
    return PersonPose(points, scores)


@pytest.fixture(scope="module")
def facing(media):
    """People who face the camera: the man, the presenter, and the dancer, who sways as she dances."""
    estimator = MediaPipePose(single_image=True)
    frames = [read_image(media / "man.png")]
    frames += [
        frame for name in ("presenter.mp4", "dancer.mp4") for frame in sample_frames(media / name, [0, 30, 60, 90])
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


def test_somebody_who_turns_round_is_seen_from_behind_and_has_no_face_meanwhile(media):
    """Half of a turn takes 24 frames; sideways, nothing is told."""
    numbers = [0, 4, 20, 24, 28, 43, 47]
    estimator = MediaPipePose(single_image=True)
    people = [
        max(estimator.estimate(frame), key=lambda person: person.area)
        for frame in sample_frames(media / "turning.mp4", numbers)
    ]
    estimator.close()
    behind = [bool(from_behind(person.keypoints, person.scores)) for person in people]
    assert behind == [18 <= number <= 30 for number in numbers]
    faces = [person.scores[INDEX["nose"]] > SEEN for person in people]
    assert faces == [not back for back in behind]


def test_turning_the_picture_does_not_turn_the_person(facing):
    """Upside down and lying people are still seen from where they were."""
    for turn in (np.diag([-1, -1]), np.array([[0, -1], [1, 0]])):
        for person in (facing[0], exchanged(facing[0])):
            turned = (person.keypoints @ turn.T.astype(np.float32)).astype(np.float32)
            assert from_behind(turned, person.scores) == from_behind(person.keypoints, person.scores)


def written(points, scores, path):
    return keypoint_writers.write_published(path, points, scores, (360, 640))


def test_keypoint_files_of_wrong_length_or_layout_say_what_is_known(presenter, tmp_path):
    video = film(tmp_path / "video.mp4", presenter[:6])
    points, scores = keypoint_writers.people(5, (360, 640))
    short = written(points, scores, tmp_path / "short")
    with pytest.raises(PosegenError, match="keypoints of 5 frames, but the driving video has 6"):
        extract(video, tmp_path / "a", pose="file", pose_file=short)
    layout = written(points[:, :21], scores[:, :21], tmp_path / "layout")
    with pytest.raises(PosegenError, match=r"21 points per person; known are 17 \(COCO\), 18 and 25"):
        extract(video, tmp_path / "b", pose="file", pose_file=layout)
    nobody = tmp_path / "nobody.json"
    nobody.write_text(json.dumps([[]] * 6))
    with pytest.raises(PosegenError, match=r"nobody\.json: holds no person"):
        extract(video, tmp_path / "c", pose="file", pose_file=nobody)
    for folder in "abc":
        assert not (tmp_path / folder / "manifest.json").exists()
