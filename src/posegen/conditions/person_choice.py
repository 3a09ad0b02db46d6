"""Chooses one of several people in an image as asked for, and draws their numbers.

The text of `--person` and `--reference-person` is read in `config/checks.py`. Tracking the choice through a video is
not done here.
"""

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.conditions.keypoints import PersonPose
from posegen.config import PersonChoice
from posegen.errors import PosegenError

_CHOSEN, _OTHER = (40, 170, 90), (60, 110, 200)
"""Colours (RGB) of the box of the chosen person and of the others."""


def from_left(people: Sequence[PersonPose]) -> list[PersonPose]:
    """Sort people by the middles of their boxes from left to right: the order in which they are numbered, from 1."""
    return sorted(people, key=lambda person: (float(person.center[0]), float(person.center[1])))


def choose_person(people: Sequence[PersonPose], choice: PersonChoice, setting: str, where: str) -> PersonPose:
    """Return the person that `choice` (of `parse_person`) means among the people of one image, at least one.

    A point means the person whose box contains it, the smallest if several do, else the nearest box. setting: like
    --reference-person; where: like "the reference image", for the error. Raises `PosegenError` for a number that nobody
    has.
    """
    numbered = from_left(people)
    if isinstance(choice, int):
        if choice > len(numbered):
            count = "1 person is" if len(numbered) == 1 else f"{len(numbered)} people are"
            raise PosegenError(
                f"{setting} {choice}: {count} seen in {where}, numbered from 1 at the left (`posegen preview` shows it)"
            )
        return numbered[choice - 1]
    if isinstance(choice, tuple):
        point = choice
        return min(numbered, key=lambda person: (_outside(person.box, point), person.area))
    if choice == "largest":
        return max(numbered, key=lambda person: person.area)
    return numbered[0] if choice == "left" else numbered[-1]


def _outside(box: tuple[float, float, float, float], point: tuple[float, float]) -> float:
    """Return the distance in pixels of a point from a box, 0 inside it."""
    left, top, right, bottom = box
    x, y = point
    return float(np.hypot(max(left - x, 0, x - right), max(top - y, 0, y - bottom)))


def draw_numbered_boxes(
    picture: UInt8[np.ndarray, "height width 3"],
    boxes: Mapping[int, tuple[float, float, float, float]],
    chosen: int | None = None,
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the box (left, top, right, bottom; pixels) of each person with their number; the chosen one in green."""
    result = np.ascontiguousarray(picture.copy())
    height, width = result.shape[:2]
    unit = max(height, width) / 640
    line, letter = max(1, round(2 * unit)), max(0.4, 0.9 * unit)
    for number in sorted(boxes, key=lambda number: number == chosen):  # the chosen one on top
        colour = _CHOSEN if number == chosen else _OTHER
        left, top, right, bottom = (round(float(np.clip(side, -width, 2 * width))) for side in boxes[number])
        cv2.rectangle(result, (left, top), (right, bottom), colour, line)
        (across, up), below = cv2.getTextSize(str(number), cv2.FONT_HERSHEY_SIMPLEX, letter, line)
        x = int(np.clip(left, 0, max(width - across - 2 * line, 0)))
        y = int(np.clip(top, 0, max(height - up - below - 2 * line, 0)))
        cv2.rectangle(result, (x, y), (x + across + 2 * line, y + up + below + line), colour, cv2.FILLED)
        place = (x + line, y + up + line)
        cv2.putText(result, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, letter, (255, 255, 255), line, cv2.LINE_AA)
    return result
