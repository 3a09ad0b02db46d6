"""Weights sharded over processes (torch's FSDP2): shard a module, and gather tensors or all weights.

Torch's own functions and not accelerate's plugin, which CPUs ignore: sharding is the same on every device. It has no
dtype of its own, autocast chooses it as for whole weights. Tensors that are not sharded pass unchanged.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor


def shard(transformer: nn.Module, device: torch.device) -> None:
    """Shard the weights over all processes, in place, block by block; each gets its part on its device."""
    mesh = init_device_mesh(device.type, (torch.distributed.get_world_size(),))
    for module in (*transformer.get_submodule("blocks").children(), transformer):
        # also the root, which torch would leave whole after a forward pass, its sharded parameters out of reach
        fully_shard(module, mesh=mesh, reshard_after_forward=True)


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor unsharded. All processes must call it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def sharded_like(tensor: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return a tensor that all processes have, with the dtype, device and sharding of another."""
    if not isinstance(other, DTensor):
        return tensor.to(other)
    return distribute_tensor(tensor.to(other.device, other.dtype), other.device_mesh, other.placements)


@contextmanager
def gathered(module: nn.Module) -> Iterator[None]:
    """Give the main process's module the whole weights on the CPU while open, to be written, not to compute.

    All processes must enter and leave.
    """
    if not isinstance(module, FSDPModule):
        yield
        return
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    weights: dict[str, Any] = get_model_state_dict(module, options=options)  # empty but in the main process
    sharded = {name: parameter for name, parameter in module.named_parameters() if name in weights}
    _put(module, {name: nn.Parameter(weights[name], parameter.requires_grad) for name, parameter in sharded.items()})
    try:
        yield
    finally:
        _put(module, sharded)


def _put(module: nn.Module, parameters: dict[str, nn.Parameter]) -> None:
    """Exchange parameters; `load_state_dict` would shard them."""
    for name, parameter in parameters.items():
        owner, _, key = name.rpartition(".")
        setattr(module.get_submodule(owner), key, parameter)
