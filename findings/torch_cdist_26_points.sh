#!/usr/bin/env bash
# Subject: torch.cdist between key points in pixels, float32.
# Guess: exact to about seven digits, as scipy's cdist is: a point lies 0.0 from itself.
# Reality: from 26 points on either side the default mode computes |a|^2 + |b|^2 - 2ab by a matrix product, which
#   cancels. At pixel coordinates of a full-HD frame a point then lies half a pixel from itself, and close joints are
#   off by as much. COCO's 17 and OpenPose's 25 points are right; Halpe's 26 and COCO-WholeBody's 133 are wrong. Pass
#   compute_mode="donot_use_mm_for_euclid_dist".
# Versions: torch 2.13.0 (CPU), Python 3.11. On PyPI that torch brings CUDA packages; install a CPU build first if you
#   can.
# Output seen:
#   17 points: largest distance to itself 0.000, to a partner at 0.3: 0.300 to 0.300 (without the product 0.300 to 0.300)
#   25 points: largest distance to itself 0.000, to a partner at 0.3: 0.300 to 0.300 (without the product 0.300 to 0.300)
#   26 points: largest distance to itself 0.500, to a partner at 0.3: 0.000 to 0.500 (without the product 0.300 to 0.300)
#   133 points: largest distance to itself 0.707, to a partner at 0.3: 0.000 to 0.707 (without the product 0.300 to 0.300)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import torch

torch.manual_seed(0)
points = torch.rand(133, 2) * torch.tensor([1920.0, 1080.0])
moved = points + torch.tensor([0.3, 0.0])  # each point's partner is 0.3 pixels away
found = {}
for count in (17, 25, 26, 133):
    same = torch.cdist(points[:count], points[:count]).diagonal().max().item()
    partner = torch.cdist(points[:count], moved[:count]).diagonal()
    exact = torch.cdist(points[:count], moved[:count], compute_mode="donot_use_mm_for_euclid_dist").diagonal()
    found[count] = same
    print(
        f"{count} points: largest distance to itself {same:.3f}, to a partner at 0.3: "
        f"{partner.min():.3f} to {partner.max():.3f} (without the product {exact.min():.3f} to {exact.max():.3f})"
    )
if not (found[17] == found[25] == 0 and found[26] > 0.1 and found[133] > 0.1):
    sys.exit("changed: cdist no longer loses precision from 26 points on")
PY
"$work/venv/bin/python" "$work/find.py"
