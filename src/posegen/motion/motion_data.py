"""Motion of one person as every reader returns it: named joints over time, in space or in the plane of an image.

Nothing here knows a file format. Names are those of the file; `joint_names.py` finds out which keypoints they are.
"""

import hashlib
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, Float64

from posegen.errors import PosegenError
from posegen.media.timing import resample

MAX_FRAMES = 2_000_000
"""Maximum number of frames: 2.7 hours at 200 frames per second."""
MAX_JOINTS = 2_000
GUESSED_RATE = 30
"""Frames per second of a file that does not say its rate."""
MAX_VALUES = 250_000_000
"""Maximum number of coordinates of a motion: 1 GB."""
UP_AXES = ("+x", "-x", "+y", "-y", "+z", "-z")
FILLED_GAP = 0.25
"""Maximum gap in seconds over which a joint is filled in, as in videos (`smoothing.MAX_GAP`)."""


@dataclass(frozen=True)
class Asked:
    """Choices of the user that a reader needs: number of the person, from 1, and the rate of a file without one."""

    person: int | None = None
    fps: Fraction | None = None

    def rate(self, stated: Fraction | None, where: Path) -> tuple[Fraction, tuple[str, ...]]:
        """Return the frame rate, with a line if it is a guess. Raises `PosegenError` if file and user contradict."""
        if stated is not None:
            if self.fps is not None and abs(float(self.fps / stated) - 1) > 1e-3:
                raise PosegenError(
                    f"--motion-fps {float(self.fps):g}: {where} states {float(stated):g} frames per second: omit it "
                    "(--fps chooses the rate of the result)"
                )
            return stated, ()
        if self.fps is not None:
            return self.fps, ()
        line = f"the file does not say its frame rate: {GUESSED_RATE} frames per second are assumed (--motion-fps)"
        return Fraction(GUESSED_RATE), (line,)

    def index(self, people: int, where: Path) -> int | None:
        """Return the index of the person who is asked for; None if none is. Raises `PosegenError` if too large."""
        if self.person is None:
            return None
        if self.person > people:
            raise PosegenError(
                f"--person {self.person}: {where} holds {people} {'person' if people == 1 else 'people'}"
            )
        return self.person - 1

    def choose(self, known: Bool[np.ndarray, "people frames"], where: Path) -> tuple[int, tuple[str, ...]]:
        """Return the index of the person, by default the one known in most frames, with a line if there are several."""
        index = self.index(len(known), where)
        if index is not None or len(known) == 1:
            return index or 0, ()
        best = int(known.sum(axis=1).argmax())
        return best, (f"it holds {len(known)} people: number {best + 1} is known longest, and taken (--person)",)


