"""What steers a job: the driving video's conditions, carried to the reference person as was asked for (`--retarget`).

How it is done is `conditions/retargeting.py`'s; here it is decided what can be done, and told where that is less than
what was asked for.
"""

from dataclasses import replace
from pathlib import Path

from posegen.conditions.extraction import find_reference_pose, fit_pose
from posegen.conditions.folder import Conditions
from posegen.conditions.keypoints import SEEN, PersonPose, PoseSequence
from posegen.conditions.retargeted_conditions import fit_sequence, save_retargeted
from posegen.conditions.retargeting import Retargeted, align, retarget
from posegen.conditions.subject_box import find_subject_box
from posegen.errors import PosegenError
from posegen.generate.request import Request
from posegen.progress import Progress

_AROUND = 0.15
"""Of the longer side of the box about a person's points: hair and hands reach farther than they do."""


def look_at_reference(request: Request, progress: Progress) -> tuple[Request, PersonPose | None]:
    """Find the person of the reference image: a request whose crop keeps them, and them in pixels of the result.

    None if nobody is found, or nobody needs to know. Raises `PosegenError` if neither a person nor a figure of another
    kind is found and the request wants somebody.
    """
    config = request.config
    if not _is_looked_for(request):
        return request, None
    person = find_reference_pose(request.reference, config, config.device)
    request = keep_in_crop(request, person)
    if request.reference_box is None and config.person_check:
        raise PosegenError(
            "no person is found in the reference image: use a picture that shows one clearly, or pass "
            "--no-person-check to go on anyway"
        )
    if request.reference_fit.centre != (0.5, 0.5):
        progress.say("reference: cropped about the person, not about its middle")
    return request, None if person is None else fit_pose(person, request.reference_fit)


def _is_looked_for(request: Request) -> bool:
    """Whether anybody needs to know where the person of the reference image is."""
    return request.config.retarget != "off" or request.config.person_check


def keep_in_crop(request: Request, person: PersonPose | None) -> Request:
    """The request with the reference image cropped about this person, or what stands out, if that is wanted."""
    if not _is_looked_for(request):
        return request
    box = None
    if person is None and request.config.retarget != "off":
        box = find_subject_box(request.reference)
    elif person is not None:
        left, top, right, bottom = person.box
        more = _AROUND * max(right - left, bottom - top)
        box = (left - more, top - more, right + more, bottom + more)
    return replace(request, reference_box=box)


def carry_over(
    request: Request, pose: PoseSequence, reference: PersonPose | None
) -> tuple[Retargeted | None, list[str]]:
    """The clip's person (in pixels of the result) carried to the reference, or None; and lines that say why not so.

    Without a person in the reference, or with nothing in common with them, the boxes of both are aligned.
    """
    mode = request.config.retarget
    if mode == "off":
        return None, []
    if not (pose.scores >= SEEN).any():
        return None, ["--retarget: of drawn skeletons without keypoints joints are not known; they stay as they are"]
    why = "no person is found in the reference image"
    if reference is not None:
        moved = retarget(pose, reference) if mode == "full" else align(pose, reference.box, reference)
        if moved is not None:
            return moved, []
        why = "the reference and the driving video show no part of a body in common"
        box = reference.box
    else:
        found = find_subject_box(request.fitted_reference)
        if found is None:
            return None, [f"{why}, nor anything that stands out: the skeleton stays where it is in the driving video"]
        box = found
    moved = align(pose, box)
    if moved is None:
        return None, [f"{why}: the skeleton stays where it is in the driving video"]
    return moved, [f"{why}: the skeleton is only moved to the box of what stands out in it (posegen preview shows it)"]


def retargeted(
    request: Request, conditions: Conditions, reference: PersonPose | None, folder: Path, progress: Progress
) -> Conditions:
    """The conditions that steer the model: carried to the reference, kept in `folder`; or the driving video's."""
    pose = fit_sequence(conditions.pose, request.driving_fit)
    moved, lines = carry_over(request, pose, reference)
    for line in lines:
        progress.say(line)
    if moved is None:
        return conditions
    progress.say(moved.report)
    model = request.model
    return save_retargeted(
        conditions, pose, moved, folder, model.skeleton_colors, model.draw_scale,
        lambda done, total: progress.update("retargeting", done, total),
    )  # fmt: skip
