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
from posegen.media.files import write_whole
from posegen.media.fitting import Fit
from posegen.pipeline.blend import Frame
from posegen.pipeline.progress import Progress
from posegen.pipeline.segments import SegmentPlan

_WIDENED = 0.15
"""The person's box is widened by this share of its size before what is outside counts as background."""


def seam_transitions(plan: SegmentPlan) -> list[range]:
    """For each two neighbours the frames t whose step to t + 1 belongs to their seam: the fade and its two borders."""
    seams = []
    for before, after in zip(plan.segments[:-1], plan.segments[1:], strict=True):
        last = max(before.stop, after.start)
        seams.append(range(min(after.start, plan.num_frames) - 1, min(last, plan.num_frames - 1)))
    return [seam for seam in seams if len(seam)]


@dataclass
class SeamReport:
    """What was measured; in units of 0..255.

    change: mean absolute difference of each frame to the one after it, (F - 1,).
    colours, background: mean RGB of each frame, and of what is outside the person, each (F, 3); NaN where nothing is.
    """

    plan: SegmentPlan
    change: list[float] = field(default_factory=list)
    colours: list[Float[np.ndarray, " 3"]] = field(default_factory=list)
    background: list[Float[np.ndarray, " 3"]] = field(default_factory=list)

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

    def segment_colours(self) -> list[dict[str, Any]]:
        """Mean and deviation over time of each segment's own frames (those in no fade)."""
        rows = []
        colours, background = np.asarray(self.colours), np.asarray(self.background)
        for segment in self.plan.segments:
            first = segment.start + (self.plan.overlap(segment.index - 1) if segment.index else 0)
            own = slice(first, min(segment.stop - self.plan.overlap(segment.index), self.plan.num_frames))
            if own.start >= own.stop:
                continue
            rows.append({
                "segment": segment.name,
                "mean": _rounded(np.nanmean(colours[own], axis=0)),
                "deviation": _rounded(np.nanstd(colours[own], axis=0)),
                "background": None if np.isnan(background[own]).all() else _rounded(np.nanmean(background[own], 0)),
            })  # fmt: skip
        return rows

    def colour_drift(self) -> float:
        """Largest difference of a segment's mean background colour (a channel of it) from the first segment's."""
        known = [row["background"] for row in self.segment_colours() if row["background"] is not None]
        return max((float(np.abs(np.subtract(colour, known[0])).max()) for colour in known), default=0.0)

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
            f"seams: frames change {max(flicker):.2f} times as much as elsewhere (at worst); "
            f"the background's colour moves by at most {self.colour_drift():.1f} of 255 between segments"
        )


def watch_seams(
    frames: Iterator[Frame], report: SeamReport, boxes: Float[np.ndarray, "frames 4"] | None = None
) -> Iterator[Frame]:
    """Pass frames through and fill the report. `boxes` are the person's (left, top, right, bottom), NaN if unseen."""
    before: np.ndarray | None = None
    for number, frame in enumerate(frames):
        values = frame.astype(np.float32)
        if before is not None:
            report.change.append(float(np.abs(values - before).mean()))
        report.colours.append(values.mean((0, 1)))
        report.background.append(_outside(values, None if boxes is None else boxes[min(number, len(boxes) - 1)]))
        before = values
        yield frame


def person_boxes(pose: PoseSequence, fit: Fit) -> Float[np.ndarray, "frames 4"]:
    """(left, top, right, bottom) in the result around the keypoints that are seen, widened; NaN where none is.

    `fit` is how the driving video, to which `pose` belongs, becomes a picture of the result's size.
    """
    points = np.where((pose.scores >= SEEN)[..., None], fit.apply_points(pose.keypoints), np.nan)
    boxes = np.full((len(points), 4), np.nan)
    seen = ~np.isnan(points).all((1, 2))
    if seen.any():
        low, high = np.nanmin(points[seen], axis=1), np.nanmax(points[seen], axis=1)
        margin = _WIDENED * (high - low).max(-1, keepdims=True)
        boxes[seen] = np.concatenate([low - margin, high + margin], axis=-1)
    return boxes


def save_report(report: SeamReport, path: Path, progress: Progress) -> None:
    """Write the figures as JSON and say the line for people."""
    write_whole(path, (json.dumps(report.as_json(), indent=1) + "\n").encode())
    line = report.describe()
    if line is not None:
        progress.say(line)


def _outside(values: np.ndarray, box: np.ndarray | None) -> np.ndarray:
    """Mean RGB outside a box; of all if there is none; NaN if nothing is outside."""
    height, width = values.shape[:2]
    if box is None or np.isnan(box).any():
        return np.asarray(values.mean((0, 1)))
    left, right = (int(np.clip(round(float(side)), 0, width)) for side in box[[0, 2]])
    top, bottom = (int(np.clip(round(float(side)), 0, height)) for side in box[[1, 3]])
    area = height * width - (right - left) * (bottom - top)
    if area <= 0:
        return np.full(3, np.nan)
    inside = values[top:bottom, left:right].sum((0, 1), dtype=np.float64)
    return np.asarray((values.sum((0, 1), dtype=np.float64) - inside) / area)


def _rounded(values: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in values]
