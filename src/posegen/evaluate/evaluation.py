"""Runs an evaluation: benchmark + folders of results -> scores of every clip -> tables.

Each part is in the file imported here; `report/` writes the report.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from posegen.cache_folder import cache_folder
from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.config import EvaluateConfig
from posegen.devices import choose_device
from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import Benchmark, read_benchmark
from posegen.evaluate.matching import Matched, Result, clip_under, match, parse_methods
from posegen.evaluate.metrics.metric import ClipScores, Metric, Score
from posegen.evaluate.metrics.pixel_metrics import Flicker, FrameDifferences, StepErrors
from posegen.evaluate.protocols import DISCO, Protocol, find_protocol
from posegen.evaluate.report.score_tables import Cell, best_methods, frechet_cell, mean_cell
from posegen.evaluate.scoring import TRUTH, Scoring
from posegen.progress import Progress


@dataclass(frozen=True)
class Evaluation:
    """All contents of a report.

    scores: the columns for which anything was measured; clips: method -> clip -> scores, ground truth under `TRUTH`;
    cells: (method, score) -> number; best: score -> methods; fitted: names of the scores that were measured at the
    protocol's size, the others at the videos' own; warnings: lines for the reader.
    """

    benchmark: Benchmark
    rules: Protocol
    methods: tuple[Matched, ...]
    results: dict[str, dict[str, Result]]
    scores: tuple[Score, ...]
    clips: dict[str, dict[str, ClipScores]]
    cells: dict[tuple[str, str], Cell]
    best: dict[str, list[str]]
    fitted: frozenset[str]
    warnings: tuple[str, ...]

    @property
    def rows(self) -> list[str]:
        """Names of the table's rows: the methods, then the ground truth where it was scored too."""
        return [matched.method.name for matched in self.methods] + ([TRUTH] if TRUTH in self.clips else [])


def evaluate(config: EvaluateConfig, progress: Progress) -> Evaluation:
    """Score all methods. Everything is checked before the first frame is scored; raises `PosegenError`."""
    benchmark, rules = read_benchmark(config.benchmark), find_protocol(config.protocol)
    methods = [
        match(benchmark, method, rules, config.allow_missing, config.resample)
        for method in parse_methods(config.methods)
    ]
    with contextlib.ExitStack() as stack:
        estimator = None
        if config.people or config.arcface is not None:
            estimator = stack.enter_context(contextlib.closing(_estimator()))
        metrics = choose_metrics(config, estimator, rules)
        return _score(config, benchmark, rules, methods, metrics, estimator, progress)


def _score(
    config: EvaluateConfig,
    benchmark: Benchmark,
    rules: Protocol,
    methods: list[Matched],
    metrics: list[Metric],
    estimator: PoseEstimator | None,
    progress: Progress,
) -> Evaluation:
    scoring = Scoring(rules, config.cache or default_cache(), estimator)
    results = {matched.method.name: {each.clip.name: each for each in matched.results} for matched in methods}
    ground_truths = {
        clip.name: Result(TRUTH, clip, clip.ground_truth, clip.ground_truth.num_frames)
        for clip in (clip_under(each, rules) for each in benchmark.clips)
        if clip.ground_truth is not None and any(clip.name in found for found in results.values())
    }
    if ground_truths and any(metric.ground_truth != "needed" for metric in metrics):
        results[TRUTH] = ground_truths
    total, done = sum(len(found) for found in results.values()), 0
    clips: dict[str, dict[str, ClipScores]] = {}
    for name, found in results.items():
        for clip, result in found.items():
            measured = [each for each in metrics if name != TRUTH or each.ground_truth != "needed"]
            clips.setdefault(name, {})[clip] = scoring.score(result, measured)
            done += 1
            progress.update("videos", done, total)
    shorter = {
        name: _truth_of_short_results(found, ground_truths, scoring, metrics)
        for name, found in results.items()
        if name != TRUTH
    }
    if scoring.found_again:
        progress.say(f"{scoring.found_again} scores of clips were known already (kept in {scoring.cache})")
    return tabulate(benchmark, rules, methods, results, metrics, clips, shorter)


def _truth_of_short_results(
    found: Mapping[str, Result], ground_truths: Mapping[str, Result], scoring: Scoring, metrics: list[Metric]
) -> dict[str, ClipScores]:
    """Return features of as many frames of the ground truth as a result has, for clips whose result is shorter.

    The bias of a Fréchet distance depends on the number of samples of both sides.
    """
    distances = [metric for metric in metrics if any(score.frechet for score in metric.scores)]
    return {
        clip: scoring.score(replace(ground_truths[clip], num_frames=result.num_frames), distances)
        for clip, result in found.items()
        if distances and clip in ground_truths and result.num_frames < ground_truths[clip].num_frames
    }


