"""Joints by name, the missing ones computed, and the camera: left is left, up is up, and nothing is stretched."""

from fractions import Fraction

import numpy as np
import pytest
from walker import HEIGHT, walker

from posegen.conditions.keypoints import HANDS, INDEX, SEEN
from posegen.errors import PosegenError
from posegen.motion.joint_names import keypoint_sources
from posegen.motion.motion_conditions import film_motion, usual_rate
from posegen.motion.motion_data import Motion, even_times, rate_of_period
from posegen.motion.whole_body import whole_body

BODY = [f"{side}_{part}" for side in ("left", "right") for part in
        ("shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe")]  # fmt: skip
WITH_HANDS = [*BODY, "nose", "head", *(f"{side}_hand_{joint}" for side in ("left", "right") for joint in range(21))]
SIZE = (640, 480)


def motion_of(people, names, fps=30, **changes):
    positions = np.stack([people[name] for name in names], axis=1).astype(np.float32)
    return Motion("test", tuple(names), positions, Fraction(1, fps), **changes)


SKELETONS = {
    "HumanIK": "Hips Spine Neck Head {S}Shoulder {S}Arm {S}ForeArm {S}Hand {S}UpLeg {S}Leg {S}Foot {S}ToeBase",
    "Mixamo": "mixamorig:Hips mixamorig:Head mixamorig:{S}Shoulder mixamorig:{S}Arm mixamorig:{S}ForeArm "
    "mixamorig:{S}Hand mixamorig:{S}UpLeg mixamorig:{S}Leg mixamorig:{S}Foot mixamorig:{S}ToeBase",
    "CMU": "Hips LowerBack Head {S}Shoulder {S}Arm {S}ForeArm {S}Hand {L}HipJoint {S}UpLeg {S}Leg {S}Foot {S}ToeBase",
    "Biovision": "Hips Chest Head {S}Collar {S}Shoulder {S}Elbow {S}Wrist {S}Hip {S}Knee {S}Ankle",
    "Unreal": "pelvis head clavicle_{l} upperarm_{l} lowerarm_{l} hand_{l} thigh_{l} calf_twist_01_{l} calf_{l} "
    "foot_{l} ball_{l}",
    "Rigify": "spine head shoulder.{L} upper_arm.{L} forearm.{L} hand.{L} thigh.{L} shin.{L} foot.{L} toe.{L}",
    "Biped": "Bip01_Pelvis Bip01_Head Bip01_{L}_Clavicle Bip01_{L}_UpperArm Bip01_{L}_Forearm Bip01_{L}_Hand "
    "Bip01_{L}_Thigh Bip01_{L}_Calf Bip01_{L}_Foot Bip01_{L}_Toe0",
    "MakeHuman": "root head clavicle.{L} upperarm01.{L} upperarm02.{L} lowerarm01.{L} wrist.{L} upperleg01.{L} "
    "lowerleg01.{L} foot.{L} toe1-1.{L}",
    "Daz": "hip head {l}Collar {l}ShldrBend {l}ForearmBend {l}Hand {l}ThighBend {l}Shin {l}Foot {l}Toe",
    "SMPL": "Pelvis Head {L}_Collar {L}_Shoulder {L}_Elbow {L}_Wrist {L}_Hip {L}_Knee {L}_Ankle {L}_Foot",
    "VRM": "hips head {s}Shoulder {s}UpperArm {s}LowerArm {s}Hand {s}UpperLeg {s}LowerLeg {s}Foot {s}Toes",
    "gait": "{L}SJC {L}EJC {L}WJC {L}HJC {L}KJC {L}AJC {L}TOE CLAV C7",
    "OpenPose": "Nose Neck {L}Shoulder {L}Elbow {L}Wrist MidHip {L}Hip {L}Knee {L}Ankle {L}BigToe {L}Heel",
}
PARTS = {"shoulder": ("Arm", "upperarm", "upper_arm", "ShldrBend", "_Shoulder", "SJC", "UpperArm", "Shoulder"),
         "elbow": ("ForeArm", "lowerarm", "forearm", "Forearm", "LowerArm", "Elbow", "EJC"),
         "wrist": ("Hand", "hand", "Wrist", "wrist", "WJC"),
         "hip": ("UpLeg", "thigh", "Thigh", "upperleg01", "UpperLeg", "HJC", "Hip"),
         "knee": ("calf_l", "calf_r", "Leg", "shin", "Shin", "Calf", "lowerleg", "Knee", "KJC"),
         "ankle": ("Ankle", "Foot", "foot", "AJC")}  # fmt: skip
