"""Intervals of means cover the mean as often as they say, at the numbers of clips that benchmarks have."""

import numpy as np
import pytest
from scipy.stats import t as student
from scipy.stats import ttest_1samp

from posegen.evaluate.metrics.frechet import FeatureSet, frechet_distance, sampling_bias
from posegen.evaluate.metrics.intervals import mean_interval


def coverage(draw, mean, weights=None, sets=1500):
    """The share of simulated sets of clips whose interval holds the true mean."""
    held = 0
    for number in range(sets):
        low, high = mean_interval(draw(np.random.default_rng([5, number])), weights)
        held += low <= mean <= high
    return held / sets


@pytest.mark.parametrize("clips", [9, 13, 48])
def test_intervals_of_normal_scores_cover_95_percent(clips):
    """Three standard errors of a share of 1,500 are 1.7 points; the percentile bootstrap has 90 % at 9 clips."""
    assert coverage(lambda random: random.normal(20, 3, clips), 20) == pytest.approx(0.95, abs=0.017)


@pytest.mark.parametrize("clips", [9, 13, 48])
def test_intervals_of_scores_with_a_long_tail_lose_little(clips):
    found = coverage(lambda random: random.lognormal(0, 0.5, clips), np.exp(0.125))
    assert 0.90 < found < 0.965


@pytest.mark.parametrize("clips", [13, 48])
def test_intervals_of_weighted_means_cover(clips):
    weights = np.linspace(50, 150, clips)
    assert coverage(lambda random: random.normal(20, 3, clips), 20, weights) == pytest.approx(0.95, abs=0.025)


def test_equal_weights_give_the_ordinary_t_interval():
    values = np.random.default_rng(0).normal(5, 2, 11)
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean_interval(values) == pytest.approx((expected.low, expected.high), rel=1e-12)
    assert mean_interval(values, np.full(11, 7.0)) == pytest.approx(mean_interval(values), rel=1e-12)
    assert mean_interval([3.0, 3.0]) == (3.0, 3.0)
    half = student.ppf(0.95, 10) * values.std(ddof=1) / np.sqrt(11)
    assert mean_interval(values, level=0.9)[1] - values.mean() == pytest.approx(half)
    with pytest.raises(ValueError, match="two"):
        mean_interval([1.0])


@pytest.mark.parametrize(("count", "features"), [(20, 8), (200, 8), (40, 64)])
def test_two_sets_of_one_distribution_are_at_least_the_stated_bias_apart(count, features):
    def one(number):
        random = np.random.default_rng([number, count])
        left, right = (FeatureSet(random.normal(0, 2, (count, features))) for _ in range(2))
        return frechet_distance(left, right), sampling_bias(left, right)

    distances, biases = np.mean([one(number) for number in range(20)], axis=0)
    assert biases == pytest.approx(2 * 4 * features / count, rel=0.1)  # tr(C) / N, twice
    assert distances > biases
