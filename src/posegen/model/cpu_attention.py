"""Attention for processors on which torch's fused kernel is slow: matrix products and a softmax, in bfloat16.

torch 2.13's fused attention for CPUs is fast in bfloat16 only with AMX. On a processor that has AVX-512 bfloat16
instructions but no AMX, plain matrix products use them, and fused attention does not. Scores are then rounded to
bfloat16, which adds about a tenth to the error that a forward pass in bfloat16 has anyway; benchmarks/cpu_forward.py
measures time and error. Whether it is used depends on the processor alone, so that a resumed job computes as it began.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor

MAX_SCORES = 2**25
"""Maximum elements of the score matrix, 64 MB; more queries are processed in pieces."""


@functools.cache
def suits_processor() -> bool:
    """Return True if plain products beat the fused kernel here: bfloat16 instructions of AVX-512, but no AMX."""
    return bool(torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported())


def is_preferred(query: Tensor) -> bool:
    """Return True if `attend` should be used for these queries: bfloat16, on such a processor, not in training."""
    return (
        query.device.type == "cpu"
        and query.dtype == torch.bfloat16
        and not torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and suits_processor()
    )


def attend(
    query: Float[Tensor, "b n heads width"],
    key: Float[Tensor, "b m heads width"],
    value: Float[Tensor, "b m heads width"],
) -> Float[Tensor, "b n heads width"]:
    """Compute softmax(query · key / sqrt(width)) · value for each head, without a mask."""
    query, key, value = (tensor.transpose(1, 2).contiguous() for tensor in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    key = key.transpose(-1, -2)
    rows = max(1, MAX_SCORES // (query.shape[0] * query.shape[1] * key.shape[-1]))
    pieces = [torch.matmul(torch.softmax(torch.matmul(piece, key), -1), value) for piece in query.split(rows, dim=2)]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)).transpose(1, 2)
