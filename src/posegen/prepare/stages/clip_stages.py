"""The stages that run on workers: look through a video, score its clips, make samples, encode them.

Each first looks at what is kept of its task, and keeps what it has done (`stage_work.py` names the files). A failure
is kept too, so that a clip that cannot be used is not tried in every run.
"""

from dataclasses import replace
from pathlib import Path

from posegen.errors import OutputError, PosegenError
from posegen.prepare.filters.clip_filters import wanted_columns
from posegen.prepare.isolated import SetupError
from posegen.prepare.stages.clip_stage import ClipStage, FetchedVideo, without_path
from posegen.prepare.stages.messages import (
    ClipsDone,
    ClipsTask,
    EncodeClip,
    EncodedClip,
    Failure,
    Look,
    LookAndScore,
    LookThrough,
    MadeSample,
    MakeSample,
    ScoreClip,
    ScoredClip,
    ShardTask,
    VideoTask,
    as_kept,
    result_or_failure,
)
from posegen.prepare.stages.stage_work import Work, clip_key, scores_name
from posegen.prepare.store import parsed
from posegen.prepare.video_sources import Video


class LookStage(ClipStage):
    """Videos -> their clips, and with `Work.together` also scores of their first clips."""

    def weights_bytes(self, work: Work) -> int:
        """Return the bytes of the filters' models, if they run."""
        return work.weights.scoring if work.together else 0

    def run(self, task: VideoTask) -> Look | Failure:
        """Find the clips of a video."""
        video, store, name = task.video, self.work.clips, f"{task.video.id}.json"
        kept = result_or_failure(Look, parsed(store.read(name), store.path(name)), store.path(name))
        if kept is not None and not self.is_open(kept):
            return kept
        with FetchedVideo(video, self.work) as path:
            found = path if isinstance(path, Failure) else without_path(self._look(path, video), path, video)
        store.write_json(name, as_kept(found))
        return found

    def _look(self, path: Path, video: Video) -> Look | Failure:
        if self.work.together:
            try:
                return self.call(LookAndScore(path, video.id), whole_video=True)
            except (OutputError, SetupError):
                raise
            except (PosegenError, RuntimeError):
                """Perhaps the fault of a single clip: `ScoreStage` finds out which."""
        return self.isolated(LookThrough(path), whole_video=True)


class ScoreStage(ClipStage):
    """Clips -> scores and thumbnails."""

    models = "scorer"

    def weights_bytes(self, work: Work) -> int:
        """Return the bytes of the filters' models."""
        return work.weights.scoring

    def run(self, task: ClipsTask) -> ClipsDone:
        """Score the clips of a task that are not scored yet, and keep the scores of all in one file."""
        video, store = task.video, self.work.scores
        name = scores_name(video.id, task.number)
        whole = store.path(f"{name}.json")
        content = parsed(store.read(f"{name}.json"), whole) or {}
        kept_rows = {key: result_or_failure(ScoredClip, row, whole) for key, row in content.items()}
        rows = {key: row for key, row in kept_rows.items() if row is not None}
        waiting = [(clip_key(video.id, window.start), window) for window in task.windows]
        waiting = [(key, window) for key, window in waiting if not self._is_scored(rows.get(key))]
        if not waiting:
            return ClipsDone(len(rows))
        for path_of_one, one in store.read_many(f"{name}/{key}.json" for key, _ in waiting):
            key = Path(path_of_one).stem
            row = result_or_failure(ScoredClip, parsed(one, store.path(path_of_one)), store.path(path_of_one))
            if row is not None:
                rows[key] = row
        with FetchedVideo(video, self.work) as path:
            for key, window in waiting:
                before = rows.get(key)
                if self._is_scored(before):
                    continue
                if isinstance(path, Failure):
                    rows[key] = path
                    continue
                found = self.isolated(ScoreClip(path, window.start, window.end))
                rows[key] = row = self._joined(before, without_path(found, path, video))
                store.write_json(f"{name}/{key}.json", as_kept(row))
        kept = {key: as_kept(row) for key, row in rows.items()}
        store.write_json(f"{name}.json", kept)
        for key in rows:
            store.delete(f"{name}/{key}.json")
        return ClipsDone(len(rows))

    def _joined(self, before: ScoredClip | Failure | None, found: ScoredClip | Failure) -> ScoredClip | Failure:
        """Return what is kept of a clip: new scores beside those of filters that are skipped now."""
        if isinstance(found, Failure):
            return replace(found, asked=tuple(sorted(wanted_columns(self.work.recipe.filters))))
        if isinstance(before, ScoredClip):
            asked = tuple(sorted({*before.asked, *found.asked}))
            return replace(found, scores={**before.scores, **found.scores}, asked=asked)
        return found

    def _is_scored(self, row: ScoredClip | Failure | None) -> bool:
        """Return whether nothing is to be done for a clip: everything was measured that it is judged by."""
        if row is None or self.is_open(row):
            return False
        wanted, asked = wanted_columns(self.work.recipe.filters), set(row.asked or ())
        return wanted == asked if isinstance(row, Failure) else wanted <= asked  # another filter may not fail


