"""The Inception v3 of standard FID: TensorFlow's weights of 2015, in the layout that pytorch-fid publishes.

It is not torchvision's Inception: 1,008 classes, padding does not count in average pooling, and the last block takes a
maximum (a slip of the original that every published FID has). Weights: `pt_inception-2015-12-05-6726825d.pth`.
"""

from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from posegen.evaluate.metrics.network_weights import load_weights

NAME, USUAL = "FID's Inception v3", "pt_inception-2015-12-05-6726825d.pth"


class _Conv(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int | tuple[int, int], stride: int = 1, pad: bool = True):
        super().__init__()
        height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
        padding = (height // 2, width // 2) if pad else (0, 0)
        self.conv = nn.Conv2d(inputs, outputs, (height, width), stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(outputs, eps=0.001)

    def forward(self, maps: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(maps)))


def _average(maps: Tensor) -> Tensor:
    return functional.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(maps: Tensor) -> Tensor:
    return functional.max_pool2d(maps, 3, stride=1, padding=1)


class _Mixed(nn.Module):
    """Branches side by side. `chains` names each branch's layers; two layers in a tuple end a branch in a fork."""

    def __init__(self, layers: dict[str, _Conv], chains: list[list[str | tuple[str, str]]], pool: str | None) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)
        self._chains, self._pool = chains, pool

    def forward(self, maps: Tensor) -> Tensor:
        results = []
        for chain in self._chains:
            value = maps
            for step in chain:
                if isinstance(step, tuple):
                    value = torch.cat([self._modules[name](value) for name in step], 1)  # type: ignore[misc]
                else:
                    value = self._modules[step](value)  # type: ignore[misc]
            results.append(value)
        if self._pool is None:
            results.append(functional.max_pool2d(maps, 3, stride=2))
        else:
            pooled = _average(maps) if self._pool == "average" else _maximum(maps)
            results.append(self._modules["branch_pool"](pooled))  # type: ignore[misc]
        return torch.cat(results, 1)


def _mixed_5(inputs: int, pool: int) -> _Mixed:
    layers = {
        "branch1x1": _Conv(inputs, 64, 1),
        "branch5x5_1": _Conv(inputs, 48, 1),
        "branch5x5_2": _Conv(48, 64, 5),
        "branch3x3dbl_1": _Conv(inputs, 64, 1),
        "branch3x3dbl_2": _Conv(64, 96, 3),
        "branch3x3dbl_3": _Conv(96, 96, 3),
        "branch_pool": _Conv(inputs, pool, 1),
    }
    return _Mixed(layers, [*_runs("branch1x1", "branch5x5_ 2", "branch3x3dbl_ 3")], "average")


def _mixed_6a() -> _Mixed:
    layers = {
        "branch3x3": _Conv(288, 384, 3, 2, pad=False),
        "branch3x3dbl_1": _Conv(288, 64, 1),
        "branch3x3dbl_2": _Conv(64, 96, 3),
        "branch3x3dbl_3": _Conv(96, 96, 3, 2, pad=False),
    }
    return _Mixed(layers, [*_runs("branch3x3", "branch3x3dbl_ 3")], None)


def _mixed_6(width: int) -> _Mixed:
    row, column = (1, 7), (7, 1)
    layers = {
        "branch1x1": _Conv(768, 192, 1),
        "branch7x7_1": _Conv(768, width, 1),
        "branch7x7_2": _Conv(width, width, row),
        "branch7x7_3": _Conv(width, 192, column),
        "branch7x7dbl_1": _Conv(768, width, 1),
        "branch7x7dbl_2": _Conv(width, width, column),
        "branch7x7dbl_3": _Conv(width, width, row),
        "branch7x7dbl_4": _Conv(width, width, column),
        "branch7x7dbl_5": _Conv(width, 192, row),
        "branch_pool": _Conv(768, 192, 1),
    }
    return _Mixed(layers, [*_runs("branch1x1", "branch7x7_ 3", "branch7x7dbl_ 5")], "average")


