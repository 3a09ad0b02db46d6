"""What is asked for, checked: inputs probed, sizes fitted, frames counted, memory estimated; nothing expensive done.

A dry run prints it and stops. Whether a person is in the pictures, and everything that needs a model, comes later.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from posegen import __version__
from posegen.conditions.estimators.choosing import draws_given_skeletons, estimator_names
from posegen.conditions.estimators.file import FilePose
from posegen.conditions.extraction import check_estimators
from posegen.conditions.folder import Conditions, Inputs, check_conditions, open_conditions
from posegen.conditions.subject_words import find_subjects
from posegen.config import (
    DEFAULT_PROMPT,
    EstimatorConfig,
    Framing,
    GenerateConfig,
    parse_bytes,
    parse_fps,
    parse_lora,
    parse_size,
)
from posegen.devices import choose_device, choose_dtype
from posegen.digests import file_digest
from posegen.errors import PosegenError
from posegen.generate.background.shared_background import (
    Need,
    Room,
    StoreChoice,
    choose_precision,
    choose_store,
    describe_precision,
)
from posegen.generate.job.job_folder import (
    background_folder,
    background_sizes,
    growing_path,
    job_folder,
    side_by_side_path,
    work_folder,
)
from posegen.generate.job.manifest import JobProgress
from posegen.generate.segments import SegmentPlan, plan_segments
from posegen.media.audio import SILENT, Sound, check_sound
from posegen.media.fitting import Fit, check_size, plan_fit
from posegen.media.image import read_image
from posegen.media.video import VideoInfo, count_frames, probe_video, shown_frames
from posegen.model.background_store import StorePrecision
from posegen.model.denoise import PoseGuidance, forward_passes
from posegen.model.lora_files import Lora
from posegen.model.sharing import SharingConfig, make_sharing_config
from posegen.model.sources import ModelDescription, describe_loras, describe_model, model_identity


@dataclass(frozen=True)
class Request:
    """A checked request: inputs read, sizes fitted, frames counted; nothing expensive done yet.

    conditions: those that were given; None if they are to be extracted.
    framing: of the person, as asked for or measured; until it is measured, the middle of what there is.
    precision: number format of the shared background, as asked for or chosen.
    """

    config: GenerateConfig
    model: ModelDescription
    reference: np.ndarray
    driving: VideoInfo
    size: tuple[int, int]
    fps: Fraction
    num_frames: int
    prompt: str
    conditions: Conditions | None = None
    framing: Framing = "half-body"
    precision: StorePrecision = "same"
    reference_box: tuple[float, float, float, float] | None = None
    """What a crop of the reference image is to keep: (left, top, right, bottom) in its pixels; None: its middle."""
    sound: Sound = SILENT
    """Which sound of the driving video the result gets."""

    @cached_property
    def loras(self) -> tuple[Lora, ...]:
        """LoRA files of other trainers, and how strong they are used."""
        return tuple(Lora(*parse_lora(text)) for text in self.config.lora)

    @property
    def start(self) -> float | None:
        """Second of the driving video at which to begin: as asked for, or that of the given conditions."""
        return self.conditions.start if self.conditions else self.config.start

    @property
    def end(self) -> float | None:
        """Second of the driving video at which to stop."""
        return self.conditions.end if self.conditions else self.config.end

    @property
    def reference_fit(self) -> Fit:
        """How the reference image becomes a picture of the video's size."""
        fit = plan_fit(self.reference.shape[:2], self.size, self.config.fit)
        return fit if self.reference_box is None else fit.keeping(self.reference_box)

    @cached_property
    def fitted_reference(self) -> np.ndarray:
        """The reference image at the video's size: uint8 (H, W, 3)."""
        return self.reference_fit.apply(self.reference)

    @property
    def driving_fit(self) -> Fit:
        """How the driving video becomes a video of the result's size."""
        return plan_fit((self.driving.height, self.driving.width), self.size, self.config.fit)

    @property
    def plan(self) -> SegmentPlan:
        """The segments, as far as the container tells the number of frames."""
        return self.plan_of(self.num_frames)

    def plan_of(self, num_frames: int) -> SegmentPlan:
        """The segments of a video of so many frames."""
        model = self.model
        return plan_segments(num_frames, model.segment_length, model.head, model.tail, self.config.long_method)

    @property
    def sharing(self) -> SharingConfig | None:
        """Where the background is shared; None where it is not: switched off, one base segment, or not this method."""
        config = self.config
        if config.sharing == "off" or config.long_method != "interleaved" or len(self.plan.base_segments) == 1:
            return None
        layers, preset = (
            self.model.num_layers,
            make_sharing_config(config.sharing, self.steps, self.model.num_layers, self.framing),
        )
        return replace(
            preset,
            steps=preset.steps if config.sharing_steps is None else range(min(config.sharing_steps, self.steps)),
            layers=preset.layers
            if config.sharing_layers is None
            else range(max(0, layers - config.sharing_layers), layers),
        )

    @cached_property
    def store(self) -> StoreChoice | None:
        """How the shared background is kept; None where none is shared. Raises `PosegenError` if it fits nowhere."""
        sharing = self.sharing
        if sharing is None:
            return None
        need = self._need(sharing, self.precision)
        return choose_store(self.config.sharing_store, need, self._room, self._background_in_files())

    def _background_in_files(self) -> int:
        """Places of the shared background that an earlier run of this job has left in files."""
        output = self.config.output
        if not any(work_folder(output).glob(f"job-*/{background_folder(Path())}")):  # spares reading the driving video
            return 0
        return len(background_sizes(job_folder(output, self.settings())))

    @cached_property
    def _room(self) -> Room:
        config = self.config
        return Room.of(choose_device(config.device), work_folder(config.output), self._models_memory(), self.budget)

    @property
    def dtype(self) -> torch.dtype:
        """Number format of the models: as asked for, or what the device computes in fast."""
        return choose_dtype(self.config.dtype, choose_device(self.config.device))

    @property
    def budget(self) -> int | None:
        """Bytes that the shared background may take in memory, if that was said."""
        return None if self.config.memory_budget is None else parse_bytes(self.config.memory_budget)

    def _need(self, sharing: SharingConfig, precision: StorePrecision) -> Need:
        passes = forward_passes(self.model.flow_shift, self.steps, self.guidance, self.pose_guidance)
        shared = sum(step in sharing.steps for step, _ in passes)
        tokens = sum(self.model.tokens(self.size))
        return Need.of(sharing, tokens, self.model.dim, shared, precision, self.dtype.itemsize)

    def with_precision(self) -> "Request":
        """The request with the number format of its shared background chosen, once and for all.

        It is part of what a job is recognised by, so that a framing that is measured later does not change it.
        """
        wanted, sharing = self.config.sharing_precision, self.sharing
        if sharing is None:
            return replace(self, precision="same" if wanted == "auto" else wanted)
        exact, small = self._need(sharing, "same"), self._need(sharing, "int10")
        return replace(self, precision=choose_precision(wanted, self.config.sharing_store, exact, small, self.budget))

    @property
    def steps(self) -> int:
        """Denoising steps: as asked for, or the model's usual number."""
        return self.model.default_steps if self.config.steps is None else self.config.steps

    @property
    def guidance(self) -> float:
        """Strength of guidance: as asked for, or the model's."""
        return self.model.default_guidance if self.config.guidance is None else self.config.guidance

    @property
    def pose_guidance(self) -> PoseGuidance:
        """Guidance by the pose: as strong as asked for, or the model's; in the steps for which the model wants it."""
        asked, model = self.config.pose_guidance, self.model
        return PoseGuidance(model.default_pose_guidance if asked is None else asked, model.pose_guidance_until)

    @property
    def pose_strength(self) -> float:
        """How strong skeletons and hand normals are: as asked for, or the model's."""
        return self.model.default_pose_strength if self.config.pose_strength is None else self.config.pose_strength

    @property
    def negative_prompt(self) -> str:
        """What guidance leads away from: as asked for, or the model's."""
        given = self.config.negative_prompt
        return self.model.negative_prompt if given is None else given

    def settings(self) -> dict[str, object]:
        """Everything the result depends on, as JSON values: what a job is recognised by."""
        config, centre = self.config, list(self.reference_fit.centre)
        ignored = {"reference", "driving", "output", "dry_run", "side_by_side", "person_check", "prompt", "conditions",
                   "prompt_model", "sharing_store", "memory_budget", "save_masks", "lora"}  # fmt: skip
        ignored |= {field.name for field in fields(EstimatorConfig)}
        chosen = {key: value for key, value in vars(config).items() if key not in ignored}
        default = estimator_names(EstimatorConfig())
        if (self.start, self.end) != (None, None):
            chosen["part"] = [self.start, self.end]
        if estimator_names(config) != default and not self.conditions:
            chosen["estimators"] = list(estimator_names(config))
        if added := sorted(lora.identity for lora in self.loras if lora.strength != 0):
            chosen["lora"] = [list(each) for each in added]
        return {
            **chosen,
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "steps": self.steps,
            "guidance": self.guidance,
            "pose_guidance": self.pose_guidance.scale,
            "pose_strength": self.pose_strength,
            "sharing_precision": self.precision,
            "dtype": str(self.dtype).removeprefix("torch."),
            "size": list(self.size),
            "fps": str(self.fps),
            "model": model_identity(config.model),
            "reference_sha256": file_digest(config.reference),
            "driving_sha256": file_digest(config.driving),
            "conditions": self.conditions.digest() if self.conditions else None,
            **({} if centre == [0.5, 0.5] else {"reference_centre": centre}),
            "posegen": __version__,
        }

    def keeps(self, plan: SegmentPlan) -> JobProgress:
        """How much a job of this plan will keep on disk."""
        places, size = 0, 0
        if self.sharing is not None and self.store is not None and self.store.kind == "disk":
            need = self._need(self.sharing, self.precision)
            places, size = need.whole // need.one_layer, need.one_layer
        return JobProgress(
            segments=0 if self.config.long_method == "freenoise" else len(plan.segments),
            segment_length=plan.segment_length,
            num_frames=plan.num_frames,
            frame_pixels=math.prod(self.size) * 3,
            background_files=places,
            background_file=size,
        )

    def memory(self) -> int:
        """Estimated peak memory of the models, their work and the shared background, in bytes."""
        sharing, store = self.sharing, self.store
        if sharing is None or store is None:
            return self._models_memory()
        need, kind = self._need(sharing, self.precision), store.kind
        kept = {"device": need.whole, "host": 2 * need.one_layer, "disk": 2 * need.one_layer}
        return self._models_memory() + kept.get(kind, need.one_pass)

    def _models_memory(self) -> int:
        model, (height, width) = self.model, self.size
        weights = model.weights_bytes * self.dtype.itemsize // 2  # counted in bfloat16
        return estimate_memory(sum(model.tokens(self.size)), model.dim, model.ffn_dim, weights, height * width)

    def describe(self) -> str:
        """The plan in a few lines: inputs, fit, segments, tokens, memory."""
        config, plan = self.config, self.plan
        video, reference = self.model.tokens(self.size)
        kinds = [segment.kind for segment in plan.segments]
        count = " + ".join(f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds))
        try:
            memory = self.memory()
        except PosegenError:  # the background fits nowhere
            if not config.dry_run:
                raise
            memory = self._models_memory()
        lines = [
            f"reference  {config.reference.name}: {self.reference_fit.describe()}",
            f"driving    {config.driving.name}: {self.driving_fit.describe()}",
            f"result     {self.num_frames} frames, {float(self.fps):g} frames/s, "
            f"{float(self.num_frames / self.fps):.1f} s, {self.size[0]}x{self.size[1]} (height x width)",
            f"plan       {count} segments of {plan.segment_length} frames, {self.steps} steps each"
            + ("" if self.pose_guidance.scale == 1.0 else f", pose guidance {self.pose_guidance.scale:g}")
            + ("" if self.pose_strength == 1.0 else f", pose strength {self.pose_strength:g}"),
            f"background {self._describe_sharing()}",
            f"tokens     {video} video + {reference} reference tokens a segment",
            f"memory     about {memory / 1e9:.1f} GB (estimated)",
            f"sound      {self.sound.describe()}",
            f"prompt     {self.prompt}",
        ]
        lines += [f"LoRA       {line}" for line in describe_loras(config.model, self.loras)]
        if self.conditions:
            lines.insert(2, f"conditions {self.conditions.folder}: as they are there, nothing is extracted")
        if config.save_masks and (self.sharing is None or not config.sharing_mask):
            lines.append("NOTE       --save-masks: there are no subject masks, since no background is shared by them")
        known = self.model.trained_size
        if known is not None and known != self.size:
            lines.append(
                f"NOTE       the model {config.model!r} was trained at {known[0]}x{known[1]} only: other shapes are "
                "worse, and wide ones show torn and doubled bodies"
            )
        if not self.model.trained:
            lines.append(f"NOTE       the model {config.model!r} was never trained to follow poses: expect noise")
        return "\n".join(lines)

    def _describe_sharing(self) -> str:
        sharing, config = self.sharing, self.config
        if sharing is None:
            return "not shared" if len(self.plan.segments) > 1 else "not shared: there is one segment"
        try:
            assert self.store is not None
            exact, small = self._need(sharing, "same"), self._need(sharing, "int10")
            how = describe_precision(
                config.sharing_precision, self.precision, self.store.kind, exact, small, self._room
            )
            return f"shared as in the {sharing.preset}, {self.store.reason}; {how}"
        except PosegenError as error:
            if not self.config.dry_run:
                raise
            return f"DOES NOT FIT: {error}"


