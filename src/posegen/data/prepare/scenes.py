"""Looks through a video once, at a few pixels: where its cuts are, which clips lie between them, and their hashes.

Cuts are found as in driving videos (`conditions/cuts.py`): one finder for both, and it sees the frames that pass by
here anyway. Memory does not grow with the video's length but by 32 bytes a second. Nothing is judged here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import imagehash
import numpy as np
from jaxtyping import UInt8, UInt64
from PIL import Image

from posegen.conditions.cuts import CutFinder
from posegen.data.prepare.recipe import ClipSettings
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.timing import as_rate
from posegen.media.video import VideoInfo, iterate_frames, probe_video

_LONGEST = 192
"""Pixels of the longer side at which frames are looked at."""
_MOST_FPS = 30
_HASHES = 4
"""Frames hashed each second, and also of each clip."""
_DAMPED = 0.95
"""Share of the wanted frame rate that a video must have."""


@dataclass(frozen=True)
class Window:
    """One clip of a video: seconds after its first frame, and the perceptual hash of four of its frames."""

    start: float
    end: float
    hash: tuple[int, int, int, int]


@dataclass(frozen=True)
class Look:
    """What is in a video. Sizes are as it is shown."""

    width: int
    height: int
    fps: float
    duration: float
    rotation: int
    hdr: bool
    cuts: tuple[float, ...]
    windows: tuple[Window, ...]


def check_shape(info: VideoInfo, settings: ClipSettings) -> None:
    """Raise `PosegenError` if no clip of the wanted shape can be made of a video."""
    if float(info.fps) < _DAMPED * settings.fps:
        raise PosegenError(f"{float(info.fps):.2f} frames per second are fewer than the {settings.fps:g} of a clip")
    if info.duration < settings.seconds - 0.5 / settings.fps:
        raise PosegenError(f"{info.duration:.2f} s are shorter than a clip of {settings.seconds:.2f} s")
    source = (info.height, info.width)
    scaled = plan_fit(source, settings.size, "crop").scaled
    enlarged = max(scaled[0] / source[0], scaled[1] / source[1])
    if enlarged > settings.most_enlarged * 1.001:
        raise PosegenError(f"{info.height}x{info.width} pixels would have to be enlarged {enlarged:.2f} times")
    cropped = 1 - settings.size[0] * settings.size[1] / (scaled[0] * scaled[1])
    if cropped > settings.most_cropped:
        raise PosegenError(f"{100 * cropped:.0f} % of the picture ({info.height}x{info.width}) would be cut off")


def look_through(path: Path, settings: ClipSettings) -> Look:
    """Cuts, clips and hashes of a video, in one pass over its frames.

    Raises `PosegenError` for a video that cannot be read, or of which no clip of the wanted shape can be made.
    """
    info = probe_video(path)
    check_shape(info, settings)
    rate = min(info.fps, as_rate(_MOST_FPS))
    finder, count = CutFinder(), 0
    hashes: list[int] = []
    for count, frame in enumerate(iterate_frames(path, rate, longest=_LONGEST), start=1):
        finder.add(frame)
        if len(hashes) <= (count - 1) * _HASHES // rate:
            hashes.append(perceptual_hash(frame))
    cuts = tuple(float(cut / rate) for cut in finder.finish())
    table = np.array(hashes, np.uint64)
    duration = min(info.duration, float(count / rate))
    windows = tuple(
        Window(start, end, clip_hash(table, start, end)) for start, end in place_windows(duration, cuts, settings)
    )
    return Look(
        info.width, info.height, float(info.fps), info.duration, info.rotation, info.is_hdr, cuts, windows
    )  # fmt: skip


def place_windows(duration: float, cuts: Sequence[float], settings: ClipSettings) -> list[tuple[float, float]]:
    """(start, end) in seconds of the clips: one after the other in each scene, away from its cuts by the margin.

    Starts are whole milliseconds. The last one may end half a frame after the video.
    """
    slack = 0.5 / settings.fps
    edges = [0.0, *cuts, duration]
    windows = []
    for number in range(len(edges) - 1):
        begin = edges[number] + (settings.margin if number else 0.0)
        end = edges[number + 1] - (settings.margin if number < len(edges) - 2 else -slack)
        for place in range(int((end - begin) / settings.seconds)):
            start = np.ceil(1000 * (begin + place * settings.seconds)) / 1000
            if start + settings.seconds <= end + 0.001:
                windows.append((float(start), round(float(start + settings.seconds), 6)))
    return windows


def perceptual_hash(frame: UInt8[np.ndarray, "height width 3"]) -> int:
    """64 bits that stay nearly the same when a picture is coded again, scaled or brightened (pHash)."""
    bits = imagehash.phash(Image.fromarray(frame)).hash
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


def clip_hash(hashes: UInt64[np.ndarray, " seen"], start: float, end: float) -> tuple[int, int, int, int]:
    """The hashes of four frames of a clip, in the middles of its quarters."""
    moments = start + (end - start) * (np.arange(_HASHES) + 0.5) / _HASHES
    places = np.minimum(np.rint(moments * _HASHES).astype(int), len(hashes) - 1)
    first, second, third, fourth = (int(value) for value in hashes[places])
    return first, second, third, fourth
