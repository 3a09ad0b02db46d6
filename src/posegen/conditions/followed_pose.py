"""Finds and follows one person through a video: one pass over all frames, a decision, and a second look where needed.

During the pass a quick guess (`Tracker`) says whose hands to look for; `following` decides when everything is known. A
clip in which both agree and nothing is missing needs no second look.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import Int

from posegen.conditions.bystanders import Bystanders
from posegen.conditions.cuts import CutFinder
from posegen.conditions.detections import DetectionRecorder, Detections
from posegen.conditions.estimators.interfaces import PoseEstimator, SecondLook
from posegen.conditions.following import Following, follow_person, most_at_once
from posegen.conditions.keypoints import PersonPose, PoseSequence, empty_hands
from posegen.conditions.online_guess import Tracker
from posegen.conditions.people import SeenPerson, describe_place
from posegen.conditions.second_look import Found, frames_to_check, look_again
from posegen.conditions.tracking import fill_gaps, people_seen
from posegen.conditions.tracking_report import PersonSummary, TrackingReport
from posegen.config import PersonChoice
from posegen.errors import PosegenError, logger
from posegen.media.read_ahead import read_ahead
from posegen.media.video import iterate_frames, probe_video, sample_frames
from posegen.types import Frame


class NobodyError(PosegenError):
    """No person was found in any frame."""


@dataclass(frozen=True)
class Attention:
    """Whom to follow, and how to look again; `second_look` is called only if it is needed.

    second_look: makes the estimator that looks again; None if there is none.
    """

    person: PersonChoice = "largest"
    second_look: Callable[[], SecondLook | None] = lambda: None


def estimate_pose(
    driving: Path,
    estimator: PoseEstimator,
    fps: Fraction,
    hands: bool = True,
    progress: Callable[[int], None] = lambda done: None,
    start: float | None = None,
    end: float | None = None,
    attention: Attention = Attention(),
) -> tuple[PoseSequence, TrackingReport]:
    """Find and follow one person through the video, or the part from `start` to `end` (seconds), and find its cuts.

    Gaps of up to half a second are interpolated, but not across cuts. Raises `PosegenError` if no person is found in
    any frame, and for a choice of somebody who is not there.
    """
    info = probe_video(driving)
    _check_point(attention.person, info.width, info.height)
    sequence, detections, guess, cuts = _watch(driving, estimator, fps, hands, progress, (start, end), attention.person)
    following = follow_person(detections, cuts, attention.person)
    if following is None:
        raise NobodyError(f"no person is seen in {driving}: use a video that shows a moving person")

    def read(numbers: Sequence[int]) -> Iterator[Frame]:
        return sample_frames(driving, numbers, fps, start, end, quality="exact") if numbers else iter(())

    found = _second_look(detections, following, cuts, attention, read, hands)
    seen = _settle(sequence, detections, following, guess, found)
    if hands:
        others = np.flatnonzero(seen & (following.chosen != guess)).tolist()
        changed = [frame for frame in others if frame not in found.people]
        _add_hands(sequence, estimator, changed, read)
    raw = seen.copy()
    fill_gaps(sequence, seen, cuts=cuts)
    drawn = sequence.scores.max(axis=1) > 0
    return sequence, _report(detections, following, found, raw, drawn, cuts)


def _watch(
    driving: Path,
    estimator: PoseEstimator,
    fps: Fraction,
    hands: bool,
    progress: Callable[[int], None],
    part: tuple[float | None, float | None],
    choice: PersonChoice,
) -> tuple[PoseSequence, Detections, Int[np.ndarray, " frames"], list[int]]:
    """Go through the video once; return the guessed person, everybody, the guesses' detections, and the cuts."""
    info = probe_video(driving)
    tracker, cut_finder = Tracker(choice, float(fps)), CutFinder()
    recorder = DetectionRecorder((info.height, info.width), fps)
    guess: list[int] = []

    def bodies() -> Iterator[tuple[list[Frame], list[list[PersonPose]]]]:
        frames = read_ahead(iterate_frames(driving, fps, *part, quality="exact"))
        while batch := list(islice(frames, estimator.batch_size)):
            yield batch, estimator.estimate_batch(batch)

    def follow() -> Iterator[PersonPose]:
        # hands are found while the next bodies are; closed before the estimator is
        with closing(read_ahead(bodies(), depth=1)) as ahead:
            for frame, everybody in (pair for batch, found in ahead for pair in zip(batch, found, strict=True)):
                cut_finder.add(frame)
                if cut_finder.may_have_begun:
                    tracker.begin_scene()
                people = [each for each in people_seen(everybody, estimator.keeps_everybody) if each.extent > 0]
                kept, latest = recorder.add(frame, people)
                place = tracker.choose(latest)
                guess.append(-1 if place is None else len(recorder) - len(latest) + place)
                person = None if place is None else people[kept[place]]
                yield missing() if person is None else estimator.add_hands(frame, person) if hands else person
                progress(len(guess))

    sequence = PoseSequence.of(follow(), (info.height, info.width), fps)
    return sequence, recorder.finish(), np.array(guess, int), cut_finder.finish()


