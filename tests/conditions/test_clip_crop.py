"""The crop of the driving video keeps the person's head first, through the whole clip, and tells what it cuts off."""

from fractions import Fraction

import numpy as np
import pytest
from people_in_frames import SIZE, figure

from posegen.conditions.clip_crop import crop_about_person, describe_crop
from posegen.conditions.keypoints import INDEX, PoseSequence
from posegen.media.fitting import plan_fit

TALL = (640, 360)
FACE = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]


def clip(people, size):
    keypoints, scores = (np.stack([getattr(each, name) for each in people]) for name in ("keypoints", "scores"))
    return PoseSequence(keypoints, scores, np.full((len(people), 2, 21, 3), np.nan, np.float32), size, Fraction(25))


def shown(fit, pose, points):
    places = fit.apply_points(pose.keypoints[:, points])
    return ((places >= 0) & (places < np.array(fit.target[::-1]))).all(axis=(1, 2))


def test_the_head_of_somebody_in_a_tall_video_stays_in_a_wide_result():
    pose = clip([figure(180 + 2 * frame, 560, 620) for frame in range(20)], TALL)
    middle = plan_fit(TALL, (180, 320), "crop")
    assert not shown(middle, pose, FACE).any()
    fit = crop_about_person(middle, pose)
    assert shown(fit, pose, FACE).all()
    assert fit.apply(np.zeros((*TALL, 3), np.uint8)).shape == (180, 320, 3)
    line = describe_crop(pose, fit)
    assert "legs in 100 %" in line
    assert "head" not in line
    assert "head in 100 %" in describe_crop(pose, middle)


@pytest.mark.parametrize("x", [90, 550])
def test_somebody_at_a_side_stays_in_a_tall_result(x):
    pose = clip([figure(x + 10 * np.sin(frame / 3), 250, 340) for frame in range(20)], SIZE)
    fit = crop_about_person(plan_fit(SIZE, (320, 176), "crop"), pose)
    assert shown(fit, pose, list(range(17))).all()
    assert describe_crop(pose, fit) is None


def test_where_the_middle_shows_everything_or_nobody_is_seen_it_stays():
    fit = plan_fit(SIZE, (320, 176), "crop")
    pose = clip([figure(320, 200, 330)] * 5, SIZE)
    assert crop_about_person(fit, pose) == fit
    pose.scores[:] = 0
    assert crop_about_person(fit, pose) == fit
    assert describe_crop(pose, fit) is None
    padded = plan_fit(SIZE, (320, 176), "pad")
    assert crop_about_person(padded, clip([figure(20)] * 3, SIZE)) == padded
    assert describe_crop(clip([figure(20)] * 3, SIZE), padded) is None


def test_a_single_wrong_frame_does_not_move_the_crop():
    people = [figure(320, 200, 330)] * 99 + [figure(40, 200, 330)]
    fit = plan_fit(SIZE, (320, 176), "crop")
    assert crop_about_person(fit, clip(people, SIZE)) == fit
