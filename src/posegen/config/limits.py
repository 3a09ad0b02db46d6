"""Ranges of numbers in settings: written in a field's type, checked when the settings are made.

`warmup: Share = 0.1` is a field of type float that `check_limits` refuses outside 0..1, in an error that names it.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from posegen.errors import PosegenError


@dataclass(frozen=True)
class Limit:
    """A condition that a value must fulfil, and the words of an error for one that does not."""

    holds: Callable[[Any], bool]
    rule: str


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both included, and its unit: `Annotated[float | None, Range(0, 100)]` in a field's type."""

    low: int | float
    high: int | float
    unit: str = ""


PositiveInt = Annotated[int, Limit(lambda value: value >= 1, "must be at least 1")]
NonNegativeInt = Annotated[int, Limit(lambda value: value >= 0, "must not be negative")]
PositiveFloat = Annotated[float, Limit(lambda value: value > 0, "must be positive")]
NonNegativeFloat = Annotated[float, Limit(lambda value: value >= 0, "must not be negative")]
LayerCount = Annotated[int, Limit(lambda value: 0 <= value <= 1000, "must be from 0 to 1000")]
Share = Annotated[float, Limit(lambda value: 0.0 <= value <= 1.0, "must be between 0 and 1")]
Decay = Annotated[float, Limit(lambda value: 0.0 <= value < 1.0, "must be at least 0 and less than 1")]
Seed = Annotated[int, Limit(lambda value: 0 <= value < 2**63, "must be from 0 to 2^63 - 1")]


def check_limits(settings: Any) -> None:
    """Raise `PosegenError` for the first field of a dataclass instance that is outside the limit in its type.

    A tuple of limited numbers, such as `tuple[Decay, Decay]`, is reported whole.
    """
    hints = get_type_hints(type(settings), include_extras=True)
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        hint = hints[field.name]
        kinds, values = (get_args(hint), value) if isinstance(value, tuple) else ((hint,), (value,))
        for kind, each in zip(kinds, values, strict=False):
            for limit in getattr(kind, "__metadata__", ()):
                if isinstance(limit, Limit) and not limit.holds(each):
                    raise PosegenError(f"{field.name} {limit.rule}, not {value}")
