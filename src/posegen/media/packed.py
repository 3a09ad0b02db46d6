"""Packs the frames of a short clip into the bytes of a small Matroska video, and unpacks any range of them.

`h264`: 4:4:4 at a quality without visible coding errors (`benchmarks/clip_storage.py`), one key frame in 16, so that a
few frames can be read without the rest. `ffv1`: lossless, every frame on its own. The bytes depend only on frames and
settings: one thread, no dates, no random numbers. Videos for people are made in `writing`.
"""

import io
import math
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import ColorPrimaries, ColorRange, Colorspace, ColorTrc, VideoReformatter
from jaxtyping import UInt8

from posegen.errors import PosegenError
from posegen.media.colour import RESAMPLING, Orientation, RgbConverter
from posegen.media.probing import OPEN_OPTIONS, check_frame_size
from posegen.media.timing import as_rate

PackedCodec = Literal["h264", "ffv1"]
_OPEN_OPTIONS = OPEN_OPTIONS | {"protocol_whitelist": "none"}
"""Shards may come from anywhere: only the formats of driving videos, and nothing but the bytes themselves."""
CRF = 4
"""Quality of x264: 0 is lossless, 18 is visually good."""
_GROUP = 16
"""Frames from one H.264 key frame to the next."""


def pack_frames(
    frames: UInt8[np.ndarray, "f h w 3"], fps: Fraction | float | int, codec: PackedCodec = "h264", crf: int = CRF
) -> bytes:
    """Pack frames (RGB 0..255) as a video, reproducibly. Raises `PosegenError` for a rate outside 1..240."""
    rate = as_rate(fps)
    out = io.BytesIO()
    with av.open(out, "w", format="matroska", container_options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("libx264" if codec == "h264" else codec, rate)
        stream.height, stream.width = frames.shape[1:3]
        stream.codec_context.flags |= av.codec.context.Flags.bitexact
        stream.thread_count = 1
        if codec == "ffv1":
            stream.options = {"level": "3", "slices": "4", "slicecrc": "1"}
            stream.pix_fmt, stream.gop_size = "bgr0", 1
        else:
            stream.options = {"crf": str(crf), "x264-params": "cpu-independent=1"}
            stream.pix_fmt, stream.gop_size = "yuv444p", _GROUP
            stream.color_range, stream.colorspace = ColorRange.MPEG, Colorspace.ITU709
            stream.color_primaries, stream.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
        reformatter = VideoReformatter()
        for number, frame in enumerate(frames):
            picture = VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            if codec == "ffv1":
                picture = reformatter.reformat(picture, format="bgr0")
            else:
                picture = reformatter.reformat(
                    picture,
                    format="yuv444p",
                    src_color_range=ColorRange.JPEG,
                    dst_colorspace=Colorspace.ITU709,
                    dst_color_range=ColorRange.MPEG,
                    interpolation=RESAMPLING,
                )
                picture.color_primaries, picture.color_trc = ColorPrimaries.BT709, ColorTrc.BT709
            picture.pts, picture.time_base = number, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return out.getvalue()


def unpack_frames(content: bytes, start: int, stop: int) -> UInt8[np.ndarray, "f h w 3"]:
    """Return frames `start` to `stop` - 1 of a packed clip. Raises `PosegenError` if they are damaged or missing."""
    frames: dict[int, UInt8[np.ndarray, "h w 3"]] = {}
    try:
        with av.open(io.BytesIO(content), "r", container_options=_OPEN_OPTIONS, metadata_errors="replace") as container:
            stream = container.streams.video[0]
            check_frame_size("a clip", stream)
            stream.thread_count = 1  # clips are read many at once
            if stream.average_rate is None or stream.time_base is None:
                raise PosegenError("frames cannot be decoded (their rate is missing)")
            rate = float(stream.average_rate)
            if start:
                container.seek(math.floor((start / rate + 0.0005) / stream.time_base), stream=stream, backward=True)
            convert = None
            for frame in container.decode(stream):
                number = round(frame.time * rate)
                if number >= stop:
                    break
                if number >= start:
                    convert = convert or RgbConverter((frame.height, frame.width), Orientation(frame))
                    frames[number] = convert(frame)
    except (av.error.FFmpegError, IndexError) as error:
        raise PosegenError(f"frames cannot be decoded ({error})") from error
    if sorted(frames) != list(range(start, stop)):
        raise PosegenError(f"frames {start} to {stop - 1} were expected, {len(frames)} of them were found")
    return np.stack([frames[number] for number in range(start, stop)])
