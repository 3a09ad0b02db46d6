"""Smoothing of whole clips: what must stay as it is, and what must be mended."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.conditions import smoothing
from posegen.conditions.keypoints import BODY, BODY_NAMES, HANDS, INDEX, LEFT_HAND, PoseSequence
from posegen.conditions.smoothing import smooth_poses, whittaker

FPS = 24
_STANDING = {
    "nose": (0, -0.40), "eye": (0.02, -0.42), "ear": (0.04, -0.41), "shoulder": (0.1, -0.29), "elbow": (0.14, -0.12),
    "wrist": (0.16, 0.03), "hip": (0.06, 0.0), "knee": (0.06, 0.245), "ankle": (0.06, 0.49), "big_toe": (0.08, 0.53),
    "small_toe": (0.1, 0.52), "heel": (0.05, 0.52),
}  # fmt: skip
"""Of a person of height 1 who faces the camera, the left side."""


def standing(frames, height=400.0, place=(300.0, 300.0)):
    """A clip of somebody who stands still, with open hands."""
    points = np.zeros((frames, 133, 2))
    for name, index in INDEX.items():
        x, y = _STANDING[name.removeprefix("left_").removeprefix("right_")]
        points[:, index] = (-x if name.startswith("right") else x, y)
    fingers = np.array([(0.005 * (number % 5), 0.01 + 0.004 * number) for number in range(21)])
    for hand, wrist, side in zip(HANDS, ("left_wrist", "right_wrist"), (1, -1), strict=True):
        points[:, hand] = points[:, [INDEX[wrist]]] + fingers * (side, 1)
    points = points * height + place
    scores = np.full((frames, 133), 0.9, np.float32)
    scores[:, 23:91] = 0
    return sequence(points, scores)


def sequence(points, scores, fps=FPS):
    hands = np.stack([np.concatenate([points[:, hand], np.zeros((len(points), 21, 1))], -1) for hand in HANDS], 1)
    hands[np.stack([scores[:, hand].max(1) < 0.3 for hand in HANDS], 1)] = np.nan
    return PoseSequence(points.astype(np.float32), scores, hands.astype(np.float32), (600, 600), Fraction(fps))


def changed(pose, points=None, scores=None):
    return sequence(pose.keypoints.astype(float) if points is None else points,
                    pose.scores.copy() if scores is None else scores)  # fmt: skip


def mirrored_names(points, frames, names):
    """Left and right of these points exchanged, in these frames."""
    points = points.copy()
    for name in names:
        left, right = INDEX[f"left_{name}"], INDEX[f"right_{name}"]
        points[frames, left], points[frames, right] = points[frames, right].copy(), points[frames, left].copy()
    return points


def jitter(points):
    return np.linalg.norm(np.diff(points, 2, axis=0), axis=-1).mean()


def test_noise_becomes_less_and_the_person_stays():
    still = standing(60)
    random = np.random.default_rng(0)
    noisy = still.keypoints + random.normal(0, 3, still.keypoints.shape)
    smoothed, report = smooth_poses(changed(still, noisy))
    body = smoothed.keypoints[:, BODY]
    assert jitter(body) < 0.1 * jitter(noisy[:, BODY])
    truth = still.keypoints[:, BODY]
    assert np.abs(body - truth).mean() < 0.5 * np.abs(noisy[:, BODY] - truth).mean()
    assert (report.swapped, report.outliers, report.hands_filled) == (0, 0, 0)
    assert report.describe() is None


def test_steady_movement_is_not_delayed():
    """A person who walks on evenly: every point of every frame stays where it is."""
    walking = standing(50).keypoints + np.arange(50)[:, None, None] * np.array([5.0, 0.5])
    smoothed, _ = smooth_poses(changed(standing(50), walking))
    assert np.abs(smoothed.keypoints[:, :23] - walking[:, :23]).max() < 0.01
    assert np.abs(smoothed.hands[..., :2] - np.stack([walking[:, hand] for hand in HANDS], 1)).max() < 0.01


def test_a_quick_wave_keeps_its_size():
    """Two waves a second, 20 % of the height wide, at 24 frames/s."""
    points = standing(72).keypoints.astype(float)
    wave = 40 * np.sin(2 * np.pi * 2 * np.arange(72) / FPS)
    for index in (INDEX["left_wrist"], *range(91, 112)):
        points[:, index, 0] += wave
    smoothed, report = smooth_poses(changed(standing(72), points))
    kept = np.ptp(smoothed.keypoints[12:60, INDEX["left_wrist"], 0]) / np.ptp(wave)
    assert kept > 0.85
    assert report.outliers == 0


def test_backwards_in_time_is_the_same():
    random = np.random.default_rng(1)
    points = standing(40).keypoints + random.normal(0, 4, (40, 133, 2)).cumsum(0) * 0.3
    forwards, _ = smooth_poses(changed(standing(40), points))
    backwards, _ = smooth_poses(changed(standing(40), points[::-1]))
    assert np.allclose(forwards.keypoints, backwards.keypoints[::-1], atol=1e-2)


def test_a_long_scene_is_what_its_pieces_are(monkeypatch):
    random = np.random.default_rng(1)
    frames = 900
    sway = np.sin(np.arange(frames) / 9)[:, None, None] * 40
    points = standing(frames).keypoints + sway + random.normal(0, 2, (frames, 133, 2))
    points = mirrored_names(points, slice(590, 612), ["shoulder", "elbow", "wrist", "hip", "knee", "ankle"])
    points[605, INDEX["left_knee"]] += 200
    scores = standing(frames).scores.copy()
    scores[598:602, LEFT_HAND] = 0
    whole, told = smooth_poses(changed(standing(frames), points, scores))
    monkeypatch.setattr(smoothing, "PIECE", 300)
    pieces, told_of_pieces = smooth_poses(changed(standing(frames), points, scores))
    assert np.abs(pieces.keypoints - whole.keypoints).max() < 1e-2
    assert np.array_equal(pieces.scores, whole.scores)
    assert told_of_pieces == told
    assert told.swapped >= 20
    assert told.hands_filled == 4


@given(st.floats(0.3, 4), st.floats(-500, 500))
@settings(max_examples=10, deadline=None)
def test_scale_and_place_of_the_picture_do_not_matter(scale, shift):
    random = np.random.default_rng(2)
    points = standing(20).keypoints + random.normal(0, 4, (20, 133, 2))
    plain, _ = smooth_poses(changed(standing(20), points))
    moved, _ = smooth_poses(changed(standing(20), points * scale + shift))
    assert np.allclose(moved.keypoints[:, :23], plain.keypoints[:, :23] * scale + shift, atol=0.05 * scale)


@pytest.mark.parametrize("frames", [slice(20, 21), slice(15, 30)])
def test_exchanged_sides_are_put_right(frames):
    still = standing(60)
    names = [name.removeprefix("left_") for name in BODY_NAMES if name.startswith("left_")]
    for part in (names, ["hip", "knee", "ankle", "big_toe", "small_toe", "heel"]):
        wrong = mirrored_names(still.keypoints.astype(float), frames, part)
        smoothed, report = smooth_poses(changed(still, wrong))
        assert np.abs(smoothed.keypoints[:, BODY] - still.keypoints[:, BODY]).max() < 1
        assert report.swapped == len(range(*frames.indices(60)))
        assert "left and right exchanged" in report.describe()


def test_legs_that_cross_and_a_person_who_turns_are_left_alone():
    time = np.arange(72) / FPS
    points = standing(72).keypoints.astype(float)
    middle = points[..., 0].mean()
    turned = points.copy()  # a whole turn in three seconds: left and right cross over twice
    turned[..., 0] = middle + (points[..., 0] - middle) * np.cos(2 * np.pi * time / 3)[:, None]
    _, report = smooth_poses(changed(standing(72), turned))
    assert report.swapped == 0
    walking = points.copy()  # seen from the side: both legs swing through each other once a half second
    for side, sign in (("left", 1), ("right", -1)):
        for name, size in (("knee", 25), ("ankle", 60), ("hip", 3)):
            walking[:, INDEX[f"{side}_{name}"], 0] = middle + sign * size * np.sin(2 * np.pi * time)
    _, report = smooth_poses(changed(standing(72), walking))
    assert report.swapped == 0


def test_an_outlier_is_rejected_and_a_jump_of_the_whole_person_is_not():
    still = standing(40)
    points = still.keypoints.astype(float)
    points[17:19, INDEX["left_wrist"]] += (150, -80)
    smoothed, report = smooth_poses(changed(still, points))
    assert np.abs(smoothed.keypoints[:, INDEX["left_wrist"]] - still.keypoints[:, INDEX["left_wrist"]]).max() < 1
    assert report.outliers == 2
    points = still.keypoints.astype(float)
    points[20:] += (150, 0)
    smoothed, report = smooth_poses(changed(still, points), cuts=(20,))
    assert report.outliers == 0
    assert np.abs(smoothed.keypoints[:, BODY] - points[:, BODY]).max() < 0.1  # nothing is carried across the cut


def walking(time, speed=0.9):
    """Walks to the right, at this many heights a second."""
    points = standing(len(time)).keypoints.astype(float)
    points[..., 0] += 400 * speed * time[:, None]
    points[..., 1] += 8 * np.abs(np.sin(4 * np.pi * time))[:, None]
    return points


def waving(time, hertz=3.0):
    """Waves a forearm from side to side about the elbow."""
    points = standing(len(time)).keypoints.astype(float)
    angle = 0.9 * np.sin(2 * np.pi * hertz * time)
    wrist = points[:, INDEX["left_elbow"]] + 62 * np.stack([np.sin(angle), -np.cos(angle)], 1)
    points[:, LEFT_HAND] += (wrist - points[:, INDEX["left_wrist"]])[:, None]
    points[:, INDEX["left_wrist"]] = wrist
    return points


def kicking(time):
    """Kicks once with a straight leg, 90 degrees high, in a third of a second."""
    points = standing(len(time)).keypoints.astype(float)
    angle = 1.6 * np.exp(-(((time - time.mean()) / 0.117) ** 2))
    hip = points[:, INDEX["left_hip"]]
    for name, length in (("knee", 98), ("ankle", 196), ("heel", 200), ("big_toe", 205), ("small_toe", 205)):
        points[:, INDEX[f"left_{name}"]] = hip + length * np.stack([np.sin(angle), np.cos(angle)], 1)
    return points


def jumping(time):
    """Jumps once, for half a second."""
    points = standing(len(time)).keypoints.astype(float)
    points[..., 1] -= 400 * np.maximum(0.5 * 5.6 * (0.25**2 - (time - time.mean()) ** 2), 0)[:, None]
    return points


def spinning(time):
    """Turns round twice a second."""
    points = standing(len(time)).keypoints.astype(float)
    points[..., 0] = 300 + (points[..., 0] - 300) * np.cos(4 * np.pi * time)[:, None]
    return points


@pytest.mark.parametrize("fps", [24, 60])
@pytest.mark.parametrize("movement", [walking, waving, kicking, jumping, spinning])
def test_fast_movements_have_no_outliers(movement, fps):
    points = movement(np.arange(2 * fps) / fps)
    noisy = points + np.random.default_rng(0).normal(0, 0.4, points.shape)
    smoothed, report = smooth_poses(sequence(noisy, standing(len(points)).scores, fps))
    assert (report.outliers, report.swapped) == (0, 0)
    assert np.abs(smoothed.keypoints[:, BODY] - points[:, BODY]).max() < 0.05 * 400


@pytest.mark.parametrize("fps", [24, 60])
@pytest.mark.parametrize("movement", [walking, waving, jumping, spinning])
def test_doubled_and_missing_frames_have_no_outliers(movement, fps):
    time = np.arange(2 * fps) / fps
    doubled = np.arange(len(time))
    doubled[10::7] -= 1
    missing = np.delete(np.arange(len(time)), np.arange(10, len(time), 7))
    for shown in (doubled, missing):
        points = movement(time)[shown]
        _, report = smooth_poses(sequence(points, standing(len(points)).scores, fps))
        assert report.outliers == 0


@pytest.mark.parametrize("fps", [24, 30, 60])
@pytest.mark.parametrize("movement", [walking, jumping, spinning])
def test_outliers_of_somebody_who_moves_are_mended(movement, fps):
    truth = movement(np.arange(2 * fps) / fps)
    random = np.random.default_rng(2)
    for name in ("left_shoulder", "right_hip", "right_knee", "left_elbow"):
        points, first = truth.copy(), int(random.integers(8, len(truth) - 10))
        jump = random.uniform(0.4, 0.51) * 400
        direction = random.uniform(0, 2 * np.pi)
        wrong = slice(first, first + round(0.04 * fps) + 1)
        points[wrong, INDEX[name]] += jump * np.array([np.cos(direction), np.sin(direction)])
        smoothed, report = smooth_poses(sequence(points, standing(len(points)).scores, fps))
        assert report.outliers == len(points[wrong])
        assert np.abs(smoothed.keypoints[:, INDEX[name]] - truth[:, INDEX[name]]).max() < 0.05 * 400


@pytest.mark.parametrize(
    "names", [("hip", "knee", "ankle", "big_toe", "small_toe", "heel"), ("eye", "ear"), ("shoulder", "elbow", "wrist")]
)
def test_parts_that_face_another_way_than_the_body_are_put_right_from_the_first_frame(names):
    """Exchanged in the first half of the clip: movement alone could not tell which half is wrong."""
    still = standing(40)
    wrong = mirrored_names(still.keypoints.astype(float), slice(0, 24), names)
    smoothed, report = smooth_poses(changed(still, wrong))
    assert report.swapped == 24
    assert np.abs(smoothed.keypoints[:, BODY] - still.keypoints[:, BODY]).max() < 1


def test_short_gaps_are_filled_and_long_ones_are_not():
    moving = standing(48).keypoints + np.arange(48)[:, None, None] * np.array([3.0, 0])
    scores = standing(48).scores.copy()
    knee, elbow = INDEX["left_knee"], INDEX["right_elbow"]
    scores[10:14, knee] = 0
    scores[10:30, elbow] = 0
    broken = moving.copy()
    broken[scores == 0] = 0
    smoothed, _ = smooth_poses(changed(standing(48), broken, scores))
    assert (smoothed.scores[:, knee] == np.float32(0.9)).all()
    assert np.abs(smoothed.keypoints[:, knee] - moving[:, knee]).max() < 0.1
    assert (smoothed.scores[10:30, elbow] == 0).all()


def test_nothing_is_made_up_while_the_person_is_away():
    still = standing(60)
    scores = still.scores.copy()
    scores[20:40] = 0
    points = still.keypoints.astype(float)
    points[20:40] = 0
    points[40:] += 200  # they come back elsewhere
    smoothed, _ = smooth_poses(changed(still, points, scores))
    assert (smoothed.scores[20:40] == 0).all()
    assert np.abs(smoothed.keypoints[:20, BODY] - points[:20, BODY]).max() < 0.1
    assert np.abs(smoothed.keypoints[40:, BODY] - points[40:, BODY]).max() < 0.1
    empty, report = smooth_poses(changed(still, np.zeros_like(points), np.zeros_like(scores)))
    assert not empty.scores.any()
    assert report.describe() is None


def test_a_hand_lost_for_a_moment_goes_with_its_wrist():
    points = standing(40).keypoints.astype(float)
    sweep = 30 * np.sin(np.arange(40) / 3)
    for index in (INDEX["left_wrist"], *range(91, 112)):
        points[:, index, 1] += sweep
    scores = standing(40).scores.copy()
    scores[15:20, LEFT_HAND] = 0
    broken = points.copy()
    broken[15:20, LEFT_HAND] = 0
    smoothed, report = smooth_poses(changed(standing(40), broken, scores))
    assert report.hands_filled == 5
    assert np.abs(smoothed.keypoints[:, LEFT_HAND] - points[:, LEFT_HAND]).max() < 8
    assert np.isfinite(smoothed.hands).all()
    assert np.allclose(smoothed.hands[:, 0, :, :2], smoothed.keypoints[:, LEFT_HAND], atol=0.5)


def test_one_hand_found_twice_stays_with_its_own_wrist():
    still = standing(40)
    points = still.keypoints.astype(float)
    points[:, 112:133] = points[:, LEFT_HAND] + 0.5  # the right hand is the left one
    smoothed, _ = smooth_poses(changed(still, points))
    assert (smoothed.scores[:, LEFT_HAND] > 0).all()
    assert (smoothed.scores[:, 112:133] == 0).all()
    assert np.isnan(smoothed.hands[:, 1]).all()


@given(st.integers(0, 2**31), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_whatever_is_seen_stays_finite(seed, frames):
    random = np.random.default_rng(seed)
    points = random.uniform(-1e5, 1e5, (frames, 133, 2))
    scores = (random.random((frames, 133)) * (random.random((frames, 133)) < 0.6)).astype(np.float32)
    smoothed, _ = smooth_poses(sequence(points, scores))
    assert np.isfinite(smoothed.keypoints).all()
    assert ((smoothed.scores >= 0) & (smoothed.scores <= 1)).all()


def test_whittaker_solves_its_normal_equations():
    random = np.random.default_rng(3)
    values, weights, stiffness = random.normal(size=(12, 2)), random.random(12), random.random(12) * 5
    weights[[3, 4]] = 0
    second = np.diff(np.eye(12), 2, axis=0)
    matrix = np.diag(weights) + second.T @ np.diag(stiffness[1:-1]) @ second
    expected = np.linalg.solve(matrix, weights[:, None] * values)
    assert np.allclose(whittaker(values, weights, stiffness), expected)
