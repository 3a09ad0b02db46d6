"""Makes the segments of one job: what each needs (anchor, neighbours, conditions), in what order, and never twice.

The order follows from what is asked for: the video is read in order of time, a stitch segment first has its two
neighbours made, a base segment the anchor. Sampling, codecs and cross-fading are done elsewhere.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import UInt8

from posegen.conditions.folder import Conditions
from posegen.model.sharing import BackgroundSharing, make_sharing_config
from posegen.pipeline.denoise import Background, Conditioning, denoise, no_background
from posegen.pipeline.job import Job
from posegen.pipeline.latents import encode_frames, iterate_decoded
from posegen.pipeline.pipeline import PoseGenPipeline
from posegen.pipeline.progress import Progress
from posegen.pipeline.request import Request
from posegen.pipeline.segments import Segment, SegmentPlan, reflect_indices

Frames = UInt8[np.ndarray, "frames height width 3"]
Frame = UInt8[np.ndarray, "height width 3"]
Given = UInt8[np.ndarray, "_ height width 3"]
"""Preserved frames: fewer than a segment has."""


class SegmentMaker:
    """Frames of any segment of a plan, made when they are first asked for and kept in the job's folder."""

    def __init__(
        self,
        pipeline: PoseGenPipeline,
        request: Request,
        conditions: Conditions,
        plan: SegmentPlan,
        job: Job,
        progress: Progress,
    ) -> None:
        """Encode what all segments have in common: text, image features and reference latents."""
        config, reference = request.config, request.fitted_reference
        self.pipeline, self.request, self.config, self.conditions = pipeline, request, config, conditions
        self.plan, self.job, self.progress = plan, job, progress
        self.text = pipeline.encode_text(request.prompt)
        self.negative_text = pipeline.encode_text(request.negative_prompt) if request.guidance != 1.0 else None
        self.image = pipeline.encode_image(reference)
        self.reference_latents = encode_frames(pipeline.vae, reference[None])
        self.anchor = plan.base_segments[0]
        self.sharing = self._plan_sharing(request.prompt)
        self._recorded = False
        self._told: set[str] = set()

    def _plan_sharing(self, prompt: str) -> BackgroundSharing | None:
        """Background sharing as configured; None where nothing is to be shared."""
        if self.config.sharing == "off" or len(self.plan.base_segments) == 1:
            return None
        num_layers = self.pipeline.transformer.config.num_layers
        settings = make_sharing_config(self.config.sharing, self.request.steps, num_layers, self.config.framing)
        return BackgroundSharing(settings, self.pipeline.subject_tokens(prompt, self.config.subject))

    def frames_of(self, segment: Segment) -> Frames:
        """The segment's frames (F, H, W, 3), from the job's folder if it is finished."""
        if not self.job.has(segment):
            frames = self._make_stitch(segment) if segment.kind == "stitch" else self._make_base(segment)
            self.job.save(segment, frames, self.conditions.fps)
            self._told.add(segment.name)
        elif segment.name not in self._told:
            self._told.add(segment.name)
            self.progress.say(f"segment {segment.name} is already finished")
        return self.job.load(segment)

    def _make_base(self, segment: Segment) -> Iterator[Frame]:
        if self.sharing is None:
            return self._generate(segment)
        if segment == self.anchor:
            frames = self._generate(segment, self.sharing.record)
            self._recorded = True
            return frames
        self._need_background()
        return self._generate(segment, self.sharing.share)

    def _need_background(self) -> None:
        """Make the anchor if it is missing; if a job goes on after it, run its shared steps again to record them."""
        if self._recorded:
            return
        if not self.job.has(self.anchor):
            self.frames_of(self.anchor)
            return
        assert self.sharing is not None
        self._denoise(self.anchor, self.sharing.record, stop_after=max(self.sharing.config.steps, default=-1) + 1)
        self._recorded = True

    def _make_stitch(self, segment: Segment) -> Iterator[Frame]:
        before, after = (self.plan.segments[segment.index + step] for step in (-1, 1))
        head = self.frames_of(before)[len(self._indices(before)) - self.plan.overlap(before.index) :]
        tail = self.frames_of(after)[: self.plan.overlap(segment.index)]
        return self._generate(segment, no_background, head, tail)

    def _indices(self, segment: Segment) -> np.ndarray:
        return reflect_indices(segment.start, segment.stop, self.conditions.num_frames)

    def _generate(
        self,
        segment: Segment,
        background: Background = no_background,
        head: Given | None = None,
        tail: Given | None = None,
    ) -> Iterator[Frame]:
        return iterate_decoded(self.pipeline.vae, self._denoise(segment, background, head, tail))

    def _denoise(
        self,
        segment: Segment,
        background: Background = no_background,
        head: Given | None = None,
        tail: Given | None = None,
        stop_after: int | None = None,
    ) -> torch.Tensor:
        indices = self._indices(segment)
        first, last = int(indices.min()), int(indices.max()) + 1
        skeleton = self.conditions.skeleton_frames(first, last)[indices - first]
        hands = self.conditions.hand_frames(first, last)[indices - first] if self.config.hands else None
        condition_latents, hand_latents = self.pipeline.encode_conditions(skeleton, hands, head, tail)
        self.pipeline.use_adapter(segment.kind)
        total = self.request.steps if stop_after is None else stop_after
        task = f"segment {segment.name}" if stop_after is None else f"background of {segment.name}"
        self.progress.update(task, 0, total)
        return denoise(
            self.pipeline.transformer,
            self.pipeline.scheduler,
            self.pipeline.noise(len(indices), self.conditions.size, self.config.seed),
            Conditioning(
                condition_latents, hand_latents, self.reference_latents, self.text, self.negative_text, self.image
            ),
            self.request.steps,
            self.request.guidance,
            background,
            on_step=lambda step: self.progress.update(task, step, total),
            stop_after=stop_after,
        )
