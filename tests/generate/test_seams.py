"""Flicker and colours of videos whose seams are known."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest

from posegen.conditions import keypoints
from posegen.conditions.keypoints import PoseSequence, empty_hands
from posegen.generate.seams import SeamReport, person_boxes, seam_transitions, watch_seams
from posegen.generate.segments import plan_segments
from posegen.media.fitting import plan_fit


def measure(frames, plan, boxes=None):
    report = SeamReport(plan)
    passed = list(watch_seams(iter(frames), report, boxes))
    assert all(a is b for a, b in zip(passed, frames, strict=True))
    return report


def moving(count):
    """A wave that wanders: every step is alike."""
    column = np.arange(64)[None, :, None] / 64
    waves = [100 + 80 * np.sin(2 * np.pi * (column + number / 32)) for number in range(count)]
    return [np.broadcast_to(wave, (48, 64, 3)).astype(np.uint8) for wave in waves]


def test_transitions_of_a_plan():
    plan = plan_segments(60, 33, 9, 8)  # 0-33, 24-57, 49-82
    assert seam_transitions(plan) == [range(23, 33), range(48, 57)]
    assert seam_transitions(plan_segments(60, 33, 9, 8, "independent")) == [range(32, 33)]
    assert seam_transitions(plan_segments(33, 33, 9, 8)) == []


def test_an_even_video_has_no_flicker():
    plan = plan_segments(60, 33, 9, 8)
    report = measure(moving(60), plan)
    assert report.flicker() == pytest.approx([1.0, 1.0], abs=0.1)
    assert len(report.change) == 59
    assert report.describe().startswith("seams: frames change 1.0")


def test_a_jump_at_a_seam_is_found_there_and_only_there():
    plan = plan_segments(66, 33, 9, 8, "independent")
    frames = moving(66)
    jumped = frames[:33] + [np.clip(frame.astype(int) + 40, 0, 255).astype(np.uint8) for frame in frames[33:]]
    assert measure(jumped, plan).flicker()[0] > 3
    two = SeamReport(
        plan_segments(99, 33, 9, 8, "independent"), change=[1.0] * 32 + [2.0] + [1.0] * 32 + [4.0] + [1.0] * 32
    )
    assert two.flicker() == [2.0, 4.0]
    assert two.describe().startswith("seams: frames change 3.00 times as much as elsewhere (4.00 at the liveliest")
    inside = frames[:10] + [np.clip(frame.astype(int) + 40, 0, 255).astype(np.uint8) for frame in frames[10:]]
    assert measure(inside, plan).flicker()[0] == pytest.approx(1.0, abs=0.1)


def test_a_still_video_has_nothing_to_compare_with():
    report = measure([np.zeros((8, 8, 3), np.uint8)] * 66, plan_segments(66, 33, 9, 8, "independent"))
    assert np.isnan(report.flicker()).all()
    assert report.describe() is None
    assert report.as_json()["seam_flicker"] == [None]


def test_drift_is_that_of_the_background():
    """A segment's background turns redder; the person, who turns redder too, does not count."""
    plan = plan_segments(66, 33, 9, 8, "independent")
    frames = [np.full((40, 40, 3), 100, np.uint8) for _ in range(66)]
    boxes = np.tile([10.0, 10.0, 30.0, 30.0], (66, 1))
    for frame in frames[33:]:
        frame[..., 0] += 6
        frame[10:30, 10:30] = 255
    report = measure(frames, plan, boxes)
    assert report.colour_drift() == pytest.approx(6.0)
    first, second = report.segment_colours()
    assert first["background"] == pytest.approx([0, 0, 0])
    assert second["background"] == pytest.approx([6, 0, 0])
    assert second["mean"][0] > 106
    boxes[:] = [0, 0, 40, 40]  # nothing is outside: nothing is claimed
    assert measure(frames, plan, boxes).colour_drift() == 0.0
    assert measure(frames, plan).colour_drift() > 6.0


def test_a_person_who_goes_elsewhere_is_no_drift():
    """Only what shows as background in both segments is compared: a half-red wall stays as it is."""
    plan = plan_segments(66, 33, 9, 8, "independent")
    wall = np.full((40, 40, 3), 100, np.uint8)
    wall[:, 20:, 0] = 200
    boxes = np.array([[0.0, 0, 25, 40]] * 33 + [[5.0, 0, 30, 40]] * 33)
    assert measure([wall] * 66, plan, boxes).colour_drift() == 0.0


def test_boxes_hold_what_is_seen():
    points, scores = np.zeros((3, 133, 2), np.float32), np.zeros((3, 133), np.float32)
    points[0, :2], scores[0, :2] = [[20, 40], [60, 120]], 0.9
    points[2, 5], scores[2, 5] = [500, 500], 0.1  # not sure enough
    pose = PoseSequence(points, scores, np.stack([empty_hands()] * 3), (200, 200), Fraction(16))
    boxes = person_boxes(pose, plan_fit((200, 200), (100, 100), "crop"))
    assert boxes[0] == pytest.approx([4, 14, 36, 66], abs=0.3)
    assert np.isnan(boxes[1:]).all()


def test_boxes_of_a_long_clip_take_little_memory(monkeypatch):
    random, frames = np.random.default_rng(0), 10_000
    points = random.uniform(0, 200, (frames, 133, 2)).astype(np.float32)
    scores = np.repeat(random.random((frames, 1)) < 0.9, 133, axis=1).astype(np.float32)
    pose = PoseSequence(points, scores, np.stack([empty_hands()] * frames), (200, 200), Fraction(16))
    fit = plan_fit((200, 200), (100, 100), "crop")
    whole = person_boxes(pose, fit)
    monkeypatch.setattr(keypoints, "PIECE", 300)
    tracemalloc.start()
    boxes = person_boxes(pose, fit)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert np.array_equal(boxes, whole, equal_nan=True)
    assert peak < points.nbytes
