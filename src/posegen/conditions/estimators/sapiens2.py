"""Runs Sapiens2 from transformers: whole-body keypoints, and hand normals from its surface normals and body parts.

Its own image processor needs torchvision; the few lines that are needed are here and in `heatmaps`. Points and classes
are identified by their names in the model's configuration, or, if it has none, by their number.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import Sapiens2ForNormalEstimation, Sapiens2ForPoseEstimation, Sapiens2ForSemanticSegmentation

from posegen.conditions.estimators.dense import DenseHandNormals, hand_classes
from posegen.conditions.estimators.detector import PersonDetector
from posegen.conditions.estimators.layouts import Layout, layout_of_count, layout_of_names
from posegen.conditions.estimators.model_weights import DEFAULTS, load_model, preprocessing
from posegen.conditions.estimators.top_down import IMAGENET_MEAN, IMAGENET_STD, Normalisation, TopDownPose
from posegen.types import Frame

_SHAPE = (1024, 768)
"""Input size (height, width) of the published models."""


def sapiens2_pose(
    weights: str | None = None, detector: str | None = None, device: str = "auto", batch_size: int = 4
) -> TopDownPose:
    """Load a `PoseEstimator`; `weights` is a model folder or a hub name."""
    option, name = "--pose-weights", weights or DEFAULTS["sapiens2"]
    model, folder = load_model(Sapiens2ForPoseEstimation, name, option, device)
    normalisation, shape = _input(folder)

    def heatmaps(pictures: Sequence[Frame]) -> torch.Tensor:
        return model(normalisation.apply(pictures, model.device, model.dtype)).heatmaps

    layout = _layout(model.config, f"{option} {name}")
    return TopDownPose("sapiens2", name, PersonDetector(detector, device), heatmaps, shape, layout, batch_size)


def sapiens2_normals(
    weights: str | None = None, parts_weights: str | None = None, device: str = "auto", batch_size: int = 2
) -> DenseHandNormals:
    """Load a `HandNormalEstimator`; weights are model folders or hub names."""
    names = weights or DEFAULTS["normals"], parts_weights or DEFAULTS["parts"]
    normal_model, folder = load_model(Sapiens2ForNormalEstimation, names[0], "--normals-weights", device)
    part_model, part_folder = load_model(Sapiens2ForSemanticSegmentation, names[1], "--parts-weights", device)
    (normalisation, shape), (part_normalisation, _) = _input(folder), _input(part_folder)

    def normals(pictures: Sequence[Frame]) -> torch.Tensor:
        return normal_model(normalisation.apply(pictures, normal_model.device, normal_model.dtype)).normals

    def parts(pictures: Sequence[Frame]) -> torch.Tensor:
        return part_model(part_normalisation.apply(pictures, part_model.device, part_model.dtype)).logits

    classes = part_model.config.id2label
    hands = hand_classes([str(classes[index]) for index in sorted(classes)], f"--parts-weights {names[1]}")
    return DenseHandNormals(
        "sapiens2", " ".join(names), normals, parts, hands, shape, whole_frame=False, batch_size=batch_size
    )


def _input(folder: Path) -> tuple[Normalisation, tuple[int, int]]:
    settings = preprocessing(folder)
    size = settings.get("size", {})
    normalisation = Normalisation(
        tuple(settings.get("image_mean", IMAGENET_MEAN)), tuple(settings.get("image_std", IMAGENET_STD))
    )
    return normalisation, (size.get("height", _SHAPE[0]), size.get("width", _SHAPE[1]))


def _layout(config: Any, where: str) -> Layout:
    layout = layout_of_names(tuple(str(config.id2label[index]) for index in sorted(config.id2label)))
    named = sum(source >= 0 for source in layout)
    return layout if named else layout_of_count(config.num_labels, where)
