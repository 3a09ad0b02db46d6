"""Runs Sapiens-1 from TorchScript files, as in PoseGen's published preprocessing: keypoints and hand normals.

Pose crops are cut as in the model's training; normals and body parts use the whole frame squeezed to 1024 x 768, like
the hand normals that the published weights were trained on. The files have no configuration: 133 or 308 heat maps
identify the keypoint layout, 28 classes the body parts.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from posegen.conditions.estimators.dense import PARTS, DenseHandNormals, hand_classes
from posegen.conditions.estimators.detector import PersonDetector
from posegen.conditions.estimators.layouts import layout_of_count
from posegen.conditions.estimators.model_weights import identity, load_torchscript
from posegen.conditions.estimators.top_down import Normalisation, TopDownPose
from posegen.devices import choose_device
from posegen.errors import PosegenError
from posegen.types import Frame

SHAPE = (1024, 768)
_COLOURS = Normalisation((123.5 / 255, 116.5 / 255, 103.5 / 255), (58.5 / 255, 57.0 / 255, 57.5 / 255))


def sapiens1_pose(
    weights: str, detector: str | None = None, device: str = "auto", batch_size: int = 4, shape: tuple[int, int] = SHAPE
) -> TopDownPose:
    """Load a `PoseEstimator`, e.g. from sapiens_2b_coco_wholebody_best_coco_wholebody_AP_745_torchscript.pt2."""
    run = _runner(weights, "--pose-weights", device)
    count = _channels(run, shape, weights, "--pose-weights")
    layout = layout_of_count(count, f"--pose-weights {weights}")
    return TopDownPose("sapiens1", identity(weights), PersonDetector(detector, device), run, shape, layout, batch_size)


def sapiens1_normals(
    weights: str, parts_weights: str, device: str = "auto", batch_size: int = 2, shape: tuple[int, int] = SHAPE
) -> DenseHandNormals:
    """Load a `HandNormalEstimator` from a model of normals and one of body parts."""
    normals, parts = _runner(weights, "--normals-weights", device), _runner(parts_weights, "--parts-weights", device)
    if _channels(normals, shape, weights, "--normals-weights") != 3:
        raise PosegenError(f"--normals-weights {weights}: a normal has 3 channels; this file is another model")
    count = _channels(parts, shape, parts_weights, "--parts-weights")
    hands = hand_classes(PARTS.get(count, ("",) * count), f"--parts-weights {parts_weights}")
    version = f"{identity(weights)} {identity(parts_weights)}"
    return DenseHandNormals("sapiens1", version, normals, parts, hands, shape, whole_frame=True, batch_size=batch_size)


def _runner(path: str, option: str, device: str) -> Callable[[Sequence[Frame]], torch.Tensor]:
    """Wrap the file's model as a function of images. TorchScript files compute in float32."""
    model: Any = load_torchscript(path, option, device)
    place = choose_device(device)

    def run(pictures: Sequence[Frame]) -> torch.Tensor:
        with torch.inference_mode():
            return model(_COLOURS.apply(pictures, place, torch.float32))

    return run


def _channels(run: Callable[[Sequence[Frame]], torch.Tensor], shape: tuple[int, int], path: str, option: str) -> int:
    """Return the number of maps the model makes, by running it on a black image: errors then show early."""
    try:
        maps = run([np.zeros((*shape, 3), np.uint8)])
        return int(maps.shape[1])
    except (RuntimeError, AttributeError, IndexError) as error:
        raise PosegenError(
            f"{option} {path} does not accept images of {shape[0]}x{shape[1]} ({str(error).splitlines()[-1]})"
        ) from None
