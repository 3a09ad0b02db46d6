"""Measures a long video while it is written: flicker where segments meet, and each segment's colours.

Frames pass through unchanged; a few numbers for each are kept. What is made of the report is the caller's concern.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from posegen.conditions.keypoints import SEEN, PoseSequence
from posegen.generate.segments import Segment, SegmentPlan
from posegen.media.files import write_whole
from posegen.media.fitting import Fit
from posegen.progress import Progress
from posegen.types import Frame

_WIDENED = 0.15
"""The person's box is widened by this share of its size before what is outside counts as background."""
_LEAST_SHARE = 0.01
"""Of the picture must show as background in two segments before they are compared."""


def seam_transitions(plan: SegmentPlan) -> list[range]:
    """For each two neighbours the frames t whose step to t + 1 belongs to their seam: the fade and its two borders."""
    seams = []
    for before, after in zip(plan.segments[:-1], plan.segments[1:], strict=True):
        last = max(before.stop, after.start)
        seams.append(range(min(after.start, plan.num_frames) - 1, min(last, plan.num_frames - 1)))
    return [seam for seam in seams if len(seam)]


@dataclass
class SeamReport:
    """Flicker at seams and the colours of segments, in units of 0..255.

    change: mean absolute difference of each frame to the one after it, (F - 1,).
    colours: mean RGB of each frame, (F, 3). backgrounds: how much redder, greener and bluer a segment's background is
    than the first one's, by the segment's name: means over its own frames (those in no fade) and over the places that
    show as background in both. A segment without such places is not there.
    """

    plan: SegmentPlan
    change: list[float] = field(default_factory=list)
    colours: list[Float[np.ndarray, " 3"]] = field(default_factory=list)
    backgrounds: dict[str, Float[np.ndarray, " 3"]] = field(default_factory=dict)

    def flicker(self) -> list[float]:
        """For each seam: the mean step inside it over the median step outside all seams (1 = no flicker).

        Without movement elsewhere there is nothing to compare with: then NaN.
        """
        seams = seam_transitions(self.plan)
        change = np.asarray(self.change)
        inside = np.zeros(len(change), bool)
        for seam in seams:
            inside[seam.start : seam.stop] = True
        usual = float(np.median(change[~inside])) if (~inside).any() else 0.0
        means = [float(change[seam.start : seam.stop].mean()) for seam in seams]
        return [mean / usual if usual > 0 else float("nan") for mean in means]

    def own_frames(self, segment: Segment) -> range:
        """The frames of the video that come from this segment alone."""
        first = segment.start + (self.plan.overlap(segment.index - 1) if segment.index else 0)
        return range(first, max(first, min(segment.stop - self.plan.overlap(segment.index), self.plan.num_frames)))

    def segment_colours(self) -> list[dict[str, Any]]:
        """Mean and deviation over time of each segment's own frames, and its background against the first one's."""
        rows = []
        colours = np.asarray(self.colours)
        for segment in self.plan.segments:
            own = self.own_frames(segment)
            if own:
                part, shift = colours[own.start : own.stop], self.backgrounds.get(segment.name)
                rows.append(
                    {
                        "segment": segment.name,
                        "mean": _rounded(part.mean(axis=0)),
                        "deviation": _rounded(part.std(axis=0)),
                        "background": None if shift is None else _rounded(shift),
                    }
                )
        return rows

    def colour_drift(self) -> float:
        """Largest difference of a segment's background (a channel's mean) from the first segment's, where both show."""
        return max((float(np.abs(shift).max()) for shift in self.backgrounds.values()), default=0.0)

    def as_json(self) -> dict[str, Any]:
        """For a file."""
        return {
            "seam_frames": [frame for seam in seam_transitions(self.plan) for frame in seam],
            "seam_flicker": [None if np.isnan(value) else round(value, 4) for value in self.flicker()],
            "background_colour_drift": round(self.colour_drift(), 3),
            "segments": self.segment_colours(),
            "change": [round(value, 4) for value in self.change],
        }

    def describe(self) -> str | None:
        """One line for people; None for a video of one segment."""
        flicker = [value for value in self.flicker() if not np.isnan(value)]
        if not flicker:
            return None
        return (
            f"seams: frames change {np.mean(flicker):.2f} times as much as elsewhere ({max(flicker):.2f} at the "
            "liveliest, where the person's movement counts, too); the background's colour moves by at most "
            f"{self.colour_drift():.1f} of 255 between segments"
        )


