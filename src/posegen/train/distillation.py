"""The stage `distill`: a model, or the adapters on a fast base, learns to generate in a few steps without guidance.

Data and validation of losses are those of the other stages of the transformer (`diffusion.py`), the objective is in
`few_steps.py`. Base and stitch segments take turns, since the weights under both adapters may change. The exported
model says how many steps it is made for, and generates in so many by default.
"""

import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posegen.data.clips import Clip
from posegen.data.encoders import Encoders
from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache, clips_left_out
from posegen.data.shards import Shard
from posegen.model.denoise import PoseGuidance, Sampling, denoise
from posegen.model.folder_sources import set_flow_shift
from posegen.model.latents import decode_latents
from posegen.model.pipeline import PoseGenPipeline
from posegen.train.diffusion import DiffusionStage, conditioning_of
from posegen.train.discriminator import LatentDiscriminator
from posegen.train.few_steps import FewStepBatch, FewStepModel, step_sigmas
from posegen.train.objective import FlowBatch, region_psnr, sharpness_ratio
from posegen.train.schedule import generator
from posegen.train.stage import Validation
from posegen.train.stage_settings import DistillSettings, Phase
from posegen.train.teacher import Teacher
from posegen.train.train_recipe import ModelSettings

_REPLACED = ("sigmas", "unposed_latents", "unposed_hands")


