"""Settings of `posegen ablate`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.config.base import Settings
from posegen.config.checks import check_range, parse_size


@dataclass(frozen=True)
class AblateConfig(Settings):
    """Switch one part of PoseGen off and on: generates, scores and reports in one command, which resumes if stopped."""

    name: Annotated[
        Literal["hand-normals", "sharing", "long-method", "reference-tokens", "retargeting", "pose-guidance"],
        tyro.conf.Positional,
    ]
    """Part to switch. sharing also tries a grid of steps and layers; long-method compares methods for long videos."""
    output: Path
    """Folder for the benchmark, the videos of all variants, the report, ablation.json and ablation.jpg."""
    benchmark: Path | None = None
    """Your own benchmark; by default one of synthetic people is made."""
    model: str = "mini"
    """Name or folder of a model."""
    clips: int = 4
    """Number of synthetic clips."""
    seconds: float = 12.0
    """Length of the synthetic clips."""
    size: str | None = None
    """HEIGHTxWIDTH of the synthetic clips; by default the size at which the model makes upright videos."""
    steps: int | None = None
    """Denoising steps; by default the model's own number."""
    pose_guidance: float | None = None
    """Scale of pose guidance in all variants that do not switch it; by default the model's. The published PoseGen has
    none (1)."""
    pose_strength: float | None = None
    """Strength of skeletons and hand normals; by default the model's. In the published PoseGen it is 1."""
    seed: int = 0
    """Seed of the clips and of the noise."""
    cache: Path | None = None
    """Folder of cached scores, by content of the videos; by default in the user's cache folder."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, ..."""

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
