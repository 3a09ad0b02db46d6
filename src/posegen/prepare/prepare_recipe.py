"""Recipe of a data set for `posegen prepare`: a TOML file; every setting has a default.

Tables: `[clips]`, `[filters]` (with `[filters.thresholds.NAME]`), `[conditions]`, `[output]`, `[latents]`, `[compute]`.
The settings of filters are in `clip_filters.py`. Parts of a recipe have fingerprints, so that kept results are never
used for other settings.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from posegen.conditions.keypoints import HAND_DRAWN
from posegen.config import MAX_SIDE, EstimatorConfig
from posegen.config.toml_settings import build, with_sizes
from posegen.data.encoding import Encoding
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.packed import PackedCodec
from posegen.prepare.filters.clip_filters import FilterSettings
from posegen.recipes.lookup import load_recipe

FORMAT = 3
"""Raised when kept results change their meaning: they are then made anew."""
MAX_FRAMES, MAX_SIZES, MAX_CLIPS_PER_SHARD, MAX_WORKERS = 10_001, 100, 100_000, 10_000
"""What goes beyond is taken for a slip."""
_SCORING = 5
"""Raised when filters measure differently: clips are then scored anew."""
_EXTRACTION = 2
"""Raised when the same video would give other conditions: samples are then made anew."""


@dataclass(frozen=True)
class ClipSettings:
    """Settings of the clips that are cut from videos."""

    num_frames: int = 81
    """Frames of a clip, 1 + 4k."""
    fps: float = 16.0
    """Frames per second of a clip; videos with fewer are left out."""
    sizes: tuple[tuple[int, int], ...] = ((832, 480), (480, 832))
    """(height, width) in pixels, `size` for a single one; a video is scaled to cover the size that crops it least, and
    cropped evenly."""
    margin: float = 0.1
    """Seconds left out on both sides of a cut."""
    most_enlarged: float = 1.0
    """Videos that would have to be enlarged by more are left out."""
    most_cropped: float = 0.5
    """Videos of which a larger share of the picture would be cut off are left out."""

    def __post_init__(self) -> None:
        if not 1 <= self.num_frames <= MAX_FRAMES or (self.num_frames - 1) % 4:
            raise PosegenError(f"num_frames must be 1 + 4k and at most {MAX_FRAMES}, not {self.num_frames}")
        if not 1 <= self.fps <= 240:
            raise PosegenError(f"fps must be between 1 and 240, not {self.fps}")
        if not 1 <= len(self.sizes) <= MAX_SIZES:
            raise PosegenError(f"sizes must name 1 to {MAX_SIZES} [height, width], not {len(self.sizes)}")
        for size in self.sizes:
            if min(size) < 16 or max(size) > MAX_SIDE or any(side % 16 for side in size):
                raise PosegenError(f"size must be (height, width) in multiples of 16 up to {MAX_SIDE}, not {size}")
        if self.margin < 0 or self.most_enlarged <= 0 or not 0 <= self.most_cropped <= 1:
            raise PosegenError("margin must not be negative, most_enlarged positive, most_cropped between 0 and 1")

    @property
    def seconds(self) -> float:
        """Length of a clip in seconds."""
        return self.num_frames / self.fps

    def size_for(self, video: tuple[int, int]) -> tuple[int, int]:
        """Return the clip size for a video of this (height, width).

        Among the sizes that the video covers, it is the one that crops least; of equal ones the larger. Raises
        `PosegenError` if the video would have to be enlarged or cropped more than the recipe allows.
        """
        fitting: list[tuple[float, int, tuple[int, int]]] = []
        problems: list[tuple[float, str]] = []
        picture = f"{video[0]}x{video[1]}"
        for size in self.sizes:
            scaled = plan_fit(video, size, "crop").scaled
            enlarged = max(scaled[0] / video[0], scaled[1] / video[1])
            cropped = 1 - size[0] * size[1] / (scaled[0] * scaled[1])
            if enlarged > self.most_enlarged * 1.001:
                problems.append((cropped, f"{picture} pixels would have to be enlarged {enlarged:.2f} times"))
            elif cropped > self.most_cropped:
                problems.append((cropped, f"{100 * cropped:.0f} % of the picture ({picture}) would be cut off"))
            else:
                fitting.append((round(cropped, 3), -size[0] * size[1], size))
        if not fitting:
            raise PosegenError(min(problems)[1])
        return min(fitting)[2]

    def as_kept(self) -> dict[str, Any]:
        """Return the settings as fingerprints hash them: a single size as in versions that had no others."""
        settings = dataclasses.asdict(self)
        if len(self.sizes) == 1:
            settings = {("size" if key == "sizes" else key): value for key, value in settings.items()}
            settings["size"] = self.sizes[0]
        return settings


@dataclass(frozen=True)
class ConditionSettings:
    """Settings of pose, hand normals and captions of kept clips; names and weights as in `posegen extract`."""

    pose: Literal["mediapipe", "vitpose", "sapiens2", "sapiens1"] = "mediapipe"
    pose_weights: str | None = None
    detector_weights: str | None = None
    normals: Literal["mediapipe", "sapiens2", "sapiens1"] = "mediapipe"
    normals_weights: str | None = None
    parts_weights: str | None = None
    trust_torchscript: bool = False
    """As in `posegen extract`: Sapiens-1's files can run any code on this machine."""
    body_threshold: float = 0.3
    """Keypoints of the body below this score are not drawn (PoseGen: 0.3)."""
    hand_threshold: float = HAND_DRAWN
    """The same for hands (PoseGen: 0.7). Generation draws hands from the same score."""
    least_seen: float = 0.8
    """Clips in which the person is followed in a smaller share of the frames are dropped."""
    caption_model: str | None = None
    """Folder or hub name of a vision-language model that writes captions; a template of measured colours without it."""

    def __post_init__(self) -> None:
        for name in ("body_threshold", "hand_threshold", "least_seen"):
            if not 0 <= getattr(self, name) <= 1:
                raise PosegenError(f"{name} must be between 0 and 1, not {getattr(self, name)}")
        self.estimators(0.0, 1.0)

    def estimators(self, start: float, end: float) -> EstimatorConfig:
        """Return the same settings for one part of a video, as those of `posegen extract`."""
        return EstimatorConfig(
            start=start,
            end=end,
            pose=self.pose,
            pose_weights=self.pose_weights,
            detector_weights=self.detector_weights,
            normals=self.normals,
            normals_weights=self.normals_weights,
            parts_weights=self.parts_weights,
            trust_torchscript=self.trust_torchscript,
        )


