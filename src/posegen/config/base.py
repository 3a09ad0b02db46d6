"""Base class of all settings: converts text to paths, and refuses values of a wrong type, choice or range in one line.

The command line also checks types by itself; in Python this is the only check.
"""

import numbers
import types
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from posegen.config.checks import check_range
from posegen.config.limits import Range
from posegen.errors import PosegenError

_NUMBERS_TOO = ("fps", "motion_fps", "person", "reference_person")
"""Settings that are texts, for which Python callers may pass a number."""
_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "True or False", Path: "a path"}


@dataclass(frozen=True)
class Settings:
    """Settings of one command: immutable plain values, checked on construction."""

    def __post_init__(self) -> None:
        for field in fields(self):
            allowed = alternatives_of(cast(Any, type(self)))[field.name]
            value = getattr(self, field.name)
            if Path in allowed and isinstance(value, str):
                object.__setattr__(self, field.name, Path(value))
            elif isinstance(value, list) and any(get_origin(kind) is tuple for kind in allowed):
                object.__setattr__(self, field.name, tuple(value))
            elif field.name in _NUMBERS_TOO and isinstance(value, numbers.Real) and not isinstance(value, bool):
                object.__setattr__(self, field.name, str(value))
            elif not any(_fits(value, kind) for kind in allowed):
                option = f"--{field.name.replace('_', '-')}"
                raise PosegenError(f"{option} {value!r:.80}: {_expected(allowed)} is expected")
        for name, limits in ranges(cast(Any, type(self))).items():
            value = getattr(self, name)
            if value is not None:
                check_range(f"--{name.replace('_', '-')}", value, limits.low, limits.high)


@cache
def ranges(kind: Any) -> dict[str, Range]:
    """Return the range of each number of a settings class that has one in its type."""
    hints = get_type_hints(kind, include_extras=True)
    found = {
        name: [each for each in getattr(hint, "__metadata__", ()) if isinstance(each, Range)]
        for name, hint in hints.items()
    }
    return {name: each[0] for name, each in found.items() if each}


@cache
def alternatives_of(kind: Any) -> dict[str, tuple[Any, ...]]:
    """Return the types of each setting, without annotations for the command line."""
    return {name: _alternatives(hint) for name, hint in get_type_hints(kind).items()}


def _alternatives(hint: Any) -> tuple[Any, ...]:
    if get_origin(hint) in (Union, types.UnionType):
        return tuple(each for part in get_args(hint) for each in _alternatives(part))
    return (hint,)


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return value in get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, tuple) and all(isinstance(each, str) for each in value)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is int:
        return isinstance(value, numbers.Integral)
    if kind is float:
        return isinstance(value, numbers.Real)
    return isinstance(value, kind)


def _expected(allowed: tuple[Any, ...]) -> str:
    choices = [str(choice) for kind in allowed if get_origin(kind) is Literal for choice in get_args(kind)]
    words = [_WORDS.get(kind, "a list of texts") for kind in allowed if get_origin(kind) is not Literal]
    words = [word for kind, word in zip(allowed, words, strict=False) if kind is not type(None)] if not choices else []
    return " or ".join([*words, *([f"one of {', '.join(choices)}"] if choices else [])])
