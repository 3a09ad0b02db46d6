"""Laws of retargeting: what must stay, what must change, and what need not be there."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from people import clip_of, one, scaled, walk, without
from posegen.conditions import keypoints
from posegen.conditions.keypoints import FACE, HANDS, INDEX, SEEN
from posegen.conditions.placing import core_points, outside_frame
from posegen.conditions.proportions import GROUPS, bone_vectors, compare
from posegen.conditions.retargeting import align, describe_outside, retarget

LARGE = (4000, 4000)
POINTS = np.r_[0:23, 91:133]
CHARACTER = {"thighs": 0.6, "shanks": 0.55, "upper arms": 0.7, "forearms": 0.75, "head": 1.7, "neck": 1.3, "feet": 1.4}
"""Short legs and arms, a large head."""


def lengths(pose, group):
    """Of a group's bones in each frame."""
    found = [bone_vectors(pose.keypoints.astype(float), pose.scores >= SEEN, bone) for bone in GROUPS[group]]
    return np.stack([np.where(seen, np.linalg.norm(vectors, axis=1), np.nan) for vectors, seen in found])


def away(pose, other, points=POINTS):
    return np.linalg.norm(pose.keypoints[:, points] - other.keypoints[:, points], axis=-1)


def lowest_foot(pose):
    return pose.keypoints[:, [INDEX[f"{side}_heel"] for side in ("left", "right")], 1].max(axis=1)


@pytest.mark.parametrize("frame", [0, 7, 18, 33])
def test_the_driving_person_as_reference_moves_nothing(frame):
    driving = walk(48, step=4.0)
    moved = retarget(driving, one(driving, frame))
    assert away(moved.pose, driving).mean() < 2  # pixels; the person is 400 tall
    assert away(moved.pose, driving).max() < 8
    assert "scaled by 1.0" in moved.report


def test_a_character_makes_the_movement_with_its_own_body():
    driving, truth = walk(48), walk(48, CHARACTER, place=(300, 300 + 400 * (0.49 - 0.282)))
    for frame in (0, 10, 25):
        moved, aligned = retarget(driving, one(truth, frame)), align(driving, one(truth).box, one(truth, frame))
        assert away(moved.pose, truth).mean() < 0.25 * away(aligned.pose, truth).mean()
        for group in GROUPS:
            ratio = np.nanmedian(lengths(moved.pose, group) / lengths(truth, group))
            assert abs(ratio - 1) < (0.08 if group == "head" else 0.05), group  # whose lengths are 8 pixels


@given(st.floats(0.4, 2.5), st.floats(-300, 300))
@settings(max_examples=8, deadline=None)
def test_scale_and_place_of_the_reference_are_taken(scale, shift):
    driving, reference = walk(24, size=LARGE), walk(24, CHARACTER, size=LARGE)
    plain = retarget(driving, one(reference, 5))
    other = retarget(driving, one(scaled(reference, scale, (900 + shift, 900)), 5))
    expected = plain.pose.keypoints * scale + (900 + shift, 900)
    # what the clip's own place does to the anchor is a shift; shapes and sizes must agree
    difference = other.pose.keypoints[:, POINTS] - expected[:, POINTS]
    assert np.abs(difference - np.median(difference, axis=(0, 1))).max() < 0.02 * 400 * scale


@given(st.floats(0.4, 2.5), st.floats(-300, 300))
@settings(max_examples=8, deadline=None)
def test_scale_and_place_of_the_driving_video_do_not_matter(scale, shift):
    driving, reference = walk(24, size=LARGE), one(walk(24, CHARACTER, place=(1200, 1300), size=LARGE), 3)
    plain = retarget(driving, reference).pose.keypoints[:, POINTS]
    other = retarget(scaled(driving, scale, (900 + shift, 900)), reference).pose.keypoints[:, POINTS]
    difference = other - plain
    assert np.abs(difference - np.median(difference, axis=(0, 1))).max() < 0.02 * 400


