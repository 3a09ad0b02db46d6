"""The choice of a person among several: `largest`, `left`, `right`, a number, or a point."""

import re
from dataclasses import dataclass
from typing import Literal

from posegen.errors import PosegenError

_NUMBER = re.compile(r"[0-9]{1,4}")
_POINT = re.compile(r"([0-9]{1,5}(?:\.[0-9]+)?) ?, ?([0-9]{1,5}(?:\.[0-9]+)?)")


@dataclass(frozen=True)
class PersonChoice:
    """The choice of a person: a side, a number from 1, or a point (x, y) in pixels; the largest without any."""

    side: Literal["left", "right"] | None = None
    number: int | None = None
    point: tuple[float, float] | None = None


LARGEST = PersonChoice()


def parse_person(text: str, option: str = "--person") -> PersonChoice:
    """Read `largest`, `left`, `right`, `N` or `X,Y`. Raises `PosegenError` for anything else."""
    word = text.strip().lower()
    if word == "largest":
        return LARGEST
    if word in ("left", "right"):
        return PersonChoice(side="left" if word == "left" else "right")
    if _NUMBER.fullmatch(word) and int(word) > 0:
        return PersonChoice(number=int(word))
    if found := _POINT.fullmatch(word):
        return PersonChoice(point=(float(found[1]), float(found[2])))
    raise PosegenError(
        f"{option} {text!r:.40}: largest, left, right, a number from 1 (`posegen preview` shows them), or a point X,Y "
        "in pixels is expected"
    )
