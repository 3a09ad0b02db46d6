"""Fixtures of the tests of media files."""

from functools import partial

import pytest
import video_files


@pytest.fixture
def make_video(tmp_path):
    """Write a small video: `make_video(name, frames, ...)` gives its path (see `video_files.make_video`)."""
    return partial(video_files.make_video, tmp_path)
