"""The identity of a job: everything its result depends on, as JSON values.

The same values find the same job again, so that what is finished is not made twice; the texts must stay as they are.
"""

from dataclasses import fields
from pathlib import Path

from posegen import __version__
from posegen.conditions.estimators.choosing import estimator_names
from posegen.config import EstimatorConfig, GenerateConfig
from posegen.generate.job.job_folder import background_folder, job_folder, work_folder
from posegen.generate.planning.job_inputs import JobInputs, read_inputs
from posegen.generate.planning.resolved_settings import ResolvedSettings, resolve_settings
from posegen.generate.reference_pose import fit_reference
from posegen.media.fitting import Fit
from posegen.motion.motion_conditions import VERSION as MOTION_VERSION

_IGNORED = {
    "reference",
    "driving",
    "motion",
    "motion_fps",
    "output",
    "dry_run",
    "side_by_side",
    "person_check",
    "prompt",
    "conditions",
    "prompt_model",
    "sharing_store",
    "memory_budget",
    "save_masks",
    "lora",
    *(field.name for field in fields(EstimatorConfig)),
}
"""Settings on which the result does not depend, or which are in the identity in another form."""


def job_identity(inputs: JobInputs, settings: ResolvedSettings, reference_fit: Fit) -> dict[str, object]:
    """Everything the result depends on, as JSON values; `reference_fit` is how the reference image is cropped."""
    config, digests, sampling = inputs.config, inputs.digests, settings.sampling
    chosen = {key: value for key, value in vars(config).items() if key not in _IGNORED}
    if (settings.start, settings.end) != (None, None):
        chosen["part"] = [settings.start, settings.end]
    names = estimator_names(config)
    if names != estimator_names(EstimatorConfig()) and not inputs.conditions:
        chosen["estimators"] = list(names)
    if inputs.motion is None:
        chosen["driving_sha256"] = digests.driving
    else:
        chosen["motion"] = [digests.driving, MOTION_VERSION, config.smoothing]
    if added := sorted(lora.identity for lora in inputs.loras if lora.strength != 0):
        chosen["lora"] = [list(each) for each in added]
    centre = list(reference_fit.centre)
    return {
        **chosen,
        "prompt": sampling.prompt,
        "negative_prompt": sampling.negative_prompt,
        "steps": sampling.steps,
        "guidance": sampling.guidance,
        "pose_guidance": sampling.pose_guidance.scale,
        "pose_strength": sampling.pose_strength,
        "sharing_precision": settings.sharing.precision,
        "dtype": str(settings.dtype).removeprefix("torch."),
        "size": list(settings.size),
        "fps": str(settings.fps),
        "model": digests.model,
        "reference_sha256": digests.reference,
        "conditions": digests.conditions,
        **({} if centre == [0.5, 0.5] else {"reference_centre": centre}),
        "posegen": __version__,
    }


def identity_of(config: GenerateConfig) -> dict[str, object]:
    """The identity of the job of these settings, before anything is known that an estimator has to find."""
    inputs = read_inputs(config)
    settings = resolve_settings(inputs)
    return job_identity(inputs, settings, fit_reference(inputs.reference, settings.size, config.fit).fit)


def unfinished_job(inputs: JobInputs, settings: ResolvedSettings, reference_fit: Fit) -> Path | None:
    """The job's folder, if an earlier run may have left background in files; inputs are not hashed where none has."""
    output = inputs.config.output
    if not any(work_folder(output).glob(f"job-*/{background_folder(Path())}")):
        return None
    return job_folder(output, job_identity(inputs, settings, reference_fit))
