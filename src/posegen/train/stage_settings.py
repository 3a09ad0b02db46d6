"""Settings of a training stage: a dataclass for each of vae, pretrain, base, stitch and distill, and their phases.

Each setting is a field of the stages that it has a meaning in, with its range in its type. What a recipe file may say
besides, and how the settings of different tables go together, is in `train_recipe.py`. Nothing is trained here.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from posegen.config.limits import (
    Decay,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Seed,
    Share,
    check_limits,
)
from posegen.errors import PosegenError

StageName = Literal["vae", "pretrain", "base", "stitch", "distill"]
STAGES: tuple[StageName, ...] = get_args(StageName)
Precision = Literal["bf16", "fp32"]
Strategy = Literal["ddp", "fsdp"]
Optimizer = Literal["adamw", "muon"]
Learning = Literal["whole", "adapters"]


@dataclass(frozen=True)
class Phase:
    """A part of a stage with one shape of batch: a curriculum goes from single frames to whole segments."""

    steps: PositiveInt
    """Optimizer steps."""
    num_frames: PositiveInt
    """Frames of each item, 1 + 4k."""
    batch_size: PositiveInt
    """Items of a step, over all processes."""
    windows: PositiveInt = 1
    """Windows of `num_frames` frames taken of each clip, evenly spaced (not for the vae)."""
    of_frames: int = 0
    """Longer windows are encoded, and a step sees another random run of `num_frames` frames' worth of latents of each:
    more variety in a batch of the same size. 0: whole windows (pretrain and base only)."""
    mirror: bool = False
    """Encode every clip a second time, left and right exchanged (the vae does so at random anyway)."""
    crop: int = 0
    """Side in pixels of random square crops, a multiple of 8 (vae only); 0 = whole frames."""

    def __post_init__(self) -> None:
        check_limits(self)
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
    """Settings that all stages share. Defaults are PoseGen's."""

    stage: ClassVar[StageName]
    without_effect: ClassVar[frozenset[str]] = frozenset({
        "accumulate", "checkpoint_every", "checkpoint_minutes", "keep_checkpoints", "log_every", "max_bad_steps",
        "sample_steps", "strategy", "validate_every", "validation_clips",
    })  # fmt: skip  # short arguments, read in rows
    """Settings that do not change the weights: a checkpoint may be resumed with other values of them."""
    replaced_by: ClassVar[dict[str, str]] = {}
    """Settings that another one, if set, makes meaningless: a recipe must not name both."""

    phases: tuple[Phase, ...]
    """One after the other."""
    learning_rate: PositiveFloat = 1e-4
    """Reached after the warm-up; then a cosine down to `final_learning_rate`."""
    final_learning_rate: NonNegativeFloat = 0.0
    """Learning rate of the last step."""
    warmup: Share = 0.1
    """Share of all steps in which the learning rate rises."""
    optimizer: Optimizer = "adamw"
    """muon: the matrices of the blocks learn by orthogonalised momentum (Jordan et al. 2024, scaled as in
    arXiv:2502.16982 Eq. 4, so that AdamW's rates fit), the rest by AdamW; fewer steps from nothing."""
    weight_decay: NonNegativeFloat = 0.01
    """Decoupled weight decay, for each unit of learning rate."""
    betas: tuple[Decay, Decay] = (0.9, 0.999)
    """Decay of AdamW's two moments."""
    max_grad_norm: PositiveFloat = 1.0
    """Larger gradients are scaled down to this norm."""
    precision: Precision = "bf16"
    """Dtype that most operations compute in; trained weights are float32."""
    accumulate: PositiveInt = 1
    """Batches are split into this many parts on each process, to save memory."""
    strategy: Strategy = "ddp"
    """Several processes: whole copies, or weights sharded over GPUs."""
    ema: Decay = 0.0
    """Decay of the moving average of the weights that is validated and exported; 0 = none."""
    seed: Seed = 0
    """Seed of new weights, of the order of items, and of all noise."""
    checkpoint_every: PositiveInt = 500
    """Steps between checkpoints."""
    checkpoint_minutes: PositiveFloat = 30.0
    """Minutes after which a checkpoint is written whatever the step; slow steps cost no more than that."""
    keep_checkpoints: PositiveInt = 2
    """Newest checkpoints that are kept."""
    log_every: PositiveInt = 10
    """Steps between two records of the loss."""
    validate_every: PositiveInt = 500
    """Steps between validations."""
    validation_clips: PositiveInt = 16
    """Clips of a validation: of several sizes in proportion, but at least two of each."""
    sample_steps: PositiveInt = 12
    """Denoising steps of the sample videos shown during validation; without effect in the vae."""
    max_bad_steps: PositiveInt = 10
    """Consecutive steps with a loss or gradient that is not finite that stop the run."""

    def __post_init__(self) -> None:
        if not self.phases:
            raise PosegenError("a stage needs at least one [[phases]] table, or steps, num_frames and batch_size")
        check_limits(self)
        if self.final_learning_rate > self.learning_rate:
            raise PosegenError(
                f"final_learning_rate {self.final_learning_rate} is higher than learning_rate {self.learning_rate}: "
                "the rate only falls"
            )
        for phase in self.phases:
            if phase.batch_size % self.accumulate:
                raise PosegenError(
                    f"batch_size {phase.batch_size} cannot be split into accumulate = {self.accumulate} equal parts"
                )
            self.check_phase(phase)

    def check_phase(self, phase: Phase) -> None:
        """Raise `PosegenError` for a phase that the stage cannot have."""

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    def place(self, step: int) -> tuple[Phase, int]:
        """Return the phase of a step (from 0), and the step's number within it."""
        for phase in self.phases:
            if step < phase.steps:
                return phase, step
            step -= phase.steps
        raise AssertionError("a step after the last phase")


