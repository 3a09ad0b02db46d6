"""Lively clips: the same person and scene, turned and brought near as one rigid body; calm clips draw nothing new."""

import numpy as np
import pytest

from posegen.errors import PosegenError
from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import rest_body
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.identity import draw_identity
from posegen.synthetic.liveliness import CALM, Liveliness, draw_liveliness, move_about
from posegen.synthetic.motion import procedural_motion
from posegen.synthetic.rig import forward_kinematics

FPS, FRAMES = 16.0, 24


@pytest.fixture(scope="module")
def body():
    return rest_body(draw_identity(4, len(load_assets().change_names)))


def test_turning_and_coming_near_keep_the_persons_shape(body):
    pose = procedural_motion(np.random.default_rng(5), body, FRAMES, FPS, "stand")
    _, before = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
    heading, nearer = np.linspace(0, np.pi, FRAMES), np.linspace(0, 0.5, FRAMES)
    move_about(pose, body, heading, nearer)
    _, after = forward_kinematics(body.bone_heads, pose.rotations, pose.root)

    def apart(joints):
        return np.linalg.norm(joints[:, :, None] - joints[:, None], axis=-1)

    np.testing.assert_allclose(apart(after), apart(before), atol=1e-9)
    np.testing.assert_allclose(after[..., 2], before[..., 2], atol=1e-9)  # nobody is lifted
    np.testing.assert_allclose(after[-1, :, :2], -before[-1, :, :2] - [0, 0.5], atol=1e-9)  # from behind, and nearer


def test_both_arms_are_alike_and_a_spin_goes_round(body):
    lively = Liveliness(alike=True, spin=2.0)
    pose = procedural_motion(np.random.default_rng(5), body, 64, FPS, "stand", lively)
    _, joints = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
    left, right = (joints[:, load_assets().bone(f"upperarm01.{side}")] for side in "LR")
    angle = np.unwrap(np.arctan2(*(left - right)[:, 1::-1].T))
    assert angle[-1] - angle[0] == pytest.approx(2.0 * 63 / FPS, abs=0.8)
    wrists = [joints[:, load_assets().bone(f"wrist.{side}"), 2] for side in "LR"]
    calm = procedural_motion(np.random.default_rng(5), body, 64, FPS, "stand")
    _, joints = forward_kinematics(body.bone_heads, calm.rotations, calm.root)
    different = [joints[:, load_assets().bone(f"wrist.{side}"), 2] for side in "LR"]
    assert np.abs(wrists[0] - wrists[1]).mean() < 0.5 * np.abs(different[0] - different[1]).mean()


def test_lively_clips_differ_from_calm_ones_in_movement_only():
    calm, lively = (
        SyntheticClip(500, 71, SyntheticClipSettings(64, 48, 4, FPS, style), "close-up") for style in ("calm", "lively")
    )
    assert draw_liveliness(np.random.default_rng([71, 5]), "close-up") != CALM
    assert (calm.subject, calm.movement) == (lively.subject, lively.movement)
    assert np.abs(next(calm.frames()).keypoints - next(lively.frames()).keypoints).max() > 2


def test_people_whose_feet_are_seen_do_not_glide_towards_the_camera():
    drawn = [draw_liveliness(np.random.default_rng(seed), "full-body") for seed in range(50)]
    assert all(lively.approach == 0 for lively in drawn)
    assert any(draw_liveliness(np.random.default_rng(seed), "half-body").approach for seed in range(50))


def test_an_unknown_style_is_refused():
    with pytest.raises(PosegenError, match="calm, lively"):
        SyntheticClipSettings(style="wild")
