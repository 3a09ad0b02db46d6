"""Locates the subject: maps from cross-attention, and Otsu's threshold of them, for all frames at once.

Plain functions of tensors. The presets in `sharing.py` combine the maps of several layers into a mask.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

_BINS = 256
_CHUNK = 8192  # query tokens turned into float32 at once


def subject_map(
    query: Float[Tensor, "b n heads width"], text_key: Float[Tensor, "b t heads width"], total: bool
) -> Float[Tensor, "b n"]:
    """Compute `A^(l)` of Algorithm 1 in float32: (text key · video query) / sqrt(width), mean over heads, no softmax.

    Averaged over the subject's `t` tokens, or summed with `total` (the published code).
    """
    heads, width = query.shape[2:]
    key = text_key.float().flatten(2)
    key = (key.sum(1) if total else key.mean(1)) / (heads * math.sqrt(width))  # (B, d)
    chunks = [torch.einsum("bnd,bd->bn", part.flatten(2).float(), key) for part in query.split(_CHUNK, dim=1)]
    return torch.cat(chunks, dim=1)


def otsu_threshold(values: Float[Tensor, "*frames n"]) -> Float[Tensor, "*frames"]:
    """Compute Otsu's threshold of each frame over 256 bins between its own minimum and maximum.

    Exactly `skimage.filters.threshold_otsu` of each frame (same bins, same rounding, same choice among ties), for all
    frames at once: values above the threshold are foreground. A constant frame's threshold is its value.
    """
    dtype, device = values.dtype, values.device
    low, high = values.amin(-1, keepdim=True), values.amax(-1, keepdim=True)
    constant = (low == high).squeeze(-1)
    span = torch.where(low == high, torch.ones_like(low), high - low)

    edges = torch.arange(_BINS + 1, dtype=dtype, device=device) * (span / _BINS) + low
    edges[..., -1:] = high
    bins = ((values - low) / span * _BINS).long().clamp_(max=_BINS - 1)
    # the division may be an ulp off: numpy moves such values to the bin whose edges contain them
    bins = bins - (values < edges.gather(-1, bins)).long()
    bins = bins + ((values >= edges.gather(-1, bins + 1)) & (bins != _BINS - 1)).long()
    counts = torch.zeros(*values.shape[:-1], _BINS, dtype=torch.float32, device=device)
    counts.scatter_add_(-1, bins, torch.ones_like(bins, dtype=torch.float32))

    centers = (edges[..., :-1] + edges[..., 1:]) / 2
    moments = counts * centers
    below, above = counts.cumsum(-1), counts.flip(-1).cumsum(-1).flip(-1)  # integers: exact in any order
    mean_below = _running_sum(moments) / below
    mean_above = _running_sum(moments.flip(-1)).flip(-1) / above
    variance = below[..., :-1] * above[..., 1:] * (mean_below[..., :-1] - mean_above[..., 1:]).square()
    best = torch.nan_to_num(variance, nan=-1.0).argmax(-1, keepdim=True)
    return torch.where(constant, values[..., 0], centers.gather(-1, best).squeeze(-1))


def _running_sum(values: Tensor) -> Tensor:
    """Compute the cumulative sum from left to right in the values' own dtype, as numpy does (torch sums in double)."""
    sums = list(values.unbind(-1))
    for index in range(1, len(sums)):
        sums[index] = sums[index - 1] + sums[index]
    return torch.stack(sums, dim=-1)


def unit_otsu_threshold(values: Float[Tensor, "*frames n"]) -> Float[Tensor, "*frames"]:
    """Compute Otsu's threshold as in the published PoseGen code: 256 bins fixed between 0 and 1, in float32."""
    values = values.float()
    bins = (values * _BINS).long().clamp_(0, _BINS - 1)
    counts = torch.zeros(*values.shape[:-1], _BINS, device=values.device)
    counts.scatter_add_(-1, bins, torch.ones_like(values))
    shares = counts / values.shape[-1]
    centers = (torch.arange(_BINS, dtype=torch.float32, device=values.device) + 0.5) / _BINS
    tiny = 1e-8
    below = shares.cumsum(-1)
    above = 1.0 - below
    first_moment = (shares * centers).cumsum(-1)
    mean_below = torch.where(below > tiny, first_moment / (below + tiny), 0.0)
    mean_above = torch.where(above > tiny, (first_moment[..., -1:] - first_moment) / (above + tiny), 0.0)
    variance = below * above * (mean_below - mean_above).square()
    return centers[variance.argmax(-1)]
