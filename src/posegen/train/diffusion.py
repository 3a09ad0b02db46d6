"""The stages that train the transformer: `pretrain` (all of it), `base` and `stitch` (LoRA and new patch embeddings).

They differ in the weights that learn and in the preserved frames; data, losses and validation are alike. `pretrain`
mixes steps of image-to-video from the first frame, as Wan is trained, with steps that see skeleton, hands and
reference. Clips are read as latents from the cache; items, noise and dropouts of a step are functions of seed and step.
"""

import functools
import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from posegen.data.encoders import Encoders
from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache, LatentItems, ends_of_stitch
from posegen.data.regions import RegionShares, prepare_regions
from posegen.data.shards import Shard
from posegen.errors import PosegenError
from posegen.model import lora
from posegen.model.denoise import Conditioning, PoseLatents, Sampling, denoise
from posegen.model.latents import decode_latents, preserve_mask
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.sources import save_adapters
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.train.checkpoint import trained_parameters
from posegen.train.objective import FlowBatch, flow_matching_loss, pixel_energy, region_weights, shifted
from posegen.train.schedule import bucket_of_step, bucketed_items_of_step, generator, in_turn, make_buckets
from posegen.train.stage import Tell, Validation
from posegen.train.stage_settings import (
    AdapterSettings,
    DistillSettings,
    Phase,
    PretrainSettings,
    StageSettings,
    StitchSettings,
    TransformerSettings,
)
from posegen.train.train_recipe import BaseWeights, ModelSettings

VALIDATION_SIGMAS = (0.1, 0.3, 0.5, 0.7, 0.9)
_SHOWN = 4
_SHAPES_OF_A_SIZE = 8
"""Maximum number of batch shapes for clips of one size: phases, validation, samples; torch's own limit."""
_OTHER_CONDITION = {True: "condition_without_hands", False: "condition"}
"""The encoded skeletons that a row does not need, by whether it sees hands."""


