"""Which base segment is the anchor, and which must not take its background: from known camera paths."""

import math
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data

from posegen.conditions.background_motion import BackgroundMotion, measure_background_motion
from posegen.conditions.folder import Conditions
from posegen.conditions.keypoints import PoseSequence
from posegen.generate.background.anchor import (
    ALIKE,
    SAFE,
    UnsafeSegment,
    choose_anchor,
    describe_unsafe,
    segment_movement,
    unsafe_segments,
)
from posegen.generate.segments import plan_segments, reflect_indices
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter

PLAN = plan_segments(160, 33, 9, 8)  # base segments at 0, 49, 98, 147


def motion_of(offsets, zoom=None, residual=None, scene=None, known=None):
    """A motion with the background at these places (frames,) in diagonals, complex."""
    offsets = np.asarray(offsets, complex)
    frames = len(offsets)
    return BackgroundMotion(
        np.ones(frames, complex) if zoom is None else np.asarray(zoom, complex),
        offsets,
        np.zeros(frames, int) if scene is None else np.asarray(scene),
        np.ones(frames, bool) if known is None else np.asarray(known),
        np.zeros(frames) if residual is None else np.asarray(residual, float),
        16.0,
    )


def starts(segments):
    return [segment.start for segment in segments]


def test_a_background_that_stands_still_makes_the_first_segment_the_anchor():
    noise = np.random.default_rng(0).normal(0, 1e-4, 160)
    still = motion_of(noise, residual=np.abs(noise))
    assert choose_anchor(still, PLAN) == PLAN.base_segments[0]
    assert unsafe_segments(still, PLAN, PLAN.base_segments[0]) == []
    assert describe_unsafe([]) is None


def test_an_end_card_without_anybody_is_not_the_anchor():
    """It stands still, and the person's background shakes; the longest scene would be the card's too."""
    random = np.random.default_rng(0)
    scene = np.repeat([0, 1], [70, 90])
    offsets = np.where(scene == 0, random.normal(0, 0.02, 160), 0)
    motion = motion_of(offsets, scene=scene)
    person = scene == 0
    assert choose_anchor(motion, PLAN, person) == PLAN.base_segments[0]
    assert choose_anchor(motion, PLAN) != PLAN.base_segments[0]
    assert choose_anchor(motion, PLAN, np.zeros(160, bool)) == choose_anchor(motion, PLAN)  # nobody is ever seen


def test_the_anchor_comes_from_the_longest_scene_that_shows_the_person():
    """The first scene stands still, the second, which is longer, moves a little."""
    random = np.random.default_rng(0)
    scene = np.repeat([0, 1], [45, 115])
    motion = motion_of(np.where(scene == 1, random.normal(0, 0.01, 160), 0), scene=scene)
    assert choose_anchor(motion, PLAN) in PLAN.base_segments[1:]
    mostly_first = np.arange(160) < 66  # the second scene shows the person in 21 frames only
    assert choose_anchor(motion, PLAN, mostly_first) == PLAN.base_segments[0]
    with pytest.raises(ValueError, match="159"):
        choose_anchor(motion, PLAN, mostly_first[:159])


def test_where_no_segment_shows_the_person_throughout_the_one_that_shows_them_most_is_taken():
    person = np.zeros(160, bool)
    person[60:80] = True  # 20 of the second segment's 33 frames
    assert choose_anchor(motion_of(np.zeros(160)), PLAN, person) == PLAN.base_segments[1]


@pytest.mark.parametrize("stillest", range(4))
def test_the_stillest_segment_is_the_anchor(stillest):
    shaking = 0.02 * np.sin(np.arange(160))
    segment = PLAN.base_segments[stillest]
    shaking[segment.start : segment.stop] *= 0.1
    assert choose_anchor(motion_of(shaking), PLAN) == segment
    waving = np.full(160, 0.001)
    waving[segment.start : segment.stop] = 1e-5
    assert choose_anchor(motion_of(np.zeros(160), residual=waving), PLAN) == segment


