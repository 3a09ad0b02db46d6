"""The stages that run on workers: look through a video, score its clips, make samples; each keeps what it has done.

Only names and small records travel between them. What is done with a clip happens in an isolated process; a clip that
ends it is tried again, then recorded. Everything kept is under the data set's `work/`, written whole or not at all:
`work/clips-X/VIDEO.json`, `work/scores-X/VIDEO-N.json` (until it is complete, one file for each of its clips beside
it), `work/samples-X/CLIP.tar` with `CLIP.json`, and what `latent_stage.py` says; X is the fingerprint of what it
depends on.
"""

import base64
import contextlib
import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from posegen.errors import OutputError, PosegenError
from posegen.media.checksums import checked_json
from posegen.prepare.cores import one_core
from posegen.prepare.filters.clip_filters import wanted_columns
from posegen.prepare.isolated import CrashError, Isolated, SetupError, UnreachableWorkerError, allow
from posegen.prepare.prepare_recipe import LatentPlan, PrepareRecipe
from posegen.prepare.required_weights import WeightSizes
from posegen.prepare.store import Store, parsed, take_damaged
from posegen.prepare.video_sources import Video, local_copy

Row = dict[str, Any]
"""What travels: {"task": ..., "result": ...} as JSON texts, or {"fatal": ...} that stops the run."""
Scorer = Callable[[Any], dict[str, float]]
CLIPS_PER_TASK = 16
"""Clips of one video that a worker takes at a time; names of what is kept hang on it."""
_WHOLE_VIDEO = 10
"""A whole video may take this many times as long as a clip."""


@dataclass(frozen=True)
class Work:
    """What every stage needs to know; picklable."""

    recipe: PrepareRecipe
    output: Store
    make_scorer: Callable[[PrepareRecipe, str], Scorer]
    device: str = "cpu"
    plan: LatentPlan | None = None
    """What is encoded for a training, if anything."""
    weights: WeightSizes = field(default_factory=WeightSizes)
    """Of the models of filters and conditions."""
    together: int = 0
    """Clips of each video that are scored while it is looked through, which decodes them once instead of twice."""

    @property
    def clips(self) -> Store:
        """What is found in videos."""
        return self.output / f"work/clips-{self.recipe.fingerprint('clips')}"

    @property
    def scores(self) -> Store:
        """What filters say of clips."""
        return self.output / f"work/scores-{self.recipe.fingerprint('scores')}"

    @property
    def samples(self) -> Store:
        """Finished samples."""
        return self.output / f"work/samples-{self.recipe.fingerprint('samples')}"

    @property
    def latents(self) -> Store:
        """Encoded clips."""
        content = json.dumps([self.recipe.fingerprint("samples"), dataclasses.asdict(self.plan)], sort_keys=True)  # type: ignore[arg-type]
        return self.output / f"work/latents-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def clip_key(video: str, start: float) -> str:
    """A clip's name: its video's identifier, and where it begins in milliseconds."""
    return f"{video}-{round(1000 * start):09d}"


def scores_name(video: str, number: int) -> str:
    """What the scores of one task's clips are called."""
    return f"{video}-{number:05d}"


def default_scorer(recipe: PrepareRecipe, device: str) -> Scorer:
    """The recipe's filters."""
    from posegen.prepare.filters.clip_filters import make_scorer

    return make_scorer(recipe.filters, device)


def tasks_of(video: Video, look: Row) -> list[Row]:
    """What is to be scored of a video: a few clips at a time."""
    windows = look.get("windows", [])
    return [
        {"url": video.url, "state": video.state, "number": number, "windows": windows[at : at + CLIPS_PER_TASK]}
        for number, at in enumerate(range(0, len(windows), CLIPS_PER_TASK))
    ]


