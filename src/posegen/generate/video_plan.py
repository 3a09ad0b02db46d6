"""Plans a video: writes the prompt if none was given (the only slow part), fits the reference, estimates needs."""

from dataclasses import dataclass
from pathlib import Path

from posegen.generate.planning.job_description import describe_job
from posegen.generate.planning.job_identity import unfinished_job
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.job_needs import JobNeeds, estimate_needs
from posegen.generate.planning.resolved_settings import ResolvedSettings
from posegen.generate.prompting import with_prompt
from posegen.generate.reference_pose import FittedReference, ReferencePose, fit_reference
from posegen.progress import Progress


@dataclass(frozen=True, eq=False)
class VideoPlan:
    """A video before it is made.

    inputs: what was asked for and read. settings: as they were resolved. reference: the reference image at the size of
    the result. needs: memory, and how the shared background is kept. description: all of it in a few lines.
    """

    inputs: JobInputs
    settings: ResolvedSettings
    reference: FittedReference
    needs: JobNeeds
    description: str


@dataclass(frozen=True)
class VideoResult:
    """A finished video, and the plan as it was carried out; of a dry run, where the video would be."""

    output: Path
    plan: VideoPlan


def plan_video(inputs: JobInputs, settings: ResolvedSettings, pose: ReferencePose, progress: Progress) -> VideoPlan:
    """Plan the video of these inputs; `pose` is asked only if a prompt must be written. Raises `PosegenError`."""
    config = inputs.config
    settings = with_prompt(inputs, settings, pose, progress)
    reference = fit_reference(inputs.reference, settings.size, config.fit)
    needs = estimate_needs(inputs, settings, unfinished_job(inputs, settings, reference.fit))
    return VideoPlan(inputs, settings, reference, needs, describe_job(inputs, settings, reference.fit, needs))
