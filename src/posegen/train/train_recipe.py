"""Recipes: TOML files with all settings of a training, checked before anything is built.

A recipe has a name, a `[model]`, `[data]` and one table for each stage (`[vae]`, `[pretrain]`, `[base]`, `[stitch]`,
`[distill]`, see `stage_settings.py`). Unknown keys, wrong types and contradictions are errors that name the key. The
stages apply them.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from posegen.config.limits import LayerCount, PositiveFloat, PositiveInt, Seed, check_limits
from posegen.config.toml_settings import build, with_sizes
from posegen.errors import PosegenError
from posegen.recipes.lookup import load_recipe
from posegen.train.stage_settings import (
    KINDS,
    STAGES,
    BaseSettings,
    DistillSettings,
    Phase,
    PretrainSettings,
    StageName,
    StitchSettings,
    VaeSettings,
)

_FIRST_KINDS = (VaeSettings, PretrainSettings, BaseSettings, StitchSettings)
_LATER_SETTINGS = {"face_weight": 1.0, "hand_weight": 1.0}
"""Settings that checkpoints of older versions do not know, with their defaults."""
BaseWeights = Literal["fp32", "bf16", "fp8"]
AnyStageSettings = VaeSettings | PretrainSettings | BaseSettings | StitchSettings | DistillSettings


@dataclass(frozen=True)
class ModelSettings:
    """The model that is trained."""

    start: str
    """A model by name, a folder, or "scratch:mini": the mini's architecture with random weights."""
    base_weights: BaseWeights = "fp32"
    """Dtype of frozen weights; fp8 halves bf16's memory (one-GPU training of large models)."""
    export: Literal["whole", "adapter"] = "whole"
    """Write a whole model folder at the end, or the adapter only (for bases of many gigabytes)."""
    seed: Seed = 0
    """Seed of random weights."""
    layers: LayerCount = 0
    """Blocks of a transformer that starts from random weights; 0: the mini's."""
    heads: LayerCount = 0
    """Attention heads, of 64 channels each, of a transformer that starts from random weights; 0: the mini's."""

    def __post_init__(self) -> None:
        check_limits(self)


@dataclass(frozen=True)
class DataSettings:
    """The clips that it is trained on; the command line can name other folders."""

    train: str = "data/train"
    """Folder of `train-*.tar` shards, or a URL that fsspec knows (http, s3, ...) with their index `train.json`."""
    validation: str = "data/val-same"
    """Folder or URL of `val-same-*.tar` shards."""
    cache: str = "data/cache"
    """Folder in which encoded clips and texts are kept, by content."""
    sizes: tuple[tuple[int, int], ...] = ()
    """(height, width) in pixels that clips may have, `size` for a single one; none: all sizes. A batch holds clips of
    one size."""
    fetched_gb: PositiveFloat = 200.0
    """Gigabytes of a URL's shards that are kept in the cache folder; the oldest make room for others."""
    encoders: PositiveInt = 1
    """Processes that encode clips side by side, each with encoders of its own on the device."""

    def __post_init__(self) -> None:
        for size in self.sizes:
            if min(size) < 1:
                raise PosegenError(f"size must be [height, width] in pixels, not {list(size)}")
        check_limits(self)


