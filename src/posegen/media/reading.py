"""Reads the frames of a video one by one, at a constant rate, upright, in 8-bit RGB; never a whole clip in memory.

Audio is read in `audio`; frames are fitted to a model's size in `fitting`.
"""

import contextlib
import math
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import Bool, Float64, Int64, UInt8

from posegen.errors import PosegenError, logger
from posegen.media.clock import HIDDEN, UNKNOWN
from posegen.media.colour import Orientation, Quality, RgbConverter
from posegen.media.deinterlacing import deinterlaced
from posegen.media.probing import Source, VideoInfo, broken, inspect, open_video
from posegen.media.timing import as_rate, resample
from posegen.types import Size

_READ_ON = 60
"""Number of frames up to which decoding on is no slower than seeking."""


def count_frames(
    info: VideoInfo,
    fps: Fraction | float | int | None = None,
    start: float | int | None = None,
    end: float | int | None = None,
) -> int:
    """Return the exact number of frames that `iterate_frames` yields with the same arguments. Raises like it."""
    return len(shown_frames(info, fps, start, end))


def shown_frames(
    info: VideoInfo,
    fps: Fraction | float | int | None = None,
    start: float | int | None = None,
    end: float | int | None = None,
) -> Int64[np.ndarray, " frames"]:
    """Return the indices of the file's frames that `iterate_frames` yields with the same arguments. Raises like it."""
    return resample(info.frame_times, info.duration, _output_rate(info, fps), start, end)