class ClipStage:
    """What the stages share: an isolated process, attempts, and errors that stop the run."""

    models: Literal["none", "scorer", "maker", "encoder"] = "none"
    """What the process loads when it starts."""

    def __init__(self, work: Work) -> None:
        self.work = work
        compute = work.recipe.compute
        # loaded in float32, they take twice what bfloat16 takes on the disk
        memory = compute.memory_gb * 1e9 + 2 * self.weights_bytes(work)
        self._child = Isolated(functools.partial(make_in_worker, work, self.models), compute.timeout, memory)

    def __call__(self, row: Row) -> Row:
        """One task; what cannot be written, or concerns every clip, stops the run; anything else is recorded."""
        if row.get("fatal"):  # of the stage before
            return row
        try:
            result = self.run(json.loads(row["task"]))
            if damaged := take_damaged():
                result = {**result, "damaged": damaged}
            return {"task": row["task"], "result": json.dumps(result)}
        except (OutputError, SetupError) as error:
            return {"task": row["task"], "fatal": str(error)}

    def run(self, task: Row) -> Any:
        """The stage itself."""
        raise NotImplementedError

    def weights_bytes(self, work: Work) -> int:
        """Bytes on the disk of a stage's models."""
        return 0

    def isolated(self, *call: Any, whole_video: bool = False) -> Row:
        """The result of a call, or {"failed": reason}, with "again" where the next run is to try it again.

        "limits" are those that a clip ran into: a run with higher ones tries it again. Raises `OutputError`,
        `SetupError`.
        """
        reason = ""
        for _ in range(self.work.recipe.compute.attempts):
            try:
                return dict(self._child(call, _WHOLE_VIDEO if whole_video else 1))
            except (OutputError, SetupError):
                raise
            except CrashError as error:
                reason = f"{error}, {self.work.recipe.compute.attempts} times"
            except UnreachableWorkerError as error:
                return {"failed": str(error), "again": True}
            except PosegenError as error:
                return {"failed": str(error)}
            except RuntimeError as error:  # a defect, or no memory on a GPU: not known to be the clip's fault
                return {"failed": "unexpected: " + str(error).strip().splitlines()[-1], "again": True}
        return {"failed": reason, "limits": self._limits()}

    def is_open(self, found: Row | None) -> bool:
        """Whether something is still to be done: nothing is kept of it, or a failure that is to be tried again."""
        if found is None or found.get("again"):
            return True
        before = found.get("limits", {})
        return any(limit > before.get(name, limit) for name, limit in self._limits().items())

    def _limits(self) -> dict[str, float]:
        """Of the recipe: what a clip may run into."""
        compute = self.work.recipe.compute
        return {"timeout": float(compute.timeout), "memory_gb": float(compute.memory_gb)}

    def video(self, task: Row) -> Video:
        """The task's video."""
        return Video(task["url"], task["state"])

    def close(self) -> None:
        """End the process."""
        self._child.close()


class LookStage(ClipStage):
    """Videos -> their clips, and where the work says so their scores."""

    def weights_bytes(self, work: Work) -> int:
        """Those of the filters, if they run."""
        return work.weights.scoring if work.together else 0

    def run(self, task: Row) -> Row:
        """What is in a video: see `scenes.Look`; or {"failed": reason}."""
        video, store = self.video(task), self.work.clips
        kept: Row | None = parsed(store.read(f"{video.id}.json"), store.path(f"{video.id}.json"))
        if kept is not None and not self.is_open(kept):
            return kept
        with _Fetched(video, self.work) as (path, reason):
            if path is None:
                found = {"failed": reason, "again": True}
            else:
                found = _without_path(self._look(path, video), path, video)
        store.write(f"{video.id}.json", checked_json(found, indent=None))
        return found

    def _look(self, path: Path, video: Video) -> Row:
        if self.work.together:
            try:
                return dict(self._child(("look and score", path, video.id), _WHOLE_VIDEO))
            except (OutputError, SetupError):
                raise
            except (PosegenError, RuntimeError):
                """Perhaps the fault of a single clip: `ScoreStage` finds out which."""
        return self.isolated("look", path, whole_video=True)


