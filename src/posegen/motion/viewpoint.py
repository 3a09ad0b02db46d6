"""Films motion in space with a virtual camera: keypoints and hands in pixels, and the points that are hidden.

The camera stands still and sees the whole movement in perspective; retargeting then gives the person the size and place
of the reference. Axes: z up; image x right, y down.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from jaxtyping import Bool, Float, Float32

from posegen.conditions.keypoints import HAND_FOUND, HANDS, INDEX, PoseSequence
from posegen.motion.motion_data import Motion
from posegen.motion.whole_body import WholeBody, leftward

_DISTANCE = 4.0
"""Distance of the camera in body heights, as for a usual lens; larger where the movement needs room."""
_FILLED = 0.86
"""Part of the frame that the movement fills."""
_TURNS = 0.3
"""Length of the mean facing direction below which somebody turns around too much to have a front."""
_ASIDE = range(-60, 61, 15)
"""Azimuths that `auto` considers, in degrees from the front."""
_TRAVEL, _BODY, _ASKEW = 1.15, 0.4, 0.006
"""Width of the frame in body heights, if it is as high as wide; room of the body itself; cost of a degree aside, in
heights of sideways movement that does not fit."""
_PIECE = 4096
_HIDDEN = {"nose": -0.35, "left_eye": -0.2, "right_eye": -0.2, "left_ear": -0.45, "right_ear": -0.45}
"""Cosine between where a point of the head looks and the camera, below which the point is hidden."""


@dataclass(frozen=True)
class Viewing:
    """Place of the camera: azimuth in degrees from the person's front, counterclockwise from above; elevation.

    At azimuth 90 the camera is at the person's left side. line: how it was chosen, for the user.
    """

    azimuth: float
    elevation: float
    front: float
    """Direction in which the person faces, in radians."""
    line: str


def choose_view(body: WholeBody, azimuth: float | None, elevation: float, room: float | None = None) -> Viewing:
    """Place the camera. azimuth: degrees from the front; None for the front, or where `room` is better kept.

    room: width of the frame over its height; with it the camera may leave the front for somebody who walks sideways.
    """
    front, words = _front_of(body)
    if azimuth is not None:
        return Viewing(azimuth, elevation, front, f"camera: {azimuth:g}° from {words}, {elevation:g}° up")
    chosen = 0 if room is None else _least_travel(body, front, room)
    line = f"camera: at {words}"
    if chosen:
        where = "left" if chosen > 0 else "right"
        line = f"camera: {abs(chosen)}° to the person's {where} from {words}, since they walk sideways"
    return Viewing(float(chosen), elevation, front, line)


def _front_of(body: WholeBody) -> tuple[float, str]:
    """Return the direction that the person faces, in radians, and how it was found."""
    left = leftward(body.points)
    facing = np.stack([left[:, 1], -left[:, 0]], axis=1)
    facing = facing[np.isfinite(facing).all(axis=1)]
    if not len(facing):
        return -np.pi / 2, "the front of the axes (where the person faces is not known)"
    mean = facing.mean(axis=0)
    if np.hypot(*mean) >= _TURNS:
        return float(np.arctan2(mean[1], mean[0])), "the person's front"
    return float(np.arctan2(facing[0, 1], facing[0, 0])), "the person's front in the first frame (they turn around)"


def _least_travel(body: WholeBody, front: float, room: float) -> int:
    """Return the azimuth from which the person moves sideways least, if that matters; 0 is the front."""
    hips = body.points[:, [INDEX["left_hip"], INDEX["right_hip"], INDEX["left_shoulder"], INDEX["right_shoulder"]], :2]
    path = hips.mean(axis=1)
    path = path[np.isfinite(path).all(axis=1)]
    height = body.height or 1.0
    if not len(path):
        return 0

    def cost(azimuth: int) -> float:
        angle = front + np.radians(azimuth)
        across = path @ np.array([-np.sin(angle), np.cos(angle)])
        travel = float(across.max() - across.min()) / height
        return max(travel - max(_TRAVEL * room - _BODY, 0.3), 0) + _ASKEW * abs(azimuth)

    return min(_ASIDE, key=lambda azimuth: (cost(azimuth), abs(azimuth)))


def film(body: WholeBody, view: Viewing, motion: Motion, size: tuple[int, int]) -> PoseSequence:
    """Project the points into frames of `size` (height, width), with the whole movement inside."""
    camera = VirtualCamera.at(VirtualCamera.reach_around(body), view, size)
    return project_pose(body, camera, slice(0, len(body.points)), size, motion.fps)


def project_pose(
    body: WholeBody, camera: "VirtualCamera", frames: slice, size: tuple[int, int], fps: Fraction
) -> PoseSequence:
    """Project some frames; points of the face that the head hides get score 0."""
    count = frames.stop - frames.start
    keypoints = np.zeros((count, 133, 2), np.float32)
    hands = np.full((count, 2, 21, 3), np.nan, np.float32)
    scores = body.scores[frames].copy()
    for first in range(0, count, _PIECE):
        part = slice(first, min(first + _PIECE, count))
        points = body.points[frames.start + part.start : frames.start + part.stop].astype(np.float64)
        pixels, depth, scale = camera.project(points)
        keypoints[part] = np.where(np.isfinite(pixels), pixels, 0)
        for side, hand in enumerate(HANDS):
            away = (depth[:, hand] - depth[:, hand.start : hand.start + 1]) * scale[:, hand.start : hand.start + 1]
            hands[part, side] = np.concatenate([pixels[:, hand], away[..., None]], axis=2)
        scores[part, :5] = np.where(_hidden_face(points, camera), 0, scores[part, :5])
    for side, hand in enumerate(HANDS):
        if not body.has_hand(side):
            hands[:, side] = np.nan
            scores[:, hand] = 0
    scores[:, HANDS[0].start :] = np.minimum(scores[:, HANDS[0].start :], HAND_FOUND)
    return PoseSequence(keypoints, scores, hands, size, fps)


@dataclass(frozen=True)
class Reach:
    """Box of all points in all frames, and the height of the body."""

    low: Float[np.ndarray, " 3"]
    high: Float[np.ndarray, " 3"]
    height: float


@dataclass(frozen=True)
class VirtualCamera:
    """Pinhole camera: place, axes (rows: right, down, ahead), pixels per unit at 1 unit, middle of the frame."""

    eye: Float[np.ndarray, " 3"]
    axes: Float[np.ndarray, "3 3"]
    focal: float
    centre: Float[np.ndarray, " 2"]

    @staticmethod
    def reach_around(body: WholeBody) -> Reach:
        """Measure the room that the movement takes."""
        known = np.isfinite(body.points).all(axis=2)
        low, high = np.full(3, np.inf), np.full(3, -np.inf)
        for first in range(0, len(known), _PIECE):
            part = slice(first, first + _PIECE)
            seen = body.points[part][known[part]]
            if len(seen):
                low, high = np.minimum(low, seen.min(axis=0)), np.maximum(high, seen.max(axis=0))
        return Reach(low.astype(np.float64), high.astype(np.float64), body.height or 1.0)

    @classmethod
    def at(cls, reach: Reach, view: Viewing, size: tuple[int, int]) -> "VirtualCamera":
        """Place a camera that sees all of the movement from a view."""
        angle, rise = view.front + np.radians(view.azimuth), np.radians(view.elevation)
        towards = np.array([np.cos(angle) * np.cos(rise), np.sin(angle) * np.cos(rise), np.sin(rise)])
        right = np.array([-np.sin(angle), np.cos(angle), 0.0])
        axes = np.stack([right, -np.cross(towards, right), -towards])
        corners = np.stack(np.meshgrid(*zip(reach.low, reach.high, strict=True)), axis=-1).reshape(-1, 3)
        middle = (reach.low + reach.high) / 2
        seen = (corners - middle) @ axes.T
        deep = float(seen[:, 2].max())
        distance = max(_DISTANCE * reach.height, 2.0 * float(np.ptp(seen, axis=0).max())) + deep
        extent = np.maximum(2 * np.abs(seen[:, :2]).max(axis=0), 0.3 * reach.height) / (distance - deep)
        centre = np.array([size[1], size[0]]) / 2
        focal = float((_FILLED * 2 * centre / extent).min())
        return cls(middle + distance * towards, axes, focal, centre)

    def project(
        self, points: Float[np.ndarray, "frames points 3"]
    ) -> tuple[
        Float[np.ndarray, "frames points 2"], Float[np.ndarray, "frames points"], Float[np.ndarray, "frames points"]
    ]:
        """Return pixels, distances from the camera's plane, and pixels per unit there."""
        seen = (points - self.eye) @ self.axes.T
        scale = self.focal / np.maximum(seen[..., 2], 1e-6)
        return seen[..., :2] * scale[..., None] + self.centre, seen[..., 2], scale


