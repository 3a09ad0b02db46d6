"""Measures how far bodies are folded in ways that real ones seldom are."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from posegen.conditions.detections import Detections
from posegen.conditions.keypoints import INDEX, SEEN

HEAD = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
"""Points of the head."""
_JOINTS = tuple(
    [INDEX[f"{side}_{name}"] for side in ("left", "right")] for name in ("shoulder", "hip", "knee", "ankle")
)


def fold(detections: Detections, people: Sequence[int]) -> Float[np.ndarray, " people"]:
    """Return how far bodies are folded in ways that real ones seldom are: 0 for a straight one, about 1 for a tangle.

    Compares the directions of neck, torso and legs, and the length of the torso with that of the legs.
    """
    points, seen = detections.points[people].astype(np.float64), detections.scores[people] >= SEEN

    def middle(joints: Sequence[int]) -> Float[np.ndarray, "people 2"]:
        known = seen[:, joints]
        total = np.where(known[..., None], points[:, joints], 0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            count = known.sum(axis=1, keepdims=True)
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    head, (shoulders, hips, knees, ankles) = middle(HEAD), (middle(joints) for joints in _JOINTS)
    neck, torso = shoulders - head, hips - shoulders
    legs = np.where(np.isfinite(ankles), ankles - hips, 2 * (knees - hips))
    turns = [_turn(neck, torso), _turn(torso, legs)]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.linalg.norm(torso, axis=1) / np.maximum(0.6 * np.linalg.norm(legs, axis=1), 1e-6)
        length = 0.5 * np.clip(np.abs(np.log(np.maximum(ratio, 1e-3))) - np.log(2), 0, 2)
    return np.asarray(sum(np.nan_to_num(part) for part in (*turns, length)))


def _turn(first: Float[np.ndarray, "people 2"], second: Float[np.ndarray, "people 2"]) -> Float[np.ndarray, " people"]:
    """Return 0 for equal directions to 1 for opposite ones; NaN if one is unknown."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (1 - (first * second).sum(axis=1) / np.maximum(lengths, 1e-6)) / 2
