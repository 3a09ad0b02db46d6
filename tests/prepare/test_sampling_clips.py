"""Samples of clips: the right frames, once decoded."""

from dataclasses import astuple

import numpy as np
import pytest

from posegen.errors import PosegenError
from posegen.media.probing import inspect
from posegen.media.reading import StoredFrame, iterate_with_stored
from posegen.media.video import VideoWriter
from posegen.prepare.filters.sampled_frames import (
    FEWEST,
    LONG_SIDE,
    MOST,
    SMALL_SIDE,
    PassingSamples,
    sample_clip,
    sample_numbers,
)

HEIGHT, WIDTH, COUNT = 64, 96, 60


@pytest.fixture
def counted(tmp_path):
    """A video that counts: frame n is grey level 4 n, at 12 a second."""
    path = tmp_path / "counted.mp4"
    with VideoWriter(path, 12, size=(HEIGHT, WIDTH), crf=4) as writer:
        for number in range(COUNT):
            writer.write(np.full((HEIGHT, WIDTH, 3), 4 * number, np.uint8))
    return path


def levels(frames):
    return np.rint(frames.mean(axis=(1, 2, 3)) / 4).astype(int).tolist()


def test_samples_are_frames_of_the_part_and_the_ones_after_them(counted):
    clip = sample_clip(counted, 1.0, 4.0)
    chosen = levels(clip.frames)
    assert chosen == [12 + number for number in sample_numbers(36, 12.0)]
    assert levels(clip.neighbours) == [number + 1 for number in chosen]
    assert clip.seconds == pytest.approx((chosen[1] - chosen[0]) / 12)
    assert levels(sample_clip(inspect(counted), 1.0, 4.0).frames) == chosen


@pytest.mark.parametrize("frames", [1, 2, 3, 7, 30, 1000, 100_000])
def test_sample_numbers_lie_inside_evenly(frames):
    numbers = sample_numbers(frames, 24.0)
    assert 1 <= len(numbers) <= MOST
    assert len(numbers) >= min(FEWEST, max(1, frames - 1))
    assert len(set(np.diff(numbers))) <= 1
    assert 0 <= numbers[0] <= numbers[-1] <= max(0, frames - 2)


def test_samples_that_pass_are_those_that_would_be_decoded_for_the_clip(media):
    source = inspect(media / "presenter.mp4")
    parts = [(0.0, 2.0), (1.3, 3.1), (1.0, 1.1), (2.0, source.info.duration + 1)]
    passing = PassingSamples(source)
    passing.expect([*parts, (7.0, 9.0)])
    for frame in iterate_with_stored(source, source.info.fps, 192, passing.sizes):
        if isinstance(frame, StoredFrame):
            passing.keep(frame)
    for start, end in parts:
        passed, decoded = passing.clip(start, end), sample_clip(source, start, end)
        for mine, other in zip(astuple(passed), astuple(decoded), strict=True):
            np.testing.assert_array_equal(mine, other)
    assert passing.clip(0.5, 2.7) is None
    passing.expect(parts[1:])
    assert passing.clip(*parts[0]) is None
    assert passing.clip(*parts[1]) is not None


def test_one_frame_is_its_own_neighbour(tmp_path):
    path = tmp_path / "one.mp4"
    with VideoWriter(path, 25, size=(HEIGHT, WIDTH)) as writer:
        writer.write(np.full((HEIGHT, WIDTH, 3), 99, np.uint8))
    clip = sample_clip(path, 0, 1)
    assert clip.frames.shape == (1, HEIGHT, WIDTH, 3)
    assert np.array_equal(clip.small_frames, clip.neighbours)
    assert np.abs(clip.frames.astype(int) - clip.neighbours).max() <= 3


def test_large_videos_are_reduced(tmp_path):
    path = tmp_path / "large.mp4"
    with VideoWriter(path, 8, size=(1920, 1080), preset="veryfast") as writer:
        for number in range(20):
            writer.write(np.full((1920, 1080, 3), 4 * number, np.uint8))
    clip = sample_clip(path, 1.0, 2.5)
    assert clip.source_size == (1920, 1080)
    assert max(clip.frames.shape[1:3]) == LONG_SIDE
    assert max(clip.neighbours.shape[1:3]) == SMALL_SIDE
    assert len(clip) == 3


def test_a_part_outside_the_video_is_refused(counted):
    with pytest.raises(PosegenError, match=r"inside the video's 5\.00 s"):
        sample_clip(counted, 7.0, 9.0)
