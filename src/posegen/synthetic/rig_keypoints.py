"""The 133 COCO-WholeBody keypoints of a posed body, exact, and which of them the camera sees.

Body points are anny's regression, hands are bones and finger tips, feet and face are vertices of the body near the
places that annotators mark (the 68 face points are approximations in that sense).
"""

import functools

import numpy as np
from jaxtyping import Bool, Float, UInt8
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from posegen.conditions.keypoints import BODY, FACE, FEET, HANDS, NUM_KEYPOINTS
from posegen.synthetic.assets import BODY_VERTICES, load_assets
from posegen.synthetic.body import Body
from posegen.synthetic.scene import Camera

OUTSIDE, HIDDEN, VISIBLE = 0, 1, 2
"""Values of visibility, as in COCO: not in the picture, behind something, seen."""

# right half of the face on the template (x to the person's left); the left half mirrors it
_JAW = ((-0.072, -0.045, 0.715), (-0.072, -0.050, 0.698), (-0.070, -0.057, 0.680), (-0.066, -0.068, 0.663),
        (-0.060, -0.085, 0.648), (-0.050, -0.105, 0.635), (-0.036, -0.125, 0.626),
        (-0.019, -0.140, 0.620))  # fmt: skip  # a table, read in rows
_CHIN = (0.0, -0.146, 0.6195)
_BROW = (
    (-0.050, -0.130, 0.745),
    (-0.043, -0.138, 0.7495),
    (-0.034, -0.144, 0.7505),
    (-0.024, -0.148, 0.749),
    (-0.014, -0.150, 0.7455),
)
_BRIDGE = ((0.0, -0.151, 0.732), (0.0, -0.154, 0.7196), (0.0, -0.161, 0.7066), (0.0, -0.168, 0.6939))
_NOSTRILS = ((-0.017, -0.148, 0.684), (-0.009, -0.156, 0.681), (0.0, -0.160, 0.683))
_EYE = ((-0.0445, -0.1355, 0.7290), (-0.0349, -0.1408, 0.7335), (-0.0271, -0.1408, 0.7330), (-0.0172, -0.1395, 0.7275),
        (-0.0273, -0.1398, 0.7235), (-0.0352, -0.1400, 0.7235))  # fmt: skip  # a table, read in rows
_LIPS = ((-0.0239, -0.1435, 0.6614), (-0.0144, -0.1544, 0.6705), (-0.0052, -0.1596, 0.6712), (0.0, -0.1601, 0.6696))
_LOWER_LIP = ((0.0, -0.1556, 0.6488), (-0.006, -0.1550, 0.6500), (-0.0145, -0.1500, 0.6530))
_INNER = ((-0.0224, -0.1461, 0.6621), (-0.0077, -0.1566, 0.6641), (0.0, -0.1578, 0.6630))
_INNER_LOWER = ((0.0, -0.1553, 0.6608), (-0.0076, -0.1545, 0.6613))

_TOLERANCE = np.full(NUM_KEYPOINTS, 0.03)
_TOLERANCE[BODY] = (0.03, 0.03, 0.03, 0.05, 0.05, 0.14, 0.14, 0.08, 0.08, 0.06, 0.06, 0.2, 0.2, 0.12, 0.12, 0.1, 0.1)
_TOLERANCE[FEET], _TOLERANCE[FACE] = 0.06, 0.025
"""Maximum depth in metres of a visible point under the surface: joints are inside the body."""


def _mirrored(points: tuple[tuple[float, float, float], ...]) -> list[tuple[float, float, float]]:
    return [(-x, y, z) for x, y, z in points]


def face_places() -> Float[np.ndarray, "68 3"]:
    """The 68 face points on the template, in the order of iBUG-68: from the person's right to left."""
    eye = _mirrored(_EYE)
    lips, lower, inner, inner_lower = (_mirrored(points) for points in (_LIPS, _LOWER_LIP, _INNER, _INNER_LOWER))
    rows = [*_JAW, _CHIN, *_mirrored(_JAW)[::-1], *_BROW, *_mirrored(_BROW)[::-1], *_BRIDGE]
    rows += [*_NOSTRILS, *_mirrored(_NOSTRILS[:2])[::-1]]
    rows += [*_EYE, eye[3], eye[2], eye[1], eye[0], eye[5], eye[4]]
    rows += [*_LIPS, *lips[2::-1], *lower[:0:-1], *_LOWER_LIP]
    rows += [*_INNER, *inner[1::-1], inner_lower[1], *_INNER_LOWER]
    return np.array(rows)


