"""The prompt of a job: the user's own, or one written for the reference image by a model or by a template.

The user's text always wins and is not touched. What is written always names the person, because background sharing
needs that. How colours and pictures become words is `conditions/description.py`'s and `vision_language.py`'s.
"""

import gc
from dataclasses import replace
from pathlib import Path

import numpy as np

from posegen.conditions.description import SHOTS, describe_reference, with_subject
from posegen.conditions.extraction import find_reference_pose
from posegen.conditions.framing import choose_framing
from posegen.conditions.keypoints import PersonPose
from posegen.config import DEFAULT_PROMPT, EstimatorConfig, Framing, PromptConfig
from posegen.devices import choose_device
from posegen.digests import file_digest
from posegen.errors import PosegenError, logger
from posegen.generate.job.job_folder import work_folder
from posegen.generate.request import Request
from posegen.media.checksums import DamagedFileError, checked_json, read_checked_json
from posegen.media.files import check_writable, read_kept, write_whole
from posegen.media.image import read_image
from posegen.progress import Progress


def with_prompt(request: Request, progress: Progress) -> Request:
    """The request with a prompt: as given, or written for its reference image, in which case one line says by whom.

    What a vision-language model has written is kept in the job's folder, so that a job that goes on has the same. A dry
    run does not load that model.
    """
    config = request.config
    if config.prompt is not None or (config.dry_run and config.prompt_model is not None):
        return request
    kept = work_folder(config.output) / "prompt.json"
    framing: Framing | None = None if config.framing == "auto" else config.framing
    asked = {
        "reference": file_digest(config.reference),
        "model": config.prompt_model,
        "subject": config.subject,
        "framing": framing,
    }
    if config.prompt_model is not None and (prompt := _kept(kept, asked)) is not None:
        return replace(request, prompt=prompt)
    prompt, who = write_prompt(request.reference, config.subject, framing, config.prompt_model, config.device, config)
    if config.prompt_model is not None:
        check_writable(kept.parent)
        write_whole(kept, checked_json(asked | {"prompt": prompt}))
    progress.say(f"prompt written {who} (--prompt for your own)")
    return replace(request, prompt=prompt)


def prompt_for(config: PromptConfig) -> tuple[str, str]:
    """The prompt for a picture, and who wrote it: `posegen prompt`."""
    framing: Framing | None = None if config.framing == "auto" else config.framing
    return write_prompt(read_image(config.reference), config.subject, framing, config.prompt_model, config.device)


def write_prompt(
    image: np.ndarray,
    subject: str | None,
    framing: Framing | None,
    model: str | None,
    device: str,
    chosen: EstimatorConfig = EstimatorConfig(),  # noqa: B008 - it is frozen
) -> tuple[str, str]:
    """A prompt for a picture (uint8 sRGB), and words for who wrote it.

    subject: what names the person, guaranteed to occur. framing: measured on the person without it. model: folder or
    hub name of a vision-language model; a template without it. chosen: who finds the person. Raises `PosegenError` if a
    model cannot be used.
    """
    person = find_reference_pose(image, chosen, device)
    framing = framing or _framing(person, image.shape[:2])
    if model is not None:
        return with_subject(_ask(image, SHOTS[framing], subject, model, device), subject), f"by {model}"
    if person is None:
        return with_subject(
            DEFAULT_PROMPT, subject
        ), "in general words, since no person is found in the reference image"
    keypoints, scores = person.keypoints.astype(np.float64), person.scores.astype(np.float64)
    word = (subject or "person").split(",")[0].strip()
    return with_subject(describe_reference(image, keypoints, scores, framing, word), subject), "from measured colours"


def _ask(image: np.ndarray, shot: str, subject: str | None, source: str, device: str) -> str:
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
    """What was written for the same picture and wishes; None if nothing was, or it is damaged, which is reported."""
    try:
        kept = read_checked_json(read_kept(path), path, required=True)
    except OSError:
        return None
    except DamagedFileError as error:
        logger.warning("the prompt is written again: %s", error)
        return None
    prompt = kept.pop("prompt", None)
    return prompt if isinstance(prompt, str) and kept == asked else None
