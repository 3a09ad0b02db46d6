"""What filters look at: a few frames of a clip, evenly spaced, each with the frame after it.

Which frames of a video those are hangs on the video alone, so that they can be kept while it passes by, before it is
known where its clips are. They are decoded for one clip (`sample_clip`), or come from a pass through the whole video
(`PassingSamples`). What is judged about the clip is `filters.py`'s.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.errors import PosegenError
from posegen.media.probing import Source, inspect
from posegen.media.reading import Size, StoredFrame, sample_stored_frames

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
    """Of the source."""
    seconds: float
    """From each sample to the next."""
    source_size: tuple[int, int]
    """(height, width) of the video as it is shown."""

    def __len__(self) -> int:
        return len(self.frames)


def sample_clip(source: Source | Path, start_seconds: float | int, end_seconds: float | int) -> SampledClip:
    """Sample the part of a video from start to end (seconds after its first frame).

    `source` is a file, or what `posegen.media.probing.inspect` said of it. Raises `PosegenError` for what cannot be
    decoded, and for a part outside the video.
    """
    if not isinstance(source, Source):
        source = inspect(source)
    frames = clip_frames(source, start_seconds, end_seconds)
    numbers = sample_numbers(frames, float(source.info.fps))
    large, small = _sizes(source)
    wanted: dict[int, tuple[Size, ...]] = {_after(number, frames): (small,) for number in numbers}
    wanted |= dict.fromkeys(numbers, (small, large))
    return _put_together(source, frames, numbers, {each.number: each for each in sample_stored_frames(source, wanted)})


class PassingSamples:
    """Keeps the samples of a video while its stored frames pass by, until they are dropped.

    They are those that `sample_clip` would decode of any clip that is not too short for `sample_step`.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._step = sample_step(float(source.info.fps))
        self._large, self._small = _sizes(source)
        self._kept: dict[int, StoredFrame] = {}

    def sizes(self, number: int) -> tuple[Size, ...]:
        """At which sizes the stored frame with this number is wanted."""
        if number % self._step == 0:
            return (self._small, self._large)
        return (self._small,) if number % self._step == 1 else ()

    def keep(self, frame: StoredFrame) -> None:
        """A frame that has come, at the sizes asked for."""
        self._kept[frame.number] = frame

    def clip(self, start_seconds: float, end_seconds: float) -> SampledClip | None:
        """What `sample_clip` returns for this part; None where it would need other frames than are kept."""
        frames = clip_frames(self._source, start_seconds, end_seconds)
        numbers = sample_numbers(frames, float(self._source.info.fps))
        if any(number % self._step for number in numbers):
            return None
        return _put_together(self._source, frames, numbers, self._kept)

    def drop_before(self, seconds: float) -> None:
        """Forget what lies before this moment."""
        first = int(np.searchsorted(self._source.info.frame_times, seconds)) - 1
        for number in [number for number in self._kept if number < first]:
            del self._kept[number]


def _sizes(source: Source) -> tuple[Size, Size]:
    size = (source.info.height, source.info.width)
    return _reduced(size, LONG_SIDE), _reduced(size, SMALL_SIDE)


def _after(number: int, frames: range) -> int:
    """The frame of the clip after this one; a single one is its own neighbour."""
    return min(number + 1, frames.stop - 1)


def _put_together(
    source: Source, frames: range, numbers: Sequence[int], kept: Mapping[int, StoredFrame]
) -> SampledClip:
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


def sample_step(fps: float) -> int:
    """Frames from each sample to the next, unless a clip is too short or too long for it."""
    return max(1, round(fps / RATE))


def sample_numbers(frames: range, fps: float) -> list[int]:
    """Which of a clip's stored frames are sampled: rising, evenly spaced.

    Those whose number is a multiple of `sample_step`, if they are at least `FEWEST`; where they are more than `MOST`,
    multiples of a multiple of it. Else `FEWEST`, from the middle of equal parts. Never the last frame, which has none
    after it, unless there is only one.
    """
    usable = frames[: max(1, len(frames) - 1)]
    step = sample_step(fps)
    chosen = _multiples(usable, step)
    if len(chosen) > MOST:
        return list(_multiples(usable, step * -(-len(chosen) // MOST)))
    if len(chosen) >= FEWEST:
        return list(chosen)
    count = min(len(usable), FEWEST)
    step = max(1, len(usable) // count)
    offset = (len(usable) - 1 - step * (count - 1)) // 2
    return [usable[offset + step * index] for index in range(count)]


def _multiples(frames: range, step: int) -> range:
    return range(-(-frames.start // step) * step, frames.stop, step)


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