def iterate_frames(
    path: str | os.PathLike[str],
    fps: Fraction | float | int | None = None,
    start: float | int | None = None,
    end: float | int | None = None,
    longest: int | None = None,
    quality: Quality = "exact",
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield the frames from `start` to `end` (seconds) at the constant rate `fps`, by default the video's average rate.

    Frames are RGB 0..255, C-contiguous, upright, with square pixels, and owned by the caller. Frame i shows what the
    video shows at `start + i / fps` (see `timing.resample`). A constant-rate video at its own rate yields each frame
    once; frames are deinterlaced. `longest`: maximum of the longer side in pixels; larger frames are scaled down with
    lower accuracy, for viewing, not for keeping. `quality`: of the colours, see `RgbConverter`; "rough" is for frames
    in which people are searched, not for frames that are kept.

    Raises `PosegenError` at once for what `probe_video` refuses, a rate outside 1..240 or a part outside the video, and
    during iteration, with the time in seconds, if frames cannot be decoded.
    """
    source = inspect(Path(path))
    shown = resample(source.info.frame_times, source.info.duration, _output_rate(source.info, fps), start, end)
    if source.info.is_hdr:
        logger.info("%s: HDR colours are mapped to the standard range (BT.709)", path)
    if source.is_interlaced:
        logger.info("%s: is interlaced; the earlier field of each frame is taken", path)
    return _iterate(source, shown.tolist(), longest, quality)


def read_frames(path: str | os.PathLike[str], start: int, stop: int) -> UInt8[np.ndarray, "f h w 3"]:
    """Read frames `start` to `stop` - 1 of a constant-rate video without reading those before.

    Meant for posegen's own lossless intermediates, in which every frame is a key frame; in other files decoding begins
    at the key frame before. Raises `PosegenError` if the file cannot be read or has fewer frames.
    """
    if not 0 <= start < stop:
        raise PosegenError(f"{path}: a range of frames was expected, not {start} to {stop}")
    frames: list[UInt8[np.ndarray, "h w 3"]] = []
    with open_video(Path(path)) as (container, stream):
        rate, first_time = stream.average_rate, float((stream.start_time or 0) * stream.time_base)
        _seek(container, stream, first_time + start / float(rate))
        convert = None
        with _decoding_errors(Path(path)):
            for frame in container.decode(stream):
                index = round((frame.time - first_time) * float(rate))
                if index >= stop:
                    break
                if index >= start:
                    convert = convert or RgbConverter((frame.height, frame.width), Orientation(frame))
                    frames.append(convert(frame))
    if len(frames) != stop - start:
        raise PosegenError(f"{path}: frames {start} to {stop - 1} were expected, {len(frames)} of them were found")
    return np.stack(frames)


def sample_frames(
    path: str | os.PathLike[str],
    numbers: Sequence[int],
    fps: Fraction | float | int | None = None,
    start: float | int | None = None,
    end: float | int | None = None,
    longest: int | None = None,
    quality: Quality = "exact",
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield single frames of `iterate_frames` with the same arguments by rising numbers, without decoding all.

    Decoding continues across short distances, and else restarts at the key frame before. Raises like `iterate_frames`,
    and `ValueError` for a number that the video does not have.
    """
    source = inspect(Path(path))
    shown = resample(source.info.frame_times, source.info.duration, _output_rate(source.info, fps), start, end)
    if list(numbers) != sorted(numbers) or not all(0 <= number < len(shown) for number in numbers):
        raise ValueError(f"rising numbers from 0 to {len(shown) - 1} were expected")
    runs: list[list[int]] = []
    for index in shown[np.asarray(numbers, int)].tolist():
        if not runs or index - runs[-1][-1] > _READ_ON:
            runs.append([])
        runs[-1].append(index)
    for run in runs:
        yield from _iterate(source, run, longest, quality, skipping=True)


@dataclass(frozen=True)
class StoredFrame:
    """Frame as the file stores it, with its number from 0, at the requested sizes."""

    number: int
    pictures: tuple[UInt8[np.ndarray, "_ _ 3"], ...]


def sample_stored_frames(source: Source, wanted: Mapping[int, Sequence[Size]]) -> Iterator[StoredFrame]:
    """Yield stored frames in rising order of their numbers, each at the sizes (H, W) that `wanted` maps it to.

    Decoded in one pass; frames that are not wanted are skipped if no other depends on them (about half of them in most
    videos). Rotated as in `iterate_frames`; below half of the video's size, colours are accurate enough to measure, not
    to keep. A lost frame is replaced by the one before. Raises `PosegenError` if frames cannot be decoded.
    """
    numbers = sorted(wanted)
    convert = _Sizes(source)
    position, latest = 0, None
    for index, frame in _decode(source, numbers[0], wanted.keys()):
        if index < numbers[0]:
            continue
        while position < len(numbers) and (number := numbers[position]) <= index:
            yield StoredFrame(number, convert(frame if number == index else latest or frame, wanted[number]))
            position += 1
        latest = frame
        if index >= numbers[-1]:
            return
    if latest is not None:
        for number in numbers[position:]:
            yield StoredFrame(number, convert(latest, wanted[number]))


def iterate_with_stored(
    source: Source, fps: Fraction, longest: int, wanted: Callable[[int], Sequence[Size]]
) -> Iterator[UInt8[np.ndarray, "h w 3"] | StoredFrame]:
    """Yield the frames of `iterate_frames` with this rate and size, interleaved with those of `sample_stored_frames`.

    wanted: returns the sizes at which the stored frame of a number is wanted; called as the frames pass. Everything is
    decoded once. Raises `PosegenError` if frames cannot be decoded.
    """
    shown = resample(source.info.frame_times, source.info.duration, fps, None, None).tolist()
    size = _at_most(source.stored_size, longest)
    convert = RgbConverter(size, source.orientation, "rough" if size != source.stored_size else "exact")
    sized = _Sizes(source)
    position, number, latest = 0, 0, None
    for index, frame in _decode(source, 0):
        while position < len(shown) and shown[position] < index:
            yield convert(latest or frame)
            position += 1
        for each in range(number, index + 1):
            if sizes := wanted(each):
                yield StoredFrame(each, sized(frame if each == index else latest or frame, sizes))
        number, latest = index + 1, frame
    if latest is not None:
        for _ in shown[position:]:
            yield convert(latest)
        for each in range(number, source.info.num_frames):
            if sizes := wanted(each):
                yield StoredFrame(each, sized(latest, sizes))


class _Sizes:
    """Converts the frames of one video to several sizes, each with its own converter.

    Below half of the video's size, coarser colours are no loss: most videos store no finer ones.
    """

    def __init__(self, source: Source) -> None:
        self._orientation, self._half = source.orientation, max(source.stored_size) // 2
        self._converters: dict[Size, RgbConverter] = {}

    def __call__(self, frame: VideoFrame, sizes: Sequence[Size]) -> tuple[UInt8[np.ndarray, "_ _ 3"], ...]:
        return tuple(self._converter(size)(frame) for size in sizes)

    def _converter(self, size: Size) -> RgbConverter:
        if size not in self._converters:
            stored = size[::-1] if self._orientation.transposed else size
            quality: Quality = "fair" if max(size) < self._half else "exact"
            self._converters[size] = RgbConverter(stored, self._orientation, quality)
        return self._converters[size]


def _output_rate(info: VideoInfo, fps: Fraction | float | int | None) -> Fraction:
    if fps is not None:
        return as_rate(fps)
    try:
        return as_rate(info.fps)
    except PosegenError as error:
        raise PosegenError(f"{info.path}: {error}; set --fps") from error


def _iterate(
    source: Source,
    shown: list[int],
    longest: int | None = None,
    quality: Quality = "exact",
    skipping: bool = False,
) -> Iterator[UInt8[np.ndarray, "h w 3"]]:
    """Yield source frame `shown[i]` as output frame i; the indices never fall.

    skipping: other frames are not decoded if no other frame depends on them.
    """
    size = _at_most(source.stored_size, longest)
    convert = RgbConverter(size, source.orientation, "rough" if size != source.stored_size else quality)
    position, latest = 0, None
    for index, frame in _decode(source, shown[0], set(shown) if skipping else None):
        while shown[position] < index:
            # nothing before it could be decoded (a small loss, else _decode had raised): the first good frame is
            # shown instead
            yield convert(latest or frame)
            position += 1
            if position == len(shown):
                return
        latest = frame
    if latest is not None:
        for _ in shown[position:]:
            yield convert(latest)


def _at_most(size: tuple[int, int], longest: int | None) -> tuple[int, int]:
    """Scale the size down so that no side exceeds `longest`."""
    scale = 1.0 if longest is None else min(1.0, longest / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


_SKIPPING = ("h264", "hevc", "mpeg4", "mpeg2video", "vp8")
"""Decoders that leave out frames which no other depends on. Those of AV1 change other frames, too, when told to."""


def _decode(source: Source, first: int, wanted: Collection[int] | None = None) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (index, frame) in order, from frame `first` or one before it to the end.

    wanted: numbers of the needed frames; others are skipped if no other frame depends on them. Frames are deinterlaced.
    Raises `PosegenError` if more than a tolerable run of frames is missing.
    """
    info = source.info
    if source.is_interlaced:  # lines are filled from the frames beside
        first, wanted = max(0, first - 1), None
    if source.order is not None and (source.order == UNKNOWN).any():  # frames are counted: none may be left out
        wanted = None
    previous, left_out = -1, set(source.doubtful)
    with contextlib.ExitStack() as stack:
        container, stream = stack.enter_context(open_video(info.path))
        if stream.codec_context.name not in _SKIPPING:
            wanted = None
        if source.order is not None and source.keys is not None:
            begin = _key_before(source.order, source.keys, first)
            previous = int(source.order[begin]) - 1 if begin else -1
            good = _decode_ordered(source, source.order, begin, container, stream, wanted, left_out)
        else:
            if first > 0 and source.origin is not None:
                target = source.origin + float(info.frame_times[first])
                _seek(container, stream, target)
                begun = next(_decode_good(source, container, stream, -1), None)
                if begun is not None and begun[0] <= first:
                    previous = begun[0] - 1
                    _seek(container, stream, target)
                else:  # the container's index leads too far: from the beginning
                    container, stream = stack.enter_context(open_video(info.path))
            good = _decode_good(source, container, stream, previous, wanted, left_out)
        for index, frame in deinterlaced(good):
            _check_loss(source, previous, index, left_out)
            if index > previous:
                yield index, frame
                previous = index
        _check_loss(source, previous, info.num_frames, left_out)


def _decode_good(
    source: Source,
    container: Any,
    stream: Any,
    previous: int,
    wanted: Collection[int] | None = None,
    left_out: set[int] | None = None,
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield (index, frame) for every frame that can be decoded; `left_out` receives those that need not be."""
    times = source.info.frame_times
    slack = min(0.25 / float(source.info.fps), 0.001)
    try:
        for packet in container.demux(stream):
            if wanted is not None and left_out is not None and source.origin is not None and packet.pts is not None:
                number = _index(times, float(packet.pts * packet.time_base) - source.origin, slack)
                stream.codec_context.skip_frame = "DEFAULT" if number in wanted else "NONREF"
                if number not in wanted:
                    left_out.add(number)
            with contextlib.suppress(av.error.FFmpegError):  # a loss is judged by the frames that do not come
                for frame in packet.decode():
                    if source.origin is None or frame.pts is None:
                        previous += 1
                    else:
                        time = float(frame.pts * frame.time_base) - source.origin
                        previous = _index(times, time, slack)
                    yield previous, frame
    except av.error.FFmpegError:
        return  # the container ends here


def _key_before(order: Int64[np.ndarray, " packets"], keys: Bool[np.ndarray, " packets"], first: int) -> int:
    """Return the number of the packet at which decoding can begin to obtain frame `first` and those that follow."""
    possible = np.flatnonzero(keys & (order >= 0) & (order <= first))
    has_unknown = bool((order == UNKNOWN).any())  # then frames are counted from the first one on
    return 0 if has_unknown or not len(possible) else int(possible[-1])


def _decode_ordered(
    source: Source,
    order: Int64[np.ndarray, " packets"],
    begin: int,
    container: Any,
    stream: Any,
    wanted: Collection[int] | None,
    left_out: set[int],
) -> Iterator[tuple[int, VideoFrame]]:
    """Yield like `_decode_good` if times cannot identify frames: each packet's number in `order` does.

    The file is read from its beginning, and decoded from packet `begin` on.
    """
    previous, number = -1, 0
    try:
        for packet in container.demux(stream):
            if packet.size:
                index = int(order[number]) if number < len(order) else HIDDEN
                number += 1
                if number <= begin:
                    continue
                packet.pts, packet.dts = (None if index == UNKNOWN else index), None
                if wanted is not None:
                    stream.codec_context.skip_frame = "DEFAULT" if index in wanted else "NONREF"
                    if index >= 0 and index not in wanted:
                        left_out.add(index)
            with contextlib.suppress(av.error.FFmpegError):  # a loss is judged by the frames that do not come
                for frame in packet.decode():
                    if frame.pts == HIDDEN:
                        continue
                    previous = previous + 1 if frame.pts is None else int(frame.pts)
                    if previous < source.info.num_frames:
                        yield previous, frame
    except av.error.FFmpegError:
        return  # the container ends here


def _index(times: Float64[np.ndarray, " frames"], time: float, slack: float) -> int:
    """Return the index of the frame shown at a time, in seconds after the first."""
    return int(np.searchsorted(times, time + slack, side="right")) - 1


def _check_loss(source: Source, previous: int, index: int, left_out: Collection[int] = ()) -> None:
    """Raise if too many frames between `previous` and `index` could not be decoded, not counting those left out."""
    lost = index - previous - 1
    lost -= sum(number in left_out for number in range(previous + 1, index)) if left_out else 0
    if lost > 0 and lost / float(source.info.fps) > source.tolerable_loss:
        moment = float(source.info.frame_times[previous + 1])
        raise broken(source.info.path, moment, f"{lost} of {source.info.num_frames} frames cannot be decoded there")


@contextlib.contextmanager
def _decoding_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except av.error.FFmpegError as error:
        raise PosegenError(f"{path}: cannot be decoded ({error.strerror})") from error


def _seek(container: Any, stream: Any, time: float) -> None:
    """Seek to the last key frame at or before `time` (seconds on the container's clock)."""
    # half a millisecond later: containers round times, and a seek to just before a key frame goes to the one before it
    container.seek(math.floor((time + 0.0005) / stream.time_base), stream=stream, backward=True)
