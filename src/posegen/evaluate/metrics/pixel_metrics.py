"""Metrics that need no network: L1, PSNR, SSIM and sizes of steps against the ground truth, and flicker.

The formulas are in `pixel_formulas.py`; a metric itself is defined in `metric.py`.
"""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float

from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, Curves, FrameScorer, GroundTruthFrames, Score
from posegen.evaluate.metrics.pixel_formulas import l1_per_frame, psnr_per_frame, ssim_per_frame
from posegen.evaluate.protocols import DISCO
from posegen.evaluate.protocols import Protocol as Rules
from posegen.types import Frames

STEP_FLOOR = 0.5
"""A step of half a grey level is noise in any scene."""
PERFECT = 100.0
"""PSNR in dB of a frame without any difference, instead of infinity: the value in published tables."""


class FrameDifferences:
    """L1, PSNR and SSIM of frames against the ground truth, exact in 8 bits."""

    identity, fitted = "frame differences 2", True
    ground_truth: Literal["needed"] = "needed"

    def __init__(self, rules: Rules = DISCO) -> None:
        power = rules.l1_digits
        published = f"as published tables print it: L1 divided by height x width once more, times 10^{power}"
        ssim = "on grey" if rules.ssim == "grey" else "mean over red, green and blue"
        self.scores = (
            Score("L1", "lower", "none", unit="of 255", about="mean absolute difference of all pixels"),
            Score("L1 (DisCo)", "lower", "none", unit=f"E-0{power}", digits=2, about=published),
            Score(
                "PSNR", "higher", "none", unit="dB", digits=2, about="mean over frames; identical frames count 100 dB"
            ),
            Score("SSIM", "higher", "none", about=f"{ssim}, 7 x 7 windows"),
        )

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _FrameDifferences(clip.rules)


class _FrameDifferences(Curves):
    def __init__(self, rules: Rules) -> None:
        super().__init__("L1", "L1 (DisCo)", "PSNR", "SSIM")
        self.rules = rules

    def measure(
        self, generated: Frames, ground_truth: GroundTruthFrames | None
    ) -> dict[str, Float[np.ndarray, " frames"]]:
        assert ground_truth is not None
        plain = l1_per_frame(generated, ground_truth)
        return {
            "L1": plain,
            "L1 (DisCo)": plain * 10**self.rules.l1_digits / (generated.shape[1] * generated.shape[2]),
            "PSNR": np.minimum(psnr_per_frame(generated, ground_truth), PERFECT),
            "SSIM": ssim_per_frame(generated, ground_truth, self.rules.ssim),
        }


class StepErrors:
    """Sizes of the steps from frame to frame, against those of the ground truth."""

    identity, fitted = "step errors 1", True
    ground_truth: Literal["needed"] = "needed"
    scores = (
        Score("step error", "lower", "none", per="step", digits=3,
              about="absolute logarithm to base 2 of the ratio of the step from one frame to the next to the ground "
              "truth's; 0 = the same amount of change at every moment; jumps, noise, blur and stillness all raise it"),
    )  # fmt: skip  # a table, read in rows

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _StepErrors()


class _StepErrors(FrameScorer):
    def __init__(self) -> None:
        self.before: tuple[np.ndarray, np.ndarray] | None = None
        self.values: list[float] = []

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        assert ground_truth is not None
        for pair in zip(generated, ground_truth, strict=True):
            small = (_small(pair[0]), _small(pair[1]))
            if self.before is not None:
                ours, theirs = (
                    float(np.abs(now - before).mean()) + STEP_FLOOR
                    for now, before in zip(small, self.before, strict=True)
                )
                self.values.append(abs(float(np.log2(ours / theirs))))
            self.before = small

    def finish(self) -> ClipScores:
        result = ClipScores()
        result.add_curve("step error", list(range(1, len(self.values) + 1)), self.values)
        return result


class Flicker:
    """Jumps between neighbouring frames at known seams, against what is usual around them.

    The largest jump anywhere is no score any more: noise, which makes every step larger, made the ratio smaller than
    the ground truth's (`docs/results/scores.md`). At seams, too, noise hides jumps: methods are not
    ranked by it.
    """

    identity, fitted = "flicker 2", True
    ground_truth: Literal["ignored"] = "ignored"
    scores = (
        Score("seam flicker", "lower", "none", per="step at a seam", digits=2, ranked=False,
              about="step from one frame to the next at a seam, over the median step of the 16 around it, mean over "
              "seams; 1 = none; noise hides jumps, so it ranks nothing; only where a method says where its seams are"),
    )  # fmt: skip  # a table, read in rows

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _Flicker(clip)


class _Flicker(FrameScorer):
    _AROUND = 8

    def __init__(self, clip: ClipInputs) -> None:
        self.clip = clip
        self.before: np.ndarray | None = None
        self.steps: list[float] = []

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        for frame in generated:
            small = _small(frame)
            if self.before is not None:
                self.steps.append(float(np.abs(small - self.before).mean()))
            self.before = small

    def finish(self) -> ClipScores:
        result = ClipScores()
        if len(self.steps) < 2:
            return result
        steps = np.array(self.steps)
        jumps = []
        for number, step in enumerate(steps):
            low = max(0, number - self._AROUND)
            around = np.delete(steps[low : number + self._AROUND + 1], number - low)
            jumps.append(float((step + STEP_FLOOR) / (np.median(around) + STEP_FLOOR)))
        seams = [number for number in self.clip.seams if 0 <= number < len(jumps)]
        if seams:
            result.add_curve("seam flicker", list(range(1, len(jumps) + 1)), jumps)
            result.values["seam flicker"] = float(np.mean([jumps[number] for number in seams]))
            result.samples["seam flicker"] = len(seams)
        return result


def _small(frame: np.ndarray) -> np.ndarray:
    """A frame at 128 x 128, at which steps are measured."""
    return cv2.resize(frame, (128, 128), interpolation=cv2.INTER_AREA).astype(np.float32)
