"""Settings of `posegen train`; the recipe defines the training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.config.base import Settings
from posegen.config.checks import check_range
from posegen.errors import PosegenError


@dataclass(frozen=True)
class TrainConfig(Settings):
    """Train one stage of a recipe, or resume it."""

    stage: Annotated[Literal["vae", "pretrain", "base", "stitch", "distill"], tyro.conf.Positional]
    """Stage of the recipe."""
    recipe: str
    """Name of a built-in recipe (mini, mini-cpu, mini-longer, mini-autoencoder, mini-distill,
    mini-distill-cpu, wan2.1-i2v-14b, wan2.1-i2v-14b-one-gpu, wan2.1-i2v-14b-distill), or the path of a TOML file."""
    output: Path | None = None
    """Folder of the run: each stage has a folder in it, with checkpoints, logs and finally its model. Required except
    for `--dry-run`."""
    data: str | None = None
    """Folder of train-*.tar shards, or its URL (http, s3, ...); by default the recipe's."""
    validation: str | None = None
    """Folder of val-same-*.tar shards, or its URL; by default the recipe's."""
    cache: Path | None = None
    """Folder for encoded clips; by default the recipe's."""
    init: str | None = None
    """Model (name or folder) to start from, instead of the previous stage or the recipe's."""
    processes: int = 1
    """Number of devices assumed by `--dry-run`; the launcher (accelerate, torchrun) sets the actual number."""
    dry_run: bool = False
    """Print the training plan, its estimated memory, disk and downloads, and stop."""
    seconds_per_step: float | None = None
    """A measured rate, from which `--dry-run` computes hours."""
    encode_only: bool = False
    """Encode clips into the cache, and stop; training then starts without delay."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--processes", self.processes, 1, 100_000)
        if self.seconds_per_step is not None:
            check_range("--seconds-per-step", self.seconds_per_step, 0, 1e6)
        if self.output is None and not self.dry_run:
            raise PosegenError("missing --output, the folder of the run (required except for --dry-run)")