@dataclass(frozen=True)
class OutputSettings:
    """Settings of shards, splits and near-duplicates."""

    clips_per_shard: int = 16
    validation: float = 0.02
    """Share of the clips that become the split val-same; whole videos, so that training never sees them."""
    duplicate_bits: int = 12
    """Clips whose perceptual hashes of 256 bits differ in no more bits are near-duplicates; -1 keeps them all."""
    frames: PackedCodec = "h264"
    """Codec of a clip's frames: nearly lossless (H.264 4:4:4), or lossless in six times the space (ffv1)."""

    def __post_init__(self) -> None:
        if not 1 <= self.clips_per_shard <= MAX_CLIPS_PER_SHARD:
            raise PosegenError(f"clips_per_shard must be 1 to {MAX_CLIPS_PER_SHARD}, not {self.clips_per_shard}")
        if not 0 <= self.validation < 1 or not -1 <= self.duplicate_bits <= 15:
            raise PosegenError("validation must be from 0 to below 1, duplicate_bits from -1 to 15")


@dataclass(frozen=True)
class LatentSettings:
    """Encodes the clips for a training ahead of it, into the data set's `cache/`; not without a recipe."""

    recipe: str = ""
    """A training recipe, by name or path, whose stages decide the encodings."""
    stages: tuple[Literal["pretrain", "base", "stitch"], ...] = ("base",)
    model: str = ""
    """Name or folder of the model that training will start from; the recipe's own, if none is named."""


@dataclass(frozen=True)
class LatentPlan:
    """Encodings of all clips, and the model that makes them; picklable."""

    model: str
    """Name or folder."""
    identity: str
    """Changes when the model does."""
    weights_bytes: int
    frozen: Literal["float32", "bfloat16"]
    """Dtype in which the training loads its model."""
    computed: Literal["float32", "bfloat16"]
    """Dtype in which the autoencoder computes."""
    encodings: tuple[Encoding, ...]


@dataclass(frozen=True)
class ComputeSettings:
    """Settings of processes and limits; nothing here changes the result."""

    workers: int = 0
    """Processes at once; 0: one for each core (or as many as a cluster has)."""
    actors_per_gpu: int = 2
    """Processes that share one GPU, so that some decode while another computes."""
    timeout: float = 600.0
    """Seconds after which a clip (or ten times that, a whole video that is searched for cuts) counts as hanging."""
    memory_gb: float = 6.0
    """Gigabytes at which the process that works on a clip is ended, besides twice the weights that it loads."""
    attempts: int = 2
    """Number of tries of a clip that ends its process."""
    scratch_gb: float = 20.0
    """Largest video, in gigabytes, that a process fetches from a remote store; it holds one at a time."""

    def __post_init__(self) -> None:
        for name in ("actors_per_gpu", "timeout", "memory_gb", "attempts", "scratch_gb"):
            if getattr(self, name) <= 0:
                raise PosegenError(f"{name} must be positive, not {getattr(self, name)}")
        if not 0 <= self.workers <= MAX_WORKERS:
            raise PosegenError(f"workers must be 0 to {MAX_WORKERS}, not {self.workers}")


@dataclass(frozen=True)
class PrepareRecipe:
    """A whole recipe."""

    clips: ClipSettings = field(default_factory=ClipSettings)
    filters: FilterSettings = field(default_factory=FilterSettings)
    conditions: ConditionSettings = field(default_factory=ConditionSettings)
    output: OutputSettings = field(default_factory=OutputSettings)
    latents: LatentSettings = field(default_factory=LatentSettings)
    compute: ComputeSettings = field(default_factory=ComputeSettings)

    def fingerprint(self, stage: Literal["clips", "scores", "samples"]) -> str:
        """Hash everything that the result of a stage depends on."""
        content: dict[str, Any] = {"format": FORMAT, "stage": stage, "clips": self.clips.as_kept()}
        if stage == "scores":
            filters = dataclasses.asdict(self.filters)
            del filters["thresholds"], filters["skip"]  # they are applied to scores
            content |= {"filters": filters, "scoring": _SCORING}
        if stage == "samples":
            conditions = dataclasses.asdict(self.conditions)
            del conditions["trust_torchscript"]  # it allows, and changes nothing
            content |= {"conditions": conditions, "frames": self.output.frames, "extraction": _EXTRACTION}
        return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:12]


def read_prepare_recipe(path: str | Path | None) -> PrepareRecipe:
    """Read and check a recipe: one that comes with posegen, by its name, or a TOML file; the defaults for None.

    Raises `PosegenError` that names the recipe and the key.
    """
    if path is None:
        return PrepareRecipe()
    content = load_recipe(path, "prepare")
    try:
        recipe: PrepareRecipe = build(PrepareRecipe, with_sizes(content, "clips"), "")
        return recipe
    except PosegenError as error:
        raise PosegenError(f"{path}: {error}") from None
