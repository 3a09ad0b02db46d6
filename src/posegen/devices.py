"""Chooses the device to compute on, and the dtype that suits it.

torch takes seconds to import, so it is imported only when a function is called: processes without a device import this
file, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from posegen.errors import PosegenError

if TYPE_CHECKING:
    import torch


def choose_device(device: str) -> torch.device:
    """Return the device of that name; `auto` is the first CUDA device, else the CPU.

    Raises `PosegenError` for an unknown or unavailable device.
    """
    import torch

    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError:  # it lists twenty kinds
        raise PosegenError(f"--device {device} is not a device: use auto, cpu, cuda, cuda:1, ...") from None
    try:
        torch.empty(1, device=chosen)
    except (RuntimeError, AssertionError) as error:
        raise PosegenError(f"--device {device} is not available here: {str(error).splitlines()[0]}") from None
    return chosen


def computes_bfloat16(device: torch.device) -> bool:
    """Return True if the device has bfloat16 instructions.

    A processor without them emulates bfloat16 at 1/65 of the speed of float32 (AVX2, benchmarks/number_formats.py); one
    with AVX512-bf16 or AMX is faster in it than in float32.
    """
    import torch

    if device.type != "cpu":
        return True
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def choose_dtype(dtype: Literal["auto", "float32", "bfloat16"], device: torch.device) -> torch.dtype:
    """Return the dtype of that name; `auto` is bfloat16 where the device has instructions for it, else float32."""
    import torch

    if dtype == "auto":
        return torch.bfloat16 if computes_bfloat16(device) else torch.float32
    return torch.float32 if dtype == "float32" else torch.bfloat16
