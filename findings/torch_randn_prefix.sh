#!/usr/bin/env bash
# Subject: torch.randn with one seed on a CPU: noise for a longer clip, in another dtype, in another memory layout.
# Guess: the generator is read in order, so the first 100 of 112 numbers are those of randn(100), as in numpy; another
#   dtype is the same noise rounded; another memory layout changes nothing about the values.
# Reality: from 16 numbers on they are made in blocks of 16 and the *last* 16 are drawn anew when the length is no
#   multiple of 16, so a longer draw differs near the end of the shorter one; 15 against 16 has no number in common.
#   float64 is other noise altogether (the same seed, different by up to 4). randn_like of a channels_last tensor
#   holds other values than of a contiguous one, so changing a model's memory format changes its samples.
# Versions: torch 2.13.0 (CPU), numpy 2.4.6, Python 3.11. On PyPI that torch brings CUDA packages; install a CPU build
#   first if you can.
# Output seen:
#   first 15 of 16: 0 as in a draw of 15 (numpy: 15)
#   first 96 of 112: 96 as in a draw of 96 (numpy: 96)
#   first 100 of 112: 84 as in a draw of 100 (numpy: 100)
#   float32 against float64, 64 numbers: differ by up to 3.80
#   randn_like, contiguous against channels_last: equal False
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import numpy as np
import torch


def draw(count, dtype=torch.float32):
    return torch.randn(count, dtype=dtype, generator=torch.Generator().manual_seed(0))


common = {}
for short, long in ((15, 16), (96, 112), (100, 112)):
    common[short] = int((draw(short) == draw(long)[:short]).sum())
    in_numpy = [np.random.default_rng(0).standard_normal(count)[:short] for count in (short, long)]
    same = (in_numpy[0] == in_numpy[1]).sum()
    print(f"first {short} of {long}: {common[short]} as in a draw of {short} (numpy: {same})")
change = (draw(64).double() - draw(64, torch.float64)).abs().max().item()
print(f"float32 against float64, 64 numbers: differ by up to {change:.2f}")
images = []
for memory_format in (torch.contiguous_format, torch.channels_last):
    torch.manual_seed(0)
    images.append(torch.randn_like(torch.empty(1, 4, 8, 8).to(memory_format=memory_format)))
equal = torch.equal(*images)
print(f"randn_like, contiguous against channels_last: equal {equal}")
if not (common == {15: 0, 96: 96, 100: 84} and change > 1 and not equal):
    sys.exit("changed: noise now agrees between lengths, dtypes or layouts")
PY
"$work/venv/bin/python" "$work/find.py"
