"""Subprocess that converts the audio of one video file into packets for another; started by `audio`.

A damaged track can crash the process that decodes it: then this one, not the one that makes the video. It needs PyAV
only. It reads a request (a line of JSON) from standard input and writes records to standard output: lines of JSON, some
of which are followed by bytes.

Tracks are tried in the file's order: AAC and MP3, which every browser plays in MP4, are tried as a copy; anything else
becomes AAC. A track that cannot be decoded, or that the output cannot hold, is skipped.
"""

import contextlib
import errno
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, BinaryIO

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.bitstream import BitStreamFilterContext

DISK_FULL = 28
"""Exit code if the disk is full."""

_COPIED_CODECS = {"aac", "mp3"}
_COPIED_CHANNELS = 8  # at most; more become stereo
_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
_AAC_BIT_RATE = 192_000
_AAC_FRAME = 1024  # samples
_GAP = 0.05  # seconds: longer gaps are filled with silence, longer overlaps are dropped
_WARM_UP = 2  # packets kept before the beginning: a decoder needs them, players skip them by the edit list
_TRIED = 200  # packets in which a track must hold something that can be decoded


_Moment = tuple[int, float | None]
"""(number of the packet, seconds on the source's continued clock)."""


@dataclass(frozen=True)
class AudioCut:
    """Part of the audio that is used."""

    zero: float
    """Beginning of the output on the source's clock, seconds."""
    end: float
    """Length of the output, seconds."""
    shifts: tuple[tuple[int, float], ...]
    """(number of a packet, seconds to add to the times from it on), rising."""


def add_encoder(container: Any, rate: int, layout: str) -> Any:
    """Add a stream for encoded audio to an output container."""
    return container.add_stream("aac", rate=rate, layout=layout, bit_rate=_AAC_BIT_RATE)


def copied_packets(packets: Iterable[Any], stream: Any, output: Any, cut: AudioCut) -> Iterator[tuple[float, Any]]:
    """Yield (seconds of the output, packet) for each packet of the source's `stream`, timed for `output`, rising."""
    base = stream.time_base
    zero, shifts, shift = round(cut.zero / base), dict(cut.shifts), 0
    last_pts, last_dts, end, is_seam = 0, 0, None, False
    # AAC of transport streams describes itself in each packet: two files are written, and one of them would refuse it
    has_headers = stream.codec_context.name == "aac" and not stream.codec_context.extradata
    unpack = BitStreamFilterContext("aac_adtstoasc", stream) if has_headers else None
    for number, packet in enumerate(packet for packet in packets if packet.size):
        if number in shifts:
            shift, is_seam = round(shifts[number] / base), number > 0
        if packet.dts is None or packet.pts is None:
            continue
        packet.pts += shift - zero
        packet.dts += shift - zero
        length = packet.duration or 0
        if packet.pts <= -_WARM_UP * length:
            continue
        if end is not None:
            doubled = (end - packet.pts) * base
            if doubled > (length * base / 2 if is_seam else _GAP):
                continue
            if packet.pts <= last_pts or packet.dts <= last_dts:
                packet.pts = packet.dts = max(last_pts, last_dts) + max(1, length)
        is_seam = False
        last_pts, last_dts, end = packet.pts, packet.dts, packet.pts + length
        moment = float(packet.pts * packet.time_base)
        for each in [packet] if unpack is None else unpack.filter(packet):
            each.stream = output
            yield moment, each


def encoded_packets(packets: Iterable[Any], encoder: Any, cut: AudioCut) -> Iterator[Any]:
    """Decode the audio of `packets` and encode it again, timed for the output."""
    resampler: Any = AudioResampler("fltp", encoder.layout.name, encoder.sample_rate, frame_size=_AAC_FRAME)
    for frame in _timed_frames(packets, cut):
        for piece in resampler.resample(frame):
            moment = piece.pts * piece.time_base
            if moment >= cut.end:
                yield from encoder.encode(None)
                return
            if moment > -_AAC_FRAME / piece.sample_rate:
                yield from encoder.encode(piece)
    yield from encoder.encode(None)


