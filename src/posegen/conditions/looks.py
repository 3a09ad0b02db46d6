"""Describes the looks of a person by colour histograms of torso and thighs, and compares them.

They tell people apart who wear different clothes. They are cheap, a few hundred pixels of a frame, so they are taken of
every detection; nothing is recognised, and faces are not used.
"""

from itertools import pairwise

import cv2
import numpy as np
from jaxtyping import Float, Float16

from posegen.conditions.keypoints import INDEX, SEEN, PersonPose
from posegen.types import Frame

_BINS = ((0, 256, 6), (88, 168, 8), (88, 168, 8))
"""Lowest value, highest value and number of bins of lightness and of both colour channels (CIELAB, 8 bits)."""
_WIDTH = sum(count for _, _, count in _BINS)
NUM_LOOKS = 2 * _WIDTH
"""Number of values that describe the looks of one person."""
_GRID = np.stack(np.meshgrid(np.linspace(0.15, 0.85, 8), np.linspace(0.1, 0.9, 10)), axis=-1).reshape(-1, 2)
_ALONG, _ACROSS = np.linspace(0.15, 0.9, 8), np.array([-0.12, 0.0, 0.12])
_SMOOTH = 0.25


def looks_of(frame: Frame, person: PersonPose) -> Float16[np.ndarray, "44"]:
    """Return the histograms of torso and thighs of one person in an RGB frame; zero where a part is not seen."""
    found = np.zeros(NUM_LOOKS, np.float16)
    for part, places in enumerate((_torso(person), _thighs(person))):
        if places is not None:
            found[part * _WIDTH : (part + 1) * _WIDTH] = _histogram(frame, places)
    return found


def similarity(
    first: Float16[np.ndarray, "*#people 44"], second: Float16[np.ndarray, "*#people 44"]
) -> Float[np.ndarray, "..."]:
    """Return how similar looks are: 1 for equal histograms, 0 for disjoint ones, NaN where no part is seen in both.

    It is the mean Bhattacharyya coefficient of the histograms; the arrays are broadcast.
    """
    roots = np.sqrt(first.astype(np.float32)) * np.sqrt(second.astype(np.float32))
    edges = np.cumsum([0, *(count for _, _, count in _BINS)])
    total, weight = np.zeros(roots.shape[:-1]), np.zeros(roots.shape[:-1])
    for part, share in ((0, 1.0), (1, 0.6)):
        own = slice(part * _WIDTH, (part + 1) * _WIDTH)
        seen = (first[..., own].sum(axis=-1) > 0) & (second[..., own].sum(axis=-1) > 0)
        coefficients = [
            roots[..., part * _WIDTH + low : part * _WIDTH + high].sum(axis=-1)
            for low, high in pairwise(edges.tolist())
        ]
        # lightness changes with the light, colour hardly does
        mean = 0.25 * coefficients[0] + 0.375 * (coefficients[1] + coefficients[2])
        total += np.where(seen, share * mean, 0)
        weight += np.where(seen, share, 0)
    return np.asarray(np.where(weight > 0, total / np.maximum(weight, 1e-6), np.nan))


def mean_looks(looks: Float16[np.ndarray, "people 44"]) -> Float16[np.ndarray, "44"]:
    """Return the mean of several looks of one person, over those in which a part is seen."""
    result = np.zeros(NUM_LOOKS, np.float16)
    for part in range(2):
        own = slice(part * _WIDTH, (part + 1) * _WIDTH)
        values = looks[:, own].astype(np.float32)
        seen = values.sum(axis=1) > 0
        if seen.any():
            result[own] = values[seen].mean(axis=0)
    return result


def _torso(person: PersonPose) -> np.ndarray | None:
    """Return places inside the torso; without hips, below the shoulders."""
    names = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
    points = person.keypoints[[INDEX[name] for name in names]].astype(np.float64)
    seen = person.scores[[INDEX[name] for name in names]] >= SEEN
    if not seen[:2].all():
        return None
    if not seen[2:].all():
        width = float(np.linalg.norm(points[0] - points[1]))
        points[2:] = points[:2] + np.array([0, width])
    x, y = _GRID[:, :1], _GRID[:, 1:]
    return (points[0] * (1 - x) + points[1] * x) * (1 - y) + (points[2] * (1 - x) + points[3] * x) * y


def _thighs(person: PersonPose) -> np.ndarray | None:
    places = []
    for side in ("left", "right"):
        hip, knee = INDEX[f"{side}_hip"], INDEX[f"{side}_knee"]
        if person.scores[hip] < SEEN or person.scores[knee] < SEEN:
            continue
        start, way = person.keypoints[hip].astype(np.float64), person.keypoints[knee] - person.keypoints[hip]
        across = np.array([-way[1], way[0]])
        places.append((start + _ALONG[:, None, None] * way + _ACROSS[None, :, None] * across).reshape(-1, 2))
    return np.concatenate(places) if places else None


def _histogram(frame: Frame, places: np.ndarray) -> np.ndarray:
    """Return the histograms of the pixels at these places, each with a sum of 1; zero if all are outside the frame."""
    x, y = np.rint(places).astype(int).T
    inside = (x >= 0) & (x < frame.shape[1]) & (y >= 0) & (y < frame.shape[0])
    if inside.sum() < 8:
        return np.zeros(_WIDTH)
    colours = cv2.cvtColor(frame[y[inside], x[inside]][:, None], cv2.COLOR_RGB2LAB)[:, 0].astype(int)
    columns = []
    for channel, (low, high, count) in enumerate(_BINS):
        numbers = ((colours[:, channel] - low) * count // (high - low)).clip(0, count - 1)
        column = np.bincount(numbers, minlength=count) / len(numbers)
        spread = np.pad(column, 1, mode="edge")
        columns.append((1 - 2 * _SMOOTH) * column + _SMOOTH * (spread[:-2] + spread[2:]))
    histogram = np.concatenate(columns)
    return histogram / np.maximum(histogram.sum() / len(_BINS), 1e-6)
