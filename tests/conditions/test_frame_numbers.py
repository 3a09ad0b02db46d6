"""Entries of a file of keypoints come to the frames that they belong to, or one line says why that cannot be told."""

from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posegen.conditions.estimators.frame_numbers import numbers_in_names, place_entries
from posegen.errors import PosegenError

FILE = Path("keypoints.json")


def place(numbers, shown, whole, **more):
    return place_entries(FILE, len(numbers), numbers, list(shown), whole, **more)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_entries_are_never_laid_onto_other_frames_without_a_word(data):
    """Whatever is left out, wherever counting begins, and whichever frames are used."""
    whole = data.draw(st.integers(5, 40), "frames of the video")
    start = data.draw(st.integers(0, whole - 2), "first used frame")
    step = data.draw(st.sampled_from([0.5, 1, 2, 3]), "frames of the video for one used")
    shown = [int(start + step * index) for index in range(60) if start + step * index < whole]
    shown = shown[: data.draw(st.integers(2, 60), "used frames")]
    of_whole = data.draw(st.booleans(), "the file is of the whole video")
    length = whole if of_whole else len(shown)
    first = data.draw(st.sampled_from([0, 1]), "counted from")
    frames = sorted(data.draw(st.sets(st.integers(0, length - 1), min_size=1), "frames with people"))
    other = len(shown) if of_whole else whole
    assume(len(frames) == length or len(frames) != other)  # as many entries as frames are one for each
    try:
        placed = place([frame + first for frame in frames], shown, whole)
    except PosegenError as error:
        assert "keypoints.json" in str(error)  # noqa: PT017 - both ways are right
        assert len(frames) < length
        return
    right = {frame: index for index, frame in enumerate(frames)}
    wanted = shown if of_whole else range(len(shown))
    if placed.entries != tuple(right.get(frame) for frame in wanted):
        assert placed.doubts


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("left_out", [range(10, 15), range(3), range(45, 48), [0, 20, 47]])
def test_frames_that_a_tool_leaves_out_stay_empty(left_out, first):
    frames = [frame for frame in range(48) if frame not in left_out]
    placed = place([frame + first for frame in frames], range(48), 48, usual_first=first)
    assert placed.entries == tuple(frames.index(frame) if frame in frames else None for frame in range(48))
    assert f"{len(frames)} of the video's 48 frames, counted from {first}" in placed.description
    known = 0 in frames if first == 0 else 47 in frames
    assert bool(placed.doubts) != known
    assert all("counted from" in doubt for doubt in placed.doubts)


def test_a_file_of_the_whole_video_serves_any_part_of_it():
    numbers = [*range(10), *range(15, 300)]
    placed = place(numbers, range(100, 150, 2), 300)
    assert placed.entries == tuple(numbers.index(frame) for frame in range(100, 150, 2))
    placed = place(numbers, range(5, 20), 300)
    assert placed.entries == (5, 6, 7, 8, 9, None, None, None, None, None, 10, 11, 12, 13, 14)
    assert not placed.doubts


def test_a_file_of_the_used_frames_is_told_by_its_numbers():
    used = range(120, 170)
    assert place(range(50), used, 300).entries == tuple(range(50))
    assert place(range(1, 51), used, 300).entries == tuple(range(50))
    assert place(used, used, 300).entries == tuple(range(50))
    assert place(range(500, 550), used, 300).entries == tuple(range(50))  # as a tool that read a stream writes them
    gap = place([*range(20), *range(25, 50)], used, 300)
    assert gap.entries == (*range(20), None, None, None, None, None, *range(20, 45))
    assert "the part of the video that is used" in gap.doubts[0]


@pytest.mark.parametrize(
    ("numbers", "shown", "whole", "named"),
    [
        ([*range(10), *range(12, 30)], range(20, 70), 300, ("whole video (300)", "used (50)")),
        ([*range(40), *range(45, 70)], range(48), 48, ("numbered 0 to 69", "48 frames")),
        ([0, 1, 1, 2], range(4), 4, ("two entries", "frame 1")),
        ([*range(30), 900], range(31), 31, ("numbered 0 to 900",)),
    ],
)
def test_what_fits_nothing_or_two_ways_is_refused(numbers, shown, whole, named):
    with pytest.raises(PosegenError) as caught:
        place(numbers, shown, whole)
    assert all(part in str(caught.value) for part in ("keypoints.json", *named))


def test_entries_that_end_early_without_a_gap_are_a_warning():
    assert "frame 23 of 48" in place(range(24), range(48), 48).doubts[0]
    assert not place(range(46), range(48), 48).doubts


def test_without_numbers_there_is_one_entry_for_each_frame():
    assert place_entries(FILE, 10, None, [2, 4, 4, 6], 10).entries == (2, 4, 4, 6)
    assert place_entries(FILE, 4, None, [2, 4, 4, 6], 10).entries == (0, 1, 2, 3)
    with pytest.raises(PosegenError, match="9 frames, but the driving video has 10, 4 of them used"):
        place_entries(FILE, 9, None, [2, 4, 4, 6], 10)


def test_listed_frames_need_no_numbers_in_a_row():
    identities = [397, 401, 433, 872]
    assert place(identities, range(4), 4, all_listed=True).entries == (0, 1, 2, 3)
    assert place([0, 40, 80, 120], range(4), 4).entries == (0, 1, 2, 3)  # milliseconds, say
    with pytest.raises(PosegenError, match="397 to 872"):
        place(identities, range(4), 4)


@pytest.mark.parametrize(
    ("names", "numbers"),
    [
        (["walk_2_000000000003_keypoints.json", "walk_2_000000000012_keypoints.json"], [3, 12]),
        (["12.jpg", "3.jpg"], [12, 3]),
        (["out/frame0007.png", "out/frame0008.png"], [7, 8]),
        (["cam1_03.json"], [3]),
        (["clip.0003.json", "clip.0004.json"], [3, 4]),
        (["a.jpg", "b.jpg"], None),
        (["a1.jpg", "b2.jpg"], None),
        (["1_33.jpg", "2_66.jpg"], None),
        (["cam1_001.json", "cam1_002.json", "cam2_001.json"], None),
        ([f"{'9' * 40}.jpg"], None),
        ([], None),
    ],
)
def test_the_number_in_a_name_is_the_one_that_tells_it_from_others(names, numbers):
    assert numbers_in_names(names) == numbers
