"""Runs `posegen prepare`: raw video -> shards and an index.

Find videos; look through them and score their clips; judge, and drop near-duplicates; make samples of kept clips;
draw the splits, pack shards, write the index; encode clips for a training. A run that was killed resumes: every stage
looks for kept results first.
"""

import contextlib
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import groupby, islice
from pathlib import Path
from typing import Any

import filelock

from posegen.data.shards import tolerate
from posegen.errors import OutputError, PosegenError, logger
from posegen.media.files import output_errors
from posegen.prepare.answers import FILE, read_answers
from posegen.prepare.engine import Engine
from posegen.prepare.prepare_recipe import LatentPlan, PrepareRecipe
from posegen.prepare.required_weights import measure_weights
from posegen.prepare.stages.clip_stages import LatentStage, LookStage, SampleStage, ScoreStage
from posegen.prepare.stages.messages import (
    ClipsDone,
    ClipsTask,
    Failure,
    Look,
    MadeSample,
    ShardEntry,
    ShardTask,
    VideoTask,
    result_or_failure,
)
from posegen.prepare.stages.packing import (
    INDEX,
    PackStage,
    check_shards,
    close_packing,
    open_packing,
    shard_tasks,
    shards_in,
    write_index,
)
from posegen.prepare.stages.stage_work import CLIPS_PER_TASK, Work, default_scorer, tasks_of
from posegen.prepare.store import Store, parsed, take_damaged
from posegen.prepare.verdicts import Judge, draw_splits, index_row, read_clips
from posegen.prepare.video_sources import Video, find_videos
from posegen.progress import NullProgress, Progress

_VIDEOS = "work/videos.json"
_TASKS_TOGETHER = 16
"""Maximum number of scoring tasks of one video that are done while it is looked through."""


@dataclass(frozen=True)
class Outcome:
    """Result of a run: counts, and the path of the index."""

    index: str
    videos: int
    clips: int
    passed: int
    kept: int
    hours: float
    bad: dict[str, str]
    """Videos that could not be used, and why."""


def prepare_data(
    inputs: Iterable[str],
    output: str,
    recipe: PrepareRecipe,
    address: str | None = None,
    refilter: bool = False,
    progress: Progress | None = None,
    plan: LatentPlan | None = None,
) -> Outcome:
    """Make a data set in `output`, a folder or URL; the same call again resumes, or finds everything done.

    inputs: files, folders, patterns, lists and URLs, see `video_sources.find_videos`; may be empty with `refilter`.
    address: of a Ray cluster; None for this machine. refilter: only make the verdicts anew, from kept scores.
    plan: encodings made for a training, if any.

    Raises `PosegenError` for inputs or weights that are missing, for an output with other shards, and if no clip is
    kept; `OutputError` where the output cannot be written.
    """
    progress = progress or NullProgress()
    store = Store(output)
    weights = measure_weights(recipe, scoring=not refilter)
    videos = _kept_videos(store) if refilter and not list(inputs) else find_videos(inputs)
    check_shards(store)
    tell_of_missing(store, videos)
    with _alone(store), Engine(address, recipe.compute.workers) as engine:
        work = Work(recipe, store, default_scorer, engine.device, plan, weights)
        store.write_json(_VIDEOS, {"videos": [[video.url, video.state] for video in videos]})
        if not refilter:
            _find_and_score(engine, work, videos, progress)
        judge = Judge(recipe, read_answers(store.read(FILE)))
        progress.update("judging", 0, 1)
        passed = judge.compare(read_clips(work, videos))
        progress.update("judging", 1, 1)
        samples = engine.run(work, SampleStage, list(_sample_tasks(work, videos, judge)), True)
        for _ in _counted(samples, progress, "conditions and captions", passed):
            pass
        return _write(engine, work, videos, judge, passed, progress)


def _find_and_score(engine: Engine, work: Work, videos: list[Video], progress: Progress) -> None:
    if engine.gpus:
        for _ in _counted(engine.look_and_score(work, videos), progress, "clips scored", 0):
            pass
        return
    work = replace(work, together=clips_together(len(videos), engine.cpus))
    looked = engine.run(work, LookStage, [VideoTask(video) for video in videos], work.together > 0)
    shown = "videos looked through and scored" if work.together else "videos looked through"
    for done, _ in enumerate(looked, start=1):
        progress.update(shown, done, len(videos))
    tasks: list[ClipsTask] = []
    names = {f"{video.id}.json": video for video in videos}
    for name, content in work.clips.read_many(names):
        look = result_or_failure(Look, parsed(content, name), name)
        tasks += tasks_of(names[name], look) if look else []
    total = sum(len(task.windows) for task in tasks)
    for _ in _counted(engine.run(work, ScoreStage, tasks, True), progress, "clips scored", total):
        pass


