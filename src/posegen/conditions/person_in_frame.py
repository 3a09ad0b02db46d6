"""Locates a person's head and body in the frame, and reports what of them is outside it or too small to be drawn.

Nothing is changed here: `media/fitting.py` crops, `placing.py` shifts. Keypoints of a tiny or absent person usually
come from a file in another unit, of another video, or of a distant person.
"""

import numpy as np
from jaxtyping import Float

from posegen.conditions.keypoints import BODY, HANDS, INDEX, SEEN, PersonPose, PoseSequence

Box = tuple[float, float, float, float]
"""Box (left, top, right, bottom) in pixels."""

_MIN_EXTENT = 0.03
"""Minimum extent of a person as a fraction of the frame's longer side: 32 pixels of 1080."""
_INSIDE = 0.5
"""Minimum fraction of a person's seen body points inside the frame."""
_MANY = 0.1
"""Minimum fraction of the frames with a person for which a line is reported."""


_HEAD_POINTS = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
_SHOULDERS = [INDEX["left_shoulder"], INDEX["right_shoulder"]]
_HIPS = [INDEX["left_hip"], INDEX["right_hip"]]
_CROWN, _CHIN, _CHEEK = 1.2, 0.8, 0.9
"""Extents of a head with hair from the middle of the face up, down and sideways, in distances between the ears."""
_EARS_TO_EYES, _EARS_TO_NECK, _EARS_TO_SHOULDERS = 2.3, 0.65, 0.4
"""Distance between the ears in those between the eyes, nose and middle of the shoulders, and the shoulders."""
_AROUND = 0.15
"""Margin about a person's points, in longer sides of their box: hands, hair and clothes extend beyond them."""
PARTS = {
    "head": _HEAD_POINTS,
    "shoulders": _SHOULDERS,
    "hips": _HIPS,
    "arms": [INDEX[f"{side}_{joint}"] for side in ("left", "right") for joint in ("elbow", "wrist")],
    "legs": [INDEX[f"{side}_{joint}"] for side in ("left", "right") for joint in ("knee", "ankle")],
}
"""Points of each part that is named if it is cut off."""


def important_boxes(person: PersonPose) -> list[Box]:
    """Return boxes (left, top, right, bottom) about the head with its hair, head and torso, and the whole person.

    In this order of importance; those that are not seen are omitted.
    """
    head = head_box(person)
    seen = [point for point in (*_SHOULDERS, *_HIPS) if person.scores[point] >= SEEN]
    boxes = [] if head is None else [head]
    if seen:
        (left, top), (right, bottom) = person.keypoints[seen].min(axis=0), person.keypoints[seen].max(axis=0)
        torso = (float(left), float(top), float(right), float(bottom))
        boxes.append(torso if head is None else _union(head, torso))
    left, top, right, bottom = person.box
    more = _AROUND * max(right - left, bottom - top)
    boxes.append((left - more, top - more, right + more, bottom + more))
    return boxes


def head_box(person: PersonPose) -> Box | None:
    """Return the box about head and hair, from the points of the face and the shoulders; None if no face is seen."""
    points, seen = person.keypoints.astype(np.float64), person.scores >= SEEN
    face = [point for point in _HEAD_POINTS if seen[point]]
    if not face:
        return None
    middle = points[face].mean(axis=0)
    shoulders = points[[point for point in _SHOULDERS if seen[point]]]
    sizes = [
        factor * float(np.linalg.norm(points[INDEX[f"left_{pair}"]] - points[INDEX[f"right_{pair}"]]))
        for pair, factor in (("ear", 1.0), ("eye", _EARS_TO_EYES), ("shoulder", _EARS_TO_SHOULDERS))
        if seen[INDEX[f"left_{pair}"]] and seen[INDEX[f"right_{pair}"]]
    ]
    up = np.array([0.0, -1.0])
    if len(shoulders):
        neck = shoulders.mean(axis=0)
        length = float(np.linalg.norm(middle - neck))
        if len(shoulders) == 2:
            sizes.append(_EARS_TO_NECK * length)
        up = (middle - neck) / max(length, 1e-6)
    if not sizes:
        return None
    size = max(sizes)
    ends = np.array([middle + _CROWN * size * up, middle - _CHIN * size * up])
    low, high = ends.min(axis=0), ends.max(axis=0)
    across = _CHEEK * size * np.abs(up[::-1])
    (left, top), (right, bottom) = np.minimum(low, middle - across), np.maximum(high, middle + across)
    return float(left), float(top), float(right), float(bottom)


def _union(box: Box, other: Box) -> Box:
    return min(box[0], other[0]), min(box[1], other[1]), max(box[2], other[2]), max(box[3], other[3])


def parts_outside(person: PersonPose, size: tuple[int, int]) -> list[str]:
    """Name the parts of a person whose seen points lie outside a frame of `size` = (height, width), from the head."""
    x, y = person.keypoints[:, 0], person.keypoints[:, 1]
    outside = (person.scores >= SEEN) & ((x < -0.5) | (y < -0.5) | (x > size[1] - 0.5) | (y > size[0] - 0.5))
    return [name for name, points in PARTS.items() if outside[points].any()]


def describe_place(pose: PoseSequence) -> list[str]:
    """Return a line for a tiny person, and one for a person mostly outside the frame; none if all is well."""
    height, width = pose.size
    extents, inside = _extents_and_inside(pose.keypoints, _telling_scores(pose.scores), (height, width))
    seen = np.isfinite(extents)
    if not seen.any():
        return []
    lines = []
    tiny = extents[seen] < _MIN_EXTENT * max(height, width)
    if tiny.mean() > _MANY:
        lines.append(
            f"the person is only {np.median(extents[seen][tiny]):.3g} pixels large in {tiny.sum()} of {len(tiny)} "
            f"frames of {height}x{width}: too small to follow; if keypoints come from a file, check their unit"
        )
    outside = inside[seen] < _INSIDE
    if outside.mean() > _MANY:
        lines.append(
            f"the person is mostly outside the frame in {outside.sum()} of {len(outside)} frames: little of them can "
            "be drawn there; if keypoints come from a file, check that it was made from this video"
        )
    return lines


def _telling_scores(scores: Float[np.ndarray, "frames 133"]) -> Float[np.ndarray, "frames 133"]:
    """Keep the scores of the body's points, or of the hands' if fewer than two body points are seen; others are 0."""
    telling = np.zeros_like(scores)
    telling[:, BODY] = scores[:, BODY]
    without_body = (scores[:, BODY] >= SEEN).sum(axis=1) < 2
    for hand in HANDS:
        telling[without_body, hand] = scores[without_body, hand]
    return telling


def _extents_and_inside(
    points: Float[np.ndarray, "frames points 2"], scores: Float[np.ndarray, "frames points"], size: tuple[int, int]
) -> tuple[Float[np.ndarray, " frames"], Float[np.ndarray, " frames"]]:
    """Return the extent of the seen points in pixels, and the fraction inside the frame; NaN for fewer than two."""
    seen = scores >= SEEN
    enough = seen.sum(axis=1) > 1
    highest = np.where(seen[..., None], points, -np.inf).max(axis=1)
    lowest = np.where(seen[..., None], points, np.inf).min(axis=1)
    with np.errstate(invalid="ignore"):
        extents = np.where(enough, (highest - lowest).max(axis=1), np.nan)
    within = ((points >= 0) & (points <= np.array([size[1], size[0]]))).all(axis=-1)
    inside = np.where(enough, (seen & within).sum(axis=1) / np.maximum(seen.sum(axis=1), 1), np.nan)
    return extents, inside
