"""Makes the segments of one job: what each needs (anchor, neighbours, conditions), in what order, and never twice.

The order follows from what is asked for: the video is read in order of time, a stitch segment first has its two
neighbours made, a base segment the anchor. Sampling, codecs and cross-fading are done elsewhere.
"""

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from posegen.generate.background.mask_pictures import draw_sharing, keep_masks, kept_masks, masks_path
from posegen.generate.background.shared_background import SharedBackground, make_store
from posegen.generate.background.sharing_plan import SharingPlan
from posegen.generate.conditions_ahead import ConditionsAhead
from posegen.generate.job.job_folder import Job, background_folder
from posegen.generate.segment_inputs import SegmentInputs
from posegen.generate.segments import Segment, SegmentPlan
from posegen.heap import trim_heap
from posegen.media.checksums import remove_checked, state_of
from posegen.media.image import write_image
from posegen.model.background_store import Branch
from posegen.model.denoise import (
    NO_HOOKS,
    BackgroundOfStep,
    Conditioning,
    StepHooks,
    denoise,
    no_background,
    predict_velocity,
)
from posegen.model.latents import iterate_decoded
from posegen.model.sharing import BackgroundSharing, SharingPass
from posegen.model.tensor_types import Latents
from posegen.progress import Progress
from posegen.types import Frame, Frames, PreservedFrames