def _timed_frames(packets: Iterable[Any], cut: AudioCut) -> Iterator[Any]:
    """Yield decoded frames without gaps, counted in samples from the output's beginning; the last is None.

    A container's times are too coarse to count by (milliseconds in Matroska), but they show gaps.
    """
    position: int | None = None
    seams, number = {each for each, _ in cut.shifts if each}, 0
    for frame, (number_now, time) in _of_one_kind(_decoded(packets, dict(cut.shifts))):
        rate = frame.sample_rate
        place = (position or 0) if time is None else round((time - cut.zero) * rate)
        position = place if position is None else position
        is_seam = any(number < seam <= number_now for seam in seams)
        if position - place > (frame.samples / 2 if is_seam else _GAP * rate):
            continue
        number = number_now
        while place - position > _GAP * rate:
            if position > cut.end * rate:
                yield None
                return
            silence = _silence(frame, min(place - position, rate))
            yield _at(silence, position)
            position += silence.samples
        yield _at(frame, position)
        position += frame.samples
        if position > (cut.end + 1) * rate:
            break
    yield None


def _decoded(packets: Iterable[Any], shifts: dict[int, float]) -> Iterator[tuple[AudioFrame, _Moment]]:
    """Yield the frames and their times."""
    shift, number = 0.0, 0
    for packet in packets:
        shift = shifts.get(number, shift)
        number += bool(packet.size)
        if shift and packet.pts is not None:
            packet.pts += round(shift / packet.time_base)
        with contextlib.suppress(av.error.FFmpegError):  # the damaged packet becomes a gap
            for frame in packet.decode():
                yield frame, (number - 1, frame.time)


def _of_one_kind(frames: Iterable[tuple[AudioFrame, _Moment]]) -> Iterator[tuple[AudioFrame, _Moment]]:
    """Yield the frames; those that differ from the first in rate, channels or format are converted to match it."""
    first: tuple[str, str, int] | None = None
    kind: tuple[str, str, int] | None = None
    convert: AudioResampler | None = None
    for frame, moment in frames:
        this = frame.format.name, frame.layout.name, frame.sample_rate
        first = first or this
        if this == first:
            yield frame, moment
            continue
        if this != kind or convert is None:
            kind, convert = this, AudioResampler(*first)
        frame.pts = None
        for converted in convert.resample(frame):
            yield converted, moment


def _at(frame: AudioFrame, position: int) -> AudioFrame:
    """Set the frame to begin at sample `position`."""
    frame.pts, frame.time_base = position, Fraction(1, frame.sample_rate)
    return frame


def _silence(like: AudioFrame, samples: int) -> AudioFrame:
    silence = AudioFrame(like.format.name, like.layout.name, samples)
    silence.sample_rate = like.sample_rate
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    return silence


class _Nowhere:
    """File that discards its content: used to test what a container accepts."""

    def __init__(self) -> None:
        self._place = 0

    def write(self, content: Any) -> int:
        self._place += len(content)
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        self._place = offset if whence == 0 else self._place + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def read(self, _size: int = -1) -> bytes:
        return b""


class _UnusableError(Exception):
    """A track cannot be used; the text gives the reason."""


def _write(out: BinaryIO, record: dict[str, Any], content: bytes = b"") -> None:
    try:
        out.write(json.dumps(record).encode() + b"\n" + content)
        out.flush()
    except OSError as error:
        sys.exit(DISK_FULL if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG) else 1)


def _open(request: dict[str, Any]) -> Any:
    return av.open(f"file:{request['source']}", container_options=request["options"], metadata_errors="replace")


def _demuxed(container: Any, stream: Any, broken: Callable[[str], None]) -> Iterator[Any]:
    try:
        yield from container.demux(stream)
    except av.error.FFmpegError as error:
        broken(error.strerror or str(error))


