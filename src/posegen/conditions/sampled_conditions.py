"""Extracts the conditions of a few frames of a driving video for a preview, each frame independently.

They come from the same estimators as in `extract`, or from a folder of conditions. Of several people it takes the
largest at first, then always the one nearest to the position in the previously examined frame.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from posegen.conditions.cuts import look_for_cuts
from posegen.conditions.estimators.choosing import given_skeletons, make_normal_estimator, make_pose_estimator
from posegen.conditions.estimators.file import video_of_pictures
from posegen.conditions.extraction import fit_pose
from posegen.conditions.finishing import finish_person
from posegen.conditions.folder import HAND_NORMALS, SKELETON, Conditions
from posegen.conditions.hand_maps import make_hand_maps
from posegen.conditions.keypoints import PersonPose, PoseSequence, empty_hands
from posegen.conditions.tracking import people_seen, same_person
from posegen.conditions.tracking_report import PersonSummary
from posegen.config import EstimatorConfig
from posegen.media.fitting import Fit
from posegen.media.video import probe_video, sample_frames, shown_frames

_GREY = 96

Pictures = UInt8[np.ndarray, "samples height width 3"]


@dataclass(frozen=True)
class Samples:
    """Conditions of a few frames.

    people: in pixels of the driving video, None without a person; most_people: maximum number seen at once; cuts:
    frames that begin a new scene, if found between these. Images at the result's size are frames: of the driving video;
    hand_maps: black without hands; skeletons: only if they were given as frames, without keypoints. seen_people:
    everybody, numbered, and the number of the followed one, if the whole clip was gone through.
    """

    people: tuple[PersonPose | None, ...]
    most_people: int
    frames: Pictures
    hand_maps: Pictures
    cuts: tuple[int, ...]
    skeletons: Pictures | None = None
    seen_people: tuple[PersonSummary, ...] = ()
    followed: int | None = None


def sample_conditions(
    driving: Path,
    numbers: Sequence[int],
    fit: Fit,
    fps: Fraction,
    hands: bool,
    chosen: EstimatorConfig,
    device: str = "auto",
    progress: Callable[[int], None] = lambda done: None,
) -> Samples:
    """Extract the conditions of the frames with these rising numbers, counted from `chosen.start` at the rate `fps`.

    Raises `PosegenError` like `extract_conditions`, except for a video without a person.
    """
    info = probe_video(driving)
    shown, size = shown_frames(info, fps, chosen.start, chosen.end).tolist(), (info.height, info.width)
    frames = list(sample_frames(driving, numbers, fps, chosen.start, chosen.end))
    people: list[PersonPose | None] = []
    followed: PersonPose | None = None
    most, skeletons = 0, None
    drawn = given_skeletons(chosen)
    if drawn is not None:
        pictures = video_of_pictures(drawn, "skeletons", size, fit, shown, info.num_frames)
        skeletons, people = _picked(pictures, numbers), [None] * len(numbers)
    else:
        estimator = make_pose_estimator(chosen, size, shown, info.num_frames, device, numbers)
        try:
            for start in range(0, len(frames), estimator.batch_size):
                batch = frames[start : start + estimator.batch_size]
                for frame, everybody in zip(batch, estimator.estimate_batch(batch), strict=True):
                    found = people_seen(everybody, estimator.keeps_everybody)
                    most = max(most, len(found))
                    followed = same_person(followed, found) or followed
                    person = followed if found else None
                    person = estimator.add_hands(frame, person) if hands and person else person
                    people.append(finish_person(person, size, chosen.pose == "mediapipe") if person else None)
                    progress(len(people))
        finally:
            estimator.close()
    hand_maps = np.zeros((len(numbers), *fit.target, 3), np.uint8)
    if hands and chosen.normals_file is not None:
        pictures = video_of_pictures(chosen.normals_file, "hand normals", size, fit, shown, info.num_frames)
        hand_maps = _picked(pictures, numbers)
    elif hands:
        normals = make_normal_estimator(chosen, device)
        pose = sequence_of(people, size, fps)
        fitted = (fit_pose(pose[index], fit) for index in range(len(pose)))
        hand_maps = np.stack(list(make_hand_maps(pose, fitted, fit, normals, iter(frames))))
    cuts = look_for_cuts(driving, fps, numbers, frames, chosen.start, chosen.end)
    fitted_frames = np.stack([fit.apply(frame) for frame in frames])
    return Samples(tuple(people), most, fitted_frames, hand_maps, tuple(cuts), skeletons)


def kept_samples(conditions: Conditions, driving: Path | None, numbers: Sequence[int], fit: Fit) -> Samples:
    """Sample existing conditions; `driving` is None for those of a motion file, whose frames are plain grey."""
    cuts: Sequence[int] | None = conditions.cuts
    if driving is None:
        frames, cuts = [np.full((*fit.source, 3), _GREY, np.uint8)] * len(numbers), ()
    else:
        frames = list(sample_frames(driving, numbers, conditions.fps, conditions.start, conditions.end))
    if cuts is None and driving is not None:  # made by an older version or another tool
        cuts = look_for_cuts(driving, conditions.fps, numbers, frames, conditions.start, conditions.end)
    poses = [conditions.pose[number] for number in numbers]
    drawn = None
    if not conditions.pose.scores.any():  # they were given as frames
        drawn = np.stack(list(sample_frames(conditions.folder / SKELETON, numbers)))
    return Samples(
        tuple(pose if pose.extent > 0 else None for pose in poses),
        len(conditions.people),
        np.stack([fit.apply(frame) for frame in frames]),
        np.stack(list(sample_frames(conditions.folder / HAND_NORMALS, numbers))),
        tuple(cuts or ()),
        drawn,
        conditions.people,
        conditions.followed,
    )


def samples_without_people(
    driving: Path, numbers: Sequence[int], fit: Fit, fps: Fraction, start: float | None, end: float | None
) -> Samples:
    """Sample a clip in which nobody is."""
    frames = list(sample_frames(driving, numbers, fps, start, end))
    cuts = look_for_cuts(driving, fps, numbers, frames, start, end)
    black = np.zeros((len(numbers), *fit.target, 3), np.uint8)
    return Samples((None,) * len(numbers), 0, np.stack([fit.apply(frame) for frame in frames]), black, tuple(cuts))


def sequence_of(people: Sequence[PersonPose | None], size: tuple[int, int], fps: Fraction) -> PoseSequence:
    """Combine people of single frames into a clip; frames without a person have scores 0."""
    nobody = PersonPose(np.zeros((133, 2), np.float32), np.zeros(133, np.float32), empty_hands())
    poses = [person or nobody for person in people]
    return PoseSequence(
        np.stack([pose.keypoints for pose in poses]),
        np.stack([pose.scores for pose in poses]),
        np.stack([pose.hands for pose in poses]),
        size,
        fps,
    )


def _picked(pictures: Iterator[UInt8[np.ndarray, "height width 3"]], numbers: Sequence[int]) -> Pictures:
    """Return the images with these rising numbers."""
    place, found = 0, []
    for number in numbers:
        found.append(next(islice(pictures, number - place, None)))
        place = number + 1
    return np.stack(found)
