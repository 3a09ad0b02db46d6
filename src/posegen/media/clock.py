"""Continuous clock for a file whose packets carry several clocks or none.

Times restart in files joined end to end, after a recorder was restarted and when a counter wraps around; program
streams time few of their packets, AVI only the order of decoding, raw streams nothing. Pure arithmetic on the packets'
times; a variable rate stays variable. Files are opened in `probing` and decoded in `reading`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float64, Int64

HIDDEN = -2
"""Order of a packet whose frame is never shown."""
UNKNOWN = -1
"""Order of a packet that does not state when its frame is shown: it follows the previously decoded one."""

_SHORTEST_DELAY, _USUAL_DELAY = 0.010, 0.100  # seconds: up to the first, browsers show a frame as long as the second
_MAX_REORDERED = 16  # frames by which any codec's order of decoding differs from that of showing
_NEAR = 10.0  # seconds by which audio and frames of one part of a file may be apart
_FALL = 1.0  # seconds: audio that falls by more restarts, by less it is a duplicate
_READ_AHEAD = 500  # packets by which a container may store audio before or after the frames of the same time


@dataclass(frozen=True)
class Stamps:
    """Times of the packets of one stream, in the file's order: seconds, NaN where unknown."""

    places: Int64[np.ndarray, " n"]
    """Numbers among all packets of the file."""
    decoded: Float64[np.ndarray, " n"]
    shown: Float64[np.ndarray, " n"]
    lengths: Float64[np.ndarray, " n"]
    """Durations; 0 where unknown."""
    are_keys: Bool[np.ndarray, " n"]

    @property
    def moments(self) -> Float64[np.ndarray, " n"]:
        """Times of showing or, where unknown, of decoding."""
        return np.where(np.isnan(self.shown), self.decoded, self.shown)


@dataclass(frozen=True)
class Tolerance:
    """Maximum jumps in the times of a container, in seconds, before its clock counts as restarted."""

    back: float
    """Fall of decoding times from one packet to the next."""
    ahead: float
    """Gap between a packet's end and the next one's beginning."""


Shifts = tuple[tuple[int, float], ...]
"""(number of a stream's packet, seconds to add to the times from it on), rising."""


@dataclass(frozen=True)
class Clock:
    """Times of the frames on one clock, that of the first packet."""

    times: Float64[np.ndarray, " shown"]
    """Time of each shown frame, rising, seconds."""
    order: Int64[np.ndarray, " n"]
    """Index into `times` of each packet's frame, in the file's order, or `HIDDEN` or `UNKNOWN`."""
    breaks: tuple[float, ...]
    """Seconds after the first frame at which the container's own clock restarts."""
    sounds: tuple[Shifts, ...]
    """Shifts of each audio stream."""


def continued_clock(
    pictures: Stamps, are_shown: Bool[np.ndarray, " n"], sounds: Sequence[Stamps], tolerance: Tolerance
) -> Clock | None:
    """Build the clock of a file whose packets' times fall or leap; None if they need no correction."""
    starts = _run_starts(pictures, tolerance, sounds)
    if len(starts) == 1:
        return None
    pictures = replace(pictures, shown=_regular(pictures, starts))
    step = _usual_length(pictures.moments, pictures.lengths, starts)
    offsets = _offsets(pictures.moments, pictures.lengths, starts, step)
    times = pictures.moments + np.repeat(offsets, np.diff([*starts, len(pictures.moments)]))
    order = np.full(len(times), HIDDEN)
    order[are_shown] = np.argsort(np.argsort(times[are_shown], kind="stable"), kind="stable")
    shown = np.sort(times[are_shown])
    return Clock(shown, order, _breaks(times, starts, shown), _sound_shifts(pictures, starts, offsets, sounds))


