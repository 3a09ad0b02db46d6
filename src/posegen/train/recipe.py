"""Recipes: TOML files that say everything about a training, checked before anything is built.

A recipe has a name, a `[model]`, `[data]` and one table for each stage (`[vae]`, `[pretrain]`, `[base]`, `[stitch]`).
Unknown keys, wrong types and contradictions are errors that name the key. What the settings do is the stages' concern.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args

from posegen.data.tables import build, with_sizes
from posegen.errors import PosegenError
from posegen.recipes.lookup import load_recipe

Stage = Literal["vae", "pretrain", "base", "stitch"]
STAGES: tuple[Stage, ...] = get_args(Stage)
Precision = Literal["bf16", "fp32"]
BaseWeights = Literal["fp32", "bf16", "fp8"]
Strategy = Literal["ddp", "fsdp"]
Optimizer = Literal["adamw", "muon"]


MAX_LAYERS = 1000
"""Of a transformer, and of its attention heads: 25 times what the largest that is known has."""


@dataclass(frozen=True)
class ModelSettings:
    """What is trained."""

    start: str
    """A model by name, a folder, or "scratch:mini": the mini's architecture with random weights."""
    base_weights: BaseWeights = "fp32"
    """Number format of frozen weights; fp8 halves bf16's memory (one-GPU training of large models)."""
    export: Literal["whole", "adapter"] = "whole"
    """Write a whole model folder at the end, or the adapter only (for bases of many gigabytes)."""
    seed: int = 0
    """Of random weights."""
    layers: int = 0
    """Of the transformer, if it starts from random weights; 0: the mini's."""
    heads: int = 0
    """The same for its attention heads, of 64 channels each."""

    def __post_init__(self) -> None:
        if min(self.layers, self.heads) < 0 or max(self.layers, self.heads) > MAX_LAYERS:
            raise PosegenError(
                f"[model] layers and heads are numbers from 0 to {MAX_LAYERS}, not {self.layers} and {self.heads}"
            )
        _check_seed(self.seed)


@dataclass(frozen=True)
class DataSettings:
    """What it is trained on; the command line can name other folders."""

    train: str = "data/train"
    """Folder of `train-*.tar` shards, or a URL that fsspec knows (http, s3, ...) with their index `train.json`."""
    validation: str = "data/val-same"
    """Folder or URL of `val-same-*.tar` shards."""
    cache: str = "data/cache"
    """Where encoded clips and texts are kept, by content."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(height, width) in pixels that clips may have, `size` for a single one; none: whatever they have. A batch holds
    clips of one size."""
    fetched_gb: float = 200.0
    """Gigabytes of a URL's shards that are kept in the cache folder; the oldest make room for others."""
    encoders: int = 1
    """Processes that encode clips side by side, each with encoders of its own on the device."""

    def __post_init__(self) -> None:
        for size in self.sizes:
            if min(size) < 1:
                raise PosegenError(f"size must be [height, width] in pixels, not {list(size)}")
        if self.fetched_gb <= 0:
            raise PosegenError(f"fetched_gb must be positive, not {self.fetched_gb}")
        if self.encoders < 1:
            raise PosegenError(f"encoders must be at least 1, not {self.encoders}")


@dataclass(frozen=True)
class Phase:
    """A part of a stage with one shape of batch: a curriculum goes from single frames to whole segments."""

    steps: int
    num_frames: int
    batch_size: int
    """Over all processes."""
    windows: int = 1
    """Windows of `num_frames` frames taken of each clip, evenly spaced."""
    of_frames: int = 0
    """Longer windows are encoded, and a step sees another random run of `num_frames` frames' worth of latents of each:
    more variety in a batch of the same size. 0: whole windows (not for the vae)."""
    mirror: bool = False
    """Encode every clip a second time, left and right exchanged (the vae does so at random anyway)."""
    crop: int = 0
    """Side in pixels of random square crops (vae only); 0 = whole frames."""

    def __post_init__(self) -> None:
        for name in ("steps", "num_frames", "batch_size", "windows"):
            if getattr(self, name) < 1:
                raise PosegenError(f"{name} must be at least 1, not {getattr(self, name)}")
        if (self.num_frames - 1) % 4:
            raise PosegenError(f"num_frames must be 1 + 4k, not {self.num_frames}")
        if self.of_frames and ((self.of_frames - 1) % 4 or self.of_frames < self.num_frames):
            raise PosegenError(f"of_frames must be 1 + 4k and at least num_frames, not {self.of_frames}")
        if self.crop % 8 or self.crop < 0:
            raise PosegenError(f"crop must be a multiple of 8 pixels, not {self.crop}")

    @property
    def frames_of_clip(self) -> int:
        """Frames that a clip must have."""
        return self.of_frames or self.num_frames