"""Words of which the first that a name of the right side has is that joint's."""


@pytest.mark.parametrize("kind", SKELETONS)
def test_joints_are_known_by_the_names_of_each_kind_of_skeleton(kind):
    words = SKELETONS[kind].split()
    both = {
        "left": {"S": "Left", "s": "left", "L": "L", "l": "l"},
        "right": {"S": "Right", "s": "right", "L": "R", "l": "r"},
    }
    names = {side: [word.format(**given) for word in words] for side, given in both.items()}
    everything = list(dict.fromkeys(names["right"] + names["left"]))  # no order of a body
    sources = keypoint_sources(everything)
    for side, own in names.items():
        for part, known in PARTS.items():
            given = everything[sources[f"{side}_{part}"]]
            assert given in own, (side, part, given)
            assert any(word in given for word in known), (side, part, given)
    assert len({sources[f"{side}_{part}"] for side in names for part in PARTS}) == 12


def test_marker_clouds_and_names_without_sides_are_refused_with_what_was_expected():
    for names in (["M001", "M002", "M003"], ["shoulder", "elbow", "hip", "knee", "head"]):
        motion = Motion("test", tuple(names), np.zeros((3, len(names), 3), np.float32), Fraction(1, 30))
        with pytest.raises(PosegenError, match=names[0]):
            whole_body(motion, "a.c3d")


@pytest.mark.parametrize("up", ["+x", "-x", "+y", "-y", "+z", "-z"])
def test_up_is_where_heads_are_above_feet_if_the_file_does_not_say(up):
    people = walker()
    other = np.eye(3)["xyz".index(up[1])] * (1 if up[0] == "+" else -1)
    first = np.eye(3)[0 if up[1] != "x" else 1]
    turned = np.stack([first, np.cross(other, first), other], axis=1)  # columns: where x, y and z go
    given = {name: place @ turned.T for name, place in people.items()}
    body, wanted = whole_body(motion_of(given, WITH_HANDS), "a"), whole_body(motion_of(people, WITH_HANDS), "a")
    np.testing.assert_allclose(body.points[..., 2], wanted.points[..., 2], atol=1e-5)
    assert body.height == pytest.approx(wanted.height, rel=1e-5)
    assert body.height == pytest.approx(HEIGHT, rel=0.1)
    said = whole_body(motion_of(given, WITH_HANDS, up=up), "a")
    np.testing.assert_allclose(said.points, body.points, atol=1e-5)


def test_missing_points_are_computed_near_where_they_are():
    people = walker()
    body = whole_body(motion_of(people, [*BODY, "head"]), "a")
    for name, allowed in (("nose", 0.08), ("left_ear", 0.06), ("right_eye", 0.08), ("left_heel", 0.06),
                          ("right_big_toe", 0.06), ("left_small_toe", 0.06)):  # fmt: skip
        assert np.linalg.norm(body.points[:, INDEX[name]] - people[name], axis=1).max() < allowed, name
        assert name in body.computed
    fingers = [name for name in WITH_HANDS if name not in ("left_hand_8", "right_hand_4")]
    body = whole_body(motion_of(people, fingers), "a")
    tip = body.points[:, HANDS[0].start + 8]
    assert np.linalg.norm(tip - people["left_hand_8"], axis=1).max() < 0.01


