"""What a job will do, found out in seconds from a few frames: poses, hands, the camera, the plan, and what to expect.

The same rules decide as in the job itself, but they see a sample of the driving video only. Drawing is
`preview_pictures.py`'s; nothing is generated and no video model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from posegen.conditions.background_motion import BackgroundMotion
from posegen.conditions.camera import CameraTracker, person_mask
from posegen.conditions.cuts import describe_cuts
from posegen.conditions.extraction import find_reference_pose, fit_pose
from posegen.conditions.framing import choose_framing
from posegen.conditions.keypoints import SEEN, PersonPose, PoseSequence
from posegen.conditions.person_in_frame import describe_place
from posegen.conditions.retargeted_conditions import carry_hands, hands_are_drawn
from posegen.conditions.retargeting import Retargeted
from posegen.conditions.sampled_conditions import Pictures, Samples, kept_samples, sample_conditions, sequence_of
from posegen.config import Framing
from posegen.errors import PosegenError
from posegen.generate.background.anchor import choose_anchor, describe_unsafe, unsafe_segments
from posegen.generate.reference_pose import carry_over, keep_in_crop
from posegen.generate.request import Request
from posegen.generate.segments import Segment
from posegen.media.fitting import Fit, plan_fit
from posegen.progress import Progress

SAMPLES = 48
_LONG_SIDE = 320
_RARE = 0.05
"""Share of the samples up to which nothing is said of what is missing in them."""
_HANDS = 60
"""Percent of the samples with a hand below which it is said."""
_CUT_OFF = 0.15
"""Share of the person's keypoints outside the result from which it is said."""


@dataclass(frozen=True)
class Preview:
    """What was found out.

    numbers: of the sampled frames in the result; frames: those of the driving video, fitted to the result's size; pose:
    the person in them, in pixels of the result; placed: the person as they will steer the result, carried to the
    reference; hand_maps: the hand normals that steer it; skeletons: pictures of skeletons that were given without
    keypoints, else None; reference: the person of the reference image, in pixels of the result;
    anchor, alone: whose background is shared, and which segments take no part (None and empty where none is shared).
    warnings: one line each, the most important first.
    """

    request: Request
    numbers: Int[np.ndarray, " samples"]
    frames: UInt8[np.ndarray, "samples height width 3"]
    pose: PoseSequence
    placed: PoseSequence
    hand_maps: UInt8[np.ndarray, "samples height width 3"]
    skeletons: UInt8[np.ndarray, "samples height width 3"] | None
    reference: PersonPose | None
    anchor: Segment | None
    alone: tuple[Segment, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]


def look_ahead(request: Request, progress: Progress, samples: int = SAMPLES) -> Preview:
    """Sample the driving video evenly and find out what the job would. Raises `PosegenError` if it cannot be read."""
    count = request.num_frames
    numbers = np.unique(np.linspace(0, count - 1, min(samples, count)).round().astype(int))
    found = _look(request, numbers, progress)
    fit, size = request.driving_fit, request.size
    pose = _fitted(found.people, fit, request.fps)
    seen = np.array([person is not None for person in found.people])
    person = find_reference_pose(request.reference, request.config, request.config.device)
    request = keep_in_crop(request, person)
    reference = None if person is None else fit_pose(person, request.reference_fit)
    warnings = [] if reference is not None else ["no person is found in the reference image"]
    sampled = replace(pose, fps=Fraction(request.fps * len(numbers), count))
    moved, lines = carry_over(request, sampled, reference)
    warnings += lines
    line = describe_cuts(found.cuts, request.fps, request.start or 0.0)
    warnings += [line] if line else []
    if found.skeletons is None:
        warnings += _about_people(request, numbers, seen, found.most_people)
        driving = (request.driving.height, request.driving.width)
        warnings += describe_place(sequence_of(found.people, driving, request.fps))
        warnings += _about_fit(request, pose) if moved is None else []
        warnings += _about_hands(request, pose, found, seen)
    framing = _framing(pose, size)
    warnings += _about_framing(reference, framing, size)
    about_sound = f"sound: {request.sound.describe()}"
    warnings += [about_sound] if request.sound.losses else []
    notes = [] if request.sound.losses else [about_sound]
    notes += [] if framing is None else [f"framing of the driving video: {framing}"]
    notes += [] if moved is None else [moved.report]
    if found.skeletons is not None:
        notes.append("the skeletons are pictures that were given: where joints are is not known")
    motion = _spread(_motion(found.frames, pose, fit), numbers, count)
    notes.append(motion.describe())
    anchor: Segment | None = None
    alone: tuple[Segment, ...] = ()
    if request.sharing is not None:
        plan = request.plan
        asked = request.config.anchor
        anchor = choose_anchor(motion, plan) if asked is None else plan.base_segments[asked]
        unsafe = unsafe_segments(motion, plan, anchor)
        line = describe_unsafe(unsafe)
        warnings += [line] if line else []
        alone = tuple(item.segment for item in unsafe)
        notes.append(f"anchor: base segment {plan.base_segments.index(anchor)} ({anchor.name})")
    return Preview(
        request, numbers, found.frames, pose, pose if moved is None else moved.pose,
        _steering(request, found, pose, moved), found.skeletons, reference, anchor, alone,
        tuple(notes), tuple(warnings),
    )  # fmt: skip


def _steering(request: Request, found: Samples, pose: PoseSequence, moved: Retargeted | None) -> Pictures:
    """The hand-normal maps as they steer the result."""
    if moved is None:
        return found.hand_maps
    drawn = request.config.normals == "mediapipe" if request.conditions is None else hands_are_drawn(request.conditions)
    return np.stack(list(carry_hands(found.hand_maps, pose, moved, drawn)))


