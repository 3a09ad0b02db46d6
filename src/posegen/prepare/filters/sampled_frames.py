"""Frames that filters see: a few of each clip, evenly spaced, each with the frame after it.

They are decoded for one clip (`sample_clip`), or kept while a whole video passes by (`PassingSamples`). Scores are in
`clip_filters.py`.
"""

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.errors import PosegenError
from posegen.media.probing import Source, inspect
from posegen.media.reading import StoredFrame, sample_stored_frames
from posegen.types import Size

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
    small_frames: UInt8[np.ndarray, "n small_height small_width 3"]
    """The same frames, longer side at most `SMALL_SIDE` pixels."""
    neighbours: UInt8[np.ndarray, "n small_height small_width 3"]
    """For each of them the next frame of the video, as small."""
    fps: float
    """Frames per second of the source."""
    seconds: float
    """Seconds from each sample to the next."""
    source_size: tuple[int, int]
    """(height, width) of the video as it is shown."""

    def __len__(self) -> int:
        return len(self.frames)


def sample_clip(source: Source | Path, start_seconds: float | int, end_seconds: float | int) -> SampledClip:
    """Sample the part of a video from start to end (seconds after its first frame).

    `source` is a file, or the result of `posegen.media.probing.inspect`. Raises `PosegenError` for what cannot be
    decoded, and for a part outside the video.
    """
    if not isinstance(source, Source):
        source = inspect(source)
    start, end = float(start_seconds), float(end_seconds)
    kept = {each.number: each for each in sample_stored_frames(source, _wanted(source, start, end))}
    return _assemble(source, start, end, kept)


class PassingSamples:
    """Keeps the samples of clips while the stored frames of their video pass by."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._wanted: dict[int, tuple[Size, ...]] = {}
        self._kept: dict[int, StoredFrame] = {}

    def expect(self, parts: Iterable[tuple[float, float]]) -> None:
        """Keep samples of these parts of the video only: (start, end) in seconds."""
        self._wanted = {}
        for start, end in parts:
            with contextlib.suppress(PosegenError):  # behind the video's end
                self._wanted |= _wanted(self._source, start, end)
        self._kept = {number: frame for number, frame in self._kept.items() if number in self._wanted}

    def sizes(self, number: int) -> tuple[Size, ...]:
        """Return the sizes at which the stored frame with this number is wanted."""
        return self._wanted.get(number, ())

    def keep(self, frame: StoredFrame) -> None:
        """Keep a frame that has passed, at its wanted sizes."""
        self._kept[frame.number] = frame

    def clip(self, start_seconds: float, end_seconds: float) -> SampledClip | None:
        """Return the result of `sample_clip` for this part; None if its frames passed before it was expected.

        Raises `PosegenError` for a part outside the video.
        """
        if not _wanted(self._source, start_seconds, end_seconds).keys() <= self._kept.keys():
            return None
        return _assemble(self._source, start_seconds, end_seconds, self._kept)


def _wanted(source: Source, start_seconds: float, end_seconds: float) -> dict[int, tuple[Size, ...]]:
    """Return the stored frames that a part of the video needs, and their sizes."""
    large, small = _sizes(source)
    frames, numbers = _frames_and_samples(source, start_seconds, end_seconds)
    wanted: dict[int, tuple[Size, ...]] = {_after(number, frames): (small,) for number in numbers}
    return wanted | dict.fromkeys(numbers, (small, large))


def _frames_and_samples(source: Source, start_seconds: float, end_seconds: float) -> tuple[range, list[int]]:
    frames = clip_frames(source, start_seconds, end_seconds)
    return frames, [frames[number] for number in sample_numbers(len(frames), float(source.info.fps))]


def _sizes(source: Source) -> tuple[Size, Size]:
    size = (source.info.height, source.info.width)
    return _reduced(size, LONG_SIDE), _reduced(size, SMALL_SIDE)


def _after(number: int, frames: range) -> int:
    """Return the frame of the clip after this one; a single one is its own neighbour."""
    return min(number + 1, frames.stop - 1)


def _assemble(source: Source, start_seconds: float, end_seconds: float, kept: Mapping[int, StoredFrame]) -> SampledClip:
    frames, numbers = _frames_and_samples(source, start_seconds, end_seconds)
    samples = [kept[number].pictures for number in numbers]
    fps = float(source.info.fps)
    return SampledClip(
        np.stack([large for _, large in samples]),
        np.stack([small for small, _ in samples]),
        np.stack([kept[_after(number, frames)].pictures[0] for number in numbers]),
        fps,
        (numbers[1] - numbers[0]) / fps if len(numbers) > 1 else 1 / fps,
        (source.info.height, source.info.width),
    )


def clip_frames(source: Source, start_seconds: float | int, end_seconds: float | int) -> range:
    """Return the numbers of the stored frames that begin in [start, end). Raises `PosegenError` if there is none."""
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
    """Return the numbers of the sampled frames of a clip: rising, evenly spaced, from the middle of equal parts.

    As `RATE` says, but at least `FEWEST` and at most `MOST`; never the last frame, which has none after it, unless
    there is only one.
    """
    usable = max(1, num_frames - 1)
    count = min(usable, max(FEWEST, min(MOST, round(num_frames / fps * RATE))))
    step = max(1, usable // count)
    offset = (usable - 1 - step * (count - 1)) // 2
    return [offset + step * index for index in range(count)]


def reduce(frame: UInt8[np.ndarray, "h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "h2 w2 3"]:
    """Return the frame at a smaller `size` = (height, width), averaged."""
    return cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA)


def _reduced(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    """Return (H, W) of a picture of `size` whose longer side is at most `long_side`."""
    scale = min(1.0, long_side / max(size))
    height, width = (max(2, round(side * scale)) for side in size)
    return height, width


def thumbnail(clip: SampledClip, long_side: int = 160) -> bytes:
    """Return the clip's middle sample as a small JPEG, for the report."""
    frame = clip.frames[len(clip) // 2]
    small = reduce(frame, _reduced((frame.shape[0], frame.shape[1]), long_side))
    _, coded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    return coded.tobytes()
