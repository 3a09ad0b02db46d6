"""Backgrounds and persons whose drift is known."""

import numpy as np
import pytest

from posegen.evaluate.metrics.appearance import describe_appearance
from posegen.evaluate.metrics.steadiness import (
    background_difference,
    mean_background,
    windowed_appearance_distance,
    windowed_background_difference,
)


def room(count, seed=0):
    frames = np.broadcast_to(np.random.default_rng(seed).integers(50, 150, (1, 40, 40, 3)), (count, 40, 40, 3))
    person = np.zeros((count, 40, 40), bool)
    for number in range(count):
        person[number, 10:30, number % 10 : number % 10 + 8] = True
    frames = frames.copy().astype(np.uint8)
    frames[person] = 255
    return frames, person


def test_the_person_does_not_count():
    frames, person = room(40)
    mean = mean_background(frames, person)
    clean, _ = room(1, 0)
    known = np.isfinite(mean[..., 0])
    assert known.mean() > 0.5
    assert not known[15, 8]  # somebody was always near
    assert np.allclose(mean[known & ~person[0]], clean[0][known & ~person[0]])
    assert background_difference(frames, person, [range(20), range(20, 40)]) == [0.0]


def test_a_shifted_colour_is_the_difference():
    frames, person = room(60)
    frames[20:40] += 7
    frames[40:60, ..., 0] += 9
    parts = [range(20), range(20, 40), range(40, 60)]
    assert background_difference(frames, person, parts) == pytest.approx([7.0, 3.0])
    assert windowed_background_difference(frames, person, 20) == pytest.approx([0.0, 7.0, 3.0])


def test_no_common_background_is_not_zero():
    frames, person = room(20)
    person[10:] = True
    assert np.isnan(background_difference(frames, person, [range(10), range(10, 20)])).all()


def test_a_changing_shirt_is_drift():
    keypoints, scores = np.zeros((40, 133, 2), np.float32), np.zeros((40, 133), np.float32)
    for index, place in {5: (14, 12), 6: (26, 12), 11: (16, 30), 12: (24, 30)}.items():  # shoulders and hips
        keypoints[:, index], scores[:, index] = place, 1.0
    frames = np.full((40, 40, 40, 3), 120, np.uint8)
    reference = describe_appearance(frames[:1], keypoints[:1], scores[:1])
    frames[20:] = (200, 60, 60)
    near, far = windowed_appearance_distance(frames, keypoints, scores, reference, 20)
    assert near == pytest.approx(0.0, abs=1e-6)
    assert far > 20
