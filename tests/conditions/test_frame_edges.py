"""Points at the frame's edge: no blinking, no floating hands, nothing made up far outside."""

import numpy as np
import pytest
from test_smoothing import standing

from posegen.conditions.finishing import finish_pose
from posegen.conditions.frame_edges import ARM_MARGIN, MARGIN, settle_edges
from posegen.conditions.keypoints import BODY, INDEX, LEFT_HAND, SEEN, PoseSequence

ELBOW, WRIST, KNEE = INDEX["left_elbow"], INDEX["left_wrist"], INDEX["left_knee"]
HEIGHT, WIDTH = 400.0, 600


def marked(pose):
    """The clip with negative scores outside the frame, as the embedded estimator reports it."""
    height, width = pose.size
    x, y = pose.keypoints[..., 0], pose.keypoints[..., 1]
    outside = (x < 0) | (y < 0) | (x > width - 1) | (y > height - 1)
    return PoseSequence(pose.keypoints, np.where(outside, -pose.scores, pose.scores), pose.hands, pose.size, pose.fps)


def with_point(index, x, frames=40):
    pose = standing(frames)
    pose.keypoints[:, index, 0] = x
    return marked(pose)


def changes(shown):
    return int(np.abs(np.diff(shown.astype(int))).sum())


def test_a_point_that_moves_along_the_edge_does_not_blink():
    random = np.random.default_rng(0)
    pose = with_point(KNEE, WIDTH + random.uniform(-6, 6, 40))
    assert changes(pose.scores[:, KNEE] >= SEEN) > 10
    assert (settle_edges(pose).scores[:, KNEE] >= SEEN).all()
    away = with_point(KNEE, WIDTH + 2 * MARGIN * HEIGHT + random.uniform(-6, 6, 40))
    assert (settle_edges(away).scores[:, KNEE] <= -SEEN).all()


def test_a_point_that_leaves_is_drawn_to_the_margin_and_keeps_its_place_and_score_beyond():
    x = np.linspace(WIDTH - 60, WIDTH + 60, 40)
    before = with_point(KNEE, x)
    after = settle_edges(before)
    shown = after.scores[:, KNEE] >= SEEN
    assert changes(shown) == 1
    assert shown[x < WIDTH].all()
    assert not shown[x > WIDTH + 1.5 * MARGIN * HEIGHT].any()
    assert np.array_equal(np.abs(after.scores[:, KNEE]), standing(40).scores[:, KNEE])
    assert np.array_equal(after.keypoints, before.keypoints)


def test_a_moment_outside_or_inside_is_evened_out():
    x = np.full(40, WIDTH - 20.0)
    x[20:22] = WIDTH + 2 * MARGIN * HEIGHT
    assert (settle_edges(with_point(KNEE, x)).scores[:, KNEE] >= SEEN).all()
    x = np.full(40, WIDTH + 2 * MARGIN * HEIGHT)
    x[20:22] = WIDTH - 2
    assert (settle_edges(with_point(KNEE, x)).scores[:, KNEE] < SEEN).all()


@pytest.mark.parametrize("hidden", ["elbow", "wrist"])
def test_an_arm_with_one_end_inside_reaches_the_edge(hidden):
    index = INDEX[f"left_{hidden}"]
    near, far = WIDTH + 0.5 * ARM_MARGIN * HEIGHT, WIDTH + 2 * ARM_MARGIN * HEIGHT
    assert (settle_edges(with_point(index, near)).scores[:, index] >= SEEN).all()
    assert (settle_edges(with_point(index, far)).scores[:, index] < SEEN).all()
    unsure = with_point(index, near)
    unsure.scores[:, index] = -0.1
    assert (settle_edges(unsure).scores[:, index] < SEEN).all()


def test_nothing_of_an_arm_outside_is_drawn():
    pose = standing(40)
    pose.keypoints[:, [ELBOW, WRIST], 0] = WIDTH + 0.5 * ARM_MARGIN * HEIGHT
    pose.keypoints[:, LEFT_HAND, 0] += WIDTH
    after = settle_edges(marked(pose))
    assert (after.scores[:, [ELBOW, WRIST]] < SEEN).all()
    assert (after.scores[:, LEFT_HAND] < SEEN).all()


def test_a_hand_at_the_edge_stays_whole():
    pose = standing(40)
    pose.keypoints[:, LEFT_HAND, 0] += WIDTH - pose.keypoints[:, LEFT_HAND, 0].mean()
    after = settle_edges(marked(pose))
    assert (after.scores[:, LEFT_HAND] >= SEEN).all()


def test_points_given_outside_by_a_file_stay_as_they_are():
    pose = standing(40)
    pose.keypoints[:, KNEE, 0] = WIDTH + 500
    assert settle_edges(pose) is pose


def test_smoothing_crosses_the_edge_evenly_and_the_outside_keeps_its_sign():
    random = np.random.default_rng(1)
    x = WIDTH + 40 * np.sin(np.arange(72) / 8)
    pose = standing(72)
    truth = pose.keypoints.copy()
    truth[:, ELBOW, 0] = x
    noisy = truth + random.normal(0, 2, truth.shape).astype(np.float32)
    given = marked(PoseSequence(noisy, pose.scores, pose.hands, pose.size, pose.fps))
    finished, report = finish_pose(given)
    assert report.outliers == 0
    assert np.abs(finished.keypoints[:, ELBOW] - truth[:, ELBOW]).mean() < 2
    assert (finished.scores[:, ELBOW] >= SEEN).all()  # the wrist is inside
    assert (finished.scores[:, BODY] >= SEEN).all()
    raw, _ = finish_pose(given, smooths=False)
    assert np.array_equal(raw.keypoints[:, ELBOW], given.keypoints[:, ELBOW])
