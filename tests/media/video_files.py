"""Makes small real video files, each frame of which carries its own number."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

BITS = 8


def numbered_frame(number, height=64, width=128):
    """Vertical stripes, black or white: the bits of `number`, highest on the left."""
    bits = [(number >> bit) & 1 for bit in reversed(range(BITS))]
    row = np.repeat(np.array(bits, dtype=np.uint8) * 255, -(-width // BITS))[:width]
    return np.ascontiguousarray(np.broadcast_to(row[None, :, None], (height, width, 3)))


def read_number(frame):
    """The number that `numbered_frame` drew."""
    height, width = frame.shape[:2]
    centres = [(2 * bit + 1) * -(-width // BITS) // 2 for bit in range(BITS)]
    return sum((int(frame[height // 2, x].mean()) > 127) << (BITS - 1 - i) for i, x in enumerate(centres))


def chirp(rate, start, stop):
    """Sound whose pitch rises all the time, so that no two moments are alike: (1, n) float32, mono."""
    time = np.arange(round(start * rate), round(stop * rate)) / rate
    return (0.6 * np.sin(2 * np.pi * (200 * time + 300 * time**2))).astype(np.float32)[None]


def make_video(
    folder,
    name,
    frames,
    fps=25,
    codec="libx264",
    pix_fmt="yuv420p",
    times=None,
    rotation=None,
    flip=False,
    aspect=None,
    options=None,
    matrix=1,
    colour_range=1,
    transfer=1,
    primaries=1,
    sound=None,
    gop=12,
    container_options=None,
    file_format=None,
) -> Path:
    """Write a video file and give its path; whole numbers among the frames become numbered frames."""
    path = folder / name
    frames = [numbered_frame(frame) if isinstance(frame, int) else frame for frame in frames]
    time_base = Fraction(1, 1000) if times is not None else 1 / Fraction(fps)
    with av.open(str(path), "w", format=file_format, container_options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=Fraction(fps), options=options or {})
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt, stream.gop_size = pix_fmt, gop
        stream.codec_context.time_base = time_base
        stream.colorspace, stream.color_range = matrix, colour_range
        stream.color_trc, stream.color_primaries = transfer, primaries
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation is not None:
            stream.set_display_rotation(rotation, hflip=flip)
        audio = None
        if sound is not None:
            audio_codec, rate, start, stop = sound
            audio = container.add_stream(audio_codec, rate=rate, layout="mono")
        for index, pixels in enumerate(frames):
            source = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=source)
            if pix_fmt not in ("bgr0", "rgb24"):
                frame = frame.reformat(
                    format=pix_fmt, dst_colorspace=5 if matrix == 2 else matrix, dst_color_range=colour_range
                )
            frame.colorspace, frame.color_trc, frame.color_primaries = matrix, transfer, primaries
            frame.pts, frame.time_base = (index if times is None else times[index]), time_base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None:
            samples = av.AudioFrame.from_ndarray(chirp(rate, start, stop), format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = rate, round(start * rate), Fraction(1, rate)
            container.mux(audio.encode(samples))
            container.mux(audio.encode(None))
    return path
