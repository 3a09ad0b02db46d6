"""Inspects a video file by its packets and one decoded frame, so that problems show before any work.

Frames are read in `reading`.
"""

import contextlib
import functools
import math
import mmap
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from jaxtyping import Bool, Float64, Int64

from posegen.errors import PosegenError, logger
from posegen.media.animated_webp import readable
from posegen.media.clock import (
    Clock,
    Shifts,
    Stamps,
    Tolerance,
    continued_clock,
    filled_clock,
    sound_clocks,
    uncounted_clock,
    viewed_clock,
    viewed_length,
)
from posegen.media.colour import Orientation, is_hdr
from posegen.media.files import check_input
from posegen.media.timing import average_rate

MAX_SIDE = 16384
"""Maximum side of a frame, pixels."""
MAX_PIXELS = 1 << 26
"""Maximum pixels of a frame: twice those of 8K."""

# no playlists or scripts (they open other files), no still images; and only the file itself is opened.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,ogg,asf,gif,mxf,"
    "mjpeg,yuv4mpegpipe,nut,dv,apng"
)
_TIMELESS = {"h264", "hevc", "mpegvideo", "m4v", "av1", "obu", "mjpeg"}
"""Raw streams: for some of them FFmpeg makes up a rate."""
_ANIMATED = {"gif", "apng"}
"""Animated pictures, which browsers show in a time of their own; so they do AVIF of the brand `avis`."""
_NUT = b"nut/multimedia container\0"
"""Signature at the beginning of NUT, which occurs nowhere else in it."""
_ONLY_THE_FIRST = "of which only the first is read"
_CUT_OFF = 4
"""Number of packets at a file's end that are dropped if marked as damaged: they are cut off. Where transport streams
are joined, packets are marked as well, but are complete."""
_DISCONTINUOUS = {"mpegts", "mpeg"}
"""Containers whose standard allows clocks to restart."""
OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS, "default_fps": "10"}


@dataclass(frozen=True)
class VideoInfo:
    """Properties of a video file. Sizes are for display, after rotation and with square pixels."""

    path: Path
    width: int
    """Pixels."""
    height: int
    """Pixels."""
    fps: Fraction
    """Average frames per second."""
    num_frames: int
    """Stored frames."""
    duration: float
    """Seconds from the beginning of the first frame to the end of the last."""
    has_audio: bool
    rotation: int
    """Clockwise degrees (0, 90, 180, 270) by which stored frames are rotated for display."""
    codec: str
    """FFmpeg's name, such as h264."""
    pixel_format: str
    """FFmpeg's name, such as yuv420p."""
    is_hdr: bool
    """True if the transfer function is PQ or HLG."""
    frame_times: Float64[np.ndarray, " num_frames"] = field(
        repr=False, compare=False, default_factory=lambda: np.empty(0)
    )
    """Time of each frame, seconds after the first; constant-rate if not given."""

    def __post_init__(self) -> None:
        if not len(self.frame_times):
            object.__setattr__(self, "frame_times", np.arange(self.num_frames) / float(self.fps))


@dataclass(frozen=True)
class Source:
    """Video file with what decoding needs in addition to `VideoInfo`."""

    info: VideoInfo
    origin: float | None  # the first frame's time on the container's clock; None where frames carry no times
    orientation: Orientation
    stored_size: tuple[int, int]  # (H, W) with square pixels, before rotation
    is_interlaced: bool  # by its first frame
    order: Int64[np.ndarray, " packets"] | None = None  # see `clock.Clock`; None where a frame's own time gives it
    keys: Bool[np.ndarray, " packets"] | None = None  # where decoding can begin
    doubtful: frozenset[int] = frozenset()  # frames that the container marks as damaged: they may or may not be missing
    sounds: tuple[Shifts, ...] = ()  # time shifts of each audio track; empty for none

    @property
    def tolerable_loss(self) -> float:
        """Seconds without a decodable frame that are tolerated: 2 % of the video, at least 2 frames, at most 1 s."""
        return max(2 / float(self.info.fps), min(1.0, 0.02 * self.info.duration))


