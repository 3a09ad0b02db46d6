"""Keeps the model of the last job loaded, for the next one that wants the same."""

import gc
from collections.abc import Sequence

import torch

from posegen.model.lora_files import Lora
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.sources import load_pipeline, model_identity


class LoadedModel:
    """One model on its device. `load` has the arguments of `load_pipeline`; another model takes the place of the last.

    A model counts as another one when its files have changed, or with another device, dtype or LoRA files.
    """

    def __init__(self) -> None:
        self._key: object = None
        self._pipeline: PoseGenPipeline | None = None
        self.loads = 0
        """Times that a model was loaded."""

    def load(self, name: str, device: torch.device, dtype: torch.dtype, loras: Sequence[Lora] = ()) -> PoseGenPipeline:
        """Return the model, loaded if it is not the last one. Raises `PosegenError`."""
        key = (model_identity(name), device, dtype, [lora.identity for lora in loras])
        if self._pipeline is None or key != self._key:
            self.unload()
            self._pipeline = load_pipeline(name, device, dtype, loras)
            self._key = key
            self.loads += 1
        return self._pipeline

    def unload(self) -> None:
        """Forget the model, and give its memory back."""
        self._key = self._pipeline = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
