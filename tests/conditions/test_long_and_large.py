"""A part of a video, cuts in it, high rates and large pictures: the same people at the same places."""

import itertools
import logging
from fractions import Fraction

import cv2
import keypoint_writers
import numpy as np
import pytest

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extraction import estimate_pose, extract_conditions
from posegen.conditions.folder import check_conditions, open_conditions
from posegen.conditions.keypoints import HANDS, INDEX
from posegen.config import EstimatorConfig, ExtractConfig
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter, probe_video, read_frames

SIZE = (180, 320)
TARGET = (96, 64)


def film(path, frames, fps=Fraction(30)):
    frames = list(frames)
    with VideoWriter(path, fps, size=frames[0].shape[:2]) as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return path


@pytest.fixture(scope="module")
def numbered(tmp_path_factory):
    """Three seconds at 30 frames/s whose keypoints are in a file: fast to extract, and known in every frame."""
    folder = tmp_path_factory.mktemp("numbered")
    film(folder / "video.mp4", (np.full((*SIZE, 3), 2 * number, np.uint8) for number in range(90)))
    points, scores = keypoint_writers.people(1, SIZE)
    points = points + np.arange(90, dtype=np.float32)[:, None, None] * 0.25
    for wrist, hand in zip(("left_wrist", "right_wrist"), HANDS, strict=True):
        points[:, INDEX[wrist]] = points[:, hand.start]  # as they are drawn
    scores = np.repeat(scores, 90, axis=0)
    return folder / "video.mp4", keypoint_writers.write_published(folder / "points", points, scores, SIZE), points


def extracted(numbered, folder, fps=Fraction(30), **options):
    video, file, _ = numbered
    chosen = EstimatorConfig(pose="file", pose_file=file, smoothing=False, **options)
    return extract_conditions(video, folder, plan_fit(SIZE, TARGET, "crop"), fps, hands=False, chosen=chosen)


@pytest.mark.parametrize(("start", "end"), [(0.5, 2.0), (None, 1.0), (2.0, None), (0.0, 3.0)])
def test_a_part_has_the_frames_of_that_part(numbered, tmp_path, start, end):
    whole, part = extracted(numbered, tmp_path / "whole"), extracted(numbered, tmp_path / "part", start=start, end=end)
    frames = slice(round(30 * (start or 0)), 90 if end is None else round(30 * end))
    assert part.num_frames == frames.stop - frames.start
    assert np.array_equal(part.pose.keypoints, whole.pose.keypoints[frames])
    assert np.allclose(part.pose.keypoints, numbered[2][frames], atol=1e-3)
    assert np.array_equal(part.skeleton_frames(0, 5), whole.skeleton_frames(frames.start, frames.start + 5))


def test_a_part_at_another_rate_shows_the_same_moments(numbered, tmp_path):
    part = extracted(numbered, tmp_path, fps=Fraction(10), start=1.0, end=2.0)
    assert np.allclose(part.pose.keypoints, numbered[2][30:60:3], atol=1e-3)


def test_another_part_is_another_extraction_and_given_conditions_must_be_of_the_part(numbered, tmp_path, caplog):
    first = extracted(numbered, tmp_path, start=0.5, end=2.0)
    with caplog.at_level(logging.INFO, "posegen"):
        assert extracted(numbered, tmp_path, start=0.5, end=2.0).num_frames == 45
    assert "up to date" in caplog.text
    assert extracted(numbered, tmp_path, start=0.5, end=1.0).num_frames == 15
    _, of_a_part = open_conditions(tmp_path)
    _, of_all = open_conditions(extracted(numbered, tmp_path / "all").folder)
    with pytest.raises(PosegenError, match="another part of the driving video"):
        check_conditions(first, of_a_part, of_all, 90)


def test_parts_that_are_not_there_are_one_line(numbered, tmp_path):
    with pytest.raises(PosegenError, match="start 2 must be before end 1"):
        ExtractConfig(driving=numbered[0], output=tmp_path, start=2.0, end=1.0)
    with pytest.raises(PosegenError, match="start -1 is out of range"):
        ExtractConfig(driving=numbered[0], output=tmp_path, start=-1.0)
    for start, end in ((5.0, None), (5.0, 6.0)):
        with pytest.raises(PosegenError) as caught:
            extracted(numbered, tmp_path, start=start, end=end)
        assert "\n" not in str(caught.value)
        assert "5" in str(caught.value)


def test_a_cut_is_reported_and_nobody_glides_across_it(media, tmp_path, monkeypatch):
    """A woman at the right, whom the estimator misses in two frames, then a man at the left of another room."""
    estimate, looked = MediaPipePose.estimate, itertools.count()
    monkeypatch.setattr(
        MediaPipePose, "estimate", lambda self, frame: [] if next(looked) in (18, 19) else estimate(self, frame)
    )
    path, fit = media / "cut.mp4", plan_fit((360, 640), TARGET, "crop")
    conditions = extract_conditions(path, tmp_path / "c", fit, Fraction(16), hands=False)
    warned = [line for line in conditions.report if line.startswith("warning:")]
    assert any("cut at 1.25 s" in line and "--start and --end" in line for line in warned)
    pose = conditions.pose
    shoulder = INDEX["left_shoulder"]
    assert pose.keypoints[13:20, shoulder, 0].min() > 300  # found at a second look, not interpolated across the cut
    assert any("2 of them at a second look" in line for line in conditions.report)
    assert any("not in 1 of the scenes" in line for line in conditions.report)
    assert pose.keypoints[28:, shoulder, 0].max() < 260
    assert (pose.scores[28:, shoulder] > 0.5).mean() > 0.8


def test_sixty_frames_a_second_and_four_thousand_pixels(media, tmp_path):
    """The presenter, and the same frames at twice the rate and six times the size: the same places."""
    frames = read_frames(media / "presenter.mp4", 30, 33)
    small = film(tmp_path / "small.mp4", frames)
    large = tmp_path / "2160p60.mp4"
    with VideoWriter(large, Fraction(60), size=(2160, 3840), preset="veryfast") as writer:
        for frame in frames:
            enlarged = cv2.resize(frame, (3840, 2160), interpolation=cv2.INTER_CUBIC)
            writer.write(enlarged)
            writer.write(enlarged)
    assert probe_video(large).fps == 60
    poses = []
    for path, fps in ((small, Fraction(30)), (large, Fraction(60))):
        estimator = MediaPipePose()
        poses.append(estimate_pose(path, estimator, fps)[0])
        estimator.close()
    assert len(poses[1]) == 6
    body = np.r_[0:13]
    away = np.linalg.norm(poses[1].keypoints[1::2, body] / 6 - poses[0].keypoints[:, body], axis=-1)
    seen = (poses[0].scores[:, body] > 0.5) & (poses[1].scores[1::2, body] > 0.5)
    assert seen.mean() > 0.5
    assert np.median(away[seen]) < 0.01 * 360