@dataclass(frozen=True)
class _Packets:
    """Information from the compressed packets, without decoding them."""

    times: Float64[np.ndarray, " n"]  # sorted, on the container's clock, seconds
    has_times: bool
    last_duration: float
    missing: float  # seconds that the container declares and the file does not hold
    clock: Clock | None  # None where each packet's own time is right
    are_keys: Bool[np.ndarray, " packets"]
    sounds: tuple[Shifts, ...]
    doubtful: frozenset[int]


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Read the properties of a video (all packets are demuxed, one frame is decoded).

    Raises `PosegenError`: no such file, not a video, no frames, cut off (the container declares more than there is;
    2 % of the video may be missing, at least 2 frames and at most 1 s), sides longer than `MAX_SIDE`.
    """
    return inspect(Path(path)).info


def video_is_complete(path: str | os.PathLike[str]) -> bool:
    """Return True if the file is a video that holds every frame it declares (packets are counted, not decoded)."""
    try:
        source_packets = _walk_packets(Path(path))
    except PosegenError:
        return False
    return source_packets.missing <= 0.002  # Matroska rounds to milliseconds


def _check_video(path: Path) -> None:
    with contextlib.suppress(OSError):  # not a folder, or none that may be read
        kinds = Counter(each.suffix for each in path.iterdir())
        kind = max((".png", ".jpg", ".jpeg", ".webp"), key=lambda kind: kinds[kind])
        if kinds[kind] > 1:
            raise PosegenError(
                f"{path}: is a folder of images, not a video; make one, at the frame rate of the images: "
                f"ffmpeg -framerate 24 -pattern_type glob -i '{path}/*{kind}' -crf 15 -pix_fmt yuv420p video.mp4"
            )
    check_input(path, "a video")


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and find its video stream. Raises `PosegenError` if there is no such file or no video in it."""
    _check_video(path)
    try:
        # "file:" keeps names such as `concat:a` from being read as protocols
        container = av.open(f"file:{readable(path)}", container_options=OPEN_OPTIONS, metadata_errors="replace")
    except av.error.FFmpegError as error:
        hint = (
            "it is another kind of file, or cut off before its index"
            if isinstance(error, ValueError)
            else error.strerror
        )
        raise PosegenError(f"{path}: not a video that can be read ({hint})") from error
    with container:
        pictures = [s for s in container.streams.video if not s.disposition & av.stream.Disposition.attached_pic]
        if not pictures or pictures[0].codec_context is None:
            raise PosegenError(f"{path}: holds no video that can be decoded")
        stream = pictures[0]
        if _is_animated_avif(container):  # beside the still picture that the file begins with
            stream = max(pictures, key=lambda each: each.frames)
        check_frame_size(str(path), stream)
        stream.thread_type = "AUTO"
        yield container, stream


def _is_animated_avif(container: Any) -> bool:
    return container.metadata.get("major_brand") == "avis"


def check_frame_size(name: str, stream: Any) -> None:
    """Raise `PosegenError` if the file declares frames that are too large to decode.

    The decoder itself refuses larger ones that come later.
    """
    height, width = stream.codec_context.height or 0, stream.codec_context.width or 0
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise PosegenError(
            f"{name}: {height}x{width} (height x width); the maximum is {MAX_SIDE} a side and {MAX_PIXELS:,} pixels"
        )
    stream.codec_context.options = {"max_pixels": str(MAX_PIXELS)}


