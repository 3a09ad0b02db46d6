"""Makes animated WebP readable: FFmpeg, and so PyAV, has no decoder for it, but Pillow has.

Its frames are written once to a lossless video in a temporary folder of this process, with their times. All other files
are left alone. Stills stay images: they are no videos.
"""

import functools
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.video.frame import VideoFrame
from PIL import Image

from posegen.errors import PosegenError
from posegen.media.clock import viewed_length
from posegen.media.files import output_errors
from posegen.types import Frame

_MAX_PIXELS = 1 << 26
_MAX_FRAMES = 100_000
_MILLISECOND = Fraction(1, 1000)


def readable(path: Path) -> Path:
    """Return a file that FFmpeg reads: the same one, or the copy of an animated WebP. Raises `PosegenError`."""
    try:
        with path.open("rb") as stream:
            head = stream.read(32)
    except OSError:
        return path  # opening it says why
    # VP8X, with the flag of an animation
    if head[:4] != b"RIFF" or head[8:16] != b"WEBPVP8X" or not head[20] & 2:
        return path
    state = path.stat()
    return _converted(path, (state.st_ino, state.st_size, state.st_mtime_ns))


@functools.cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Return the folder of the copies, which goes with the process."""
    return tempfile.TemporaryDirectory(prefix="posegen-webp-")


@functools.lru_cache(maxsize=16)
def _converted(path: Path, state: tuple[int, int, int]) -> Path:
    """Convert uncached; `state` identifies the content of the file."""
    target = Path(_folder().name) / f"{abs(hash((path, state))):x}.mkv"
    frames = _decoded(path)
    first = next(frames)
    with output_errors(target), av.open(str(target), "w", format="matroska") as container:
        stream: Any = container.add_stream("ffv1", rate=1000)
        stream.height, stream.width, stream.pix_fmt = *first[0].shape[:2], "bgr0"
        stream.time_base = stream.codec_context.time_base = _MILLISECOND
        begin = 0
        for picture, length in chain([first], frames):
            frame = VideoFrame.from_ndarray(picture, format="rgb24").reformat(format="bgr0")
            frame.pts, frame.time_base = begin, _MILLISECOND
            for packet in stream.encode(frame):
                packet.duration = length
                container.mux(packet)
            begin += length
        container.mux(stream.encode(None))
    return target


def _decoded(path: Path) -> Iterator[tuple[Frame, int]]:
    """Yield the frames, and for how many milliseconds browsers show each. Raises `PosegenError`."""
    try:
        with Image.open(path) as picture:
            frames = getattr(picture, "n_frames", 1)
            if picture.width * picture.height > _MAX_PIXELS or frames > _MAX_FRAMES:
                raise PosegenError(f"{path}: {frames} frames of {picture.height}x{picture.width} pixels are too large")
            for number in range(frames):
                picture.seek(number)
                frame = np.ascontiguousarray(picture.convert("RGB"))  # first: it is this that sets the duration
                yield frame, round(1000 * viewed_length(float(picture.info.get("duration", 0)) / 1000))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        if isinstance(error, PosegenError):
            raise
        raise PosegenError(f"{path}: this animated WebP cannot be decoded ({str(error)[:100]})") from None
