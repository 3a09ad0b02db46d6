"""Settings of `posegen ablate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.config.base import Settings
from posegen.config.checks import check_range, parse_size


@dataclass(frozen=True)
class AblateConfig(Settings):
    """Switch one part of the method off and on: generate, score and report in one command, which goes on if stopped."""

    name: Annotated[
        Literal["hand-normals", "sharing", "long-method", "reference-tokens", "retargeting", "pose-guidance"],
        tyro.conf.Positional,
    ]
    """What is switched. sharing also tries a grid of steps and layers; long-method compares the ways to long videos."""
    output: Path
    """Folder for the benchmark, the videos of all variants, the report, ablation.json and ablation.jpg."""
    benchmark: Path | None = None
    """A benchmark of your own; by default synthetic people are made."""
    model: str = "mini"
    """Name of a model or a folder with one."""
    clips: int = 4
    """How many synthetic clips."""
    seconds: float = 12.0
    """Length of the synthetic clips."""
    size: str | None = None
    """HEIGHTxWIDTH of the synthetic clips; by default the size at which the model makes upright videos."""
    steps: int | None = None
    """Denoising steps; by default the model's usual number."""
    pose_guidance: float | None = None
    """Strength of guidance by the pose in all variants that do not switch it, by default the model's; the published
    method has none (1)."""
    pose_strength: float | None = None
    """How strong skeletons and hand normals are, by default as the model wants them; in the published method 1."""
    seed: int = 0
    """Of the clips and of the noise."""
    cache: Path | None = None
    """Folder in which scores are kept by content; by default in the user's cache folder."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None:
            parse_size(self.size)
        check_range("--clips", self.clips, 1, 10_000)
        check_range("--seconds", self.seconds, 0.5, 36_000)
        check_range("--seed", self.seed, 0, 2**63 - 1)
        if self.steps is not None:
            check_range("--steps", self.steps, 1, 1000)
        if self.pose_guidance is not None:
            check_range("--pose-guidance", self.pose_guidance, 0, 100)
        if self.pose_strength is not None:
            check_range("--pose-strength", self.pose_strength, 0, 10)