def _hidden_face(points: Float[np.ndarray, "frames 133 3"], camera: VirtualCamera) -> Bool[np.ndarray, "frames 5"]:
    """Return which of nose, eyes and ears the head hides."""
    left_ear, right_ear, nose = (points[:, INDEX[name]] for name in ("left_ear", "right_ear", "nose"))
    middle = (left_ear + right_ear) / 2
    left, forward = _unit(left_ear - right_ear), _unit(nose - middle)
    forward = _unit(forward - (forward * left).sum(axis=1, keepdims=True) * left)
    towards = _unit(camera.eye - middle)
    result = np.zeros((len(points), 5), bool)
    with np.errstate(invalid="ignore"):
        for number, (name, least) in enumerate(_HIDDEN.items()):
            side = left if name.startswith("left") else -left
            looks = forward if name == "nose" else _unit(forward + 0.6 * side) if name.endswith("eye") else side
            result[:, number] = (looks * towards).sum(axis=1) < least
    return result


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


def in_image(body: WholeBody, motion: Motion, size: tuple[int, int]) -> PoseSequence:
    """Make a pose of points in the plane: in the file's own image, or without one fitted into `size` (H, W)."""
    points = body.points
    known = np.isfinite(points).all(axis=2)
    if motion.size is not None:
        size = motion.size
    else:
        low, high = points[known].min(axis=0), points[known].max(axis=0)
        scale = float((_FILLED * np.array([size[1], size[0]]) / np.maximum(high - low, 1e-6)).min())
        points = (points - (low + high) / 2) * scale + np.array([size[1], size[0]], np.float32) / 2
    hands = np.full((len(points), 2, 21, 3), np.nan, np.float32)
    scores = body.scores.copy()
    for side, hand in enumerate(HANDS):
        if not body.has_hand(side):
            scores[:, hand] = 0
        else:  # without depth, hands are drawn flat
            hands[:, side, :, :2] = points[:, hand]
            hands[:, side, :, 2] = 0 if body.depth is None else body.depth[:, hand]
            hands[:, side][~known[:, hand]] = np.nan
    keypoints: Float32[np.ndarray, "frames 133 2"] = np.where(np.isfinite(points), points, 0).astype(np.float32)
    return PoseSequence(keypoints, scores, hands, size, motion.fps)
