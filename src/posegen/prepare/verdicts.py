"""Decides which clips are kept: judges scores, near-duplicates and manual answers, and draws the splits.

It reads results that the stages have kept, never a video, so thresholds can be changed at any time. Videos are ordered
by name, clips by time: nothing depends on which worker finished first.
"""

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from posegen.errors import logger
from posegen.prepare.answers import Answer
from posegen.prepare.duplicates import find_duplicates
from posegen.prepare.filters.clip_filters import judge, thresholds_of
from posegen.prepare.prepare_recipe import PrepareRecipe
from posegen.prepare.stages.messages import Failure, Look, MadeSample, ScoredClip, Window, result_or_failure
from posegen.prepare.stages.stage_work import Work, clip_key, scores_name, tasks_of
from posegen.prepare.store import parsed
from posegen.prepare.video_sources import Video

_UNSEEN = "was never looked through with these [clips]: run without --refilter"
_UNSCORED = "was never scored by these [filters]: run without --refilter"


@dataclass(frozen=True)
class CandidateClip:
    """A clip with its kept results; `key` is empty for a video without clips. `failed`: why it ends here."""

    video: Video
    look: Look | Failure
    key: str = ""
    window: Window | None = None
    scores: Mapping[str, float] | None = None
    thumbnail: str = ""
    failed: str = ""


@dataclass(frozen=True)
class Verdict:
    """Decision about a clip before its conditions are made."""

    kept: bool
    dropped_by: tuple[str, ...] = ()
    duplicate_of: str = ""


def read_clips(work: Work, videos: Iterable[Video]) -> Iterator[CandidateClip]:
    """Yield all clips in order, with the results of the stages; memory does not grow with their number."""
    by_name = {f"{video.id}.json": video for video in videos}
    for name, content in work.clips.read_many(by_name):
        video = by_name[name]
        look = result_or_failure(Look, parsed(content, name), name) or Failure(_UNSEEN)
        tasks = tasks_of(video, look)
        if not tasks:
            reason = look.failed if isinstance(look, Failure) else "no scene is long enough for a clip"
            yield CandidateClip(video, look, failed=reason)
        found = work.scores.read_many(f"{scores_name(video.id, task.number)}.json" for task in tasks)
        for task, (scores, kept) in zip(tasks, found, strict=True):
            rows = parsed(kept, scores) or {}
            for window in task.windows:
                key = clip_key(video.id, window.start)
                row = result_or_failure(ScoredClip, rows.get(key), scores) or Failure(_UNSCORED)
                if isinstance(row, Failure):
                    yield CandidateClip(video, look, key, window, failed=row.failed)
                else:
                    yield CandidateClip(video, look, key, window, row.scores, row.thumbnail)


class Judge:
    """Decides about clips one by one, and then, by `repeats`, which of those that pass repeat others."""

    def __init__(self, recipe: PrepareRecipe, answers: Mapping[str, Answer]) -> None:
        self._recipe, self._answers = recipe, answers
        self._thresholds = thresholds_of(recipe.filters)
        self.repeats: dict[str, str] = {}

    def __call__(self, clip: CandidateClip) -> Verdict:
        """Return the verdict. Raises `PosegenError` for a threshold without a score."""
        if clip.failed or clip.scores is None:
            return Verdict(False, ("error",))
        manual = self._answers[clip.key].keep if clip.key in self._answers else None
        if manual is not None:
            return Verdict(manual, () if manual else ("manual",))
        kept, names = judge(clip.scores, self._thresholds)
        if kept and clip.key in self.repeats:
            return Verdict(False, ("duplicate",), self.repeats[clip.key])
        return Verdict(kept, tuple(names))

    def tags(self, clip: CandidateClip) -> tuple[str, ...]:
        """Return the tags that people gave to a clip."""
        return self._answers[clip.key].tags if clip.key in self._answers else ()

    def compare(self, clips: Iterable[CandidateClip]) -> int:
        """Look for near-duplicates among the clips that pass, and return how many pass.

        The largest pictures are kept, then those whose names come first. After the filters, not before: of two copies
        of a clip, the one that passes is to be taken.
        """
        keys, hashes, sizes = [], [], []
        for clip in clips:
            if self(clip).kept and clip.window and isinstance(clip.look, Look):
                keys.append(clip.key)
                hashes.append(clip.window.hash)
                sizes.append(clip.look.width * clip.look.height)
        order = np.argsort(-np.array(sizes, np.int64), kind="stable")
        table = np.array(hashes, np.uint64).reshape(-1, 4)[order]
        found = find_duplicates(table, self._recipe.output.duplicate_bits)
        self.repeats = {keys[order[number]]: keys[order[other]] for number, other in found.items()}
        return len(keys) - len(found)


