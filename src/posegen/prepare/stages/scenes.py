"""Looks through a video once, at a small size: finds its cuts, the clips between them, and their hashes.

Cuts are found as in driving videos (`conditions/cuts.py`): one finder for both, and it sees the frames that pass
here anyway. A visitor gets the samples of clips while they pass. Memory grows with the video's length by 32 bytes a
second only. Nothing is scored here.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import imagehash
import numpy as np
from jaxtyping import UInt8, UInt64
from PIL import Image

from posegen.conditions.cuts import CutFinder
from posegen.errors import PosegenError
from posegen.media.probing import VideoInfo, inspect
from posegen.media.reading import StoredFrame, iterate_with_stored
from posegen.media.timing import as_rate
from posegen.prepare.filters.sampled_frames import PassingSamples, SampledClip
from posegen.prepare.prepare_recipe import ClipSettings
from posegen.prepare.stages.messages import Look, Window
from posegen.types import Size

_LONGEST = 192
"""Pixels of the longer side at which frames are looked at."""
_MOST_FPS = 30
_HASHES = 4
"""Frames hashed each second, and also of each clip."""
_DAMPED = 0.95
"""Share of the wanted frame rate that a video must have."""


def check_shape(info: VideoInfo, settings: ClipSettings) -> None:
    """Raise `PosegenError` if no clip of the wanted shape can be made of a video."""
    if float(info.fps) < _DAMPED * settings.fps:
        raise PosegenError(f"{float(info.fps):.2f} frames per second are fewer than the {settings.fps:g} of a clip")
    if info.duration < settings.seconds - 0.5 / settings.fps:
        raise PosegenError(f"{info.duration:.2f} s are shorter than a clip of {settings.seconds:.2f} s")
    settings.size_for((info.height, info.width))


Visit = Callable[[int, tuple[float, float], SampledClip], bool]
"""Called with a clip: its number, where it begins and ends (seconds), its samples; whether more are wanted."""


def look_through(path: Path, settings: ClipSettings, visit: Visit | None = None) -> Look:
    """Find the cuts, clips and hashes of a video, in one pass over its frames.

    `visit` gets clips while they pass, as `sample_clip` would sample them: they are decoded once, not twice. Left out
    are those whose first sample passes before the cut ahead of them is known, and all after it wants no more.

    Raises `PosegenError` for a video that cannot be read, or of which no clip of the wanted shape can be made.
    """
    source = inspect(path)
    info = source.info
    check_shape(info, settings)
    rate = min(info.fps, as_rate(_MOST_FPS))
    finder, count = CutFinder(), 0
    hashes: list[int] = []
    passing = _Passing(PassingSamples(source), settings, visit, finder, rate) if visit else None
    for frame in iterate_with_stored(source, rate, _LONGEST, passing.sizes if passing else lambda number: ()):
        if isinstance(frame, StoredFrame):
            if passing:
                passing.samples.keep(frame)
            continue
        count += 1
        finder.add(frame)
        if len(hashes) <= (count - 1) * _HASHES // rate:
            hashes.append(perceptual_hash(frame))
        if passing:
            passing.advance()
    cuts = _seconds(finder.finish(), rate)
    table = np.array(hashes, np.uint64)
    duration = min(info.duration, float(count / rate))
    windows = place_windows(duration, cuts, settings)
    if passing:
        passing.show(windows)
    return Look(
        info.width,
        info.height,
        float(info.fps),
        info.duration,
        info.rotation,
        info.is_hdr,
        cuts,
        tuple(Window(start, end, clip_hash(table, start, end)) for start, end in windows),
    )


def _seconds(cuts: Sequence[int], rate: Fraction) -> tuple[float, ...]:
    return tuple(float(cut / rate) for cut in cuts)


class _Passing:
    """Shows clips as soon as their positions are settled, and forgets their samples."""

    def __init__(
        self, samples: PassingSamples, settings: ClipSettings, visit: Visit, finder: CutFinder, rate: Fraction
    ) -> None:
        self.samples, self._settings, self._visit = samples, settings, visit
        self._finder, self._rate = finder, rate
        self._shown, self._more = 0, True
        self._cuts, self._waits_for = -1, 0.0
        self.advance()

    def sizes(self, number: int) -> Sequence[Size]:
        """Return the sizes at which a stored frame is wanted."""
        return self.samples.sizes(number) if self._more else ()

    def advance(self) -> None:
        """Show the clips that are settled by the cuts found so far; expect those that may follow."""
        settled = float(self._finder.settled / self._rate)
        if len(self._finder.cuts) == self._cuts and settled < self._waits_for:
            return
        cuts = _seconds(self._finder.cuts, self._rate)
        margin, seconds = self._settings.margin, self._settings.seconds
        windows = place_windows(settled, cuts, self._settings, ends=False)
        self.show(windows)
        # were there no other cut: the clip that has begun, and the one after it
        coming = place_windows(settled + 2 * (seconds + margin), cuts, self._settings, ends=False)[len(windows) :]
        self.samples.expect(coming)
        self._cuts, self._waits_for = len(cuts), coming[0][1] + margin

    def show(self, windows: Sequence[tuple[float, float]]) -> None:
        """Visit those that were not shown yet."""
        for number in range(self._shown, len(windows) if self._more else 0):
            clip = self.samples.clip(*windows[number])
            if clip is not None and not self._visit(number, windows[number], clip):
                self._more = False
                return
        self._shown = len(windows)


def place_windows(
    duration: float, cuts: Sequence[float], settings: ClipSettings, ends: bool = True
) -> list[tuple[float, float]]:
    """Return (start, end) in seconds of the clips: one after the other in each scene, away from its cuts by the margin.

    Starts are whole milliseconds. The last one may end half a frame after the video. Without `ends` the video continues
    after `duration`, perhaps with a cut: these are the first of the clips that it has, whatever comes.
    """
    last = 0.5 / settings.fps if ends else -settings.margin
    edges = [0.0, *cuts, duration]
    windows = []
    for number in range(len(edges) - 1):
        begin = edges[number] + (settings.margin if number else 0.0)
        end = edges[number + 1] - (settings.margin if number < len(edges) - 2 else -last)
        for place in range(int((end - begin) / settings.seconds)):
            start = np.ceil(1000 * (begin + place * settings.seconds)) / 1000
            if start + settings.seconds <= end + 0.001:
                windows.append((float(start), round(float(start + settings.seconds), 6)))
    return windows


def perceptual_hash(frame: UInt8[np.ndarray, "height width 3"]) -> int:
    """Return 64 bits that change little when a picture is coded again, scaled or brightened (pHash)."""
    bits = imagehash.phash(Image.fromarray(frame)).hash
    return int.from_bytes(np.packbits(bits.reshape(-1)).tobytes(), "big")


def clip_hash(hashes: UInt64[np.ndarray, " seen"], start: float, end: float) -> tuple[int, int, int, int]:
    """Return the hashes of four frames of a clip, in the middles of its quarters."""
    moments = start + (end - start) * (np.arange(_HASHES) + 0.5) / _HASHES
    places = np.minimum(np.rint(moments * _HASHES).astype(int), len(hashes) - 1)
    first, second, third, fourth = (int(value) for value in hashes[places])
    return first, second, third, fourth