@dataclass(frozen=True)
class Recipe:
    """A whole recipe."""

    name: str
    model: ModelSettings
    data: DataSettings = field(default_factory=DataSettings)
    vae: VaeSettings | None = None
    pretrain: PretrainSettings | None = None
    base: BaseSettings | None = None
    stitch: StitchSettings | None = None
    distill: DistillSettings | None = None

    def stage(self, stage: StageName) -> AnyStageSettings:
        """Return the settings of a stage. Raises `PosegenError` if the recipe has none."""
        settings: AnyStageSettings | None = getattr(self, stage)
        if settings is None:
            having = [name for name in STAGES if getattr(self, name) is not None]
            raise PosegenError(f"the recipe {self.name!r} has no stage {stage}: it has {', '.join(having) or 'none'}")
        return settings

    def computed_on(self, bfloat16: bool) -> "Recipe":
        """Return the recipe for a device with or without bfloat16 instructions.

        Without them, stages compute in float32 instead of bfloat16, unless frozen weights are stored in bf16 or fp8.
        """
        if bfloat16 or self.model.base_weights != "fp32":
            return self
        stages = {name: getattr(self, name) for name in STAGES}
        changed = {name: replace(kept, precision="fp32") for name, kept in stages.items() if kept is not None}
        return replace(self, **changed)

    def fingerprint(self, stage: StageName) -> str:
        """Hash everything that a checkpoint of this stage depends on: not where data lies, nor how often to log.

        Settings of the other stages are hashed too, at their defaults, as in checkpoints of older versions; later
        settings only where they are not at their defaults.
        """
        settings = self.stage(stage)
        hashed = {
            item.name: item.default
            for kind in _FIRST_KINDS
            for item in fields(kind)
            if item.default is not dataclasses.MISSING
        }
        hashed |= dataclasses.asdict(settings)
        for name in frozenset[str]().union(*(kind.without_effect for kind in KINDS.values())):
            del hashed[name]
        for name, default in _LATER_SETTINGS.items():
            if hashed[name] == default:
                del hashed[name]
        content = {"name": self.name, "stage": stage, "model": dataclasses.asdict(self.model), "settings": hashed}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def read_recipe(path: str | Path) -> Recipe:
    """Read and check a recipe: one that comes with posegen, by its name, or a TOML file.

    Raises `PosegenError` that names the recipe and the key.
    """
    content = load_recipe(path, "train")
    try:
        for stage in STAGES:
            if isinstance(content.get(stage), dict):
                content[stage] = _with_phases(content[stage])
                _check_keys(stage, content[stage])
        recipe: Recipe = build(Recipe, with_sizes(content, "data"), "")
        _check_together(recipe)
    except PosegenError as error:
        raise PosegenError(f"{path}: {error}") from None
    return recipe


def _check_keys(stage: StageName, table: dict[str, Any]) -> None:
    """Raise `PosegenError` for a key of other stages, and for one that another key makes meaningless."""
    own = {item.name for item in fields(KINDS[stage])}
    for key in table:
        others = [f"[{name}]" for name, kind in KINDS.items() if key in {item.name for item in fields(kind)}]
        if key not in own and others:
            raise PosegenError(
                f"[{stage}] {key} has no meaning in this stage (it belongs to {' '.join(others)}): remove it"
            )
    for key, other in KINDS[stage].replaced_by.items():
        if key in table and table.get(other):
            raise PosegenError(f"[{stage}] {key} has no meaning with {other}: remove one of them")


def _with_phases(table: dict[str, Any]) -> dict[str, Any]:
    """Move the keys of a phase that stand directly in a stage's table into a list of one phase."""
    shape = {item.name for item in fields(Phase)}
    direct = {key: value for key, value in table.items() if key in shape}
    if not direct or "phases" in table:
        return table
    return {**{key: value for key, value in table.items() if key not in shape}, "phases": [direct]}


def _check_together(recipe: Recipe) -> None:
    """Raise `PosegenError` where tables contradict each other."""
    model = recipe.model
    scratch = model.start.startswith("scratch:")
    if scratch and model.start != "scratch:mini":
        raise PosegenError(f"[model] start = {model.start!r}: only the mini can be built from scratch")
    if not scratch and (model.layers or model.heads):
        raise PosegenError(f'[model] layers and heads are of a model from scratch: start is "{model.start}"')
    if model.base_weights == "fp32":
        return
    for settings in (recipe.vae, recipe.pretrain):
        if settings is not None:
            raise PosegenError(f'[{settings.stage}] trains all weights: [model] base_weights must then be "fp32"')
    if model.export == "whole":
        raise PosegenError(
            f'[model] base_weights = "{model.base_weights}" would be exported rounded: set export = "adapter"'
        )
    if recipe.distill is not None and recipe.distill.learning == "whole":
        raise PosegenError('[distill] learning = "whole" trains all weights: [model] base_weights must then be "fp32"')
    for adapter in (recipe.base, recipe.stitch):
        if model.base_weights == "fp8" and adapter is not None and adapter.strategy == "fsdp":
            raise PosegenError(
                f'[{adapter.stage}] strategy = "fsdp" cannot shard fp8 weights: use base_weights = "bf16"'
            )