def test_from_the_front_the_left_hand_is_on_the_right_and_a_raised_hand_is_above():
    pose = film_motion(motion_of(walker(turn=0.0), WITH_HANDS), "a", "front", SIZE).pose
    x, y = pose.keypoints[..., 0], pose.keypoints[..., 1]
    assert (x[:, INDEX["left_shoulder"]] > x[:, INDEX["right_shoulder"]] + 10).all()
    assert (y[:, INDEX["left_wrist"]] < y[:, INDEX["left_elbow"]]).all()
    assert (y[:, INDEX["right_wrist"]] > y[:, INDEX["right_elbow"]]).all()
    assert (y[:, INDEX["left_ankle"]] > y[:, INDEX["left_hip"]]).all()
    assert (pose.scores[:, INDEX["nose"]] >= SEEN).all()
    seen = pose.keypoints[pose.scores >= SEEN]
    assert (seen >= 0).all()
    assert (seen <= SIZE[::-1]).all()


def test_azimuth_goes_to_the_persons_left_and_from_behind_the_face_is_hidden():
    motion = motion_of(walker(turn=0.0), WITH_HANDS)
    side, behind = (film_motion(motion, "a", (angle, 0.0), SIZE).pose for angle in (90.0, 180.0))
    x = side.keypoints[..., 0]
    assert (x[:, INDEX["nose"]] < x[:, INDEX["left_ear"]]).all()  # looks to the left of the picture
    assert (side.scores[:, INDEX["right_ear"]] < SEEN).all()
    assert (side.scores[:, INDEX["left_ear"]] >= SEEN).all()
    assert (behind.scores[:, [INDEX["nose"], INDEX["left_eye"]]] < SEEN).all()
    assert (behind.scores[:, INDEX["left_ear"]] >= SEEN).all()
    assert (behind.keypoints[:, INDEX["left_hip"], 0] < behind.keypoints[:, INDEX["right_hip"], 0]).all()


def test_hands_have_depth_away_from_the_camera():
    people = walker(turn=0.0, frames=5)
    people["left_hand_8"] = people["left_wrist"] + [0, -0.08, 0]  # towards the camera, which is at -y
    pose = film_motion(motion_of(people, WITH_HANDS), "a", "front", SIZE).pose
    depth = pose.hands[:, 0, 8, 2]
    per_metre = (
        np.linalg.norm(pose.keypoints[:, INDEX["left_knee"]] - pose.keypoints[:, INDEX["left_ankle"]], axis=1) / 0.41
    )
    np.testing.assert_allclose(depth, -0.08 * per_metre, rtol=0.15)


def test_somebody_who_walks_sideways_is_seen_from_aside_in_a_narrow_frame_only():
    people = walker(frames=90, turn=0.0, speed=0.0)
    moved = {name: place + np.linspace(0, 2.5, 90)[:, None] * [1, 0, 0] for name, place in people.items()}
    narrow = film_motion(motion_of(moved, BODY), "a", "auto", (640, 360))
    wide = film_motion(motion_of(moved, BODY), "a", "auto", (360, 1280))
    assert any("sideways" in line for line in narrow.lines)
    assert not any("sideways" in line for line in wide.lines)


def test_exchanged_sides_are_told_by_the_feet():
    people = walker()
    swapped = {name.replace("left", "x").replace("right", "left").replace("x", "right"): place
               for name, place in people.items()}  # fmt: skip
    assert not any("backwards" in line for line in whole_body(motion_of(people, BODY), "a").lines)
    assert any("backwards" in line for line in whole_body(motion_of(swapped, BODY), "a").lines)