class SampleStage(ClipStage):
    """Clips that are kept -> samples."""

    models = "maker"

    def weights_bytes(self, work: Work) -> int:
        """Return the bytes of the models of pose, hands and captions."""
        return work.weights.sampling

    def run(self, task: ClipsTask) -> ClipsDone:
        """Make the samples of a task's clips that are not there yet: `CLIP.tar` and `CLIP.json`."""
        video, store = task.video, self.work.samples
        keys = [clip_key(video.id, window.start) for window in task.windows]
        kept = store.read_many(f"{key}.json" for key in keys)
        waiting = [
            (key, window)
            for key, window, (name, content) in zip(keys, task.windows, kept, strict=True)
            if self.is_open(result_or_failure(MadeSample, parsed(content, store.path(name)), store.path(name)))
        ]
        if not waiting:
            return ClipsDone(len(keys))
        with FetchedVideo(video, self.work) as path:
            for key, window in waiting:
                made: MadeSample | Failure
                if isinstance(path, Failure):
                    made = path
                else:
                    call = MakeSample(path, key, video.url, window.start, window.end)
                    sample = self.isolated(call)
                    made = without_path(sample, path, video)
                store.write_json(f"{key}.json", as_kept(made))
        return ClipsDone(len(keys))


class LatentStage(ClipStage):
    """Clips of a shard -> the files that training would encode them into."""

    models = "encoder"

    def weights_bytes(self, work: Work) -> int:
        """Return the bytes of encoders and autoencoder."""
        return work.needed_plan.weights_bytes

    def run(self, task: ShardTask) -> ClipsDone:
        """Encode the clips of a packed shard that are not encoded yet, and assemble the shard's files."""
        from posegen.prepare.stages.latent_stage import assemble_files

        work, store = self.work, self.work.latents
        made: dict[str, EncodedClip | None] = {}
        reasons: dict[str, str] = {}
        hashes = dict(zip(task.keys, task.hashes, strict=True))
        for name, content in store.read_many(f"{key}.json" for key in hashes):
            key = Path(name).stem
            encoded = result_or_failure(EncodedClip, parsed(content, store.path(name)), store.path(name))
            if not isinstance(encoded, EncodedClip) or encoded.sample != hashes[key]:
                # whole_video: there may be several encodings
                encoded = self.isolated(EncodeClip(key, hashes[key]), whole_video=True)
                if isinstance(encoded, Failure):  # not kept: it may succeed next time
                    made[key], reasons[key] = None, encoded.failed
                    continue
                store.write_json(f"{key}.json", as_kept(encoded))
            made[key] = encoded
        if len(reasons) < len(made):
            assemble_files(work.needed_plan, store, work.output, task.sha256, made)
        return ClipsDone(len(made), reasons)