def watch_seams(
    frames: Iterator[Frame], report: SeamReport, boxes: Float[np.ndarray, "frames 4"] | None = None
) -> Iterator[Frame]:
    """Pass frames through and fill the report. `boxes` are the person's (left, top, right, bottom), NaN if unseen."""
    before: np.ndarray | None = None
    segments = {number: segment for segment in report.plan.segments for number in report.own_frames(segment)}
    first, current = None, _Background(None)
    for number, frame in enumerate(frames):
        values = frame.astype(np.float32)
        if before is not None:
            report.change.append(float(np.abs(values - before).mean()))
        report.colours.append(values.mean((0, 1)))
        segment = segments.get(number)
        if segment is not None:
            if segment != current.segment:
                current = _Background(segment)
            current.add(values, None if boxes is None else boxes[min(number, len(boxes) - 1)])
            if number == report.own_frames(segment).stop - 1:
                first = first or current
                shift = current.shift(first)
                if shift is not None:
                    report.backgrounds[segment.name] = shift
        before = values
        yield frame


class _Background:
    """The mean picture of what is outside the person in the frames of one segment."""

    def __init__(self, segment: Segment | None) -> None:
        self.segment = segment
        self._total: np.ndarray | float = 0.0
        self._count: np.ndarray | float = 0.0

    def add(self, values: np.ndarray, box: np.ndarray | None) -> None:
        height, width = values.shape[0], values.shape[1]
        outside = np.ones((height, width), np.float32)
        if box is not None and not np.isnan(box).any():
            left, right = (int(np.clip(round(float(side)), 0, width)) for side in box[[0, 2]])
            top, bottom = (int(np.clip(round(float(side)), 0, height)) for side in box[[1, 3]])
            outside[top:bottom, left:right] = 0
        self._total = self._total + values * outside[..., None]
        self._count = self._count + outside

    def shift(self, other: "_Background") -> np.ndarray | None:
        """Mean RGB of this less the other's, where both show; None if that is hardly anywhere."""
        mine, theirs = np.asarray(self._count), np.asarray(other._count)
        both = (mine > 0) & (theirs > 0)
        if both.mean() < _LEAST_SHARE:
            return None
        here, there = np.asarray(self._total)[both], np.asarray(other._total)[both]
        return np.asarray((here / mine[both][:, None] - there / theirs[both][:, None]).mean(axis=0))


def person_boxes(pose: PoseSequence, fit: Fit) -> Float[np.ndarray, "frames 4"]:
    """(left, top, right, bottom) in the result around the keypoints that are seen, widened; NaN where none is.

    `fit` is how the driving video, to which `pose` belongs, becomes a picture of the result's size.
    """
    boxes = np.full((len(pose), 4), np.nan)
    for part in pose.pieces():
        points = np.where((pose.scores[part] >= SEEN)[..., None], fit.apply_points(pose.keypoints[part]), np.nan)
        seen = ~np.isnan(points).all((1, 2))
        if seen.any():
            low, high = np.nanmin(points[seen], axis=1), np.nanmax(points[seen], axis=1)
            margin = _WIDENED * (high - low).max(-1, keepdims=True)
            boxes[part][seen] = np.concatenate([low - margin, high + margin], axis=-1)
    return boxes


def save_report(report: SeamReport, path: Path, progress: Progress) -> None:
    """Write the figures as JSON and say the line for people."""
    write_whole(path, (json.dumps(report.as_json(), indent=1) + "\n").encode())
    line = report.describe()
    if line is not None:
        progress.say(line)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]
