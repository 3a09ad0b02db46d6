"""Finds and measures the weights that the models of a recipe need, before any work begins. Loads nothing."""

from dataclasses import dataclass
from pathlib import Path

from posegen.conditions.estimators.choosing import weights_of
from posegen.conditions.estimators.model_weights import find_weights, weights_size
from posegen.prepare.filters.clip_filters import YUNET, FilterSettings, detector_weights, face_estimator, wanted_columns
from posegen.prepare.prepare_recipe import ConditionSettings, PrepareRecipe


@dataclass(frozen=True)
class WeightSizes:
    """Bytes of weights on the disk, by stage."""

    scoring: int = 0
    sampling: int = 0


def measure_weights(recipe: PrepareRecipe, scoring: bool = True) -> WeightSizes:
    """Measure the weights; without `scoring` no filter runs. Raises `PosegenError` that names missing ones."""
    filters = scoring_weights(recipe.filters) if scoring else []
    return WeightSizes(sum(map(weights_size, filters)), sum(map(weights_size, sampling_weights(recipe.conditions))))


def scoring_weights(settings: FilterSettings) -> list[Path]:
    """Return the paths of the filters' weights."""
    asked: list[tuple[str, str]] = []
    if settings.people != "mediapipe":
        asked.append((detector_weights(settings), "filters: people_weights"))
    if settings.face == "yunet":
        asked.append((settings.face_weights or YUNET, "filters: face_weights"))
    if {"qalign_image", "qalign_video"} & wanted_columns(settings):
        asked.append((settings.quality_weights, "filters: quality_weights"))
    config = face_estimator(settings)
    return [find_weights(*each) for each in asked] + (weights_of(config) if config else [])


def sampling_weights(settings: ConditionSettings) -> list[Path]:
    """Return the paths of the weights of pose, hand normals and captions."""
    found = weights_of(settings.estimators(0.0, 1.0))
    if settings.caption_model is not None:
        found.append(find_weights(settings.caption_model, "[conditions] caption_model"))
    return found