def _mixed_7a() -> _Mixed:
    layers = {
        "branch3x3_1": _Conv(768, 192, 1),
        "branch3x3_2": _Conv(192, 320, 3, 2, pad=False),
        "branch7x7x3_1": _Conv(768, 192, 1),
        "branch7x7x3_2": _Conv(192, 192, (1, 7)),
        "branch7x7x3_3": _Conv(192, 192, (7, 1)),
        "branch7x7x3_4": _Conv(192, 192, 3, 2, pad=False),
    }
    return _Mixed(layers, [*_runs("branch3x3_ 2", "branch7x7x3_ 4")], None)


def _mixed_7(inputs: int, pool: str) -> _Mixed:
    row, column = (1, 3), (3, 1)
    layers = {
        "branch1x1": _Conv(inputs, 320, 1),
        "branch3x3_1": _Conv(inputs, 384, 1),
        "branch3x3_2a": _Conv(384, 384, row),
        "branch3x3_2b": _Conv(384, 384, column),
        "branch3x3dbl_1": _Conv(inputs, 448, 1),
        "branch3x3dbl_2": _Conv(448, 384, 3),
        "branch3x3dbl_3a": _Conv(384, 384, row),
        "branch3x3dbl_3b": _Conv(384, 384, column),
        "branch_pool": _Conv(inputs, 192, 1),
    }
    chains: list[list[str | tuple[str, str]]] = [
        ["branch1x1"],
        ["branch3x3_1", ("branch3x3_2a", "branch3x3_2b")],
        ["branch3x3dbl_1", "branch3x3dbl_2", ("branch3x3dbl_3a", "branch3x3dbl_3b")],
    ]
    return _Mixed(layers, chains, pool)


def _runs(*branches: str) -> list[list[str | tuple[str, str]]]:
    """ "branch5x5_ 2" stands for the layers branch5x5_1 and branch5x5_2; a name alone for itself."""
    chains: list[list[str | tuple[str, str]]] = []
    for branch in branches:
        stem, _, count = branch.partition(" ")
        chains.append([f"{stem}{number}" for number in range(1, int(count) + 1)] if count else [stem])
    return chains


class FidInception(nn.Module):
    """Images (F, 3, 299, 299) in -1..1 -> pooled features (F, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Conv(3, 32, 3, 2, pad=False)
        self.Conv2d_2a_3x3 = _Conv(32, 32, 3, pad=False)
        self.Conv2d_2b_3x3 = _Conv(32, 64, 3)
        self.Conv2d_3b_1x1 = _Conv(64, 80, 1)
        self.Conv2d_4a_3x3 = _Conv(80, 192, 3, pad=False)
        self.Mixed_5b, self.Mixed_5c, self.Mixed_5d = _mixed_5(192, 32), _mixed_5(256, 64), _mixed_5(288, 64)
        self.Mixed_6a = _mixed_6a()
        self.Mixed_6b, self.Mixed_6c = _mixed_6(128), _mixed_6(160)
        self.Mixed_6d, self.Mixed_6e = _mixed_6(160), _mixed_6(192)
        self.Mixed_7a = _mixed_7a()
        self.Mixed_7b, self.Mixed_7c = _mixed_7(1280, "average"), _mixed_7(2048, "maximum")
        self.fc = nn.Linear(2048, 1008)

    def forward(self, images: Float[Tensor, "frames 3 299 299"]) -> Float[Tensor, "frames 2048"]:
        """The features that FID compares."""
        maps = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(images)))
        maps = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(functional.max_pool2d(maps, 3, stride=2)))
        maps = functional.max_pool2d(maps, 3, stride=2)
        for name in ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c"):
            maps = self._modules[f"Mixed_{name}"](maps)  # type: ignore[misc]
        return maps.mean(dim=(2, 3))


def load_inception(path: Path) -> FidInception:
    """The network with the user's weights. Raises `PosegenError` for weights of another network."""
    return load_weights(FidInception, path, NAME, USUAL)


def inception_input(frames: Float[Tensor, "frames 3 height width"]) -> Float[Tensor, "frames 3 299 299"]:
    """Prepare frames as pytorch-fid does: 0..1, resized bilinearly (no antialiasing) to 299 x 299, then to -1..1."""
    return 2 * functional.interpolate(frames, size=(299, 299), mode="bilinear", align_corners=False) - 1
