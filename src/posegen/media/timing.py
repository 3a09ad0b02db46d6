"""When frames are shown: average rates, and constant-rate resampling of frames with any times.

Pure arithmetic on seconds; it knows nothing of files or codecs. Times start at the first frame's presentation, 0.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float64, Int64

from posegen.errors import PosegenError

MIN_RATE = Fraction(1)
MAX_RATE = Fraction(240)

_MOST_FRAMES = 10_000_000
"""Of a result: four days at 30 a second."""
_USUAL_RATES = [Fraction(rate) for rate in (24, 25, 30, 50, 60)]
_USUAL_RATES += [Fraction(rate * 1000, 1001) for rate in (24, 30, 60)]


def as_rate(fps: Fraction | float | int) -> Fraction:
    """A frame rate as an exact fraction (29.97 becomes 30000/1001). Raises `PosegenError` outside 1 to 240."""
    if not MIN_RATE <= float(fps) <= MAX_RATE:
        raise PosegenError(f"a frame rate between {MIN_RATE} and {MAX_RATE} frames per second was expected, not {fps}")
    if isinstance(fps, Fraction):
        return fps
    for rate in _USUAL_RATES:
        if abs(float(fps - rate)) < 0.002:
            return rate
    return Fraction(fps).limit_denominator(1001)


def average_rate(times: Float64[np.ndarray, " n"], candidates: Sequence[Fraction | None]) -> Fraction:
    """The rate at which `n` frames with these sorted times (seconds) were shot, as a fraction that does not drift.

    Containers round times (Matroska to milliseconds) and guess rates; the first candidate or usual rate that stays
    within a quarter of a frame over the whole clip is the true one. Without any, frames over time.
    """
    known: list[Fraction] = [rate for rate in candidates if rate]
    intervals, span = len(times) - 1, float(times[-1] - times[0])
    if span <= 0:
        return known[0] if known else Fraction(25)
    for rate in [*known, *_USUAL_RATES]:
        if abs(span * rate - intervals) < 0.25:
            return rate
    return Fraction(intervals / span).limit_denominator(1001) or Fraction(1, 1001)


def resample(
    times: Float64[np.ndarray, " n"],
    duration: float,
    fps: Fraction,
    start: float | int | None = None,
    end: float | int | None = None,
) -> Int64[np.ndarray, " m"]:
    """The index of the source frame to show at each of `m` constant-rate instants `start + i / fps` before `end`.

    It is the latest frame that begins no later than the instant plus just under half an interval of source or output,
    whichever is shorter: jitter then causes no double frames, a constant-rate source at its own rate gives every
    frame exactly once, and an instant midway between two frames takes the earlier. `duration` (seconds) is where the
    last frame ends. Raises `PosegenError` if nothing lies between `start` and `end`.
    """
    first = 0.0 if start is None else float(start)
    last = duration if end is None else min(float(end), duration)
    if not 0 <= first < last:
        wanted = f"from {first:g} s to {'its end' if end is None else f'{end:g} s'}"
        raise PosegenError(f"a part inside the video's {duration:.2f} s was expected, not {wanted}")
    tolerance = 0.45 * min(duration / len(times), float(1 / fps))
    count = max(1, math.floor((last - first - tolerance) * fps) + 1)
    if count > _MOST_FRAMES:
        raise PosegenError(
            f"at most {_MOST_FRAMES:,} frames were expected, not {count:,} ({last - first:,.0f} s): cut it"
        )
    instants = first + np.arange(count) / float(fps)
    return np.maximum(np.searchsorted(times, instants + tolerance, side="right") - 1, 0)
