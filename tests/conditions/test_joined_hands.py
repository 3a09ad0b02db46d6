"""Hands and forearms: one wrist, the same hands in skeleton and hand normals, no jumps."""

import numpy as np
import pytest
from test_smoothing import FPS, standing

from posegen.conditions import joined_hands
from posegen.conditions.finishing import finish_person
from posegen.conditions.hands import CapsuleHandNormals, palm_length
from posegen.conditions.joined_hands import FADE, join_hands
from posegen.conditions.keypoints import HAND_DRAWN, HANDS, INDEX, LEFT_HAND, PersonPose, PoseSequence
from posegen.conditions.skeleton import draw_skeleton

WRIST = INDEX["left_wrist"]


def apart(frames=40, by=(12.0, 5.0), found=slice(None)):
    """Somebody standing, whose left hand's root is beside the body's wrist, found in some frames only."""
    pose = standing(frames)
    pose.keypoints[:, LEFT_HAND] += np.array(by)
    pose.hands[:, 0, :, :2] += np.array(by)
    lost = np.ones(frames, bool)
    lost[found] = False
    pose.scores[lost, LEFT_HAND] = 0
    pose.hands[lost, 0] = np.nan
    return pose


def changed(pose, scores=None, hands=None):
    return PoseSequence(
        pose.keypoints, pose.scores if scores is None else scores, pose.hands if hands is None else hands, pose.size,
        pose.fps,
    )  # fmt: skip


def drawn_hands(pose):
    """For each frame and side, is there a hand in the skeleton, and in the hand normals?"""
    shown = np.zeros((2, len(pose), 2), bool)
    for frame in range(len(pose)):
        for side, hand in enumerate(HANDS):
            scores = np.zeros_like(pose.scores[frame])
            scores[hand] = pose.scores[frame, hand]
            joints = np.full((2, 21, 3), np.nan, np.float32)
            joints[side] = pose.hands[frame, side]
            person = PersonPose(pose.keypoints[frame], scores, joints)
            shown[0, frame, side] = draw_skeleton(person.keypoints, person.scores, pose.size).any()
            shown[1, frame, side] = CapsuleHandNormals().estimate(person, pose.size).any()
    return shown


def test_wrist_and_root_are_one_point_and_the_hand_stays_where_it_was_found():
    before = apart()
    after = join_hands(before)
    assert np.array_equal(after.keypoints[:, WRIST], after.keypoints[:, LEFT_HAND.start])
    assert np.allclose(after.keypoints[:, LEFT_HAND], before.keypoints[:, LEFT_HAND])
    assert np.allclose(after.hands[:, 0], before.hands[:, 0])
    one = finish_person(before[3], before.size)
    assert np.array_equal(one.keypoints[WRIST], one.keypoints[LEFT_HAND.start])


def test_the_forearm_does_not_jump_where_a_hand_appears_or_vanishes():
    offset = np.array([20.0, 0.0])
    after = join_hands(apart(60, offset, slice(20, 40)))
    wrist = after.keypoints[:, WRIST]
    step = np.linalg.norm(np.diff(wrist, axis=0), axis=1).max()
    assert step < 1.2 * 20 / (FADE * FPS)
    assert np.allclose(wrist[:14], standing(60).keypoints[:14, WRIST])
    cut = join_hands(apart(60, offset, slice(20, 40)), cuts=(20,))
    assert np.allclose(cut.keypoints[:20, WRIST], standing(60).keypoints[:20, WRIST])  # nothing fades across a cut


@pytest.mark.parametrize("score", [0.35, 0.6])
def test_a_hand_found_in_space_is_drawn_whatever_its_keypoints_score(score):
    before = apart()
    before.scores[:, LEFT_HAND] = score
    before.scores[10:20, LEFT_HAND] = 0
    after = join_hands(before)
    assert drawn_hands(after).all()
    assert np.allclose(after.keypoints[:, LEFT_HAND], after.hands[:, 0, :, :2])


def test_keypoints_without_depth_are_drawn_in_both_or_in_neither():
    before = apart()
    before.hands[:, 0] = np.nan
    before.scores[:20, LEFT_HAND] = 0.6  # too uncertain on its own
    before.scores[20:30, LEFT_HAND] = 0.8
    before.scores[30:, LEFT_HAND] = 0.2
    before.scores[25, 95] = 0.0  # a joint that is not seen
    skeleton, normals = drawn_hands(join_hands(before))
    assert np.array_equal(skeleton, normals)
    assert skeleton[:30, 0].all()  # uncertain ones beside certain ones
    assert not skeleton[30:, 0].any()
    alone = apart(20)
    alone.hands[:, 0] = np.nan
    alone.scores[:, LEFT_HAND] = 0.6
    assert not drawn_hands(join_hands(alone))[..., 0].any()


def test_another_models_depth_is_laid_over_the_keypoints():
    before = apart()
    hands = before.hands.copy()
    hands[:, 0, :, 2] = np.linspace(0, 30, 21)
    hands[:, 0] *= 1.5  # another size, and another place
    hands[:, 0, :, :2] += 40
    after = join_hands(changed(before, hands=hands))
    assert np.allclose(after.keypoints[:, LEFT_HAND], before.keypoints[:, LEFT_HAND], atol=1e-3)
    assert np.allclose(after.hands[:, 0, :, :2], before.keypoints[:, LEFT_HAND], atol=1e-3)
    assert np.allclose(after.hands[:, 0, :, 2], np.linspace(0, 30, 21), atol=0.1)


def test_a_forearm_without_a_wrist_ends_at_the_hand():
    before = apart()
    before.scores[:, WRIST] = 0
    after = join_hands(before)
    assert (after.scores[:, WRIST] >= HAND_DRAWN).all()
    assert np.array_equal(after.keypoints[:, WRIST], after.keypoints[:, LEFT_HAND.start])


def test_a_long_clip_is_what_its_pieces_are(monkeypatch):
    before = apart(40)
    before.scores[10:30, LEFT_HAND] = 0.6
    before.hands[12:, 0] = np.nan
    whole = join_hands(before)
    monkeypatch.setattr(joined_hands, "PIECE", 7)
    pieces = join_hands(before)
    for name in ("keypoints", "scores", "hands"):
        assert np.array_equal(getattr(pieces, name), getattr(whole, name), equal_nan=True)


def test_a_clip_without_hands_stays_as_it_is():
    before = apart(found=slice(0, 0))
    before.scores[:, 112:133] = 0
    before.hands[:] = np.nan
    after = join_hands(before)
    assert np.array_equal(after.keypoints, before.keypoints)
    assert np.array_equal(after.scores, before.scores)


def test_the_size_of_a_hand_with_unknown_joints_is_about_that_of_the_whole_hand():
    """The proportions of an open hand that MediaPipe found."""
    joints = np.zeros((21, 3), np.float32)
    for finger, x in enumerate((-0.4, -0.25, 0.0, 0.2, 0.4)):
        for joint, y in enumerate((0.3, 0.6, 0.85, 1.1) if finger == 0 else (1.0, 1.42, 1.68, 1.9)):
            joints[4 * finger + joint + 1] = (100 * x, -100 * y, 0)
    whole = palm_length(joints)
    for missing in (0, 9, [0, 9], [0, 9, 10]):
        part = joints.copy()
        part[missing] = np.nan
        assert palm_length(part) == pytest.approx(whole, rel=0.25)
    assert palm_length(np.full((21, 3), np.nan, np.float32)) == 1