def clips_together(videos: int, workers: int) -> int:
    """Return the number of clips of each video that are scored while it is looked through.

    The fewer videos there are for each worker, the longer the others would wait for the one with a long video: its
    remaining clips are scored by all of them.
    """
    return CLIPS_PER_TASK * min(_TASKS_TOGETHER, videos // workers)


def _counted(results: Iterator[ClipsDone], progress: Progress, name: str, total: int) -> Iterator[ClipsDone]:
    done = 0
    for result in results:
        done += result.clips
        progress.update(name, done, max(done, total))
        yield result


def _sample_tasks(work: Work, videos: list[Video], judge: Judge) -> Iterator[ClipsTask]:
    """Yield the clips that pass, a few of one video at a time."""
    passed = (clip for clip in read_clips(work, videos) if judge(clip).kept)
    for video, clips in groupby(passed, key=lambda clip: clip.video):
        windows = (clip.window for clip in clips if clip.window)
        while few := tuple(islice(windows, CLIPS_PER_TASK)):
            yield ClipsTask(video, few)


def _write(engine: Engine, work: Work, videos: list[Video], judge: Judge, passed: int, progress: Progress) -> Outcome:
    """Write shards and index. Raises `PosegenError` if no clip is kept, and leaves an earlier data set unchanged."""
    sizes = {
        clip.key: work.recipe.clips.size_for((clip.look.height, clip.look.width))
        for clip in read_clips(work, videos)
        if judge(clip).kept and isinstance(clip.look, Look)
    }
    made: dict[str, MadeSample | Failure | None] = {
        Path(name).stem: result_or_failure(MadeSample, parsed(content, name), name)
        for name, content in work.samples.read_many(f"{key}.json" for key in sizes)
    }
    samples = {key: sample.sha256 for key, sample in made.items() if isinstance(sample, MadeSample)}
    splits = draw_splits(list(samples), work.recipe.output.validation)
    tasks = shard_tasks(samples, splits, work.recipe.output.clips_per_shard, sizes)
    shard_of = {key: task.shard for task in tasks for key in task.keys}
    columns = sorted({name for clip in read_clips(work, videos) for name in clip.scores or ()})
    counts: dict[str, int] = {"clips": 0, "kept": 0}
    bad: dict[str, str] = {}
    dropped: Counter[str] = Counter()

    def rows() -> Iterator[dict[str, Any]]:
        for clip in read_clips(work, videos):
            place = (splits.get(clip.key, ""), shard_of.get(clip.key, ""))
            row = index_row(clip, judge(clip), made.get(clip.key), place, judge.tags(clip))
            counts["clips"] += bool(clip.key)
            counts["kept"] += row["kept"]
            dropped.update([row["reason"]] if row["reason"] else row["dropped_by"])
            if not clip.key:
                bad[clip.video.url] = clip.failed
            yield row

    if not tasks:
        if not shards_in(work.output):
            write_index(work, rows(), columns)
            hint = f"{work.output.path(INDEX)} tells more"
        else:
            deque(rows(), maxlen=0)
            hint = f"what {work.output.url} holds is left as it is"
        reasons = "; ".join(f"{reason} ({count})" for reason, count in dropped.most_common(3))
        raise PosegenError(f"none of {counts['clips']} clips of {len(videos)} videos is kept: {reasons}; {hint}")
    open_packing(work, tasks)
    entries: list[ShardEntry] = []
    for entry in engine.run(work, PackStage, tasks, False):
        entries.append(entry)
        progress.update("shards", len(entries), len(tasks))
    write_index(work, rows(), columns)
    close_packing(work, entries)
    if work.plan is not None:
        _encode(engine, work, tasks, {entry.file: entry.sha256 for entry in entries}, progress)
    hours = counts["kept"] * work.recipe.clips.seconds / 3600
    return Outcome(work.output.path(INDEX), len(videos), counts["clips"], passed, counts["kept"], hours, bad)


def _encode(engine: Engine, work: Work, tasks: list[ShardTask], hashes: dict[str, str], progress: Progress) -> None:
    """Encode the shards (file -> SHA-256) for the training of the plan."""
    total = sum(len(task.keys) for task in tasks)
    ready = [replace(task, sha256=hashes[task.shard]) for task in tasks]
    failed: dict[str, str] = {}
    for result in _counted(engine.run(work, LatentStage, ready, True), progress, "clips encoded", total):
        failed |= result.failed
    tolerate(list(failed), total, "clips", f"they cannot be encoded ({next(iter(failed.values()), '')})")


def tell_of_missing(store: Store, videos: list[Video]) -> None:
    """Warn of videos of the last run that are no longer among the inputs."""
    kept = parsed(store.read(_VIDEOS), store.path(_VIDEOS)) or {}
    before, urls = kept.get("videos", []), {video.url for video in videos}
    gone = [url for url, _ in before if url not in urls]
    if gone:
        logger.warning(
            "videos of the run before are not among these inputs (%s, %d in all): their clips leave the data set",
            gone[0],
            len(gone),
        )


def _kept_videos(store: Store) -> list[Video]:
    kept = parsed(store.read(_VIDEOS), store.path(_VIDEOS))
    if kept is None:
        damaged = "".join(f" ({line})" for line in take_damaged())
        raise PosegenError(
            f"{store.url}: there is nothing to filter again{damaged}; run `posegen prepare` with inputs first"
        )
    return [Video(url, state) for url, state in kept["videos"]]


@contextlib.contextmanager
def _alone(store: Store) -> Iterator[None]:
    """Refuse a second run at the same time in a local folder."""
    if not store.is_local:
        yield
        return
    folder = Path(store.url)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(folder / ".prepare.lock", timeout=0)
        try:
            lock.acquire()
        except filelock.Timeout:
            raise OutputError(f"another run writes to {folder}: wait for it, or choose another folder") from None
    try:
        yield
    finally:
        lock.release()
