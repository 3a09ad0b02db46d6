"""What is asked of a clip before it is trained on: filters by name, their thresholds, and the verdict.

A filter turns a sampled clip into scores, which are kept for every clip, kept or dropped; thresholds are applied to
scores, so that they can be changed later without looking at pictures again. How each score is measured is in
`person_filters.py`, `picture_filters.py`, `motion_filters.py` and `overlays.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol, runtime_checkable

from posegen.data.prepare.people import MediaPipePeople, People, PeopleFinder
from posegen.data.prepare.sampling import SampledClip
from posegen.errors import PosegenError


@runtime_checkable
class Filter(Protocol):
    """One question about a clip."""

    name: str
    columns: tuple[str, ...]
    """Names of the scores."""

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Finite numbers by column."""


@dataclass(frozen=True)
class Threshold:
    """What of a column is kept: at least `minimum`, at most `maximum`."""

    column: str
    minimum: float | None = None
    maximum: float | None = None

    def __post_init__(self) -> None:
        limits = [limit for limit in (self.minimum, self.maximum) if limit is not None]
        if not limits or not all(math.isfinite(limit) for limit in limits) or limits != sorted(limits):
            raise PosegenError(
                f"threshold of {self.column}: a minimum or a maximum (or both, the minimum first) was expected, not "
                f"{self.minimum} and {self.maximum}"
            )

    def keeps(self, score: float) -> bool:
        """Whether a clip with this score is kept; a score that is no number never is."""
        above = self.minimum is None or score >= self.minimum
        return above and (self.maximum is None or score <= self.maximum) and math.isfinite(score)


DEFAULT_THRESHOLDS: dict[str, Threshold] = {
    "person_area": Threshold("person_area", minimum=0.3),
    "one_person": Threshold("one_person", minimum=0.8),
    "face": Threshold("face", minimum=0.75),
    "head": Threshold("head", minimum=0.75),
    "static_camera": Threshold("camera_moved", maximum=0.02),
    "background_jitter": Threshold("camera_jitter", maximum=0.002),
    "cuts": Threshold("cuts", maximum=0.0),
    "blur": Threshold("sharpness", minimum=0.5),
}
"""Filter name -> what is kept; those of the method where it names them (PoseGen: 0.3, 0.75, 0.7)."""


@dataclass(frozen=True, kw_only=True)
class FilterSettings:
    """Which filters run, with which backends, and what they keep."""

    people: Literal["mediapipe"] = "mediapipe"
    """Who finds people."""
    skip: tuple[str, ...] = ()
    """Names of filters that do not run: they leave no scores."""
    thresholds: Mapping[str, Threshold] = field(default_factory=dict)
    """Instead of the defaults, by filter name."""


def judge(scores: Mapping[str, float], thresholds: Mapping[str, Threshold]) -> tuple[bool, list[str]]:
    """Whether a clip is kept, and the names of the filters that drop it.

    Raises `PosegenError` for a threshold of a column that was not measured.
    """
    missing = [name for name, threshold in thresholds.items() if threshold.column not in scores]
    if missing:
        raise PosegenError(
            f"threshold of {missing[0]}: there is no score {thresholds[missing[0]].column!r} of this clip; run the "
            "filter, or leave the threshold out"
        )
    dropped = [name for name, threshold in thresholds.items() if not threshold.keeps(scores[threshold.column])]
    return not dropped, dropped


def override_threshold(
    thresholds: Mapping[str, Threshold], name: str, minimum: float | int | None, maximum: float | int | None
) -> dict[str, Threshold]:
    """The thresholds with other limits for one filter. Raises `PosegenError` for an unknown filter."""
    if name not in thresholds:
        raise PosegenError(f"thresholds: there is no filter {name!r}; these run: {', '.join(sorted(thresholds))}")
    limits = [None if limit is None else float(limit) for limit in (minimum, maximum)]
    return {**thresholds, name: replace(thresholds[name], minimum=limits[0], maximum=limits[1])}


def thresholds_of(settings: FilterSettings) -> dict[str, Threshold]:
    """Filter name -> what is kept, for the filters that run: the settings' own, else the defaults."""
    return {
        name: settings.thresholds.get(name, threshold)
        for name, threshold in DEFAULT_THRESHOLDS.items()
        if name not in settings.skip
    }


def make_filters(settings: FilterSettings, device: str) -> tuple[PeopleFinder, list[Filter]]:
    """The chosen filters with their backends, loaded. Raises `PosegenError` where weights are missing."""
    from posegen.data.prepare.motion_filters import CameraFilter, CutFilter
    from posegen.data.prepare.person_filters import FaceFilter, OnePersonFilter, PersonAreaFilter
    from posegen.data.prepare.picture_filters import BlurFilter

    everything: list[Filter] = [
        PersonAreaFilter(), OnePersonFilter(), FaceFilter(), CameraFilter(), CutFilter(), BlurFilter(),
    ]  # fmt: skip
    return MediaPipePeople(), [each for each in everything if each.name not in settings.skip]


class Scorer:
    """All filters with their backends: a sampled clip -> its scores."""

    def __init__(self, finder: PeopleFinder, filters: Sequence[Filter]) -> None:
        self.finder, self.filters = finder, tuple(filters)

    def __call__(self, clip: SampledClip) -> dict[str, float]:
        """Every filter's scores, by column."""
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


def make_scorer(settings: FilterSettings, device: str = "auto") -> Scorer:
    """All filters, loaded once: a function from a sampled clip to its scores. Raises `PosegenError` without weights."""
    return Scorer(*make_filters(settings, device))
