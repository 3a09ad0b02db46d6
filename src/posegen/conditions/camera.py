"""Tracks the camera of a video through its frames, and other movement in the background.

Corners outside the person are tracked with optical flow and a similarity is fitted to them (RANSAC), always against a
key frame, so that a still camera has no drift. Positions are complex numbers x + iy in image diagonals from the centre,
x right and y down; a similarity maps z to turn · z + shift. Depth is ignored (if it matters the larger part of the
background wins), and so is text overlaid on the video: it counts as still background. Files are read and results kept
in `background_motion.py`.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from posegen.conditions.keypoints import FACE, FEET, INDEX, LEFT_HAND, NUM_KEYPOINTS, RIGHT_HAND, SEEN
from posegen.types import Mask

Grey = UInt8[np.ndarray, "height width"]
Points = Float[np.ndarray, "points 2"]

FEWEST = 12
"""Minimum number of background corners that must agree on a movement."""
_FOR_CUT = 30  # corners in both frames from which too little agreement means another scene
_CORNERS, _CORNER_DISTANCE, _CORNER_BLOCK = 300, 6, 5
_CORNER_STRENGTH = 5e-4  # smallest eigenvalue of the gradients; noise of 4 grey levels does not reach it
_AGREE = 0.8  # pixels from the common movement
_FEWEST_SHARE = 0.25  # of the key frame's corners that must agree: overlaid text survives a cut
_WINDOW, _LEVELS = (17, 17), 4
_RENEW = 0.1  # of the diagonal, or of the size: distance from the key frame at which a new one is taken
_NOTICED = 10  # grey levels by which a pixel must change to count as moving


def _places(names: str) -> list[int]:
    return [INDEX[f"{side}_{name}"] for name in names.split() for side in ("left", "right")]


_EVERYTHING = list(range(NUM_KEYPOINTS))
_TRUNK = _places("shoulder hip")
_LEGS = [*_places("hip knee ankle"), *_EVERYTHING[FEET]]
_ARMS = [
    [INDEX[f"{side}_{joint}"] for joint in bone.split()] + hand
    for side, fingers in (("left", _EVERYTHING[LEFT_HAND]), ("right", _EVERYTHING[RIGHT_HAND]))
    for bone, hand in (("shoulder elbow", []), ("elbow wrist", []), ("wrist", fingers))
]
_PARTS = [[INDEX["nose"], *_places("eye ear shoulder"), *_EVERYTHING[FACE]], _TRUNK, _LEGS, *_ARMS]
"""Parts of the body; the hull of the points of one part belongs to the person."""


@dataclass(frozen=True)
class Similarity:
    """Similarity transform z -> turn · z + shift: `turn` is rotation and scale, `shift` translation in diagonals."""

    turn: complex = 1 + 0j
    shift: complex = 0j

    def after(self, other: "Similarity") -> "Similarity":
        """Compose: apply `other` first, then this."""
        return Similarity(self.turn * other.turn, self.turn * other.shift + self.shift)

    def inverse(self) -> "Similarity":
        """Return the inverse transform."""
        return Similarity(1 / self.turn, -self.shift / self.turn)

    @property
    def distance(self) -> float:
        """Return the root mean square movement of the image's points, in diagonals; independent of its aspect ratio."""
        return float(np.hypot(abs(self.turn - 1) / np.sqrt(12), abs(self.shift)))


@dataclass(frozen=True)
class Step:
    """Measurements of one frame.

    place: position of the scene's first frame in this one; scene: number of cuts before; known: True if there was
    enough background to measure (otherwise place is that of the frame before); residual: movement of the background
    since the frame before without the camera's, mean over its pixels in diagonals, NaN if unknown.
    """

    place: Similarity
    scene: int
    known: bool
    residual: float


