"""Infers the unit of a file's coordinates from most of its points: a few wrong ones change nothing.

Units are pixels, fractions of the frame (0 to 1), or -1 to 1 across it. A canvas given in the file is the image whose
pixels they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.keypoints import SEEN, PersonPose

Unit = Literal["pixels", "shares", "centred"]
IN_WORDS: dict[Unit, str] = {
    "pixels": "in pixels",
    "shares": "as shares of the picture (0 to 1)",
    "centred": "from -1 to 1 across the picture",
}
_SHARE = 1.5
"""Maximum coordinate of a point in fractions of the frame, including people who are partly outside it."""
_SAME_PROPORTIONS = 0.02


@dataclass(frozen=True)
class UnitChoice:
    """Unit of coordinates, and the reason for doubt, if any."""

    unit: Unit
    doubt: str | None = None


def choose_unit(people: Sequence[PersonPose], may_be_centred: bool) -> UnitChoice:
    """Choose the unit of these people's coordinates. `may_be_centred`: some tools write this format from -1 to 1."""
    if not people:
        return UnitChoice("pixels")
    points = np.concatenate([person.keypoints for person in people])
    scores = np.concatenate([person.scores for person in people])
    given = (scores > 0) & points.any(axis=-1)  # many tools write a missing point as 0, 0
    sure = given & (scores >= SEEN) if (given & (scores >= SEEN)).any() else given
    if not sure.any():
        return UnitChoice("pixels")
    points = points[sure]
    small = float((np.abs(points) <= _SHARE).all(axis=-1).mean())
    choice = UnitChoice("pixels") if small < 0.5 else UnitChoice(*_small_unit(points, may_be_centred))
    if 0.15 < small < 0.85:
        return replace(choice, doubt=f"{100 * small:.0f} % of the points lie within {_SHARE} of 0, the others beyond")
    return choice


def _small_unit(points: Float[np.ndarray, "points 2"], may_be_centred: bool) -> tuple[Unit, str | None]:
    """Choose between fractions and -1 to 1, for coordinates that are not pixels."""
    in_shares = _within(points, -0.05, 1.05)
    if not may_be_centred or in_shares.mean() > 0.9:
        return "shares", None
    if in_shares.mean() < 0.75 and _within(points, -1.05, 1.05).mean() > 0.9:
        return "centred", None
    return "shares", f"{100 * (1 - in_shares.mean()):.0f} % of the points lie outside 0 to 1"


def _within(points: Float[np.ndarray, "points 2"], low: float, high: float) -> Bool[np.ndarray, " points"]:
    return np.asarray(((points >= low) & (points <= high)).all(axis=-1))


def in_pixels(
    person: PersonPose,
    unit: Unit,
    size: tuple[int, int],
    canvas: tuple[float, float] | None = None,
    only_inside: bool = False,
) -> PersonPose:
    """Convert the person to pixels of a frame of `size` = (height, width).

    canvas: (width, height) of the image whose pixels the coordinates are, if it is another one. Points with absurd
    coordinates (beyond a hundred frames) count as not seen; with `only_inside` all points outside the frame do.
    """
    extent = np.array([size[1], size[0]], np.float32)
    points, hands = person.keypoints, person.hands
    with np.errstate(over="ignore", invalid="ignore"):  # absurd coordinates
        if unit == "centred":
            points = (points + 1) / 2
        if unit != "pixels":
            points = points * extent
        elif canvas is not None:
            scale = extent / np.array(canvas, np.float32)
            points, hands = points * scale, hands * np.append(scale, scale.mean()).astype(np.float32)
        sane = (np.abs(points) < 100 * extent.max()).all(axis=-1)
        if only_inside:
            sane &= ((points >= 0) & (points <= extent)).all(axis=-1)
    return PersonPose(
        np.where(sane[:, None], points, 0).astype(np.float32),
        np.where(sane, person.scores, 0).astype(np.float32),
        hands,
    )


def describe_canvas(canvases: Sequence[tuple[float, float] | None], size: tuple[int, int]) -> str | None:
    """Return one line if a canvas has another aspect ratio than `size`, so that people are stretched."""
    for canvas in canvases:
        if canvas is not None and abs(canvas[0] / canvas[1] * size[0] / size[1] - 1) > _SAME_PROPORTIONS:
            return (
                f"its points belong to a picture of {canvas[1]:g}x{canvas[0]:g} (height x width), the video is "
                f"{size[0]}x{size[1]}: they are stretched to it"
            )
    return None
