"""The conditions of the driving video or motion: those that were given, or made in the folder of the job."""

from pathlib import Path

from posegen.conditions.extraction import extract_conditions
from posegen.conditions.folder import Conditions
from posegen.config import parse_viewpoint
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.resolved_settings import ResolvedSettings
from posegen.motion.motion_conditions import motion_conditions
from posegen.progress import Progress


def driving_conditions(inputs: JobInputs, settings: ResolvedSettings, folder: Path, progress: Progress) -> Conditions:
    """Take the conditions that were given, or extract them into `folder`, and say what a user should know of them."""
    conditions = inputs.conditions or _extract(inputs, settings, folder, progress)
    for line in conditions.report:
        progress.say(line)
    return conditions


def _extract(inputs: JobInputs, settings: ResolvedSettings, folder: Path, progress: Progress) -> Conditions:
    config, model = inputs.config, inputs.model
    if inputs.motion is not None:
        return motion_conditions(
            inputs.motion.motion,
            inputs.motion.path.name,
            parse_viewpoint(config.camera),
            folder,
            settings.driving_fit,
            settings.fps,
            settings.start,
            settings.end,
            config.hands,
            model.skeleton_colors,
            model.draw_scale,
            config.smoothing,
            progress=lambda done, total: progress.update("conditions", done, total),
        )
    return extract_conditions(
        config.movements,
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
