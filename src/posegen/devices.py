"""Chooses the device to compute on, and the dtype that suits it.

torch takes seconds to import, so it is imported when a device is asked for: processes that need none import this file.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from posegen.errors import PosegenError

if TYPE_CHECKING:
    import torch


def choose_device(device: str) -> torch.device:
    """`auto` is the first CUDA device, or the CPU if there is none; raises `PosegenError` for one that is not there."""
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:  # it lists twenty kinds
        raise PosegenError(f"--device {device} is no device: write auto, cpu, cuda, or cuda:1 and so on") from None
    try:
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise PosegenError(f"--device {device} cannot be used here: {str(error).splitlines()[0]}") from None
    return chosen


def computes_bfloat16(device: torch.device) -> bool:
    """Whether a device has instructions for bfloat16.

    A processor that has none emulates it, 65 times slower than float32 (AVX2, benchmarks/number_formats.py); one with
    AVX512-bf16 or AMX is faster in it than in float32.
    """
    import torch

    if device.type != "cpu":
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_dtype(dtype: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """`auto` is bfloat16 where the device computes in it, else float32."""
    import torch

    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    return torch.float32 if dtype == "float32" else torch.bfloat16
