"""The Fréchet distance against scipy's square root of a matrix, and the laws it keeps."""

import numpy as np
import pytest
from scipy import linalg

from posegen.evaluate.metrics.frechet import FeatureSet, frechet_distance


def published(left, right):
    """The formula as every published implementation computes it."""
    means = left.mean(0) - right.mean(0)
    first, second = np.cov(left, rowvar=False), np.cov(right, rowvar=False)
    root = linalg.sqrtm(first @ second)
    return float(means @ means + np.trace(first) + np.trace(second) - 2 * np.trace(root).real)


def samples(count, features, seed):
    random = np.random.default_rng(seed)
    return random.normal(size=(count, features)) @ random.normal(size=(features, features)) + random.normal(
        size=features
    )


@pytest.mark.parametrize(("left", "right"), [(60, 50), (60, 12), (12, 9)])
def test_equal_to_the_square_root_of_a_matrix(left, right):
    """With more samples than features, with fewer, and with one set of each."""
    first, second = samples(left, 20, 0), samples(right, 20, 1)
    expected = published(first, second)
    assert frechet_distance(FeatureSet(first), FeatureSet(second)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("count", [5, 300])
def test_a_set_has_no_distance_from_itself(count):
    rows = 10 * samples(count, 40, 2)
    assert frechet_distance(FeatureSet(rows), FeatureSet(rows[::-1].copy())) < 1e-3


def test_samples_kept_as_rows_or_as_moments_are_the_same():
    rows, other = samples(90, 30, 3), samples(50, 30, 4)
    piecewise = FeatureSet()
    for start in range(0, 90, 7):
        piecewise.add(rows[start : start + 7])
    clips = [FeatureSet(rows[:20]), FeatureSet(rows[20:25]), FeatureSet(rows[25:])]
    for form in (piecewise, FeatureSet.merged(clips), FeatureSet.of_arrays(piecewise.arrays())):
        assert form.count == 90
        expected = frechet_distance(FeatureSet(rows), FeatureSet(other))
        assert frechet_distance(form, FeatureSet(other)) == pytest.approx(expected, rel=1e-9)
    few = [FeatureSet(rows[:4]), FeatureSet(rows[4:9])]
    assert np.array_equal(FeatureSet.merged(few).arrays()["rows"], rows[:9])


def test_a_set_does_not_grow_with_its_samples():
    small, large = FeatureSet(samples(40, 16, 5)), FeatureSet(samples(4000, 16, 6))
    size = [sum(array.nbytes for array in each.arrays().values()) for each in (small, large)]
    assert size[0] == size[1]


def test_grows_with_the_distance_of_means_and_of_spreads():
    rows = samples(200, 10, 7)
    shifted = [frechet_distance(FeatureSet(rows), FeatureSet(rows + shift)) for shift in (0.0, 0.5, 1.0, 2.0)]
    assert shifted == pytest.approx([0, 10 * 0.25, 10, 40], abs=1e-6)
    wider = [frechet_distance(FeatureSet(rows), FeatureSet(rows * scale)) for scale in (1.0, 1.2, 1.5)]
    assert wider[0] < wider[1] < wider[2]


def test_one_sample_has_no_covariance():
    with pytest.raises(ValueError, match="two samples"):
        frechet_distance(FeatureSet(samples(1, 4, 8)), FeatureSet(samples(5, 4, 9)))
