"""Content of a keypoint file in any format: people frame by frame in the file's unit, within bounds.

Formats are recognised in `keypoint_forms` and read in `keypoint_people`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions.estimators.layouts import LAYOUTS, Layouts, layout_of_count, to_wholebody
from posegen.conditions.keypoints import PersonPose, empty_hands
from posegen.errors import PosegenError

People = list[PersonPose]
_MEDIAPIPE_POINTS = 33
UNNAMED_POINTS = 17
"""Number of points in both COCO and Human3.6M."""
MAX_PEOPLE = 500_000
"""Maximum number of people in all frames: an hour of five people. Each takes 2.5 kB."""
_MAX_PEOPLE_IN_FRAME = 1000
_MAX_CANVAS = 1e6
_MAX_SCORE = 10.0
_ABOVE_SCORES = 1.2
_BODY_METRES = 4.0
"""Maximum coordinate of a body in metres about its own middle."""


@dataclass(frozen=True)
class Entry:
    """People of one frame, in the file's own unit.

    number: the frame's number or the name of its image, as the file gives it; canvas: (width, height) in pixels of
    the image that the points belong to.
    """

    people: People
    number: int | str | None = None
    canvas: tuple[float, float] | None = None


@dataclass(frozen=True)
class Content:
    """People of all frames of a file, and properties of its format.

    form: name of the format; first: first frame number of the tool, if known; centred: some tools write this format
    with coordinates from -1 to 1; all_listed: frames without people have entries, too; guessed_outside: points outside
    the frame are guesses, and count as not seen.
    """

    form: str
    entries: list[Entry]
    first: int | None = None
    centred: bool = False
    all_listed: bool = False
    guessed_outside: bool = False


@dataclass(frozen=True)
class UnnamedPose(PersonPose):
    """Person of 17 points of an unknown layout, read as COCO's until `unnamed_points` decides."""


def person_of(
    points: np.ndarray, scores: np.ndarray, where: Path, layouts: Layouts = LAYOUTS, hands: np.ndarray | None = None
) -> PersonPose:
    """Make one person from points and scores, in the layout with that number of points."""
    count = points.shape[-2]
    keypoints, scores = to_wholebody(points, scores, layout_of_count(count, str(where), layouts))
    kind = UnnamedPose if count == UNNAMED_POINTS and layouts is LAYOUTS else PersonPose
    return kind(keypoints, scores, empty_hands() if hands is None else hands.astype(np.float32))


def numbers_of(values: Any) -> np.ndarray:
    """Convert numbers to float32; those beyond its range become infinite, which counts as not seen."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def lifted(where: Path) -> PosegenError:
    """Return the error for points with three coordinates."""
    return PosegenError(
        f"{where}: its points have three coordinates, as from a 3-D lifter, not positions in the frame: use the 2-D "
        "keypoints that they were made from (in the place of a driving video, `posegen generate --motion` reads "
        "MediaPipe's landmarks in space, and tables with named columns)"
    )


def in_one_frame(people: list[Any], where: Path) -> list[Any]:
    """Return the people of one frame. Raises `PosegenError` for more than there can be."""
    if len(people) > _MAX_PEOPLE_IN_FRAME:
        raise PosegenError(f"{where}: {len(people):,} people in one frame exceed the maximum")
    return people


def in_all_frames(people: Sequence[Any], where: Path) -> None:
    """Raise `PosegenError` for more people in a file than fit into memory."""
    if len(people) > MAX_PEOPLE:
        raise PosegenError(
            f"{where}: holds more than the maximum of {MAX_PEOPLE:,} people in all frames: keep those of one person"
        )


def bounded(entries: Iterable[Entry], where: Path) -> list[Entry]:
    """Collect the entries one by one. Raises `PosegenError` for more people than fit into memory."""
    found: list[Entry] = []
    people: list[PersonPose] = []
    for entry in entries:
        found.append(entry)
        people += entry.people
        in_all_frames(people, where)
    return found


def has_landmarks(points: np.ndarray) -> bool:
    """Return True if an array (..., points, columns) holds MediaPipe's landmarks, by their number."""
    return points.shape[-2] == _MEDIAPIPE_POINTS


def plane_of(points: np.ndarray, scores: np.ndarray | None, where: Path) -> tuple[np.ndarray, np.ndarray]:
    """Split arrays of three or four columns into positions and scores. Raises `PosegenError` for other arrays."""
    if has_landmarks(points) and (points.shape[-1] == 4 or scores is not None):
        return points[..., :2], points[..., 3] if scores is None else scores  # MediaPipe: x, y, z, visibility
    third = points[..., 2]
    finite = third[np.isfinite(third)]
    beyond = bool(((finite < 0) | (finite > _MAX_SCORE)).any())
    if points.shape[-1] == 4 or scores is not None or beyond or is_in_space(points[..., :2], third):
        raise lifted(where)
    return points[..., :2], third


def is_in_space(places: np.ndarray, third: np.ndarray) -> bool:
    """Return True if three columns are a body in metres, not positions and scores.

    No coordinate is far from the body's middle then, and heights are above any score; COCO's 0, 1, 2 are whole numbers.
    """
    finite, near = third[np.isfinite(third)], np.abs(places[np.isfinite(places)])
    if not near.size or float(near.max()) > _BODY_METRES:
        return False
    return bool(((finite > _ABOVE_SCORES) & (finite != np.rint(finite))).any())


def canvas_of(width: Any, height: Any) -> tuple[float, float] | None:
    """Return the size of a canvas, if these two values are valid."""
    size = float(width or 0), float(height or 0)
    return size if all(1 <= length <= _MAX_CANVAS for length in size) else None
