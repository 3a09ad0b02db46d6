#!/usr/bin/env bash
# Subject: einops.repeat of one mask or frame into channels, and then writing into one of the channels.
# Guess: like numpy.repeat, torch.repeat and einops on numpy arrays, the result owns its memory.
# Reality: on torch a repeated *new* axis is an expanded view. Adding to channel 0 adds to every channel and to the
#   original. The same line on numpy arrays makes a copy, and so does "(c h)" on torch, so a change of pattern or of
#   framework decides. Nothing raises, since one channel by itself is ordinary memory.
# Versions: einops 0.8.2, torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11. On PyPI that torch brings CUDA packages;
#   install a CPU build first if you can.
# Output seen:
#   numpy "h w -> c h w": channel 1 is 0.0, the original 0.0
#   torch "h w -> c h w": channel 1 is 1.0, the original 1.0
#   torch "h w -> (c h) w": channel 1 is 0.0, the original 0.0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 einops==0.8.2 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import einops
import numpy as np
import torch

found = []
for library, pattern in ((np, "h w -> c h w"), (torch, "h w -> c h w"), (torch, "h w -> (c h) w")):
    original = library.zeros((2, 2))
    channels = einops.repeat(original, pattern, c=3).reshape(3, 2, 2)
    channels[0] += 1
    found.append((float(channels[1, 0, 0]), float(original[0, 0])))
    print(f'{library.__name__} "{pattern}": channel 1 is {found[-1][0]}, the original {found[-1][1]}')
if found != [(0.0, 0.0), (1.0, 1.0), (0.0, 0.0)]:
    sys.exit("changed: einops.repeat on torch no longer shares memory with its input")
PY
"$work/venv/bin/python" "$work/find.py"
