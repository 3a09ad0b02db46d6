"""Extracts the conditions of a driving video: keypoints, and skeleton and hand-normal videos at the result's size.

One pass over the driving video finds and follows the person; then both videos are drawn from the keypoints alone, so
they are sharp at any size; only hand normals estimated from pixels need a second pass. Everything is kept in a folder
(`folder.py`) and reused if nothing changed.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from fractions import Fraction
from itertools import repeat
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.conditions.clip_crop import crop_about_person
from posegen.conditions.cuts import describe_cuts
from posegen.conditions.drawings import drawn, laid_over
from posegen.conditions.estimators.choosing import (
    draws_given_skeletons,
    estimator_names,
    given_skeletons,
    make_normal_estimator,
    make_pose_estimator,
    make_second_look,
    weights_of,
)
from posegen.conditions.estimators.file import video_of_pictures
from posegen.conditions.finishing import finish_pose
from posegen.conditions.folder import (
    HAND_NORMALS,
    MANIFEST,
    SKELETON,
    Conditions,
    Inputs,
    find_conditions,
    save_conditions,
)
from posegen.conditions.followed_pose import Attention, NobodyError, estimate_pose
from posegen.conditions.framing import describe_back
from posegen.conditions.hand_maps import make_hand_maps
from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import PersonPose, PoseSequence, empty_hands
from posegen.conditions.person_in_frame import describe_place
from posegen.conditions.skeleton import Colors, draw_skeleton
from posegen.conditions.tracking_report import TrackingReport, describe_quality
from posegen.config import EstimatorConfig, parse_person
from posegen.errors import PosegenError, logger
from posegen.media.fitting import Fit
from posegen.media.flat_footage import describe_flat
from posegen.media.read_ahead import read_ahead
from posegen.media.video import VideoInfo, VideoWriter, iterate_frames, probe_video, sample_frames, shown_frames

_LOOKED_AT = 5
"""Number of frames by which flat footage is told."""


def extract_conditions(
    driving: Path,
    folder: Path,
    fit: Fit,
    fps: Fraction,
    hands: bool = True,
    colors: Colors = "openpose",
    draw_scale: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
    chosen: EstimatorConfig = EstimatorConfig(),  # noqa: B008 - it is frozen
    device: str = "auto",
    edited: bool = False,
) -> Conditions:
    """Make the conditions of `driving` in `folder`, or reuse the existing ones if nothing changed.

    fit: fits the driving video to the size of the result; fps: frames per second of the conditions; draw_scale:
    skeletons are drawn at this multiple of the size and reduced by averaging (their lines are made for 720p); chosen:
    the part of the video and the estimators, which run on `device`; edited: the folder is the user's own, so files
    changed since they were made are kept; otherwise they count as damaged and are made again. Raises `PosegenError` if
    no person is found in the video.
    """
    start, end = chosen.start, chosen.end
    inputs = Inputs.of(driving, fit, fps, hands, colors, draw_scale, *estimator_names(chosen), start=start, end=end)
    kept = find_conditions(folder, inputs, edited)
    if kept is not None:
        logger.info("using the conditions in %s, which are up to date", folder)
        return kept
    info = probe_video(driving)
    check_estimators(chosen, info, fit, fps, hands)
    shown = shown_frames(info, fps, start, end).tolist()
    total, size = len(shown), (info.height, info.width)
    report: list[str | None] = []
    tracking: TrackingReport | None = None
    if draws_given_skeletons(chosen):
        pose = nobody(total, size, fps)
        report += [f"skeletons are those of {chosen.pose_file}: who they belong to and where joints are is not known"]
    else:
        estimator = make_pose_estimator(chosen, size, shown, info.num_frames, device)
        try:
            # drawing takes about a third of the time
            pose, tracking = estimate_pose(
                driving,
                estimator,
                fps,
                hands,
                lambda done: progress(done * 2 // 3, total),
                start,
                end,
                Attention(parse_person(chosen.person), lambda: make_second_look(chosen, estimator)),
            )
        except NobodyError as error:
            if chosen.pose_file is None:
                raise
            raise PosegenError(
                f"{chosen.pose_file}: holds no person with sufficient scores inside the frames of {driving}"
            ) from error
        finally:
            estimator.close()
        about_people, about_cuts = tracking.warnings(fps, start or 0.0), describe_cuts(tracking.cuts, fps, start or 0.0)
        report += [tracking.describe(), *(f"warning: {line}" for line in (*about_people, about_cuts) if line)]
        report.append(_about_flat_footage(driving, fps, start, end, total))
        report += [f"warning: {line}" for line in describe_place(pose)]  # also where these conditions are used again
        pose, repaired = finish_pose(pose, tracking.cuts, chosen.smoothing, guesses_faces=chosen.pose == "mediapipe")
        report.append(repaired.describe())
        report.append(describe_back(pose.keypoints, pose.scores))
    fit = crop_about_person(fit, pose)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    skeletons = _skeletons(pose, driving, chosen, fit, colors, draw_scale)
    hand_maps = _hand_maps(pose, driving, chosen, fit, device) if hands else None
    with_hands = draw_videos(
        skeletons, hand_maps, folder, fit, fps, lambda done: progress((2 * total + done) // 3, total)
    )
    progress(total, total)
    if hands:
        report.append(_describe_hands(pose, with_hands, total))
    if tracking is not None:
        report.append(describe_quality(pose, tracking, hands, chosen.smoothing))
    return save_conditions(folder, pose, inputs, [line for line in report if line], tracking, fit.centre)


def _about_flat_footage(driving: Path, fps: Fraction, start: float | None, end: float | None, total: int) -> str | None:
    """Warn of camera log, by a few frames."""
    numbers = np.unique(np.linspace(0, total - 1, min(total, _LOOKED_AT)).round().astype(int)).tolist()
    line = describe_flat(sample_frames(driving, numbers, fps, start, end, longest=320))
    return None if line is None else f"warning: {line}"


def check_estimators(chosen: EstimatorConfig, info: VideoInfo, fit: Fit, fps: Fraction, hands: bool = True) -> None:
    """Raise `PosegenError` if weights of the chosen estimators are missing, or given videos do not match `info`.

    This finds problems before the pass over the video. Keypoints are not read.
    """
    weights_of(chosen)
    size, shown = (info.height, info.width), shown_frames(info, fps, chosen.start, chosen.end).tolist()
    drawn = given_skeletons(chosen)
    if drawn is not None:
        video_of_pictures(drawn, "skeletons", size, fit, shown, info.num_frames)
    if hands and chosen.normals_file is not None:
        video_of_pictures(chosen.normals_file, "hand normals", size, fit, shown, info.num_frames)


def nobody(num_frames: int, size: tuple[int, int], fps: Fraction) -> PoseSequence:
    """Return keypoints without a person."""
    hands = np.stack([empty_hands()] * num_frames)
    return PoseSequence(
        np.zeros((num_frames, 133, 2), np.float32), np.zeros((num_frames, 133), np.float32), hands, size, fps
    )


def fit_pose(person: PersonPose, fit: Fit) -> PersonPose:
    """Map the person to the pixels of the fitted image."""
    scale = fit.scaled[0] / fit.source[0]
    hands = person.hands.copy()
    hands[..., :2] = fit.apply_points(hands[..., :2])
    hands[..., 2] *= scale
    return PersonPose(fit.apply_points(person.keypoints).astype(np.float32), person.scores, hands)


def draw_fitted(person: PersonPose, fit: Fit, colors: Colors, draw_scale: int) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the skeleton of a person at the fit's target size, at `draw_scale` times that size and then reduced."""
    height, width = fit.target
    large = fit.at_size((height * draw_scale, width * draw_scale))
    drawn = fit_pose(person, large)
    picture = draw_skeleton(drawn.keypoints, drawn.scores, large.target, colors=colors)
    return picture if draw_scale == 1 else cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)