def _check_decodable(request: dict[str, Any], track: int) -> None:
    with _open(request) as container:
        stream = container.streams.audio[track]
        if stream.codec_context is None:
            raise _UnusableError("there is no decoder for it")
        for number, packet in enumerate(container.demux(stream)):
            with contextlib.suppress(av.error.FFmpegError):
                if packet.decode():
                    return
            if number > _TRIED:
                break
    raise _UnusableError("none of it can be decoded")


def _try_copy(request: dict[str, Any], track: int, cut: AudioCut) -> None:
    """Raises what PyAV raises where the output cannot hold the packets as they are."""
    with _open(request) as container, av.open(_Nowhere(), "w", format=request["format"]) as nowhere:
        stream = container.streams.audio[track]
        output = nowhere.add_stream_from_template(stream)
        for moment, packet in copied_packets(_demuxed(container, stream, lambda _: None), stream, output, cut):
            if moment >= cut.end:
                break
            nowhere.mux(packet)


def _encode(request: dict[str, Any], track: int, cut: AudioCut, out: BinaryIO) -> None:
    with _open(request) as container, av.open(_Nowhere(), "w", format=request["format"]) as nowhere:
        stream = container.streams.audio[track]
        codec = stream.codec_context
        rate = codec.sample_rate if codec.sample_rate in _AAC_RATES else 48000
        layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
        output = add_encoder(nowhere, rate, layout)
        _write(out, {"encoded": track, "rate": rate, "layout": layout, "codec": codec.name})
        reasons: list[str] = []
        for packet in encoded_packets(_demuxed(container, stream, reasons.append), output, cut):
            if request["check_only"]:
                continue
            content = bytes(packet)
            fields = {name: getattr(packet, name) for name in ("pts", "dts", "duration", "is_keyframe")}
            base = packet.time_base
            _write(out, {"packet": fields, "base": [base.numerator, base.denominator], "size": len(content)}, content)
        if reasons:
            _write(out, {"breaks_off": reasons[0]})


def _use(request: dict[str, Any], track: int, out: BinaryIO) -> None:
    """Write the packets of one track, or that it can be copied. Raises `_UnusableError` where neither works."""
    shifts = request["shifts"][track] if request["shifts"] else []
    cut = AudioCut(request["zero"], request["end"], tuple((number, offset) for number, offset in shifts))
    _check_decodable(request, track)
    with _open(request) as container:
        codec = container.streams.audio[track].codec_context
        copied = codec.name.removesuffix("float") in _COPIED_CODECS and codec.layout.nb_channels <= _COPIED_CHANNELS
        name = codec.name
    if copied:
        with contextlib.suppress(av.error.FFmpegError, ValueError):  # then it is encoded
            _try_copy(request, track, cut)
            return _write(out, {"copied": track, "codec": name})
    try:
        _encode(request, track, cut, out)
    except (av.error.FFmpegError, ValueError, ArithmeticError, TypeError) as error:
        raise _UnusableError(f"it cannot be converted ({getattr(error, 'strerror', None) or error})") from error


def _limit(memory: int) -> None:
    with contextlib.suppress(ImportError, OSError, ValueError):  # not on every system
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


def main() -> None:
    """Answer one request."""
    request, out = json.load(sys.stdin), sys.stdout.buffer
    _limit(request["memory"])
    with _open(request) as container:
        count = len(container.streams.audio)
    for track in range(count):
        if track in request["skipped"]:
            continue
        _write(out, {"trying": track})
        try:
            _use(request, track, out)
        except _UnusableError as error:
            _write(out, {"unusable": track, "why": str(error)})
        except Exception as error:  # whatever PyAV makes of a strange track
            _write(out, {"unusable": track, "why": f"it cannot be used ({error or type(error).__name__})"})
        else:
            break
    _write(out, {"done": True})


if __name__ == "__main__":
    main()
