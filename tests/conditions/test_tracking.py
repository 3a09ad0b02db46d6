"""Following one person, and filling gaps."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.conditions.keypoints import PersonPose, PoseSequence
from posegen.conditions.tracking import Tracker, fill_gaps, gaps


def person(x, height=100.0, y=200.0):
    """Somebody whose 17 body points fill a box around (x, y)."""
    points = np.zeros((133, 2), np.float32)
    points[:17, 0] = x + np.linspace(-0.2, 0.2, 17) * height
    points[:17, 1] = y + np.linspace(-0.5, 0.5, 17) * height
    scores = np.zeros(133, np.float32)
    scores[:17] = 1
    return PersonPose(points, scores)


def test_the_largest_is_chosen_first_and_then_the_nearest():
    tracker = Tracker(640)
    assert tracker.choose([person(100), person(500, height=150)]).center[0] == pytest.approx(500)
    # the other one grows and they cross: still the same person
    for step in range(30):
        mine, other = 500 - 10 * step, 100 + 10 * step
        chosen = tracker.choose([person(other, height=200, y=260), person(mine, height=150)])
        assert chosen.center[0] == pytest.approx(mine)
    assert tracker.most_people == 2
    assert tracker.first_x == pytest.approx(500 / 640)


def test_somebody_far_away_is_not_the_person_who_left():
    tracker = Tracker(640)
    tracker.choose([person(100)])
    assert tracker.choose([person(500)]) is None
    assert tracker.choose([]) is None
    assert tracker.choose([person(120)]).center[0] == pytest.approx(120)


def sequence(seen):
    frames = len(seen)
    keypoints = np.repeat(np.arange(frames, dtype=np.float32), 133 * 2).reshape(frames, 133, 2) * 3
    scores = np.where(np.array(seen)[:, None], 0.9, 0.0).astype(np.float32).repeat(133, axis=1)
    keypoints[~np.array(seen)] = 0
    hands = np.repeat(keypoints[:, :1, :1], 42 * 3, axis=2).reshape(frames, 2, 21, 3)
    return PoseSequence(keypoints, scores, hands, (100, 100), Fraction(10))


def test_short_gaps_are_interpolated_long_ones_stay_empty():
    seen = [True, False, False, True, *[False] * 6, True, False]
    filled = fill_gaps(sequence(seen), np.array(seen), max_seconds=0.5)
    assert np.allclose(filled.keypoints[:4, 0, 0], [0, 3, 6, 9])
    assert np.allclose(filled.hands[:4, 0, 0, 0], [0, 3, 6, 9])
    assert (filled.scores[:4] == np.float32(0.9)).all()
    assert (filled.scores[4:10] == 0).all()
    assert (filled.scores[11] == 0).all()


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_gaps_lie_between_sightings(seen):
    found = gaps(np.array(seen))
    inside = {frame for before, after in found for frame in range(before + 1, after)}
    sightings = [frame for frame, here in enumerate(seen) if here]
    expected = {f for f, here in enumerate(seen) if not here and sightings and sightings[0] < f < sightings[-1]}
    assert inside == expected
    assert all(seen[before] and seen[after] for before, after in found)
