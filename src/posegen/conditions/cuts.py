"""Finds cuts, where one scene ends and another begins, while the frames of a video pass by.

Frames are compared at a very small size, so the cost is low beside pose estimation. A cut is a change far above that in
the surrounding frames, to an image that stays; a flash returns, a whip pan changes every frame. During fast movement a
cut to a closer or wider shot of the same scene is detected by finding one frame in the other at another scale. Slow
dissolves, and scenes of less than five frames, are not found. Camera movement is measured in `camera`.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float32, UInt8

from posegen.media.video import count_frames, probe_video, sample_frames

SmallFrame = Float32[np.ndarray, "32 48 3"]

_SIZE = (48, 32)  # width, height at which frames are compared
_MINIMUM = 10.0
"""Minimum mean difference of a cut in grey levels; noise and moving people stay below."""
_ABOVE = 2.5
"""Minimum ratio of a cut to the largest of the surrounding changes."""
_AMONG_MOVEMENT = 1.4
"""Minimum ratio of a cut to another scale to the surrounding changes."""
_SCALES = [1.12 * 1.06**step for step in range(14)]
"""Scales of a closer shot of the same scene, 1.12 to 2.4."""
_FOUND, _BETTER = 0.75, 0.15
"""Minimum correlation of a frame with a part of the other, and minimum excess over that at the same scale."""
_SURELY_FOUND, _SURELY_BETTER = 0.85, 0.3
"""The same thresholds if the change is no larger than in the surrounding frames, which move very fast."""
_AROUND = 4
"""Number of frames before and after that a change is compared with."""


class CutFinder:
    """Finds cuts in the frames of a clip, added one by one. It holds a few small images."""

    def __init__(self) -> None:
        self._cuts: list[int] = []
        self._count = 0
        self._pictures: deque[SmallFrame] = deque(maxlen=2 * _AROUND + 2)
        self._changes: deque[float] = deque(maxlen=2 * _AROUND + 1)  # from each of them to the next one

    def add(self, frame: UInt8[np.ndarray, "height width 3"]) -> None:
        """Add the next frame."""
        picture = _small(frame)
        if self._pictures:
            self._changes.append(_change(self._pictures[-1], picture))
        self._pictures.append(picture)
        self._count += 1
        self._judge(self._count - 1 - _AROUND)

    @property
    def may_have_begun(self) -> bool:
        """Return True if, judging by the frames before it, the latest frame may begin a new scene."""
        first = max(0, len(self._pictures) - _AROUND - 2)
        return len(self._pictures) > 1 and self._is_cut(first, len(self._pictures) - 1)

    @property
    def settled(self) -> int:
        """Number of frames that are decided so far: see `cuts`."""
        return max(0, self._count - _AROUND)

    @property
    def cuts(self) -> Sequence[int]:
        """Numbers of the decided frames that begin a new scene."""
        return self._cuts

    def finish(self) -> list[int]:
        """Decide the last frames and return the numbers of all that begin a new scene."""
        for number in range(max(1, self._count - _AROUND), self._count):
            self._judge(number)
        return self._cuts

    def _judge(self, number: int) -> None:
        """Decide about the frame with this number, given the frames after it."""
        place = number - (self._count - len(self._pictures))
        if place >= 1 and self._is_cut(0, place):
            self._cuts.append(number)

    def _is_cut(self, first: int, place: int) -> bool:
        """Return True if a new scene begins at a place, judging by the frames from `first` to a few after it."""
        pictures, changes = self._pictures, list(self._changes)
        later = pictures[min(place + 1, len(pictures) - 1)]
        around = max([*changes[first : place - 1], *changes[place : place + _AROUND]], default=0.0)
        jump = changes[place - 1]
        if jump < max(_MINIMUM, around):  # as almost always
            return False
        stays = min(jump, _change(pictures[place - 1], later))
        if stays < max(_MINIMUM, around):
            return False
        if stays >= _ABOVE * around:
            return True
        found, better = (_FOUND, _BETTER) if stays >= _AMONG_MOVEMENT * around else (_SURELY_FOUND, _SURELY_BETTER)
        return _is_other_scale(pictures[place - 1], pictures[place], found, better)


def look_for_cuts(
    path: Path,
    fps: Fraction,
    numbers: Sequence[int],
    given: Sequence[UInt8[np.ndarray, "height width 3"]],
    start: float | None = None,
    end: float | None = None,
    max_pairs: int = 6,
) -> list[int]:
    """Find cuts between a few frames of a clip without decoding all of it: some, not all, of those of `CutFinder`.

    numbers: rising numbers of the frames that are `given`, counted from `start` at the rate `fps`. In the `max_pairs`
    pairs that differ most the cut is located by bisection. Returns the numbers of frames that begin a new scene.
    """

    def frames(wanted: Sequence[int]) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        return sample_frames(path, wanted, fps, start, end)

    count = count_frames(probe_video(path), fps, start, end)
    pictures = [_small(frame) for frame in given]
    changes = [_change(before, after) for before, after in pairwise(pictures)]
    cuts: set[int] = set()
    for place in sorted(np.argsort(changes)[-max_pairs:].tolist()):
        if changes[place] < _MINIMUM:
            continue
        (first, before), (last, after) = ((numbers[index], pictures[index]) for index in (place, place + 1))
        while last - first > 4 * _AROUND:
            middle = (first + last) // 2
            picture = _small(next(frames([middle])))
            if _change(before, picture) > _change(picture, after):
                last, after = middle, picture
            else:
                first, before = middle, picture
        finder, begin = CutFinder(), max(0, first - _AROUND)
        for frame in frames(range(begin, min(count, last + _AROUND + 1))):
            finder.add(frame)
        cuts.update(begin + cut for cut in finder.finish())
    return sorted(cuts)


def _small(frame: UInt8[np.ndarray, "height width 3"]) -> SmallFrame:
    """Shrink a frame to the size at which frames are compared."""
    step = max(1, min(frame.shape[0] // (4 * _SIZE[1]), frame.shape[1] // (4 * _SIZE[0])))
    sampled = np.ascontiguousarray(frame[::step, ::step])
    return cv2.resize(sampled, _SIZE, interpolation=cv2.INTER_AREA).astype(np.float32)


def _change(before: SmallFrame, after: SmallFrame) -> float:
    return float(np.abs(after - before).mean())


def _is_other_scale(before: SmallFrame, now: SmallFrame, minimum: float, excess: float) -> bool:
    """Return True if one frame shows a part of the other enlarged, and is not the other shifted slightly.

    minimum: correlation of the part; excess: over the correlation at the same scale, both at least.
    """
    edge = (slice(3, -3), slice(4, -4))
    same = max(_correlation(before, now[edge]), _correlation(now, before[edge]))
    pairs = [(before, now), (now, before)]
    found = max(_correlation(wide, _reduced(close, scale)) for wide, close in pairs for scale in _SCALES)
    return found >= max(minimum, same + excess)


def _reduced(picture: SmallFrame, scale: float) -> Float32[np.ndarray, "height width 3"]:
    return cv2.resize(picture, None, fx=1 / scale, fy=1 / scale, interpolation=cv2.INTER_AREA)


def _correlation(whole: SmallFrame, part: Float32[np.ndarray, "height width 3"]) -> float:
    """Return the highest correlation of an image with a part of another of its size or larger, -1..1."""
    return float(cv2.matchTemplate(whole, part, cv2.TM_CCOEFF_NORMED).max())


def describe_cuts(cuts: Sequence[int], fps: Fraction, start: float | int = 0.0) -> str | None:
    """Describe the times of cuts (seconds of the whole video) in one line; None without any."""
    if not cuts:
        return None
    moments = [f"{start + float(cut / fps):.2f} s" for cut in cuts]
    times = ", ".join(moments[:8]) + (f" and {len(moments) - 8} more" if len(moments) > 8 else "")
    count = "a cut" if len(cuts) == 1 else f"{len(cuts)} cuts"
    return f"the driving video has {count} at {times}: the person jumps there; take one scene with --start and --end"
