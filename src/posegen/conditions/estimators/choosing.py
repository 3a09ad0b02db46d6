"""Creates the estimators chosen in the settings. Models are imported only when chosen."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from posegen.conditions.estimators.cropped import CroppedLook
from posegen.conditions.estimators.file import VERSION as FILE_READING
from posegen.conditions.estimators.file import FilePose, is_video
from posegen.conditions.estimators.heavy_pose import heavy_task_file
from posegen.conditions.estimators.interfaces import HandNormalEstimator, PoseEstimator, SecondLook
from posegen.conditions.estimators.keypoint_files import check_size
from posegen.conditions.estimators.mediapipe import VERSION as MEDIAPIPE
from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.estimators.model_weights import DEFAULTS, LARGER_ESTIMATORS, find_weights, identity
from posegen.conditions.finishing import VERSION as FINISHING
from posegen.conditions.following import VERSION as FOLLOWING
from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import HANDS, SEEN, PersonPose
from posegen.conditions.smoothing import VERSION as SMOOTHING
from posegen.config import EstimatorConfig
from posegen.errors import PosegenError, logger
from posegen.types import Frame

Given = TypeVar("Given")


def estimator_names(config: EstimatorConfig) -> tuple[str, ...]:
    """Return the names that identify the chosen estimators and the smoothing in a manifest, without loading them."""
    smoothing: tuple[str, ...] = () if draws_given_skeletons(config) else (f"finishing {FINISHING}",)
    smoothing += (f"smoothing {SMOOTHING}",) if config.smoothing and not draws_given_skeletons(config) else ()
    if config.pose == "mediapipe" and heavy_task_file() is not None:
        smoothing += ("second look heavy",)
    smoothing = (*_following(config), *smoothing)
    if config.pose == "mediapipe" and config.normals == "mediapipe":
        hands = CapsuleHandNormals.name, CapsuleHandNormals.version
        return f"{MediaPipePose.name} {MEDIAPIPE}", *hands, *smoothing
    names: list[str] = [config.pose, config.normals]
    if "mediapipe" in names:
        names += [f"{MediaPipePose.name} {MEDIAPIPE}", CapsuleHandNormals.name, CapsuleHandNormals.version]
    if any(choice not in ("mediapipe", "file") for choice in (config.pose, config.normals)):
        names.append(f"larger estimators {LARGER_ESTIMATORS}")
    names += [f"{option} {DEFAULTS[kind]}" for option, kind in _defaults_used(config)]
    if config.pose_file is not None:
        check_size(config.pose_file)
    for option in ("pose_weights", "pose_file", "detector_weights", "normals_weights", "parts_weights", "normals_file"):
        value = getattr(config, option)
        if value is not None:
            names.append(f"{option} {identity(str(value))}")
    reading = (f"reading {FILE_READING}",) if config.pose == "file" and not draws_given_skeletons(config) else ()
    return *names, *reading, *smoothing


def _following(config: EstimatorConfig) -> tuple[str, ...]:
    """Return the names of how a person is followed, and of the choice of one."""
    if draws_given_skeletons(config):
        return ()
    chosen = config.person.strip().lower().replace(" ", "")
    return (f"following {FOLLOWING}", *(() if chosen == "largest" else (f"person {chosen}",)))


def _defaults_used(config: EstimatorConfig) -> list[tuple[str, str]]:
    """Return (option, key of `DEFAULTS`) of each kind of weights that is used without being named."""
    used = []
    if config.pose not in ("mediapipe", "file"):
        used += [("pose_weights", config.pose), ("detector_weights", "detector")]
    if config.normals not in ("mediapipe", "file"):
        used += [("normals_weights", "normals"), ("parts_weights", "parts")]
    return [(option, kind) for option, kind in used if getattr(config, option) is None and kind in DEFAULTS]


def weights_of(config: EstimatorConfig) -> list[Path]:
    """Find the weights of the chosen estimators without loading them. Raises `PosegenError` if some are missing."""
    asked: list[tuple[str | None, str]] = []
    if config.pose not in ("mediapipe", "file"):
        asked += [
            (config.pose_weights or DEFAULTS.get(config.pose), "--pose-weights"),
            (config.detector_weights or DEFAULTS["detector"], "--detector-weights"),
        ]
    if config.normals not in ("mediapipe", "file"):
        asked += [
            (config.normals_weights or DEFAULTS["normals"], "--normals-weights"),
            (config.parts_weights or DEFAULTS["parts"], "--parts-weights"),
        ]
    return [find_weights(name, option) for name, option in asked if name is not None]


def draws_given_skeletons(config: EstimatorConfig) -> bool:
    """Return True if the skeletons are a finished video, without keypoints."""
    return given_skeletons(config) is not None


def given_skeletons(config: EstimatorConfig) -> Path | None:
    """Return the finished skeleton video, if chosen instead of an estimator."""
    file = config.pose_file if config.pose == "file" else None
    return file if file is not None and is_video(file) else None


def make_pose_estimator(
    config: EstimatorConfig,
    size: tuple[int, int],
    shown: Sequence[int],
    num_source_frames: int,
    device: str = "auto",
    samples: Sequence[int] | None = None,
) -> PoseEstimator:
    """Create the chosen estimator for one clip, or for those of its used frames whose numbers are `samples`.

    `size`, `shown` and `num_source_frames` as in `FilePose`. MediaPipe's hand model adds hands if the estimator has
    none, and the depth that drawn hand normals need.
    """
    match config.pose:
        case "mediapipe":
            return MediaPipePose(single_image=samples is not None, in_clip=True)
        case "file":
            given = FilePose(_needed(config.pose_file, "--pose-file"), size, shown, num_source_frames, samples)
            logger.info("%s", given.description)
            for doubt in given.doubts:
                logger.warning("%s", doubt)
            return WithHands(given) if config.normals == "mediapipe" else given
        case _:
            top_down = _make_top_down(config, device)
            if not top_down.finds_hands:
                logger.warning("this %s model has no hand keypoints: using MediaPipe's hand model", config.pose)
            return WithHands(top_down) if config.normals == "mediapipe" or not top_down.finds_hands else top_down


def make_second_look(config: EstimatorConfig, estimator: PoseEstimator) -> SecondLook | None:
    """Create what looks again at single people of a clip, for the clip's own estimator; None for keypoints of a file.

    Top-down estimators look at a box themselves.
    """
    if config.pose == "file":
        return None
    if config.pose == "mediapipe":
        return CroppedLook(MediaPipePose(single_image=True, in_clip=True, heavy=True, finds="bodies"), estimator)
    return LooksInBox(estimator)


def make_reference_estimator(config: EstimatorConfig, device: str = "auto") -> PoseEstimator:
    """Create the estimator for the reference image: the chosen one, or MediaPipe if that is a file."""
    if config.pose in ("mediapipe", "file"):
        return MediaPipePose(single_image=True)
    top_down = _make_top_down(config, device)
    return top_down if top_down.finds_hands else WithHands(top_down)


def make_normal_estimator(config: EstimatorConfig, device: str = "auto") -> HandNormalEstimator:
    """Create the chosen estimator of hand normals. Raises `PosegenError` if they come from a file."""
    match config.normals:
        case "mediapipe":
            return CapsuleHandNormals()
        case "sapiens2":
            from posegen.conditions.estimators.sapiens2 import sapiens2_normals

            return sapiens2_normals(config.normals_weights, config.parts_weights, device)
        case "sapiens1":
            from posegen.conditions.estimators.sapiens1 import sapiens1_normals

            weights = _needed(config.normals_weights, "--normals-weights")
            return sapiens1_normals(weights, _needed(config.parts_weights, "--parts-weights"), device)
        case "file":
            raise PosegenError("--normals file takes hand normals from a video: it has no estimator")


def _vitpose(config: EstimatorConfig, device: str) -> PoseEstimator:
    from posegen.conditions.estimators.vitpose import vitpose

    return vitpose(config.pose_weights, config.detector_weights, device)


def _sapiens2(config: EstimatorConfig, device: str) -> PoseEstimator:
    from posegen.conditions.estimators.sapiens2 import sapiens2_pose

    return sapiens2_pose(config.pose_weights, config.detector_weights, device)


def _sapiens1(config: EstimatorConfig, device: str) -> PoseEstimator:
    from posegen.conditions.estimators.sapiens1 import sapiens1_pose

    return sapiens1_pose(_needed(config.pose_weights, "--pose-weights"), config.detector_weights, device)


_TOP_DOWN: dict[str, Callable[[EstimatorConfig, str], PoseEstimator]] = {
    "vitpose": _vitpose,
    "sapiens2": _sapiens2,
    "sapiens1": _sapiens1,
}
"""Makers of the estimators that look at one detected person at a time, by their name in the settings."""


def _make_top_down(config: EstimatorConfig, device: str) -> PoseEstimator:
    """Create a top-down estimator. Raises `PosegenError` for a name that is not one of `_TOP_DOWN`."""
    make = _TOP_DOWN.get(config.pose)
    if make is None:
        raise PosegenError(f"--pose {config.pose}: no top-down estimator has this name; known: {', '.join(_TOP_DOWN)}")
    return make(config, device)


def _needed(given: Given | None, option: str) -> Given:
    if given is None:
        raise PosegenError(f"{option} is needed for the chosen estimator")
    return given


class LooksInBox:
    """`SecondLook` with a top-down estimator that stays open: closing this does not close it."""

    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator = estimator
        self._top_down: Any = estimator.inner if isinstance(estimator, WithHands) else estimator
        self.name, self.version = estimator.name, estimator.version

    def look_again(self, frame: Frame, box: tuple[float, float, float, float]) -> list[PersonPose]:
        """Find the person in a box of the frame."""
        found: list[PersonPose] = self._top_down.look_again(frame, box)
        return found

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Add the hands that are found to the person."""
        return self._estimator.add_hands(frame, person)

    def close(self) -> None:
        """Do nothing: the estimator belongs to the caller."""


