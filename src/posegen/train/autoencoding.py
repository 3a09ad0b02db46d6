"""The `vae` stage: trains an autoencoder on videos, skeleton videos and hand-normal videos from shards.

Clips are decoded anew for every batch (there is nothing to cache yet). At the end the latents' mean and deviation are
measured and stored in the autoencoder's configuration, as the diffusion stages need them.
"""

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import nn

from posegen.data.clips import Clip, Drawing
from posegen.data.fetching import UnreachableURLError
from posegen.data.shards import Sample, Shard, tolerate
from posegen.errors import OutputError, PosegenError
from posegen.model.autoencoder import AutoencoderLightVideo, group_patches
from posegen.model.latents import to_frames, to_pixels
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.tensor_types import Latents, Pixels
from posegen.train.objective import divergence, motion_loss, psnr, reconstruction_loss, stutter
from posegen.train.schedule import bucketed_items_of_step, generator, in_turn, make_buckets
from posegen.train.stage import Tell, Validation
from posegen.train.stage_settings import Phase, VaeSettings

_KINDS = ("frames", "skeletons", "hands")
_SHARES = (0.7, 0.2, 0.1)
_DECODED_SHARES = (0.94, 0.03, 0.03)
"""Conditions are encoded only; a decoder sees them so that they can be looked at."""
_STATISTICS_CLIPS = 64


