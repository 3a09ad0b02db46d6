#!/usr/bin/env bash
# Subject: SSIM by torchmetrics against scikit-image, both set to the paper's Gaussian window (sigma 1.5, 11 x 11,
#   biased variance, data range 1).
# Guess: the same number to rounding: the settings are the same and the formula is fixed.
# Reality: scikit-image averages only where the window lies inside the image; torchmetrics mirrors the image at its
#   edges and averages over all of it. Small images differ in the fourth decimal, and an image that is damaged at its
#   rim (letterbox, padding, a decoder's last column) differs in the first. Crop 5 pixels from torchmetrics' full map
#   (return_full_image=True) to get scikit-image's value.
# Versions: torchmetrics 1.9.0, torch 2.13.0 (CPU), scikit-image 0.26.0, Python 3.11. On PyPI that torch brings CUDA
#   packages; install a CPU build first if you can.
# Output seen:
#   noise everywhere: torchmetrics 0.94406, scikit-image 0.94454, torchmetrics without 5 pixels 0.94454
#   three columns at each side lost: torchmetrics 0.88934, scikit-image 0.99603, torchmetrics without 5 pixels 0.99603
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check \
    torch==2.13.0 torchmetrics==1.9.0 scikit-image==0.26.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import numpy as np
import torch
from skimage.metrics import structural_similarity
from torchmetrics.functional.image import structural_similarity_index_measure

random = np.random.default_rng(0)
image = random.random((64, 64))
noisy = np.clip(image + 0.1 * random.standard_normal(image.shape), 0, 1)
rim = image.copy()
rim[:, :3] = rim[:, -3:] = 0  # only the three columns at each side
changed = False
for name, other in (("noise everywhere", noisy), ("three columns at each side lost", rim)):
    first, second = (torch.from_numpy(x)[None, None] for x in (image, other))
    whole, every_pixel = structural_similarity_index_measure(first, second, data_range=1.0, return_full_image=True)
    inner = every_pixel[..., 5:-5, 5:-5].mean().item()
    skimage = structural_similarity(
        image, other, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    print(f"{name}: torchmetrics {whole:.5f}, scikit-image {skimage:.5f}, torchmetrics without 5 pixels {inner:.5f}")
    changed |= abs(whole.item() - skimage) < 1e-4 or abs(inner - skimage) > 1e-6
if changed:
    sys.exit("changed: torchmetrics and scikit-image now average over the same pixels")
PY
"$work/venv/bin/python" "$work/find.py"