def test_another_rate_never_changes_the_speed():
    people = walker(frames=101, fps=50)
    motion = motion_of(people, BODY, fps=50)
    for fps in (16, 24, 50, 60):
        moved = motion.at_rate(Fraction(fps), start=0.5, end=1.7)
        assert len(moved) / fps == pytest.approx(1.2, abs=1 / fps)
        times = 0.5 + np.arange(len(moved)) / fps
        for axis in range(3):
            wanted = np.interp(times, np.arange(101) / 50, people["left_wrist"][:, axis])
            np.testing.assert_allclose(moved.positions[:, BODY.index("left_wrist"), axis], wanted, atol=1e-4)
    with pytest.raises(PosegenError):
        motion.at_rate(Fraction(30), start=9.0)


def test_short_gaps_are_filled_and_long_ones_stay():
    people = walker(frames=60)
    motion = motion_of(people, BODY)
    motion.positions[10:17, 2] = np.nan
    motion.positions[30:45, 2] = np.nan
    motion.positions[58:, 2] = np.nan
    filled = motion.without_short_gaps()
    assert filled.known[:30].all()
    assert not filled.known[30:45, 2].any()
    assert not filled.known[58:, 2].any()
    half = (people["left_wrist"][9] + people["left_wrist"][17]) / 2
    np.testing.assert_allclose(filled.positions[13, 2], half, atol=1e-5)
    assert np.isnan(motion.positions[10, 2]).all()  # what was given is left as it is


@pytest.mark.parametrize(("fps", "usual"), [(24, 24), (60, 60), (120, 30), (200, 25), (100, 25), (240, 30), (128, 30)])
def test_very_high_rates_are_thinned_to_a_whole_part(fps, usual):
    assert usual_rate(Fraction(fps)) == usual


def test_periods_with_few_digits_are_the_rate_that_was_meant():
    assert rate_of_period("0.0166667") == 60
    assert rate_of_period("0.033367") == Fraction(30000, 1001)
    assert rate_of_period("0.05") == 20
    assert rate_of_period("-1") is None


def test_uneven_times_are_placed_where_they_belong():
    times = np.array([0, 0.04, 0.08, 0.12, 0.32, 0.36])
    rate, (values,), lines = even_times(times, (times * 10).astype(np.float32))
    assert rate == 25
    np.testing.assert_allclose(values, np.arange(10) * 0.4, atol=1e-5)
    assert lines
    rate, (values,), lines = even_times(np.round(np.arange(50) / 30, 2), np.arange(50.0))
    assert rate is not None
    assert (float(rate), len(values), lines) == (pytest.approx(30, rel=0.01), 50, ())


def test_points_of_an_image_keep_their_places_and_hands_their_depth():
    people = walker(turn=0.0, frames=12)
    places = np.stack([people[name] for name in WITH_HANDS], axis=1)
    pixels = np.stack([240 + 200 * places[..., 0], 400 - 200 * places[..., 2]], axis=2).astype(np.float32)
    depth = (200 * places[..., 1]).astype(np.float32)
    motion = Motion("test", tuple(WITH_HANDS), pixels, Fraction(1, 30), size=SIZE, depth=depth)
    pose = film_motion(motion, "a", "auto", (96, 64)).pose
    assert pose.size == SIZE
    np.testing.assert_allclose(
        pose.keypoints[:, INDEX["left_knee"]], pixels[:, WITH_HANDS.index("left_knee")], rtol=1e-5
    )
    np.testing.assert_allclose(pose.hands[:, 0, 8, 2], depth[:, WITH_HANDS.index("left_hand_8")], rtol=1e-5)
    fitted = film_motion(Motion("test", tuple(WITH_HANDS), pixels / 99, Fraction(1, 30)), "a", "auto", SIZE).pose
    seen = fitted.keypoints[fitted.scores >= SEEN]
    assert (seen >= 0).all()
    assert (seen <= SIZE[::-1]).all()
    assert np.ptp(seen[:, 1]) > 0.5 * SIZE[0]
    with pytest.raises(PosegenError, match="camera"):
        film_motion(motion, "a", "front", SIZE)
