"""A driving video -> its conditions: keypoints as data, skeleton and hand-normal videos at the size of the result.

One pass over the driving video finds and follows the person; then both videos are drawn from the keypoints alone, so
they are sharp at any size. Everything is kept in a folder (`folder.py`) and reused when nothing changed.
"""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.estimators.protocols import HandNormalEstimator, PoseEstimator
from posegen.conditions.folder import (
    HAND_NORMALS,
    MANIFEST,
    SKELETON,
    Conditions,
    Inputs,
    find_conditions,
    save_conditions,
)
from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import HANDS, PersonPose, PoseSequence, empty_hands
from posegen.conditions.skeleton import Colors, draw_skeleton
from posegen.conditions.tracking import Tracker, TrackingReport, fill_gaps, shoulders_seen
from posegen.errors import PosegenError, logger
from posegen.media.fitting import Fit, plan_fit
from posegen.media.read_ahead import read_ahead
from posegen.media.video import VideoWriter, count_frames, iterate_frames, probe_video


def extract_conditions(
    driving: Path,
    folder: Path,
    fit: Fit,
    fps: Fraction,
    hands: bool = True,
    colors: Colors = "openpose",
    draw_scale: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conditions:
    """Make the conditions of `driving` in `folder`, or take those that are there if nothing changed.

    fit: how the driving video becomes the size of the result; fps: frames per second of the conditions;
    draw_scale: skeletons are drawn at this multiple of the size and reduced by averaging (their lines are made for
    720p). Raises `PosegenError` if nobody is seen in the video.
    """
    inputs = Inputs.of(
        driving, fit, fps, hands, colors, draw_scale, MediaPipePose.name, CapsuleHandNormals.name,
        CapsuleHandNormals.version,
    )  # fmt: skip
    kept = find_conditions(folder, inputs)
    if kept is not None:
        logger.info("conditions in %s are up to date: using them", folder)
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    total = count_frames(probe_video(driving), fps)
    estimator = MediaPipePose()
    try:
        # drawing takes about a third of the time
        pose, tracking = estimate_pose(driving, estimator, fps, hands, lambda done: progress(done * 2 // 3, total))
    finally:
        estimator.close()
    _draw(pose, folder, fit, colors, draw_scale, lambda done: progress((2 * total + done) // 3, total))
    progress(total, total)
    warning = tracking.warning()
    if warning:
        logger.warning("%s", warning)
    report = [tracking.describe(), *([_describe_hands(pose)] if hands else [])]
    return save_conditions(folder, pose, inputs, report)


def estimate_pose(
    driving: Path,
    estimator: PoseEstimator,
    fps: Fraction,
    hands: bool = True,
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[PoseSequence, TrackingReport]:
    """Find and follow one person through the video; gaps of up to half a second are interpolated.

    Raises `PosegenError` if nobody is seen in any frame.
    """
    info = probe_video(driving)
    tracker = Tracker(info.width)
    nobody = PersonPose(np.zeros((133, 2), np.float32), np.zeros(133, np.float32), empty_hands())
    people: list[PersonPose | None] = []
    for frame in read_ahead(iterate_frames(driving, fps)):
        person = tracker.choose([found for found in estimator.estimate(frame) if shoulders_seen(found)])
        people.append(estimator.add_hands(frame, person) if hands and person is not None else person)
        progress(len(people))
    seen = np.array([person is not None for person in people])
    if not seen.any():
        raise PosegenError(f"no person is seen in {driving}: use a video in which somebody moves in view")
    poses = [person or nobody for person in people]
    sequence = PoseSequence(
        np.stack([pose.keypoints for pose in poses]),
        np.stack([pose.scores for pose in poses]),
        np.stack([pose.hands for pose in poses]),
        (info.height, info.width),
        fps,
    )
    filled = fill_gaps(sequence, seen)
    interpolated = int((filled.scores.max(axis=1) > 0).sum() - seen.sum())
    report = TrackingReport(
        len(people), int(seen.sum()), interpolated, int(len(people) - seen.sum() - interpolated),
        tracker.most_people, tracker.first_x,
    )  # fmt: skip
    return filled, report


def estimate_reference_pose(image: UInt8[np.ndarray, "height width 3"]) -> PersonPose:
    """The person of a reference image, the largest if there are several (then a warning says so).

    Raises `PosegenError` if nobody is found.
    """
    estimator = MediaPipePose(single_image=True)
    try:
        people = [person for person in estimator.estimate(image) if shoulders_seen(person)]
        if not people:
            raise PosegenError(
                "no person is found in the reference image: use a picture that shows one clearly, or pass "
                "--no-person-check to go on anyway"
            )
        if len(people) > 1:
            logger.warning("%d people are in the reference image: the largest one is taken", len(people))
        return estimator.add_hands(image, max(people, key=lambda person: person.area))
    finally:
        estimator.close()


def fit_pose(person: PersonPose, fit: Fit) -> PersonPose:
    """The person in the pixels of the fitted picture."""
    scale = fit.scaled[0] / fit.source[0]
    hands = person.hands.copy()
    hands[..., :2] = fit.apply_points(hands[..., :2])
    hands[..., 2] *= scale
    return PersonPose(fit.apply_points(person.keypoints).astype(np.float32), person.scores, hands)


def _draw_fitted(person: PersonPose, fit: Fit, colors: Colors, draw_scale: int) -> UInt8[np.ndarray, "height width 3"]:
    """The skeleton picture of a person at the fit's target size, drawn at `draw_scale` times it and reduced."""
    height, width = fit.target
    large = plan_fit(fit.source, (height * draw_scale, width * draw_scale), fit.mode)
    drawn = fit_pose(person, large)
    picture = draw_skeleton(drawn.keypoints, drawn.scores, large.target, colors=colors)
    return picture if draw_scale == 1 else cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _draw(
    pose: PoseSequence, folder: Path, fit: Fit, colors: Colors, draw_scale: int, progress: Callable[[int], None]
) -> None:
    """Write skeleton and hand-normal videos, losslessly."""
    normals: HandNormalEstimator = CapsuleHandNormals()
    with (
        VideoWriter(folder / SKELETON, pose.fps, size=fit.target, codec="ffv1") as skeletons,
        VideoWriter(folder / HAND_NORMALS, pose.fps, size=fit.target, codec="ffv1") as hand_maps,
    ):
        for index in range(len(pose)):
            skeletons.write(_draw_fitted(pose[index], fit, colors, draw_scale))
            hand_maps.write(normals.estimate(fit_pose(pose[index], fit), fit.target))
            progress(index + 1)


def write_overlay(conditions: Conditions, driving: Path, path: Path) -> None:
    """A video to look at: the driving video with skeleton and hand normals over it, and its sound."""
    pose = conditions.pose
    info = probe_video(driving)
    height, width = pose.size
    even = (height - height % 2, width - width % 2)
    normals = CapsuleHandNormals()
    with VideoWriter(path, pose.fps, size=even, audio_from=driving if info.has_audio else None) as writer:
        for index, frame in enumerate(iterate_frames(driving, pose.fps)):
            person = pose[index]
            over = draw_skeleton(person.keypoints, person.scores, pose.size)
            hand_map = normals.estimate(person, pose.size)
            hand = hand_map.any(axis=-1, keepdims=True)
            over = np.where(hand & ~over.any(axis=-1, keepdims=True), hand_map, over)
            drawn = over.any(axis=-1, keepdims=True)
            picture = np.where(drawn, np.rint(0.25 * frame + 0.75 * over).astype(np.uint8), frame)
            writer.write(np.ascontiguousarray(picture[: even[0], : even[1]]))


def _describe_hands(pose: PoseSequence) -> str:
    shares = [f"{100 * np.isfinite(pose.hands[:, side]).all(axis=(1, 2)).mean():.0f} %" for side in range(len(HANDS))]
    return f"left hand found in {shares[0]} of the frames, right hand in {shares[1]}"
