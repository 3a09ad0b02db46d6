"""Builds settings from the tables of a TOML file, checking that keys are known and values have the right type."""

import dataclasses
import math
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from posegen.errors import PosegenError


def build(kind: Any, table: Any, where: str) -> Any:
    """Build a dataclass from a TOML table. Raises `PosegenError` for unknown keys and values of the wrong type."""
    place = f"[{where}]" if where else "the recipe"
    if not isinstance(table, dict):
        raise PosegenError(f"{place} must be a table")
    every_hint = get_type_hints(kind)
    hints = {item.name: every_hint[item.name] for item in fields(kind)}  # not those of class variables
    unknown = sorted(set(table) - set(hints))
    if unknown:
        raise PosegenError(f"{place} has the unknown key {unknown[0]!r:.80}; known: {', '.join(sorted(hints))}")
    missing = [
        item.name
        for item in fields(kind)
        if item.default is dataclasses.MISSING
        and item.default_factory is dataclasses.MISSING
        and item.name not in table
    ]
    if missing:
        raise PosegenError(f"{place} lacks {missing[0]!r:.80}")
    values = {key: _value(hints[key], value, f"{where}.{key}" if where else key) for key, value in table.items()}
    try:
        return kind(**values)
    except PosegenError as error:
        raise PosegenError(f"{place} {error}") from None


def with_sizes(content: Any, table: str) -> Any:
    """Replace a single `size` in a table of a recipe by `sizes`; all zeros, in older recipes, mean any size.

    Raises `PosegenError` if both are present.
    """
    inner = content.get(table) if isinstance(content, dict) else None
    if not isinstance(inner, dict) or "size" not in inner:
        return content
    if "sizes" in inner:
        raise PosegenError(f"[{table}] has both size and sizes: remove one of them")
    size = inner["size"]
    sizes = [] if size == [0, 0] else [size]
    return {**content, table: {**{key: value for key, value in inner.items() if key != "size"}, "sizes": sizes}}


def sizes_in_words(sizes: Iterable[tuple[int, int]]) -> str:
    """Format (height, width) pairs for the user: 832x480 or 480x832."""
    return " or ".join(f"{height}x{width}" for height, width in sizes)


def _value(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if origin in (types.UnionType, typing.Union):
        return _value(next(kind for kind in get_args(hint) if kind is not type(None)), value, where)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)
    if origin is Mapping:
        if not isinstance(value, dict):
            raise PosegenError(f"[{where}] must be a table")
        return {key: _value(get_args(hint)[1], item, f"{where}.{key}") for key, item in value.items()}
    if origin is Literal:
        if value not in get_args(hint):
            raise PosegenError(f"{where} must be one of {', '.join(map(str, get_args(hint)))}, not {value!r:.80}")
        return value
    if origin is tuple:
        if not isinstance(value, list):
            raise PosegenError(f"{where} must be a list, not {value!r:.80}")
        kinds = get_args(hint)
        if kinds[-1] is Ellipsis:
            return tuple(_value(kinds[0], item, where) for item in value)
        if len(kinds) != len(value):
            raise PosegenError(f"{where} must have {len(kinds)} values, not {value!r:.80}")
        return tuple(_value(kind, item, where) for kind, item in zip(kinds, value, strict=True))
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not math.isfinite(value):
            raise PosegenError(f"{where} must be a finite number, not {value}")
        return float(value)
    if not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        raise PosegenError(f"{where} must be {hint.__name__}, not {value!r:.80}")
    return value
