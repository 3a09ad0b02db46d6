"""Looks again at one person in a crop of the frame around where they are expected.

Estimators made for whole frames miss small people, and see some upside down; in a crop that the person half fills they
seldom do. Top-down estimators look at the box itself and need none of this.
"""

import cv2
import numpy as np

from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.keypoints import PersonPose
from posegen.types import Frame

_FILLED = 0.6
"""Part of the crop's side that the expected box fills."""
_SIDE = 512
"""Maximum side of the crop in pixels; larger ones are reduced."""

Box = tuple[float, float, float, float]


class CroppedLook:
    """`SecondLook` with an estimator of whole images, which must process each independently; `hands` finds hands."""

    def __init__(self, estimator: PoseEstimator, hands: PoseEstimator) -> None:
        self._estimator, self._hands = estimator, hands
        self.name, self.version = estimator.name, estimator.version

    def look_again(self, frame: Frame, box: Box) -> list[PersonPose]:
        """Find the people around the box (left, top, right, bottom), in pixels of the RGB frame."""
        left, top, right, bottom = box
        side = max(right - left, bottom - top, 16.0) / _FILLED
        scale = min(1.0, _SIDE / side)
        length = max(16, round(side * scale))
        corner = np.array([(left + right - side) / 2, (top + bottom - side) / 2])
        # pixel centres: crop pixel c shows frame position corner + (c + 0.5) / scale - 0.5
        matrix = np.array(
            [[1 / scale, 0, corner[0] + 0.5 / scale - 0.5], [0, 1 / scale, corner[1] + 0.5 / scale - 0.5]]
        )
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        crop = cv2.warpAffine(_shrunk(frame, scale), _shrunk_matrix(matrix, scale), (length, length), flags=flags)
        return [_in_frame(person, corner, scale, frame) for person in self._estimator.estimate(crop)]

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Add the hands that are found to the person."""
        return self._hands.add_hands(frame, person)

    def close(self) -> None:
        """Free the model; the one for hands is the clip's own."""
        self._estimator.close()


def _reduction(scale: float) -> int:
    """Return the whole factor by which a frame is averaged before it is sampled, so that nothing is skipped."""
    return max(1, int(1 / scale))


def _shrunk(frame: Frame, scale: float) -> Frame:
    factor = _reduction(scale)
    if factor == 1:
        return frame
    size = (frame.shape[1] // factor, frame.shape[0] // factor)
    return cv2.resize(frame[: size[1] * factor, : size[0] * factor], size, interpolation=cv2.INTER_AREA)


def _shrunk_matrix(matrix: np.ndarray, scale: float) -> np.ndarray:
    """Return the mapping to pixels of the reduced frame."""
    factor = _reduction(scale)
    result = matrix / factor
    result[:, 2] += 0.5 / factor - 0.5
    return result


def _in_frame(person: PersonPose, corner: np.ndarray, scale: float, frame: Frame) -> PersonPose:
    """Map a person in the crop to pixels of the frame; scores of points outside it are negative."""
    keypoints = ((person.keypoints + 0.5) / scale + corner - 0.5).astype(np.float32)
    inside = ((keypoints >= 0) & (keypoints <= [frame.shape[1], frame.shape[0]])).all(axis=1)
    scores = np.where(inside, np.maximum(person.scores, 0), -np.abs(person.scores)).astype(np.float32)
    hands = person.hands.copy()
    hands[..., :2] = (hands[..., :2] + 0.5) / scale + corner - 0.5
    hands[..., 2] /= scale
    return PersonPose(keypoints, scores, hands)
