"""The driving video's own conditions: those that were given, or extracted into the folder of the job."""

from pathlib import Path

from posegen.conditions.extraction import extract_conditions
from posegen.conditions.folder import Conditions
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.resolved_settings import ResolvedSettings
from posegen.progress import Progress


def driving_conditions(inputs: JobInputs, settings: ResolvedSettings, folder: Path, progress: Progress) -> Conditions:
    """Take the conditions that were given, or extract them into `folder`, and say what a user should know of them."""
    conditions = inputs.conditions or _extract(inputs, settings, folder, progress)
    for line in conditions.report:
        progress.say(line)
    return conditions


def _extract(inputs: JobInputs, settings: ResolvedSettings, folder: Path, progress: Progress) -> Conditions:
    config, model = inputs.config, inputs.model
    return extract_conditions(
        config.driving,
        folder,
        settings.driving_fit,
        fps=settings.fps,
        hands=config.hands,
        colors=model.skeleton_colors,
        draw_scale=model.draw_scale,
        progress=lambda done, total: progress.update("conditions", done, total),
        chosen=config,
        device=config.device,
    )
