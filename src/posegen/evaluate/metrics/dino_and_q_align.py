"""Scores without ground truth that need the user's weights: DINO consistency, and visual quality.

Both are loaded from folders in transformers' layout, or from the hub's cache, by transformers' own classes. Subject
consistency is VBench's; "DINO consistency" is this project's older one, of the middle square and neighbours only.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor
from torch.nn import functional

from posegen.conditions.estimators.model_weights import model_folder
from posegen.conditions.visual_rating import RatingModel, load_whole, model_config
from posegen.digests import content_digest
from posegen.errors import PosegenError
from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, Curves, FrameScorer, GroundTruthFrames, Score
from posegen.types import Frames

_MEAN, _DEVIATION = (np.array(each, np.float32) for each in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


class DinoMetric:
    """Consistency of frames' class tokens, from a DINO (ViT) or DINOv2: a folder or a hub name."""

    fitted = False
    ground_truth: Literal["ignored"] = "ignored"
    _KINDS = ("vit", "dinov2", "dinov2_with_registers")

    def __init__(self, weights: str, device: torch.device) -> None:
        from transformers import AutoModel

        folder = model_folder(weights, "--dino")
        kind = str(model_config(folder, "DINO").model_type)
        if kind not in self._KINDS:
            raise PosegenError(f"{folder}: a {kind} model, not DINO: give a folder like facebook/dino-vitb16's")
        self.device, self.kind = device, kind
        self.network = load_whole(AutoModel, folder, "DINO").to(device)
        self.side = 224
        self.identity = f"DINO 2 {content_digest(folder)}"
        self.scores = (
            Score("DINO consistency", "higher", f"{Path(weights).name} ({kind}), class token, 224×224", per="step",
                  digits=4, about="cosine similarity of neighbouring frames; a still image scores 1"),
            Score("subject consistency (VBench)", "higher", f"{Path(weights).name} ({kind}), class token", per="step",
                  digits=4, about="as VBench: mean of the similarity to the first and to the previous frame, none "
                  "below 0; whole frames with the shorter side at 224; VBench's network is DINO ViT-B/16; a still "
                  "image scores 1"),
        )  # fmt: skip  # a table, read in rows

    def embed(self, frames: Frames) -> Float[Tensor, "frames features"]:
        """Unit vectors of frames' middle squares."""
        small = np.stack([middle(frame, self.side) for frame in frames]).astype(np.float32) / 255
        return self._tokens(torch.from_numpy(((small - _MEAN) / _DEVIATION).transpose(0, 3, 1, 2)))

    def embed_whole(self, frames: Frames) -> Float[Tensor, "frames features"]:
        """Unit vectors of whole frames, prepared as VBench does: shorter side at 224, bilinear without smoothing."""
        height, width = frames.shape[1:3]
        shorter = min(height, width)
        size = (int(self.side * height / shorter), int(self.side * width / shorter))
        pixels = torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2))).float()
        pixels = functional.interpolate(pixels, size, mode="bilinear", align_corners=False).round().clamp(0, 255) / 255
        mean, deviation = (torch.from_numpy(each).view(3, 1, 1) for each in (_MEAN, _DEVIATION))
        return self._tokens((pixels - mean) / deviation)

    def _tokens(self, pixels: Tensor) -> Float[Tensor, "frames features"]:
        more = {"interpolate_pos_encoding": True} if self.kind == "vit" else {}  # DINOv2 always does
        with torch.inference_mode():
            hidden = self.network(pixel_values=pixels.contiguous().to(self.device), **more).last_hidden_state
        return functional.normalize(hidden[:, 0].cpu().double(), dim=1)

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _DinoScorer(self)


class _DinoScorer(FrameScorer):
    def __init__(self, metric: DinoMetric) -> None:
        self.metric = metric
        self.before: Tensor | None = None
        self.whole: Tensor | None = None
        self.first: Tensor | None = None
        self.steps: list[float] = []
        self.subject: list[float] = []

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        self._add_whole(self.metric.embed_whole(generated))
        vectors = self.metric.embed(generated)
        together = vectors if self.before is None else torch.cat([self.before, vectors])
        self.steps += (together[1:] * together[:-1]).sum(1).tolist()
        self.before = vectors[-1:]

    def _add_whole(self, vectors: Tensor) -> None:
        if self.first is None:
            self.first = vectors[:1]
        together = vectors if self.whole is None else torch.cat([self.whole, vectors])
        previous = (together[1:] * together[:-1]).sum(1).clamp_min(0)
        first = (together[1:] * self.first).sum(1).clamp_min(0)
        self.subject += ((previous + first) / 2).tolist()
        self.whole = vectors[-1:]

    def finish(self) -> ClipScores:
        result = ClipScores()
        result.add_curve("DINO consistency", list(range(1, len(self.steps) + 1)), self.steps)
        result.add_curve("subject consistency (VBench)", list(range(1, len(self.subject) + 1)), self.subject)
        return result


class QualityMetric:
    """Q-Align's rule (`conditions/visual_rating.py`) as a metric: the mean over sampled frames.

    The model may be any that transformers has a class for, trained to rate images as Q-Align was.
    """

    fitted = False
    ground_truth: Literal["ignored"] = "ignored"

    def __init__(self, weights: str, device: torch.device) -> None:
        folder = model_folder(weights, "--q-align")
        self.model = RatingModel(folder, device)
        self.identity = f"Q-Align rule 2 {content_digest(folder)}"
        self.scores = (
            Score("Q-Align", "higher", f"{Path(weights).name} ({self.model.kind})", per="sampled frame", unit="0–1",
                  digits=3,
                  about="expected level of visual quality, (level - 1) / 4, by Q-Align's rule and prompt, asked of the "
                  "model named here, which is not the one that Q-Align published"),
        )  # fmt: skip  # a table, read in rows

    def rate(self, frame: Frames) -> float:
        """The rating, 0 to 1, of one frame (1, H, W, 3)."""
        return self.model.rate(frame[0])

    def start(self, clip: ClipInputs) -> FrameScorer:
        """Begin with a clip."""
        return _QualityScorer(self, clip)


class _QualityScorer(Curves):
    def __init__(self, metric: QualityMetric, clip: ClipInputs) -> None:
        super().__init__()
        self.metric, self.sampled, self.number = metric, clip.sampled, 0
        self.found: tuple[list[int], list[float]] = ([], [])

    def add(self, generated: Frames, ground_truth: GroundTruthFrames | None) -> None:
        for frame in generated:
            if self.number in self.sampled:
                self.found[0].append(self.number)
                self.found[1].append(self.metric.rate(frame[None]))
            self.number += 1

    def finish(self) -> ClipScores:
        self.result.add_curve("Q-Align", *self.found)
        return self.result


def middle(frame: np.ndarray, side: int) -> np.ndarray:
    """The middle square of a frame whose shorter side is brought to `side` (Pillow, bicubic)."""
    height, width = frame.shape[:2]
    scale = side / min(height, width)
    size = (max(side, round(width * scale)), max(side, round(height * scale)))
    picture = np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BICUBIC))
    top, left = (picture.shape[0] - side) // 2, (picture.shape[1] - side) // 2
    return picture[top : top + side, left : left + side]
