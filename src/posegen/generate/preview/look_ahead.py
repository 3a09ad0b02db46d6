"""Looks ahead at a job: poses, hands, the camera, the plan, and what to expect.

The conditions are those of the job itself, made in its folder, where `generate` takes them up; a quick preview guesses
them from a few frames. Drawing is `preview_pictures.py`'s; nothing is generated and no video model is loaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from posegen.conditions.background_motion import MOTION, BackgroundMotion, measure_background_motion
from posegen.conditions.camera import CameraTracker, person_mask
from posegen.conditions.cuts import describe_cuts
from posegen.conditions.extraction import fit_pose
from posegen.conditions.folder import Conditions
from posegen.conditions.followed_pose import NobodyError
from posegen.conditions.framing import choose_framing
from posegen.conditions.keypoints import SEEN, PersonPose, PoseSequence
from posegen.conditions.person_in_frame import describe_place
from posegen.conditions.retargeted_conditions import carry_hands, hands_are_drawn
from posegen.conditions.retargeting import Retargeted
from posegen.conditions.sampled_conditions import (
    Pictures,
    Samples,
    kept_samples,
    sample_conditions,
    samples_without_people,
    sequence_of,
)
from posegen.conditions.tracking_report import PersonSummary
from posegen.config import FitMode, Framing, GenerateConfig, parse_camera
from posegen.errors import PosegenError
from posegen.generate.background.anchor import choose_anchor, describe_unsafe, unsafe_segments
from posegen.generate.carried_conditions import carry_clip, carry_over
from posegen.generate.driving_conditions import driving_conditions
from posegen.generate.driving_motion import still_background
from posegen.generate.job.job_folder import hold_output, work_folder
from posegen.generate.planning.job_inputs import JobInputs, read_inputs
from posegen.generate.planning.resolved_settings import ResolvedSettings, resolve_settings
from posegen.generate.reference_pose import FittedReference, ReferencePose, describe_cut_off, show_person
from posegen.generate.segments import Segment
from posegen.generate.video_plan import VideoPlan, plan_video
from posegen.media.fitting import Fit, plan_fit
from posegen.media.video import sample_frames
from posegen.progress import Progress
from posegen.types import Frame

SAMPLES = 48
_LONG_SIDE = 320
_RARE = 0.05
"""Share of the samples up to which nothing is said of what is missing in them."""
_HANDS = 60
"""Percent of the samples with a hand below which it is said."""
_MOST_PEOPLE = 12
"""Maximum number of people shown with their numbers."""
_GUESS = "--quick: a guess from a few frames; `generate` may follow another person and see other cuts"
_CUT_OFF = 0.15
"""Share of the person's keypoints outside the result from which it is said."""