class SegmentMaker:
    """Frames of any segment of a plan, made when they are first asked for and kept in the job's folder."""

    def __init__(
        self,
        inputs: SegmentInputs,
        plan: SegmentPlan,
        sharing: SharingPlan | None,
        job: Job,
        fps: Fraction,
        progress: Progress,
    ) -> None:
        """Take over what an earlier run left; `fps` is that of the segments' files."""
        self.inputs, self.plan, self.sharing, self.job, self.progress = inputs, plan, sharing, job, progress
        self.pipeline, self.sampling, self.fps = inputs.pipeline, inputs.sampling, fps
        self.background = self._plan_background()
        self._anchor_conditioning: Conditioning | None = None
        self._ahead = ConditionsAhead(inputs.conditioning, self.pipeline.vae.device)
        self._told: set[str] = set()

    def _plan_background(self) -> SharedBackground | None:
        """Make background sharing as planned; None where nothing is to be shared."""
        plan, pipeline = self.sharing, self.pipeline
        if plan is None:
            return None
        folder = background_folder(self.job.folder)
        store = make_store(plan.kind, folder, pipeline.transformer.device)
        subject = pipeline.subject_tokens(self.sampling.prompt, plan.subject) if plan.masked else None
        sharing = BackgroundSharing(plan.config, subject, store, plan.precision)
        background = SharedBackground(sharing, plan.kind, folder, lambda *call: self._replay(plan.anchor, *call))
        background.resume(self.inputs.passes())
        return background

    def frames_of(self, segment: Segment) -> Frames:
        """The segment's frames (F, H, W, 3), from the job's folder if it is finished."""
        told = segment.name in self._told
        self._told.add(segment.name)
        if not told:
            self._check_masks(segment)
        if not self.job.has(segment):
            make = {"base": self._make_base, "stitch": self._make_stitch, "chain": self._make_chain}[segment.kind]
            frames = make(segment)
            self._keep_masks(segment)  # first, so that no finished segment is without
            self.job.save(segment, frames, self.fps)
            trim_heap()
        elif not told:
            self.progress.say(f"segment {segment.name} is already finished")
        if not told:
            self._draw_masks(segment)
        return self.job.load(segment)

    def _takes_background(self, segment: Segment) -> bool:
        sharing = self.sharing
        if self.background is None or sharing is None or segment.kind != "base":
            return False
        return segment != sharing.anchor and segment not in sharing.alone

    def _keep_masks(self, segment: Segment) -> None:
        """Keep the masks of what a base segment that was just denoised has taken from the anchor, drawn or not."""
        if self.background is None or not self._takes_background(segment):
            return
        masks = self.background.masks()
        if masks is not None:
            keep_masks(masks_path(self.job.path(segment)), *masks)

    def _check_masks(self, segment: Segment) -> None:
        """Have a finished segment made again if its masks are wanted and damaged: only its denoising gives them."""
        path = masks_path(self.job.path(segment))
        if self.sharing is not None and self.sharing.pictures is not None and state_of(path) == "damaged":
            self.progress.say(f"the masks of segment {segment.name} are damaged: the segment is made again")
            self.job.remove(segment)
            remove_checked(path)

    def _draw_masks(self, segment: Segment) -> None:
        """If wanted, a picture of what a finished base segment has taken from the anchor."""
        sharing = self.sharing
        if sharing is None or sharing.pictures is None or not self._takes_background(segment):
            return
        masks = kept_masks(masks_path(self.job.path(segment)))
        if masks is None:
            self.progress.say(
                f"--save-masks: no masks are kept of segment {segment.name}; delete {self.job.path(segment)} "
                "to have it made again with them"
            )
            return
        sharing.pictures.mkdir(parents=True, exist_ok=True)
        anchor, frames = self.frames_of(sharing.anchor), self.job.load(segment)
        write_image(sharing.pictures / f"{segment.name}.png", draw_sharing(anchor, masks[0], frames, masks[1]))

    def finish(self) -> None:
        """The video is written: what only served to make segments goes."""
        if self.background is not None:
            self.background.clear()

    # -- kinds of segments ---------------------------------------------------------------------------------------------

    def _make_base(self, segment: Segment) -> Iterator[Frame]:
        background, sharing = self.background, self.sharing
        if background is None or sharing is None or segment in sharing.alone:
            return self._generate(segment)
        if segment == sharing.anchor:
            recording = StepHooks(on_latents=background.on_latents)
            frames = self._decode(self._denoise(segment, background.record, hooks=recording))
            background.recorded()
            return frames
        self._need_background(background, sharing.anchor)
        return self._generate(segment, background.share)

    def _need_background(self, background: SharedBackground, anchor: Segment) -> None:
        """Make the anchor if it is missing; if a job resumes after it, run its shared steps again to record them."""
        if background.ready:
            return
        if not self.job.has(anchor):
            self.frames_of(anchor)
            return
        only_shared = StepHooks(on_latents=background.on_latents, stop_after=background.steps_to_record)
        self._denoise(anchor, background.record, hooks=only_shared)
        background.recorded()

    def _replay(self, anchor: Segment, step: int, branch: Branch, latents: Latents, recording: SharingPass) -> None:
        """Run the anchor's forward pass of one step, beside another base segment's (same adapter, same schedule)."""
        transformer = self.pipeline.transformer
        device = transformer.device
        if self._anchor_conditioning is None:
            self._anchor_conditioning = self.inputs.conditioning(anchor).to(device, transformer.dtype)
        timestep = self.pipeline.scheduler.timesteps[step]
        predict_velocity(transformer, latents.to(device), timestep, self._anchor_conditioning, branch, recording)

    def _make_stitch(self, segment: Segment) -> Iterator[Frame]:
        before, after = (self.plan.segments[segment.index + step] for step in (-1, 1))
        head = self._end_of(before)
        tail = self.frames_of(after)[: self.plan.overlap(segment.index)]
        return self._generate(segment, head=head, tail=tail)

    def _make_chain(self, segment: Segment) -> Iterator[Frame]:
        return self._generate(segment, head=self._end_of(self.plan.segments[segment.index - 1]))

    def _end_of(self, segment: Segment) -> PreservedFrames:
        """The frames that a segment shares with the one after it."""
        return self.frames_of(segment)[segment.stop - segment.start - self.plan.overlap(segment.index) :]

    # -- one segment ---------------------------------------------------------------------------------------------------

    def _generate(
        self,
        segment: Segment,
        background: BackgroundOfStep = no_background,
        head: PreservedFrames | None = None,
        tail: PreservedFrames | None = None,
    ) -> Iterator[Frame]:
        return self._decode(self._denoise(segment, background, head, tail))

    def _decode(self, latents: Latents) -> Iterator[Frame]:
        return iterate_decoded(self.pipeline.vae, latents)

    def _denoise(
        self,
        segment: Segment,
        background: BackgroundOfStep = no_background,
        head: PreservedFrames | None = None,
        tail: PreservedFrames | None = None,
        hooks: StepHooks = NO_HOOKS,
    ) -> Latents:
        conditioning = self._ahead.conditioning(segment, head, tail)
        self.pipeline.use_adapter("base" if segment.kind == "base" else "stitch")
        whole = hooks.stop_after is None
        total = self.sampling.steps if hooks.stop_after is None else hooks.stop_after
        task = f"segment {segment.name}" if whole else f"background of {segment.name}"
        self.progress.update(task, 0, total)
        with self._ahead.encoding(self._next_base(segment)):
            return denoise(
                self.pipeline.transformer,
                self.pipeline.scheduler,
                self.inputs.noise(segment.stop - segment.start),
                conditioning,
                self.sampling,
                background,
                replace(hooks, on_step=lambda step: self.progress.update(task, step, total)),
            )

    def _next_base(self, segment: Segment) -> Segment | None:
        """The base segment that is made after this one, whose conditions need no other segment's frames; or None."""
        missing = (other for other in self.plan.base_segments if other != segment and not self.job.path(other).exists())
        return next(missing, None)
