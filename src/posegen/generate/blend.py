"""Segments in order of time -> the frames of the whole video, cross-faded where they overlap.

Holds one segment and one overlap, never more. Where segments come from and where frames go is the caller's concern.
"""

from collections.abc import Callable, Iterator

import numpy as np

from posegen.generate.segments import Segment, SegmentPlan
from posegen.types import Frame, Frames


def cross_fade(before: Frames, after: Frames) -> Frames:
    """Fade linearly from `before` to `after`, frame by frame: the first is all before, the last all after.

    A single frame is all `after` (it has seen more of what follows).
    """
    count = len(before)
    weight = np.linspace(0.0, 1.0, count) if count > 1 else np.ones(count)
    weight = weight[:, None, None, None].astype(np.float32)
    return np.rint(before * (1 - weight) + after * weight).astype(np.uint8)


def blend_segments(plan: SegmentPlan, frames_of: Callable[[Segment], Frames]) -> Iterator[Frame]:
    """Yield the `plan.num_frames` frames of the video, each as soon as it is final.

    `frames_of` is asked once for each segment, in order of time, and returns its `plan.segment_length` frames.
    """
    pending: Frames | None = None
    for segment in plan.segments:
        frames = frames_of(segment)
        if len(frames) != segment.stop - segment.start:
            raise ValueError(f"segment {segment.name} has {len(frames)} frames, not {segment.stop - segment.start}")
        if pending is not None and len(pending):
            frames = np.concatenate([cross_fade(pending, frames[: len(pending)]), frames[len(pending) :]])
        keep = len(frames) - plan.overlap(segment.index)
        final = max(0, min(keep, plan.num_frames - segment.start))
        yield from frames[:final]
        pending = frames[keep:]
