#!/usr/bin/env bash
# Subject: casting to torch.float8_e4m3fn what that type cannot hold, for example an activation of 1000 or an
#   infinity.
# Guess: NaN, as ml_dtypes (JAX, ONNX, and numpy tools) does and as the type has no infinity; so an overflow can be
#   found afterwards by isfinite.
# Reality: torch saturates: 1000 becomes 448, and so does an *infinity*. Only NaN stays NaN. float8_e5m2 next to it
#   goes to infinity instead, and the two fnuz types go to NaN. A diverged activation comes out of an e4m3 cast
#   looking healthy.
# Versions: torch 2.13.0 (CPU), ml_dtypes 0.6.0, Python 3.11. On PyPI that torch brings CUDA packages; install a CPU
#   build first if you can.
# Output seen:
#   torch float8_e4m3fn: 1000 -> 448.0, inf -> 448.0
#   torch float8_e5m2: 1000000 -> inf, inf -> inf
#   torch float8_e4m3fnuz: 1000 -> nan, inf -> nan
#   ml_dtypes float8_e4m3fn: 1000 -> nan, inf -> nan
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6 ml_dtypes==0.6.0

cat > "$work/find.py" <<'PY'
import sys

import ml_dtypes
import numpy as np
import torch

found = []
for dtype, large in ((torch.float8_e4m3fn, 1000), (torch.float8_e5m2, 1000000), (torch.float8_e4m3fnuz, 1000)):
    values = torch.tensor([large, torch.inf]).to(dtype).float().tolist()
    found += [str(value) for value in values]
    print(f"torch {str(dtype).removeprefix('torch.')}: {large} -> {values[0]}, inf -> {values[1]}")
with np.errstate(all="ignore"):
    values = np.array([1000, np.inf]).astype(ml_dtypes.float8_e4m3fn).astype(float).tolist()
found += [str(value) for value in values]
print(f"ml_dtypes float8_e4m3fn: 1000 -> {values[0]}, inf -> {values[1]}")
if found != ["448.0", "448.0", "inf", "inf", "nan", "nan", "nan", "nan"]:
    sys.exit("changed: torch no longer turns infinity into 448")
PY
"$work/venv/bin/python" "$work/find.py"
