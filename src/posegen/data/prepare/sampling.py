"""What filters look at: a few frames of a clip, evenly spaced, each with the frame after it, from one decoding pass.

What is judged about the clip is `filters.py`'s.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.errors import PosegenError
from posegen.media.probing import Source, inspect
from posegen.media.reading import sample_stored_frames

RATE = 2.0
"""Samples a second."""
FEWEST, MOST = 3, 24
"""Samples of a clip; long clips are sampled more thinly, so that memory does not grow with their length."""
LONG_SIDE, SMALL_SIDE = 960, 320
"""Pixels of the longer side of samples, and of the frames after them."""


@dataclass(frozen=True)
class SampledClip:
    """A few frames of a clip; never enlarged."""

    frames: UInt8[np.ndarray, "n height width 3"]
    """RGB, upright, evenly spaced, longer side at most `LONG_SIDE` pixels."""
    neighbours: UInt8[np.ndarray, "n small_height small_width 3"]
    """For each of them the next frame of the video, longer side at most `SMALL_SIDE` pixels."""
    fps: float
    """Of the source."""
    seconds: float
    """From each sample to the next."""
    source_size: tuple[int, int]
    """(height, width) of the video as it is shown."""

    def __len__(self) -> int:
        return len(self.frames)

    @functools.cached_property
    def small_frames(self) -> UInt8[np.ndarray, "n small_height small_width 3"]:
        """The frames, as small as their neighbours."""
        height, width = self.neighbours.shape[1:3]
        return np.stack([reduce(frame, (height, width)) for frame in self.frames])


def sample_clip(source: Source | Path, start_seconds: float | int, end_seconds: float | int) -> SampledClip:
    """Sample the part of a video from start to end (seconds after its first frame).

    `source` is a file, or what `posegen.media.probing.inspect` said of it. Raises `PosegenError` for what cannot be
    decoded, and for a part outside the video.
    """
    if not isinstance(source, Source):
        source = inspect(source)
    numbers = clip_frames(source, start_seconds, end_seconds)
    size = (source.info.height, source.info.width)
    large, small = (_reduced(size, side) for side in (LONG_SIDE, SMALL_SIDE))
    chosen = sample_numbers(len(numbers), float(source.info.fps))
    wanted = sorted({(number + after, after) for number in chosen for after in (0, 1)})
    stored = [numbers.start + min(number, len(numbers) - 1) for number, _ in wanted]
    pictures = sample_stored_frames(source, stored, large)
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for (_, after), picture in zip(wanted, pictures, strict=True):
        found[after].append(reduce(picture, small) if after else picture)
    fps = float(source.info.fps)
    spacing = (chosen[1] - chosen[0]) / fps if len(chosen) > 1 else 1 / fps
    return SampledClip(np.stack(found[0]), np.stack(found[1]), fps, spacing, size)


def clip_frames(source: Source, start_seconds: float | int, end_seconds: float | int) -> range:
    """Numbers of the stored frames that begin in [start, end). Raises `PosegenError` if there is none."""
    times = source.info.frame_times
    slack = 0.25 / float(source.info.fps)  # times are rounded by containers
    first, stop = (int(np.searchsorted(times, float(moment) - slack)) for moment in (start_seconds, end_seconds))
    if not first < stop:
        raise PosegenError(
            f"{source.info.path}: a part inside the video's {source.info.duration:.2f} s was expected, not from "
            f"{start_seconds:g} s to {end_seconds:g} s"
        )
    return range(first, stop)


def sample_numbers(num_frames: int, fps: float) -> list[int]:
    """Which frames of a clip are sampled: rising, evenly spaced, from the middle of equal parts.

    As `RATE` says, but at least `FEWEST` and at most `MOST`; never the last frame, which has none after it, unless
    there is only one.
    """
    usable = max(1, num_frames - 1)
    count = min(usable, max(FEWEST, min(MOST, round(num_frames / fps * RATE))))
    step = max(1, usable // count)
    offset = (usable - 1 - step * (count - 1)) // 2
    return [offset + step * index for index in range(count)]


def reduce(frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """The frame at a smaller `size` = (height, width), averaged."""
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)


def _reduced(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """(H, W) of a picture of `size` whose longer side is at most `long_side`."""
    scale = min(1.0, long_side / max(size))
    height, width = (max(2, round(side * scale)) for side in size)
    return height, width


def thumbnail(clip: SampledClip, long_side: int = 160) -> bytes:
    """The clip's middle sample as a small JPEG, for the report."""
    frame = clip.frames[len(clip) // 2]
    small = reduce(frame, _reduced((frame.shape[0], frame.shape[1]), long_side))
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return coded.tobytes()
