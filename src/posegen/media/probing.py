"""What is in a video file, found from its packets and one decoded frame, so that trouble shows before any work.

Frames are `reading`'s business.
"""

import contextlib
import functools
import math
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
from jaxtyping import Float64

from posegen.errors import PosegenError, logger
from posegen.media.colour import Orientation, is_hdr
from posegen.media.files import check_input
from posegen.media.timing import average_rate

MAX_SIDE = 16384
"""Longest accepted side of a picture, pixels."""

# No playlists or scripts (they open other files), no still images; and only the file itself is opened.
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,m4v,h264,hevc,av1,obu,ivf,flv,ogg,asf,gif,mxf,"
    "mjpeg,yuv4mpegpipe,nut,dv"
)
_OPEN_OPTIONS = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}


@dataclass(frozen=True)
class VideoInfo:
    """What a video file holds. Sizes are for display, after rotation and with square pixels."""

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
    """Seconds from the first frame's beginning to the last one's end."""
    has_audio: bool
    rotation: int
    """Clockwise degrees (0, 90, 180, 270) by which stored frames are turned."""
    codec: str
    """FFmpeg's name, such as h264."""
    pixel_format: str
    """FFmpeg's name, such as yuv420p."""
    is_hdr: bool
    """Whether colours are PQ or HLG."""
    frame_times: Float64[np.ndarray, " num_frames"] = field(
        repr=False, compare=False, default_factory=lambda: np.empty(0)
    )
    """When each frame is shown, seconds after the first; constant-rate if not given."""

    def __post_init__(self) -> None:
        if not len(self.frame_times):
            object.__setattr__(self, "frame_times", np.arange(self.num_frames) / float(self.fps))


@dataclass(frozen=True)
class Source:
    """A video file with what decoding needs beyond `VideoInfo`."""

    info: VideoInfo
    origin: float | None  # the first frame's time on the container's clock; None where frames carry no times
    orientation: Orientation
    stored_size: tuple[int, int]  # (H, W) with square pixels, before turning
    is_interlaced: bool  # by its first frame

    @property
    def tolerable_loss(self) -> float:
        """Seconds without a decodable frame that pass: 2 % of the video, but at least 2 frames and at most 1 s."""
        return max(2 / float(self.info.fps), min(1.0, 0.02 * self.info.duration))


@dataclass(frozen=True)
class _Packets:
    """What the compressed packets say, without decoding them."""

    times: Float64[np.ndarray, " n"]  # sorted, on the container's clock, seconds
    has_times: bool
    last_duration: float
    missing: float  # seconds that the container declares and the file does not hold


def probe_video(path: str | os.PathLike[str]) -> VideoInfo:
    """Read everything about a video but its pictures (the packets are walked through, one frame is decoded).

    Raises `PosegenError`: no such file, not a video, no frames, cut off (told by the container declaring more than
    there is; 2 % of the video may be missing, at least 2 frames and at most 1 s), sides longer than `MAX_SIDE`.
    """
    return inspect(Path(path)).info


def video_is_complete(path: str | os.PathLike[str]) -> bool:
    """Whether the file is a video that holds every frame it declares (packets are counted, not decoded)."""
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
                f"{path}: is a folder of pictures, not a video; make one, with the rate that they were taken at: "
                f"ffmpeg -framerate 24 -pattern_type glob -i '{path}/*{kind}' -crf 15 -pix_fmt yuv420p video.mp4"
            )
    check_input(path, "a video")


@contextlib.contextmanager
def open_video(path: Path) -> Iterator[tuple[Any, Any]]:
    """Open a file and find its moving picture. Raises `PosegenError` if there is no such file or no video in it."""
    _check_video(path)
    try:
        # "file:" keeps names such as `concat:a` from being read as protocols
        container = av.open(f"file:{path}", container_options=_OPEN_OPTIONS, metadata_errors="replace")
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
        stream.thread_type = "AUTO"
        yield container, stream


