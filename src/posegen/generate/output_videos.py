"""Writes the result, frame by frame as they become final, with the driving video's sound; and a side-by-side video.

While it is being written a second file, OUTPUT.growing.mp4, plays as far as it goes; the result appears at once. Frames
are encoded on a thread of their own, while the next segment is made.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from posegen.conditions.folder import Conditions
from posegen.generate.job.job_folder import growing_path, side_by_side_path
from posegen.media.files import remove_leftovers
from posegen.media.video import VideoWriter
from posegen.media.write_behind import WriteBehind
from posegen.types import Frame, Image

_FRAMES_WAITING = 16
"""Frames that wait to be encoded at most, so that memory does not grow with a segment's length."""


def write_videos(
    output: Path,
    conditions: Conditions,
    frames: Iterator[Frame],
    sound: Path | None = None,
    reference: Image | None = None,
) -> None:
    """Write `frames` to the output; a file appears under its name only when it is whole, but for the growing one.

    sound: the video whose sound the result gets. reference: to write the side-by-side video as well, which shows
    reference, skeleton and result from left to right.
    """
    (height, width), begin = conditions.size, conditions.start or 0.0
    seconds = float(conditions.num_frames / conditions.fps)
    remove_leftovers(output)
    remove_leftovers(side_by_side_path(output))
    with ExitStack() as stack:
        beside = None
        if reference is not None:
            path = side_by_side_path(output)
            beside = stack.enter_context(
                VideoWriter(
                    path,
                    conditions.fps,
                    size=(height, 3 * width),
                    audio_from=sound,
                    audio_start=begin,
                    audio_seconds=seconds,
                )
            )
        growing = growing_path(output)
        writer = stack.enter_context(
            VideoWriter(
                output,
                conditions.fps,
                size=(height, width),
                audio_from=sound,
                audio_start=begin,
                audio_seconds=seconds,
                growing=growing,
            )
        )
        skeletons = conditions.iterate_skeletons()

        def write(frame: Frame) -> None:
            writer.write(frame)
            if beside is not None and reference is not None:
                beside.write(np.hstack([reference, next(skeletons), frame]))

        behind = stack.enter_context(WriteBehind(write, _FRAMES_WAITING))
        for frame in frames:
            behind.put(frame)