def choose_metrics(config: EvaluateConfig, estimator: PoseEstimator | None, rules: Protocol = DISCO) -> list[Metric]:
    """The metrics of the settings, with their networks loaded and checked."""
    from posegen.evaluate.metrics import lpips_fid_fvd
    from posegen.evaluate.metrics.embedded import LiteMetrics
    from posegen.evaluate.metrics.faces import ArcFace
    from posegen.evaluate.metrics.person_motion import HandRegions, PeopleMetrics

    device = choose_device(config.device)
    metrics: list[Metric] = [FrameDifferences(rules), StepErrors()]
    if config.lpips is not None:
        metrics.append(lpips_fid_fvd.LpipsMetric(config.lpips, device))
    for path, make in (
        (config.inception, lpips_fid_fvd.fid),
        (config.resnet3d, lpips_fid_fvd.fid_vid),
        (config.i3d, lpips_fid_fvd.fvd),
    ):
        if path is not None:
            metrics.append(make(path, device))
    metrics += _without_ground_truth(config, device)
    metrics.append(Flicker())
    if estimator is not None:
        face = ArcFace(config.arcface) if config.arcface is not None else None
        metrics += [PeopleMetrics(estimator, face), HandRegions()]
    if config.embedded:
        metrics.append(LiteMetrics())
    return metrics


def _without_ground_truth(config: EvaluateConfig, device: torch.device) -> list[Metric]:
    from posegen.evaluate.metrics.dino_and_q_align import DinoMetric, QualityMetric

    metrics: list[Metric] = []
    if config.q_align is not None:
        metrics.append(QualityMetric(config.q_align, device))
    if config.dino is not None:
        metrics.append(DinoMetric(config.dino, device))
    return metrics


def tabulate(
    benchmark: Benchmark,
    rules: Protocol,
    methods: list[Matched],
    results: dict[str, dict[str, Result]],
    metrics: list[Metric],
    clips: dict[str, dict[str, ClipScores]],
    shorter: Mapping[str, Mapping[str, ClipScores]] | None = None,
) -> Evaluation:
    """Tables from scores. Raises `PosegenError` where nothing at all was measured.

    shorter: method -> clip -> features of the ground truth's first frames only, instead of all, for short results.
    """
    cells: dict[tuple[str, str], Cell] = {}
    best: dict[str, list[str]] = {}
    scores, warnings = [], []
    complete = [matched.method.name for matched in methods if not matched.missing]
    for score in (score for metric in metrics for score in metric.scores):
        column: dict[str, Cell | None] = {}
        for name, found in clips.items():
            if score.frechet:
                truths = {**clips.get(TRUTH, {}), **(shorter or {}).get(name, {})}
                cell, warning = frechet_cell(score, found, truths) if name != TRUTH else (None, None)
                if warning and warning not in warnings:
                    warnings.append(warning)
            else:
                cell = mean_cell(score, found, rules.weighted)
            column[name] = cell
            if cell is not None:
                cells[name, score.name] = cell
        if any(cell is not None for name, cell in column.items() if name != TRUTH):
            scores.append(score)
            best[score.name] = best_methods(score, column, complete)
    if not scores:
        raise PosegenError("nothing was measured: without true videos, leave --people and --embedded on")
    warnings += _counted(clips)
    fitted = frozenset(score.name for metric in metrics if metric.fitted for score in metric.scores)
    return Evaluation(
        benchmark, rules, tuple(methods), results, tuple(scores), clips, cells, best, fitted, tuple(warnings)
    )


def _counted(clips: Mapping[str, Mapping[str, ClipScores]]) -> list[str]:
    """A line for each count, such as frames in which nobody was found, with all methods in it."""
    lines: dict[str, list[str]] = {}
    for name, found in clips.items():
        looked = sum(each.counts.get("frames looked at", 0) for each in found.values())
        for text in dict.fromkeys(text for each in found.values() for text, count in each.counts.items() if count):
            if text != "frames looked at":
                of = "" if text.endswith("reference image") else f"{looked} frames looked at, in "
                count = sum(each.counts.get(text, 0) for each in found.values())
                lines.setdefault(f"{text} (of {of}{len(found)} clips)", []).append(f"{name} {count}")
    return [f"{text}: {', '.join(counts)}" for text, counts in lines.items()]


def default_cache() -> Path:
    """The folder of cached scores: in $POSEGEN_CACHE, or the user's cache folder."""
    return cache_folder() / "scores"


def _estimator() -> PoseEstimator:
    from posegen.conditions.estimators.mediapipe import MediaPipePose

    return MediaPipePose(single_image=True, mouth=True)
