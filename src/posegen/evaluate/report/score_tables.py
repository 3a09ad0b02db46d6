"""Makes tables of the scores of clips: means or Fréchet distances per method, with intervals over clips.

Means: Student's t over clips (`intervals.py` has its measured coverage). Fréchet distances: jackknife over groups of
clips (a bootstrap would count some clips twice, which makes sets look less varied and so moves the distance itself),
beside a lower bound of what sampling alone adds to the distance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from posegen.evaluate.metrics.frechet import FeatureSet, frechet_distance, sampling_bias
from posegen.evaluate.metrics.intervals import mean_interval, student_quantile
from posegen.evaluate.metrics.metric import ClipScores, Score

Scores = Mapping[str, ClipScores]
"""Clip -> its scores."""


@dataclass(frozen=True)
class Cell:
    """One number of the table: value, 95 % interval (None for a single clip), its clips, number of measurements.

    bias: minimum that sampling alone adds to a Fréchet distance, see `sampling_bias`.
    """

    value: float
    low: float | None
    high: float | None
    clips: tuple[str, ...]
    samples: int
    bias: float | None = None


def mean_cell(score: Score, clips: Scores, weighted: bool) -> Cell | None:
    """The mean over clips that have the score (each as often as it has samples, where `weighted`); None without any."""
    having = {name: each for name, each in clips.items() if score.name in each.values}
    if not having:
        return None
    values = np.array([each.values[score.name] for each in having.values()])
    samples = np.array([each.samples.get(score.name, 1) for each in having.values()], np.float64)
    weights = samples if weighted else np.ones(len(values))
    low, high = mean_interval(values, weights) if len(values) > 1 else (None, None)
    return Cell(float((values * weights).sum() / weights.sum()), low, high, tuple(having), int(samples.sum()))


def frechet_cell(score: Score, clips: Scores, ground_truth: Scores) -> tuple[Cell | None, str | None]:
    """Distance of a method's samples from the ground truth's, over the same clips; and a warning for few samples."""
    names = [name for name in clips if score.name in clips[name].features and name in ground_truth]
    measured = tuple(name for name in names if clips[name].features[score.name].count)
    left = [clips[name].features[score.name] for name in measured]
    right = [ground_truth[name].features[score.name] for name in names if ground_truth[name].features[score.name].count]
    if sum(each.count for each in left) < 2 or sum(each.count for each in right) < 2:
        return None, None
    value = _distance(left, right)
    fewest = min(sum(each.count for each in left), sum(each.count for each in right))
    low, high = _jackknife(left, right, value) if len(left) > 2 and len(left) == len(right) else (None, None)
    warning = None
    if fewest <= left[0].features:
        warning = (
            f"{score.name}: {fewest} samples are too few for {left[0].features} features: the distance is "
            "biased upwards; compare only with distances of as many samples"
        )
    bias = sampling_bias(FeatureSet.merged(left), FeatureSet.merged(right))
    return Cell(value, low, high, measured, sum(each.count for each in left), bias), warning


def best_methods(score: Score, cells: Mapping[str, Cell | None], complete: Sequence[str]) -> list[str]:
    """Methods with the best printed number; those that lack clips do not compete.

    None where methods are not ranked by the score, and where the numbers are of different clips: a method that is
    measured only in the easy ones would win.
    """
    competing = {name: cell for name, cell in cells.items() if cell and name in complete}
    if not score.ranked or len(competing) < 2 or len({frozenset(cell.clips) for cell in competing.values()}) > 1:
        return []
    shown = {name: round(cell.value, score.digits) for name, cell in competing.items()}
    best = max(shown.values()) if score.better == "higher" else min(shown.values())
    return [name for name, value in shown.items() if value == best]


def worst_first(score: Score, clips: Scores) -> list[str]:
    """Names of the clips that have the score, from the worst to the best."""
    sign = 1 if score.better == "higher" else -1
    having = [name for name in clips if score.name in clips[name].values]
    return sorted(having, key=lambda name: sign * clips[name].values[score.name])


def _distance(left: Sequence[FeatureSet], right: Sequence[FeatureSet]) -> float:
    return frechet_distance(FeatureSet.merged(left), FeatureSet.merged(right))


def _jackknife(left: list[FeatureSet], right: list[FeatureSet], value: float) -> tuple[float, float]:
    """value ± t standard errors, from leaving out one group of clips after the other; fewer groups where costly."""
    groups = np.array_split(np.arange(len(left)), min(len(left), 5 if left[0].features > 1000 else 15))
    without = []
    for group in groups:
        kept = [number for number in range(len(left)) if number not in group]
        without.append(_distance([left[number] for number in kept], [right[number] for number in kept]))
    reach = student_quantile(0.95, len(groups) - 1)
    spread = np.sqrt((len(groups) - 1) / len(groups) * ((np.array(without) - np.mean(without)) ** 2).sum())
    return max(0.0, value - reach * float(spread)), value + reach * float(spread)