@dataclass(frozen=True, eq=False)
class Motion:
    """Joints of one person over time.

    form: name of the format. positions: in space (three axes, right-handed) or in an image (two axes, pixels, x right,
    y down); NaN where a joint is not known. metres: of one unit; None if the file does not say. up: the axis that
    points up, like "+y"; None if the file does not say, and for images. size: (height, width) of the image, if known.
    depth: of joints in an image: pixels behind (+) or before the wrist, for hands. scores: 0 to 1 for each position, of
    an estimator. estimated: found in images, so it has their jitter. derived:
    joints that are computed from the orientation of others. people: how many the file holds. notes: lines for the user.
    """

    form: str
    names: tuple[str, ...]
    positions: Float32[np.ndarray, "frames joints axes"]
    seconds_per_frame: Fraction
    metres: float | None = None
    up: str | None = None
    size: tuple[int, int] | None = None
    depth: Float32[np.ndarray, "frames joints"] | None = None
    scores: Float32[np.ndarray, "frames joints"] | None = None
    estimated: bool = False
    derived: frozenset[str] = frozenset()
    people: int = 1
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        frames, joints, axes = self.positions.shape
        if joints != len(self.names) or axes not in (2, 3):
            raise ValueError(f"{len(self.names)} names do not fit positions of the shape {self.positions.shape}")
        if self.scores is not None and self.scores.shape != (frames, joints):
            raise ValueError(f"scores of the shape {self.scores.shape} do not fit {self.positions.shape}")
        if self.up is not None and self.up not in UP_AXES:
            raise ValueError(f"up must be one of {', '.join(UP_AXES)}, not {self.up!r}")
        if self.seconds_per_frame <= 0:
            raise ValueError("the time of a frame must be above 0")

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return 1 / self.seconds_per_frame

    @property
    def seconds(self) -> float:
        """Length, to the end of the last frame."""
        return float(len(self) * self.seconds_per_frame)

    @property
    def in_space(self) -> bool:
        """True for positions with three axes."""
        return self.positions.shape[2] == 3

    @property
    def known(self) -> Bool[np.ndarray, "frames joints"]:
        """Mask of the positions that are known."""
        return np.isfinite(self.positions).all(axis=2)

    def digest(self) -> str:
        """Hash everything that a result can depend on."""
        content = hashlib.sha256(repr((self.names, self.seconds_per_frame, self.up, self.size)).encode())
        content.update(np.ascontiguousarray(self.positions).data)
        for values in (self.scores, self.depth):
            content.update(b"" if values is None else np.ascontiguousarray(values).data)
        return content.hexdigest()

    def with_notes(self, *lines: str) -> "Motion":
        """Return the motion with further lines for the user."""
        return replace(self, notes=(*self.notes, *lines))

    def without_short_gaps(self) -> "Motion":
        """Return the motion with gaps of at most `FILLED_GAP` seconds filled by straight lines."""
        most = int(FILLED_GAP * self.fps)
        gaps = ~self.known
        if not most or not gaps.any():
            return self
        positions, scores = self.positions.copy(), None if self.scores is None else self.scores.copy()
        for joint in np.flatnonzero(gaps.any(axis=0)).tolist():
            known = np.flatnonzero(~gaps[:, joint])
            steps = np.diff(known)
            for first in np.flatnonzero((steps > 1) & (steps <= most + 1)).tolist():
                before, after = int(known[first]), int(known[first + 1])
                share = (np.arange(before + 1, after, dtype=np.float32) - before)[:, None] / (after - before)
                ends = positions[before, joint], positions[after, joint]
                positions[before + 1 : after, joint] = ends[0] + share * (ends[1] - ends[0])
                if scores is not None:
                    scores[before + 1 : after, joint] = min(scores[before, joint], scores[after, joint])
        return replace(self, positions=positions, scores=scores)

    def at_rate(self, fps: Fraction, start: float | None = None, end: float | None = None) -> "Motion":
        """Return the motion from `start` to `end` (seconds) at another rate; its speed stays what it is.

        Positions between two frames lie on the straight line between them; next to a gap they are not known. Raises
        `PosegenError` for a part outside the motion.
        """
        times = np.arange(len(self)) * float(self.seconds_per_frame)
        count = len(resample(times, self.seconds, fps, start, end))
        moments = ((start or 0.0) + np.arange(count) / float(fps)) * float(self.fps)
        moments = np.clip(moments, 0, len(self) - 1)
        whole = np.rint(moments)
        moments = np.where(np.abs(moments - whole) < 1e-4, whole, moments)  # no blend where a frame is meant
        before = moments.astype(np.int64)
        after, share = np.minimum(before + 1, len(self) - 1), (moments - before).astype(np.float32)

        def between(values: np.ndarray) -> np.ndarray:
            weight = share.reshape(-1, *(1,) * (values.ndim - 1))
            blended = values[before] * (1 - weight) + values[after] * weight
            return np.where(weight == 0, values[before], blended)

        scores = None if self.scores is None else between(self.scores)
        depth = None if self.depth is None else between(self.depth)
        moved = between(self.positions)
        return replace(self, positions=moved, depth=depth, scores=scores, seconds_per_frame=1 / fps)