def test_among_equally_still_ones_most_others_can_share_then_the_earliest():
    place = np.zeros(160)
    place[40:] = 0.3  # the camera swings once, between the first and the second base segment
    motion = motion_of(place)
    assert choose_anchor(motion, PLAN) == PLAN.base_segments[1]
    assert starts(item.segment for item in unsafe_segments(motion, PLAN, PLAN.base_segments[1])) == [0]


def test_a_segment_whose_background_is_not_seen_is_taken_last():
    known = np.ones(160, bool)
    known[:33] = False
    motion = motion_of(0.01 * np.sin(np.arange(160)) * (np.arange(160) > 33), known=known)
    assert segment_movement(motion, PLAN, PLAN.base_segments[0]) == 0
    assert choose_anchor(motion, PLAN) == PLAN.base_segments[1]
    nothing = replace(motion, known=np.zeros(160, bool), residual=np.full(160, np.nan))
    assert choose_anchor(nothing, PLAN) == PLAN.base_segments[0]


@pytest.mark.parametrize(("distance", "safe"), [(0.8 * SAFE, True), (1.2 * SAFE, False)])
@pytest.mark.parametrize("kind", ["pan", "zoom"])
def test_a_segment_filmed_from_elsewhere_is_unsafe(distance, safe, kind):
    first, third = PLAN.base_segments[0], PLAN.base_segments[2]
    moved = np.zeros(160)
    moved[third.start : third.stop] = distance
    motion = motion_of(1j * moved) if kind == "pan" else motion_of(np.zeros(160), zoom=1 + np.sqrt(12) * moved)
    found = unsafe_segments(motion, PLAN, first)
    assert starts(item.segment for item in found) == ([] if safe else [98])
    if found:
        assert found[0].difference == pytest.approx(distance)


def test_a_few_wrong_frames_are_no_reason_and_a_common_pan_is_none():
    spikes = np.zeros(160)
    spikes[[50, 60, 70]] = 1.0
    assert unsafe_segments(motion_of(spikes), PLAN, PLAN.base_segments[0]) == []
    again = np.tile(np.linspace(0, 0.3, 49), 4)[:160]  # every base segment makes the same pan
    assert [item.segment.index for item in unsafe_segments(motion_of(again), PLAN, PLAN.base_segments[0])] in ([], [6])


def test_another_scene_is_unsafe_and_a_cut_makes_no_anchor():
    scene = np.repeat([0, 1], [110, 50])
    motion = motion_of(np.zeros(160), scene=scene)
    anchor = choose_anchor(motion, PLAN)
    assert anchor == PLAN.base_segments[0]
    found = unsafe_segments(motion, PLAN, anchor)
    assert [(item.segment.start, item.difference) for item in found] == [(98, math.inf), (147, math.inf)]
    assert segment_movement(motion, PLAN, PLAN.base_segments[2]) == math.inf
    everywhere = motion_of(np.zeros(160), scene=np.arange(160))
    assert choose_anchor(everywhere, PLAN) == PLAN.base_segments[0]


def test_the_user_reads_one_line():
    first, second, third = PLAN.base_segments[1:]
    moved = [UnsafeSegment(first, 0.071), UnsafeSegment(second, 0.118)]
    assert describe_unsafe(moved) == (
        "background sharing is off for segments 2, 4: the camera moves there (12 % of the picture)"
    )
    both = describe_unsafe([*moved, UnsafeSegment(third, math.inf)])
    assert both is not None
    assert both.endswith("; and for segment 6: the driving video shows another scene there")
    assert "\n" not in both


@given(
    st.integers(1, 400),
    st.sampled_from([(33, 9, 8), (81, 21, 20), (5, 1, 1)]),
    st.integers(0, 2**32 - 1),
    st.floats(0, 0.3),
)
def test_any_video_has_an_anchor_that_is_as_still_as_any(frames, lengths, seed, amount):
    plan = plan_segments(frames, *lengths)
    random = np.random.default_rng(seed)
    motion = motion_of(
        np.cumsum(random.normal(0, amount, frames)) / 10, residual=np.abs(random.normal(0, amount / 100, frames))
    )
    anchor = choose_anchor(motion, plan)
    assert anchor in plan.base_segments
    least = min(segment_movement(motion, plan, base) for base in plan.base_segments)
    assert segment_movement(motion, plan, anchor) <= least + ALIKE
    assert anchor not in [item.segment for item in unsafe_segments(motion, plan, anchor)]


