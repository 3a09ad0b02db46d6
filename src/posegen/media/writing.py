"""Writes video files: H.264 for viewing, lossless FFV1 and RGB H.264 for passing frames between stages.

A file appears at its path only when it is complete.
"""

import contextlib
import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from jaxtyping import UInt8

from posegen.errors import PosegenError
from posegen.media.audio import AudioTrack, open_sound
from posegen.media.colour import RESAMPLING
from posegen.media.files import AtomicFile, output_errors
from posegen.media.growing import GrowingVideo
from posegen.media.probing import probe_video
from posegen.media.timing import as_rate

Codec = Literal["h264", "h264rgb", "ffv1"]
_SUFFIXES: dict[Codec, tuple[str, ...]] = {"h264": (".mp4", ".m4v"), "h264rgb": (".mkv",), "ffv1": (".mkv",)}
_GROUP_SECONDS = 1  # between H.264 key frames: a player can jump this finely, a growing file grows in such pieces


class VideoWriter:
    """Context manager that writes a video: it appears at `path` on exit without an error, else not at all.

    `size` is (H, W). `h264` (.mp4): yuv420p, BT.709, index in front, plays in browsers; sides must be even; `crf` is
    x264's quality, 0 (lossless) to 51, and `preset` its preset: veryfast is for previews.
    `ffv1` (.mkv): lossless RGB, every frame on its own, with checksums. `h264rgb` (.mkv): the same without checksums,
    in a quarter of the time if most of a frame has one colour.
    `audio_from` is a video whose audio, from `audio_start` seconds on, is added, cut to the length of the frames;
    `audio_seconds` is that length, if known: no more audio is read. Audio that cannot be used is left out, and a line
    is logged.
    `growing` (h264 only) is a second file that can be watched meanwhile, see `growing.GrowingVideo`: it is removed when
    the video is finished, and kept, with every frame written, when it is not.

    Raises `PosegenError` for a wrong suffix, rate or size, or an unreadable `audio_from`; `OutputError` if the file
    cannot be written, also from `write` and on leaving (disk full).
    """

    # more than seven arguments: each is an option that most callers leave out, as in `open`
    def __init__(
        self,
        path: str | os.PathLike[str],
        fps: Fraction | float | int,
        size: tuple[int, int],
        codec: Codec = "h264",
        audio_from: str | os.PathLike[str] | None = None,
        *,
        audio_start: float | int = 0.0,
        audio_seconds: float | int | None = None,
        crf: int = 16,
        preset: Literal["medium", "veryfast"] = "medium",
        growing: str | os.PathLike[str] | None = None,
    ) -> None:
        self.path = Path(path)
        self._fps = as_rate(fps)
        self._height, self._width = size
        self._codec = codec
        self._count = 0
        self._reformatter = VideoReformatter()
        self._audio: AudioTrack | None = None
        self._growing: GrowingVideo | None = None
        self._check()
        if audio_from is not None:
            probe_video(audio_from)
        self._file = AtomicFile(self.path)
        try:
            with output_errors(self.path):
                self._container = self._open()
                self._stream = self._add_video(crf, preset)
            if audio_from is not None:
                self._audio = open_sound(Path(audio_from), audio_start, audio_seconds, self.path, self._container)
            if growing is not None:
                assert codec == "h264", "only MP4 can grow"
                streams = [self._stream] if self._audio is None else [self._stream, self._audio.stream]
                self._growing = GrowingVideo(Path(growing), streams)
        except BaseException:
            self._discard()
            raise

    def write(self, frame: UInt8[np.ndarray, "h w 3"]) -> None:
        """Append one RGB frame of the writer's size. Raises `OutputError`."""
        assert frame.shape[:2] == (self._height, self._width), f"writing {self._height, self._width}, got {frame.shape}"
        picture = self._convert(frame)
        picture.pts, picture.time_base = self._count, 1 / self._fps
        self._count += 1
        with output_errors(self.path):
            self._mux(self._stream.encode(picture))
        self._write_audio()

    def __enter__(self) -> "VideoWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        try:
            self._finish()
        except BaseException:
            self._discard()
            raise
        self._file.commit()
        if self._growing is not None:
            self._growing.remove()

    def _check(self) -> None:
        suffixes = _SUFFIXES[self._codec]
        if self.path.suffix.lower() not in suffixes:
            raise PosegenError(f"{self.path}: {self._codec} video is written as {' or '.join(suffixes)}")
        if min(self._height, self._width) < 2 or (self._codec == "h264" and (self._height % 2 or self._width % 2)):
            nearest = " or ".join(f"{side(self._height)}x{side(self._width)}" for side in (_even_below, _even_above))
            size = f"size {self._height}x{self._width} (height x width)"
            raise PosegenError(f"{size}: H.264 needs even sides of at least 2; the nearest are {nearest}")

    def _open(self) -> Any:
        # without bitexact Matroska gets a random identifier; the same frames should give the same bytes
        options = {"movflags": "+faststart"} if self._codec == "h264" else {"fflags": "+bitexact"}
        container_format = "mp4" if self._codec == "h264" else "matroska"
        return av.open(f"file:{self._file.temporary}", "w", format=container_format, container_options=options)

    def _add_video(self, crf: int, preset: str) -> Any:
        if self._codec == "h264":
            # without cpu-independent, macroblock-tree's vector code sometimes gives other bytes for the same frames
            options = {"crf": str(crf), "preset": preset, "x264-params": "cpu-independent=1"}
            stream = self._container.add_stream("libx264", rate=self._fps, options=options)
            stream.pix_fmt = "yuv420p"
            stream.gop_size = max(1, round(_GROUP_SECONDS * self._fps))
            stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
            stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        elif self._codec == "h264rgb":
            stream = self._container.add_stream(
                "libx264rgb", rate=self._fps, options={"qp": "0", "preset": "ultrafast"}
            )
            stream.pix_fmt = "rgb24"
            stream.gop_size, stream.thread_count = 1, 1
        else:
            stream = self._container.add_stream(
                "ffv1", rate=self._fps, options={"level": "3", "slices": "4", "slicecrc": "1"}
            )
            stream.pix_fmt = "bgr0"  # FFV1 codes it as RGB with a reversible transform
            stream.gop_size = 1
            stream.thread_type, stream.thread_count = "SLICE", 4
        stream.width, stream.height = self._width, self._height
        return stream

    def _convert(self, frame: UInt8[np.ndarray, "h w 3"]) -> VideoFrame:
        picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
        if self._codec == "h264rgb":
            return picture
        if self._codec == "ffv1":
            return self._reformatter.reformat(picture, format="bgr0")
        picture = self._reformatter.reformat(
            picture,
            format="yuv420p",
            src_color_range=ColorRange.JPEG,
            dst_colorspace=Colorspace.ITU709,
            dst_color_range=ColorRange.MPEG,
            interpolation=RESAMPLING,
        )
        picture.color_primaries, picture.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        return picture

    def _write_audio(self) -> None:
        """Write the audio up to the end of the last frame written."""
        if self._audio is not None:
            for packet in self._audio.packets_until(float(self._count / self._fps)):
                with output_errors(self.path):
                    self._mux([packet])

    def _mux(self, packets: Iterable[Any]) -> None:
        """Write packets to the file, and to the growing one."""
        for packet in packets:
            self._container.mux(packet)
            if self._growing is not None:
                self._growing.add(packet)

    def _finish(self) -> None:
        if not self._count:
            raise PosegenError(f"{self.path}: there are no frames to write")
        if self._growing is not None and not self._growing.is_shown:  # too late to begin watching
            self._growing.remove()
            self._growing = None
        with output_errors(self.path):
            self._mux(self._stream.encode(None))
            self._container.close()
        self._close_audio()

    def _close_audio(self) -> None:
        if self._audio is not None:
            self._audio.close()
            self._audio = None

    def _discard(self) -> None:
        if self._growing is not None:
            with contextlib.suppress(av.error.FFmpegError, OSError):  # keep the frames that the encoder still holds
                self._mux(self._stream.encode(None))
            self._growing.close()
        self._close_audio()
        if hasattr(self, "_container"):
            with contextlib.suppress(av.error.FFmpegError):
                self._container.close()
        self._file.discard()


def _even_below(side: int) -> int:
    return max(2, side // 2 * 2)


def _even_above(side: int) -> int:
    return max(2, (side + 1) // 2 * 2)
