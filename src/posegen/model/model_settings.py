"""Checks the settings in a model folder: ranges of numbers, known texts.

Only settings needed for planning, before anything is loaded; the libraries check the others with the weights.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from posegen.conditions.skeleton import Colors
from posegen.config import MAX_SIDE
from posegen.errors import PosegenError

_WHOLE = {
    "segment_length": (1, 100_000),
    "head": (0, 100_000),
    "tail": (0, 100_000),
    "default_area": (1, MAX_SIDE**2),
    "draw_scale": (1, 64),
    "max_text_tokens": (1, 1_000_000),
    "num_attention_heads": (1, 100_000),
    "attention_head_dim": (1, 100_000),
    "ffn_dim": (1, 10_000_000),
    "num_layers": (1, 1000),
    "spatial_stride": (1, 1024),
    "temporal_stride": (1, 1024),
    "patch": (1, 1024),
    "default_steps": (1, 1000),
    "few_steps": (0, 1000),
}
"""Ranges of whole numbers, both ends included."""
_REAL = {
    "default_guidance": (0, 100),
    "default_pose_guidance": (0, 100),
    "pose_guidance_until": (0, 1000),
    "default_pose_strength": (0, 10),
    "flow_shift": (1e-3, 1000),
}


def check_settings(settings: Mapping[str, Any], files: Mapping[str, Path], usual: Path) -> None:
    """Raise `PosegenError` for a missing or invalid setting, naming its file in `files`, by default `usual`."""
    missing = next((name for name in _WHOLE if name not in settings and name not in _DEFAULTS), None)
    if missing is not None:
        raise PosegenError(f"{files.get(missing, usual)}: {missing} is missing: not a complete model")
    for name in settings:
        check_values({name: settings[name]}, files.get(name, usual))


def check_values(settings: Mapping[str, Any], path: Path) -> None:
    """Raise `PosegenError` for an invalid setting of the file `path`; ones that are not checked here are accepted."""
    for name, value in settings.items():
        expected = _expected(name, value)
        if expected:
            raise PosegenError(f"{path}: {name} must be {expected}, not {value!r:.80}")


_DEFAULTS = ("default_steps", "few_steps", "spatial_stride", "temporal_stride", "patch")


def _expected(name: str, value: Any) -> str:
    """Return in words what the setting should be; empty if it is valid, or not checked here."""
    if name in _WHOLE:
        low, high = _WHOLE[name]
        fits = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return "" if fits else f"a whole number from {low} to {high}"
    if name in _REAL:
        minimum, maximum = _REAL[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return (
            ""
            if number and math.isfinite(value) and minimum <= value <= maximum
            else f"from {minimum:g} to {maximum:g}"
        )
    if name == "trained":
        return "" if isinstance(value, bool) else "true or false"
    if name == "negative_prompt":
        return "" if isinstance(value, str) else "a text"
    if name == "skeleton_colors":
        return "" if value in get_args(Colors) else f"one of {', '.join(get_args(Colors))}"
    if name == "trained_size" and value is not None:
        sides = isinstance(value, list | tuple) and len(value) == 2
        fits = sides and all(isinstance(side, int) and 1 <= side <= MAX_SIDE for side in value)
        return "" if fits else f"null or a height and a width of up to {MAX_SIDE} pixels"
    return ""
