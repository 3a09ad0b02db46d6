"""Runs metrics over videos: frames are decoded once, ahead of the metrics, a few at a time; scores are kept by content.

A score is found again if the bytes of the videos, the metric (with its weights) and the protocol are the same, whatever
files are called. Tables are made by `score_tables.py`'s concern.
"""

import dataclasses
import hashlib
import io
import itertools
import json
import os
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from posegen.conditions.estimators.interfaces import PoseEstimator
from posegen.conditions.keypoints import PersonPose, PoseSequence, empty_hands
from posegen.conditions.tracking import shoulders_seen
from posegen.digests import content_digest
from posegen.errors import PosegenError, logger
from posegen.evaluate.benchmark_file import BenchmarkClip
from posegen.evaluate.footage import Footage
from posegen.evaluate.matching import Result
from posegen.evaluate.metrics.frechet import FeatureSet
from posegen.evaluate.metrics.metric import ClipInputs, ClipScores, Metric
from posegen.evaluate.protocols import Protocol
from posegen.media.checksums import forget_checksum, state_of, write_checked, write_checksum
from posegen.media.data_files import parse_json, read_npz
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image
from posegen.media.read_ahead import read_ahead

TRUTH = "truth"
"""Name of the ground truth where it is scored like a method."""
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)
"""Errors that numpy raises for a damaged archive."""
_PIXELS_AT_ONCE = 4_000_000
_FITTED_AS = "central part, other sizes resized"
"""Version of the way in which frames are brought to a protocol's size: part of the scores' key."""


@dataclass(frozen=True)
class Batch:
    """Some frames in a row: as they are, and as the protocol compares them."""

    native: np.ndarray
    fitted: np.ndarray