def test_a_person_who_walks_to_the_camera_still_grows():
    growth = np.linspace(0.7, 1.6, 96)
    driving = scaled(walk(96, size=LARGE, place=(300, 300)), growth)
    for reference in (one(walk(1, size=LARGE)), one(walk(1, CHARACTER, size=LARGE, height=800))):
        moved = retarget(driving, reference)
        for group in ("torso", "shoulders", "shanks"):
            before, after = (np.nanmean(lengths(pose, group), axis=0) for pose in (driving, moved.pose))
            assert np.allclose(after / after[0], before / before[0], rtol=0.02)
    assert 0.95 < lengths(retarget(driving, one(walk(1, size=LARGE))).pose, "torso")[0, 33] / (0.29 * 400) < 1.05


def test_feet_that_stand_stand_on_the_references_ground():
    driving = walk(48, size=LARGE, step=5.0)
    reference = walk(48, CHARACTER, place=(800, 1200), size=LARGE)
    moved = retarget(driving, one(reference))
    assert np.abs(lowest_foot(moved.pose) - lowest_foot(reference)[0]).max() < 8
    legs = (lengths(reference, "thighs") / lengths(driving, "thighs")).mean()
    speed = np.diff(moved.pose.keypoints[:, [INDEX["left_hip"], INDEX["right_hip"]], 0].mean(axis=1))
    assert speed == pytest.approx(5.0 * legs, rel=0.05)  # as far as such legs carry


def test_a_jump_is_a_jump():
    points = walk(48, size=LARGE).keypoints.astype(float)
    jump = 80 * np.maximum(np.sin(np.linspace(0, 3 * np.pi, 48)), 0)
    driving = clip_of(points - jump[:, None, None] * [0, 1], walk(48).scores, LARGE)
    moved = retarget(driving, one(walk(1, size=LARGE, height=800, place=(900, 1200))))
    plain = retarget(walk(48, size=LARGE), one(walk(1, size=LARGE, height=800, place=(900, 1200))))
    rise = lowest_foot(plain.pose) - lowest_foot(moved.pose)
    assert np.corrcoef(rise, jump)[0, 1] > 0.99
    assert np.ptp(rise) == pytest.approx(160, rel=0.1)


@pytest.mark.parametrize("legless", ["reference", "driving", "both"])
def test_legs_need_not_be_there(legless):
    legs = ("hip", "knee", "ankle", "toe", "heel")
    driving, truth = walk(48, size=LARGE), walk(48, {"forearms": 1.2, "torso": 0.9}, height=600, size=LARGE)
    shown = without(driving, *legs) if legless != "reference" else driving
    reference = one(without(truth, *legs) if legless != "driving" else truth, 6)
    moved = retarget(shown, reference)
    for group in ("shoulders", "neck", "upper arms", "forearms"):
        ratio = np.nanmedian(lengths(moved.pose, group) / lengths(truth, group))
        assert abs(ratio - 1) < 0.05, group
    neck = moved.pose.keypoints[:, [INDEX["left_shoulder"], INDEX["right_shoulder"]]].mean(axis=1)
    assert np.abs(neck - truth.keypoints[0, [INDEX["left_shoulder"], INDEX["right_shoulder"]]].mean(axis=0)).max() < 12
    if legless == "reference":  # legs are as long as the rest says
        assert np.nanmedian(lengths(moved.pose, "thighs") / lengths(driving, "thighs")) == pytest.approx(1.5, rel=0.1)
    else:
        assert (moved.pose.scores[:, INDEX["left_knee"]] == 0).all()


def test_hands_go_with_their_wrists_and_forearms():
    driving, truth = walk(48, size=LARGE), walk(48, {"forearms": 1.3}, height=500, size=LARGE)
    moved = retarget(driving, one(truth, 4))
    for side, hand in enumerate(HANDS):
        assert np.median(away(moved.pose, truth, np.r_[hand])) < 5
        scale, shift = moved.hands[:, side, :1], moved.hands[:, side, 1:]
        expected = scale[:, None] * driving.keypoints[:, hand] + shift[:, None]
        assert np.allclose(moved.pose.keypoints[:, hand], expected, atol=0.1)
        assert np.allclose(moved.pose.hands[:, side, :, :2], expected, atol=0.1)


def test_an_arm_that_points_at_the_camera_is_not_short():
    """The reference's left forearm is foreshortened to a third: the right one tells."""
    driving, reference = walk(48), walk(1, height=500)
    points = reference.keypoints.astype(float)
    elbow, wrist = INDEX["left_elbow"], INDEX["left_wrist"]
    points[:, wrist] = points[:, elbow] + (points[:, wrist] - points[:, elbow]) / 3
    ratios = compare(driving, one(clip_of(points, reference.scores.copy()))).ratios
    assert ratios["forearms"] == pytest.approx(1.25, rel=0.06)


