"""Top-down pose estimators: a detector finds the boxes of people, and a model makes heat maps of each crop.

ViTPose, Sapiens2 and Sapiens-1 differ in their model, its input and its keypoint layout, and share everything else.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from posegen.conditions.estimators.detector import PersonDetector
from posegen.conditions.estimators.heatmaps import Crop, decode_heatmaps
from posegen.conditions.estimators.layouts import Layout, to_wholebody
from posegen.conditions.keypoints import HANDS, PersonPose
from posegen.types import Frame

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each colour channel, as fractions of 255."""

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def apply(self, pictures: Sequence[Frame], device: torch.device, dtype: torch.dtype) -> torch.Tensor:
        """Normalise uint8 images (height, width, 3) to a tensor (images, 3, height, width)."""
        pixels = torch.from_numpy(np.stack(pictures)).to(device).permute(0, 3, 1, 2).float() / 255
        mean, std = (torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (self.mean, self.std))
        return ((pixels - mean) / std).to(dtype)


class TopDownPose:
    """`PoseEstimator` from a detector and a function from crops to heat maps; hands, if any, come with the body."""

    def __init__(
        self,
        name: str,
        version: str,
        detector: PersonDetector,
        heatmaps: Callable[[Sequence[Frame]], torch.Tensor],
        shape: tuple[int, int],
        layout: Layout,
        batch_size: int,
    ) -> None:
        """Take `heatmaps`: crops of `shape` = (height, width) -> (people, points, h, w), as in `layout`."""
        self.name, self.version, self.batch_size = name, version, batch_size
        self.keeps_everybody = False
        self.finds_hands = all(layout[points.start] >= 0 for points in HANDS)
        self._detector, self._heatmaps, self._shape, self._layout = detector, heatmaps, shape, layout

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Find the people in an RGB frame."""
        return self.estimate_batch([frame])[0]

    def estimate_batch(self, frames: Sequence[Frame]) -> list[list[PersonPose]]:
        """Find the people in each of the frames."""
        boxes = self._detector.detect(frames)
        crops = [[Crop.around(box, self._shape) for box in people] for people in boxes]
        pictures = [
            crop.cut(frame, self._shape) for frame, people in zip(frames, crops, strict=True) for crop in people
        ]
        poses = iter(self._poses([crop for people in crops for crop in people], pictures))
        return [[next(poses) for _ in people] for people in crops]

    def look_again(self, frame: Frame, box: tuple[float, float, float, float]) -> list[PersonPose]:
        """Estimate the person in a box (left, top, right, bottom) of the frame, without the detector."""
        crop = Crop.around(box, self._shape)
        return self._poses([crop], [crop.cut(frame, self._shape)])

    @torch.inference_mode()
    def _poses(self, crops: Sequence[Crop], pictures: Sequence[Frame]) -> list[PersonPose]:
        poses = []
        for start in range(0, len(crops), self.batch_size):
            maps = self._heatmaps(pictures[start : start + self.batch_size]).float().cpu().numpy()
            points, scores = decode_heatmaps(maps)
            for crop, peaks, heights in zip(crops[start : start + self.batch_size], points, scores, strict=True):
                poses.append(PersonPose(*to_wholebody(crop.to_frame(peaks, maps.shape[-2:]), heights, self._layout)))
        return poses

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Return the person unchanged."""
        return person

    def close(self) -> None:
        """Do nothing: no resources outlive the object."""
