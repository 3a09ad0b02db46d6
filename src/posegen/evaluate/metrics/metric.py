"""Defines a metric: its columns (`Score`), what it sees of a clip, what it returns, and the protocol that all follow.

A metric sees the frames of one clip once, in order, a few at a time, and keeps little: a clip may be hours long.
Metrics of a pair see the ground truth's frames beside the result's; metrics of a video see one video, which may be the
ground truth. The metrics themselves are in the other files of this folder; `evaluation.choose_metrics` lists them.
"""

import math
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from posegen.conditions.keypoints import PoseSequence
from posegen.errors import PosegenError
from posegen.evaluate.metrics.frechet import FeatureSet
from posegen.evaluate.protocols import Protocol as Rules
from posegen.types import Frames

GroundTruthFrames = UInt8[np.ndarray, "frames height width 3"]


@dataclass(frozen=True)
class Score:
    """A column of the table.

    per: what one sample is ("frame", "window of 16" ...); network: what the score was measured with; frechet: a
    distance between the sets of all clips, instead of a mean over clips. ranked: False for a score that something
    worse than the ground truth improves; no method is marked as the best by it.
    """

    name: str
    better: Literal["higher", "lower"]
    network: str
    per: str = "frame"
    unit: str = ""
    digits: int = 3
    frechet: bool = False
    ranked: bool = True
    about: str = ""


@dataclass(frozen=True)
class ClipInputs:
    """Facts about a clip that are known before its frames come.

    size: (H, W) of the frames as the metric will see them; driving: keypoints of the driving person, in pixels of
    those frames, at `sampled` frame numbers; aligned: driving and result show the person at the same place.
    seams: frames whose step to the next belongs to a seam; truth_size: (H, W) of the ground truth's own frames.
    """

    name: str
    fps: float
    num_frames: int
    size: tuple[int, int]
    rules: Rules
    reference: UInt8[np.ndarray, "reference_height reference_width 3"] | None = None
    driving: PoseSequence | None = None
    aligned: bool = True
    seams: tuple[int, ...] = ()
    truth_size: tuple[int, int] | None = None

    @property
    def sampled(self) -> range:
        """Numbers of the frames at which people are looked for."""
        return range(0, self.num_frames, max(1, round(self.fps / self.rules.pose_rate)))


@dataclass
class ClipScores:
    """Results of a metric in one clip of one method.

    values: score -> number (left out where nothing could be measured); samples: score -> how many measurements are in
    it; curves: score -> (frame numbers, values); features: score -> samples of a Fréchet distance; counts: remarks
    for the reader ("frames without a face").
    """

    values: dict[str, float] = field(default_factory=dict)
    samples: dict[str, int] = field(default_factory=dict)
    curves: dict[str, tuple[list[int], list[float]]] = field(default_factory=dict)
    features: dict[str, FeatureSet] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    def add_curve(self, name: str, numbers: list[int], values: list[float]) -> None:
        """Add a curve, whose mean is the clip's value; nothing where it is empty."""
        if values:
            self.curves[name] = (numbers, values)
            self.values[name], self.samples[name] = float(np.mean(values)), len(values)

    def check(self, where: str) -> "ClipScores":
        """Return itself; raise `PosegenError` for NaN or infinite numbers."""
        for name, value in self.values.items():
            if not math.isfinite(value):
                raise PosegenError(f"{where}: {name} is {value}, which is no score: the video or the weights are bad")
        for name, (numbers, values) in self.curves.items():
            bad = [number for number, value in zip(numbers, values, strict=True) if not math.isfinite(value)]
            if bad:
                raise PosegenError(f"{where}: {name} is not a number at frame {bad[0]}: the video or weights are bad")
        for name, features in self.features.items():
            if not all(np.isfinite(array).all() for array in features.arrays().values()):
                raise PosegenError(f"{where}: features of {name} are not numbers: the weights are bad")
        return self


@runtime_checkable
class FrameScorer(Protocol):
    """A metric at work on one clip."""

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        """See the next frames; `ground_truth` is None where there is none and where it is scored itself."""

    def finish(self) -> ClipScores:
        """Return the results, after the last frame."""


@runtime_checkable
class Metric(Protocol):
    """A metric: its columns, and a method that begins a clip. `identity` changes whenever its numbers may.

    ground_truth: "needed", "used" where there is one, or "ignored"; the last two metrics also score it like a result.
    fitted: frames come at the protocol's size, else as they are (finding people needs true shapes).
    """

    @property
    def identity(self) -> str:
        """A text for everything besides the videos that the numbers depend on."""

    @property
    def scores(self) -> tuple[Score, ...]:
        """Its columns."""

    @property
    def ground_truth(self) -> Literal["needed", "used", "ignored"]:
        """Use of the ground truth."""

    @property
    def fitted(self) -> bool:
        """True if frames come at the protocol's size."""

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""


class Curves(FrameScorer):
    """A scorer that finds one number per frame for each of a few scores: `measure` gives them."""

    def __init__(self, *names: str) -> None:
        self.result = ClipScores()
        self.names = names
        self._values: dict[str, list[float]] = {name: [] for name in names}

    def measure(
        self, generated: Frames, ground_truth: GroundTruthFrames | None
    ) -> dict[str, Float[np.ndarray, " frames"]]:
        """The numbers of these frames."""
        raise NotImplementedError

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        """See the next frames."""
        for name, values in self.measure(generated, ground_truth).items():
            self._values[name] += values.tolist()

    def finish(self) -> ClipScores:
        """Curves and their means."""
        for name, values in self._values.items():
            self.result.add_curve(name, list(range(len(values))), values)
        return self.result
