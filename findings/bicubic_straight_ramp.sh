#!/usr/bin/env bash
# Subject: "bicubic" in OpenCV, torch, Pillow and scipy, on a straight brightness ramp moved by a fraction of a pixel.
# Guess: a cubic is at least as exact as a line: a ramp of slope 100 moved by 0.1 pixels falls by 10 with every
#   library.
# Reality: OpenCV and torch use Keys' kernel with a = -0.75, which does not reproduce straight lines; only a = -0.5
#   does (Pillow). The ramp falls by 13.6 instead of 10, so sub-pixel positions, flow and heat-map maxima read through
#   INTER_CUBIC, grid_sample or interpolate(mode="bicubic") are off by up to 0.048 pixels, while bilinear is exact.
#   And torch has both kernels: interpolate(antialias=True) uses a = -0.5, so antialias changes the result when
#   *enlarging*, where there is nothing to smooth and where mode="bilinear" gives the same either way.
# Versions: opencv-python-headless 5.0.0.93, torch 2.13.0 (CPU), pillow 13.0.0, scipy 1.17.1, Python 3.11. On PyPI
#   that torch brings CUDA packages; install a CPU build first if you can.
# Output seen:
#   OpenCV INTER_LINEAR: falls by 10.00, should be 10
#   OpenCV INTER_CUBIC: falls by 13.60, should be 10
#   torch grid_sample bilinear: falls by 10.00, should be 10
#   torch grid_sample bicubic: falls by 13.60, should be 10
#   Pillow BICUBIC: falls by 10.00, should be 10
#   scipy ndimage spline of order 3: falls by 10.00, should be 10
#   torch interpolate bilinear, enlarged twice: antialias changes it by up to 0.000
#   torch interpolate bicubic, enlarged twice: antialias changes it by up to 0.066
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    torch==2.13.0 opencv-python-headless==5.0.0.93 pillow==13.0.0 scipy==1.17.1 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import cv2
import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

size, middle, shift = 64, 32, 0.1
ramp = np.tile(np.arange(size, dtype=np.float32) * 100, (size, 1))
rows, columns = np.mgrid[:size, :size].astype(np.float32)


def by_opencv(mode):
    return cv2.remap(ramp, columns - np.float32(shift), rows, mode)[middle, middle]


def by_torch(mode):
    grid = torch.from_numpy(np.stack([columns - np.float32(shift), rows], axis=-1) * 2 / (size - 1) - 1)[None]
    moved = F.grid_sample(torch.from_numpy(ramp)[None, None], grid.float(), mode=mode, align_corners=True)
    return moved[0, 0, middle, middle].item()


def by_pillow():
    moved = Image.fromarray(ramp).resize((size - 2, size - 2), Image.Resampling.BICUBIC, (1 - shift, 1, 63 - shift, 63))
    return np.asarray(moved)[middle - 1, middle - 1]


found = {
    "OpenCV INTER_LINEAR": by_opencv(cv2.INTER_LINEAR),
    "OpenCV INTER_CUBIC": by_opencv(cv2.INTER_CUBIC),
    "torch grid_sample bilinear": by_torch("bilinear"),
    "torch grid_sample bicubic": by_torch("bicubic"),
    "Pillow BICUBIC": by_pillow(),
    "scipy ndimage spline of order 3": ndimage.shift(ramp, (0, shift), order=3, mode="nearest")[middle, middle],
}
falls = {name: float(ramp[middle, middle] - value) for name, value in found.items()}
for name, fall in falls.items():
    print(f"{name}: falls by {fall:.2f}, should be 10")
torch.manual_seed(0)
noise = torch.rand(1, 1, 16, 16)
differences = []
for mode in ("bilinear", "bicubic"):
    plain, smooth = (F.interpolate(noise, size=(32, 32), mode=mode, antialias=antialias) for antialias in (False, True))
    differences.append((plain - smooth).abs().max().item())
    print(f"torch interpolate {mode}, enlarged twice: antialias changes it by up to {differences[-1]:.3f}")
cubic = ("OpenCV INTER_CUBIC", "torch grid_sample bicubic")
if not all(abs(fall - (13.6 if name in cubic else 10)) < 0.1 for name, fall in falls.items()):
    sys.exit("changed: the cubic kernels are others")
if not (differences[0] < 1e-5 and differences[1] > 0.03):
    sys.exit("changed: antialias no longer changes an enlargement")
PY
"$work/venv/bin/python" "$work/find.py"