def _look(request: Request, numbers: Int[np.ndarray, " samples"], progress: Progress) -> Samples:
    """What is in the sampled frames, by the chosen estimators or from given conditions."""
    config, chosen = request.config, numbers.tolist()
    if request.conditions is not None:
        return kept_samples(request.conditions, config.driving, chosen, request.driving_fit)
    return sample_conditions(
        config.driving, chosen, request.driving_fit, request.fps, config.hands, config, config.device,
        lambda done: progress.update("looking", done, len(chosen)),
    )  # fmt: skip


def _fitted(people: Sequence[PersonPose | None], fit: Fit, fps: Fraction) -> PoseSequence:
    """In pixels of the result; frames without a person have scores 0."""
    return sequence_of([None if person is None else fit_pose(person, fit) for person in people], fit.target, fps)


def _framing(pose: PoseSequence, size: tuple[int, int]) -> Framing | None:
    try:
        return choose_framing(pose.keypoints, pose.scores, size)
    except PosegenError:
        return None


def _motion(frames: UInt8[np.ndarray, "samples h w 3"], pose: PoseSequence, fit: Fit) -> BackgroundMotion:
    """Of the samples. What moves faster than they can be followed counts as another scene."""
    scale = _LONG_SIDE / max(fit.target)
    small = plan_fit(fit.target, (round(fit.target[0] * scale), round(fit.target[1] * scale)), "pad")
    tracker = CameraTracker(small.target)
    steps = []
    for frame, points, scores in zip(frames, pose.keypoints, pose.scores, strict=True):
        picture = small.apply(frame)
        background = picture.any(axis=-1) & ~person_mask(small.apply_points(points), scores, small.target)
        steps.append(tracker.add(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), background))
    return BackgroundMotion.of(steps, float(pose.fps))


def _spread(motion: BackgroundMotion, numbers: Int[np.ndarray, " samples"], count: int) -> BackgroundMotion:
    """For each frame of the result what the sample nearest to it says."""
    middles = (numbers[1:] + numbers[:-1]) / 2
    nearest = np.searchsorted(middles, np.arange(count))
    apart = max(1.0, count / len(numbers))  # frames between samples: a sample's movement is that of all of them
    return BackgroundMotion(
        motion.turn[nearest], motion.shift[nearest], motion.scene[nearest], motion.known[nearest],
        motion.residual[nearest] / apart, motion.fps,
    )  # fmt: skip


def _about_people(
    request: Request, numbers: Int[np.ndarray, " samples"], seen: Bool[np.ndarray, " samples"], most: int
) -> list[str]:
    lines = []
    if not seen.any():
        return ["no person is found in the driving video"]
    if 1 - seen.mean() > _RARE:
        when = _seconds(numbers[~seen] / float(request.fps) + (request.start or 0.0))
        lines.append(f"nobody is seen in {100 * (1 - seen.mean()):.0f} % of the driving video (about second {when})")
    if most > 1:
        lines.append(f"up to {most} people are in the driving video: the one who is largest at first is followed")
    return lines


def _about_fit(request: Request, pose: PoseSequence) -> list[str]:
    """Whether the result's picture cuts off what the driving video shows of the person."""
    seen = pose.scores >= SEEN
    x, y = pose.keypoints[..., 0], pose.keypoints[..., 1]
    height, width = pose.size
    outside = seen & ((x < 0) | (x >= width) | (y < 0) | (y >= height))
    share = float(outside.sum()) / max(int(seen.sum()), 1)
    if share <= _CUT_OFF or request.config.fit == "pad":
        return []
    return [f"{100 * share:.0f} % of the person is cut off: the result shows the middle of the driving video "
            "(--fit pad shows all of it, --size another shape)"]  # fmt: skip


def _seconds(moments: Float[np.ndarray, " moments"], most: int = 5) -> str:
    named = list(dict.fromkeys(f"{moment:.0f}" for moment in moments))
    return ", ".join(named[:most]) + (", ..." if len(named) > most else "")


def _about_hands(
    request: Request, pose: PoseSequence, samples: Samples, seen: Bool[np.ndarray, " samples"]
) -> list[str]:
    if not request.config.hands or not seen.any():
        return []
    if not samples.hand_maps.any():
        return ["no hand is ever found: the hand normals are black, and the shape of hands is left to the model"]
    found = np.isfinite(pose.hands[seen]).all(axis=(2, 3))
    if not found.any():  # normals from the picture do not tell the hands apart
        share = 100 * samples.hand_maps[seen].any(axis=(1, 2, 3)).mean()
        return [f"hands are often not found (in {share:.0f} % of the frames)"] if share < _HANDS else []
    left, right = (100 * found[:, side].mean() for side in (0, 1))
    if min(left, right) < _HANDS:
        return [
            f"hands are often not found (left in {left:.0f} %, right in {right:.0f} %): out of the frame or blurred"
        ]
    return []


def _about_framing(reference: PersonPose | None, driving: Framing | None, size: tuple[int, int]) -> list[str]:
    if reference is None or driving is None:
        return []
    try:
        framing = choose_framing(reference.keypoints[None], reference.scores[None], size)
    except PosegenError:
        return []
    if framing == driving:
        return []
    return [f"the reference is {_named(framing)}, the driving video {_named(driving)}: what only one shows is invented"]


def _named(framing: Framing) -> str:
    return {"close-up": "a close-up", "half-body": "a half-body shot", "full-body": "a full-body shot",
            "distant": "a distant shot"}[framing]  # fmt: skip


def preview_paths(output: Path) -> tuple[Path, Path]:
    """OUTPUT_preview.png and OUTPUT_preview.mp4."""
    return output.with_name(f"{output.stem}_preview.png"), output.with_name(f"{output.stem}_preview.mp4")