@dataclass(frozen=True)
class StageSettings:
    """Everything about one stage. Defaults are the method's."""

    phases: tuple[Phase, ...]
    learning_rate: float = 1e-4
    """Reached after the warm-up; then a cosine down to `final_learning_rate`."""
    final_learning_rate: float = 0.0
    warmup: float = 0.1
    """Share of all steps."""
    optimizer: Optimizer = "adamw"
    """muon: the matrices of the blocks learn by orthogonalised momentum (Jordan et al. 2024, scaled as in
    arXiv:2502.16982 Eq. 4, so that AdamW's rates fit), the rest by AdamW; fewer steps from nothing."""
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    precision: Precision = "bf16"
    accumulate: int = 1
    """Batches are split into this many parts on each process, to save memory."""
    gradient_checkpointing: bool = False
    compile: bool = False
    """torch.compile the blocks: needs a C++ compiler on a CPU."""
    strategy: Strategy = "ddp"
    """Several processes: whole copies, or weights sharded over GPUs."""
    ema: float = 0.0
    """Decay of the moving average that is validated and exported; 0 = none."""
    seed: int = 0
    checkpoint_every: int = 500
    keep_checkpoints: int = 2
    log_every: int = 10
    validate_every: int = 500
    validation_clips: int = 16
    """Of several sizes in proportion, but at least two of each."""
    sample_steps: int = 12
    """Denoising steps of the sample videos shown during validation."""
    max_bad_steps: int = 10
    """So many steps in a row with a loss or gradient that is not finite stop the run."""

    rank: int = 16
    alpha: float = 16.0
    from_base: bool = False
    """stitch: begin with a copy of the base adapter instead of nothing; it then has that one's rank and alpha."""
    flow_shift: float = 5.0
    """Timesteps s·u / (1 + (s-1)·u), u uniform."""
    text_dropout: float = 0.1
    """Share of items that see the empty prompt, for guidance."""
    hand_skeleton_dropout: float = 0.1
    hand_normal_dropout: float = 0.1
    pixel_weight: float = 0.0
    """Share of the loss in which latent channels count as much as the pixels that hang on them; in the rest they are
    equal. For autoencoders whose channels differ much, as linear codes do: shapes are learned before texture."""
    pose_share: float = 1.0
    """pretrain: share of steps that see skeleton, hands and reference; the rest are image-to-video from frame one."""
    chroma_weight: float = 1.0
    """vae: weight of colour differences in the loss."""
    fit_clips: int = 0
    """vae: keep the principal components of patches of so many clips as linear code; 0 = train what is there."""
    keep_linear: bool = False
    """vae: the linear code and the latents' mean and deviation stay what they are while the rest is trained further:
    latents change little, and a transformer can go on from there."""
    kl_weight: float = 1e-4
    """vae: weight of the divergence of latents from a unit normal."""
    motion_weight: float = 0.0
    """vae: weight of the changes from each frame to the next in the loss, against stutter between groups of frames."""
    kept_gb: float = 0.0
    """vae: unpacked clips that are kept in memory; the rest are unpacked for every batch, and a GPU waits."""
    decoder_only: bool = False
    """vae: the encoder stays as it is, so that encoded clips and the transformers trained on them stay valid."""
    latent_noise: float = 0.0
    """vae, decoder_only: latents get noise of up to so many deviations, since generated ones are never exact (as in
    RAE, arXiv 2510.11690 Sec. 4.3); each item has a level of its own, from 0."""

    def __post_init__(self) -> None:
        if not self.phases:
            raise PosegenError("a stage needs at least one [[phases]] table, or steps, num_frames and batch_size")
        for name in (
            "text_dropout",
            "hand_skeleton_dropout",
            "hand_normal_dropout",
            "pose_share",
            "pixel_weight",
            "warmup",
        ):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise PosegenError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        not_negative = ("motion_weight", "latent_noise", "kept_gb", "weight_decay", "kl_weight", "chroma_weight",
                        "fit_clips", "final_learning_rate")  # fmt: skip
        for name in not_negative:
            if getattr(self, name) < 0:
                raise PosegenError(f"{name} must not be negative, not {getattr(self, name)}")
        for name, values in (("ema", (self.ema,)), ("betas", self.betas)):
            if not all(0.0 <= value < 1.0 for value in values):
                raise PosegenError(f"{name} must be at least 0 and less than 1, not {getattr(self, name)}")
        _check_seed(self.seed)
        if self.latent_noise and not self.decoder_only:
            raise PosegenError("latent_noise is for decoder_only: an encoder that learns has noise of its own")
        if self.decoder_only and self.fit_clips:
            raise PosegenError("fit_clips changes the encoder, which decoder_only keeps: remove one of them")
        if self.keep_linear and self.fit_clips:
            raise PosegenError("fit_clips changes the linear code, which keep_linear keeps: remove one of them")
        for name in ("learning_rate", "max_grad_norm", "flow_shift", "alpha"):
            if getattr(self, name) <= 0:
                raise PosegenError(f"{name} must be positive, not {getattr(self, name)}")
        if self.final_learning_rate > self.learning_rate:
            raise PosegenError(
                f"final_learning_rate {self.final_learning_rate} is higher than learning_rate {self.learning_rate}: "
                "the rate only falls"
            )
        counted = ("accumulate", "checkpoint_every", "log_every", "validate_every", "max_bad_steps", "rank",
                   "keep_checkpoints", "sample_steps", "validation_clips")  # fmt: skip
        for name in counted:
            if getattr(self, name) < 1:
                raise PosegenError(f"{name} must be at least 1, not {getattr(self, name)}")
        for phase in self.phases:
            if phase.batch_size % self.accumulate:
                raise PosegenError(
                    f"batch_size {phase.batch_size} cannot be split into accumulate = {self.accumulate} equal parts"
                )

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def place(self, step: int) -> tuple[Phase, int]:
        """The phase in which a step lies, and the step's number in it."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        raise AssertionError("a step after the last phase")


def _check_seed(seed: int) -> None:
    if not 0 <= seed < 2**63:
        raise PosegenError(f"seed must be from 0 to 2^63 - 1, not {seed}")


_ONLY_FOR: dict[str, set[str]] = {
    "chroma_weight": {"vae"},
    "kl_weight": {"vae"},
    "fit_clips": {"vae"},
    "motion_weight": {"vae"},
    "kept_gb": {"vae"},
    "decoder_only": {"vae"},
    "keep_linear": {"vae"},
    "latent_noise": {"vae"},
    "pose_share": {"pretrain"},
    "pixel_weight": {"pretrain", "base", "stitch"},
    "gradient_checkpointing": {"pretrain", "base", "stitch"},
    "compile": {"pretrain", "base", "stitch"},
    "from_base": {"stitch"},
    "rank": {"base", "stitch"},
    "alpha": {"base", "stitch"},
    "flow_shift": {"pretrain", "base", "stitch"},
    "text_dropout": {"pretrain", "base", "stitch"},
    "hand_skeleton_dropout": {"pretrain", "base", "stitch"},
    "hand_normal_dropout": {"pretrain", "base", "stitch"},
}
_NOT_WITH = {"rank": "from_base", "alpha": "from_base", "kl_weight": "decoder_only"}
"""Settings that another one makes meaningless."""


@dataclass(frozen=True)
class Recipe:
    """A whole recipe."""

    name: str
    model: ModelSettings
    data: DataSettings = field(default_factory=DataSettings)
    vae: StageSettings | None = None
    pretrain: StageSettings | None = None
    base: StageSettings | None = None
    stitch: StageSettings | None = None

    def stage(self, stage: Stage) -> StageSettings:
        """Settings of a stage. Raises `PosegenError` if the recipe has none."""
        settings: StageSettings | None = getattr(self, stage)
        if settings is None:
            having = [name for name in STAGES if getattr(self, name) is not None]
            raise PosegenError(f"the recipe {self.name!r} has no stage {stage}: it has {', '.join(having) or 'none'}")
        return settings

    def computed_on(self, bfloat16: bool) -> "Recipe":
        """The recipe as a device computes it that has instructions for bfloat16, or has not.

        Without them, what would be computed in bfloat16 is in float32, but for weights that are kept smaller than that.
        """
        if bfloat16 or self.model.base_weights != "fp32":
            return self
        stages = {name: getattr(self, name) for name in STAGES}
        changed = {name: replace(kept, precision="fp32") for name, kept in stages.items() if kept is not None}
        return replace(self, **changed)

    def fingerprint(self, stage: Stage) -> str:
        """A hash of all that a checkpoint of this stage depends on: not where data lies, nor how often to log."""
        settings = dataclasses.asdict(self.stage(stage))
        for name in ("checkpoint_every", "keep_checkpoints", "log_every", "validate_every", "validation_clips",
                     "sample_steps", "compile", "max_bad_steps", "accumulate", "strategy"):  # fmt: skip
            del settings[name]
        content = {"name": self.name, "stage": stage, "model": dataclasses.asdict(self.model), "settings": settings}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe: one that comes with posegen, by its name, or a TOML file.

    Raises `PosegenError` that names the recipe and the key.
    """
    content = load_recipe(path, "train")
    for stage in STAGES:
        if isinstance(content.get(stage), dict):
            content[stage] = _with_phases(content[stage])
            for key, stages in _ONLY_FOR.items():
                if key in content[stage] and stage not in stages:
                    raise PosegenError(f"{path}: [{stage}] {key} has no meaning in this stage: remove it")
            for key, other in _NOT_WITH.items():
                if key in content[stage] and content[stage].get(other):
                    raise PosegenError(f"{path}: [{stage}] {key} has no meaning with {other}: remove one of them")
    try:
        recipe: Recipe = build(Recipe, with_sizes(content, "data"), "")
        _check_together(recipe)
    except PosegenError as error:
        raise PosegenError(f"{path}: {error}") from None
    return recipe


