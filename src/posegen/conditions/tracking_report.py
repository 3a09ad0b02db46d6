"""Reports how a person was followed through a clip, and how good the resulting keypoints are, in lines for the user."""

from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Float

from posegen.conditions.bystanders import Bystanders
from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import BODY, HAND_DRAWN, HANDS, SEEN, PoseSequence

_MOST_NAMED = 6
"""Maximum number of scenes that are named."""
MUCH_JITTER = 0.5
"""Jitter in percent of the height from which it is reported as bad."""
FEW_FRAMES, FEW_HANDS, SMALL = 90, 50, 15
"""Percent of frames followed, of frames with a hand, and of the frame's height below which figures are bad."""


@dataclass(frozen=True)
class PersonSummary:
    """Somebody in the driving video.

    number: from 1; frames: number of frames they are seen in, from frame `first`; best: the frame that shows them best,
    and box (left, top, right, bottom) is where, in pixels of the driving video; place: where they first are, in words.
    """

    number: int
    frames: int
    first: int
    best: int
    box: tuple[float, float, float, float]
    place: str

    def as_json(self) -> dict[str, Any]:
        """Convert to the form in a manifest."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "PersonSummary":
        """Read the form in a manifest. Raises `ValueError`, `TypeError` or `KeyError` for anything else."""
        left, top, right, bottom = (float(side) for side in values["box"])
        number, frames, first, best = (int(values[name]) for name in ("number", "frames", "first", "best"))
        return cls(number, frames, first, best, (left, top, right, bottom), str(values["place"]))


@dataclass(frozen=True)
class TrackingReport:
    """Result of following a person, in numbers of frames.

    seen: with a detection of the person; interpolated, missing: the others, filled or not. Of those others,
    implausible: whose detection could not be right; somebody_else: in which only others were seen. looked_again,
    found_again: by the second look. upside_down: contradicting the rest of the clip, but kept. replaced: (first, last)
    frame of each scene in which somebody else is followed. most_people: maximum at once.
    """

    num_frames: int
    seen: int
    interpolated: int
    missing: int
    most_people: int
    place: str = "in the middle"
    implausible: int = 0
    somebody_else: int = 0
    looked_again: int = 0
    found_again: int = 0
    upside_down: int = 0
    replaced: tuple[tuple[int, int], ...] = ()
    followed: int = 1
    people: tuple[PersonSummary, ...] = ()
    cuts: tuple[int, ...] = ()
    """Frames that begin a new scene."""
    bystanders: Bystanders | None = field(default=None, compare=False)
    """Where other people are."""

    def describe(self) -> str:
        """Describe the tracking in one line."""
        line = f"person followed in {self.seen} of {self.num_frames} frames"
        if self.found_again:
            line += f", {self.found_again} of them at a second look"
        if self.interpolated:
            line += f", {self.interpolated} interpolated"
        if self.missing:
            line += f", {self.missing} without a person (nothing drawn there)"
        lost = self.num_frames - self.seen
        reasons = [
            (lost - self.implausible - self.somebody_else, "nobody seen"),
            (self.implausible, "an implausible body dropped"),
            (self.somebody_else, "only somebody else seen"),
        ]
        told = [f"{what} in {count}" for count, what in reasons if count > 0]
        return f"{line}: {', '.join(told)}" if told else line

    def warnings(self, fps: Fraction, start: float = 0.0) -> list[str]:
        """Return a line about several people, naming the followed one, and lines about others who are followed."""
        lines = []
        if len(self.people) > 1 or self.most_people > 1:
            count = max(self.most_people, 1)
            there = f"up to {count} people are" if count > 1 else f"{len(self.people)} people, one at a time, are"
            lines.append(
                f"{there} in the video: following number {self.followed}, who begins {self.place} "
                "(--person chooses another; `posegen preview` shows the numbers)"
            )
        if self.replaced:
            moments = [
                f"{start + float(first / fps):.1f}-{start + float((last + 1) / fps):.1f} s"
                for first, last in self.replaced[:_MOST_NAMED]
            ]
            more = "" if len(self.replaced) <= _MOST_NAMED else f" and {len(self.replaced) - _MOST_NAMED} more"
            lines.append(
                f"the followed person is not in {len(self.replaced)} of the scenes: there the largest person is "
                f"followed instead ({', '.join(moments)}{more}; --start and --end take one scene)"
            )
        if self.upside_down:
            lines.append(f"the body is upside down in {self.upside_down} frames, and stays so: check the overlay")
        return lines


def describe_quality(pose: PoseSequence, tracking: TrackingReport, hands: bool, smoothing: bool) -> str:
    """Describe in one line how good the drawn keypoints are, each bad figure with the option that would help."""
    total = max(tracking.num_frames, 1)
    drawn = pose.scores.max(axis=1) > 0
    followed = 100 * tracking.seen / total
    filled = f", {tracking.interpolated} filled" if tracking.interpolated else ""
    advice = " (--start and --end take the part that shows them, --person another person)"
    parts = [f"followed in {followed:.0f} % of the frames{filled}{advice if followed < FEW_FRAMES else ''}"]
    dropped = total - tracking.seen - tracking.interpolated
    if dropped:
        parts.append(f"{dropped} dropped")
    if tracking.looked_again:
        parts.append(f"{tracking.looked_again} looked at again")
    if hands and drawn.any():
        shares = [100 * float((pose.scores[drawn][:, hand] >= HAND_DRAWN).any(axis=1).mean()) for hand in HANDS]
        line = f"hands drawn: left in {shares[0]:.0f} %, right in {shares[1]:.0f} %"
        if max(shares) > 0:  # that there are none at all is a line of its own
            parts.append(line + (" (--pose vitpose finds more)" if min(shares) < FEW_HANDS else ""))
    amount = jitter(pose)
    if np.isfinite(amount):
        better = "--pose vitpose is steadier" if smoothing else "--smoothing is steadier"
        parts.append(f"jitter {amount:.2g} % of the height" + (f" ({better})" if amount > MUCH_JITTER else ""))
    if drawn.any():
        body = 100 * float((pose.scores[drawn][:, BODY] >= SEEN).mean())
        parts.append(f"{body:.0f} % of the body in the frame")
        small = _share_of_frame(pose)
        if small < SMALL:
            parts.append(f"only {small:.0f} % of the frame's size (a driving video cropped to the person helps)")
    return f"quality: {'; '.join(parts)}"


def jitter(pose: PoseSequence) -> float:
    """Return the median frame-to-frame unsteadiness of body points, in percent of the standing height; NaN if unknown.

    It is the length of the second difference over the root of 6, which is the standard deviation of independent errors
    of a point at rest. The median over points and frames, so that fast movements hardly count.
    """
    body, seen = pose.keypoints[:, BODY].astype(np.float64), pose.scores[:, BODY] >= SEEN
    if len(pose) < 3:
        return float("nan")
    bend = np.linalg.norm(body[2:] - 2 * body[1:-1] + body[:-2], axis=-1) / np.sqrt(6)
    valid = seen[2:] & seen[1:-1] & seen[:-2]
    height = standing_height(pose.keypoints, pose.scores >= SEEN)[1:-1, None]
    with np.errstate(invalid="ignore"):
        relative = (bend / height)[valid & np.isfinite(height)]
    return 100 * float(np.median(relative)) if len(relative) else float("nan")


def _share_of_frame(pose: PoseSequence) -> float:
    """Return the median longer side of the person's box in percent of the frame's shorter side."""
    extents: Float[np.ndarray, " frames"] = np.array([pose[frame].extent for frame in range(0, len(pose), 5)])
    extents = extents[extents > 0]
    return 100 * float(np.median(extents)) / min(pose.size) if len(extents) else 100.0
