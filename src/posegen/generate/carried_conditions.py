"""Carries the driving video's conditions to the reference person, as was asked for (`--retarget`).

How it is done is `conditions/retargeting.py`'s; here it is decided what can be done, and reported where that is less
than what was asked for.
"""

from pathlib import Path

from posegen.conditions.folder import Conditions
from posegen.conditions.keypoints import SEEN, PoseSequence
from posegen.conditions.retargeted_conditions import fit_sequence, save_retargeted
from posegen.conditions.retargeting import Retargeted, align, describe_outside, retarget
from posegen.conditions.subject_box import find_subject_box
from posegen.config import RetargetMode
from posegen.generate.reference_pose import FittedReference
from posegen.media.fitting import Fit
from posegen.model.sources import ModelDescription
from posegen.progress import Progress


def carry_over(
    mode: RetargetMode, pose: PoseSequence, reference: FittedReference
) -> tuple[Retargeted | None, list[str]]:
    """The clip's person (in pixels of the result) carried to the reference, or None; and lines that say why not so.

    Without a person in the reference, or with nothing in common with them, the boxes of both are aligned.
    """
    if mode == "off":
        return None, []
    if not (pose.scores >= SEEN).any():
        return None, ["--retarget: of drawn skeletons without keypoints joints are not known; they stay as they are"]
    why, person = "no person is found in the reference image", reference.person
    if person is not None:
        moved = retarget(pose, person) if mode == "full" else align(pose, person.box, person)
        if moved is not None:
            return moved, _about_outside(moved, pose)
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
    line = f"{why}: the skeleton is only moved to the box of what stands out in it (posegen preview shows it)"
    return moved, [line, *_about_outside(moved, pose)]


def _about_outside(moved: Retargeted, pose: PoseSequence) -> list[str]:
    line = describe_outside(moved.pose, pose.scores)
    return [] if line is None else [line]


def carry_conditions(
    mode: RetargetMode,
    conditions: Conditions,
    driving_fit: Fit,
    reference: FittedReference,
    model: ModelDescription,
    folder: Path,
    progress: Progress,
) -> Conditions:
    """The conditions of the result: carried to the reference and kept in `folder`, or the driving video's as they are.

    driving_fit: how the driving video becomes a video of the result's size.
    """
    if mode == "off":
        return conditions
    pose = fit_sequence(conditions.pose, driving_fit)
    moved, lines = carry_over(mode, pose, reference)
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
