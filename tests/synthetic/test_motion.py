"""Movements: feet that do not slide, hands that stay outside, curves without jumps."""

import numpy as np
import pytest

from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import rest_body
from posegen.synthetic.identity import draw_identity
from posegen.synthetic.mocap import CLIPS, captured_motion
from posegen.synthetic.motion import LEG_STYLES, between_targets, procedural_motion, still_pose
from posegen.synthetic.rig import Leg, colliders, forward_kinematics, keep_arms_outside, rotation

FPS = 16.0


@pytest.fixture(scope="module")
def body():
    return rest_body(draw_identity(12, len(load_assets().change_names)))


def ankles(body, pose):
    _, places = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
    return places[:, [Leg.of(body, side).ankle for side in "LR"]]


def test_curves_pass_through_targets_without_jumps():
    curve = between_targets(np.random.default_rng(1), 200, FPS, lambda: np.random.default_rng(2).random(3), (0.5, 1.0))
    assert curve.shape == (200, 3)
    random = np.random.default_rng(3)
    curve = between_targets(random, 200, FPS, lambda: random.uniform(-1, 1, 2), (0.5, 1.0))
    assert np.abs(np.diff(curve, axis=0)).max() < 2 * 1.9 / (0.5 * FPS), "faster than a minimum-jerk movement"


@pytest.mark.parametrize("style", LEG_STYLES)
def test_a_foot_on_the_ground_does_not_slide(body, style):
    pose = procedural_motion(np.random.default_rng(5), body, 64, FPS, style)
    feet = ankles(body, pose)
    on_ground = feet[:, :, 2] < feet[:, :, 2].min() + 0.004
    both = on_ground[1:] & on_ground[:-1]
    moved = np.linalg.norm(np.diff(feet[:, :, :2], axis=0), axis=-1)
    assert both.any()
    assert moved[both].max() < 0.012, f"a standing foot moved {moved[both].max():.3f} m in a frame"
    if style in ("step", "march"):
        assert (~on_ground).any(), "no foot was lifted"


def test_an_unknown_leg_style_is_refused(body):
    with pytest.raises(ValueError, match="stand"):
        procedural_motion(np.random.default_rng(5), body, 8, FPS, "fly")


def test_legs_keep_their_length(body):
    pose = procedural_motion(np.random.default_rng(6), body, 32, FPS, "squat")
    _, places = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
    leg = Leg.of(body, "L")
    thigh = np.linalg.norm(places[:, leg.knee] - places[:, leg.hip], axis=1)
    np.testing.assert_allclose(thigh, leg.thigh, rtol=1e-5)


def deepest(body, pose):
    """How deep wrists and fingers are inside the body's balls, in metres."""
    balls, assets = colliders(body), load_assets()
    turned, places = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
    centres = places[:, balls.bone] + np.einsum("tnab,nb->tna", turned[:, balls.bone], balls.offset)
    hand = places[:, [assets.bone(f"{name}.{side}") for side in "LR" for name in ("wrist", "finger3-3", "finger2-2")]]
    distance = np.linalg.norm(hand[:, :, None] - centres[:, None], axis=-1)
    return float(np.maximum(balls.radius - distance, 0).max())


def test_hands_are_taken_out_of_the_body(body):
    assets = load_assets()
    pose = still_pose(body, 24)
    for side, sign in (("L", 1.0), ("R", -1.0)):  # arms pressed into the hips, forearms bent into the belly
        pose.rotations[:, assets.bone(f"upperarm01.{side}")] = rotation(np.array([0.0, sign * 0.75, 0]))
        pose.rotations[:, assets.bone(f"lowerarm01.{side}")] = rotation(np.array([0.9, 0, -sign * 1.2]))
    before = deepest(body, pose)
    keep_arms_outside(body, pose, margin=0.03)
    assert before > 0.03, "the test's pose does not enter the body"
    assert deepest(body, pose) < 0.3 * before


@pytest.mark.parametrize("name", ["walk", "dance_a", "kick"])
def test_captured_people_stand_on_the_ground_upright(body, name):
    pose = captured_motion(np.random.default_rng(1), body, 40, FPS, name, facing=0.4)
    feet = ankles(body, pose)[:, :, 2].min(1)
    height = body.bone_heads[Leg.of(body, "L").ankle, 2] - body.vertices[:, 2].min()
    assert feet.min() > height - 0.02
    assert feet.max() < height + 0.18, "higher than on tiptoe"
    _, places = forward_kinematics(body.bone_heads, pose.rotations, pose.root)
    assert (places[:, load_assets().bone("head"), 2] > 0.9).mean() > 0.7
    assert np.linalg.norm(np.diff(places, axis=0), axis=-1).max() < 0.75, "a joint jumps"


def test_walking_goes_where_the_person_faces(body):
    pose = captured_motion(np.random.default_rng(1), body, 32, FPS, "walk", facing=0.0)
    travel = pose.root[-1] - pose.root[0]
    assert travel[1] < -1.0, "ahead is -y"
    assert abs(travel[0]) < 0.4


@pytest.mark.parametrize("name", CLIPS)
def test_in_a_long_clip_captured_people_stay_where_they_are_in_a_short_one(body, name):
    short = captured_motion(np.random.default_rng(1), body, round(4.5 * FPS), FPS, name, facing=0.4).root[:, :2]
    long = captured_motion(np.random.default_rng(1), body, round(20 * FPS), FPS, name, facing=0.4).root[:, :2]
    assert np.abs(long[: round(3 * FPS)] - short[: round(3 * FPS)]).max() < 1e-9, "short clips are what they were"
    assert (long.max(0) < short.max(0) + 0.3).all()
    assert (long.min(0) > short.min(0) - 0.3).all()
