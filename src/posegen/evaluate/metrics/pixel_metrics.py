"""Metrics that need no network: L1, PSNR and SSIM against the ground truth, and flicker.

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


class Flicker:
    """Jumps between neighbouring frames, against what is usual around them; at known seams and anywhere."""

    identity, fitted = "flicker 1", True
    ground_truth: Literal["ignored"] = "ignored"
    scores = (
        Score("worst jump", "lower", "none", per="step", digits=2,
              about="largest step from one frame to the next, over the median step of the 16 around it; 1 = none"),
        Score("seam flicker", "lower", "none", per="step at a seam", digits=2,
              about="the same, mean over the steps at seams; only where a method says where its seams are"),
    )  # fmt: skip  # a table, read in rows

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _Flicker(clip)


class _Flicker(FrameScorer):
    _SIDE, _AROUND, _FLOOR = 128, 8, 0.5
    """Frames are compared at 128 x 128; a step of half a grey level is noise in any scene."""

    def __init__(self, clip: ClipInputs) -> None:
        self.clip = clip
        self.before: np.ndarray | None = None
        self.steps: list[float] = []

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        for frame in generated:
            small = cv2.resize(frame, (self._SIDE, self._SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
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
            jumps.append(float((step + self._FLOOR) / (np.median(around) + self._FLOOR)))
        result.add_curve("worst jump", list(range(1, len(jumps) + 1)), jumps)
        result.values["worst jump"] = max(jumps)
        seams = [number for number in self.clip.seams if 0 <= number < len(jumps)]
        if seams:
            result.values["seam flicker"] = float(np.mean([jumps[number] for number in seams]))
            result.samples["seam flicker"] = len(seams)
        return result
