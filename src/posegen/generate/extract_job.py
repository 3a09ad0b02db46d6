"""`posegen extract`: the conditions of one driving video in a folder, and an overlay to look at."""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from posegen.conditions.clip_crop import describe_crop
from posegen.conditions.extraction import extract_conditions, write_overlay
from posegen.config import ExtractConfig, parse_fps, parse_size
from posegen.devices import choose_device
from posegen.generate.driving_motion import probe_driving
from posegen.media.files import check_writable
from posegen.media.fitting import check_size, choose_size, plan_fit
from posegen.model.sources import describe_model
from posegen.progress import NullProgress, Progress


@dataclass(frozen=True)
class ExtractResult:
    """The conditions that `extract` has made.

    folder: takes the place of `conditions` of `generate`; overlay: a video of the skeletons over the driving video;
    size: (height, width) in pixels; report: lines about the clip (people, cuts, camera).
    """

    folder: Path
    overlay: Path
    num_frames: int
    fps: Fraction
    size: tuple[int, int]
    report: tuple[str, ...]


def extract_job(config: ExtractConfig, progress: Progress | None = None) -> ExtractResult:
    """Extract conditions; raises `PosegenError` for anything the user can mend."""
    progress = progress or NullProgress()
    choose_device(config.device)
    driving, model = probe_driving(config.driving), describe_model(config.model)
    source = (driving.height, driving.width)
    size = parse_size(config.size) if config.size else choose_size(source, source[0] * source[1], model.size_multiple)
    check_size(size, model.size_multiple)
    fit = plan_fit(source, size, config.fit)
    check_writable(config.output)
    progress.say(f"{config.driving.name}: {fit.describe()}")
    conditions = extract_conditions(
        config.driving,
        config.output,
        fit,
        fps=parse_fps(config.fps) if config.fps else driving.fps,
        hands=config.hands,
        colors=model.skeleton_colors,
        draw_scale=model.draw_scale,
        progress=lambda done, total: progress.update("conditions", done, total),
        chosen=config,
        device=config.device,
        edited=True,
    )
    fit = conditions.cropping(fit)
    cut_off = describe_crop(conditions.pose, fit)
    report = (*conditions.report, *([cut_off] if cut_off else []))
    for line in report:
        progress.say(line)
    overlay = config.output / "overlay.mp4"
    embedded = config.pose == "mediapipe" and config.normals == "mediapipe"
    write_overlay(conditions, config.driving, overlay, None if embedded else fit)
    return ExtractResult(config.output, overlay, conditions.num_frames, conditions.fps, conditions.size, report)
