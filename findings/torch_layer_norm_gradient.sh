#!/usr/bin/env bash
# Subject: gradients of LayerNorm's weight and bias on a CPU when the activations are bfloat16.
# Guess: sums over tokens are taken in float32, as in linear, convolution, GroupNorm and RMSNorm; surely when the
#   parameters themselves are float32, as in mixed precision under autocast.
# Reality: each thread adds up its tokens in bfloat16, where 256 + 1 = 256. With gradients of one sign the bias
#   gradient stops at 256 for each thread, whatever the number of tokens, and the result depends on the number of
#   threads. The parameters being float32 does not help: they receive 256.0 in float32. Random gradients of both signs
#   come out 5 to 6 % off. The same stop is in the gradients of F.embedding, x[indices], F.grid_sample and
#   F.pad(mode="replicate"), while index_select, gather, expand and repeat_interleave are right. Under autocast, cast
#   to float32 before the norm.
# Versions: torch 2.13.0 (CPU), Python 3.11. On PyPI that torch brings CUDA packages; install a CPU build first if you
#   can.
# Output seen (one thread, 3000 tokens, every gradient should be 3000):
#   LayerNorm bfloat16, bias: 256
#   LayerNorm float32 parameters under autocast, bias: 256
#   LayerNorm float32 parameters under autocast, bias, two threads: 512
#   GroupNorm bfloat16, bias: 3008
#   Linear bfloat16, bias: 3008
#   table[indices]: 256
#   F.embedding: 256
#   table.index_select(0, indices): 3008
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check torch==2.13.0 numpy==2.4.6

cat > "$work/find.py" <<'PY'
import sys

import torch
from torch import nn
from torch.nn import functional as F

tokens, width = 3000, 64
half = torch.bfloat16
torch.manual_seed(0)
x = torch.randn(tokens, width).to(half)
indices = torch.zeros(tokens, dtype=torch.long)


def bias_gradient(layer):
    layer(x).sum().backward()
    return layer.bias.grad.float().mean().item()


def mixed(threads):
    torch.set_num_threads(threads)
    with torch.autocast("cpu", dtype=half):
        gradient = bias_gradient(nn.LayerNorm(width))
    torch.set_num_threads(1)
    return gradient


def table_gradient(look_up):
    table = torch.zeros(5, width, dtype=half, requires_grad=True)
    look_up(table).sum().backward()
    return table.grad[0].float().mean().item()


torch.set_num_threads(1)
found = {
    "LayerNorm bfloat16, bias": bias_gradient(nn.LayerNorm(width).to(half)),
    "LayerNorm float32 parameters under autocast, bias": mixed(1),
    "LayerNorm float32 parameters under autocast, bias, two threads": mixed(2),
    "GroupNorm bfloat16, bias": bias_gradient(nn.GroupNorm(1, width).to(half)),
    "Linear bfloat16, bias": bias_gradient(nn.Linear(width, 8).to(half)),
    "table[indices]": table_gradient(lambda table: table[indices]),
    "F.embedding": table_gradient(lambda table: F.embedding(indices, table)),
    "table.index_select(0, indices)": table_gradient(lambda table: table.index_select(0, indices)),
}
for name, gradient in found.items():
    print(f"{name}: {gradient:.0f}")
if [round(gradient) for gradient in found.values()] != [256, 256, 512, 3008, 3008, 256, 256, 3008]:
    sys.exit("changed: bfloat16 gradients no longer stop at 256")
PY
"$work/venv/bin/python" "$work/find.py"