class DistillStage(DiffusionStage):
    """Trains a transformer, or adapters on it, for few steps. A `TrainStage`."""

    settings: DistillSettings

    def __init__(
        self,
        pipeline: PoseGenPipeline,
        settings: DistillSettings,
        model: ModelSettings,
        train: list[Shard],
        validation: list[Shard],
        cache: LatentCache,
        encoders: Encoders | None = None,
    ) -> None:
        """Set which weights learn, copy the teacher and build the discriminator, where the settings want them."""
        super().__init__(pipeline, settings, model, train, validation, cache, encoders)
        self.shift = settings.few_step_shift or float(pipeline.scheduler.config.shift)
        set_flow_shift(pipeline, self.shift)
        self.sigmas = step_sigmas(settings.few_steps, self.shift)
        discriminator = None
        if settings.adversarial > 0:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed)
                discriminator = make_discriminator(pipeline.transformer.config, settings)
        self.model_in_training = FewStepModel(
            pipeline.transformer, discriminator, self.sigmas, self.channel_weights, teacher=self._make_teacher()
        )

    def _make_teacher(self) -> Teacher | None:
        """Copy the starting model, with the settings by which it is sampled; None if it teaches nothing."""
        if not self.settings.teacher_steps:
            return None
        settings, config = self.settings, self.pipeline.config
        steps = settings.teacher_steps * settings.few_steps
        pose = PoseGuidance(float(config.default_pose_guidance), float(config.pose_guidance_until))
        if settings.teacher_pose_guidance:
            pose = PoseGuidance(settings.teacher_pose_guidance, settings.teacher_guided_until)
        sampling = Sampling(steps, float(config.default_guidance), pose)
        negative = self.pipeline.encode_text(config.negative_prompt)[0] if sampling.guidance != 1.0 else None
        return Teacher(
            copy.deepcopy(self.pipeline.transformer),
            sampling,
            settings.teacher_pose_strength or float(config.default_pose_strength),
            step_sigmas(steps, self.shift),
            negative,
        )

    @property
    def module(self) -> nn.Module:
        """The transformer, and its discriminator if it has one."""
        return self.model_in_training

    @property
    def sampling(self) -> Sampling:
        """The few steps, without guidance."""
        return Sampling(self.settings.few_steps, guidance=1.0)

    def kind_of_step(self, step: int, kinds: dict[str, Encoding]) -> str:
        """Return `pose` for a step of base segments, `stitch` for one of stitch segments, spread evenly."""
        share = self.settings.stitch_share
        return "stitch" if int((step + 1) * share) > int(step * share) else "pose"

    def make_batch(self, step: int, phase: Phase, step_of_phase: int, part: slice) -> FewStepBatch:
        """Draw the items and noise of a part, and which step of the few each item learns, from what."""
        flow = super().make_batch(step, phase, step_of_phase, part)
        settings = self.settings
        chances = torch.stack(
            [torch.rand(3, generator=generator(settings.seed, step, item, 7)) for item in range(part.start, part.stop)]
        )
        few = chances[:, 0] >= settings.flow_share
        index = (chances[:, 1] * settings.few_steps).long()
        sigmas = torch.where(few, self.sigmas[index], flow.sigmas)
        own = few & (chances[:, 2] < settings.own_share)
        rising = min((step + 1) / max(settings.warmup * settings.steps, 1.0), 1.0)
        later = index / (settings.few_steps - 1) if settings.few_steps > 1 else torch.ones(len(index))
        return FewStepBatch(
            **{name: value for name, value in vars(flow).items() if name not in _REPLACED},
            sigmas=sigmas,
            **self._without_pose(flow),
            own_steps=torch.where(own, index, 0).float(),
            taught=torch.where(few, index, -1).float(),
            adversarial=torch.where(few, settings.adversarial * rising * later, 0.0),
            kind="stitch" if self.kind_of_step(step, {}) == "stitch" else "base",
        )

    def _without_pose(self, batch: FlowBatch) -> dict[str, torch.Tensor]:
        """Return the conditions of a batch without skeletons and hands: black but for the preserved frames."""
        if not self.settings.teacher_steps:
            return {}
        stride = self.pipeline.temporal_stride
        mask, pose = batch.condition_latents[:, :stride], batch.condition_latents[:, stride:]
        black, given = self.black_latents(pose), mask[:, -1:] > 0
        unposed = torch.cat([mask, torch.where(given, pose, black)], dim=1)
        hands = batch.hand_latents
        return {"unposed_latents": unposed} | (
            {} if hands is None else {"unposed_hands": torch.where(given, hands, black)}
        )

    def loss(self, module: nn.Module, batch: FlowBatch, device: torch.device) -> torch.Tensor:
        """Return the mean loss of a batch: regression, adversarial, and the discriminator's own."""
        loss: torch.Tensor = module(batch.to(device))
        return loss

    @torch.no_grad()
    def validate(self, module: nn.Module, device: torch.device) -> Validation:
        """Measure flow-matching losses as the other stages do, and what the few steps generate beside the true clips.

        `few_steps_psnr`: in dB, over the person. `few_steps_sharpness`: over the person, relative to the true frames;
        `decoded_sharpness` is that of the true frames through the autoencoder, which is what can be reached.
        """
        self.model_in_training.use("base")
        result = super().validate(self.pipeline.transformer, device)
        scores = [self._generate(clip, row) for clip, row in self._clips_of_validation()]
        for name in scores[0]:
            result.scalars[name] = sum(score[name] for score in scores) / len(scores)
        return result

    def _clips_of_validation(self) -> list[tuple[Clip, dict[str, torch.Tensor]]]:
        """Return validation clips, of base segments, with their encoded first windows."""
        encoding = self.encodings(self.settings.phases[-1])["pose"]
        items, windows = self._validation[encoding], encoding.windows * (1 + encoding.mirrored)
        clips = [
            Clip(sample, self.cache.drawing)
            for shard in self._few()
            for left_out in (set(clips_left_out(self.cache.file(shard, encoding))),)
            for sample in shard.samples
            if sample.key not in left_out
        ]
        return [(clip, items[number * windows]) for number, clip in enumerate(clips[: self.settings.validation_clips])]

    def _generate(self, clip: Clip, row: dict[str, torch.Tensor]) -> dict[str, float]:
        encoding = self.encodings(self.settings.phases[-1])["pose"]
        noise = torch.randn(row["latents"][None].shape, generator=generator(5))
        batch = self._batch([row], encoding, noise, torch.zeros(1))
        made = denoise(self.pipeline.transformer, self.pipeline.scheduler, noise, conditioning_of(batch), self.sampling)
        person = torch.from_numpy(clip.person(0, encoding.num_frames))
        videos = [decode_latents(self.cache.vae, latents) for latents in (made, batch.latents)]
        videos.append(clip.frames(0, encoding.num_frames))
        frames, decoded, truth = (torch.from_numpy(np.ascontiguousarray(video)) for video in videos)
        return {
            "few_steps_psnr": region_psnr(frames, truth, person),
            "few_steps_sharpness": sharpness_ratio(frames, truth, person),
            "decoded_sharpness": sharpness_ratio(decoded, truth, person),
        }

    def export(self, folder: Path) -> None:
        """Write the whole pipeline, or the adapters alone, with the settings by which it is sampled."""
        settings = self.sampling_settings()
        del settings["flow_shift"]  # the scheduler has it
        self.pipeline.register_to_config(**settings)
        super().export(folder)

    def sampling_settings(self) -> dict[str, Any]:
        """Return the few steps, and no guidance: what it and a stronger pose were for has been learned."""
        steps = self.settings.few_steps
        off = dict.fromkeys(("default_guidance", "default_pose_guidance", "default_pose_strength"), 1.0)
        return {"few_steps": steps, "default_steps": steps, **off, "flow_shift": self.shift}


def make_discriminator(transformer: Any, settings: DistillSettings) -> LatentDiscriminator:
    """Build the discriminator for a transformer's configuration."""
    latents = transformer["out_channels"]
    return LatentDiscriminator(latents, transformer["in_channels"] + latents, settings.discriminator_width)