def inspect(path: Path) -> Source:
    """Everything about a video file; that of the last few is kept. Raises `PosegenError` as `probe_video` tells."""
    _check_video(path)
    state = path.stat()
    return _inspect(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@functools.lru_cache(maxsize=4)
def _inspect(path: Path, state: tuple[int, int, int]) -> Source:
    """`state` tells one content of the file from another."""
    packets = _walk_packets(path)
    with open_video(path) as (container, stream):
        frame = _first_frame(path, container, stream)
        orientation, is_interlaced = Orientation(frame), bool(frame.interlaced_frame)
        stored_size = _square_pixels(frame, stream.sample_aspect_ratio)
        rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
        has_audio, codec = bool(container.streams.audio), stream.codec_context.codec.canonical_name
    if max(stored_size) > MAX_SIDE:
        raise PosegenError(
            f"{path}: {stored_size[0]}x{stored_size[1]} (height x width); at most {MAX_SIDE} a side can be read"
        )
    height, width = reversed(stored_size) if orientation.transposed else stored_size
    fps = average_rate(packets.times, rates)
    times = packets.times - packets.times[0]
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
    source = Source(info, origin, orientation, stored_size, is_interlaced)
    if packets.missing > source.tolerable_loss:
        raise broken(path, info.duration, f"{packets.missing:.2f} s that it declares are missing")
    return source


def _walk_packets(path: Path) -> _Packets:
    """Read all packets of the file. An end that cannot be demuxed counts as missing."""
    times: list[float | None] = []
    packet_count, last_end, last_time, last_duration = 0, 0.0, -math.inf, 0.0
    with open_video(path) as (container, stream):
        beginning = (container.start_time or 0) / av.time_base
        try:
            for packet in container.demux():
                if not packet.size or packet.is_corrupt:
                    continue
                moment = packet.pts if packet.pts is not None else packet.dts
                time = None if moment is None else float(moment * packet.time_base)
                duration = float((packet.duration or 0) * packet.time_base)
                last_end = max(last_end, (time or 0.0) + duration - beginning)
                if packet.stream_index != stream.index:
                    continue
                packet_count += 1
                if packet.is_discard or _is_hidden(packet, stream):
                    continue
                times.append(time)
                if time is not None and time >= last_time:
                    last_time, last_duration = time, duration
        except av.error.FFmpegError as error:
            logger.warning("%s: reading stopped at %.2f s (%s)", path, last_end, error.strerror)
        declared_frames, declared_duration = stream.frames, (container.duration or 0) / av.time_base
        rate = stream.average_rate or stream.guessed_rate or Fraction(25)
    if not times:
        raise PosegenError(f"{path}: the video contains no frames")
    missing = [0.0]
    if declared_frames:
        missing.append(float((declared_frames - packet_count) / rate))
    elif declared_duration and None not in times:
        missing.append(declared_duration - last_end)
    has_times = None not in times
    clean = np.sort(np.array([time or 0.0 for time in times], dtype=np.float64))
    return _Packets(clean, has_times, last_duration, max(missing))


def _is_hidden(packet: Any, stream: Any) -> bool:
    """Whether a packet holds a picture that is never shown (VP8's alternate reference frames)."""
    return stream.codec_context.name == "vp8" and not bytes(packet)[0] & 0x10


def _first_frame(path: Path, container: Any, stream: Any) -> VideoFrame:
    for packet in container.demux(stream):
        with contextlib.suppress(av.error.FFmpegError):  # a recording may begin in the middle of a group of pictures
            for frame in packet.decode():
                return frame
    raise PosegenError(f"{path}: none of its frames can be decoded")


def _square_pixels(frame: VideoFrame, aspect: Fraction | None) -> tuple[int, int]:
    """(H, W) of the stored picture with square pixels; the short direction is enlarged, so that nothing is lost."""
    aspect = aspect or Fraction(1)
    if aspect >= 1:
        return frame.height, round(frame.width * aspect)
    return round(frame.height / aspect), frame.width


def broken(path: Path, moment: float, reason: str) -> PosegenError:
    """The error that tells at what second a video cannot be read further."""
    return PosegenError(
        f"{path}: the video breaks off at {moment:.2f} s: {reason}; get the whole file, or cut it before"
    )