class CameraTracker:
    """Tracks the camera over the frames of a clip, added one by one; it holds two of them."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Take the `size` = (height, width) of the frames in pixels."""
        height, width = size
        self._diagonal = float(np.hypot(height, width))
        self._centre = np.array([(width - 1) / 2, (height - 1) / 2])
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        self._key: _KeptPoints | None = None
        self._previous: _KeptPoints | None = None
        self._scene = 0

    def add(self, frame: Grey, background: Mask, may_cut: bool = True) -> Step:
        """Add the next frame; `background` is True outside the person and the padding.

        may_cut: False if it is known that no scene begins here: a background that cannot be found again, as behind
        people who fill the frame, is then unknown.
        """
        if self._previous is None or self._key is None:
            self._key = self._previous = _KeptPoints(frame, background, Similarity())
            return Step(Similarity(), 0, len(self._key.corners) >= FEWEST, float("nan"))
        previous = self._previous
        now = _KeptPoints(frame, background, Similarity())
        now.place, known, cut = self._place(now, may_cut)
        place = now.place
        if cut:
            self._scene += 1
            self._key = now
        residual = self._residual(previous, now) if known and not cut else float("nan")
        if known and place.after(self._key.place.inverse()).distance > _RENEW:
            self._key = now
        self._previous = now
        return Step(place, self._scene, known, residual)

    def _place(self, now: "_KeptPoints", may_cut: bool) -> tuple[Similarity, bool, bool]:
        """Return (place of the frame, True if it is known, True if another scene begins)."""
        assert self._key is not None
        assert self._previous is not None
        keys = [self._key] if self._key is self._previous else [self._key, self._previous]
        for key in keys:
            relative, share = self._match(
                key, now.frame, now.background, self._previous.place.after(key.place.inverse())
            )
            if relative is not None:
                if key is self._previous or share < 2 * _FEWEST_SHARE:  # the key frame's background goes out of sight
                    self._key = self._previous
                return relative.after(key.place), True, False
        enough_now = len(now.corners) >= _FOR_CUT
        enough_before = max(len(key.corners) for key in keys) >= _FOR_CUT
        if enough_now and enough_before and may_cut:
            return Similarity(), True, True
        if not enough_before:
            now.place = self._previous.place
            self._key = now
        return self._previous.place, False, False

    def _match(
        self, key: "_KeptPoints", frame: Grey, background: Mask, guess: Similarity
    ) -> tuple[Similarity | None, float]:
        """Return the movement from the key frame, None if unknown, and the fraction of its corners that agree."""
        before = key.corners
        if len(before) < FEWEST:
            return None, 0.0
        expected = self._pixels(guess, before)
        inside = _at(background, expected)
        before, expected = before[inside], expected[inside]
        if len(before) < FEWEST:
            return None, 0.0
        after, found = _follow(key.frame, frame, before, expected)
        back, found_back = _follow(frame, key.frame, after, before)
        good = found & found_back & (np.linalg.norm(back - before, axis=1) < _AGREE)
        good &= _at(background, after)
        if good.sum() < FEWEST:
            return None, 0.0
        matrix, inliers = cv2.estimateAffinePartial2D(
            before[good], after[good], method=cv2.RANSAC, ransacReprojThreshold=_AGREE, maxIters=500
        )
        share = 0.0 if matrix is None else float(inliers.sum()) / len(before)
        if matrix is None or inliers.sum() < FEWEST or share < _FEWEST_SHARE:
            return None, share
        return self._similarity(matrix), share

    def _similarity(self, matrix: Float[np.ndarray, "2 3"]) -> Similarity:
        """Convert a matrix in pixels to a similarity in diagonals about the centre."""
        shift = (matrix[:, :2] @ self._centre + matrix[:, 2] - self._centre) / self._diagonal
        return Similarity(complex(matrix[0, 0], matrix[1, 0]), complex(*shift))

    def _matrix(self, similarity: Similarity) -> Float[np.ndarray, "2 3"]:
        turn = np.array([[similarity.turn.real, -similarity.turn.imag], [similarity.turn.imag, similarity.turn.real]])
        shift = np.array([similarity.shift.real, similarity.shift.imag]) * self._diagonal
        return np.column_stack([turn, shift + self._centre - turn @ self._centre])

    def _pixels(self, similarity: Similarity, points: Points) -> Points:
        matrix = self._matrix(similarity)
        return (points @ matrix[:, :2].T + matrix[:, 2]).astype(np.float32)

    def _residual(self, before: "_KeptPoints", now: "_KeptPoints") -> float:
        """Return the mean movement of the background's pixels without the camera's; unchanged pixels count as still."""
        height, width = now.frame.shape
        matrix = self._matrix(now.place.after(before.place.inverse()))
        warped = cv2.warpAffine(before.frame, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
        seen = cv2.warpAffine(before.background.astype(np.uint8), matrix, (width, height)) > 0
        shared = seen & now.background
        if not shared.any():
            return float("nan")
        change = cv2.absdiff(cv2.blur(warped, (3, 3)), cv2.blur(now.frame, (3, 3))) > _NOTICED
        if not (change & shared).any():
            return 0.0
        # None: no flow to start from, which cv2's types do not know
        flow = self._flow.calc(warped, now.frame, None)  # type: ignore[call-overload]
        movement = np.linalg.norm(flow, axis=-1)
        return float(movement[change & shared].sum()) / float(shared.sum()) / self._diagonal


class _KeptPoints:
    """Frame that later ones are compared with; its corners are found on first use."""

    def __init__(self, frame: Grey, background: Mask, place: Similarity) -> None:
        self.frame, self.background, self.place = frame, background, place
        self._corners: Points | None = None

    @property
    def corners(self) -> Points:
        if self._corners is None:
            self._corners = find_corners(self.frame, self.background)
        return self._corners


def find_corners(frame: Grey, background: Mask) -> Points:
    """Find points (x, y) in pixels that can be recognised in another frame, strongest first; noise gives none."""
    strength = cv2.cornerMinEigenVal(frame, _CORNER_BLOCK)
    strong = (background & (strength > _CORNER_STRENGTH)).astype(np.uint8)
    if not strong.any():
        return np.zeros((0, 2), np.float32)
    found = cv2.goodFeaturesToTrack(frame, _CORNERS, 1e-6, _CORNER_DISTANCE, mask=strong, blockSize=_CORNER_BLOCK)
    return np.zeros((0, 2), np.float32) if found is None else found.reshape(-1, 2)


def _follow(before: Grey, after: Grey, points: Points, guess: Points) -> tuple[Points, Bool[np.ndarray, " points"]]:
    """Find the points of one frame in the other, near `guess`; return their positions and which were found."""
    found, status, _ = cv2.calcOpticalFlowPyrLK(
        before, after, points, guess.copy(), winSize=_WINDOW, maxLevel=_LEVELS, flags=cv2.OPTFLOW_USE_INITIAL_FLOW
    )
    return found, status.ravel() == 1


def person_mask(
    keypoints: Float[np.ndarray, "133 2"], scores: Float[np.ndarray, " 133"], size: tuple[int, int]
) -> Mask:
    """Return a mask of the area that the person may cover in an image of `size` = (height, width).

    Head, trunk and legs are each the hull of their seen points (trunk and legs together if no hip is seen), arms are
    lines. All are widened by a tenth of the person's size or half the shoulders' width, whichever is more, for hair,
    clothes and shadow; trunk and legs extend to the lower edge if no ankle is seen, since the body then continues
    outside the image. Empty if no point is seen.
    """
    height = size[0]
    mask = np.zeros(size, np.uint8)
    seen = scores >= SEEN
    if not seen.any():
        return mask > 0
    points = np.clip(keypoints, -4 * max(size), 4 * max(size))
    reach = float(np.ptp(points[seen], axis=0).max()) / 10
    shoulders = [INDEX["left_shoulder"], INDEX["right_shoulder"]]
    if seen[shoulders].all():
        reach = max(reach, 0.5 * float(np.linalg.norm(points[shoulders[0]] - points[shoulders[1]])))
    hips = [INDEX["left_hip"], INDEX["right_hip"]]
    for part in _PARTS if seen[hips].any() else [*_PARTS, _TRUNK + _LEGS]:
        _fill(mask, points[[place for place in part if seen[place]]])
    ankles = [INDEX["left_ankle"], INDEX["right_ankle"]]
    if not any(seen[ankle] and keypoints[ankle, 1] < height for ankle in ankles):
        lowest = [points[[place for place in part if seen[place]]] for part in (_LEGS, _TRUNK, _EVERYTHING)]
        body = next(part for part in lowest if len(part))
        left, right = body[:, 0].min(), body[:, 0].max()
        _fill(mask, np.concatenate([body, [[left, height], [right, height]]]))
    radius = min(max(2, round(reach)), max(size))
    # distance to the hull, not a dilation: its cost does not grow with the radius
    far = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 3) if mask.any() else np.full(size, np.inf)
    return far <= radius


def _fill(mask: UInt8[np.ndarray, "height width"], points: Float[np.ndarray, "points 2"]) -> None:
    """Set the hull of the points to 1; two points give a line."""
    if len(points):
        hull = cv2.convexHull(np.rint(points).astype(np.int32))
        cv2.fillConvexPoly(mask, hull, 1)
        cv2.polylines(mask, [hull], isClosed=True, color=1)


def _at(mask: Mask, points: Points) -> Bool[np.ndarray, " points"]:
    """Sample the mask at each point; False outside the image."""
    column, row = np.rint(points).astype(int).T
    inside = (row >= 0) & (row < mask.shape[0]) & (column >= 0) & (column < mask.shape[1])
    inside[inside] = mask[row[inside], column[inside]]
    return inside