@dataclass(frozen=True)
class VaeSettings(StageSettings):
    """Settings of `vae`, which trains the autoencoder."""

    stage = "vae"
    replaced_by: ClassVar = {"kl_weight": "decoder_only"}

    chroma_weight: NonNegativeFloat = 1.0
    """Weight of colour differences in the loss."""
    fit_clips: NonNegativeInt = 0
    """Keep the principal components of patches of so many clips as linear code; 0 = train what is there."""
    keep_linear: bool = False
    """The linear code and the latents' mean and deviation stay what they are while the rest is trained further:
    latents change little, and a transformer can be trained further from there."""
    kl_weight: NonNegativeFloat = 1e-4
    """Weight of the divergence of latents from a unit normal."""
    motion_weight: NonNegativeFloat = 0.0
    """Weight of the changes from each frame to the next in the loss, against stutter between groups of frames."""
    kept_gb: NonNegativeFloat = 0.0
    """Gigabytes of unpacked clips kept in memory; the rest are unpacked for every batch, and a GPU waits."""
    decoder_only: bool = False
    """The encoder stays as it is, so that encoded clips and the transformers trained on them stay valid."""
    latent_noise: NonNegativeFloat = 0.0
    """With decoder_only: latents get noise of up to so many deviations, since generated ones are never exact (as in
    RAE, arXiv 2510.11690 Sec. 4.3); each item has a level of its own, from 0."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.latent_noise and not self.decoder_only:
            raise PosegenError("latent_noise is for decoder_only: an encoder that learns has noise of its own")
        if self.decoder_only and self.fit_clips:
            raise PosegenError("fit_clips changes the encoder, which decoder_only keeps: remove one of them")
        if self.keep_linear and self.fit_clips:
            raise PosegenError("fit_clips changes the linear code, which keep_linear keeps: remove one of them")
        if self.strategy == "fsdp":
            raise PosegenError('strategy = "fsdp" is for transformers: an autoencoder is small, use "ddp"')
        if self.optimizer == "muon":
            raise PosegenError('optimizer = "muon" is for the matrices of transformers: use "adamw"')

    def check_phase(self, phase: Phase) -> None:
        """Refuse windows, mirror and of_frames: batches take random parts of clips, turned at random."""
        if phase.windows > 1 or phase.mirror:
            raise PosegenError("windows and mirror have no meaning in this stage, which takes them at random")
        if phase.of_frames:
            raise PosegenError("of_frames has no meaning in this stage: remove it")


@dataclass(frozen=True)
class TransformerSettings(StageSettings):
    """Settings that the stages of the transformer share."""

    without_effect = StageSettings.without_effect | {"compile"}

    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass, which saves memory and takes about a third more time."""
    compile: bool = False
    """torch.compile the blocks: needs a C++ compiler on a CPU."""
    flow_shift: PositiveFloat = 5.0
    """Timesteps s·u / (1 + (s-1)·u), u uniform."""
    text_dropout: Share = 0.1
    """Share of items that see the empty prompt, for guidance."""
    hand_skeleton_dropout: Share = 0.1
    """Share of items whose skeletons are drawn without hands."""
    hand_normal_dropout: Share = 0.1
    """Share of items that see no hand normals."""
    pixel_weight: Share = 0.0
    """Share of the loss in which latent channels count as much as the pixels that depend on them; in the rest they are
    equal. For autoencoders whose channels differ much, as linear codes do: shapes are learned before texture."""
    face_weight: PositiveFloat = 1.0
    """Weight in the loss of latents that show nothing but the face; others count 1, and the mean of a clip stays 1."""
    hand_weight: PositiveFloat = 1.0
    """The same for the hands."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.optimizer == "muon" and self.strategy == "fsdp":
            raise PosegenError('optimizer = "muon" needs whole matrices: use strategy = "ddp"')

    @property
    def weighs_regions(self) -> bool:
        """Return True if faces or hands count more or less than the rest."""
        return (self.face_weight, self.hand_weight) != (1.0, 1.0)

    def check_phase(self, phase: Phase) -> None:
        """Refuse crops."""
        if phase.crop:
            raise PosegenError("crop: only the vae is trained on crops")


@dataclass(frozen=True)
class PretrainSettings(TransformerSettings):
    """Settings of `pretrain`, which trains the whole transformer."""

    stage = "pretrain"

    pose_share: Share = 1.0
    """Share of steps that see skeleton, hands and reference; the rest are image-to-video from frame one."""


@dataclass(frozen=True)
class AdapterSettings(TransformerSettings):
    """Settings that the stages share which train an adapter and the new patch embeddings on frozen weights."""

    rank: PositiveInt = 16
    """Rank of the adapter (LoRA)."""
    alpha: PositiveFloat = 16.0
    """The adapter's effect is scaled by alpha / rank."""


