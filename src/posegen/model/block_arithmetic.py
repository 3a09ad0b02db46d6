"""The elementwise arithmetic of a transformer block, in two forms that agree up to rounding.

The plain form is diffusers' own, bit for bit, with float32 in the same places. The fused form is for inference in
bfloat16 on a CPU, where casts, copies, additions and multiplications took a third of a forward pass: it computes in
float32 as well, but in fewer passes over memory, and rounds gates to bfloat16. The dtype and the device alone choose
between them, so that a resumed job computes as it began; `benchmarks/cpu_forward.py` measures time and error of both.
Matrix products and attention are not this file's concern, except for the GELU that follows a product.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

_fused_linear: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
"""A linear layer and the activation after it in one pass: the operator of torch's compiler for CPUs, if built in."""


def is_fused(hidden_states: Tensor) -> bool:
    """Return True if the fused form is used for this tensor: inference in bfloat16 on a CPU."""
    return (
        hidden_states.device.type == "cpu"
        and hidden_states.dtype == torch.bfloat16
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def modulate(norm: Any, hidden_states: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Apply a layer norm without parameters to `(B, n, d)`, times 1 + scale, plus shift, each `(B, 1, d)`."""
    if is_fused(hidden_states) and len(shift) == 1 and _is_plain(norm):
        weight, bias = (1 + scale).flatten().float(), shift.flatten().float()
        return functional.layer_norm(hidden_states, norm.normalized_shape, weight, bias, norm.eps)
    return (norm(hidden_states.float()) * (1 + scale) + shift).type_as(hidden_states)


def normalise(norm: Any, hidden_states: Tensor) -> Tensor:
    """Apply a layer norm in float32."""
    if is_fused(hidden_states) and _is_plain(norm) and getattr(norm, "weight", None) is not None:
        weight, bias = norm.weight.float(), norm.bias.float()
        return functional.layer_norm(hidden_states, norm.normalized_shape, weight, bias, norm.eps)
    normed: Tensor = norm(hidden_states.float())
    return normed.type_as(hidden_states)


def add_gated(hidden_states: Tensor, update: Tensor, gate: Tensor) -> Tensor:
    """Add an update times a gate, `(B, 1, d)`."""
    if is_fused(hidden_states):
        return torch.addcmul(hidden_states, update, gate.to(hidden_states.dtype))
    return (hidden_states.float() + update.float() * gate).type_as(hidden_states)


def split_heads(norm: Any, hidden_states: Tensor, heads: int, rotary: tuple[Tensor, Tensor] | None) -> Tensor:
    """Normalise queries or keys `(B, n, d)`, apply the rotary embedding if there is one: `(B, n, heads, width)`.

    In the fused form a head's tokens are consecutive in memory, as attention wants them.
    """
    if is_fused(hidden_states) and type(norm) is nn.RMSNorm and _is_plain(norm):
        return _split_heads_fused(norm, hidden_states, heads, rotary)
    hidden_states = norm(hidden_states).unflatten(2, (heads, -1))
    return hidden_states if rotary is None else rotate(hidden_states, *rotary)


def _split_heads_fused(
    norm: nn.RMSNorm, hidden_states: Tensor, heads: int, rotary: tuple[Tensor, Tensor] | None
) -> Tensor:
    values = hidden_states.float()
    epsilon = torch.finfo(hidden_states.dtype).eps if norm.eps is None else norm.eps
    factor = torch.linalg.vector_norm(values, dim=-1, keepdim=True)
    factor = factor.square_().div_(values.shape[-1]).add_(epsilon).rsqrt_()  # (B, n, 1)
    if norm.weight is not None:
        values.mul_(norm.weight.float())
    if rotary is None:
        values.mul_(factor)
    else:  # pairs are complex numbers, and the norm's factor goes with the rotation
        cosines, sines = rotary
        turns = torch.complex(cosines[..., 0::2].float(), sines[..., 1::2].float()) * factor[..., None]
        torch.view_as_complex(values.unflatten(-1, (heads, -1, 2))).mul_(turns)
    by_head = values.to(hidden_states.dtype).unflatten(-1, (heads, -1)).transpose(1, 2).contiguous()
    return by_head.transpose(1, 2)


def rotate(hidden_states: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """Apply rotary embedding to interleaved pairs of `(B, n, heads, width)`, bit for bit as in diffusers' Wan."""
    first, second = hidden_states.unflatten(-1, (-1, 2)).unbind(-1)
    cosines, sines = cosines[..., 0::2], sines[..., 1::2]
    rotated = torch.empty_like(hidden_states)
    rotated[..., 0::2] = first * cosines - second * sines
    rotated[..., 1::2] = first * sines + second * cosines
    return rotated.type_as(hidden_states)


def feed_forward(layers: Any, hidden_states: Tensor) -> Tensor:
    """Apply diffusers' `FeedForward`; fused, its first product and the tanh form of GELU are one operation."""
    if _fused_linear is not None and is_fused(hidden_states) and _is_plain(layers):
        first, *rest = layers.net
        if getattr(first, "approximate", None) == "tanh" and _is_plain(first) and _is_plain_linear(first.proj):
            hidden_states = _fused_linear(hidden_states, first.proj.weight, first.proj.bias, "gelu", [], "tanh")
            for layer in rest:
                hidden_states = layer(hidden_states)
            return hidden_states
    result: Tensor = layers(hidden_states)
    return result


def _is_plain(module: nn.Module) -> bool:
    """Return True if nothing from outside (offloading, caches, guiders) waits for the module to be called."""
    return not (hasattr(module, "_diffusers_hook") or module._forward_pre_hooks or module._forward_hooks)


def _is_plain_linear(module: nn.Module) -> bool:
    """Return True for a linear layer of plain bfloat16 weights: no adapter beside it, not quantized."""
    return (
        type(module) is nn.Linear
        and type(module.weight.data) is Tensor
        and module.weight.dtype == torch.bfloat16
        and _is_plain(module)
    )
