"""Filters by name, with their thresholds, backends and the verdict about a clip.

A filter turns a sampled clip into scores, which are kept for every clip, kept or dropped; thresholds are applied to
scores, so that they can be changed later without decoding videos again. Each score is measured in one of
`person_filters.py`, `picture_filters.py`, `motion_filters.py`, `overlays.py` and, by a vision-language model,
`rating_filter.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable

from posegen.conditions.estimators.model_weights import DEFAULTS
from posegen.config import EstimatorConfig
from posegen.devices import choose_device
from posegen.errors import PosegenError
from posegen.prepare.filters.motion_filters import CameraFilter, TemporalQualityFilter
from posegen.prepare.filters.overlays import OverlayFilter
from posegen.prepare.filters.person_filters import FaceFilter, OnePersonFilter, PersonAreaFilter
from posegen.prepare.filters.picture_filters import BlurFilter, TechnicalQualityFilter
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import MediaPipePeople, People, PeopleFinder


@runtime_checkable
class Filter(Protocol):
    """A filter: measures scores of a clip."""

    name: str
    columns: tuple[str, ...]
    """Names of the scores that it measures."""

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Return finite numbers by column."""


@dataclass(frozen=True)
class Threshold:
    """Range of scores that are kept, inclusive. `column` is the score; by default the filter's usual one."""

    column: str = ""
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        if not limits or not all(math.isfinite(limit) for limit in limits) or limits != sorted(limits):
            raise PosegenError(
                f"threshold {self.column}: a minimum or a maximum (or both, the minimum first) was expected, not "
                f"{self.minimum} and {self.maximum}"
            )

    def keeps(self, score: float) -> bool:
        """Return whether a clip with this score is kept; NaN never is."""
        above = self.minimum is None or score >= self.minimum
        return above and (self.maximum is None or score <= self.maximum) and math.isfinite(score)


DEFAULT_THRESHOLDS: dict[str, Threshold] = {
    "person_area": Threshold("person_area", minimum=0.3),
    "one_person": Threshold("one_person", minimum=0.85),
    "face": Threshold("face", minimum=0.75),
    "head": Threshold("head", minimum=0.75),
    "static_camera": Threshold("camera_moved", maximum=0.02),
    "camera_known": Threshold("camera_known", minimum=0.0),
    "background_jitter": Threshold("camera_jitter", maximum=0.002),
    "overlay": Threshold("overlay_text", maximum=0.001),
    "bars": Threshold("bars", maximum=0.02),
    "blur": Threshold("sharpness", minimum=0.4),
    "image_quality": Threshold("technical_quality", minimum=0.5),
    "video_quality": Threshold("temporal_quality", minimum=0.5),
}
"""Name -> what is kept, with embedded backends. The numbers of area, face and head (0.3, 0.75, 0.75) are
carried over from PoseGen, which applies them to the boxes of RTMDet and the scores of a YOLO detector of faces and
heads.
`camera_known` drops nothing: a camera whose movement cannot be seen counts as still, unless a recipe raises this."""
QALIGN_THRESHOLDS = {
    "image_quality": Threshold("qalign_image", minimum=0.7),
    "video_quality": Threshold("qalign_video", minimum=0.7),
}
"""Thresholds for Q-Align's scores, as in PoseGen."""


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """Choice of filters and their backends."""

    people: Literal["mediapipe", "rtdetr", "dfine"] = "mediapipe"
    """Finder of people: the embedded MediaPipe, or a detector."""
    people_weights: str = ""
    """RT-DETR or D-FINE: model folder or hub name."""
    face: Literal["mediapipe", "vitpose", "sapiens2", "yunet"] = "mediapipe"
    """Source of the confidence of faces and heads: a pose model's keypoints, or YuNet."""
    face_weights: str = ""
    """ViTPose or Sapiens2 (model folder or hub name), or YuNet's ONNX file."""
    image_quality: Literal["technical", "qalign"] = "technical"
    """Rating of images: the embedded stand-in (contrast, exposure, noise), or Q-Align."""
    video_quality: Literal["temporal", "qalign"] = "temporal"
    """Rating of videos: the embedded stand-in (repeated frames, flicker), or Q-Align."""
    quality_weights: str = ""
    """Q-Align: a model folder in transformers' layout."""
    skip: tuple[str, ...] = ()
    """Thresholds that are ignored, by name; a filter whose thresholds are all skipped does not run."""
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    """Ranges that are kept, by filter name, instead of the defaults."""

    def __post_init__(self) -> None:
        unknown = [name for name in (*self.skip, *self.thresholds) if name not in DEFAULT_THRESHOLDS]
        if unknown:
            raise PosegenError(
                f"filters: there is no filter {unknown[0]!r}; these are: {', '.join(DEFAULT_THRESHOLDS)}"
            )
        if "qalign" in (self.image_quality, self.video_quality) and not self.quality_weights:
            raise PosegenError(
                "filters: qalign needs quality_weights: the folder of a model that rates as Q-Align does"
            )


YUNET = "face_detection_yunet_2023mar.onnx"
"""Default file of YuNet."""