def inspect(path: Path) -> Source:
    """Inspect a video file; the last few results are cached. Raises `PosegenError` like `probe_video`."""
    _check_video(path)
    state = path.stat()
    return _inspect(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _inspect(path: Path, state: tuple[int, int, int]) -> Source:
    """Inspect uncached; `state` identifies the content of the file."""
    packets = _walk_packets(path)
    with open_video(path) as (container, stream):
        frame = _first_frame(path, container, stream)
        orientation, is_interlaced = Orientation(frame), bool(frame.interlaced_frame)
        stored_size = _square_pixels(frame, stream.sample_aspect_ratio)
        own_rate = stream.codec_context.framerate or None
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        has_audio, codec = bool(container.streams.audio), stream.codec_context.codec.canonical_name
    if max(stored_size) > MAX_SIDE:
        raise PosegenError(
            f"{path}: {stored_size[0]}x{stored_size[1]} (height x width); the maximum is {MAX_SIDE} a side"
        )
    height, width = reversed(stored_size) if orientation.transposed else stored_size
    fps = average_rate(packets.times, rates)
    times = packets.times - packets.times[0]
    if not packets.has_times:
        fps = _assumed_rate(path, own_rate, rates)
    if not packets.has_times or (len(times) > 1 and times[-1] == 0):
        times = np.arange(len(times)) / float(fps)
    info = VideoInfo(
        path=path,
        width=width,
        height=height,
        fps=fps,
        num_frames=len(times),
        duration=float(times[-1]) + (packets.last_duration or float(1 / fps)),
        has_audio=has_audio,
        rotation=orientation.degrees,
        codec=codec,
        pixel_format=frame.format.name,
        is_hdr=is_hdr(frame),
        frame_times=times,
    )
    origin = float(packets.times[0]) if packets.has_times else None
    clock = packets.clock
    if clock is None:
        source = Source(
            info, origin, orientation, stored_size, is_interlaced, doubtful=packets.doubtful, sounds=packets.sounds
        )
        if packets.sounds:
            logger.warning("%s: the times of its audio jump back: each part is placed after the one before", path)
    else:
        source = Source(
            info,
            origin,
            orientation,
            stored_size,
            is_interlaced,
            clock.order,
            packets.are_keys,
            packets.doubtful,
            packets.sounds,
        )
        _report_breaks(path, clock)
    if packets.missing > source.tolerable_loss:
        raise broken(path, info.duration, f"{packets.missing:.2f} s that it declares are missing")
    return source


def _assumed_rate(path: Path, own_rate: Fraction | None, guesses: list[Fraction | None]) -> Fraction:
    """Return the rate of a stream without times: its declared rate, else FFmpeg's guess. Logs one line."""
    if own_rate:
        logger.warning("%s: its frames carry no times: %g frames per second, as the stream declares", path, own_rate)
        return own_rate
    rate = next((rate for rate in guesses if rate), Fraction(25))
    logger.warning(
        "%s: its frames carry no times, and it declares no rate: %g frames per second are assumed; for another rate, "
        "convert it to .mp4 first (ffmpeg -r RATE -i %s -c copy video.mp4)",
        path,
        rate,
        path,
    )
    return rate


def _report_breaks(path: Path, clock: Clock) -> None:
    if clock.breaks:
        where = ", ".join(f"{second:.2f}" for second in clock.breaks[:5]) + (", ..." if len(clock.breaks) > 5 else "")
        logger.warning(
            "%s: its clock restarts at %s s (joined files?): its parts are played one after another",
            path,
            where,
        )


class _StreamTrack:
    """Collects the times of one stream's packets."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, float, float, float, bool]] = []

    def add(self, place: int, packet: Any) -> None:
        base = packet.time_base
        decoded, shown = (math.nan if time is None else float(time * base) for time in (packet.dts, packet.pts))
        length = float((packet.duration or 0) * base)
        self.rows.append((place, decoded, shown, length, bool(packet.is_keyframe)))

    def stamps(self) -> Stamps:
        places, decoded, shown, lengths, keys = zip(*self.rows, strict=True) if self.rows else [()] * 5
        return Stamps(
            np.array(places, np.int64),
            np.array(decoded, np.float64),
            np.array(shown, np.float64),
            np.array(lengths, np.float64),
            np.array(keys, bool),
        )


def _walk_packets(path: Path) -> _Packets:
    """Demux all packets of the file. An end that cannot be demuxed counts as missing."""
    pictures, sounds = _StreamTrack(), dict[int, _StreamTrack]()
    visible, corrupt = list[bool](), list[bool]()
    packet_count, last_end, read_to = 0, 0.0, 0
    with open_video(path) as (container, stream):
        beginning = (container.start_time or 0) / av.time_base
        sounds = {sound.index: _StreamTrack() for sound in container.streams.audio}
        try:
            for place, packet in enumerate(container.demux()):
                if not packet.size:
                    continue
                read_to = max(read_to, (packet.pos or 0) + packet.size)
                is_picture = packet.stream_index == stream.index
                if not packet.is_corrupt:
                    moment = packet.pts if packet.pts is not None else packet.dts
                    duration = float((packet.duration or 0) * packet.time_base)
                    last_end = max(last_end, float((moment or 0) * packet.time_base) + duration - beginning)
                    packet_count += is_picture
                if is_picture:
                    pictures.add(place, packet)
                    visible.append(not (packet.is_discard or _is_hidden(packet, stream)))
                    corrupt.append(packet.is_corrupt)
                elif packet.stream_index in sounds:
                    sounds[packet.stream_index].add(place, packet)
        except av.error.FFmpegError as error:
            logger.warning("%s: reading stopped at %.2f s (%s)", path, last_end, error.strerror)
        declared_frames, declared_duration = stream.frames, (container.duration or 0) / av.time_base
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
        formats, is_reordered = set(container.format.name.split(",")), bool(stream.codec_context.has_b_frames)
        is_animated = bool(formats & _ANIMATED) or _is_animated_avif(container)
    if followed := _describe_following(path, read_to, formats):
        logger.warning("%s: is several files in one, %s; join them with ffmpeg's concat demuxer", path, followed)
    stamps, are_shown, are_corrupt = pictures.stamps(), np.array(visible, bool), np.array(corrupt, bool)
    are_shown[-_CUT_OFF:] &= ~are_corrupt[-_CUT_OFF:]
    if not are_shown.any():
        raise PosegenError(f"{path}: the video contains no frames")
    clock, has_times = None, True
    beside = [track.stamps() for track in sounds.values()]
    tolerance = Tolerance(1.0 if "matroska" in formats else 0.1, 10.0 if formats & _DISCONTINUOUS else 3600.0)
    if formats & _TIMELESS or np.isnan(stamps.moments).all():
        clock, has_times = uncounted_clock(np.arange(float(len(are_shown))), are_shown), False
    elif np.isnan(stamps.moments).any():
        clock = filled_clock(stamps, are_shown, beside, tolerance)
    elif "avi" in formats and is_reordered:  # it stores the order of decoding only
        clock = uncounted_clock(stamps.moments, are_shown)
    elif is_animated:
        clock = viewed_clock(stamps, are_shown)
    else:
        clock = continued_clock(stamps, are_shown, beside, tolerance)
    missing = [0.0]
    if declared_frames:
        missing.append(float((declared_frames - packet_count) / rate))
    elif declared_duration and has_times and not (clock and clock.breaks) and not np.isnan(stamps.moments).any():
        from_zero = max(0.0, beginning) if "flv" in formats else 0.0  # where its declared duration is counted from
        missing.append(declared_duration - last_end - from_zero)
    moments, lengths = stamps.moments[are_shown], stamps.lengths[are_shown]
    times = np.sort(moments) if clock is None else clock.times
    last_duration = 0.0
    if has_times and not np.isnan(moments).all():
        latest = len(moments) - 1 - int(np.nanargmax(moments[::-1])) if clock is None else len(moments) - 1
        last_duration = float(lengths[latest])
        last_duration = viewed_length(last_duration) if is_animated else last_duration
    sound_shifts = sound_clocks(stamps, beside) if clock is None else clock.sounds
    if clock is None:
        numbers = np.searchsorted(times, stamps.moments[are_shown & are_corrupt])
    else:
        numbers = clock.order[are_shown & are_corrupt]
    doubtful = frozenset(numbers.tolist())
    are_keys = stamps.are_keys
    if is_animated and clock is not None:  # frames are drawn over those before
        are_keys = np.arange(len(are_keys)) == 0
    return _Packets(times, has_times, last_duration, max(missing), clock, are_keys, sound_shifts, doubtful)


def _describe_following(path: Path, read_to: int, formats: set[str]) -> str | None:
    """Describe the loss if another file begins inside this one, in a container in which FFmpeg reads it badly.

    read_to: the byte at which the last packet ended. FFmpeg reads the later fragments of MP4 by the first file's index
    and counts the frames of the first of them as hidden; in NUT it finds single frames after the second file's header.
    """
    with path.open("rb") as file:
        if "nut" in formats:
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return "of which the first is read and little of the others" if content.rfind(_NUT) > 0 else None
        if "flv" in formats:
            file.seek(read_to)
            return _ONLY_THE_FIRST if b"FLV\x01" in file.read(64) else None
        place, seen = 0, 0
        while "mov" in formats and seen < 2:
            file.seek(place)
            header = file.read(16)
            size = int.from_bytes(header[8:16] if header[:4] == b"\0\0\0\1" else header[:4])
            if len(header) < 8 or size < 8:
                return None
            seen += header[4:8] == b"moov"
            if seen < 2:
                place += size
    if seen < 2:
        return None
    return _ONLY_THE_FIRST if place >= read_to else "and frames where the second and each later one begins are lost"


def _is_hidden(packet: Any, stream: Any) -> bool:
    """Return True if a packet holds a frame that is never shown (VP8's alternate reference frames)."""
    return stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10


def _first_frame(path: Path, container: Any, stream: Any) -> VideoFrame:
    for packet in container.demux(stream):
        with contextlib.suppress(av.error.FFmpegError):  # a recording may begin in the middle of a group of frames
            for frame in packet.decode():
                return frame
    raise PosegenError(f"{path}: none of its frames can be decoded")


def _square_pixels(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """Return (H, W) of the stored frame with square pixels; the short direction is enlarged, to lose nothing."""
    aspect = aspect or Fraction(1)
    if aspect >= 1:
        return frame.height, round(frame.width * aspect)
    return round(frame.height / aspect), frame.width


def broken(path: Path, moment: float, reason: str) -> PosegenError:
    """Build the error for a video that cannot be read beyond a time in seconds."""
    return PosegenError(
        f"{path}: the video breaks off at {moment:.2f} s: {reason}; use the complete file, or cut it before that time"
    )
