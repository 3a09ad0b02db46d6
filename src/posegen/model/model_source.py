"""Says what a place that a model comes from can do. The kinds of places are in `folder_sources` and `hub_sources`."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from posegen.model.loading import loading_errors
from posegen.model.model_description import ModelDescription
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.transformer import PoseGenTransformer3DModel


@runtime_checkable
class ModelSource(Protocol):
    """A place that a model comes from. Only `load` and `load_for_encoding` read weights or download anything.

    All methods raise `PosegenError` where the place holds no model.
    """

    @property
    def name(self) -> str:
        """The name, or the folder, by which users call the model."""

    def describe(self) -> ModelDescription:
        """Describe the model."""

    def identity(self) -> str:
        """A text that changes when the model does, and with nothing else."""

    def transformer_arguments(self) -> dict[str, Any]:
        """Constructor arguments of the transformer."""

    def autoencoder_arguments(self) -> dict[str, Any]:
        """Constructor arguments of the autoencoder; an error, too, if it is not one that posegen trains."""

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load the model on the CPU."""

    def load_for_encoding(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load tokenizer, encoders and autoencoder on the CPU, around a transformer without weights."""


def empty_transformer(source: ModelSource) -> PoseGenTransformer3DModel:
    """Build a model's transformer without weights, on the meta device. Raises `PosegenError`."""
    arguments = source.transformer_arguments()
    with torch.device("meta"), loading_errors(Path(source.name) / "transformer"):
        return PoseGenTransformer3DModel(**arguments)
