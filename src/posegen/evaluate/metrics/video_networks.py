"""The two networks of the standard video distances: I3D (FVD) and a 3-D ResNet-50 (FID-VID).

Both see windows of 16 frames. Layer names are those of the published weights: `i3d_pretrained_400.pt` (Kinetics-400,
RGB; FVD takes the logits) and `resnet-50-kinetics.pth` (Kinetics-400; FID-VID takes what the last layer sees).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from posegen.evaluate.metrics.network_weights import load_weights

I3D_NAME, I3D_USUAL = "I3D (RGB, Kinetics-400)", "i3d_pretrained_400.pt"
RESNET_NAME, RESNET_USUAL = "3-D ResNet-50 (Kinetics-400)", "resnet-50-kinetics.pth"
I3D_SIZE, RESNET_SIZE, WINDOW = 224, 112, 16
_KINETICS_MEAN = (114.7748, 107.7354, 99.4750)


def _pad_same(maps: Tensor, kernel: Sequence[int], stride: Sequence[int]) -> Tensor:
    """TensorFlow's padding "same": an odd pixel is added at the end."""
    pads: list[int] = []
    for side, length, step in zip(maps.shape[:1:-1], reversed(kernel), reversed(stride), strict=True):
        total = max(length - (side % step or step), 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(maps, pads)


class _Unit(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, last: bool = False) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=last)
        if not last:
            self.bn = nn.BatchNorm3d(outputs, eps=0.001)

    def forward(self, maps: Tensor) -> Tensor:
        maps = self.conv3d(_pad_same(maps, self.conv3d.kernel_size, self.conv3d.stride))
        return functional.relu(self.bn(maps)) if hasattr(self, "bn") else maps


class _Pool(nn.Module):
    def __init__(self, kernel: tuple[int, int, int], stride: tuple[int, int, int]) -> None:
        super().__init__()
        self.kernel, self.stride = kernel, stride

    def forward(self, maps: Tensor) -> Tensor:  # what is pooled is never negative: zeros are a neutral border
        return functional.max_pool3d(_pad_same(maps, self.kernel, self.stride), self.kernel, self.stride)


class _Inception(nn.Module):
    def __init__(self, inputs: int, widths: tuple[int, int, int, int, int, int]) -> None:
        super().__init__()
        self.b0 = _Unit(inputs, widths[0], 1)
        self.b1a, self.b1b = _Unit(inputs, widths[1], 1), _Unit(widths[1], widths[2], 3)
        self.b2a, self.b2b = _Unit(inputs, widths[3], 1), _Unit(widths[3], widths[4], 3)
        self.b3a, self.b3b = _Pool((3, 3, 3), (1, 1, 1)), _Unit(inputs, widths[5], 1)

    def forward(self, maps: Tensor) -> Tensor:
        branches = (self.b0(maps), self.b1b(self.b1a(maps)), self.b2b(self.b2a(maps)), self.b3b(self.b3a(maps)))
        return torch.cat(branches, 1)


class I3D(nn.Module):
    """Windows (N, 3, 16, 224, 224) in -1..1 -> logits (N, 400), their mean over time."""

    def __init__(self) -> None:
        super().__init__()
        spatial = ((1, 3, 3), (1, 2, 2))
        self.Conv3d_1a_7x7 = _Unit(3, 64, 7, 2)
        self.MaxPool3d_2a_3x3 = _Pool(*spatial)
        self.Conv3d_2b_1x1, self.Conv3d_2c_3x3 = _Unit(64, 64, 1), _Unit(64, 192, 3)
        self.MaxPool3d_3a_3x3 = _Pool(*spatial)
        self.Mixed_3b = _Inception(192, (64, 96, 128, 16, 32, 32))
        self.Mixed_3c = _Inception(256, (128, 128, 192, 32, 96, 64))
        self.MaxPool3d_4a_3x3 = _Pool((3, 3, 3), (2, 2, 2))
        self.Mixed_4b = _Inception(480, (192, 96, 208, 16, 48, 64))
        self.Mixed_4c = _Inception(512, (160, 112, 224, 24, 64, 64))
        self.Mixed_4d = _Inception(512, (128, 128, 256, 24, 64, 64))
        self.Mixed_4e = _Inception(512, (112, 144, 288, 32, 64, 64))
        self.Mixed_4f = _Inception(528, (256, 160, 320, 32, 128, 128))
        self.MaxPool3d_5a_2x2 = _Pool((2, 2, 2), (2, 2, 2))
        self.Mixed_5b = _Inception(832, (256, 160, 320, 32, 128, 128))
        self.Mixed_5c = _Inception(832, (384, 192, 384, 48, 128, 128))
        self.logits = _Unit(1024, 400, 1, last=True)

    def forward(self, windows: Float[Tensor, "windows 3 16 224 224"]) -> Float[Tensor, "windows 400"]:
        """The features that FVD compares."""
        maps = windows
        for name, layer in self.named_children():
            if name != "logits":
                maps = layer(maps)
        maps = functional.avg_pool3d(maps, (1, 7, 7), stride=1)
        return self.logits(maps).mean(dim=(2, 3, 4))


