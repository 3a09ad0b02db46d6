"""Average frame rates, and constant-rate resampling of frames with arbitrary times.

Pure arithmetic on seconds, without files or codecs. Times start at the first frame's presentation, 0.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
from jaxtyping import Float64, Int64

from posegen.errors import PosegenError

MIN_RATE = Fraction(1)
MAX_RATE = Fraction(240)

_MAX_FRAMES = 10_000_000
"""Maximum length of a result: four days at 30 frames per second."""
_USUAL_RATES = [Fraction(rate) for rate in (24, 25, 30, 50, 60)]
_USUAL_RATES += [Fraction(rate * 1000, 1001) for rate in (24, 30, 60)]


def as_rate(fps: Fraction | float | int) -> Fraction:
    """Return a frame rate as an exact fraction (29.97 becomes 30000/1001). Raises `PosegenError` outside 1 to 240."""
    if not MIN_RATE <= float(fps) <= MAX_RATE:
        raise PosegenError(f"a frame rate between {MIN_RATE} and {MAX_RATE} frames per second was expected, not {fps}")
    if isinstance(fps, Fraction):
        return fps
    for rate in _USUAL_RATES:
        if abs(float(fps - rate)) < 0.002:
            return rate
    return Fraction(fps).limit_denominator(1001)


def average_rate(times: Float64[np.ndarray, " n"], candidates: Sequence[Fraction | None]) -> Fraction:
    """Return the rate at which `n` frames with these sorted times (seconds) were shot, as a fraction without drift.

    Containers round times (Matroska to milliseconds) and guess rates; the first candidate or usual rate that stays
    within a quarter of a frame over the whole clip is taken, else the number of frames divided by the time.
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
    """Return the index of the source frame to show at each of `m` instants `start + i / fps` before `end`.

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
    if count > _MAX_FRAMES:
        raise PosegenError(f"{count:,} frames ({last - first:,.0f} s) exceed the maximum of {_MAX_FRAMES:,}: cut it")
    instants = first + np.arange(count) / float(fps)
    return np.maximum(np.searchsorted(times, instants + tolerance, side="right") - 1, 0)
