"""Protocol of model sources. The implementations are in `folder_sources` and `hub_sources`."""

from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from posegen.model.loading import loading_errors
from posegen.model.model_description import ModelDescription
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.transformer import PoseGenTransformer3DModel


@runtime_checkable
class ModelSource(Protocol):
    """Source of a model. Only `load` and `load_for_encoding` read weights or download anything.

    All methods raise `PosegenError` if the source holds no model.
    """

    @property
    def name(self) -> str:
        """Name or folder by which users refer to the model."""

    def describe(self) -> ModelDescription:
        """Describe the model."""

    def identity(self) -> str:
        """Return a text that changes if and only if the model does."""

    def transformer_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of the transformer."""

    def autoencoder_arguments(self) -> dict[str, Any]:
        """Return the constructor arguments of the autoencoder. Raises `PosegenError` if posegen cannot train it."""

    def load(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load the model on the CPU."""

    def load_for_encoding(self, dtype: torch.dtype) -> PoseGenPipeline:
        """Load tokenizer, encoders and autoencoder on the CPU, around a transformer without weights."""


def empty_transformer(source: ModelSource) -> PoseGenTransformer3DModel:
    """Build a model's transformer without weights, on the meta device. Raises `PosegenError`."""
    arguments = source.transformer_arguments()
    with torch.device("meta"), loading_errors(Path(source.name) / "transformer"):
        return PoseGenTransformer3DModel(**arguments)
