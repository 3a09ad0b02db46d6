#!/usr/bin/env bash
# Subject: scaled_dot_product_attention in bfloat16 on a CPU that has AVX-512 bf16 but no AMX.
# Guess: bfloat16 is about twice as fast as float32, as matrix products are on such a CPU; and the fused kernel is at
#   least as fast as softmax(q k) v written out as three operations, which stores the whole 1440 x 1440 matrix.
# Reality: fused attention gains nothing from bfloat16, and three plain bfloat16 operations take less than half its
#   time. In float32 the fused kernel is the faster one, as guessed. The plain version must reuse its buffers: with
#   new ones in each call, page faults can cost more than the arithmetic.
# Versions: torch 2.13.0 (CPU), Python 3.11, AMD EPYC, one thread, processor time, best of 40. On PyPI that torch
#   brings CUDA packages; install a CPU build first if you can. Prints "skipped" on a CPU of another kind.
# Output seen (6 heads, 1440 tokens, width 64):
#   bfloat16: fused 35.6 ms, written out 13.0 ms
#   float32: fused 33.0 ms, written out 41.7 ms
set -euo pipefail
if ! grep -qw avx512_bf16 /proc/cpuinfo || grep -qw amx_bf16 /proc/cpuinfo; then
    echo "skipped: needs a CPU with avx512_bf16 and without amx_bf16"
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys
import time

import torch
from torch.nn import functional as F

torch.set_num_threads(1)
torch.manual_seed(0)


def milliseconds(work):
    work()
    times = []
    for _ in range(40):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1000 * min(times)


def written_out(x, buffers):
    """Attention by three operations; the large buffers are reused, or page faults are most of what is measured."""
    scores, weights, result = buffers
    torch.matmul(x * 64**-0.5, x.transpose(-1, -2), out=scores)
    torch.softmax(scores, dim=-1, out=weights)
    return torch.matmul(weights, x, out=result)


found = {}
for dtype in (torch.bfloat16, torch.float32):
    x = torch.randn(1, 6, 1440, 64).to(dtype)
    buffers = [torch.zeros(1, 6, 1440, width, dtype=dtype) for width in (1440, 1440, 64)]
    assert torch.allclose(F.scaled_dot_product_attention(x, x, x), written_out(x, buffers), atol=0.05, rtol=0.05)
    fused = milliseconds(lambda x=x: F.scaled_dot_product_attention(x, x, x))
    plain = milliseconds(lambda x=x, buffers=buffers: written_out(x, buffers))
    found[dtype] = fused / plain
    print(f"{str(dtype).removeprefix('torch.')}: fused {fused:.1f} ms, written out {plain:.1f} ms")
if found[torch.bfloat16] < 1.5:
    sys.exit("changed: fused bfloat16 attention no longer takes longer than plain operations")
PY
"$work/venv/bin/python" "$work/find.py"
