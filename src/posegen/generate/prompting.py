"""The prompt of a job: the user's own, or one written for the reference image by a model or by a template.

The user's text always wins and is not touched. What is written always names the person, because background sharing
needs that. How colours and pictures become words is `conditions/prompt_template.py`'s and `vision_language.py`'s.
"""

import gc
from pathlib import Path

import numpy as np

from posegen.conditions.framing import choose_framing
from posegen.conditions.keypoints import PersonPose
from posegen.conditions.prompt_template import SHOTS, describe_reference, with_subject
from posegen.config import DEFAULT_PROMPT, EstimatorConfig, Framing, PromptConfig, parse_person
from posegen.devices import choose_device
from posegen.digests import file_digest
from posegen.errors import PosegenError, logger
from posegen.generate.job.job_folder import work_folder
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.resolved_settings import ResolvedSettings
from posegen.generate.reference_pose import ReferencePose
from posegen.media.checksums import DamagedFileError, checked_json, read_checked_json
from posegen.media.files import check_writable, read_kept, write_whole
from posegen.media.image import read_image
from posegen.progress import Progress
from posegen.types import Image


def with_prompt(
    inputs: JobInputs, settings: ResolvedSettings, pose: ReferencePose, progress: Progress
) -> ResolvedSettings:
    """The settings with a prompt: as given, or written for the reference image, in which case one line says by whom.

    What a vision-language model has written is kept in the job's folder, so that a job that resumes has the same. A dry
    run does not load that model.
    """
    config = inputs.config
    if config.prompt is not None or (config.dry_run and config.prompt_model is not None):
        return settings
    framing: Framing | None = None if config.framing == "auto" else config.framing
    if config.prompt_model is None:
        prompt, writer = write_prompt(pose, config.subject, framing)
    else:
        kept = work_folder(config.output) / "prompt.json"
        asked = {
            "reference": file_digest(config.reference),
            "model": config.prompt_model,
            "subject": config.subject,
            "framing": framing,
        }
        if (known := _kept(kept, asked)) is not None:
            return settings.with_prompt(known)
        prompt, writer = write_prompt(pose, config.subject, framing, config.prompt_model, config.device)
        check_writable(kept.parent)
        write_whole(kept, checked_json(asked | {"prompt": prompt}))
    progress.say(f"prompt written {writer} (--prompt for your own)")
    return settings.with_prompt(prompt)


def prompt_for(config: PromptConfig) -> tuple[str, str]:
    """The prompt for a picture, and words for its writer: `posegen prompt`."""
    framing: Framing | None = None if config.framing == "auto" else config.framing
    image = read_image(config.reference)
    pose = ReferencePose(image, EstimatorConfig(), config.device, parse_person(config.reference_person))
    return write_prompt(pose, config.subject, framing, config.prompt_model, config.device)


def write_prompt(
    pose: ReferencePose,
    subject: str | None,
    framing: Framing | None,
    model: str | None = None,
    device: str = "auto",
) -> tuple[str, str]:
    """A prompt for the image of `pose`, and words for its writer.

    subject: what names the person, guaranteed to occur. framing: measured on the person without it. model: folder or
    hub name of a vision-language model, for `device`; a template without it. Raises `PosegenError` if a model cannot be
    used.
    """
    image = pose.image
    framing = framing or _framing(pose.person, image.shape[:2])
    if model is not None:
        return with_subject(_ask(image, SHOTS[framing], subject, model, device), subject), f"by {model}"
    person = pose.person
    if person is None:
        return with_subject(
            DEFAULT_PROMPT, subject
        ), "in general words, since no person is found in the reference image"
    keypoints, scores = person.keypoints.astype(np.float64), person.scores.astype(np.float64)
    word = (subject or "person").split(",")[0].strip()
    return with_subject(describe_reference(image, keypoints, scores, framing, word), subject), "from measured colours"


def _ask(image: Image, shot: str, subject: str | None, source: str, device: str) -> str:
    import torch

    from posegen.conditions.vision_language import VisionLanguageModel

    place = choose_device(device)
    model = VisionLanguageModel(source, place, torch.float32 if place.type == "cpu" else torch.bfloat16)
    said = model.describe(image, shot, subject)
    del model  # before the video model is loaded
    gc.collect()
    if place.type == "cuda":
        torch.cuda.empty_cache()
    return said


def _framing(person: PersonPose | None, size: tuple[int, int]) -> Framing:
    if person is None:
        return "half-body"
    try:
        return choose_framing(person.keypoints[None], person.scores[None], size)
    except PosegenError:
        return "half-body"


def _kept(path: Path, asked: dict[str, str | None]) -> str | None:
    """The prompt that was written for the same image and wishes; None if none was, or it is damaged (one line)."""
    try:
        kept = read_checked_json(read_kept(path), path, required=True)
    except OSError:
        return None
    except DamagedFileError as error:
        logger.warning("the prompt is written again: %s", error)
        return None
    prompt = kept.pop("prompt", None)
    return prompt if isinstance(prompt, str) and kept == asked else None