class ScoreStage(ClipStage):
    """Clips -> scores and thumbnails."""

    models = "scorer"

    def weights_bytes(self, work: Work) -> int:
        """Those of the filters."""
        return work.weights.scoring

    def run(self, task: Row) -> Row:
        """How many there are now; each has {"scores", "thumbnail"} or {"failed"}, and "asked": what is judged by."""
        video, store = self.video(task), self.work.scores
        name = scores_name(video.id, task["number"])
        rows: dict[str, Row] = parsed(store.read(f"{name}.json"), store.path(f"{name}.json")) or {}
        waiting = [(clip_key(video.id, window["start"]), window) for window in task["windows"]]
        waiting = [(key, window) for key, window in waiting if not self._is_scored(rows.get(key))]
        if not waiting:
            return {"clips": len(rows)}
        for key, content in store.read_many(f"{name}/{key}.json" for key, _ in waiting):
            row = parsed(content, store.path(key))
            if row is not None:
                rows[Path(key).stem] = row
        asked = sorted(wanted_columns(self.work.recipe.filters))
        with _Fetched(video, self.work) as (path, reason):
            for key, window in waiting:
                before = rows.get(key)
                if self._is_scored(before):
                    continue
                if path is None:
                    rows[key] = {"failed": reason, "again": True}
                    continue
                found = self.isolated("score", path, window["start"], window["end"])
                rows[key] = _without_path(found, path, video) | {"asked": asked}
                if before and "scores" in before and "scores" in found:  # of filters that are skipped now
                    rows[key]["scores"] = before["scores"] | found["scores"]
                    rows[key]["asked"] = sorted({*before["asked"], *asked})
                store.write(f"{name}/{key}.json", checked_json(rows[key], indent=None))
        store.write(f"{name}.json", checked_json(rows, indent=None))
        for key in rows:
            store.delete(f"{name}/{key}.json")
        return {"clips": len(rows)}

    def _is_scored(self, row: Row | None) -> bool:
        """Whether nothing is to be done for a clip: all was measured that it is judged by."""
        if row is None or self.is_open(row):
            return False
        wanted, asked = wanted_columns(self.work.recipe.filters), set(row["asked"])
        return wanted == asked if "failed" in row else wanted <= asked  # another filter may not fail


class SampleStage(ClipStage):
    """Clips that are kept -> samples."""

    models = "maker"

    def weights_bytes(self, work: Work) -> int:
        """Those of pose, hands and words."""
        return work.weights.sampling

    def run(self, task: Row) -> Row:
        """How many there are now; each has `CLIP.json` {"sha256", "caption"} or {"failed"}."""
        video, store = self.video(task), self.work.samples
        keys = [clip_key(video.id, window["start"]) for window in task["windows"]]
        waiting = [
            window
            for window, (name, kept) in zip(
                task["windows"], store.read_many(f"{key}.json" for key in keys), strict=True
            )
            if self.is_open(parsed(kept, store.path(name)))
        ]
        if not waiting:
            return {"clips": len(keys)}
        with _Fetched(video, self.work) as (path, reason):
            for window in waiting:
                key = clip_key(video.id, window["start"])
                if path is None:
                    made: Row = {"failed": reason, "again": True}
                else:
                    made = self.isolated("sample", path, key, video.url, window["start"], window["end"])
                    made = _without_path(made, path, video)
                store.write(f"{key}.json", checked_json(made, indent=None))
        return {"clips": len(keys)}


class LatentStage(ClipStage):
    """Clips of a shard -> the files that training would encode them into."""

    models = "encoder"

    def weights_bytes(self, work: Work) -> int:
        """Encoders and autoencoder."""
        assert work.plan is not None
        return work.plan.weights_bytes

    def run(self, task: Row) -> Row:
        """How many clips there are, and why some are left out. task: see `packing.shard_tasks`, with "sha256"."""
        from posegen.prepare.stages.latent_stage import put_together

        work = self.work
        assert work.plan is not None
        store, made, reasons = work.latents, {}, {}
        hashes = dict(zip(task["keys"], task["hashes"], strict=True))
        for name, content in store.read_many(f"{key}.json" for key in hashes):
            key = Path(name).stem
            notes = parsed(content, store.path(name))
            if notes is None or notes["sample"] != hashes[key]:
                notes = self.isolated("latents", key, hashes[key], whole_video=True)  # there may be several encodings
                if "failed" in notes:  # not kept: it may do next time
                    reasons[key] = notes["failed"]
                    notes = None
                else:
                    store.write(f"{key}.json", checked_json(notes, indent=None))
            made[key] = notes
        if len(reasons) < len(made):
            put_together(work.plan, store, work.output, task["sha256"], made)
        return {"clips": len(made), "failed": reasons}


class _Fetched:
    """`local_copy` that says why there is none instead of raising."""

    def __init__(self, video: Video, work: Work) -> None:
        self._copy: Any = local_copy(video, work.recipe.compute.scratch_gb * 1e9)

    def __enter__(self) -> tuple[Path | None, str]:
        try:
            return self._copy.__enter__(), ""
        except OutputError:
            raise
        except PosegenError as error:
            self._copy = None
            return None, str(error)

    def __exit__(self, *error: Any) -> None:
        if self._copy is not None:
            self._copy.__exit__(*error)