def test_only_a_face():
    driving, reference = (
        without(walk(24, height=height), "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe", "heel")
        for height in (400.0, 600.0)
    )
    for shown in (driving, walk(24)):
        moved = retarget(shown, one(reference))
        head = np.r_[0:5]
        assert np.abs(moved.pose.keypoints[:, head] - reference.keypoints[:1, head]).max() < 6
        assert (moved.pose.scores[:, FACE] == 0).all()


def test_frames_without_the_person_stay_empty_and_all_is_finite():
    driving = walk(48)
    points, scores = driving.keypoints.copy(), driving.scores.copy()
    points[15:25], scores[15:25] = 0, 0
    scores[30:34, INDEX["left_shoulder"]] = 0
    scores[36:40, [INDEX["left_shoulder"], INDEX["right_shoulder"]]] = 0
    moved = retarget(clip_of(points, scores), one(driving, 3))
    assert (moved.pose.scores[15:25] == 0).all()
    assert np.isfinite(moved.pose.keypoints).all()
    seen = [INDEX[name] for name in ("nose", "left_elbow", "right_wrist", "left_ankle")]
    assert away(moved.pose, driving, seen)[25:].max() < 12


def test_a_back_view_keeps_its_sides():
    """Turned away, the left shoulder is at the left of the picture; the reference faces the camera."""
    driving, reference = walk(24), one(walk(1, height=500))
    points = driving.keypoints.astype(float)
    points[..., 0] = 600 - points[..., 0]
    moved = retarget(clip_of(points, driving.scores.copy()), reference).pose.keypoints
    assert (moved[:, INDEX["left_shoulder"], 0] < moved[:, INDEX["right_shoulder"], 0]).all()
    assert (moved[:, INDEX["left_hip"], 0] < moved[:, INDEX["right_hip"], 0]).all()


def test_nothing_in_common_is_nothing():
    head = without(walk(12), "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe", "heel")
    legs = without(walk(12), "nose", "eye", "ear", "shoulder", "elbow", "wrist")
    assert retarget(head, one(legs)) is None
    nobody = clip_of(np.zeros((12, 133, 2)), np.zeros((12, 133)))
    assert retarget(nobody, one(walk(1))) is None
    assert align(nobody, (0.0, 0.0, 10.0, 10.0)) is None


def test_points_far_outside_the_picture_are_not_seen_but_keep_their_place():
    driving = walk(24)
    moved = retarget(driving, one(walk(1, height=900, place=(300, 500)))).pose
    margin = 0.1 * 900
    legs = [INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("knee", "ankle")]
    outside = (moved.keypoints[:, legs] < -margin).any(axis=-1) | (
        moved.keypoints[:, legs] > np.array((600, 700)) + margin
    ).any(axis=-1)
    assert outside.any()
    assert (moved.scores[:, legs][outside] == -driving.scores[:, legs][outside]).all()


def test_a_point_estimated_outside_the_picture_is_drawn_where_retargeting_moves_it_in():
    driving = walk(24)
    scores = driving.scores.copy()
    elbow = INDEX["left_elbow"]
    scores[:, elbow] *= -1
    moved = retarget(clip_of(driving.keypoints, scores), one(walk(1))).pose
    assert (moved.scores[:, elbow] > 0).all()


def test_boxes_are_aligned():
    driving = walk(24)
    moved = align(driving, (0.0, 0.0, 0.0, 0.0), one(walk(1, height=600, place=(280, 330))))
    expected = scaled(driving, 1.5, (280 - 450, 330 - 450))
    assert away(moved.pose, expected).max() < 12
    into = align(driving, (100.0, 100.0, 200.0, 400.0)).pose
    trunk = [INDEX[name] for name in ("nose", "left_eye", "left_shoulder", "left_hip", "left_ankle", "right_ankle")]
    assert into.keypoints[:, trunk].min() > 90
    assert into.keypoints[:, trunk].max() < 420