def missing() -> PersonPose:
    """Return the pose of a frame without the person."""
    return PersonPose(np.zeros((133, 2), np.float32), np.zeros(133, np.float32), empty_hands())


def _second_look(
    detections: Detections,
    following: Following,
    cuts: Sequence[int],
    attention: Attention,
    read: Callable[[Sequence[int]], Iterator[Frame]],
    hands: bool,
) -> Found:
    """Look again where that is needed and possible."""
    if not following.doubted.any() and not frames_to_check(detections, following, cuts):
        return Found()
    eyes = attention.second_look()
    if eyes is None:
        return Found()
    try:
        return look_again(detections, following, cuts, eyes, read, hands)
    finally:
        eyes.close()


def _settle(
    sequence: PoseSequence,
    detections: Detections,
    following: Following,
    guess: Int[np.ndarray, " frames"],
    found: Found,
) -> np.ndarray:
    """Put the decided person into each frame, in place; return the frames in which they are seen."""
    usable = following.usable
    usable[sorted(found.refuted)] = False
    seen = usable.copy()
    nobody = missing()
    for frame in range(len(sequence)):
        if frame in found.people:
            person, seen[frame] = found.people[frame], True
        elif usable[frame] and following.chosen[frame] == guess[frame]:
            continue
        else:
            person = detections.person(int(following.chosen[frame])) if usable[frame] else nobody
        sequence.keypoints[frame], sequence.scores[frame] = person.keypoints, person.scores
        sequence.hands[frame] = person.hands
    return seen


def _add_hands(
    sequence: PoseSequence,
    estimator: PoseEstimator,
    frames: Sequence[int],
    read: Callable[[Sequence[int]], Iterator[Frame]],
) -> None:
    """Find the hands of a person who was not the guessed one, in place."""
    if not frames or estimator.finds_hands:
        return
    logger.info("looking for the hands of the followed person in %d frames", len(frames))
    for frame, picture in zip(frames, read(frames), strict=True):
        person = estimator.add_hands(picture, sequence[frame])
        sequence.keypoints[frame], sequence.scores[frame] = person.keypoints, person.scores
        sequence.hands[frame] = person.hands


def _report(
    detections: Detections,
    following: Following,
    found: Found,
    seen: np.ndarray,
    drawn: np.ndarray,
    cuts: Sequence[int],
) -> TrackingReport:
    wrong = following.implausible.copy()
    wrong[sorted(found.refuted)] = True
    missed = ~seen
    first = int(following.person.detections[0])
    return TrackingReport(
        num_frames=len(seen),
        seen=int(seen.sum()),
        interpolated=int((drawn & missed).sum()),
        missing=int((~drawn).sum()),
        most_people=most_at_once(detections, following.people),
        place=describe_place(detections, first),
        implausible=int((missed & wrong).sum()),
        somebody_else=int((missed & ~wrong & following.others).sum()),
        looked_again=len(found.looked),
        found_again=len(found.people),
        upside_down=int(following.doubted.sum()) - len(found.refuted & set(np.flatnonzero(following.doubted).tolist())),
        replaced=following.replaced,
        followed=following.person.number,
        people=tuple(_summary(detections, person) for person in following.people),
        cuts=tuple(cuts),
        bystanders=Bystanders.of(detections, following),
    )


def _summary(detections: Detections, person: SeenPerson) -> PersonSummary:
    frames = detections.frames[person.detections]
    left, top, right, bottom = (round(float(side), 1) for side in detections.boxes[person.best])
    return PersonSummary(
        person.number,
        len(frames),
        int(frames[0]),
        int(detections.frames[person.best]),
        (left, top, right, bottom),
        describe_place(detections, int(person.detections[0])),
    )


def _check_point(choice: PersonChoice, width: int, height: int) -> None:
    if not isinstance(choice, tuple):
        return
    x, y = choice
    if x >= width or y >= height:
        raise PosegenError(
            f"--person {x:g},{y:g} is outside the driving video's frame, which is {width} pixels wide and {height} high"
        )