@given(st.integers(1, 200), st.integers(0, 2**32 - 1), st.floats(0, 0.05), st.integers(0, 6))
@settings(max_examples=40)
def test_the_anchor_is_the_still_one_whose_background_most_others_can_take(frames, seed, amount, cuts):
    """By the definition: every candidate against every other."""
    plan = plan_segments(frames, 9, 3, 2)
    random = np.random.default_rng(seed)
    scene = np.searchsorted(np.sort(random.integers(0, frames + 1, cuts)), np.arange(frames), side="right")
    motion = motion_of(
        0.1 * random.integers(0, 3, frames)[np.arange(frames) // 20] + random.normal(0, amount / 10, frames),
        scene=scene,
    )
    inside = {base: scene[reflect_indices(base.start, base.stop, frames)] for base in plan.base_segments}
    lengths = {base: int((scene == found[0]).sum()) if len(set(found)) == 1 else 0 for base, found in inside.items()}
    longest = [base for base, length in lengths.items() if length == max(lengths.values())]
    movements = {base: segment_movement(motion, plan, base) for base in longest}
    least = min(movements.values())
    still = [base for base, moves in movements.items() if moves <= least + ALIKE or moves == least]
    best = min(still, key=lambda base: (len(unsafe_segments(motion, plan, base)), base.index))
    assert choose_anchor(motion, plan) == best


@pytest.mark.parametrize("scenes", [1, 50])
def test_the_work_grows_with_the_video_and_not_with_its_square(monkeypatch, scenes):
    compared, distance = [], BackgroundMotion.distance

    def watched(motion, frames, others):
        compared.append(np.size(others))
        return distance(motion, frames, others)

    monkeypatch.setattr(BackgroundMotion, "distance", watched)
    frames = 20_000
    still = motion_of(np.zeros(frames), scene=np.arange(frames) * scenes // frames)
    choose_anchor(still, plan_segments(frames, 33, 9, 8))
    assert sum(compared) < 3 * frames


def test_motion_of_another_video_is_refused():
    with pytest.raises(ValueError, match="159 frames"):
        choose_anchor(motion_of(np.zeros(159)), PLAN)


@pytest.mark.parametrize("pan", [0.0, 0.2])
def test_from_pixels_to_the_decision(tmp_path, pan):
    """A real picture, filmed by a camera that stands still, or stands, pans and stands again."""
    picture = cv2.resize(data.stereo_motorcycle()[0][:416], (768, 432), interpolation=cv2.INTER_AREA)
    plan, size = plan_segments(60, 17, 5, 4), (216, 384)
    right = pan * np.hypot(*size) * np.clip((np.arange(60) - 18) / 8, 0, 1)
    with VideoWriter(tmp_path / "driving.mkv", 16, size=size, codec="ffv1") as writer:
        for shift in right:
            matrix = np.array([[1, 0, -192.0 - shift + pan * 220], [0, 1, -108.0]])
            writer.write(cv2.warpAffine(picture, matrix, size[::-1]))
    pose = PoseSequence(
        np.zeros((60, 133, 2), np.float32),
        np.zeros((60, 133), np.float32),
        np.full((60, 2, 21, 3), np.nan, np.float32),
        size,
        Fraction(16),
    )
    conditions = Conditions(tmp_path, pose, size, ())
    motion = measure_background_motion(
        tmp_path / "driving.mkv", conditions, plan_fit(size, size, "crop"), tmp_path / "motion.npz"
    )
    anchor = choose_anchor(motion, plan)
    unsafe = unsafe_segments(motion, plan, anchor)
    if pan == 0:
        assert anchor.index == 0
        assert unsafe == []
    else:
        assert anchor.start in (25, 50)
        assert 0 in starts(item.segment for item in unsafe)
        assert max(item.difference for item in unsafe) == pytest.approx(pan, rel=0.1)