class DiffusionStage:
    """Trains the transformer of a pipeline, or an adapter on it. A `TrainStage`."""

    def __init__(
        self,
        pipeline: PoseGenPipeline,
        settings: TransformerSettings,
        model: ModelSettings,
        train: list[Shard],
        validation: list[Shard],
        cache: LatentCache,
        encoders: Encoders | None = None,
    ) -> None:
        """Set which weights learn: all in `pretrain`, else an adapter on frozen weights of the recipe's model."""
        self.pipeline, self.settings, self.model = pipeline, settings, model
        self.train_shards, self.validation_shards, self.cache, self.encoders = train, validation, cache, encoders
        self.data_digest = hashlib.sha256(" ".join(shard.sha256 for shard in train).encode()).hexdigest()
        self.empty_text = torch.empty(0)
        self._items: dict[Encoding, LatentItems] = {}
        self._buckets: dict[Encoding, list[list[int]]] = {}
        self._regions: dict[Encoding, RegionShares] = {}
        self._validation: dict[Encoding, LatentItems] = {}
        self._black: dict[tuple[int, ...], torch.Tensor] = {}
        self.channel_weights: torch.Tensor | None = None
        if settings.pixel_weight > 0:
            self.channel_weights = 1 + settings.pixel_weight * (pixel_energy(pipeline.vae) - 1)
        prepare_transformer(pipeline.transformer, settings, model.base_weights)
        if settings.compile:
            # a phase has few shapes (its sizes): kernels for any shape are slower, and inductor fails on some of them
            pipeline.transformer.compile_repeated_blocks(dynamic=False)
            sizes = {sample.size for shard in train for sample in shard.samples}
            limits = torch._dynamo.config  # beyond the limit, blocks would run uncompiled
            limits.recompile_limit = max(limits.recompile_limit, _SHAPES_OF_A_SIZE * len(sizes))

    # -- data ----------------------------------------------------------------------------------------------------------

    @property
    def module(self) -> nn.Module:
        """The transformer."""
        return self.pipeline.transformer

    @property
    def sampling(self) -> Sampling:
        """Steps and guidance of sample videos."""
        return Sampling(self.settings.sample_steps, guidance=1.0)

    def encodings(self, phase: Phase) -> dict[str, Encoding]:
        """Return the kinds of items of a phase, see `encodings_of`."""
        return encodings_of(self.settings, phase, self.pipeline.config)

    def prepare(self, tell: Tell, rank: int, world: int, device: torch.device) -> None:
        """Encode the training and validation clips that the cache lacks; the encoders then leave the device."""
        wanted = {encoding: None for phase in self.settings.phases for encoding in self.encodings(phase).values()}
        if self.encoders is not None:
            mine = [*self.train_shards, *self._few()][rank::world]
            self.encoders.encode(self.cache, mine, list(wanted), device, functools.partial(tell, "encode"))
        self.cache.to(device)
        for encoding in wanted:
            kind = f"{'skeletons' if encoding.pose else 'first frames'}, {encoding.num_frames} frames"
            for shards, where in ((self.train_shards, "training"), (self._few(), "validation")):
                name = f"encode {where} ({kind})"
                self.cache.prepare(shards, encoding, functools.partial(tell, name), rank, world)
            if self.settings.weighs_regions:
                told = functools.partial(tell, f"find faces and hands ({kind})")
                prepare_regions(self.cache, self.train_shards, encoding, told, rank, world)
        self.empty_text = self.pipeline.encode_text("")[0].bfloat16()
        self.cache.release()

    def _few(self) -> list[Shard]:
        """Choose validation shards, of each size in turn, until they hold enough clips."""
        shards = [shard for shard in self.validation_shards if shard.samples]
        sizes = [shard.samples[0].size for shard in shards]
        chosen: list[int] = []
        for number in in_turn(make_buckets(sizes), len(shards)):
            enough = sum(len(shards[kept].samples) for kept in chosen) >= self.settings.validation_clips
            if enough and {sizes[kept] for kept in chosen} == set(sizes):
                break
            chosen.append(number)
        return [shards[number] for number in sorted(chosen)]

    def ready(self) -> None:
        """Open the cache's files. Nothing is encoded after this."""
        for phase in self.settings.phases:
            for encoding in self.encodings(phase).values():
                self._items[encoding] = items = LatentItems(self.cache.prepare(self.train_shards, encoding))
                self._buckets[encoding] = make_buckets(items.sizes)
                self._validation[encoding] = LatentItems(self.cache.prepare(self._few(), encoding))
                if self.settings.weighs_regions:
                    self._regions[encoding] = RegionShares(prepare_regions(self.cache, self.train_shards, encoding))

    def make_batch(self, step: int, phase: Phase, step_of_phase: int, part: slice) -> FlowBatch:
        """Draw the items, noise, noise levels and dropouts of a part of a step."""
        seed = self.settings.seed
        kinds = self.encodings(phase)
        encoding = kinds[self.kind_of_step(step, kinds)]
        pose = encoding.pose
        items, buckets, regions = self._items[encoding], self._buckets[encoding], self._regions.get(encoding)
        encoding = replace(encoding, num_frames=phase.num_frames)
        chosen = bucketed_items_of_step(buckets, phase.batch_size, step_of_phase, seed)[part]
        rows, noises, levels = [], [], []
        for position, item in enumerate(chosen, start=part.start):
            random = generator(seed, step, position)
            shape = items.shape("latents", item)
            length = 1 + (phase.num_frames - 1) // self.pipeline.temporal_stride
            spare = shape[1] - length
            first = int(torch.randint(spare + 1, (), generator=random)) if spare and pose else 0
            noises.append(torch.randn((shape[0], length, *shape[2:]), generator=random))
            chances = torch.rand(4, generator=random)
            levels.append(chances[0])
            hands_drawn = not (pose and chances[2] < self.settings.hand_skeleton_dropout)
            row = items.read(item, slice(first, first + length), without={_OTHER_CONDITION[hands_drawn]})
            if regions is not None:
                row["regions"] = regions.read(item, slice(first, first + length))
            if not hands_drawn:
                row["condition"] = row.pop("condition_without_hands")
            if chances[1] < self.settings.text_dropout:
                row["text"] = self.empty_text
            if pose and chances[3] < self.settings.hand_normal_dropout:
                row["hands"] = self._no_hands(row["hands"], encoding)
            rows.append(row)
        return self._batch(rows, encoding, torch.stack(noises), shifted(torch.stack(levels), self.settings.flow_shift))

    def kind_of_step(self, step: int, kinds: dict[str, Encoding]) -> str:
        """Return which of the phase's kinds of items a step sees."""
        pose = np.random.default_rng([self.settings.seed, step, 5]).random() < pose_share(self.settings)
        return "pose" if pose or "video" not in kinds else "video"

    def _no_hands(self, hands: torch.Tensor, encoding: Encoding) -> torch.Tensor:
        """Replace hand latents by those of black frames, except for the preserved frames of a stitch segment."""
        height, width = hands.shape[-2:]
        mask = preserve_mask(encoding.num_frames, encoding.head, encoding.tail, height, width)[0, -1:]
        return torch.where(mask > 0, hands, self.black_latents(hands))

    def black_latents(self, like: torch.Tensor) -> torch.Tensor:
        """Return the latents (c, f, h, w) of black frames, with the shape of `like`'s last four dimensions."""
        key = tuple(like.shape[-4:])
        if key not in self._black:
            frames, height, width = 1 + (key[1] - 1) * self.pipeline.temporal_stride, 8 * key[2], 8 * key[3]
            self._black[key] = self.cache.latents(np.zeros((frames, height, width, 3), np.uint8)).to(like)
        return self._black[key]

    def _batch(
        self, rows: list[dict[str, torch.Tensor]], encoding: Encoding, noise: torch.Tensor, sigmas: torch.Tensor
    ) -> FlowBatch:
        def stacked(name: str) -> torch.Tensor:
            return torch.stack([row[name] for row in rows])

        condition = stacked("condition")
        height, width = condition.shape[-2:]
        stride = self.pipeline.temporal_stride
        mask = preserve_mask(encoding.num_frames, encoding.head, encoding.tail, height, width, stride)
        settings = self.settings
        return FlowBatch(
            latents=stacked("latents"),
            condition_latents=torch.cat([mask.to(condition).expand(len(rows), -1, -1, -1, -1), condition], dim=1),
            hand_latents=stacked("hands") if "hands" in rows[0] else None,
            reference_latents=stacked("reference") if "reference" in rows[0] else None,
            text=stacked("text"),
            image=stacked("image"),
            noise=noise,
            sigmas=sigmas,
            weights=region_weights(stacked("regions"), settings.face_weight, settings.hand_weight)
            if "regions" in rows[0]
            else None,
        )

    # -- learning ------------------------------------------------------------------------------------------------------

    def loss(self, module: nn.Module, batch: FlowBatch, device: torch.device) -> torch.Tensor:
        """Return the mean flow-matching loss of a batch."""
        weights = None if self.channel_weights is None else self.channel_weights.to(device)
        return flow_matching_loss(module, batch.to(device), weights).mean()

    @torch.no_grad()
    def validate(self, module: nn.Module, device: torch.device) -> Validation:
        """Measure the loss by noise level, with own conditions and with another clip's; their gap is the pose control.

        Shows some clips: reference, ground truth, skeleton and generated frames.
        """
        result = Validation()
        last = self.settings.phases[-1]
        encoding = self.encodings(last)["pose"]
        groups = validation_rows(self._validation[encoding], self.settings.validation_clips)
        count = sum(map(len, groups))
        for sigma in VALIDATION_SIGMAS:
            for kind in ("true", "shuffled"):
                total, before = 0.0, 0
                for rows in groups:
                    for first in range(0, len(rows), last.batch_size):
                        part = range(first, min(first + last.batch_size, len(rows)))
                        chosen = [dict(rows[index]) for index in part]
                        if kind == "shuffled":
                            for row, index in zip(chosen, part, strict=True):
                                other = rows[(index + 1) % len(rows)]
                                row["condition"], row["hands"] = other["condition"], other["hands"]
                        noises = [
                            torch.randn(row["latents"].shape, generator=generator(3, before + index))
                            for row, index in zip(chosen, part, strict=True)
                        ]
                        batch = self._batch(chosen, encoding, torch.stack(noises), torch.full((len(chosen),), sigma))
                        total += float(flow_matching_loss(module, batch.to(device)).sum())
                    before += len(rows)
                result.scalars[f"loss_{kind}_{sigma}"] = total / count
        for kind in ("true", "shuffled"):
            values = [result.scalars[f"loss_{kind}_{sigma}"] for sigma in VALIDATION_SIGMAS]
            result.scalars[f"loss_{kind}"] = sum(values) / len(values)
        every_row = [row for rows in groups for row in rows]
        shown = in_turn(make_buckets([tuple(row["latents"].shape) for row in every_row]), _SHOWN)
        for number, index in enumerate(shown):
            result.pictures[f"sample_{number}"], result.videos[f"sample_{number}"] = self._sample(
                every_row[index], encoding, number
            )
        return result

    def _sample(self, row: dict[str, torch.Tensor], encoding: Encoding, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Generate one clip; return a picture (reference, then ground truth, skeleton, generated) and a video of it."""
        noise = torch.randn(row["latents"][None].shape, generator=generator(4, number))
        batch = self._batch([row], encoding, noise, torch.zeros(1))
        generated = denoise(
            self.pipeline.transformer, self.pipeline.scheduler, noise, conditioning_of(batch), self.sampling
        )
        videos = [
            decode_latents(self.cache.vae, latents) for latents in (batch.latents, row["condition"][None], generated)
        ]
        assert batch.reference_latents is not None
        reference = decode_latents(self.cache.vae, batch.reference_latents)[0]
        shown = sorted({round(position) for position in np.linspace(0, encoding.num_frames - 1, 5)})
        lines = [np.concatenate([reference, *(video[index] for index in shown)], axis=1) for video in videos]
        return np.concatenate(lines), np.concatenate(videos, axis=2)

    def export(self, folder: Path) -> None:
        """Write the whole pipeline, or the adapter alone."""
        if isinstance(self.settings, AdapterSettings) and self.model.export == "adapter":
            save_adapters(self.pipeline, self.model.start, folder, self.sampling_settings())
            return
        self.pipeline.register_to_config(trained=True, trained_size=self._trained_size())
        self.pipeline.save_pretrained(folder)

    def sampling_settings(self) -> dict[str, Any]:
        """Return the settings of sampling that training has changed."""
        return {}

    def _trained_size(self) -> list[int] | None:
        """Return the (height, width) of all training clips; None if the model has seen clips of several sizes."""
        if isinstance(self.settings, AdapterSettings) and self.pipeline.config.trained_size is None:
            return None
        sizes = {tuple(sample.size) for shard in self.train_shards for sample in shard.samples}
        return list(sizes.pop()) if len(sizes) == 1 else None


def conditioning_of(batch: FlowBatch) -> Conditioning:
    """Return the conditions of a batch, as the sampler takes them."""
    pose = PoseLatents(batch.condition_latents, batch.hand_latents)
    return Conditioning(pose, batch.reference_latents, batch.text, None, batch.image)


def validation_rows(items: LatentItems, count: int) -> list[list[dict[str, torch.Tensor]]]:
    """Choose about `count` evenly spaced items: a list for each size, in proportion, with two or more of each."""
    buckets = make_buckets(items.sizes)
    counts = tuple(map(len, buckets))
    turns = [bucket_of_step(counts, step)[0] for step in range(min(count, len(items)))]
    groups = []
    for bucket, numbers in enumerate(buckets):
        wanted = min(max(turns.count(bucket), 2 if len(buckets) > 1 else 1), len(numbers))
        every = max(len(numbers) // wanted, 1)
        groups.append([items[numbers[index * every]] for index in range(wanted)])
    return groups


def pose_share(settings: StageSettings) -> float:
    """Return the share of steps that see skeleton, hands and reference; below 1 in `pretrain` only."""
    return settings.pose_share if isinstance(settings, PretrainSettings) else 1.0


def leaves_weights_unused(settings: StageSettings) -> bool:
    """Return whether some steps leave weights without a gradient: inputs or adapters that they do not have."""
    return pose_share(settings) < 1.0 or isinstance(settings, DistillSettings)


def encodings_of(settings: StageSettings, phase: Phase, model: Any) -> dict[str, Encoding]:
    """Return the kinds of items of a phase: "pose", and if mixed in "video" (not of single frames) or "stitch".

    model: has `segment_length`, `head` and `tail` (a pipeline's configuration, a model's description).
    """
    pose = Encoding(phase.frames_of_clip, phase.windows, mirrored=phase.mirror)
    if isinstance(settings, StitchSettings):
        head, tail = ends_of_stitch(phase.num_frames, model.segment_length, model.head, model.tail)
        pose = replace(pose, head=head, tail=tail)
    kinds = {"pose": pose}
    if isinstance(settings, DistillSettings) and settings.stitch_share > 0:
        head, tail = ends_of_stitch(phase.num_frames, model.segment_length, model.head, model.tail)
        kinds["stitch"] = Encoding(phase.num_frames, phase.windows, head, tail)
    if pose_share(settings) < 1.0 and phase.num_frames > 1:
        kinds["video"] = replace(pose, head=1, pose=False)
    return kinds


def prepare_transformer(
    transformer: PoseGenTransformer3DModel, settings: TransformerSettings, base_weights: BaseWeights
) -> None:
    """Set which weights learn: all in `pretrain`, else adapters in float32, new ones or those that are there.

    In `distill` these are `base` and, if stitch segments are trained, `stitch`; or all weights, with those adapters.
    Raises `PosegenError` if `pretrain` is asked for on a model that has adapters, or an adapter is missing.
    """
    if settings.gradient_checkpointing:
        transformer.enable_gradient_checkpointing()
    attached = lora.adapter_names(transformer)
    if isinstance(settings, DistillSettings) and settings.learning == "whole":
        if settings.stitch_share > 0 and "stitch" not in attached:
            raise PosegenError(
                "[distill] stitch_share: the starting model has no adapter stitch; train that stage first, or set "
                "stitch_share = 0"
            )
        if attached:
            lora.use_adapter(transformer, attached[0])
        transformer.requires_grad_(True)
        return
    if not isinstance(settings, AdapterSettings):
        if attached:
            raise PosegenError(
                f"pretrain changes the weights under the adapters {', '.join(attached)}, which would then fit no "
                "longer: start from a model without adapters"
            )
        transformer.requires_grad_(True)
        return
    transformer.requires_grad_(False)
    if base_weights == "fp8":
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    names = _adapters_that_learn(settings)
    for name in names:
        _attach(transformer, name, settings)
    lora.train_adapters(transformer, names)
    for _, parameter in trained_parameters(transformer):
        parameter.data = parameter.data.float()  # small, and optimizers need the precision


def _adapters_that_learn(settings: AdapterSettings) -> tuple[str, ...]:
    if not isinstance(settings, DistillSettings):
        return (settings.stage,)
    return ("base", "stitch") if settings.stitch_share > 0 else ("base",)


def _attach(transformer: PoseGenTransformer3DModel, name: str, settings: AdapterSettings) -> None:
    """Attach an adapter that the transformer has not: a new one, or a copy of `base` for stitch segments."""
    attached = lora.adapter_names(transformer)
    if name in attached:
        return
    copied = isinstance(settings, StitchSettings) and settings.from_base
    copied = copied or (isinstance(settings, DistillSettings) and name == "stitch")
    if copied and "base" not in attached:
        raise PosegenError(f"[{name}] from_base: the starting model has no adapter base; train that stage first")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        if copied:
            lora.copy_adapter(transformer, "base", name)
        else:
            lora.add_adapter(transformer, name, settings.rank, settings.alpha)
