"""Writes the result, frame by frame as they become final, with the driving video's sound; and a side-by-side video.

While it is being written a second file, OUTPUT.growing.mp4, plays as far as it goes; the result appears at once.
"""

from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np

from posegen.conditions.folder import Conditions
from posegen.generate.job.job_folder import growing_path, side_by_side_path
from posegen.generate.request import Request
from posegen.media.files import remove_leftovers
from posegen.media.video import VideoWriter
from posegen.types import Frame


def write_videos(request: Request, conditions: Conditions, frames: Iterator[Frame]) -> None:
    """Write `frames` to the output; a file appears under its name only when it is whole, but for the growing one.

    The side-by-side video shows reference, skeleton and result from left to right.
    """
    config, (height, width) = request.config, conditions.size
    sound, begin = None if request.sound.track is None else config.driving, conditions.start or 0.0
    seconds = float(conditions.num_frames / conditions.fps)
    remove_leftovers(config.output)
    remove_leftovers(side_by_side_path(config.output))
    with ExitStack() as stack:
        beside = None
        if config.side_by_side:
            path = side_by_side_path(config.output)
            beside = stack.enter_context(
                VideoWriter(
                    path, conditions.fps, size=(height, 3 * width), audio_from=sound, audio_start=begin,
                    audio_seconds=seconds,
                )
            )  # fmt: skip
        growing = growing_path(config.output)
        writer = stack.enter_context(
            VideoWriter(
                config.output, conditions.fps, size=(height, width), audio_from=sound, audio_start=begin,
                audio_seconds=seconds, growing=growing,
            )
        )  # fmt: skip
        skeletons = conditions.iterate_skeletons()
        for frame in frames:
            writer.write(frame)
            if beside is not None:
                beside.write(np.hstack([request.fitted_reference, next(skeletons), frame]))
