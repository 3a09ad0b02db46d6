"""Default hand-normal estimator: draws hands as capsules around MediaPipe's three-dimensional joints.

Each bone is a capsule whose radius changes from joint to joint; the palm is filled with more of them. They are drawn
orthographically into a depth buffer. A real hand is smoother, but the directions of surfaces and the order of
overlapping fingers are right.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from posegen.conditions.keypoints import PersonPose
from posegen.types import Frame

_FINGERS = tuple((4 * finger + joint, 4 * finger + joint + 1) for finger in range(5) for joint in range(1, 4))
_PALM = ((0, 1), (0, 5), (0, 9), (0, 13), (0, 17), (1, 5), (5, 9), (9, 13), (13, 17), (1, 9))
_RADII = np.array([0.20, 0.17, 0.14, 0.12, 0.10, *(0.13, 0.11, 0.10, 0.085) * 4], np.float32)
"""Radius at each joint, in palm lengths (wrist to middle knuckle): the usual proportions of a hand."""

_MEASURES = (
    (0, 9, 1.0), (0, 13, 0.95), (0, 5, 1.0), (0, 17, 0.9), (9, 10, 0.45), (5, 6, 0.45), (13, 14, 0.4), (17, 18, 0.35),
    (10, 11, 0.27), (6, 7, 0.25), (14, 15, 0.25), (18, 19, 0.2), (1, 2, 0.4), (2, 3, 0.33), (3, 4, 0.27),
)  # fmt: skip  # a table, read in rows
"""Bones (first joint, second joint, length in palm lengths) by which a hand is measured, the best first."""


class CapsuleHandNormals:
    """`HandNormalEstimator` that needs no model of its own."""

    name = "capsules"
    version = "1"
    batch_size = 1
    needs_frames = False

    def estimate(self, person: PersonPose, size: tuple[int, int], frame: Frame | None = None) -> Frame:
        """Draw a hand-normal map (H, W, 3) of both hands; black without hands. The frame is not used."""
        image = np.zeros((*size, 3), np.uint8)
        hands = [joints for joints in person.hands if np.isfinite(joints).any()]
        window = _window(hands, size)
        if window is not None:
            rows, columns = window
            moved = [joints - np.array([columns.start, rows.start, 0], np.float32) for joints in hands]
            part = image[rows, columns]
            depth = np.full(part.shape[:2], -np.inf, np.float32)
            for joints in moved:
                _draw_hand(part, depth, joints)
        return image

    def estimate_batch(
        self, people: Sequence[PersonPose], size: tuple[int, int], frames: Sequence[Frame]
    ) -> list[Frame]:
        """Draw the maps of several frames."""
        return [self.estimate(person, size) for person in people]

    def close(self) -> None:
        """Do nothing: no resources are held."""


def _window(hands: Sequence[Float[np.ndarray, "21 3"]], size: tuple[int, int]) -> tuple[slice, slice] | None:
    """Return the rows and columns of the image that the hands can touch; None without any."""
    if not hands:
        return None
    low = np.min([np.nanmin(joints[:, :2], axis=0) for joints in hands], axis=0)
    high = np.max([np.nanmax(joints[:, :2], axis=0) for joints in hands], axis=0)
    reach = float(_RADII.max()) * max(palm_length(joints) for joints in hands) + 1
    left, top = np.clip(np.floor(low - reach), 0, (size[1], size[0])).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high + reach) + 1, 0, (size[1], size[0])).astype(int).tolist()
    return (slice(top, bottom), slice(left, right)) if left < right and top < bottom else None


def _draw_hand(image: Frame, depth: Float[np.ndarray, "height width"], joints: Float[np.ndarray, "21 3"]) -> None:
    """Draw one hand (pixels; z away from the camera) into image and depth (larger is nearer), in place.

    Bones with an end that is not known (NaN) are left out.
    """
    scale = palm_length(joints)
    radii = _RADII * scale
    points = joints * np.array([1, 1, -1], np.float32)  # z towards the camera
    known = np.isfinite(joints).all(axis=1)
    for start, stop in (*_PALM, *_FINGERS):
        if known[start] and known[stop]:
            _draw_capsule(image, depth, points[start], points[stop], float(radii[start]), float(radii[stop]))


def palm_length(joints: Float[np.ndarray, "21 3"]) -> float:
    """Return the distance from wrist to middle knuckle in space, in pixels; at least 1.

    If one of them is not known (NaN), it is estimated from another bone.
    """
    for start, stop, palms in _MEASURES:
        length = float(np.linalg.norm(joints[stop] - joints[start]))
        if np.isfinite(length):
            return max(length / palms, 1.0)
    return 1.0


def _draw_capsule(
    image: Frame, depth: np.ndarray, start: np.ndarray, stop: np.ndarray, start_radius: float, stop_radius: float
) -> None:
    reach = max(start_radius, stop_radius)
    low = np.floor(np.minimum(start, stop)[:2] - reach).astype(int)
    high = np.ceil(np.maximum(start, stop)[:2] + reach).astype(int) + 1
    left, top = np.maximum(low, 0)
    right, bottom = np.minimum(high, (image.shape[1], image.shape[0]))
    if left >= right or top >= bottom:
        return
    x = np.arange(left, right, dtype=np.float32)[None, :] - start[0]
    y = np.arange(top, bottom, dtype=np.float32)[:, None] - start[1]
    axis = (stop - start).astype(np.float32)
    along = np.clip((x * axis[0] + y * axis[1]) / max(float(axis[0] ** 2 + axis[1] ** 2), 1e-6), 0, 1)
    radius = start_radius + (stop_radius - start_radius) * along
    away_x, away_y = x - along * axis[0], y - along * axis[1]
    rise_squared = radius**2 - away_x**2 - away_y**2
    rise = np.sqrt(np.maximum(rise_squared, 0))
    surface = start[2] + along * axis[2] + rise
    window = depth[top:bottom, left:right]
    nearer = (rise_squared > 0) & (surface > window)
    window[nearer] = surface[nearer]
    # image y goes down, the normal's y goes up; the length is 1 by construction
    normal = np.stack([away_x / radius, -away_y / radius, rise / radius], axis=-1)
    image[top:bottom, left:right][nearer] = np.rint((normal[nearer] + 1) * 127.5)
