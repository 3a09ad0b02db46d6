"""Merges all adapters into full weights and keeps each set, so that every adapter runs as fast as a plain model.

An adapter beside a linear layer costs a tenth to a quarter of a forward pass. Here every adapter's merged weights
(base + alpha / rank · B·A) are computed once, and switching between adapters swaps tensors without copying. Each
further adapter needs the memory of another model: the caller decides whether that fits. A merged transformer has no
adapters left to save or to train.
"""

from typing import Any

import torch
from peft.tuners.lora import LoraLayer
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from torch import Tensor, nn

from posegen.errors import PosegenError
from posegen.model.lora import adapter_names, forget_adapters
from posegen.model.transformer import PoseGenTransformer3DModel


class MergedAdapters:
    """All adapters of a transformer, merged in place; the first one is active at the start."""

    def __init__(self, transformer: PoseGenTransformer3DModel) -> None:
        """Merge the adapters. Raises `PosegenError` if there is none, or one that is not mergeable (`is_mergeable`)."""
        self._names = adapter_names(transformer)
        if not self._names:
            raise PosegenError("the transformer has no adapters to merge")
        if not is_mergeable(transformer):
            raise PosegenError("these adapters cannot be merged: their layers have no plain 16- or 32-bit weights")
        self._kept: list[tuple[nn.Parameter, dict[str, Tensor]]] = []
        with torch.no_grad():
            for parent in list(transformer.modules()):
                for key, module in list(parent.named_children()):
                    if isinstance(module, LoraLayer):
                        setattr(parent, key, self._merge_linear(module))
                    elif isinstance(module, ModulesToSaveWrapper):
                        setattr(parent, key, self._keep_copies(module))
        forget_adapters(transformer)
        transformer.requires_grad_(False)
        self.use(self._names[0])

    def use(self, name: str) -> None:
        """Switch the transformer to the weights of one adapter. Raises `PosegenError` for one that was not merged."""
        if name not in self._names:
            raise PosegenError(f"no adapter {name!r}: merged were {', '.join(self._names)}")
        for parameter, merged in self._kept:
            parameter.data = merged[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def _merge_linear(self, layer: Any) -> nn.Module:
        base = layer.get_base_layer()
        merged = {}
        for name in self._names:
            weight = base.weight.data
            if name in layer.lora_A:
                down, up = layer.lora_A[name].weight.float(), layer.lora_B[name].weight.float()
                weight = (weight.float() + layer.scaling[name] * (up @ down)).to(weight.dtype)
            merged[name] = weight
        self._kept.append((base.weight, merged))
        return base

    def _keep_copies(self, wrapper: ModulesToSaveWrapper) -> nn.Module:
        base = wrapper.original_module
        own = {name: dict(module.named_parameters()) for name, module in wrapper.modules_to_save.items()}
        for key, parameter in base.named_parameters():
            merged = {name: own[name][key].data if name in own else parameter.data for name in self._names}
            self._kept.append((parameter, merged))
        return base


def is_mergeable(transformer: PoseGenTransformer3DModel) -> bool:
    """Return True if each layer under an adapter is a linear layer of plain 16- or 32-bit weights on the device."""
    layers = [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
    bases: list[Any] = [layer.get_base_layer() for layer in layers]
    plain = (torch.float32, torch.bfloat16, torch.float16)
    return all(
        type(base) is nn.Linear
        and type(base.weight.data) is Tensor
        and base.weight.dtype in plain
        and base.weight.device.type != "meta"
        for base in bases
    )


def extra_bytes(transformer: PoseGenTransformer3DModel) -> int:
    """Return the maximum extra memory in bytes of merged adapters over attached ones."""
    layers: list[Any] = [module for module in transformer.modules() if isinstance(module, LoraLayer)]
    return len(adapter_names(transformer)) * sum(layer.get_base_layer().weight.nbytes for layer in layers)