def _without_path(found: Row, path: Path, video: Video) -> Row:
    """Reasons name the video, not a temporary copy of it."""
    if "failed" in found:
        found = found | {"failed": found["failed"].replace(f"{path}: ", "").replace(str(path), video.url)}
    return found


def make_in_worker(work: Work, models: str = "none") -> Callable[[tuple[Any, ...]], Row]:
    """The functions, each call on a core of its own; a GPU's few workers may use all. `models`: see `ClipStage`."""
    call = make_functions(work)

    def call_on_one_core(arguments: tuple[Any, ...]) -> Row:
        with one_core() if work.device == "cpu" else contextlib.nullcontext():
            return call(arguments)

    call_on_one_core(("load", models))
    return call_on_one_core


def make_functions(work: Work) -> Callable[[tuple[Any, ...]], Row]:
    """What runs in isolated processes: a call's name and arguments -> its result; models are loaded once."""
    import cv2

    cv2.setNumThreads(1)  # workers share the cores among themselves
    scorer = functools.cache(lambda: work.make_scorer(work.recipe, work.device))
    maker = functools.cache(lambda: _maker(work))
    encoder = functools.cache(lambda: _encoder(work))
    loaders: dict[str, Callable[[], Any]] = {"scorer": scorer, "maker": maker, "encoder": encoder}

    def call(arguments: tuple[Any, ...]) -> Row:
        match arguments:
            case ("load", models):
                if models in loaders:
                    loaders[models]()
                return {}
            case ("look", path):
                from posegen.prepare.stages.scenes import look_through

                return dataclasses.asdict(look_through(path, work.recipe.clips))
            case ("score", path, start, end):
                from posegen.prepare.filters.sampled_frames import sample_clip

                return _scored(scorer(), sample_clip(path, start, end))
            case ("look and score", path, video):
                from posegen.prepare.stages.scenes import look_through

                visit = functools.partial(_score_passing, work, scorer(), video)
                return dataclasses.asdict(look_through(path, work.recipe.clips, visit))
            case ("sample", path, key, url, start, end):
                made = maker().make(path, key, url, start, end)
                work.samples.write(f"{key}.tar", made.content)
                return {"sha256": made.sha256, "caption": made.caption}
            case ("latents", key, sha256):
                return dict(encoder().make(key, sha256))
        raise AssertionError(arguments[0])

    return call


def _scored(scorer: Scorer, clip: Any) -> Row:
    from posegen.prepare.filters.sampled_frames import thumbnail

    return {"scores": scorer(clip), "thumbnail": base64.b64encode(thumbnail(clip)).decode()}


def _score_passing(work: Work, scorer: Scorer, video: str, number: int, window: tuple[float, float], clip: Any) -> bool:
    """Keep a clip's scores for `ScoreStage`, which does what is left; whether more clips are wanted.

    Raises `OutputError`.
    """
    key, name = clip_key(video, window[0]), scores_name(video, number // CLIPS_PER_TASK)
    whole, own = f"{name}.json", f"{name}/{key}.json"
    kept = dict(work.scores.read_many((whole, own)))
    if key not in (parsed(kept[whole], whole) or {}) and parsed(kept[own], own) is None:
        limit = work.recipe.compute.timeout
        allow(limit)  # of a clip, not of a whole video
        try:
            row = _scored(scorer, clip) | {"asked": sorted(wanted_columns(work.recipe.filters))}
        except (PosegenError, RuntimeError):
            return True  # tried again by itself, and recorded
        finally:
            allow(_WHOLE_VIDEO * limit)
        work.scores.write(own, checked_json(row, indent=None))
    return number + 1 < work.together


def _maker(work: Work) -> Any:
    from posegen.prepare.stages.samples import SampleMaker

    return SampleMaker(work.recipe, work.device)


def _encoder(work: Work) -> Any:
    from posegen.prepare.stages.latent_stage import LatentMaker

    assert work.plan is not None
    return LatentMaker(work.plan, work.samples, work.latents, work.device)


def run_here(stage: type[ClipStage], work: Work, tasks: Iterator[Row]) -> Iterator[Row]:
    """The tasks one after the other, in this process: for tests and measurements."""
    worker = stage(work)
    try:
        for task in tasks:
            yield worker({"task": json.dumps(task)})
    finally:
        worker.close()