@functools.cache
def _regression() -> tuple[np.ndarray, np.ndarray, dict[int, int]]:
    """Template vertices used (N,), how they give keypoints (133, N), and which keypoints are bones' heads instead."""
    assets = load_assets()
    dense = np.zeros((NUM_KEYPOINTS, len(assets.template)), np.float32)
    dense[BODY] = assets.regressor[:17]
    template = assets.template[:BODY_VERTICES]
    dense[np.arange(FACE.start, FACE.stop), cKDTree(template).query(face_places())[1]] = 1
    for row, vertex in zip(range(FEET.start, FEET.stop), _feet(), strict=True):
        dense[row, vertex] = 1
    bones = {}
    for hand, side, tips in zip(HANDS, "LR", (22, 17), strict=True):
        bones[hand.start] = assets.bone(f"wrist.{side}")
        for finger in range(5):
            first = hand.start + 1 + 4 * finger
            for joint in range(3):
                bones[first + joint] = assets.bone(f"finger{finger + 1}-{joint + 1}.{side}")
            dense[first + 3] = assets.regressor[tips + finger]
    used = np.nonzero(np.abs(dense).sum(0) > 1e-6)[0]
    return used, dense[:, used], bones


def _feet() -> list[int]:
    """Vertices of big toe, small toe and heel, left foot first."""
    assets = load_assets()
    template = assets.template[:BODY_VERTICES]
    result = []
    for side in "LR":
        for part, direction in (("toe1", 1), ("toe5", 1), ("foot", -1)):
            bones = [name.startswith(part) and name.endswith(side) for name in assets.bones]
            own = assets.weights[:BODY_VERTICES][:, bones].sum(1) > 0.4
            ahead = np.where(own & (template[:, 2] < -0.78), -template[:, 1] * direction, -np.inf)
            result.append(int(ahead.argmax()))
    return result


class KeypointTracker:
    """The keypoints of one body in any pose."""

    def __init__(self, body: Body):
        assets = load_assets()
        self._used, self._regressor, self._bones = _regression()
        self._rest = body.vertices[self._used]
        self._weights = assets.weights[self._used]
        self._actions = assets.actions[:, self._used].astype(np.float32)

    def places(
        self, transforms: Float[np.ndarray, "J 3 4"], joints: Float[np.ndarray, "J 3"], actions: Float[np.ndarray, " A"]
    ) -> Float[np.ndarray, "133 3"]:
        """World places, in metres."""
        rest = self._rest + np.tensordot(actions.astype(np.float32), self._actions, 1)
        blended = np.tensordot(self._weights, transforms, 1)
        posed = np.einsum("vab,vb->va", blended[:, :, :3], rest) + blended[:, :, 3]
        points = self._regressor @ posed
        points[list(self._bones)] = joints[list(self._bones.values())]
        return points


def seen(
    camera: Camera, points: Float[np.ndarray, "133 3"], depth: Float[np.ndarray, "H W"]
) -> tuple[Float[np.ndarray, "133 2"], UInt8[np.ndarray, " 133"]]:
    """Pixels of the points, and `OUTSIDE`, `HIDDEN` or `VISIBLE` from the depth that the renderer found there."""
    pixels, distance = camera.project(points)
    inside = in_picture(pixels, camera)
    column = np.clip(pixels[:, 0].astype(int), 0, camera.width - 1)
    row = np.clip(pixels[:, 1].astype(int), 0, camera.height - 1)
    hidden = distance > depth[row, column] + _TOLERANCE
    visibility = np.where(inside & (distance > 0), np.where(hidden, HIDDEN, VISIBLE), OUTSIDE)
    return pixels.astype(np.float32), visibility.astype(np.uint8)


def in_picture(pixels: Float[np.ndarray, "N 2"], camera: Camera) -> Bool[np.ndarray, " N"]:
    """Return the mask of pixels (..., 2) that are inside the picture."""
    return np.all((pixels >= 0) & (pixels < (camera.width, camera.height)), axis=1)