def _skeletons(
    pose: PoseSequence, driving: Path, chosen: EstimatorConfig, fit: Fit, colors: Colors, draw_scale: int
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield the skeleton frames of a clip: drawn, or those of a finished video, in the model's colours."""
    drawn = given_skeletons(chosen)
    if drawn is None:
        return (draw_fitted(pose[index], fit, colors, draw_scale) for index in range(len(pose)))
    info = probe_video(driving)
    shown = shown_frames(info, pose.fps, chosen.start, chosen.end).tolist()
    pictures = video_of_pictures(drawn, "skeletons", pose.size, fit, shown, info.num_frames)
    return pictures if colors == "openpose" else (np.ascontiguousarray(picture[..., ::-1]) for picture in pictures)


def _hand_maps(
    pose: PoseSequence, driving: Path, chosen: EstimatorConfig, fit: Fit, device: str
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Yield the hand-normal maps of a clip, by the chosen estimator or from a finished video."""
    info = probe_video(driving)
    if chosen.normals_file is not None:
        shown = shown_frames(info, pose.fps, chosen.start, chosen.end).tolist()
        return video_of_pictures(chosen.normals_file, "hand normals", pose.size, fit, shown, info.num_frames)
    normals = make_normal_estimator(chosen, device)
    frames = iterate_frames(driving, pose.fps, chosen.start, chosen.end)
    fitted = (fit_pose(pose[index], fit) for index in range(len(pose)))
    return make_hand_maps(pose, fitted, fit, normals, frames)


def draw_videos(
    skeletons: Iterator[UInt8[np.ndarray, "height width 3"]],
    hand_maps: Iterator[UInt8[np.ndarray, "height width 3"]] | None,
    folder: Path,
    fit: Fit,
    fps: Fraction,
    progress: Callable[[int], None],
) -> int:
    """Write lossless skeleton and hand-normal videos, black without `hand_maps`; return the frames with hands."""
    with_hands, black = 0, np.zeros((*fit.target, 3), np.uint8)
    with (
        VideoWriter(folder / SKELETON, fps, size=fit.target, codec="h264rgb") as skeleton_writer,
        VideoWriter(folder / HAND_NORMALS, fps, size=fit.target, codec="h264rgb") as hand_writer,
        ThreadPoolExecutor(1) as beside,
        closing(read_ahead(skeletons)) as drawn,
        closing(read_ahead(hand_maps or ())) as normals,
    ):
        both = zip(drawn, repeat(black)) if hand_maps is None else zip(drawn, normals, strict=True)
        for index, (skeleton, hand_map) in enumerate(both):
            written = beside.submit(hand_writer.write, hand_map)
            skeleton_writer.write(skeleton)
            with_hands += bool(hand_map.any())
            written.result()
            progress(index + 1)
    return with_hands


def write_overlay(conditions: Conditions, driving: Path, path: Path, kept_fit: Fit | None = None) -> None:
    """Write a video for inspection: the driving video overlaid with skeleton and hand normals, with its audio.

    Both are drawn from the keypoints; with `kept_fit`, the fit of the conditions, they are the kept frames (at their
    size), which estimators other than the embedded one need.
    """
    pose = conditions.pose
    info = probe_video(driving)
    height, width = pose.size
    even = (height - height % 2, width - width % 2)
    start = conditions.start or 0.0
    kept = zip(conditions.iterate_skeletons(), iterate_frames(conditions.folder / HAND_NORMALS), strict=True)
    sound = driving if info.has_audio else None
    seconds = float(conditions.num_frames / pose.fps)
    with VideoWriter(
        path, pose.fps, even, audio_from=sound, audio_start=start, audio_seconds=seconds, preset="veryfast"
    ) as writer:
        for index, frame in enumerate(iterate_frames(driving, pose.fps, conditions.start, conditions.end)):
            if kept_fit is None:
                person = pose[index]
                over, hand_map = draw_skeleton(person.keypoints, person.scores, pose.size), _capsules(person, pose.size)
            else:
                over, hand_map = (_unfitted(picture, kept_fit) for picture in next(kept))
            hand = drawn(hand_map) & ~drawn(over)
            over[hand] = hand_map[hand]
            writer.write(np.ascontiguousarray(laid_over(frame, over)[: even[0], : even[1]]))


def _capsules(person: PersonPose, size: tuple[int, int]) -> UInt8[np.ndarray, "height width 3"]:
    return CapsuleHandNormals().estimate(person, size)


def _unfitted(picture: UInt8[np.ndarray, "h w 3"], fit: Fit) -> UInt8[np.ndarray, "height width 3"]:
    """Map an image of the fitted size back to the driving video's frame; black where it was cropped."""
    corner, across = fit.apply_points(np.array([[0.0, 0.0], [1.0, 1.0]]))
    (step_x, step_y), (left, top) = across - corner, corner
    matrix = np.array([[step_x, 0, left], [0, step_y, top]])
    flags = cv2.WARP_INVERSE_MAP | cv2.INTER_NEAREST
    return cv2.warpAffine(picture, matrix, (fit.source[1], fit.source[0]), flags=flags)


def _describe_hands(pose: PoseSequence, with_hands: int, total: int) -> str:
    if with_hands == 0:
        return "no hand is seen in any frame: the hand normals are black"
    found = np.isfinite(pose.hands).all(axis=(2, 3)).mean(axis=0)
    if not found.any():  # normals estimated from pixels do not distinguish the hands
        return f"hands found in {100 * with_hands / total:.0f} % of the frames"
    return f"left hand found in {100 * found[0]:.0f} % of the frames, right hand in {100 * found[1]:.0f} %"
