"""Standard metrics that need the user's weights: FID, FID-VID, FVD, LPIPS.

The networks themselves, and how their weights are checked, are in `inception.py`, `video_networks.py`, `perceptual.py`.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from posegen.digests import content_digest
from posegen.evaluate.metrics import inception, perceptual, video_networks
from posegen.evaluate.metrics.embedded import Windows
from posegen.evaluate.metrics.frechet import FeatureSet
from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, Curves, FrameScorer, GroundTruthFrames, Score
from posegen.types import Frames

_WINDOWS_ABOUT = (
    "windows of the frames themselves, as in DisCo's present code; its first release passed them through GIFs of 256 "
    "colours"
)
_AT_ONCE = 4
"""Windows, or frames, that go through a network together."""


class FeatureMetric:
    """A Fréchet distance of a network's features of frames or windows; `extract` computes them from frames in 0..255.

    windows: the network sees the protocol's windows of frames; else single frames. prepare: what becomes of frames
    (F, H, W, 3) as they come, before windows are cut; its result is float 0..255.
    """

    ground_truth: Literal["ignored"] = "ignored"
    fitted = True

    def __init__(
        self,
        score: Score,
        weights: Path,
        prepare: Callable[[Frames], Float[np.ndarray, "frames side side 3"]] | None,
        extract: Callable[[np.ndarray], Tensor],
        windows: bool,
    ) -> None:
        self.scores, self.windows = (score,), windows
        self.identity = f"{score.name} 1 {content_digest(weights)}"
        self.prepare, self.extract = prepare, extract

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _FeatureScorer(self, clip)


class _FeatureScorer(FrameScorer):
    def __init__(self, metric: FeatureMetric, clip: ClipInputs) -> None:
        self.metric = metric
        self.windows = Windows(clip.rules.window, clip.rules.stride) if metric.windows else None
        self.waiting: list[np.ndarray] = []
        self.features = FeatureSet()

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        prepared = generated if self.metric.prepare is None else self.metric.prepare(generated)
        self.waiting += list(prepared) if self.windows is None else self.windows.add(prepared)
        while len(self.waiting) >= _AT_ONCE:
            self._extract()

    def _extract(self) -> None:
        together, self.waiting = self.waiting[:_AT_ONCE], self.waiting[_AT_ONCE:]
        with torch.inference_mode():
            self.features.add(self.metric.extract(np.stack(together)).cpu().double().numpy())

    def finish(self) -> ClipScores:
        while self.waiting:
            self._extract()
        name = self.metric.scores[0].name
        return ClipScores(features={name: self.features}, samples={name: self.features.count})


def fid(weights: Path, device: torch.device) -> FeatureMetric:
    """FID as pytorch-fid computes it. Raises `PosegenError` for weights of another network."""
    network = inception.load_inception(weights).to(device)

    def extract(frames: np.ndarray) -> Tensor:
        pixels = torch.from_numpy(frames.transpose(0, 3, 1, 2).astype(np.float32) / 255).to(device)
        return network(inception.inception_input(pixels))

    score = Score("FID", "lower", f"{inception.NAME}, 2048 features", frechet=True, digits=2)
    return FeatureMetric(score, weights, None, extract, windows=False)


def fvd(weights: Path, device: torch.device) -> FeatureMetric:
    """FVD with the logits of I3D, at 224 x 224. Raises `PosegenError` for weights of another network."""
    network = video_networks.load_i3d(weights).to(device)
    about = f"{video_networks.I3D_NAME}, 400 logits, 224×224"
    score = Score("FVD", "lower", about, per="window", frechet=True, digits=1, about=_WINDOWS_ABOUT)
    return _of_windows(score, weights, network, video_networks.I3D_SIZE, video_networks.i3d_input, device)


def fid_vid(weights: Path, device: torch.device) -> FeatureMetric:
    """FID-VID with the 3-D ResNet, at 112 x 112. Raises `PosegenError` for weights of another network."""
    network = video_networks.load_resnet3d(weights).to(device)
    about = f"{video_networks.RESNET_NAME}, 2048 features, 112×112"
    score = Score("FID-VID", "lower", about, per="window", frechet=True, digits=2, about=_WINDOWS_ABOUT)
    return _of_windows(score, weights, network, video_networks.RESNET_SIZE, video_networks.resnet_input, device)


def _of_windows(
    score: Score, weights: Path, network: nn.Module, side: int, as_input: Callable[..., Tensor], device: torch.device
) -> FeatureMetric:
    return FeatureMetric(
        score,
        weights,
        lambda frames: video_networks.resized(frames, side),
        lambda windows: network(as_input(windows).to(device)),
        windows=True,
    )


class LpipsMetric:
    """LPIPS-VGG of each frame and its truth."""

    ground_truth: Literal["needed"] = "needed"
    fitted = True

    def __init__(self, weights: Path, device: torch.device) -> None:
        self.network, self.device = perceptual.load_lpips(weights).to(device), device
        self.identity = f"LPIPS 1 {content_digest(weights)}"
        self.scores = (
            Score(
                "LPIPS",
                "lower",
                f"LPIPS 0.1, {perceptual.NAME}",
                about="of 0..1 as DisCo feeds the network, or of -1..1 as it was made for: see the protocol",
            ),
        )

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _LpipsScorer(self, clip)


class _LpipsScorer(Curves):
    def __init__(self, metric: LpipsMetric, clip: ClipInputs) -> None:
        super().__init__("LPIPS")
        self.metric, self.zero_to_one = metric, clip.rules.zero_to_one

    def measure(
        self, generated: Frames, ground_truth: GroundTruthFrames | None
    ) -> dict[str, Float[np.ndarray, " frames"]]:
        assert ground_truth is not None
        values = [
            self.metric.network(self._pixels(generated[each : each + 1]), self._pixels(ground_truth[each : each + 1]))
            for each in range(len(generated))
        ]
        return {"LPIPS": torch.cat(values).cpu().double().numpy()}

    def _pixels(self, frames: np.ndarray) -> Tensor:
        values = torch.from_numpy(frames.transpose(0, 3, 1, 2).astype(np.float32) / 255).to(self.metric.device)
        return values if self.zero_to_one else 2 * values - 1