def prepare(config: GenerateConfig) -> Request:
    """Read and check everything that is cheap: model name, inputs, size, frame rate, prompt."""
    model = describe_model(config.model)
    reference = read_image(config.reference)
    driving = probe_video(config.driving)
    beside = [side_by_side_path(config.output)] if config.side_by_side else []
    protect_inputs(config, (config.output, growing_path(config.output), *beside))
    given, made_from = open_conditions(config.conditions) if config.conditions else (None, None)
    size = parse_size(config.size) if config.size else given.size if given else None
    if size is None:
        size = model.size_for((reference.shape[0], reference.shape[1]))
    check_size(size, model.size_multiple)
    fps = parse_fps(config.fps) if config.fps else given.fps if given else driving.fps
    prompt = config.prompt or DEFAULT_PROMPT
    part = (given.start, given.end) if given else (config.start, config.end)
    num_frames = count_frames(driving, fps if config.fps or given else None, *part)
    framing: Framing = "half-body" if config.framing == "auto" else config.framing
    sound = check_sound(config.driving, part[0] or 0.0, float(num_frames / fps))
    request = Request(config, model, reference, driving, size, fps, num_frames, prompt, given, framing, sound=sound)
    request = request.with_precision()
    describe_loras(config.model, request.loras)
    if given and made_from:
        wanted = Inputs.of(
            config.driving, request.driving_fit, fps, config.hands, model.skeleton_colors, model.draw_scale,
            start=given.start if config.start is None else config.start,
            end=given.end if config.end is None else config.end,
        )  # fmt: skip
        check_conditions(given, made_from, wanted, num_frames)
    if given is None:
        check_estimators(config, driving, request.driving_fit, fps, config.hands)
        if config.pose_file is not None and not draws_given_skeletons(config):
            shown = shown_frames(driving, fps, config.start, config.end).tolist()
            FilePose(config.pose_file, (driving.height, driving.width), shown, driving.num_frames)
    if config.anchor is not None and config.anchor >= len(request.plan.base_segments):
        raise PosegenError(
            f"--anchor {config.anchor}: the video has {len(request.plan.base_segments)} base segments, counted from 0"
        )
    if request.sharing is not None and config.prompt is not None:  # one that is written names the person
        find_subjects(prompt, config.subject)
    return request


def protect_inputs(config: GenerateConfig, written: Iterable[Path]) -> None:
    """Raise `PosegenError` if one of the files that will be written is one of the inputs."""
    given = (config.driving, config.reference, config.pose_file, config.normals_file)
    inputs = {path.resolve() for path in given if path is not None}
    for path in written:
        if path.resolve() in inputs:
            what = f"--output {path} is"
            if path != config.output:
                what = f"beside --output {config.output}, {path} is written, which is"
            raise PosegenError(f"{what} one of the inputs: choose another name")


def estimate_memory(tokens: int, dim: int, ffn_dim: int, weights: int, pixels: int, bytes_per_value: int = 2) -> int:
    """Bytes that models need at their peak, roughly: weights, and the larger of a block's and the decoder's work.

    tokens: video + reference tokens; pixels: height · width of a frame.
    """
    block = tokens * (8 * dim + ffn_dim) * bytes_per_value
    decoder = pixels * 96 * 4 * 6 * bytes_per_value
    return weights + max(block, decoder) + math.ceil(0.5e9)
