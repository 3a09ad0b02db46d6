"""Measures person and background by keypoints that are estimated in the result.

Pose error, hands found, background drift, appearance drift (and identity, with a face network). People are looked for a
few times a second; frames in which nobody is found are counted. Only PSNR of hands needs ground truth.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Float

from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.estimators.mediapipe import hand_square
from posegen.conditions.keypoints import BODY, HANDS, INDEX, SEEN, PersonPose
from posegen.conditions.tracking import shoulders_seen
from posegen.evaluate.metrics.appearance import Appearance, describe_appearance
from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, FrameScorer, GroundTruthFrames, Score
from posegen.evaluate.metrics.pixel_formulas import psnr_per_frame
from posegen.types import Frames, Image

_WIDENED = 0.15
"""The person's box is widened by this share of its size before what is outside counts as background."""
_HAIR = 0.45
"""Height of hair above the highest point of the face, in widths of the shoulders."""
_BACKGROUND_SIDE = 128
_FEWEST_POINTS = 4
"""Minimum number of body points seen in both for poses to be compared."""


@runtime_checkable
class FaceNetwork(Protocol):
    """A network that turns a face into a unit vector."""

    identity: str
    name: str

    def embed(self, frame: Image, person: PersonPose) -> Float[np.ndarray, " features"] | None:
        """The vector of a person's face; None where no face is found."""


class PeopleMetrics:
    """All scores of keypoints together, so that these are estimated once."""

    ground_truth: Literal["ignored"] = "ignored"
    fitted = False

    def __init__(self, estimator: PoseEstimator, face: FaceNetwork | None = None) -> None:
        self.estimator, self.face = estimator, face
        name = f"{estimator.name} {estimator.version}"
        self.identity = f"people 2 {name} {face.identity if face else 'no face'}"
        per = "sampled frame"
        self.scores: tuple[Score, ...] = (
            Score("pose error", "lower", name, per=per, unit="%", digits=2,
                  about="mean distance of the 17 body points from the driving ones, in hundredths of the driving "
                  "person's height; after moving and scaling onto them where places differ (aligned: false)"),
            Score("hands found", "higher", name, per="hand in the driving video", unit="%", digits=1,
                  about="share of the driving video's hands that are found again"),
            Score("background drift", "lower", name, per="second", unit="of 255", digits=2, ranked=False,
                  about="mean difference of each second's background from the first second's, outside the person's "
                  "box (and outside the driving person's, where places agree); a moving camera counts too; blur "
                  "lowers it, so it ranks nothing"),
            Score("appearance drift", "lower", name, per="second", unit="ΔE", digits=2,
                  about="difference of the colours of hair, face, clothes and limbs from the reference image's"),
        )  # fmt: skip  # a table, read in rows
        if face:
            about = "cosine similarity of the face with the reference image's; frames without a face are counted"
            self.scores += (Score("identity (ArcFace)", "higher", face.name, per=per, about=about),)

    def find(self, frame: Image) -> PersonPose | None:
        """The largest person of a frame, with hands."""
        people = [person for person in self.estimator.estimate(frame) if shoulders_seen(person)]
        return self.estimator.add_hands(frame, max(people, key=lambda person: person.area)) if people else None

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _PeopleScorer(self, clip)


@dataclass
class _Second:
    """Sums over one second."""

    total: np.ndarray | None = None
    count: np.ndarray | None = None
    frames: list[np.ndarray] = field(default_factory=list)
    people: list[PersonPose] = field(default_factory=list)