def _with_phases(table: dict[str, Any]) -> dict[str, Any]:
    """A stage of one phase may say its shape directly."""
    shape = {item.name for item in fields(Phase)}
    direct = {key: value for key, value in table.items() if key in shape}
    if not direct or "phases" in table:
        return table
    return {**{key: value for key, value in table.items() if key not in shape}, "phases": [direct]}


def _check_together(recipe: Recipe) -> None:
    scratch = recipe.model.start.startswith("scratch:")
    if scratch and recipe.model.start != "scratch:mini":
        raise PosegenError(f"[model] start = {recipe.model.start!r}: only the mini can be built from scratch")
    if not scratch and (recipe.model.layers or recipe.model.heads):
        raise PosegenError(f'[model] layers and heads are of a model from scratch: start is "{recipe.model.start}"')
    for stage in ("vae", "pretrain"):
        if getattr(recipe, stage) is not None and recipe.model.base_weights != "fp32":
            raise PosegenError(f'[{stage}] trains all weights: [model] base_weights must then be "fp32"')
    if recipe.model.base_weights != "fp32" and recipe.model.export == "whole":
        raise PosegenError(
            f'[model] base_weights = "{recipe.model.base_weights}" would be exported rounded: set export = "adapter"'
        )
    if recipe.model.base_weights == "fp8":
        for stage in ("base", "stitch"):
            settings = getattr(recipe, stage)
            if settings is not None and settings.strategy == "fsdp":
                raise PosegenError(f'[{stage}] strategy = "fsdp" cannot shard fp8 weights: use base_weights = "bf16"')
    for stage in STAGES:
        settings = getattr(recipe, stage)
        if settings is None:
            continue
        if stage == "vae" and settings.strategy == "fsdp":
            raise PosegenError('[vae] strategy = "fsdp" is for transformers: an autoencoder is small, use "ddp"')
        if stage == "vae" and settings.optimizer == "muon":
            raise PosegenError('[vae] optimizer = "muon" is for the matrices of transformers: use "adamw"')
        if settings.optimizer == "muon" and settings.strategy == "fsdp":
            raise PosegenError(f'[{stage}] optimizer = "muon" needs whole matrices: use strategy = "ddp"')
        for phase in settings.phases:
            if phase.crop and stage != "vae":
                raise PosegenError(f"[{stage}] crop: only the vae is trained on crops")
            if stage == "vae" and (phase.windows > 1 or phase.mirror):
                raise PosegenError("[vae] windows and mirror have no meaning in this stage, which takes them at random")
            if phase.of_frames and stage in ("vae", "stitch"):
                raise PosegenError(f"[{stage}] of_frames has no meaning in this stage: remove it")