class _Bottleneck(nn.Module):
    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv3d(inputs, width, 1, bias=False), nn.BatchNorm3d(width)
        self.conv2, self.bn2 = nn.Conv3d(width, width, 3, stride, 1, bias=False), nn.BatchNorm3d(width)
        self.conv3, self.bn3 = nn.Conv3d(width, 4 * width, 1, bias=False), nn.BatchNorm3d(4 * width)
        self.downsample = (
            nn.Sequential(nn.Conv3d(inputs, 4 * width, 1, stride, bias=False), nn.BatchNorm3d(4 * width))
            if stride != 1 or inputs != 4 * width
            else nn.Identity()
        )

    def forward(self, maps: Tensor) -> Tensor:
        inner = functional.relu(self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(maps))))))
        return functional.relu(self.bn3(self.conv3(inner)) + self.downsample(maps))


class ResNet3D(nn.Module):
    """Windows (N, 3, 16, 112, 112), pixels 0..255 less the Kinetics mean -> features (N, 2048)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv3d(3, 64, 7, (1, 2, 2), 3, bias=False)
        self.bn1 = nn.BatchNorm3d(64)
        inputs = 64
        for number, (width, blocks) in enumerate(zip((64, 128, 256, 512), (3, 4, 6, 3), strict=True), start=1):
            layers = []
            for block in range(blocks):
                layers.append(_Bottleneck(inputs, width, 2 if number > 1 and block == 0 else 1))
                inputs = 4 * width
            self.add_module(f"layer{number}", nn.Sequential(*layers))
        self.fc = nn.Linear(2048, 400)

    def forward(self, windows: Float[Tensor, "windows 3 16 112 112"]) -> Float[Tensor, "windows 2048"]:
        """The features that FID-VID compares."""
        maps = functional.max_pool3d(functional.relu(self.bn1(self.conv1(windows))), 3, stride=2, padding=1)
        for number in range(1, 5):
            maps = self._modules[f"layer{number}"](maps)  # type: ignore[misc]
        return functional.avg_pool3d(maps, (1, 4, 4), stride=1).flatten(1)


def load_i3d(path: Path) -> I3D:
    """I3D with the user's weights. Raises `PosegenError` for weights of another network."""
    return load_weights(I3D, path, I3D_NAME, I3D_USUAL)


def load_resnet3d(path: Path) -> ResNet3D:
    """The 3-D ResNet with the user's weights. Raises `PosegenError` for weights of another network."""
    return load_weights(ResNet3D, path, RESNET_NAME, RESNET_USUAL)


def resized(frames: UInt8[np.ndarray, "f h w 3"], side: int) -> Float[np.ndarray, "f side side 3"]:
    """Frames at side x side, 0..255, by Pillow's bicubic in floating point (its aspect ratio is not kept): DisCo's."""
    channels = [
        np.asarray(
            Image.fromarray(frame[..., channel].astype(np.float32)).resize((side, side), Image.Resampling.BICUBIC)
        )
        for frame in frames
        for channel in range(3)
    ]
    return np.stack(channels).reshape(len(frames), 3, side, side).transpose(0, 2, 3, 1)


def i3d_input(windows: Float[np.ndarray, "n 16 h w 3"]) -> Float[Tensor, "n 3 16 h w"]:
    """Scale 0..255 to -1..1."""
    return torch.from_numpy(np.ascontiguousarray(windows.transpose(0, 4, 1, 2, 3)) / np.float32(127.5) - 1)


def resnet_input(windows: Float[np.ndarray, "n 16 h w 3"]) -> Float[Tensor, "n 3 16 h w"]:
    """Subtract the mean of Kinetics from 0..255."""
    centred = windows - np.array(_KINETICS_MEAN, np.float32)
    return torch.from_numpy(np.ascontiguousarray(centred.transpose(0, 4, 1, 2, 3)))