class Scoring:
    """Scores videos under one protocol, with one cache and one pose estimator (None: people are not looked for)."""

    def __init__(self, rules: Protocol, cache: Path, estimator: PoseEstimator | None) -> None:
        self.rules, self.cache, self.estimator = rules, cache, estimator
        self.found_again = 0
        self._threads = ThreadPoolExecutor(os.cpu_count() or 1)

    def score(self, result: Result, metrics: Sequence[Metric]) -> ClipScores:
        """All scores of one result (or of the ground truth, `method` `TRUTH`): from the cache, or measured.

        Metrics that need ground truth are left out where there is none. Raises `PosegenError` for a NaN or infinite
        score.
        """
        against = result.clip.ground_truth if result.method != TRUTH else None
        wanted = [metric for metric in metrics if metric.ground_truth != "needed" or against is not None]
        keys = {metric.identity: self._key(result, metric, against) for metric in wanted}
        kept = {metric.identity: load_scores(self.cache / keys[metric.identity]) for metric in wanted}
        missing = [metric for metric in wanted if kept[metric.identity] is None]
        self.found_again += len(wanted) - len(missing)
        if missing:
            measured = self._measure(result, missing, against)
            for metric, scores in zip(missing, measured, strict=True):
                scores.check(f"{result.footage.path}")
                save_scores(self.cache / keys[metric.identity], scores)
                kept[metric.identity] = scores
        merged = ClipScores()
        for found in kept.values():
            assert found is not None
            for name in ("values", "samples", "curves", "features", "counts"):
                getattr(merged, name).update(getattr(found, name))
        return merged

    def _measure(self, result: Result, metrics: list[Metric], against: Footage | None) -> list[ClipScores]:
        clip, footage = result.clip, result.footage
        sampled_as = ClipInputs(clip.name, float(footage.fps), result.num_frames, footage.size, self.rules)
        inputs = dataclasses.replace(
            sampled_as,
            reference=read_image(clip.reference),
            driving=self._driving(clip, footage, sampled_as.sampled),
            aligned=clip.aligned,
            seams=result.seams,
            truth_size=result.truth_size,
        )
        scorers = [metric.start(inputs) for metric in metrics]
        pairs = against is not None and any(metric.ground_truth != "ignored" for metric in metrics)
        true_batches: Iterator[Batch | None] = itertools.repeat(None)
        if against is not None and pairs:
            true_batches = self._batches(against, result.num_frames, footage, result.truth_size)
        batches = self._batches(footage, result.num_frames, footage, result.truth_size)
        seen = 0
        for batch, true_batch in zip(batches, true_batches, strict=False):

            def add(number: int, batch: Batch = batch, ground_truth: Batch | None = true_batch) -> None:
                metric = metrics[number]
                given = ground_truth if metric.ground_truth != "ignored" else None
                frames = batch.fitted if metric.fitted else batch.native
                scorers[number].add(frames, None if given is None else given.fitted)

            list(self._threads.map(add, range(len(metrics))))
            seen += len(batch.fitted)
        if seen != result.num_frames:
            raise PosegenError(f"{footage.path}: {result.num_frames} frames were expected, {seen} could be read")
        return [scorer.finish() for scorer in scorers]

    def _batches(self, footage: Footage, count: int, result: Footage, like: tuple[int, int] | None) -> Iterator[Batch]:
        """Frames in batches, decoded and fitted on another thread; batches of truth and result go together."""
        at_once = max(1, min(16, _PIXELS_AT_ONCE // (result.size[0] * result.size[1])))
        return read_ahead(self._decode(footage, count, at_once, like), depth=2)

    def _decode(self, footage: Footage, count: int, at_once: int, like: tuple[int, int] | None) -> Iterator[Batch]:
        frames = itertools.islice(footage.frames(), count)
        while batch := list(itertools.islice(frames, at_once)):
            yield Batch(np.stack(batch), np.stack([self.rules.fitted(frame, like) for frame in batch]))

    def _driving(self, clip: BenchmarkClip, footage: Footage, sampled: range) -> PoseSequence | None:
        """Driving keypoints at the sampled moments, in pixels of the result; estimated once if they were not given."""
        moving = clip.motion
        if clip.keypoints is not None:
            try:
                given = PoseSequence.load(clip.keypoints)
            except _UNREADABLE as error:
                raise PosegenError(f"{clip.keypoints}: no keypoints of `posegen extract` ({error})") from None
            at = [min(len(given) - 1, round(number / footage.fps * given.fps)) for number in sampled]
            found = PoseSequence(given.keypoints[at], given.scores[at], given.hands[at], given.size, given.fps)
        elif moving is not None and self.estimator is not None:
            found = self._estimated(moving, footage, sampled)
        else:
            return None
        points = plan_fit(found.size, footage.size, "crop").apply_points(found.keypoints)
        return dataclasses.replace(found, keypoints=points.astype(np.float32), size=footage.size)

    def _estimated(self, moving: Footage, footage: Footage, sampled: range) -> PoseSequence:
        assert self.estimator is not None
        estimator = f"{self.estimator.name} {self.estimator.version}"
        key = _hash([content_digest(moving.path), estimator, str(footage.fps), str(sampled)])
        path = self.cache / f"pose-{key}.npz"
        state = state_of(path)
        if state == "intact":
            return PoseSequence.load(path)
        if state != "missing":
            logger.warning("%s is damaged or has no checksum: these keypoints are estimated again", path)
        nobody = PersonPose(np.zeros((133, 2), np.float32), np.zeros(133, np.float32), empty_hands())
        people = []
        rate = moving if moving.stills else moving.at_rate(footage.fps)
        for number, frame in enumerate(read_ahead(itertools.islice(rate.frames(), sampled.stop))):
            if number in sampled:
                seen = [person for person in self.estimator.estimate(frame) if shoulders_seen(person)]
                largest = max(seen, key=lambda person: person.area) if seen else None
                people.append(self.estimator.add_hands(frame, largest) if largest else nobody)
        points, scores, hands = (
            np.stack([getattr(each, name) for each in people]) for name in ("keypoints", "scores", "hands")
        )
        found = PoseSequence(points, scores, hands, moving.size, footage.fps)
        self.cache.mkdir(parents=True, exist_ok=True)
        forget_checksum(path)
        found.save(path)
        write_checksum(path)
        return found

    def _key(self, result: Result, metric: Metric, against: Footage | None) -> str:
        clip, footage = result.clip, result.footage
        files = [footage.path, clip.reference, clip.keypoints, clip.motion.path if clip.motion else None]
        files.append(against.path if against is not None and metric.ground_truth != "ignored" else None)
        digests = ["" if path is None else content_digest(path) for path in files]
        how = [
            _FITTED_AS,
            str(footage.fps),
            str(result.num_frames),
            str(result.truth_size),
            str(clip.aligned),
            str(result.seams),
            str(clip.fps),
        ]
        who = "" if self.estimator is None else f"{self.estimator.name} {self.estimator.version}"
        return _hash([metric.identity, who, repr(dataclasses.replace(self.rules, name="", about="")), *digests, *how])


def save_scores(path: Path, scores: ClipScores) -> None:
    """Write scores to PATH.npz."""
    arrays = {
        f"{name}/{part}": array
        for name, features in scores.features.items()
        for part, array in features.arrays().items()
    }
    plain = {name: getattr(scores, name) for name in ("values", "samples", "curves", "counts")}
    content = io.BytesIO()
    np.savez(content, scores=np.array(json.dumps(plain)), **arrays)  # type: ignore[arg-type]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_checked(path.with_suffix(".npz"), content.getvalue())


def load_scores(path: Path) -> ClipScores | None:
    """Read what `save_scores` wrote; None where there is nothing, or a damaged file, which is reported."""
    path = path.with_suffix(".npz")
    state = state_of(path)
    if state == "missing":
        return None
    try:
        if state != "intact":
            raise ValueError(state)
        data = read_npz(path)
        plain = parse_json(str(data["scores"]), str(path), allow_nan=True)
        names = dict.fromkeys(key.rsplit("/", 1)[0] for key in data if key != "scores")
        features = {
            name: FeatureSet.of_arrays(
                {key.rsplit("/", 1)[1]: data[key] for key in data if key.rsplit("/", 1)[0] == name}
            )
            for name in names
        }
    except _UNREADABLE:
        logger.warning("%s is damaged or has no checksum: these scores are measured again", path)
        return None
    curves = {name: (numbers, values) for name, (numbers, values) in plain["curves"].items()}
    return ClipScores(plain["values"], plain["samples"], curves, features, plain["counts"])


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:40]
