"""Constant-rate resampling as arithmetic."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.errors import PosegenError
from posegen.media.timing import as_rate, average_rate, resample

RATES = st.sampled_from([Fraction(n, d) for n, d in ((24000, 1001), (24, 1), (25, 1), (30, 1), (60000, 1001), (10, 3))])


def constant_times(rate, count):
    return np.arange(count) / float(rate)


@given(RATES, st.integers(1, 5000), st.floats(0, 0.4), st.integers(0, 2**32 - 1))
def test_own_rate_gives_every_frame_once_whatever_the_jitter(rate, count, jitter, seed):
    times = constant_times(rate, count)
    times[1:] += np.random.default_rng(seed).uniform(-jitter, jitter, count - 1) / float(rate)
    assert resample(times, count / float(rate), rate).tolist() == list(range(count))


@given(RATES, st.integers(2, 5000))
def test_rate_survives_rounding_to_milliseconds(rate, count):
    times = np.round(constant_times(rate, count), 3)
    found = average_rate(times, [rate + Fraction(1, 50)])
    assert resample(times, count / float(rate), found).tolist() == list(range(count))


@given(RATES, st.integers(1, 500), RATES, st.floats(0, 0.9), st.floats(0.05, 1))
def test_resampling_shows_the_nearest_frame_in_order(rate, count, fps, start, length):
    times, duration = constant_times(rate, count), count / float(rate)
    first, last = start * duration, min(start + length, 1) * duration
    shown = resample(times, duration, fps, first, last)
    instants = first + np.arange(len(shown)) / float(fps)
    assert (np.diff(shown) >= 0).all()
    assert (instants < last).all()
    half = 0.5 * min(1 / float(rate), 1 / float(fps))
    assert (times[shown] <= instants + half).all()  # never shown early by more than half an interval
    assert (instants - times[shown] <= 1 / float(rate)).all()  # never late by more than a frame
    assert abs(len(shown) - (last - first) * fps) <= 1


@given(st.lists(st.floats(0.001, 2), min_size=1, max_size=60), RATES)
def test_any_times_resample(steps, fps):
    times = np.concatenate([[0.0], np.cumsum(steps)])
    duration = float(times[-1]) + 0.04
    shown = resample(times, duration, fps)
    tolerance = 0.45 * min(duration / len(times), 1 / float(fps))
    for index, instant in zip(shown, np.arange(len(shown)) / float(fps), strict=True):
        assert times[index] <= instant + tolerance
        assert index == len(times) - 1 or times[index + 1] > instant + tolerance


def test_halving_and_doubling():
    assert resample(constant_times(60, 7), 7 / 60, Fraction(30)).tolist() == [0, 2, 4, 6]
    assert resample(constant_times(10, 3), 0.3, Fraction(20)).tolist() == [0, 0, 1, 1, 2, 2]
    assert resample(constant_times(30, 6), 0.2, Fraction(20)).tolist() == [0, 1, 3, 4]  # midway: the earlier


@pytest.mark.parametrize("fps", [0, -1, 0.5, 241, 1e9, float("nan"), float("inf")])
def test_absurd_rates_are_refused(fps):
    with pytest.raises(PosegenError, match="between 1 and 240"):
        as_rate(fps)


def test_decimal_rates_mean_the_usual_fractions():
    assert as_rate(29.97) == Fraction(30000, 1001)
    assert as_rate(23.976) == Fraction(24000, 1001)
    assert as_rate(12.5) == Fraction(25, 2)
    assert as_rate(16) == 16


@pytest.mark.parametrize(("start", "end"), [(1.0, None), (-0.1, None), (0.5, 0.5), (0.6, 0.2), (float("nan"), None)])
def test_parts_outside_the_video_are_refused(start, end):
    with pytest.raises(PosegenError, match=r"1\.00 s was expected"):
        resample(constant_times(10, 10), 1.0, Fraction(10), start, end)
