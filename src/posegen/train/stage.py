"""Protocol of a stage, as the training loop uses it; the two kinds of stages are in files of their own.

A stage owns a pipeline, chooses the module that learns, makes the batch of a step, computes its loss, validates and
exports. It knows nothing of optimizers, processes, checkpoints and logs.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import nn

from posegen.model.pipeline import PoseGenPipeline
from posegen.train.stage_settings import Phase

Tell = Callable[[str, int, int], None]
"""Progress: task, done, total."""


@dataclass
class Validation:
    """Scalars and pictures (uint8 H W 3) of one validation, by name."""

    scalars: dict[str, float] = field(default_factory=dict)
    pictures: dict[str, np.ndarray] = field(default_factory=dict)
    videos: dict[str, np.ndarray] = field(default_factory=dict)
    """uint8 (F, H, W, 3)."""


@runtime_checkable
class TrainStage(Protocol):
    """One stage of training."""

    pipeline: PoseGenPipeline

    @property
    def module(self) -> nn.Module:
        """The module that is trained; parameters that learn have `requires_grad`."""
        ...

    @property
    def data_digest(self) -> str:
        """SHA-256 of the training data, in hexadecimal digits."""
        ...

    def prepare(self, tell: Tell, rank: int, world: int, device: torch.device) -> None:
        """Encode clips before the first step. Called by every process (`rank` of `world`)."""
        ...

    def ready(self) -> None:
        """Open the files that all processes have prepared."""
        ...

    def make_batch(self, step: int, phase: Phase, step_of_phase: int, part: slice) -> Any:
        """Return a part of the step's batch on the CPU, the same in every process."""
        ...

    def loss(self, module: nn.Module, batch: Any, device: torch.device) -> torch.Tensor:
        """Return the mean loss of a part."""
        ...

    def validate(self, module: nn.Module, device: torch.device) -> Validation:
        """Compute losses and pictures of validation clips, always the same ones."""
        ...

    def export(self, folder: Path) -> None:
        """Write the trained model."""
        ...
