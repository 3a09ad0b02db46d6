"""Answers the calls of a stage in its isolated process, where models are loaded once and kept between calls.

Each call is a message (`messages.py`) with one result. Errors and crashes are the business of the caller
(`clip_stage.py`).
"""

import base64
import contextlib
import functools
from collections.abc import Callable
from typing import Any

from posegen.errors import PosegenError
from posegen.prepare.cores import one_core
from posegen.prepare.filters.clip_filters import wanted_columns
from posegen.prepare.isolated import allow
from posegen.prepare.stages.messages import (
    Call,
    EncodeClip,
    LoadModels,
    LookAndScore,
    LookThrough,
    MadeSample,
    MakeSample,
    ScoreClip,
    ScoredClip,
    as_kept,
)
from posegen.prepare.stages.stage_work import CLIPS_PER_TASK, WHOLE_VIDEO, Scorer, Work, clip_key, scores_name
from posegen.prepare.store import parsed

Answerer = Callable[[Call[Any]], Any]
"""A call -> its result."""


def make_in_worker(work: Work, models: str = "none") -> Answerer:
    """Make the function that answers calls, each on a core of its own; a GPU's few workers may use all cores.

    models: those that are loaded at once, see `LoadModels`. Raises `PosegenError` where their weights are missing.
    """
    answer = make_functions(work)

    def answer_on_one_core(call: Call[Any]) -> Any:
        with one_core() if work.device == "cpu" else contextlib.nullcontext():
            return answer(call)

    answer_on_one_core(LoadModels(models))
    return answer_on_one_core


def make_functions(work: Work) -> Answerer:
    """Make the function that answers calls; it loads each model when it is first needed."""
    import cv2

    cv2.setNumThreads(1)  # workers share the cores among themselves
    scorer = functools.cache(lambda: work.make_scorer(work.recipe, work.device))
    maker = functools.cache(lambda: _maker(work))
    encoder = functools.cache(lambda: _encoder(work))
    loaders: dict[str, Callable[[], Any]] = {"scorer": scorer, "maker": maker, "encoder": encoder}

    def answer(call: Call[Any]) -> Any:
        match call:
            case LoadModels(models):
                if models in loaders:
                    loaders[models]()
                return None
            case LookThrough(path):
                from posegen.prepare.stages.scenes import look_through

                return look_through(path, work.recipe.clips)
            case ScoreClip(path, start, end):
                from posegen.prepare.filters.sampled_frames import sample_clip

                return _scored(work, scorer(), sample_clip(path, start, end))
            case LookAndScore(path, video):
                from posegen.prepare.stages.scenes import look_through

                visit = functools.partial(_score_passing, work, scorer(), video)
                return look_through(path, work.recipe.clips, visit)
            case MakeSample(path, key, source, start, end):
                made = maker().make(path, key, source, start, end)
                work.samples.write(f"{key}.tar", made.content)
                return MadeSample(made.sha256, made.caption)
            case EncodeClip(key, sha256):
                return encoder().make(key, sha256)
        raise TypeError(f"{type(call).__name__} is not a call of a stage")

    return answer


def _scored(work: Work, scorer: Scorer, clip: Any) -> ScoredClip:
    from posegen.prepare.filters.sampled_frames import thumbnail

    picture = base64.b64encode(thumbnail(clip)).decode()
    return ScoredClip(scorer(clip), picture, tuple(sorted(wanted_columns(work.recipe.filters))))


def _score_passing(work: Work, scorer: Scorer, video: str, number: int, window: tuple[float, float], clip: Any) -> bool:
    """Keep a clip's scores for `ScoreStage`, which does the rest; return whether more clips are wanted.

    Raises `OutputError`.
    """
    key, name = clip_key(video, window[0]), scores_name(video, number // CLIPS_PER_TASK)
    whole, own = f"{name}.json", f"{name}/{key}.json"
    kept = dict(work.scores.read_many((whole, own)))
    if key not in (parsed(kept[whole], whole) or {}) and parsed(kept[own], own) is None:
        limit = work.recipe.compute.timeout
        allow(limit)  # of a clip, not of a whole video
        try:
            scored = _scored(work, scorer, clip)
        except (PosegenError, RuntimeError):
            return True  # tried again by itself, and recorded
        finally:
            allow(WHOLE_VIDEO * limit)
        work.scores.write_json(own, as_kept(scored))
    return number + 1 < work.together


def _maker(work: Work) -> Any:
    from posegen.prepare.stages.samples import SampleMaker

    return SampleMaker(work.recipe, work.device)


def _encoder(work: Work) -> Any:
    from posegen.prepare.stages.latent_stage import LatentMaker

    return LatentMaker(work.needed_plan, work.samples, work.latents, work.device)