def check_amount(name: str, frames: int, joints: int, axes: int = 3) -> None:
    """Raise `PosegenError` for a motion without frames or joints, and for one that is larger than any real one."""
    if frames < 1 or joints < 1:
        raise PosegenError(f"{name}: holds no motion ({frames} frames of {joints} joints)")
    if frames > MAX_FRAMES or joints > MAX_JOINTS or frames * joints * axes > MAX_VALUES:
        raise PosegenError(
            f"{name}: {frames:,} frames of {joints:,} joints exceed the maximum of {MAX_FRAMES:,} frames, "
            f"{MAX_JOINTS:,} joints and {MAX_VALUES // axes:,} positions: cut it"
        )


def even_times(
    seconds: Float64[np.ndarray, " frames"], *arrays: np.ndarray
) -> tuple[Fraction | None, tuple[np.ndarray, ...], tuple[str, ...]]:
    """Return the rate of frames with these times, and arrays (frames first) at even times, with a line if they moved.

    Times may be rounded: up to half a frame from even ones counts as even. None instead of a rate for times that do not
    rise.
    """
    steps = np.diff(seconds)
    if not len(steps) or not np.isfinite(seconds).all() or (steps <= 0).any():
        return None, arrays, ()
    mean, middle = float(steps.mean()), float(np.median(steps))
    even = seconds[0] + mean * np.arange(len(seconds))
    if np.abs(seconds - even).max() < 0.5 * mean:
        return simple_rate(1 / mean), arrays, ()
    rate = simple_rate(1 / middle)
    if rate is None:
        return None, arrays, ()
    wanted = np.arange(seconds[0], seconds[-1] + 0.01 * middle, float(1 / rate))
    after = np.clip(np.searchsorted(seconds, wanted), 1, len(seconds) - 1)
    share = np.clip((wanted - seconds[after - 1]) / steps[after - 1], 0, 1)
    share = np.where(steps[after - 1] > 1 + 2 * middle, np.nan, share)  # nothing is known over a second

    def placed(values: np.ndarray) -> np.ndarray:
        weight = share.reshape(-1, *(1,) * (values.ndim - 1)).astype(np.float32)
        return np.asarray(values[after - 1] * (1 - weight) + values[after] * weight)

    line = f"its frames come at uneven times: they are placed at {float(rate):g} frames per second by their times"
    return rate, tuple(placed(values) for values in arrays), (line,)


def rate_of_period(seconds: str) -> Fraction | None:
    """Return the frame rate of a time per frame that a file writes with few digits; None if it is no time.

    Writers cut digits off: 0.008333 and 0.0083333 both mean 120 frames per second, and taken as they stand they would
    be late by frames after minutes. The simplest rate that rounds, or is cut, to the written digits is taken: a whole
    number, else one of NTSC's, else the number itself.
    """
    text = seconds.strip().lower()
    try:
        period = Fraction(text)
    except (ValueError, ZeroDivisionError):
        return None
    if period <= 0:
        return None
    mantissa, _, exponent = text.partition("e")
    digits = len(mantissa.partition(".")[2]) - int(exponent or 0)
    last = Fraction(1, 10 ** max(digits, 0)) if digits >= 4 else Fraction(0)  # 0.04 is meant as it stands
    low, high = 1 / (period + last), 1 / (period - last if period > last else period)
    whole = round(1 / period)
    for rate in (Fraction(whole), Fraction(whole * 1000, 1001)):
        if rate > 0 and low <= rate <= high:
            return rate
    return 1 / period


def simple_rate(fps: float | int) -> Fraction | None:
    """Return the frame rate that a file gives as a binary number; None unless it is a number above 0."""
    if not np.isfinite(fps) or not 1e-3 < fps < 1e6:
        return None
    for rate in (Fraction(round(fps)), Fraction(round(fps) * 1000, 1001)):
        if rate > 0 and abs(float(rate) - fps) < 2e-5 * fps:
            return rate
    return Fraction(fps).limit_denominator(1_000_000)
