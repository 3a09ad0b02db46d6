"""Cross-fading segments into one video."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.generate.blend import blend_segments, cross_fade
from posegen.generate.segments import plan_segments


def constant(count, value):
    return np.full((count, 2, 3, 3), value, np.uint8)


def test_cross_fade_is_linear_from_all_before_to_all_after():
    faded = cross_fade(constant(21, 200), constant(21, 100))
    assert np.array_equal(faded[:, 0, 0, 0], np.rint(np.linspace(200, 100, 21)))


@given(st.integers(1, 200))
def test_segments_that_agree_give_the_video_back(num_frames):
    plan = plan_segments(num_frames, 13, 4, 3)
    video = np.random.default_rng(0).integers(0, 256, (400, 2, 3, 3), dtype=np.uint8)
    frames = list(blend_segments(plan, lambda segment: video[segment.start : segment.stop]))
    assert np.array_equal(np.stack(frames), video[:num_frames])


def test_a_frame_is_given_as_soon_as_it_is_final():
    plan = plan_segments(50, 13, 4, 3)
    asked = []

    def frames_of(segment):
        asked.append(segment.index)
        return constant(13, segment.index)

    frames = blend_segments(plan, frames_of)
    given_frames = [next(frames) for _ in range(9)]
    assert asked == [0]
    assert all(frame[0, 0, 0] == 0 for frame in given_frames)
    next(frames)
    assert asked == [0, 1]


def test_a_segment_of_the_wrong_length_is_refused():
    with pytest.raises(ValueError, match="0000-base has 12 frames, not 13"):
        list(blend_segments(plan_segments(13, 13, 4, 3), lambda segment: constant(12, 0)))
