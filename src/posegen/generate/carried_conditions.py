"""Retargets the driving video's conditions to the reference person, as `--retarget` says.

How it is done is `conditions/retargeting.py`'s; here it is decided what can be done, and reported where that is less
than what was asked for.
"""

from dataclasses import replace
from pathlib import Path

from posegen.conditions.background_motion import MOTION, STILL, BackgroundMotion, measure_background_motion
from posegen.conditions.clip_crop import describe_crop
from posegen.conditions.folder import Conditions
from posegen.conditions.keypoints import SEEN, PoseSequence
from posegen.conditions.retargeted_conditions import fit_sequence, save_retargeted
from posegen.conditions.retargeting import Retargeted, align, describe_outside, retarget, share_outside
from posegen.conditions.still_camera import SteadyCamera, is_reliable, moves
from posegen.conditions.subject_box import find_subject_box
from posegen.config import CameraMode, GenerateConfig, RetargetMode, parse_camera
from posegen.generate.reference_pose import FittedReference
from posegen.media.fitting import Fit, plan_fit
from posegen.model.sources import ModelDescription
from posegen.progress import Progress

_NOTICED = 0.02
"""Movement of the camera in image diagonals up to which `--camera auto` leaves the skeleton as it was filmed."""
_CAMERA = "camera_motion.npz"
"""File that keeps the motion of whole frames, where the result shows only a part of them."""
_MUCH_MORE = 0.15
"""Fraction of the frames that may lose head or shoulders by taking the camera's motion out, with `--camera auto`."""


def carry_over(
    mode: RetargetMode,
    pose: PoseSequence,
    reference: FittedReference,
    camera: CameraMode = "follow",
    motion: BackgroundMotion | None = None,
    whole: Fit | None = None,
) -> tuple[Retargeted | None, list[str]]:
    """Carry the clip's person (in pixels of the result) to the reference; None, and lines that say why, if impossible.

    motion: of the background in the clip's frames, to take the camera's motion out; measured in frames of the result's
    size, or in whole ones, which `whole` fits to that size. Without a person in the reference, or with nothing in
    common with them, the boxes of both are aligned.
    """
    if mode == "off":
        return None, []
    if not (pose.scores >= SEEN).any():
        return None, ["--retarget: of drawn skeletons without keypoints joints are not known; they stay as they are"]
    following = _carried(mode, pose, reference)
    if following[0] is None or motion is None or camera == "follow":
        return _with_outside(*following, pose)
    if not is_reliable(motion):
        lines = _about_unknown_camera(camera, motion)
        return _with_outside(following[0], [*following[1], *lines], pose)
    if not moves(motion, STILL if camera == "still" else _NOTICED):
        return _with_outside(*following, pose)
    steady = (
        SteadyCamera.of(motion, pose.size) if whole is None else SteadyCamera.of(motion, whole.source).fitted(whole)
    )
    moved, lines = _carried(mode, steady.steady(pose), reference)
    if moved is None:
        return _with_outside(*following, pose)
    share = share_outside(moved.pose, pose.scores)
    if camera == "auto" and share > share_outside(following[0].pose, pose.scores) + _MUCH_MORE:
        line = (
            "camera: the skeleton moves with the driving video's camera; with that taken out the person would be out "
            f"of the frame in {100 * share:.0f} % of the frames (--camera still)"
        )
        return _with_outside(following[0], [*following[1], line], pose)
    moved = replace(
        moved,
        hands=steady.before(moved.hands, pose),
        report=f"{moved.report}; the camera's motion is taken out (--camera follow keeps it)",
    )
    return _with_outside(moved, lines, pose)


def _about_unknown_camera(camera: CameraMode, motion: BackgroundMotion) -> list[str]:
    """Return a line where the camera's motion matters or is asked for, but is not known well enough."""
    if camera == "auto" and not moves(motion, _NOTICED):
        return []
    return [
        f"camera: its motion is known in {100 * motion.known.mean():.0f} % of the frames only, so it stays in the "
        "skeleton"
    ]


def _with_outside(
    moved: Retargeted | None, lines: list[str], pose: PoseSequence
) -> tuple[Retargeted | None, list[str]]:
    line = None if moved is None else describe_outside(moved.pose, pose.scores)
    return moved, lines if line is None else [*lines, line]


def _carried(mode: RetargetMode, pose: PoseSequence, reference: FittedReference) -> tuple[Retargeted | None, list[str]]:
    """Carry the person to the reference as they are filmed; lines say where that is less than was asked for."""
    why, person = "no person is found in the reference image", reference.person
    if person is not None:
        moved = retarget(pose, person) if mode == "full" else align(pose, person.box, person)
        if moved is not None:
            return moved, []
        why = "the reference and the driving video show no part of a body in common"
        box = person.box
    else:
        found = find_subject_box(reference.image)
        if found is None:
            return None, [f"{why}, nor anything that stands out: the skeleton stays where it is in the driving video"]
        box = found
    moved = align(pose, box)
    if moved is None:
        return None, [f"{why}: the skeleton stays where it is in the driving video"]
    return moved, [f"{why}: the skeleton is only moved to the box of what stands out in it (posegen preview shows it)"]


def carry_conditions(
    config: GenerateConfig,
    conditions: Conditions,
    driving_fit: Fit,
    reference: FittedReference,
    model: ModelDescription,
    folder: Path,
    progress: Progress,
) -> Conditions:
    """The conditions of the result: carried to the reference and kept in `folder`, or the driving video's as they are.

    driving_fit: how the driving video becomes a video of the result's size. The motion of its camera is kept beside
    `folder`.
    """
    pose, moved, lines = carry_clip(config, conditions, driving_fit, reference, folder.parent, progress)
    for line in lines:
        progress.say(line)
    if moved is None:
        return conditions
    progress.say(moved.report)
    return save_retargeted(
        conditions,
        pose,
        moved,
        folder,
        model.skeleton_colors,
        model.draw_scale,
        lambda done, total: progress.update("retargeting", done, total),
    )


def carry_clip(
    config: GenerateConfig,
    conditions: Conditions,
    driving_fit: Fit,
    reference: FittedReference,
    kept: Path,
    progress: Progress,
) -> tuple[PoseSequence, Retargeted | None, list[str]]:
    """Carry a whole clip to the reference: the pose in pixels of the result, what becomes of it, and lines about it.

    kept: folder of the camera's motion; where the result shows the whole frames, it is the one that background sharing
    measures. None instead of a retargeted clip if it stays as it is.
    """
    pose = fit_sequence(conditions.pose, driving_fit)
    if config.retarget == "off":
        line = describe_outside(pose, conditions.pose.scores)
        return pose, None, [each for each in (line, describe_crop(conditions.pose, driving_fit)) if each is not None]
    motion, whole = None, None
    camera = "follow" if config.motion is not None else parse_camera(config.camera)  # a virtual camera stands still
    if camera != "follow" and (pose.scores >= SEEN).any():
        # a crop may leave little but the person, so the camera is measured in the whole frames
        cropped = driving_fit.mode == "crop" and driving_fit.scaled != driving_fit.target
        motion = measure_background_motion(
            config.movements,
            conditions,
            plan_fit(driving_fit.source, driving_fit.source, "crop") if cropped else driving_fit,
            kept / (_CAMERA if cropped else MOTION),
            lambda done, total: progress.update("camera", done, total),
        )
        whole = driving_fit if cropped else None
    moved, lines = carry_over(config.retarget, pose, reference, camera, motion, whole)
    cut_off = describe_crop(conditions.pose, driving_fit) if moved is None else None
    return pose, moved, [*lines, *([cut_off] if cut_off else [])]