class AutoencoderStage:
    """Trains the autoencoder of a pipeline, or its decoder only. A `TrainStage`."""

    def __init__(
        self, pipeline: PoseGenPipeline, settings: VaeSettings, train: list[Shard], validation: list[Shard]
    ) -> None:
        """Set which weights learn. Raises `PosegenError` for Wan's own autoencoder, which is used as it is."""
        if not isinstance(pipeline.vae, AutoencoderLightVideo):
            raise PosegenError(
                f"the stage vae trains {AutoencoderLightVideo.__name__}, not {type(pipeline.vae).__name__}: "
                "Wan's own autoencoder is used as it is"
            )
        self.pipeline, self.settings = pipeline, settings
        self.drawing = Drawing(pipeline.config.draw_scale, pipeline.config.skeleton_colors)
        self.samples = [sample for shard in train for sample in shard.samples]
        held_out = [sample for shard in validation for sample in shard.samples]
        of_sizes = make_buckets([sample.size for sample in held_out])
        self.validation = [held_out[number] for number in in_turn(of_sizes, settings.validation_clips)]
        self.data_digest = hashlib.sha256(" ".join(shard.sha256 for shard in train).encode()).hexdigest()
        self._kept: dict[tuple[str, str], np.ndarray] = {}
        self._room = 1e9 * settings.kept_gb
        self._kept_buckets: dict[Phase, list[list[int]]] = {}
        prepare_autoencoder(pipeline.vae, settings)

    @property
    def module(self) -> nn.Module:
        """The autoencoder."""
        return self.pipeline.vae

    def prepare(self, tell: Tell, rank: int, world: int, device: torch.device) -> None:
        """Leave damaged clips out; then fit the linear code, if the recipe wants it."""
        self.samples = _whole(self.samples, tell, "training")
        self.validation = _whole(self.validation, tell, "validation")
        if not self.settings.fit_clips:
            return
        every = max(len(self.samples) // self.settings.fit_clips, 1)
        chosen = self.samples[::every][: self.settings.fit_clips]
        total = torch.zeros(())
        for number, sample in enumerate(chosen):
            clip = Clip(sample, self.drawing)
            for kind, share in zip(_KINDS, _SHARES, strict=True):
                frames: np.ndarray = getattr(clip, kind)(0, self._longest(sample))
                patches = rearrange(group_patches(to_pixels(frames)), "g p h w -> (g h w) p").double()
                total = total + share * patches.T @ patches / len(patches)
            tell("fit the linear code", number + 1, len(chosen))
        self.pipeline.vae.fit_linear_code(total / len(chosen))

    def ready(self) -> None:
        """Do nothing: clips are decoded for every batch."""

    def make_batch(self, step: int, phase: Phase, step_of_phase: int, part: slice) -> dict[str, torch.Tensor]:
        """Return random windows and crops of a part of a step.

        "frames": (b, f, h, w, 3) uint8. "noise": normal, of the latents' shape. "level": (b, 1, 1, 1, 1), 0..1,
        the share of `latent_noise` that each item gets.
        """
        buckets = self._buckets(phase)
        items = bucketed_items_of_step(buckets, phase.batch_size, step_of_phase, self.settings.seed)[part]
        frames = [
            self._window(self.samples[item], phase, np.random.default_rng([self.settings.seed, step, position]))
            for position, item in enumerate(items, start=part.start)
        ]
        stacked = torch.from_numpy(np.stack(frames))
        shape = (self.pipeline.vae.config.z_dim, *self._latent_size(stacked))
        noises, levels = [], []
        for position in range(part.start, part.start + len(items)):
            random = generator(self.settings.seed, step, position)
            noises.append(torch.randn(shape, generator=random))
            levels.append(torch.rand(1, 1, 1, 1, generator=random))
        return {"frames": stacked, "noise": torch.stack(noises), "level": torch.stack(levels)}

    def _buckets(self, phase: Phase) -> list[list[int]]:
        """Group the clips by the size of their windows: one group where windows are crops."""
        if phase not in self._kept_buckets:
            self._kept_buckets[phase] = make_buckets([_window_size(sample, phase) for sample in self.samples])
        return self._kept_buckets[phase]

    def _latent_size(self, stacked: torch.Tensor) -> tuple[int, int, int]:
        config = self.pipeline.vae.config
        _, frames, height, width, _ = stacked.shape
        spatial = config.scale_factor_spatial
        return (frames - 1) // config.scale_factor_temporal + 1, height // spatial, width // spatial

    def _window(self, sample: Sample, phase: Phase, random: np.random.Generator) -> np.ndarray:
        shares = _DECODED_SHARES if self.settings.decoder_only else _SHARES
        kind = str(random.choice(_KINDS, p=shares))
        start = int(random.integers(sample.num_frames - phase.num_frames + 1))
        frames = self._unpacked(sample, kind, start, start + phase.num_frames)
        height, width = frames.shape[1:3]
        tall, wide = _window_size(sample, phase)
        top, left = int(random.integers(height - tall + 1)), int(random.integers(width - wide + 1))
        frames = frames[:, top : top + tall, left : left + wide]
        if random.random() < 0.5:
            frames = frames[:, :, ::-1]
        return frames

    def _unpacked(self, sample: Sample, kind: str, start: int, stop: int) -> np.ndarray:
        """Return frames `start` to `stop` of a clip; the whole clip is kept while there is room."""
        place = (sample.key, kind)
        if place in self._kept:
            return self._kept[place][start:stop]
        clip = Clip(sample, self.drawing)
        read: Callable[[int, int], np.ndarray] = getattr(clip, kind)
        if self._room <= 0:
            return read(start, stop)
        whole = read(0, sample.num_frames)
        self._room -= whole.nbytes
        self._kept[place] = whole
        return whole[start:stop]

    def loss(self, module: nn.Module, batch: dict[str, torch.Tensor], device: torch.device) -> torch.Tensor:
        """Return the mean `autoencoder_loss` of a batch."""
        settings = self.settings
        pixels = rearrange(batch["frames"].to(device).float() / 127.5 - 1.0, "b f h w c -> b c f h w")
        noise = batch["noise"].to(device)
        scale = None
        if settings.decoder_only:
            deviation = torch.tensor(self.pipeline.vae.config.latents_std, device=device).view(1, -1, 1, 1, 1)
            scale = settings.latent_noise * batch["level"].to(device) * deviation
        return autoencoder_loss(module, pixels, noise, scale, settings)

    @torch.no_grad()
    def validate(self, module: nn.Module, device: torch.device) -> Validation:
        """Measure PSNR of held-out clips, frame by frame, and stutter; show reconstructions below their originals."""
        result = Validation()
        curves: dict[str, list[torch.Tensor]] = {kind: [] for kind in _KINDS}
        frames = max(phase.num_frames for phase in self.settings.phases)
        stutters = []
        for number, sample in enumerate(self.validation):
            clip = Clip(sample, self.drawing)
            for kind in _KINDS:
                original: np.ndarray = getattr(clip, kind)(0, frames)
                pixels = to_pixels(original).to(device)
                reconstruction = module(pixels)
                curves[kind].append(psnr(reconstruction, pixels).cpu())
                if kind == "frames" and frames > 1 + self.pipeline.temporal_stride:
                    stutters.append(float(stutter(reconstruction, self.pipeline.temporal_stride)))
                if number < 4:
                    shown = to_frames(reconstruction)
                    rows = [
                        np.concatenate([video[0], video[len(video) // 2], video[-1]], 1) for video in (original, shown)
                    ]
                    result.pictures[f"{kind}_{number}"] = np.concatenate(rows)
        for kind, values in curves.items():
            mean = torch.stack(values).mean(0)
            result.scalars[f"psnr_{kind}"] = float(mean.mean())
            if kind == "frames":
                quarter = max(len(mean) // 4, 1)
                result.scalars["psnr_first_frames"] = float(mean[:quarter].mean())
                result.scalars["psnr_last_frames"] = float(mean[-quarter:].mean())
        if stutters:
            result.scalars["stutter"] = sum(stutters) / len(stutters)
        return result

    @torch.no_grad()
    def export(self, folder: Path) -> None:
        """Measure the latents' statistics, store them in the configuration, and write the whole pipeline.

        With `decoder_only` or `keep_linear` the statistics are kept: latents change little or not at all.

        Latents are divided by the geometric mean of their own and the overall deviation: brightness and colour then
        weigh more in the diffusion loss than fine detail, and are decided at higher noise.
        """
        vae: Any = self.pipeline.vae
        if self.settings.decoder_only or self.settings.keep_linear:
            self.pipeline.save_pretrained(folder)
            return
        latents = []
        for sample in self.samples[:: max(len(self.samples) // _STATISTICS_CLIPS, 1)][:_STATISTICS_CLIPS]:
            pixels = to_pixels(Clip(sample, self.drawing).frames(0, self._longest(sample))).to(vae.device, vae.dtype)
            latents.append(vae.encode(pixels).latent_dist.mode().float().cpu().flatten(2))
        values = torch.cat(latents, dim=2)[0]
        deviation = values.std(1).clamp_min(0.01)
        vae.register_to_config(
            latents_mean=[round(float(value), 5) for value in values.mean(1)],
            latents_std=[round(float(value), 5) for value in (deviation * deviation.square().mean().sqrt()).sqrt()],
        )
        self.pipeline.save_pretrained(folder)

    def _longest(self, sample: Sample) -> int:
        return min((sample.num_frames - 1) // 4 * 4 + 1, max(phase.num_frames for phase in self.settings.phases))


def _window_size(sample: Sample, phase: Phase) -> tuple[int, int]:
    """Return the (height, width) in pixels of the window that a phase takes of a clip."""
    height, width = sample.size
    return min(phase.crop or height, height), min(phase.crop or width, width)


def prepare_autoencoder(vae: nn.Module, settings: VaeSettings) -> None:
    """Set `requires_grad`: of everything, or with `decoder_only` of the decoder; not of a linear code that is kept."""
    vae.requires_grad_(True)
    if settings.decoder_only:
        for name, parameter in vae.named_parameters():
            parameter.requires_grad_(name.startswith("decoder"))
    if settings.fit_clips or settings.keep_linear:
        # already the best there is, and Adam's equal steps over its 768 inputs would shake it
        for name in ("encoder_linear", "decoder_linear"):
            vae.get_submodule(name).requires_grad_(False)


def autoencoder_loss(
    module: nn.Module, pixels: Pixels, noise: Latents, scale: torch.Tensor | None, settings: VaeSettings
) -> torch.Tensor:
    """Return the L1 loss with weighted colour differences and changes over time, plus divergence if the encoder learns.

    pixels: -1..1. noise: normal, of the latents' shape. scale: deviation of the noise added to latents, None for none.
    """
    moments, reconstruction = module(pixels, noise, scale)
    loss = reconstruction_loss(reconstruction.float(), pixels, settings.chroma_weight)
    if settings.motion_weight:
        loss = loss + settings.motion_weight * motion_loss(reconstruction.float(), pixels)
    return loss if settings.decoder_only else loss + settings.kl_weight * divergence(moments)


def _whole(samples: list[Sample], tell: Tell, which: str) -> list[Sample]:
    """Return the clips that can be read. Raises `PosegenError` if more than 1 % cannot."""

    def problem(sample: Sample) -> str:
        try:
            Clip(sample, Drawing()).check()
        except (UnreachableURLError, OutputError):
            raise
        except PosegenError as error:
            return str(error)
        return ""

    threads = ThreadPoolExecutor()
    kept: list[Sample] = []
    bad: dict[str, str] = {}
    try:
        for number, (sample, found) in enumerate(zip(samples, threads.map(problem, samples), strict=True), start=1):
            if found:
                bad[sample.key] = found
            else:
                kept.append(sample)
            tell(f"check {which} clips", number, len(samples))
    finally:
        threads.shutdown(cancel_futures=True)
    tolerate(list(bad), len(samples), f"{which} clips", f"they are damaged (the first: {next(iter(bad.values()), '')})")
    return kept