def judge(scores: Mapping[str, float], thresholds: Mapping[str, Threshold]) -> tuple[bool, list[str]]:
    """Return whether a clip is kept, and the names of the filters that drop it.

    Raises `PosegenError` for a threshold of a column that was not measured.
    """
    missing = [name for name, threshold in thresholds.items() if threshold.column not in scores]
    if missing:
        raise PosegenError(
            f"threshold of {missing[0]}: there is no score {thresholds[missing[0]].column!r} of this clip; run without "
            "--refilter, so that it is measured, or skip the threshold"
        )
    dropped = [name for name, threshold in thresholds.items() if not threshold.keeps(scores[threshold.column])]
    return not dropped, dropped


def thresholds_of(settings: FilterSettings) -> dict[str, Threshold]:
    """Return the threshold of each filter that runs, by name."""
    chosen = dict(DEFAULT_THRESHOLDS)
    for name, backend in (("image_quality", settings.image_quality), ("video_quality", settings.video_quality)):
        if backend == "qalign":
            chosen[name] = QALIGN_THRESHOLDS[name]
    for name, own in settings.thresholds.items():
        chosen[name] = replace(own, column=own.column or chosen[name].column)
    return {name: threshold for name, threshold in chosen.items() if name not in settings.skip}


def wanted_columns(settings: FilterSettings) -> set[str]:
    """Return the names of the scores that thresholds are applied to."""
    return {threshold.column for threshold in thresholds_of(settings).values()}


def detector_weights(settings: FilterSettings) -> str:
    """Return the folder or hub name of the detector of people."""
    return settings.people_weights or DEFAULTS["dfine" if settings.people == "dfine" else "detector"]


def face_estimator(settings: FilterSettings) -> EstimatorConfig | None:
    """Return the settings of the pose model that faces are scored by; None for YuNet."""
    if settings.face == "yunet":
        return None
    if settings.face == "mediapipe":
        return EstimatorConfig()
    return EstimatorConfig(
        pose=settings.face, pose_weights=settings.face_weights or None, detector_weights=detector_weights(settings)
    )


def make_filters(settings: FilterSettings, device: str) -> list[Filter]:
    """Load the filters that run, with their backends. Raises `PosegenError` where weights are missing."""
    filters: list[Filter] = [
        PersonAreaFilter(),
        OnePersonFilter(),
        FaceFilter(),
        CameraFilter(),
        OverlayFilter(),
        BlurFilter(),
    ]
    wanted = wanted_columns(settings)
    image, video = "qalign_image" in wanted, "qalign_video" in wanted
    filters += [TechnicalQualityFilter()] * (settings.image_quality == "technical")
    filters += [TemporalQualityFilter()] * (settings.video_quality == "temporal")
    if image or video:
        from posegen.conditions.visual_rating import RatingModel
        from posegen.prepare.filters.rating_filter import QAlignFilter

        model = RatingModel(Path(settings.quality_weights).expanduser(), choose_device(device))
        filters.append(QAlignFilter(model, image, video))
    return [each for each in filters if wanted & set(each.columns)]


def make_finder(settings: FilterSettings, device: str) -> PeopleFinder:
    """Load the finder of people and faces. Raises `PosegenError` where weights are missing."""
    if settings.people == settings.face == "mediapipe":
        return MediaPipePeople()
    from posegen.conditions.estimators.choosing import make_reference_estimator
    from posegen.conditions.estimators.detector import PersonDetector
    from posegen.prepare.filters.detectors import DetectorPeople, FaceFinder, PoseFaces, WithFaces, YuNetFaces

    finder: PeopleFinder
    if settings.people == "mediapipe":
        finder = MediaPipePeople()
    else:
        detector = PersonDetector(detector_weights(settings), device, "filters: people_weights")
        finder = DetectorPeople(settings.people, detector)
    config = face_estimator(settings)
    faces: FaceFinder = (
        YuNetFaces(settings.face_weights or YUNET)
        if config is None
        else PoseFaces(make_reference_estimator(config, device))
    )
    return WithFaces(finder, faces)


class ClipScorer:
    """Scores a sampled clip with all filters."""

    def __init__(self, finder: PeopleFinder, filters: Sequence[Filter]) -> None:
        self.finder, self.filters = finder, tuple(filters)

    def __call__(self, clip: SampledClip) -> dict[str, float]:
        """Return the scores of all filters, by column. Raises `PosegenError` for one that is not finite."""
        found = self.finder.find(clip)
        scores: dict[str, float] = {}
        for each in self.filters:
            scores |= each.score(clip, found)
        bad = [column for column, score in scores.items() if not math.isfinite(score)]
        if bad:
            raise PosegenError(f"score {bad[0]} is {scores[bad[0]]}, which is no number: a model's weights are damaged")
        return scores

    def close(self) -> None:
        """Free the models."""
        self.finder.close()


def make_scorer(settings: FilterSettings, device: str = "auto") -> ClipScorer:
    """Load all filters, as a function from a sampled clip to its scores. Raises `PosegenError` without weights."""
    return ClipScorer(make_finder(settings, device), make_filters(settings, device))
