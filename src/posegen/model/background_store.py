"""Where the anchor segment's keys and values are kept: a protocol, and memory as its simplest form."""

from collections.abc import Iterable, Mapping
from typing import Literal, Protocol, runtime_checkable

import torch
from torch import Tensor

Branch = Literal["positive", "negative"]
"""Of classifier-free guidance."""


@runtime_checkable
class BackgroundStore(Protocol):
    """Where the anchor's keys and values are: memory now; disk or recomputation later."""

    def put(self, step: int, branch: Branch, layer: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep `key` and `value`, each `(B, n, heads, width)`."""

    def get(self, step: int, branch: Branch, layer: int) -> Mapping[str, Tensor]:
        """Give them back; KeyError when they were never put."""

    def places(self) -> Iterable[tuple[int, Branch, int]]:
        """What is kept, as (step, branch, layer)."""


class MemoryStore:
    """Keeps tensors as they are, or on `device` (for example "cpu")."""

    def __init__(self, device: torch.device | str | None = None) -> None:
        self.device = device
        self._tensors: dict[tuple[int, Branch, int], dict[str, Tensor]] = {}

    def put(self, step: int, branch: Branch, layer: int, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors of one attention, replacing earlier ones."""
        self._tensors[step, branch, layer] = {
            name: tensor.detach() if self.device is None else tensor.detach().to(self.device)
            for name, tensor in tensors.items()
        }

    def get(self, step: int, branch: Branch, layer: int) -> Mapping[str, Tensor]:
        """The tensors of one attention."""
        return self._tensors[step, branch, layer]

    def places(self) -> list[tuple[int, Branch, int]]:
        """What is kept, as (step, branch, layer)."""
        return list(self._tensors)
