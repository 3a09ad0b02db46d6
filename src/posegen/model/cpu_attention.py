"""Attention for processors on which torch's fused kernel is slow: matrix products and a softmax, in bfloat16.

torch 2.13's fused attention for CPUs is fast in bfloat16 only with AMX. On a processor that has AVX-512 bfloat16
instructions but no AMX, plain matrix products use them, and fused attention does not. Scores are then rounded to
bfloat16, which adds about a tenth to the error that a forward pass in bfloat16 has anyway; benchmarks/cpu_forward.py
measures time and error, benchmarks/cpu_training.py those of gradients. In training, scores are computed again in the
backward pass, as fused attention does. Whether it is used depends on the processor alone, so that a resumed job or
training computes as it began.
"""

import functools

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from posegen.devices import computes_bfloat16

MAX_SCORES = 2**25
"""Maximum elements of the score matrix, 64 MB; more queries are processed in pieces."""
CACHED_SCORES = 2**22
"""Elements of the score matrix, 8 MB, that stay in a processor's cache from one operation to the next."""
_MINIMUM_ROWS = 64
"""Queries for which a product is still fast."""


@functools.cache
def suits_processor() -> bool:
    """Return True if plain products beat the fused kernel here: bfloat16 instructions of AVX-512, but no AMX."""
    return bool(torch.cpu._is_avx512_bf16_supported() and not torch.cpu._is_amx_tile_supported())


def describe_processing(device: torch.device, dtype: torch.dtype) -> str:
    """Describe in one line what a model computes on, and which instructions decide how."""
    name = str(dtype).removeprefix("torch.")
    if device.type != "cpu":
        return f"{device}, {name}"
    if dtype != torch.bfloat16:
        return f"cpu, {name}" + ("" if computes_bfloat16(device) else ": the processor has no bfloat16 instructions")
    if suits_processor():
        return f"cpu, {name}: instructions of AVX-512 without AMX, so attention is computed by matrix products"
    if torch.cpu._is_amx_tile_supported():
        return f"cpu, {name}: AMX instructions, so attention is torch's own"
    return f"cpu, {name}: emulated, because the processor has no instructions for it; --dtype float32 is much faster"


def is_preferred(query: Tensor) -> bool:
    """Return True if `attend` should be used for these queries: on such a processor, in bfloat16 or autocast to it."""
    return (
        query.device.type == "cpu"
        and _computes_bfloat16(query)
        and not torch.compiler.is_compiling()
        and suits_processor()
    )


def _computes_bfloat16(query: Tensor) -> bool:
    if torch.is_autocast_enabled("cpu"):
        return torch.get_autocast_dtype("cpu") == torch.bfloat16
    return query.dtype == torch.bfloat16


def attend(
    query: Float[Tensor, "b n heads width"],
    key: Float[Tensor, "b m heads width"],
    value: Float[Tensor, "b m heads width"],
) -> Float[Tensor, "b n heads width"]:
    """Compute softmax(query · key / sqrt(width)) · value for each head, without a mask."""
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (query, key, value))
    query, key, value = (tensor.transpose(1, 2).contiguous() for tensor in (query, key, value))
    query = query * query.shape[-1] ** -0.5
    key = key.transpose(-1, -2)
    if torch.is_grad_enabled() and any(tensor.requires_grad for tensor in (query, key, value)):
        items = zip(query, key, value, strict=True)  # one at a time: the backward pass holds several score matrices
        return torch.stack([_with_gradients(*item) for item in items]).transpose(1, 2)
    rows = min(max(_rows(query, key, CACHED_SCORES), _MINIMUM_ROWS), _rows(query, key))
    pieces = [_products(piece, key, value) for piece in query.split(rows, dim=2)]
    return (pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)).transpose(1, 2)


def _with_gradients(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Return the attention of one item; scores are computed again in the backward pass."""
    pieces = query.split(_rows(query, key), dim=1)
    return torch.cat(
        [checkpoint(_products, rows, key, value, use_reentrant=False, preserve_rng_state=False) for rows in pieces],
        dim=1,
    )


def _rows(query: Tensor, key: Tensor, scores: int | None = None) -> int:
    """Return the number of queries that have so many scores (by default `MAX_SCORES`)."""
    matrices = query.shape[:-2].numel()
    return max(1, (MAX_SCORES if scores is None else scores) // (matrices * key.shape[-1]))


def _products(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return torch.matmul(torch.softmax(torch.matmul(query, key), -1), value)