@dataclass(frozen=True)
class Preview:
    """Findings about a video before it is made.

    plan: the video as it is planned, with the reference image as it is cropped; numbers: of the sampled frames in the
    result; frames: those of the driving video, fitted to the result's size; pose: the person in them, in pixels of the
    result; placed: the same person carried to the reference, as the result will show them; hand_maps: the hand normals
    of the result; skeletons: pictures of skeletons that were given without keypoints, else None; anchor, alone: whose
    background is shared, and which segments take no part (None and empty where none is shared). warnings: one line
    each, the most important first. people: everybody in the driving video, each with the whole frame that shows them
    best, and the number of the followed one; empty for a quick preview.
    """

    plan: VideoPlan
    numbers: Int[np.ndarray, " samples"]
    frames: UInt8[np.ndarray, "samples height width 3"]
    pose: PoseSequence
    placed: PoseSequence
    hand_maps: UInt8[np.ndarray, "samples height width 3"]
    skeletons: UInt8[np.ndarray, "samples height width 3"] | None
    anchor: Segment | None
    alone: tuple[Segment, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    people: tuple[tuple[PersonSummary, UInt8[np.ndarray, "_ _ 3"]], ...] = ()
    followed: int | None = None


def look_ahead(config: GenerateConfig, progress: Progress, samples: int = SAMPLES, quick: bool = False) -> Preview:
    """Find out what the job would, and show evenly spread samples of it.

    quick: look at the samples only, which is a guess. Raises `PosegenError` if the driving video cannot be read.
    """
    inputs = read_inputs(config)
    person = ReferencePose.of(inputs.reference, config)
    video = plan_video(inputs, resolve_settings(inputs), person, progress)
    settings = video.settings
    count, fps, start = settings.num_frames, settings.fps, settings.start or 0.0
    numbers = np.unique(np.linspace(0, count - 1, min(samples, count)).round().astype(int))
    found, conditions = _look(inputs, settings, numbers, quick, progress)
    if conditions is not None:
        settings = replace(settings, driving_fit=conditions.cropping(settings.driving_fit))
    fit, size = settings.driving_fit, settings.size
    pose = _fitted(found.people, fit, fps)
    seen = np.array([each is not None for each in found.people])
    reference = show_person(video.reference, person, config)
    warnings = [] if reference.person is not None else ["no person is found in the reference image"]
    warnings += [_GUESS] if quick and inputs.conditions is None and inputs.motion is None else []
    warnings += describe_cut_off(reference)
    if conditions is None:
        sampled = replace(pose, fps=Fraction(fps * len(numbers), count))
        sampled_motion = _motion(found.frames, pose, fit)
        followed = None if sampled_motion.scene.max() > len(found.cuts) else sampled_motion  # too sparse to be compared
        moved, lines = carry_over(config.retarget, sampled, reference, parse_camera(config.camera), followed)
        motion = _spread(sampled_motion, numbers, count)
    else:
        moved, lines, motion = _whole_clip(inputs, settings, conditions, reference, numbers, progress)
    warnings += lines
    line = describe_cuts(found.cuts, fps, start)
    warnings += [line] if line else []
    if found.skeletons is None:
        warnings += _about_people(numbers / float(fps) + start, seen, found)
        warnings += describe_place(sequence_of(found.people, settings.driving_fit.source, fps))
        warnings += _about_fit(config.fit, pose) if moved is None and conditions is None else []
        warnings += _about_hands(pose, found, seen) if config.hands else []
    framing = _framing(pose, size) if inputs.motion is None else None  # of a virtual camera it says nothing
    warnings += _about_framing(reference.person, framing, size)
    about_sound = f"sound: {settings.sound.describe()}"
    lost = bool(settings.sound.losses) and inputs.motion is None
    warnings += [about_sound] if lost else []
    notes = [] if lost else [about_sound]
    notes += [] if framing is None else [f"framing of the driving video: {framing}"]
    notes += [] if moved is None else [moved.report]
    if found.skeletons is not None:
        notes.append("the skeletons are pictures that were given: where joints are is not known")
    if inputs.motion is None:
        notes.append(motion.describe())
    elif conditions is not None:
        notes += conditions.report
    anchor: Segment | None = None
    alone: tuple[Segment, ...] = ()
    if settings.sharing.config is not None:
        plan, asked = settings.plan, config.anchor
        shown = _nearest(seen, numbers, count)
        if conditions is not None:
            shown = np.asarray((conditions.pose.scores >= SEEN).any(axis=1))
        anchor = choose_anchor(motion, plan, shown) if asked is None else plan.base_segments[asked]
        unsafe = unsafe_segments(motion, plan, anchor)
        line = describe_unsafe(unsafe)
        warnings += [line] if line else []
        alone = tuple(item.segment for item in unsafe)
        notes.append(f"anchor: base segment {plan.base_segments.index(anchor)} ({anchor.name})")
    return Preview(
        plan=replace(video, reference=reference),
        numbers=numbers,
        frames=found.frames,
        pose=pose,
        placed=pose if moved is None else moved.pose,
        hand_maps=_carried_hands(inputs, found, pose, moved),
        skeletons=found.skeletons,
        anchor=anchor,
        alone=alone,
        notes=tuple(notes),
        warnings=tuple(warnings),
        people=_people_pictures(config, settings, found),
        followed=found.followed,
    )


def _carried_hands(inputs: JobInputs, found: Samples, pose: PoseSequence, moved: Retargeted | None) -> Pictures:
    """The hand-normal maps as the result will have them."""
    if moved is None:
        return found.hand_maps
    given = inputs.conditions
    drawn = inputs.config.normals == "mediapipe" if given is None else hands_are_drawn(given)
    return np.stack(list(carry_hands(found.hand_maps, pose, moved, drawn)))


def _look(
    inputs: JobInputs, settings: ResolvedSettings, numbers: Int[np.ndarray, " samples"], quick: bool, progress: Progress
) -> tuple[Samples, Conditions | None]:
    """Find what is in the sampled frames, from the job's conditions, which are made if need be, or only from these."""
    config, chosen, fit = inputs.config, numbers.tolist(), settings.driving_fit
    if quick and inputs.conditions is None and inputs.motion is None:
        sampled = sample_conditions(
            config.movements,
            chosen,
            fit,
            settings.fps,
            config.hands,
            config,
            config.device,
            lambda done: progress.update("looking", done, len(chosen)),
        )
        return sampled, None
    try:
        conditions = inputs.conditions or _job_conditions(inputs, settings, progress)
    except NobodyError:
        nobody = samples_without_people(config.movements, chosen, fit, settings.fps, settings.start, settings.end)
        return nobody, None
    return kept_samples(conditions, config.driving, chosen, conditions.cropping(fit)), conditions


def _job_conditions(inputs: JobInputs, settings: ResolvedSettings, progress: Progress) -> Conditions:
    """Make the conditions in the folder of the job, as `generate` does, or take up those that are there."""
    output = inputs.config.output
    with hold_output(output):
        return driving_conditions(inputs, settings, work_folder(output) / "conditions", progress)


def _whole_clip(
    inputs: JobInputs,
    settings: ResolvedSettings,
    conditions: Conditions,
    reference: FittedReference,
    numbers: Int[np.ndarray, " samples"],
    progress: Progress,
) -> tuple[Retargeted | None, list[str], BackgroundMotion]:
    """Carry the clip and measure its background as the job does; return the samples, lines, and the motion."""
    config, fit = inputs.config, settings.driving_fit
    folder = work_folder(config.output) / "conditions"
    with hold_output(config.output):
        folder.mkdir(parents=True, exist_ok=True)
        if config.motion is not None:
            motion = still_background(conditions)
        else:
            motion = measure_background_motion(
                config.movements,
                conditions,
                fit,
                folder / MOTION,
                lambda done, total: progress.update("background motion", done, total),
            )
        _, moved, lines = carry_clip(config, conditions, fit, reference, folder, progress)
    if moved is None:
        return None, lines, motion
    pose = moved.pose
    picked = PoseSequence(pose.keypoints[numbers], pose.scores[numbers], pose.hands[numbers], pose.size, pose.fps)
    return replace(moved, pose=picked, hands=moved.hands[numbers]), lines, motion


def _people_pictures(
    config: GenerateConfig, settings: ResolvedSettings, found: Samples
) -> tuple[tuple[PersonSummary, Frame], ...]:
    """Return everybody with the frame of the driving video that shows them best, the most often seen of many."""
    most = sorted(found.seen_people, key=lambda person: -person.frames)[:_MOST_PEOPLE]
    shown = sorted(most, key=lambda person: person.number)
    numbers = sorted({person.best for person in shown})
    if len(found.seen_people) < 2:
        return ()
    frames = dict(
        zip(
            numbers,
            sample_frames(config.movements, numbers, settings.fps, settings.start, settings.end),
            strict=True,
        )
    )
    return tuple((person, frames[person.best]) for person in shown)


def _fitted(people: Sequence[PersonPose | None], fit: Fit, fps: Fraction) -> PoseSequence:
    """In pixels of the result; frames without a person have scores 0."""
    return sequence_of([None if person is None else fit_pose(person, fit) for person in people], fit.target, fps)


def _framing(pose: PoseSequence, size: tuple[int, int]) -> Framing | None:
    try:
        return choose_framing(pose.keypoints, pose.scores, size)
    except PosegenError:
        return None


def _motion(frames: UInt8[np.ndarray, "samples h w 3"], pose: PoseSequence, fit: Fit) -> BackgroundMotion:
    """Return the motion of the samples. What moves faster than they can be followed counts as another scene."""
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
    nearest = _nearest(np.arange(len(numbers)), numbers, count)
    apart = max(1.0, count / len(numbers))  # frames between samples: a sample's movement is that of all of them
    return BackgroundMotion(
        motion.turn[nearest],
        motion.shift[nearest],
        motion.scene[nearest],
        motion.known[nearest],
        motion.residual[nearest] / apart,
        motion.fps,
    )


def _nearest(values: np.ndarray, numbers: Int[np.ndarray, " samples"], count: int) -> np.ndarray:
    """Return for each frame of the result the value of the sample nearest to it."""
    return np.asarray(values[np.searchsorted((numbers[1:] + numbers[:-1]) / 2, np.arange(count))])


def _about_people(
    moments: Float[np.ndarray, " samples"], seen: Bool[np.ndarray, " samples"], found: Samples
) -> list[str]:
    lines = []
    if not seen.any():
        return ["no person is found in the driving video"]
    if 1 - seen.mean() > _RARE:
        when = _seconds(moments[~seen])
        lines.append(f"nobody is seen in {100 * (1 - seen.mean()):.0f} % of the driving video (about second {when})")
    if len(found.seen_people) > 1:
        lines.append(
            f"{len(found.seen_people)} people are in the driving video: number {found.followed} is followed "
            "(--person chooses another)"
        )
    elif found.most_people > 1:
        lines.append(
            f"up to {found.most_people} people are in the driving video: the one who is largest at first is shown here"
        )
    return lines


def _about_fit(mode: FitMode, pose: PoseSequence) -> list[str]:
    """Warn where the result's picture cuts off what the driving video shows of the person."""
    seen = pose.scores >= SEEN
    x, y = pose.keypoints[..., 0], pose.keypoints[..., 1]
    height, width = pose.size
    outside = seen & ((x < 0) | (x >= width) | (y < 0) | (y >= height))
    share = float(outside.sum()) / max(int(seen.sum()), 1)
    if share <= _CUT_OFF or mode == "pad":
        return []
    return [
        f"{100 * share:.0f} % of the person is cut off: the result shows a part of the driving video's frames "
        "(--fit pad shows all of them, --size another shape)"
    ]


def _seconds(moments: Float[np.ndarray, " moments"], most: int = 5) -> str:
    named = list(dict.fromkeys(f"{moment:.0f}" for moment in moments))
    return ", ".join(named[:most]) + (", ..." if len(named) > most else "")


def _about_hands(pose: PoseSequence, samples: Samples, seen: Bool[np.ndarray, " samples"]) -> list[str]:
    if not seen.any():
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
    return {
        "close-up": "a close-up",
        "half-body": "a half-body shot",
        "full-body": "a full-body shot",
        "distant": "a distant shot",
    }[framing]
