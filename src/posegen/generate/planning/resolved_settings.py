"""Settings of a job as they are after every "by default": size, frame rate, segments, steps, guidance, prompt, dtype.

Everything is resolved once from the inputs, and checked where that needs no model. A later stage that knows more (the
prompt that was written, the framing that was measured) makes a new value of it and hands that on.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import torch

from posegen.conditions.estimators.choosing import draws_given_skeletons
from posegen.conditions.estimators.file import FilePose
from posegen.conditions.extraction import check_estimators
from posegen.conditions.folder import Inputs, check_conditions
from posegen.conditions.subject_words import find_subjects
from posegen.config import DEFAULT_PROMPT, Framing, GenerateConfig, parse_bytes, parse_fps, parse_size
from posegen.devices import choose_device, choose_dtype
from posegen.errors import PosegenError
from posegen.generate.background.resolved_sharing import AnchorPasses, ResolvedSharing, resolve_sharing
from posegen.generate.driving_motion import NO_SOUND
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.segments import SegmentPlan, plan_segments
from posegen.media.audio import Sound, check_sound
from posegen.media.fitting import Fit, check_size, plan_fit
from posegen.media.video import count_frames, shown_frames
from posegen.model.denoise import PoseGuidance, Sampling
from posegen.model.sources import ModelDescription
from posegen.types import Size


@dataclass(frozen=True, kw_only=True)
class SamplingSettings(Sampling):
    """Everything that leads the sampling of each segment, beside its conditions and the reference image."""

    prompt: str
    negative_prompt: str
    seed: int
    pose_strength: float
    hands: bool = True
    reference_tokens: bool = True


@dataclass(frozen=True)
class ResolvedSettings:
    """Settings of one job, resolved.

    start, end: the part of the driving video, in seconds; None for its ends. num_frames, plan: by what the container of
    the driving video says; the conditions count again. driving_fit: how the driving video becomes a video of `size`.
    sound: which sound of the driving video the result gets. budget: bytes of memory for the shared background.
    """

    size: Size
    fps: Fraction
    num_frames: int
    start: float | None
    end: float | None
    driving_fit: Fit
    sound: Sound
    plan: SegmentPlan
    device: torch.device
    dtype: torch.dtype
    sampling: SamplingSettings
    sharing: ResolvedSharing
    budget: int | None = None

    def with_prompt(self, prompt: str) -> "ResolvedSettings":
        """The settings with the prompt that was written."""
        return replace(self, sampling=replace(self.sampling, prompt=prompt))


def resolve_settings(inputs: JobInputs) -> ResolvedSettings:
    """Resolve every setting of a job. Raises `PosegenError` for those that do not fit the inputs or each other."""
    config, model, given, motion = inputs.config, inputs.model, inputs.conditions, inputs.motion
    size = parse_size(config.size) if config.size else given.size if given else None
    if size is None:
        size = model.size_for((inputs.reference.shape[0], inputs.reference.shape[1]))
    check_size(size, model.size_multiple)
    driving = inputs.driving_info(size)
    usual = driving.fps if motion is None else motion.usual_rate
    fps = parse_fps(config.fps) if config.fps else given.fps if given else usual
    start, end = (given.start, given.end) if given else (config.start, config.end)
    num_frames = count_frames(driving, fps if config.fps or given or motion else None, start, end)
    sampling = _resolve_sampling(config, model)
    device = choose_device(config.device)
    dtype = choose_dtype(config.dtype, device)
    plan = plan_job(num_frames, model, config)
    framing: Framing = "half-body" if config.framing == "auto" else config.framing
    passes = AnchorPasses(model, size, dtype, sampling)
    budget = None if config.memory_budget is None else parse_bytes(config.memory_budget)
    settings = ResolvedSettings(
        size=size,
        fps=fps,
        num_frames=num_frames,
        start=start,
        end=end,
        driving_fit=plan_fit((driving.height, driving.width), size, config.fit),
        sound=NO_SOUND if motion else check_sound(config.movements, start or 0.0, float(num_frames / fps)),
        plan=plan,
        device=device,
        dtype=dtype,
        sampling=sampling,
        sharing=resolve_sharing(config, passes, len(plan.base_segments), framing, budget),
        budget=budget,
    )
    _check_given(inputs, settings.driving_fit, fps, num_frames)
    if config.anchor is not None and config.anchor >= len(plan.base_segments):
        raise PosegenError(
            f"--anchor {config.anchor}: the video has {len(plan.base_segments)} base segments, counted from 0"
        )
    if settings.sharing.config is not None and config.prompt is not None:  # one that is written names the person
        find_subjects(config.prompt, config.subject)
    return settings


def plan_job(num_frames: int, model: ModelDescription, config: GenerateConfig) -> SegmentPlan:
    """Plan the segments of a video of so many frames."""
    return plan_segments(num_frames, model.segment_length, model.head, model.tail, config.long_method)


def reframed(inputs: JobInputs, settings: ResolvedSettings, framing: Framing) -> ResolvedSettings:
    """The settings with the framing that was measured, and what is shared by it."""
    sampling, sharing = settings.sampling, settings.sharing
    passes = AnchorPasses(inputs.model, settings.size, settings.dtype, sampling)
    bases = len(settings.plan.base_segments)
    shared = resolve_sharing(inputs.config, passes, bases, framing, settings.budget, sharing.precision)
    return replace(settings, sharing=shared)


def _resolve_sampling(config: GenerateConfig, model: ModelDescription) -> SamplingSettings:
    """As asked for, or the model's own."""
    pose_scale = model.default_pose_guidance if config.pose_guidance is None else config.pose_guidance
    return SamplingSettings(
        prompt=config.prompt or DEFAULT_PROMPT,
        negative_prompt=model.negative_prompt if config.negative_prompt is None else config.negative_prompt,
        seed=config.seed,
        steps=model.default_steps if config.steps is None else config.steps,
        guidance=model.default_guidance if config.guidance is None else config.guidance,
        pose_guidance=PoseGuidance(pose_scale, model.pose_guidance_until),
        pose_strength=model.default_pose_strength if config.pose_strength is None else config.pose_strength,
        hands=config.hands,
        reference_tokens=config.reference_tokens,
    )


def _check_given(inputs: JobInputs, fit: Fit, fps: Fraction, num_frames: int) -> None:
    """Raise `PosegenError` where given conditions, estimators, or a file of poses do not fit the driving video."""
    config, model, driving, given = inputs.config, inputs.model, inputs.driving, inputs.conditions
    if driving is None:  # a motion needs no estimator
        return
    if given is None:
        check_estimators(config, driving, fit, fps, config.hands)
        if config.pose_file is not None and not draws_given_skeletons(config):
            shown = shown_frames(driving, fps, config.start, config.end).tolist()
            FilePose(config.pose_file, (driving.height, driving.width), shown, driving.num_frames)
    elif inputs.made_from is not None:
        wanted = Inputs.of(
            config.movements,
            fit,
            fps,
            config.hands,
            model.skeleton_colors,
            model.draw_scale,
            start=given.start if config.start is None else config.start,
            end=given.end if config.end is None else config.end,
        )
        check_conditions(given, inputs.made_from, wanted, num_frames)
