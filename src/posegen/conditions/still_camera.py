"""Takes the measured motion of the driving video's camera out of keypoints, as if it had been filmed by a still one.

The result has one still background, that of the reference image; keypoints in which a camera pans, zooms or rolls would
make the person slide over it. The path comes from `background_motion.py`: that of the background, so of a camera that
travels past things at different distances only a part is removed. Each scene is steadied alone.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Complex, Float

from posegen.conditions.background_motion import STILL, BackgroundMotion
from posegen.conditions.keypoints import HANDS, INDEX, SEEN, PoseSequence
from posegen.media.fitting import Fit

_KNOWN = 0.9
"""Minimum fraction of the frames in which the camera's path must be known."""


def moves(motion: BackgroundMotion, minimum: float = STILL) -> bool:
    """Return True if the camera is known to move by more than `minimum` image diagonals within a scene."""
    if not motion.known.any():
        return False
    first = np.searchsorted(motion.scene, motion.scene)
    return bool(motion.distance(first, np.arange(len(motion)))[motion.known].max() > minimum)


def is_reliable(motion: BackgroundMotion) -> bool:
    """Return True if the camera's path is known in nearly all frames."""
    return float(motion.known.mean()) >= _KNOWN


@dataclass(frozen=True)
class SteadyCamera:
    """Transforms that take the camera's motion out of each frame's points: z -> turn · z + shift.

    In pixels as complex numbers x + iy. A scene is seen as from its usual zoom and roll.
    """

    turn: Complex[np.ndarray, " frames"]
    shift: Complex[np.ndarray, " frames"]

    @classmethod
    def of(cls, motion: BackgroundMotion, size: tuple[int, int]) -> "SteadyCamera":
        """Invert the path of the background in frames of `size` = (height, width)."""
        height, width = size
        centre, diagonal = complex((width - 1) / 2, (height - 1) / 2), float(np.hypot(height, width))
        usual = np.ones(len(motion), complex)
        for scene in np.unique(motion.scene):
            frames = motion.scene == scene
            known = frames & motion.known if (frames & motion.known).any() else frames
            logarithm = np.log(motion.turn[known])
            usual[frames] = np.exp(complex(np.median(logarithm.real), np.median(logarithm.imag)))
        turn = usual / motion.turn
        return cls(turn, centre - turn * (centre + diagonal * motion.shift))

    def fitted(self, fit: Fit) -> "SteadyCamera":
        """Return the same transforms for points in pixels of the fitted frames."""
        corner, across = fit.apply_points(np.array([[0.0, 0.0], [1.0, 1.0]]))
        scale, offset = float((across - corner).mean()), complex(*corner)
        return SteadyCamera(self.turn, scale * self.shift + offset - self.turn * offset)

    def points(self, points: Float[np.ndarray, "frames *any 2"], frames: slice = slice(None)) -> np.ndarray:
        """Map points (x, y) of some of the frames."""
        shape = (-1, *[1] * (points.ndim - 2))
        moved = (points[..., 0] + 1j * points[..., 1]) * self.turn[frames].reshape(shape)
        moved += self.shift[frames].reshape(shape)
        return np.stack([moved.real, moved.imag], axis=-1)

    def steady(self, pose: PoseSequence) -> PoseSequence:
        """Return the clip as a still camera would have filmed it; hands keep their shape."""
        keypoints, hands = np.empty_like(pose.keypoints), np.empty_like(pose.hands)
        for part in pose.pieces():
            keypoints[part] = self.points(pose.keypoints[part].astype(np.float64), part)
            hands[part, ..., :2] = self.points(pose.hands[part, ..., :2].astype(np.float64), part)
            hands[part, ..., 2] = pose.hands[part, ..., 2] * np.abs(self.turn[part])[:, None, None]
        return PoseSequence(keypoints, pose.scores, hands, pose.size, pose.fps)

    def before(self, hands: Float[np.ndarray, "frames 2 3"], pose: PoseSequence) -> Float[np.ndarray, "frames 2 3"]:
        """Return `Retargeted.hands` for the points of `pose`, from those for the points of `steady(pose)`.

        Exact at the hand's root; the roll, which such a transform cannot hold, is left out.
        """
        result = np.empty_like(hands)
        for side, (hand, wrist) in enumerate(zip(HANDS, ("left_wrist", "right_wrist"), strict=True)):
            found = pose.scores[:, hand.start] >= SEEN
            root = np.where(found[:, None], pose.keypoints[:, hand.start], pose.keypoints[:, INDEX[wrist]])
            root = root.astype(np.float64)
            scale = hands[:, side, 0] * np.abs(self.turn)
            result[:, side, 0] = scale
            goal = hands[:, side, :1] * self.points(root) + hands[:, side, 1:]
            result[:, side, 1:] = goal - scale[:, None] * root
        return result
