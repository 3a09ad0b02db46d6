"""People and faces in sampled frames by larger models: RT-DETR or D-FINE, pose models' heads, YuNet.

Weights are the user's; errors about missing ones are those of the estimators of conditions. The embedded finder is in
`sampled_people.py`.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from posegen.conditions.estimators.detector import Box, PersonDetector
from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.keypoints import FACE, PersonPose
from posegen.errors import PosegenError
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import FACE_POINTS, People, PeopleFinder, Seen, distinct, head_of, widened
from posegen.types import Frame

_BATCH = 8
_YUNET_SCORE = 0.3
"""Minimum score at which YuNet's faces are reported; the filter has a threshold of its own."""


@runtime_checkable
class FaceFinder(Protocol):
    """Scores the faces and heads of people."""

    name: str

    def faces(self, frames: Sequence[Frame], people: Sequence[Sequence[Seen]]) -> list[list[tuple[float, float]]]:
        """Return (face, head), 0..1, of each person of each frame."""

    def close(self) -> None:
        """Free the models."""


class DetectorPeople:
    """Finds people's boxes by RT-DETR or D-FINE; a person's mask is the whole box."""

    def __init__(self, name: str, detector: PersonDetector) -> None:
        self.name, self._detector = name, detector

    def find(self, clip: SampledClip) -> People:
        """Return everybody in the sampled frames, without faces."""
        found: list[list[Box]] = []
        for start in range(0, len(clip), _BATCH):
            found += self._detector.detect(list(clip.frames[start : start + _BATCH]))
        height, width = clip.frames.shape[1:3]
        seen = []
        for boxes in found:
            shares = [np.clip(np.array(box) / [width, height, width, height], 0, 1).tolist() for box in boxes]
            seen.append(distinct([Seen((left, top, right, bottom), 0.0, 0.0) for left, top, right, bottom in shares]))
        return People(tuple(seen), np.stack([_boxes_mask(people, clip.neighbours.shape[1:3]) for people in seen]))

    def close(self) -> None:
        """Do nothing: no model holds resources."""


class WithFaces:
    """Finds people with one model and scores their faces with another."""

    def __init__(self, finder: PeopleFinder, faces: FaceFinder) -> None:
        self.name = f"{finder.name} + {faces.name}"
        self._finder, self._faces = finder, faces

    def find(self, clip: SampledClip) -> People:
        """Return everybody in the sampled frames, with faces."""
        found = self._finder.find(clip)
        faces = self._faces.faces(list(clip.frames), found.seen)
        seen = tuple(
            tuple(replace(person, face=face, head=head) for person, (face, head) in zip(people, sure, strict=True))
            for people, sure in zip(found.seen, faces, strict=True)
        )
        return replace(found, seen=seen)

    def close(self) -> None:
        """Free the models."""
        self._finder.close()
        self._faces.close()


class PoseFaces:
    """Scores faces and heads by a pose estimator's keypoints: the mean score of eyes, nose and the face's 68, if any.

    Each person takes the pose that shares most with their box.
    """

    def __init__(self, estimator: PoseEstimator) -> None:
        self.name, self._estimator = estimator.name, estimator

    def faces(self, frames: Sequence[Frame], people: Sequence[Sequence[Seen]]) -> list[list[tuple[float, float]]]:
        """Return (face, head) of each person of each frame; 0 where no pose is found."""
        sure = []
        for frame, seen in zip(frames, people, strict=True):
            poses = self._estimator.estimate(frame) if seen else []
            sure.append([_of_pose(_pose_in(person, poses, (frame.shape[0], frame.shape[1]))) for person in seen])
        return sure

    def close(self) -> None:
        """Free the models."""
        self._estimator.close()


class YuNetFaces:
    """Scores faces by OpenCV's YuNet, from the user's ONNX file. Raises `PosegenError` for a file of something else."""

    name = "yunet"

    def __init__(self, weights: str) -> None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise PosegenError(
                f"filters: face_weights {path}: there is no such file; YuNet's network is "
                "face_detection_yunet_2023mar.onnx of github.com/opencv/opencv_zoo"
            )
        try:
            self._network = cv2.FaceDetectorYN.create(str(path), "", (64, 64), _YUNET_SCORE)
            self._detect(np.zeros((64, 64, 3), np.uint8))
        except cv2.error as error:
            reason = str(error).strip().splitlines()[0][:120]
            raise PosegenError(f"filters: face_weights {path}: not YuNet's network ({reason})") from None

    def _detect(self, frame: Frame) -> np.ndarray:
        height, width = frame.shape[:2]
        self._network.setInputSize((width, height))
        _, found = self._network.detect(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
        return np.zeros((0, 15), np.float32) if found is None else found

    def faces(self, frames: Sequence[Frame], people: Sequence[Sequence[Seen]]) -> list[list[tuple[float, float]]]:
        """Return (face, head) of each person: the score of the surest face whose middle lies in the person's box."""
        sure = []
        for frame, seen in zip(frames, people, strict=True):
            found = self._detect(frame) if seen else np.zeros((0, 15), np.float32)
            middles = (found[:, :2] + found[:, 2:4] / 2) / [frame.shape[1], frame.shape[0]]
            scores = np.clip(found[:, -1].astype(np.float64), 0, 1)
            inside = [((middles >= each.box[:2]) & (middles <= each.box[2:])).all(axis=1) for each in seen]
            best = [float(scores[here].max(initial=0.0)) for here in inside]
            sure.append([(score, score) for score in best])
        return sure

    def close(self) -> None:
        """Do nothing: no model holds resources."""


def _boxes_mask(people: Sequence[Seen], size: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros(size, bool)
    for person in people:
        left, top, right, bottom = person.box
        rows = slice(int(top * size[0]), int(np.ceil(bottom * size[0])))
        mask[rows, int(left * size[1]) : int(np.ceil(right * size[1]))] = True
    return widened(mask)


def _pose_in(person: Seen, poses: Sequence[PersonPose], size: tuple[int, int]) -> PersonPose | None:
    """Return the pose that overlaps most with the person's box."""
    best, most = None, 0.0
    scale = np.array([size[1], size[0], size[1], size[0]])
    for pose in poses:
        box = np.array(pose.box) / scale
        low, high = np.maximum(box[:2], person.box[:2]), np.minimum(box[2:], person.box[2:])
        shared = float(np.clip(high - low, 0, None).prod())
        if shared > most:
            best, most = pose, shared
    return best


def _of_pose(pose: PersonPose | None) -> tuple[float, float]:
    if pose is None:
        return 0.0, 0.0
    scores = np.clip(pose.scores, 0, 1)
    points = list(FACE_POINTS) + (list(range(133))[FACE] if scores[FACE].max() > 0 else [])
    face = float(scores[points].mean())
    return face, max(face, head_of(scores))
