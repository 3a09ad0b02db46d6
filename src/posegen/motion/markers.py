"""Computes joints from markers on the skin, for sets of markers with well-known names: Plug-in Gait's and OpenCap's.

Joint centres that a file names itself are better and are taken first. Other sets of markers are no joints: a file of
them is refused with a line that says how to get joints.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float32

_SIDES = (("left", "L"), ("right", "R"))
_PAIRS = {
    "wrist": (("{}WRA", "{}WRB"), ("{s}_lwrist_study", "{s}_mwrist_study")),
    "elbow": (("{s}_lelbow_study", "{s}_melbow_study"),),
    "knee": (("{s}_knee_study", "{s}_mknee_study"),),
    "ankle": (("{s}_ankle_study", "{s}_mankle_study"),),
}
"""Joints in the middle of two markers: Plug-in Gait's, then OpenCap's."""
_OTHERS = {"toe": ("{s}_toe_study",), "heel": ("{s}_calc_study",), "small_toe": ("{s}_5meta_study",)}
_HEAD = {
    "nose": (1.25, 0.0, -0.35),
    "left_eye": (1.12, 0.17, -0.15),
    "right_eye": (1.12, -0.17, -0.15),
    "left_ear": (0.45, 0.42, -0.35),
    "right_ear": (0.45, -0.42, -0.35),
}
"""Places relative to the middle of the markers at the back of the head: forward, left, up, in lengths of the head."""
_PELVIS = (0.36, 0.19, 0.30)
"""Hip centres from the middle between the front markers of the pelvis: aside, back, down, in its width (Bell 1989)."""


def add_marker_joints(
    names: Sequence[str], positions: Float32[np.ndarray, "frames joints 3"]
) -> tuple[tuple[str, ...], Float32[np.ndarray, "frames more 3"], frozenset[str]]:
    """Return names and positions with the joints that the markers give, and the names of these joints."""
    at = {name.rpartition(":")[2]: positions[:, index] for index, name in enumerate(names)}
    found: dict[str, np.ndarray] = {}
    for side, letter in _SIDES:
        for joint, choices in _PAIRS.items():
            for choice in choices:
                pair = [at.get(name.format(letter, s=letter.lower())) for name in choice]
                if pair[0] is not None and pair[1] is not None:
                    found.setdefault(f"{side}_{joint}", (pair[0] + pair[1]) / 2)
        for joint, singles in _OTHERS.items():
            for single in singles:
                marker = at.get(single.format(letter, s=letter.lower()))
                if marker is not None:
                    found.setdefault(f"{side}_{joint}", marker)
    found |= _hips(at)
    found |= _face(at)
    found = {name: place for name, place in found.items() if name not in at}
    if not found:
        return tuple(names), positions, frozenset()
    # computed joints come first: the name of a marker may sound like that of a joint
    places = np.concatenate([np.stack(list(found.values()), axis=1), positions], axis=1)
    return (*found, *names), places.astype(np.float32), frozenset(found)


def _hips(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return hip centres from the four markers of the pelvis."""
    corners = [at.get(name) for name in ("LASI", "RASI", "LPSI", "RPSI")]
    if any(corner is None for corner in corners) or any(f"{letter}HJC" in at for _, letter in _SIDES):
        return {}
    left, right, left_back, right_back = (np.asarray(corner) for corner in corners)
    middle, width = (left + right) / 2, np.linalg.norm(left - right, axis=1, keepdims=True)
    across = (left - right) / width
    ahead = middle - (left_back + right_back) / 2
    ahead = _unit(ahead - (ahead * across).sum(axis=1, keepdims=True) * across)
    up = np.cross(ahead, across)
    aside, back, down = _PELVIS
    return {
        f"{side}_hip": middle + width * (sign * aside * across - back * ahead - down * up)
        for side, sign in (("left", 1), ("right", -1))
    }


def _face(at: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return a face from the four markers around the head."""
    corners = [at.get(name) for name in ("LFHD", "RFHD", "LBHD", "RBHD")]
    if any(corner is None for corner in corners):
        return {}
    left, right, left_back, right_back = (np.asarray(corner) for corner in corners)
    back = (left_back + right_back) / 2
    ahead = (left + right) / 2 - back
    length = np.linalg.norm(ahead, axis=1, keepdims=True)
    forward = ahead / length
    across = left - right
    across = _unit(across - (across * forward).sum(axis=1, keepdims=True) * forward)
    up = np.cross(forward, across)
    return {name: back + length * (f * forward + a * across + u * up) for name, (f, a, u) in _HEAD.items()}


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
