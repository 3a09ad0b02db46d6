"""The plan of a long video, as arithmetic."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.generate.segments import plan_segments, reflect_indices


def lengths():
    return st.integers(2, 121).flatmap(
        lambda n: st.tuples(st.just(n), st.integers(0, n - 1)).flatmap(
            lambda pair: st.tuples(st.just(pair[0]), st.just(pair[1]), st.integers(0, pair[0] - 1 - pair[1]))
        )
    )


def test_the_methods_own_numbers():
    plan = plan_segments(323)
    assert [(s.kind, s.start, s.stop) for s in plan.segments] == [
        ("base", 0, 81),
        ("stitch", 60, 141),
        ("base", 121, 202),
        ("stitch", 181, 262),
        ("base", 242, 323),
    ]


@pytest.mark.parametrize(("num_frames", "bases"), [(1, 1), (80, 1), (81, 1), (82, 2), (202, 2), (203, 3)])
def test_number_of_base_segments(num_frames, bases):
    plan = plan_segments(num_frames)
    assert len(plan.base_segments) == bases
    assert len(plan.segments) == 2 * bases - 1


@given(st.integers(1, 3000), lengths())
def test_laws(num_frames, numbers):
    length, head, tail = numbers
    plan = plan_segments(num_frames, length, head, tail)
    kinds = [s.kind for s in plan.segments]
    assert kinds == ["base" if i % 2 == 0 else "stitch" for i in range(len(kinds))]
    assert kinds[-1] == "base"
    assert [s.index for s in plan.segments] == list(range(len(kinds)))
    assert all(s.stop - s.start == length for s in plan.segments)
    assert plan.segments[0].start == 0
    assert plan.segments[-1].stop >= num_frames
    starts = [s.start for s in plan.base_segments]
    assert all(b - a == 2 * length - head - tail for a, b in itertools.pairwise(starts))
    for segment in plan.segments[:-1]:
        assert plan.overlap(segment.index) == (head if segment.kind == "base" else tail)
    assert plan.overlap(len(kinds) - 1) == 0
    if len(starts) > 1:  # one base segment fewer would not have reached the end
        assert plan.base_segments[-2].stop < num_frames


@pytest.mark.parametrize(
    "numbers", [(0, 81, 21, 20), (10, 0, 0, 0), (10, 81, -1, 20), (10, 40, 21, 20), (10, 41, 21, 20)]
)
def test_impossible_numbers_are_refused(numbers):
    with pytest.raises(ValueError, match=r"frame|negative"):
        plan_segments(*numbers)


@given(st.integers(0, 50), st.integers(0, 60), st.integers(1, 40))
def test_reflection_is_that_of_numpy(start, count, num_frames):
    stop = start + count
    mode = "reflect" if num_frames > 1 else "edge"
    expected = np.pad(np.arange(num_frames), (0, max(0, stop - num_frames)), mode=mode)[start:stop]
    assert np.array_equal(reflect_indices(start, stop, num_frames), expected)
