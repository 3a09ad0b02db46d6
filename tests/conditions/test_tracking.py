"""Filling gaps."""

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from posegen.conditions.keypoints import PoseSequence
from posegen.conditions.tracking import fill_gaps, gaps


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