class _PeopleScorer(FrameScorer):
    def __init__(self, metric: PeopleMetrics, clip: ClipInputs) -> None:
        self.metric, self.clip, self.number = metric, clip, 0
        self.result = ClipScores(counts={"frames looked at": 0, "nobody found": 0})
        self.second, self.second_number = _Second(), 0
        self.first_background: np.ndarray | None = None
        self.appearance: Appearance | None = None
        self.face: np.ndarray | None = None
        self.curves: dict[str, tuple[list[int], list[float]]] = {score.name: ([], []) for score in metric.scores}
        if clip.reference is not None:
            person = metric.find(clip.reference)
            if person is None:
                self.result.counts["nobody found in the reference image"] = 1
            else:
                self.appearance = describe_appearance(clip.reference[None], person.keypoints[None], person.scores[None])
                self.face = metric.face.embed(clip.reference, person) if metric.face else None
        if metric.face is not None:
            self.result.counts |= {"frames without a face": 0, "no face in the reference image": int(self.face is None)}

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        for frame in generated:
            if self.number // max(1, round(self.clip.fps)) != self.second_number:
                self._end_second()
                self.second_number += 1
            if self.number in self.clip.sampled:
                self._look(frame)
            self.number += 1

    def _look(self, frame: Image) -> None:
        self.result.counts["frames looked at"] += 1
        person = self.metric.find(frame)
        self._add_background(frame, person)
        if person is None:
            self.result.counts["nobody found"] += 1
        else:
            self.second.frames.append(frame)
            self.second.people.append(person)
        self._compare_pose(person)
        if self.metric.face is not None and self.face is not None:
            face = self.metric.face.embed(frame, person) if person else None
            if face is None:
                self.result.counts["frames without a face"] += 1
            else:
                self._note("identity (ArcFace)", float(face @ self.face))

    def _wanted(self) -> PersonPose | None:
        """The driving person of this frame, where one is known and seen."""
        driving, place = self.clip.driving, self.clip.sampled.index(self.number)
        if driving is None or place >= len(driving):
            return None
        return driving[place] if (driving.scores[place] >= SEEN).any() else None

    def _compare_pose(self, person: PersonPose | None) -> None:
        wanted = self._wanted()
        if wanted is None:
            return
        for hand in HANDS:
            if (wanted.scores[hand] >= SEEN).mean() > 0.5:
                found = person is not None and bool((person.scores[hand] >= SEEN).mean() > 0.5)
                self._note("hands found", 100.0 * found)
        if person is not None:
            error = pose_error(person, wanted, self.clip.aligned)
            if error is not None:
                self._note("pose error", 100 * error)

    def _add_background(self, frame: Image, person: PersonPose | None) -> None:
        """Add what is outside the person's box and, in aligned clips, outside the driving person's too."""
        people = [each for each in (person, self._wanted() if self.clip.aligned else None) if each is not None]
        if not people:
            return
        height, width = frame.shape[:2]
        outside = np.ones((_BACKGROUND_SIDE, _BACKGROUND_SIDE, 1))
        for left, top, right, bottom in (person_box(each, height) for each in people):
            columns = np.clip(np.array([left, right]) * _BACKGROUND_SIDE / width, 0, _BACKGROUND_SIDE)
            rows = np.clip(np.array([top, bottom]) * _BACKGROUND_SIDE / height, 0, _BACKGROUND_SIDE)
            outside[int(rows[0]) : int(np.ceil(rows[1])), int(columns[0]) : int(np.ceil(columns[1]))] = 0
        small = cv2.resize(frame, (_BACKGROUND_SIDE, _BACKGROUND_SIDE), interpolation=cv2.INTER_AREA) * outside
        self.second.total = small if self.second.total is None else self.second.total + small
        self.second.count = outside if self.second.count is None else self.second.count + outside

    def _end_second(self) -> None:
        """Turn a second's sums into points of the curves."""
        second, self.second = self.second, _Second()
        at = self.second_number * max(1, round(self.clip.fps))
        if second.total is not None and second.count is not None and second.count.any():
            background = np.where(second.count > 0, second.total / np.maximum(second.count, 1), np.nan)
            if self.first_background is None:
                self.first_background = background
            elif np.isfinite(apart := np.abs(background - self.first_background)).any():
                self._note("background drift", float(np.nanmean(apart)), at)
        if second.people and self.appearance is not None:
            distance = _describe(second.frames, second.people).distance(self.appearance)
            if np.isfinite(distance):
                self._note("appearance drift", distance, at)

    def _note(self, name: str, value: float, at: int | None = None) -> None:
        numbers, values = self.curves[name]
        numbers.append(self.number if at is None else at)
        values.append(value)

    def finish(self) -> ClipScores:
        self._end_second()
        for name, (numbers, values) in self.curves.items():
            self.result.add_curve(name, numbers, values)
        return self.result