def draw_splits(keys: list[str], share: float) -> dict[str, str]:
    """Assign "train" or "val-same" to the clips of the data set, in order.

    Validation gets whole videos, drawn by their identifiers, while they fit into the share; the shortest one, if none
    fits. If all clips are of one video, its last ones are taken. Warns of that, and if the share is missed by far.
    """
    by_video: dict[str, list[str]] = {}
    for key in keys:
        by_video.setdefault(key.partition("-")[0], []).append(key)
    wanted = share * len(keys)
    validation: set[str] = set()
    if wanted and len(by_video) > 1:
        order = sorted(by_video, key=lambda name: hashlib.sha256(name.encode()).digest())
        for video in order:
            if len(validation) + len(by_video[video]) <= wanted:
                validation.update(by_video[video])
        if not validation:
            validation.update(by_video[min(order, key=lambda name: len(by_video[name]))])
        if not wanted / 2 <= len(validation) <= max(2 * wanted, 1):
            logger.warning(
                "validation takes %d of %d clips instead of %.1f: only whole videos are taken, so that training never "
                "sees them",
                len(validation),
                len(keys),
                wanted,
            )
    elif wanted and len(keys) > 1:
        logger.warning("all clips are of one video: validation is drawn from it, too, and will look better than it is")
        validation.update(keys[-max(1, round(wanted)) :])
    return {key: "val-same" if key in validation else "train" for key in keys}


def index_row(
    clip: CandidateClip,
    verdict: Verdict,
    made: MadeSample | Failure | None,
    place: tuple[str, str],
    tags: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return one row of the index.

    made: the result of the sample stage for a kept clip. place: split and shard of a packed one. tags: words that
    people gave it.
    """
    look = clip.look if isinstance(clip.look, Look) else None
    sample = made if isinstance(made, MadeSample) else None
    failed = clip.failed or (made.failed if isinstance(made, Failure) else "")
    kept = verdict.kept and sample is not None and not failed
    stage = "shard" if kept else "conditions" if verdict.kept else "filters"
    if verdict.duplicate_of:
        stage = "duplicates"
    if not clip.key:
        stage = "cuts" if look else "probe"
    return {
        "clip": clip.key,
        "source": clip.video.url,
        "source_id": clip.video.id,
        "start": clip.window.start if clip.window else None,
        "end": clip.window.end if clip.window else None,
        **{name: getattr(look, name, None) for name in ("width", "height", "fps", "rotation", "hdr")},
        "kept": kept,
        "stage": stage,
        "dropped_by": list(verdict.dropped_by) if not verdict.kept else [] if kept else ["error"],
        "reason": failed,
        "duplicate_of": verdict.duplicate_of,
        "split": place[0] if kept else "",
        "shard": place[1] if kept else "",
        "caption": sample.caption if kept and sample else "",
        "tags": list(tags),
        "thumbnail": clip.thumbnail,
        "preview": None,
        **(clip.scores or {}),
    }


def settings_of(work: Work) -> dict[str, Any]:
    """Return the recipe as the shards' index and the Parquet file hold it."""
    recipe = dataclasses.asdict(work.recipe)
    recipe["clips"] = work.recipe.clips.as_kept()
    del recipe["compute"], recipe["latents"]  # the shards are the same
    return dict(json.loads(json.dumps(recipe, default=str)))
