"""The skeleton picture, pixel for pixel."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from posegen.conditions.keypoints import FACE, INDEX, LEFT_HAND
from posegen.conditions.skeleton import draw_skeleton

GOLDEN = Path(__file__).parents[1] / "golden"


def load(number):
    data = np.load(GOLDEN / f"skeleton_{number}.npz")
    picture = cv2.cvtColor(cv2.imread(str(GOLDEN / f"skeleton_{number}.png")), cv2.COLOR_BGR2RGB)
    height, width = data["size_hw"].tolist()
    return data["keypoints"], data["scores"], (height, width), picture


@pytest.mark.parametrize("number", [0, 1, 2])
def test_equals_the_published_drawing(number):
    keypoints, scores, size, picture = load(number)
    assert np.array_equal(draw_skeleton(keypoints, scores, size), picture)
    assert np.array_equal(draw_skeleton(keypoints, scores, size, colors="release"), picture[..., ::-1])


def test_face_is_never_drawn():
    keypoints, scores, size, picture = load(0)
    keypoints = keypoints.copy()
    keypoints[FACE] += 50
    assert np.array_equal(draw_skeleton(keypoints, scores, size), picture)


def test_thresholds_hide_points_below_them():
    keypoints = np.full((133, 2), 50.0)
    keypoints[INDEX["right_shoulder"]] = 20, 20
    keypoints[INDEX["right_elbow"]] = 20, 80
    scores = np.zeros(133)
    scores[[INDEX["right_shoulder"], INDEX["right_elbow"]]] = 0.3
    drawn = draw_skeleton(keypoints, scores, (100, 100))
    assert drawn[50, 20].tolist() == [255, 170, 0]  # the upper arm's own colour
    assert not draw_skeleton(keypoints, scores, (100, 100), body_threshold=0.31).any()
    scores[INDEX["right_elbow"]] = 0.2
    assert not draw_skeleton(keypoints, scores, (100, 100))[50, 20].any()


def test_a_lonely_hand_joint_is_not_drawn():
    keypoints, scores = np.full((133, 2), 50.0), np.zeros(133)
    scores[LEFT_HAND.start + 3] = 0.9
    assert not draw_skeleton(keypoints, scores, (100, 100)).any()
    keypoints[LEFT_HAND.start + 4] = 60, 60
    scores[LEFT_HAND.start + 4] = 0.7
    assert draw_skeleton(keypoints, scores, (100, 100)).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e12])
def test_points_that_cannot_be_drawn_are_left_out(bad):
    keypoints, scores, size, _ = load(0)
    keypoints, hidden = keypoints.copy(), scores.copy()
    keypoints[INDEX["right_knee"], 0] = bad
    hidden[INDEX["right_knee"]] = 0
    assert np.array_equal(draw_skeleton(keypoints, scores, size), draw_skeleton(keypoints, hidden, size))
    scores = scores.copy()
    scores[INDEX["right_knee"]] = np.nan
    assert np.array_equal(draw_skeleton(keypoints, scores, size), draw_skeleton(keypoints, hidden, size))


def test_points_outside_the_picture_are_fine():
    keypoints, scores, size, _ = load(0)
    keypoints = np.trunc(keypoints)  # whole pixels, so that moving changes no rounding
    picture = draw_skeleton(keypoints, scores, size)
    moved = draw_skeleton(keypoints + np.array([300, 700]), scores, size)
    assert moved.any()
    assert np.array_equal(moved[700:, 300:], picture[:-700, :-300])
    assert draw_skeleton(keypoints - [300, 400], scores, size).any()


def test_wrong_colours_are_refused():
    keypoints, scores, size, _ = load(0)
    with pytest.raises((ValueError, TypeError), match="colors"):
        draw_skeleton(keypoints, scores, size, colors="rainbow")