def person_box(person: PersonPose, height: int) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) that surely holds the person, from the points that are seen, in a frame `height` high.

    Widened, more above because hair has no points; down to the frame's lower edge where no ankle is seen.
    """
    points = person.keypoints[person.scores >= SEEN]
    (left, top), (right, bottom) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
    margin = _WIDENED * max(right - left, bottom - top)
    shoulders = person.keypoints[[INDEX["left_shoulder"], INDEX["right_shoulder"]]]
    across = float(np.linalg.norm(shoulders[0] - shoulders[1])) if shoulders_seen(person) else 0.0
    ankles = person.scores[[INDEX["left_ankle"], INDEX["right_ankle"]]] >= SEEN
    lowest = bottom + margin if ankles.any() else float(height)
    return left - margin, top - max(margin, _HAIR * across), right + margin, lowest


def pose_error(person: PersonPose, driving: PersonPose, aligned: bool) -> float | None:
    """Mean distance of body points seen in both, in heights of the driving person's box; None where too few are.

    Unless `aligned`, the person is first moved and scaled onto the driving one, with the least squared error.
    """
    both = (person.scores[BODY] >= SEEN) & (driving.scores[BODY] >= SEEN)
    _, top, _, bottom = driving.box
    if both.sum() < _FEWEST_POINTS or bottom <= top:
        return None
    points, wanted = (each.keypoints[BODY][both].astype(np.float64) for each in (person, driving))
    if not aligned:
        centred, target = points - points.mean(axis=0), wanted - wanted.mean(axis=0)
        points, wanted = centred * (centred * target).sum() / max((centred**2).sum(), 1e-9), target
    return float(np.linalg.norm(points - wanted, axis=1).mean() / (bottom - top))


class HandRegions:
    """PSNR against the ground truth in squares around the driving video's hands."""

    identity, fitted = "hand regions 2", True
    ground_truth: Literal["needed"] = "needed"
    scores = (
        Score("PSNR of hands", "higher", "driving keypoints", per="sampled frame", unit="dB", digits=2,
              about="in squares around the driving hands; only where driving and result show the person at one place"),
    )  # fmt: skip  # a table, read in rows

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _HandScorer(clip)


class _HandScorer(FrameScorer):
    def __init__(self, clip: ClipInputs) -> None:
        self.clip, self.number = clip, 0
        self.numbers: list[int] = []
        self.values: list[float] = []

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        assert ground_truth is not None
        for frame, true_frame in zip(generated, ground_truth, strict=True):
            driving, sampled = self.clip.driving, self.clip.sampled
            if driving is not None and self.clip.aligned and self.number in sampled:
                place = sampled.index(self.number)
                scores = [
                    float(psnr_per_frame(frame[region][None], true_frame[region][None])[0])
                    for side in range(2)
                    if place < len(driving) and (region := self._square(driving[place], side, frame.shape[:2]))
                ]
                if scores:
                    self.numbers.append(self.number)
                    self.values.append(min(float(np.mean(scores)), 100.0))
            self.number += 1

    def _square(self, person: PersonPose, side: int, size: Sequence[int]) -> tuple[slice, slice] | None:
        square = hand_square(person, side)
        if square is None:
            return None
        (x, y), half = square[0], square[1] / 2
        # keypoints are in the clip's own pixels, frames at the protocol's size
        corners = self.clip.rules.place(
            np.array([(x - half, y - half), (x + half, y + half)], np.float64),
            self.clip.size,
            self.clip.truth_size,
        )
        (left, top), (right, bottom) = corners.round().astype(int).tolist()
        rows, columns = slice(max(0, top), min(size[0], bottom)), slice(max(0, left), min(size[1], right))
        big_enough = rows.stop - rows.start >= 4 and columns.stop - columns.start >= 4
        return (rows, columns) if big_enough else None

    def finish(self) -> ClipScores:
        result = ClipScores()
        result.add_curve("PSNR of hands", self.numbers, self.values)
        return result


def _describe(frames: list[np.ndarray], people: list[PersonPose]) -> Appearance:
    return describe_appearance(
        np.stack(frames), np.stack([person.keypoints for person in people]), np.stack([p.scores for p in people])
    )
