"""Plans a long video: its segments, their positions and overlaps. Pure arithmetic.

PoseGen's plan ("interleaved"): base segments of N frames stand at period 2N - head - tail; a stitch segment bridges
each pair, sharing `head` frames with the one before and `tail` with the one after (PoseGen, section "interleaved
segment generation"). For comparison: "autoregressive", each segment gets the last `head` frames of the
one before; "independent", segments side by side; "freenoise", windows that overlap by half. The last segments may pass
the end of the video; `reflect_indices` says with which frames their conditions are padded.
This file knows nothing of pixels, latents or models.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Int

from posegen.config import LongMethod

_STRIDE = 4
"""Frames of a latent frame: windows are moved by whole ones."""


@dataclass(frozen=True)
class Segment:
    """Frames [start, stop) of the video, made in one piece. `stop` may pass the end: padding.

    A "chain" segment continues the one before; "window" segments are denoised together.
    """

    kind: Literal["base", "stitch", "chain", "window"]
    index: int
    """Position in time among all segments, from 0."""
    start: int
    stop: int

    @property
    def name(self) -> str:
        """Name for files and progress, like `0003-stitch`."""
        return f"{self.index:04d}-{self.kind}"


@dataclass(frozen=True)
class SegmentPlan:
    """Segments in order of time; with the method's plan: base, stitch, base, ..., base."""

    num_frames: int
    segment_length: int
    head: int
    tail: int
    segments: tuple[Segment, ...]

    @property
    def base_segments(self) -> tuple[Segment, ...]:
        """The base segments, in order of time."""
        return tuple(segment for segment in self.segments if segment.kind == "base")

    def overlap(self, index: int) -> int:
        """Frames that segment `index` shares with the one after it; 0 for the last."""
        if index == len(self.segments) - 1:
            return 0
        return self.segments[index].stop - self.segments[index + 1].start


def plan_segments(
    num_frames: int, segment_length: int = 81, head: int = 21, tail: int = 20, method: LongMethod = "interleaved"
) -> SegmentPlan:
    """Lay segments over a video of `num_frames` frames.

    There is one base segment if they fit into one, and else the fewest with which the last segment reaches the end;
    interleaved, a stitch segment lies between each two base segments. Raises `ValueError` if a number is not positive
    or if head + tail exceeds the segment's length (a stitch segment would have nothing to generate, bases would
    overlap).
    """
    if num_frames < 1:
        raise ValueError(f"num_frames is {num_frames}: a video has at least one frame")
    if segment_length < 1:
        raise ValueError(f"segment_length is {segment_length}: a segment has at least one frame")
    if head < 0 or tail < 0:
        raise ValueError(f"head {head} and tail {tail} are numbers of frames: they cannot be negative")
    if head + tail >= segment_length:
        raise ValueError(f"head {head} + tail {tail} leave nothing to generate in a segment of {segment_length} frames")
    if method != "interleaved":
        segments = _in_a_row(num_frames, segment_length, head, method)
        return SegmentPlan(num_frames, segment_length, head, tail, tuple(segments))
    period = 2 * segment_length - head - tail
    bridges = max(0, -(-(num_frames - segment_length) // period))
    segments = []
    for bridge in range(bridges):
        base = bridge * period
        stitch = base + segment_length - head
        segments.append(Segment("base", 2 * bridge, base, base + segment_length))
        segments.append(Segment("stitch", 2 * bridge + 1, stitch, stitch + segment_length))
    last = bridges * period
    segments.append(Segment("base", 2 * bridges, last, last + segment_length))
    return SegmentPlan(num_frames, segment_length, head, tail, tuple(segments))


def _in_a_row(num_frames: int, length: int, head: int, method: LongMethod) -> list[Segment]:
    """Segments of one kind, at one period."""
    if method == "autoregressive":
        period = length - head
    elif method == "independent":
        period = length
    else:
        period = max((length // _STRIDE + 1) // 2, 1) * _STRIDE
    count = 1 + max(0, -(-(num_frames - length) // period))
    segments = []
    for index in range(count):
        kind: Literal["base", "chain", "window"] = "base"
        if method == "freenoise":
            kind = "window"
        elif method == "autoregressive" and index:
            kind = "chain"
        segments.append(Segment(kind, index, index * period, index * period + length))
    return segments


def reflect_indices(start: int, stop: int, num_frames: int) -> Int[np.ndarray, " frames"]:
    """Frame numbers for [start, stop) with what passes the end reflected back, however far it goes.

    0 1 2 3 4 with num_frames = 3 gives 0 1 2 1 0; a video of one frame is repeated.
    """
    indices = np.arange(start, stop)
    if num_frames == 1:
        return np.zeros_like(indices)
    folded = indices % (2 * num_frames - 2)
    return np.minimum(folded, 2 * num_frames - 2 - folded)