@given(st.integers(0, 2**31), st.integers(1, 10))
@settings(max_examples=30, deadline=None)
def test_whatever_is_seen_stays_finite(seed, frames):
    random = np.random.default_rng(seed)
    clips = []
    for count in (frames, 1):
        points = random.uniform(-1000, 2000, (count, 133, 2))
        clips.append(clip_of(points, random.random((count, 133)) * (random.random((count, 133)) < 0.6)))
    moved = retarget(clips[0], one(clips[1]))
    if moved is not None:
        assert np.isfinite(moved.pose.keypoints).all()
        assert np.isfinite(moved.hands).all()


@pytest.mark.parametrize("seen", [slice(0), slice(5, 7), slice(11, 23)], ids=["all", "no shoulders", "no legs"])
def test_pieces_are_the_whole(monkeypatch, seen):
    driving = walk(60, step=2.0)
    driving.scores[:, seen] = 0
    driving.scores[20:30] = 0
    reference = one(walk(60, CHARACTER), 7)
    ways = (lambda: retarget(driving, reference), lambda: align(driving, reference.box, reference))
    whole = [way() for way in ways]
    monkeypatch.setattr(keypoints, "PIECE", 7)
    for way, expected in zip(ways, whole, strict=True):
        found = way()
        assert found.report == expected.report
        assert np.array_equal(found.hands, expected.hands)
        for name in ("keypoints", "scores", "hands"):
            assert np.array_equal(getattr(found.pose, name), getattr(expected.pose, name), equal_nan=True)


@pytest.mark.parametrize("mode", ["full", "align"])
def test_memory_is_little_more_than_the_result(monkeypatch, mode):
    monkeypatch.setattr(keypoints, "PIECE", 250)
    driving, reference = walk(10_000), one(walk(60, CHARACTER), 7)
    tracemalloc.start()
    moved = retarget(driving, reference) if mode == "full" else align(driving, reference.box, reference)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * sum(values.nbytes for values in (moved.pose.keypoints, moved.pose.scores, moved.pose.hands))


def outside(moved):
    points, shown = core_points(moved.pose.keypoints.astype(np.float64), np.ones((len(moved.pose), 133), bool))
    return float((outside_frame(points, moved.pose.size) & shown).mean())


@pytest.mark.parametrize("mode", ["full", "align"])
def test_a_person_who_would_leave_the_frame_is_shifted_and_it_is_said(mode):
    """The reference, in the pose of an early frame, stands at the right; the driving person walks farther right."""
    pose = walk(24, height=300, place=(150, 300), step=12)  # 276 pixels
    reference = walk(24, height=300, place=(520, 300))[2]
    moved = retarget(pose, reference) if mode == "full" else align(pose, reference.box, reference)
    assert outside(moved) == 0
    assert "left to stay in the frame" in moved.report
    assert describe_outside(moved.pose, pose.scores) is None
    assert abs(moved.pose[0].extent / reference.extent - 1) < 0.2  # the size stays


def test_a_person_who_stays_in_the_frame_stands_where_the_reference_does():
    reference = walk(1, height=300, place=(520, 300))[0]
    moved = retarget(walk(24, height=300, place=(150, 300)), reference)
    assert "stay in the frame" not in moved.report
    assert abs(moved.pose.keypoints[:, 0, 0] - 520).max() < 5


def test_a_person_too_large_a_way_for_the_frame_is_reported_with_the_share():
    reference = walk(1, height=600, place=(300, 400))[0]
    pose = walk(96, height=150, place=(60, 300), step=5)  # 475 pixels, four times that as large as the reference
    moved = retarget(pose, reference)
    assert moved.pose.scores.shape == pose.scores.shape
    line = describe_outside(moved.pose, pose.scores)
    x = moved.pose.keypoints[:, INDEX["nose"], 0]
    share = float(((x < -0.5) | (x > 599.5)).mean())
    assert 0.2 < share < 0.8
    assert f"the head in {100 * share:.0f} %" in line


def test_up_and_down_nobody_who_stands_is_shifted_for_a_few_frames():
    """A jump out of the frame must not lift the feet off the ground in the whole clip."""
    reference = walk(1, height=400, place=(300, 380))[0]
    pose = walk(48, height=400, place=(300, 380))
    pose.keypoints[20:24, :, 1] -= 300
    moved = retarget(pose, reference)
    assert "stay in the frame" not in moved.report
    assert describe_outside(moved.pose, pose.scores) is not None
