"""Detects the boxes of people in images, for top-down pose models, with RT-DETR or D-FINE from transformers.

Thresholds of score and overlap (0.3 and 0.3) are carried over from PoseGen's preprocessing, where they belong to
RTMDet; the scores of the detectors here have another scale.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from transformers import AutoModelForObjectDetection
from transformers.models.rt_detr.image_processing_pil_rt_detr import RTDetrImageProcessorPil

from posegen.conditions.estimators.model_weights import DEFAULTS, load_model, preprocessing
from posegen.errors import PosegenError
from posegen.types import Frame

Box = tuple[float, float, float, float]
SCORE = 0.3
"""Minimum score of a detection."""
OVERLAP = 0.3
"""Maximum intersection over union of two boxes of different people."""
MAX_PEOPLE = 4
"""Maximum number of detections, by score; more than one is only needed to follow the right person."""
_OPTION = "--detector-weights"


class PersonDetector:
    """Detects people with a detection model that has a class named `person`."""

    def __init__(self, weights: str | None = None, device: str = "auto", option: str = _OPTION) -> None:
        """Load the model; errors about missing weights name the setting `option`."""
        self.weights = weights or DEFAULTS["detector"]
        self._model: Any
        self._model, folder = load_model(AutoModelForObjectDetection, self.weights, option, device)
        labels = {str(name).lower(): index for index, name in self._model.config.id2label.items()}
        if "person" not in labels:
            known = ", ".join(sorted(labels)[:5])
            raise PosegenError(f"{option} {self.weights}: the model does not detect people, but {known} ...")
        self._person = labels["person"]
        settings = {key: value for key, value in preprocessing(folder).items() if not key.endswith("_type")}
        self._processor: Any = RTDetrImageProcessorPil(**settings)

    @torch.inference_mode()
    def detect(self, frames: Sequence[Frame]) -> list[list[Box]]:
        """Return (left, top, right, bottom) in pixels of each person in each frame, highest score first."""
        device = self._model.device
        pixels = self._processor(images=list(frames), return_tensors="pt")["pixel_values"]
        outputs = self._model(pixel_values=pixels.to(device, self._model.dtype))
        outputs.logits, outputs.pred_boxes = outputs.logits.float(), outputs.pred_boxes.float()
        sizes = [frame.shape[:2] for frame in frames]
        found = self._processor.post_process_object_detection(outputs, threshold=SCORE, target_sizes=sizes)
        return [self._people(one) for one in found]

    def _people(self, found: dict[str, torch.Tensor]) -> list[Box]:
        person = found["labels"] == self._person
        boxes, scores = found["boxes"][person].cpu().numpy(), found["scores"][person].cpu().numpy()
        left, top, right, bottom = (boxes[keep_distinct(boxes, scores)][:MAX_PEOPLE]).T
        return list(zip(left.tolist(), top.tolist(), right.tolist(), bottom.tolist(), strict=True))


def keep_distinct(
    boxes: Float[np.ndarray, "boxes 4"], scores: Float[np.ndarray, " boxes"], overlap: float = OVERLAP
) -> list[int]:
    """Return the indices of boxes (left, top, right, bottom) after non-maximum suppression, highest score first.

    overlap: maximum intersection over union with a box of a higher score.
    """
    kept: list[int] = []
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for index in np.argsort(-scores, kind="stable").tolist():
        others = boxes[kept]
        low, high = np.maximum(boxes[index, :2], others[:, :2]), np.minimum(boxes[index, 2:], others[:, 2:])
        shared = np.clip(high - low, 0, None).prod(axis=1)
        if (shared <= overlap * (areas[index] + areas[kept] - shared)).all():
            kept.append(index)
    return kept