def _regular(pictures: Stamps, starts: Sequence[int]) -> Float64[np.ndarray, " n"]:
    """Return the times of showing; where packets are decoded at a constant rate, they are shown at that rate.

    FFmpeg derives times that a program stream leaves out from the frames that follow, which belong to another file at
    the end of a run.
    """
    shown = pictures.moments.copy()
    for first, last in _runs(starts, len(shown)):
        steps = np.diff(pictures.decoded[first:last])
        if len(steps) > 1 and np.ptp(steps) < 0.01 * steps.mean():
            ranks = np.argsort(np.argsort(shown[first:last], kind="stable"), kind="stable")
            shown[first:last] = shown[first:last].min() + ranks * steps.mean()
    return shown


def filled_clock(
    pictures: Stamps, are_shown: Bool[np.ndarray, " n"], sounds: Sequence[Stamps], tolerance: Tolerance
) -> Clock:
    """Build the clock of a file in which only some packets have times.

    Between packets with times the rate is taken as constant. Frames are in the order of the decoder's output.
    """
    if np.isnan(pictures.decoded).all():
        pictures = replace(pictures, decoded=pictures.shown)
    anchors = np.flatnonzero(~np.isnan(pictures.decoded))
    step = _step_between(pictures.decoded[anchors], anchors, pictures.lengths)
    decoded, starts = _filled(pictures, anchors, step, tolerance)
    offsets = _offsets(decoded, np.full(len(decoded), step), starts, step)
    shifts = np.repeat(offsets, np.diff([*starts, len(decoded)]))
    delays = (pictures.shown - pictures.decoded)[anchors]
    delay = float(delays[~np.isnan(delays)][0]) if not np.isnan(delays).all() else 0.0
    times = decoded + shifts + delay
    shown = np.sort(times[are_shown])
    order = np.where(are_shown, UNKNOWN, HIDDEN)
    timed = are_shown & ~np.isnan(pictures.shown)
    nearest = np.rint(np.interp((pictures.shown + shifts)[timed], shown, np.arange(len(shown))))
    order[timed] = nearest.astype(np.int64)
    whole = replace(pictures, decoded=decoded, shown=decoded + delay)
    return Clock(shown, order, _breaks(times, starts, shown), _sound_shifts(whole, starts, offsets, sounds))


def uncounted_clock(moments: Float64[np.ndarray, " n"], are_shown: Bool[np.ndarray, " n"]) -> Clock:
    """Build the clock of a file whose times do not give the order of showing: the order of the decoder is used."""
    return Clock(np.sort(moments[are_shown]), np.where(are_shown, UNKNOWN, HIDDEN), (), ())


def viewed_clock(pictures: Stamps, are_shown: Bool[np.ndarray, " n"]) -> Clock | None:
    """Build the clock of an animated picture as browsers show it; None if it is the file's own.

    Frames of up to 10 ms are shown for 100 ms: old programs wrote these delays without meaning them.
    """
    moments = pictures.moments[are_shown]
    ranks = np.argsort(np.argsort(moments, kind="stable"), kind="stable")
    own = pictures.lengths[are_shown][np.argsort(moments, kind="stable")]
    lengths = np.array([viewed_length(length) for length in own.tolist()])
    if np.array_equal(lengths, own):
        return None
    order = np.full(len(are_shown), HIDDEN)
    order[are_shown] = ranks
    return Clock(moments.min() + np.concatenate([[0], np.cumsum(lengths[:-1])]), order, (), ())


def viewed_length(seconds: float) -> float:
    """Return how long browsers show a frame of an animated picture."""
    return _USUAL_DELAY if seconds <= _SHORTEST_DELAY + 1e-6 else seconds


def sound_clocks(pictures: Stamps, sounds: Sequence[Stamps]) -> tuple[Shifts, ...]:
    """Return the shifts of each audio stream if the frames' times need no correction; empty if all are 0, as usual."""
    if np.isnan(pictures.moments).all():
        return ()
    found = _sound_shifts(pictures, [0], np.zeros(1), sounds)
    return found if any(offset for shifts in found for _, offset in shifts) else ()