class WithHands:
    """Pose estimator with MediaPipe's hands: always in three dimensions, as keypoints only if it has none itself."""

    finds_hands = False

    def __init__(self, estimator: PoseEstimator) -> None:
        self._estimator, self._hands = estimator, MediaPipePose(single_image=True)
        self.name, self.version, self.batch_size = estimator.name, estimator.version, estimator.batch_size
        self.keeps_everybody = estimator.keeps_everybody

    @property
    def inner(self) -> PoseEstimator:
        """The estimator of bodies."""
        return self._estimator

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Find the people in an RGB frame."""
        return self._estimator.estimate(frame)

    def estimate_batch(self, frames: Sequence[Frame]) -> list[list[PersonPose]]:
        """Find the people in the next frames."""
        return self._estimator.estimate_batch(frames)

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Add hands with depth to the person."""
        found = self._hands.add_hands(frame, person)
        keypoints, scores = person.keypoints.copy(), person.scores.copy()
        for points in HANDS:
            if scores[points].max() < SEEN:
                keypoints[points], scores[points] = found.keypoints[points], found.scores[points]
        given = np.isfinite(person.hands).all(axis=(1, 2))
        hands = np.where(given[:, None, None], person.hands, found.hands)
        return PersonPose(keypoints, scores, hands)

    def close(self) -> None:
        """Free the models."""
        self._estimator.close()
        self._hands.close()
