"""The sound of one video file, cut to begin and end with the pictures of another.

AAC and MP3, which every browser plays in MP4, are copied without loss; anything else becomes AAC. It produces packets
on demand; putting them into a file is `writing`'s business.
"""

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from posegen.errors import logger
from posegen.media.probing import inspect, open_video

_COPIED_CODECS = {"aac", "mp3"}
_AAC_RATES = {8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000}
_AAC_BIT_RATE = 192_000
_AAC_FRAME = 1024  # samples
_GAP = 0.05  # seconds without sound that are filled with silence
_WARM_UP = 2  # packets kept before the beginning: a decoder needs them, players skip them by the edit list


class AudioTrack:
    """Sound of `source` from `start` (seconds after its first *picture*), as a stream of the output `container`.

    `packets_until` gives what belongs before a moment of the output, so that the end is cut where the pictures end, to
    within one packet (about 20 ms). A source whose sound breaks off gives what there is, with a warning.
    """

    def __init__(self, source: Path, container: Any, start: float | int) -> None:
        self._source = source
        self._resources = contextlib.ExitStack()
        self._zero = (inspect(source).origin or 0.0) + start
        self._input, _ = self._resources.enter_context(open_video(source))
        self._stream = self._input.streams.audio[0]
        codec = self._stream.codec_context
        self._encoder: Any = None
        if codec.name.removesuffix("float") in _COPIED_CODECS:
            self._output = container.add_stream_from_template(self._stream)
            self._pieces = self._copied()
        else:
            rate = codec.sample_rate if codec.sample_rate in _AAC_RATES else 48000
            layout = "mono" if codec.layout.nb_channels == 1 else "stereo"
            self._output = self._encoder = container.add_stream("aac", rate=rate, layout=layout, bit_rate=_AAC_BIT_RATE)
            self._pieces = self._decoded(AudioResampler("fltp", layout, rate, frame_size=_AAC_FRAME))
        self._next = next(self._pieces, None)

    @property
    def stream(self) -> Any:
        """The stream of the output that the packets belong to."""
        return self._output

    def packets_until(self, end: float) -> Iterator[Any]:
        """Yield the packets of all sound that begins before `end` seconds of the output and was not given yet."""
        while self._next is not None and self._next[0] < end:
            piece = self._next[1]
            yield from [piece] if self._encoder is None else self._encoder.encode(piece)
            self._next = next(self._pieces, None)

    def finish(self) -> Iterator[Any]:
        """Yield what the encoder still holds."""
        if self._encoder is not None:
            yield from self._encoder.encode(None)

    def close(self) -> None:
        """Close the source."""
        self._resources.close()

    def _copied(self) -> Iterator[tuple[float, Any]]:
        """(seconds of the output, packet) for each packet, timed for the output."""
        zero = round(self._zero / self._stream.time_base)
        for packet in self._demux():
            if packet.dts is None or packet.pts is None:
                continue
            packet.pts -= zero
            packet.dts -= zero
            if packet.pts > -_WARM_UP * (packet.duration or 0):
                packet.stream = self._output
                yield float(packet.pts * packet.time_base), packet

    def _decoded(self, resampler: Any) -> Iterator[tuple[float, Any]]:
        """(seconds of the output, frame of 1024 samples) for each frame, timed for the output."""
        for frame in self._frames():
            for piece in resampler.resample(frame):
                if piece.pts * piece.time_base > -_AAC_FRAME / piece.sample_rate:
                    yield float(piece.pts * piece.time_base), piece

    def _frames(self) -> Iterator[Any]:
        """Decoded frames without gaps between them, counted in samples from the output's beginning; the last is None.

        A container's times are too coarse to count by (milliseconds in Matroska), but they tell of gaps.
        """
        position: int | None = None
        for packet in self._demux():
            with contextlib.suppress(av.error.InvalidDataError):  # the damaged packet becomes a gap
                for frame in packet.decode():
                    rate = frame.sample_rate
                    place = round((frame.time - self._zero) * rate)
                    position = place if position is None else position
                    while place - position > _GAP * rate:
                        silence = _silence(frame, min(place - position, rate))
                        yield _at(silence, position)
                        position += silence.samples
                    yield _at(frame, position)
                    position += frame.samples
        yield None

    def _demux(self) -> Iterator[Any]:
        try:
            yield from self._input.demux(self._stream)
        except av.error.FFmpegError as error:
            logger.warning(
                "%s: its sound breaks off (%s); the result is silent from there", self._source, error.strerror
            )


def _at(frame: AudioFrame, position: int) -> AudioFrame:
    """The frame, begun at sample `position`."""
    frame.pts, frame.time_base = position, Fraction(1, frame.sample_rate)
    return frame


def _silence(like: AudioFrame, samples: int) -> AudioFrame:
    silence = AudioFrame(like.format.name, like.layout.name, samples)
    silence.sample_rate = like.sample_rate
    for plane in silence.planes:
        plane.update(bytes(plane.buffer_size))
    return silence