def _breaks(
    times: Float64[np.ndarray, " n"], starts: Sequence[int], shown: Float64[np.ndarray, " shown"]
) -> tuple[float, ...]:
    return tuple(float(times[first:last].min() - shown[0]) for first, last in _runs(starts, len(times))[1:])


def _runs(starts: Sequence[int], count: int) -> list[tuple[int, int]]:
    return list(zip(starts, [*starts[1:], count], strict=True))


def _run_starts(stamps: Stamps, tolerance: Tolerance, beside: Sequence[Stamps] = ()) -> list[int]:
    """Return the numbers of the packets at which the stream's clock starts or restarts.

    No packet before a key frame is shown after it, and decoding times never fall.
    """
    moments = stamps.moments
    decoded = moments if np.isnan(stamps.decoded).all() else stamps.decoded
    half = 0.5 * _usual_length(moments, stamps.lengths, [0])
    starts, highest, last, end = [0], -np.inf, -np.inf, np.inf
    timed = np.flatnonzero(~np.isnan(moments))
    if _rises(moments[timed], decoded[timed], stamps.are_keys[timed], half, tolerance):
        return starts
    for number in timed.tolist():
        moment, time = moments[number], decoded[number]
        following = moments[number : number + _MAX_REORDERED + 1]
        falls = time < last - tolerance.back or (
            stamps.are_keys[number]
            and moment < highest - half
            and (time < last - min(half, tolerance.back) or not (following >= highest).any())
        )
        leaps = time > end + tolerance.ahead and not _is_heard(
            beside, float(end), float(time), int(stamps.places[number])
        )
        if falls or leaps:
            starts.append(number)
            highest = -np.inf
        highest = max(highest, moment)
        if not np.isnan(time):  # of some frames only the time of showing is known, which may be that of a later one
            last, end = time, time + max(stamps.lengths[number], 2 * half)
    return starts


def _rises(
    moments: Float64[np.ndarray, " n"],
    decoded: Float64[np.ndarray, " n"],
    are_keys: Bool[np.ndarray, " n"],
    half: float,
    tolerance: Tolerance,
) -> bool:
    """Return True if no time falls or leaps, as in most files; vectorized over all packets."""
    steps, highest = np.diff(decoded[~np.isnan(decoded)]), np.maximum.accumulate(moments)
    late_keys = are_keys[1:] & (moments[1:] < highest[:-1] - half)
    return bool((steps >= -tolerance.back).all() and (steps <= tolerance.ahead).all() and not late_keys.any())


def _is_heard(sounds: Sequence[Stamps], begin: float, end: float, place: int) -> bool:
    """Return True if there is audio inside a gap between frames: then the frame was held."""
    for sound in sounds:
        near = np.abs(sound.places - place) < _READ_AHEAD
        if ((sound.moments > begin + 1) & (sound.moments < end - 1) & near).any():
            return True
    return False


def _usual_length(
    moments: Float64[np.ndarray, " n"], lengths: Float64[np.ndarray, " n"], starts: Sequence[int]
) -> float:
    """Return the median duration of a packet in seconds."""
    if (lengths > 0).any():
        return float(np.median(lengths[lengths > 0]))
    steps = np.concatenate([np.diff(np.sort(moments[first:last])) for first, last in _runs(starts, len(moments))])
    steps = steps[steps > 0]
    return float(np.median(steps)) if len(steps) else 0.04


def _offsets(
    moments: Float64[np.ndarray, " n"], lengths: Float64[np.ndarray, " n"], starts: Sequence[int], step: float
) -> Float64[np.ndarray, " runs"]:
    """Return the shift of each run in seconds, so that its first frame follows the last of the run before."""
    offsets, end = [], None
    for first, last in _runs(starts, len(moments)):
        run = moments[first:last]
        offsets.append(0.0 if end is None else end - float(run.min()))
        latest = int(np.argmax(run))
        end = float(run[latest]) + offsets[-1] + (float(lengths[first + latest]) or step)
    return np.array(offsets)


