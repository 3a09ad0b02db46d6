"""LPIPS with VGG-16, as published: the network's weights are the user's, the small heads come with torchmetrics.

Weights: `vgg16-397923af.pth` (ImageNet). Richard Zhang et al., "The Unreasonable Effectiveness of Deep Features as a
Perceptual Metric", version 0.1.
"""

from importlib import resources
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from posegen.evaluate.metrics.network_weights import load_weights

NAME, USUAL = "VGG-16 (ImageNet)", "vgg16-397923af.pth"
_WIDTHS: tuple[int | str, ...] = (
    64,
    64,
    "M",
    128,
    128,
    "M",
    256,
    256,
    256,
    "M",
    512,
    512,
    512,
    "M",
    512,
    512,
    512,
    "M",
)
_TAPS = (3, 8, 15, 22, 29)
"""Layers after which features are compared: the last of each resolution."""
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class Vgg16(nn.Module):
    """The published network with its classifier, so that its weights load whole."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            if isinstance(width, str):
                layers.append(nn.MaxPool2d(2, 2))
            else:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 1000),
        )


class Lpips(nn.Module):
    """LPIPS-VGG of pairs of images (F, 3, H, W) in -1..1 (published tables feed it 0..1)."""

    def __init__(self, network: Vgg16) -> None:
        super().__init__()
        self.layers = network.features
        with resources.as_file(resources.files("torchmetrics") / "functional/image/lpips_models/vgg.pth") as path:
            heads = torch.load(path, map_location="cpu", weights_only=True)
        self.heads = [heads[f"lin{number}.model.1.weight"].flatten() for number in range(len(_TAPS))]

    def forward(
        self, left: Float[Tensor, "frames 3 height width"], right: Float[Tensor, "frames 3 height width"]
    ) -> Float[Tensor, " frames"]:
        """The distance of each pair."""
        shift, scale = (left.new_tensor(values)[:, None, None] for values in (_SHIFT, _SCALE))
        left, right = (left - shift) / scale, (right - shift) / scale
        total = left.new_zeros(len(left))
        for number, layer in enumerate(self.layers):
            left, right = layer(left), layer(right)
            if number in _TAPS:
                head = self.heads[_TAPS.index(number)].to(left)
                total = total + torch.einsum("fchw,c->fhw", unit_difference(left, right), head).mean(dim=(1, 2))
            if number == _TAPS[-1]:
                break
        return total


def unit_difference(left: Tensor, right: Tensor) -> Tensor:
    """Squared difference of feature maps (F, C, H, W), each position brought to length one first."""
    left, right = (maps / (maps.square().sum(1, keepdim=True).sqrt() + 1e-10) for maps in (left, right))
    return functional.mse_loss(left, right, reduction="none")


def load_lpips(path: Path) -> Lpips:
    """LPIPS with the user's VGG-16. Raises `PosegenError` for weights of another network."""
    return Lpips(load_weights(Vgg16, path, NAME, USUAL)).eval()