@dataclass(frozen=True)
class BaseSettings(AdapterSettings):
    """Settings of `base`, which trains the adapter of base segments."""

    stage = "base"


@dataclass(frozen=True)
class StitchSettings(AdapterSettings):
    """Settings of `stitch`, which trains the adapter of stitch segments."""

    stage = "stitch"
    replaced_by: ClassVar = {"rank": "from_base", "alpha": "from_base"}

    from_base: bool = False
    """Begin with a copy of the base adapter instead of nothing; it then has that one's rank and alpha."""

    def check_phase(self, phase: Phase) -> None:
        """Refuse crops and of_frames: the kept frames are a segment's first and last ones."""
        super().check_phase(phase)
        if phase.of_frames:
            raise PosegenError("of_frames has no meaning in this stage: remove it")


@dataclass(frozen=True)
class DistillSettings(AdapterSettings):
    """Settings of `distill`, which makes a model generate in few steps without guidance."""

    stage = "distill"

    few_steps: PositiveInt = 4
    """Denoising steps that the model is made for."""
    teacher_steps: NonNegativeInt = 0
    """Steps of the starting model, guided as it is by default, that each of the few steps replaces; a copy of it stays
    in memory. 0: the steps lead to the clips instead, which gives more accurate and softer frames."""
    teacher_pose_guidance: NonNegativeFloat = 0.0
    """Scale of the teacher's pose guidance; 0: as the starting model is sampled by default."""
    teacher_guided_until: Share = 0.97
    """Noise level below which that is off, where `teacher_pose_guidance` is set."""
    teacher_pose_strength: NonNegativeFloat = 0.0
    """Strength of the pose that the teacher sees; 0: as the starting model is sampled by default."""
    learning: Learning = "adapters"
    """Weights that learn: the whole transformer with the adapters that it has, or the adapters only (new ones, if it
    has none), on a base that is fast already."""
    few_step_shift: NonNegativeFloat = 0.0
    """Shift of the noise levels of these steps (and of the exported model's schedule); 0: the model's own."""
    stitch_share: Share = 0.25
    """Share of steps that train stitch segments, whose clips are not mirrored; 0: base segments only."""
    own_share: Share = 0.5
    """Share of items for which a step begins from what the model's own earlier steps leave, as when it generates; the
    others begin from noised clips."""
    flow_share: Share = 0.25
    """Share of items that are trained by ordinary flow matching at any noise level: many steps stay possible."""
    adversarial: NonNegativeFloat = 0.0
    """Norm of a discriminator's gradient relative to the regression's in the last step; less in earlier ones, down to
    nothing in the first, and rising from 0 during the warm-up. It needs many thousand items: after a few hundred it
    only adds a grid of noise. 0: no discriminator."""
    discriminator_width: PositiveInt = 96
    """Channels of the discriminator's hidden layers."""
    discriminator_rate: PositiveFloat = 3.0
    """Learning rate of the discriminator, relative to `learning_rate`."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.strategy == "fsdp":
            raise PosegenError('strategy = "fsdp" is not for distill, whose steps run the model several times: "ddp"')


KINDS: dict[StageName, type[StageSettings]] = {
    kind.stage: kind for kind in (VaeSettings, PretrainSettings, BaseSettings, StitchSettings, DistillSettings)
}
"""The class of each stage's settings."""