def _sound_shifts(
    pictures: Stamps, starts: Sequence[int], offsets: Float64[np.ndarray, " runs"], sounds: Sequence[Stamps]
) -> tuple[Shifts, ...]:
    return tuple(_shifts(pictures, starts, offsets, sound) for sound in sounds)


def _shifts(pictures: Stamps, starts: Sequence[int], offsets: Float64[np.ndarray, " runs"], sound: Stamps) -> Shifts:
    """Shift each run of audio with the run of frames that it is stored beside and agrees with in time.

    Streams restart at slightly different places of the file, so the larger part of a run counts. Audio that agrees with
    no frames follows the audio before it, and so does audio whose times fall where those of the frames do not.
    """
    if not len(sound.places):
        return ()
    moments = sound.moments
    borders = [0, *(int(pictures.places[start]) for start in starts[1:]), int(np.iinfo(np.int64).max)]
    shifts: list[tuple[int, float]] = []
    end, last_number = None, -1
    for first, last in _runs(_run_starts(sound, Tolerance(0.02, _NEAR)), len(moments)):
        run, places = moments[first:last], sound.places[first:last]
        agreeing = []
        for number, (begin, stop) in enumerate(_runs(starts, len(pictures.places))):
            beside = (places >= borders[number]) & (places < borders[number + 1])
            seen = pictures.moments[begin:stop]
            agrees = (run > np.nanmin(seen) - _NEAR) & (run < np.nanmax(seen) + _NEAR)
            agreeing.append(int((beside & agrees).sum()))
        timed = run[~np.isnan(run)]
        offset, beside_number = 0.0, int(np.argmax(agreeing))
        if max(agreeing) and not (
            end is not None and beside_number == last_number and timed[0] + offsets[beside_number] < end - _FALL
        ):
            offset = float(offsets[beside_number])
        elif end is not None and len(timed):
            offset = end - float(timed[0])
        last_number = beside_number
        shifts.append((first, offset))
        end = float(timed.max()) + offset if len(timed) else end
    return tuple(shifts)


def _step_between(
    times: Float64[np.ndarray, " k"], numbers: Int64[np.ndarray, " k"], lengths: Float64[np.ndarray, " n"]
) -> float:
    """Return the seconds from one packet to the next, from those that have times."""
    steps = np.diff(times) / np.diff(numbers)
    steps = steps[steps > 0]
    known = float(np.median(lengths[lengths > 0])) if (lengths > 0).any() else 0.0
    if not len(steps):
        return known or 0.04
    measured = float(np.median(steps))
    return known if abs(measured - known) < 0.01 * measured else measured


def _filled(
    pictures: Stamps, anchors: Int64[np.ndarray, " k"], step: float, tolerance: Tolerance
) -> tuple[Float64[np.ndarray, " n"], list[int]]:
    """Return the decoding times of all packets, and the numbers of those at which the clock starts or restarts."""
    count = len(pictures.decoded)
    decoded = np.empty(count)
    starts, pieces = [0], [[int(anchors[0])]]
    for anchor in anchors[1:].tolist():
        before = pieces[-1][-1]
        expected = pictures.decoded[before] + (anchor - before) * step
        if not -max(2 * step, 0.1) < pictures.decoded[anchor] - expected < tolerance.ahead:
            keys = before + 1 + np.flatnonzero(pictures.are_keys[before + 1 : anchor + 1])
            starts.append(int(keys[-1]) if len(keys) else anchor)
            pieces.append([])
        pieces[-1].append(anchor)
    for (first, last), piece in zip(_runs(starts, count), pieces, strict=True):
        numbers = np.arange(first, last)
        inside = np.interp(numbers, piece, pictures.decoded[piece])
        outside = np.minimum(0, numbers - piece[0]) + np.maximum(0, numbers - piece[-1])
        decoded[first:last] = inside + step * outside
    return decoded, starts
