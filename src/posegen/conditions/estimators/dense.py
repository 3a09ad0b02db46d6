"""Estimates hand normals from pixels: surface normals of everything, masked to hands by a body part model.

Shared by Sapiens2 (transformers) and Sapiens-1 (TorchScript), which have their own files.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from posegen.conditions.estimators.heatmaps import Crop
from posegen.conditions.keypoints import PersonPose
from posegen.errors import PosegenError
from posegen.types import Frame

SAPIENS_AXES = (1.0, 1.0, 1.0)
"""Sapiens' normals times this are ours (x right, y up, z towards the camera). They are camera-space normals of rendered
scans with OpenGL's axes: its training mirrors images by negating x alone, and compared with Metric3D's (x right, y
down, z away) y and z are reversed (facebookresearch/sapiens, issue 50). PoseGen's published code uses them unchanged.
"""
HAND_PARTS = ("left_hand", "right_hand")
GOLIATH_PARTS = (
    "background",
    "apparel",
    "face_neck",
    "hair",
    "left_foot",
    "left_hand",
    "left_lower_arm",
    "left_lower_leg",
    "left_shoe",
    "left_sock",
    "left_upper_arm",
    "left_upper_leg",
    "lower_clothing",
    "right_foot",
    "right_hand",
    "right_lower_arm",
    "right_lower_leg",
    "right_shoe",
    "right_sock",
    "right_upper_arm",
    "right_upper_leg",
    "torso",
    "upper_clothing",
    "lower_lip",
    "upper_lip",
    "lower_teeth",
    "upper_teeth",
    "tongue",
)
"""Body parts of Sapiens-1: 28. Sapiens2 has 29: eyeglasses are third, which shifts every later number."""
PARTS = {28: GOLIATH_PARTS, 29: (*GOLIATH_PARTS[:2], "eyeglass", *GOLIATH_PARTS[2:])}
_MARGIN = 1.35
"""Ratio of the crop to the box of the keypoints: hands reach beyond wrists, hair beyond eyes."""


def hand_classes(names: Sequence[str], where: str) -> list[int]:
    """Return the hand classes by name, ignoring case and separators. Raises `PosegenError` if there are none."""
    known = [name.lower().replace(" ", "_").replace("-", "_") for name in names]
    if all(name.startswith("label_") for name in known):  # the configuration gives no names
        known = list(PARTS.get(len(known), ()))
    if not all(part in known for part in HAND_PARTS):
        raise PosegenError(f"{where}: the model's {len(names)} classes do not name left_hand and right_hand")
    return [known.index(part) for part in HAND_PARTS]


class DenseHandNormals:
    """`HandNormalEstimator` from a function for normals and a function for scores of body parts."""

    needs_frames = True

    def __init__(
        self,
        name: str,
        version: str,
        normals: Callable[[Sequence[Frame]], torch.Tensor],
        parts: Callable[[Sequence[Frame]], torch.Tensor],
        hands: Sequence[int],
        shape: tuple[int, int],
        whole_frame: bool,
        batch_size: int,
    ) -> None:
        """Take the functions and the classes.

        normals: images of `shape` = (height, width) -> (images, 3, h, w) of any length; parts: -> (images, classes, h,
        w); hands: the hand classes; whole_frame: squeeze the whole frame into `shape`, as the published preprocessing
        does, instead of cropping to the person.
        """
        self.name, self.version, self.batch_size = name, version, batch_size
        self._normals, self._parts, self._hands = normals, parts, list(hands)
        self._shape, self._whole_frame = shape, whole_frame

    def estimate(self, person: PersonPose, size: tuple[int, int], frame: Frame | None = None) -> Frame:
        """Make the map of one frame; black without a person."""
        assert frame is not None, "these normals come from the picture"
        return self.estimate_batch([person], size, [frame])[0]

    def estimate_batch(
        self, people: Sequence[PersonPose], size: tuple[int, int], frames: Sequence[Frame]
    ) -> list[Frame]:
        """Make the maps of several frames, at the size of the frames."""
        maps = [np.zeros((*size, 3), np.uint8) for _ in people]
        crops = [self._crop(person, size) for person in people]
        there = [(index, crop) for index, crop in enumerate(crops) if crop is not None]
        for start in range(0, len(there), self.batch_size):
            batch = there[start : start + self.batch_size]
            found = self._hand_normals([crop.cut(frames[index], self._shape) for index, crop in batch])
            for (index, crop), values in zip(batch, found, strict=True):
                maps[index] = _coded(crop.paste(values, size))
        return maps

    def _crop(self, person: PersonPose, size: tuple[int, int]) -> Crop | None:
        if self._whole_frame:
            height, width = size[0] - 1.0, size[1] - 1.0
            return Crop((width / 2, height / 2), (width, height))
        if person.area <= 0:
            return None
        return Crop.around(person.box, self._shape, _MARGIN)

    @torch.inference_mode()
    def _hand_normals(self, pictures: Sequence[Frame]) -> list[np.ndarray]:
        """Return (h, w, 4) for each image: unit normals and 1 on hands; all 0 elsewhere."""
        parts = torch.nn.functional.interpolate(self._parts(pictures).float(), size=self._shape, mode="bilinear")
        normals = torch.nn.functional.interpolate(self._normals(pictures).float(), size=self._shape, mode="bilinear")
        axes = torch.tensor(SAPIENS_AXES, device=normals.device).view(1, 3, 1, 1)
        normals = torch.nn.functional.normalize(normals * axes, dim=1)
        hand = torch.isin(parts.argmax(dim=1, keepdim=True), torch.tensor(self._hands, device=parts.device)).float()
        values = torch.cat([normals * hand, hand], dim=1).permute(0, 2, 3, 1)  # (pictures, h, w, 4)
        return list(values.cpu().numpy())

    def close(self) -> None:
        """Do nothing: no resources outlive the object."""


def _coded(values: np.ndarray) -> Frame:
    """Encode (H, W, 4) normals and hand fractions as (n + 1) / 2 · 255 where a pixel is mostly hand, else black."""
    normals = values[..., :3] / np.maximum(np.linalg.norm(values[..., :3], axis=-1, keepdims=True), 1e-6)
    return np.where(values[..., 3:] > 0.5, np.rint((normals + 1) * 127.5), 0).astype(np.uint8)
