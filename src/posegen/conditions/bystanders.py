"""Keeps where people other than the followed one are in each frame, to mask them where the background is measured."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float32, Int32

from posegen.conditions.detections import Detections
from posegen.conditions.following import Following
from posegen.conditions.keypoints import INDEX, SEEN
from posegen.errors import PosegenError
from posegen.media.data_files import read_npz
from posegen.media.fitting import Fit
from posegen.types import Mask

_WIDER = 0.12
"""Distance, as a part of a box's longer side, by which hair, clothes, hands and shadow reach beyond it."""
_FILLED = 0.5
"""Maximum gap in seconds between two sightings of somebody in which they are masked, too."""
_ANKLES = [INDEX[f"{side}_ankle"] for side in ("left", "right")]
FRAMES, BOXES = "bystander_frames", "bystander_boxes"
"""Names of the arrays in a file of keypoints."""


@dataclass(frozen=True)
class Bystanders:
    """Boxes (left, top, right, bottom) that others may cover, in pixels of the driving video, in order of `frames`."""

    frames: Int32[np.ndarray, " boxes"]
    boxes: Float32[np.ndarray, "boxes 4"]

    @classmethod
    def of(cls, detections: Detections, following: Following) -> "Bystanders":
        """Take all detections but the followed ones, and short gaps between those of each person."""
        others = np.setdiff1d(np.arange(len(detections)), following.chosen[following.chosen >= 0])
        boxes = detections.boxes.copy()
        more = _WIDER * detections.extents[:, None]
        boxes += np.concatenate([-more, -more, more, more], axis=1)
        # without ankles in the frame the body continues to its lower edge
        low = ~(detections.scores[:, _ANKLES] >= SEEN).any(axis=1)
        boxes[low, 3] = detections.size[0]
        frames, found = [detections.frames[others]], [boxes[others]]
        for person in following.people:
            own = person.detections[np.isin(person.detections, others)]
            for one, other in pairwise(own.tolist()):
                start, stop = int(detections.frames[one]), int(detections.frames[other])
                if 1 < stop - start <= _FILLED * float(detections.fps):
                    share = (np.arange(start + 1, stop) - start)[:, None] / (stop - start)
                    frames.append(np.arange(start + 1, stop))
                    found.append((1 - share) * boxes[one] + share * boxes[other])
        every = np.concatenate(frames).astype(np.int32)
        order = np.argsort(every, kind="stable")
        return cls(every[order], np.concatenate(found)[order].astype(np.float32))

    @classmethod
    def load(cls, path: Path) -> "Bystanders | None":
        """Read them from a file of keypoints; None for one of an older version or another tool, which has none.

        Raises `PosegenError` for a damaged file.
        """
        data = read_npz(path, "keypoints of `posegen extract`")
        if FRAMES not in data or BOXES not in data:
            return None
        frames, boxes = np.asarray(data[FRAMES]), np.asarray(data[BOXES])
        if frames.ndim != 1 or boxes.shape != (len(frames), 4) or (np.diff(frames) < 0).any():
            raise PosegenError(f"{path}: the boxes of other people do not fit their frames")
        return cls(frames.astype(np.int32), boxes.astype(np.float32))

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays by their names in a file of keypoints."""
        return {FRAMES: self.frames, BOXES: self.boxes}

    def mask(self, frame: int, fit: Fit) -> Mask:
        """Return a mask of the fitted frame that is True where others may be."""
        mask = np.zeros(fit.target, bool)
        first, last = np.searchsorted(self.frames, (frame, frame + 1))
        for box in self.boxes[first:last].astype(np.float64):
            corners = fit.apply_points(box.reshape(2, 2))
            (left, top), (right, bottom) = np.clip(corners, 0, fit.target[::-1])
            mask[int(top) : int(np.ceil(bottom)) + 1, int(left) : int(np.ceil(right)) + 1] = True
        return mask
