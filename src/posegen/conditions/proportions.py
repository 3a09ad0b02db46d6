"""Estimates the ratios of body part lengths between a reference image and a driving clip.

Images show lengths foreshortened, and an image shows one pose only. Each group of similar bones (both forearms, say)
therefore gets the ratio that best explains the reference, given the lengths of those bones in the clip, with the most
weight on frames in which they point the same way and the whole pose is the same; the prior is that bodies have the same
proportions. Points are moved in `retargeting.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter  # type: ignore[import-untyped]

from posegen.conditions.framing import standing_height
from posegen.conditions.keypoints import INDEX, SEEN, PersonPose, PoseSequence

Bone = tuple[tuple[str, ...], tuple[str, ...]]
"""Bone from the middle of some joints to the middle of others."""


def _both(first: str, second: str) -> tuple[Bone, Bone]:
    return ((f"left_{first}",), (f"left_{second}",)), ((f"right_{first}",), (f"right_{second}",))


_SHOULDERS, _HIPS = ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")
GROUPS: Mapping[str, tuple[Bone, ...]] = {
    "shoulders": (((_SHOULDERS[0],), (_SHOULDERS[1],)),),
    "torso": ((_SHOULDERS, _HIPS),),
    "hips": (((_HIPS[0],), (_HIPS[1],)),),
    "neck": ((_SHOULDERS, ("nose",)),),
    "head": tuple(
        bone
        for side in ("left", "right")
        for bone in ((("nose",), (f"{side}_eye",)), ((f"{side}_eye",), (f"{side}_ear",)))
    ),
    "upper arms": _both("shoulder", "elbow"),
    "forearms": _both("elbow", "wrist"),
    "thighs": _both("hip", "knee"),
    "shanks": _both("knee", "ankle"),
    "feet": tuple(bone for point in ("big_toe", "heel", "small_toe") for bone in _both("ankle", point)),
}
"""Groups of bones that share a ratio."""
TYPICAL = {
    "shoulders": 0.21,
    "torso": 0.29,
    "hips": 0.12,
    "neck": 0.11,
    "upper arms": 0.17,
    "forearms": 0.15,
    "thighs": 0.245,
    "shanks": 0.245,
}
"""Lengths in standing heights of an adult, between joints as COCO marks them."""
LIMBS = {
    "trunk": ("torso",),
    "breadth": ("shoulders", "hips"),
    "head": ("neck", "head"),
    "arms": ("upper arms", "forearms"),
    "legs": ("thighs", "shanks", "feet"),
}
"""Groups of one limb, whose ratios resemble each other more than those of the rest of the body."""

_MAX_FRAMES = 300
_GRID = np.arange(-2.4, 2.4001, 0.01)
"""Logarithms of the ratios considered: from 1/11 to 11."""
_POSED = ("torso", "shoulders", "neck", "upper arms", "forearms", "thighs", "shanks")
"""Groups by which poses are compared."""
_HEAD = ("neck", "head")
"""Groups by which poses of the head are compared: its direction matters more than the arms."""
_SAME_DIRECTION, _SAME_POSE = np.radians(35), np.radians(3)
_ANY_FRAME = 0.08
"""Weight of a frame unlike the reference; full similarity adds 1."""
_SPREAD, _SPREAD_IN_LIMB, _HEAVINESS = 0.08, 0.05, 2.0
"""Student's t prior of log ratios: scales around the body's and the limb's ratio, degrees of freedom."""
_NOISE, _NOISE_OF_HEIGHT = 0.045, 0.003
"""Error of a length: relative, and in standing heights."""
_UNSEEN_FORESHORTENING, _ITS_LENGTH = 0.15, 0.15
"""Probability that the reference foreshortens a bone more than the clip ever does, and scale (log; gamma law)."""
_NEVER_FULL = 0.03
"""Weight of a typical length among those in the clip, in case it never shows a bone at full length."""


@dataclass(frozen=True)
class Proportions:
    """Ratios of the reference's lengths in pixels to the driving person's at `scale` 1.

    ratios: of each group; known: groups that both the reference and the clip show; whole: of the body as a whole;
    scale: the driving person's size in each frame relative to its median, by distance from the camera; height: their
    standing height in pixels at `scale` 1.
    """

    ratios: Mapping[str, float]
    known: frozenset[str]
    whole: float
    scale: Float[np.ndarray, " frames"]
    height: float


def compare(pose: PoseSequence, reference: PersonPose) -> Proportions | None:
    """Compare a clip with a reference, both in pixels of the result; None if they have no bone in common."""
    height, scale = _size_over_time(pose)
    reference_points = reference.keypoints[None].astype(np.float64)
    reference_seen = (reference.scores >= SEEN)[None]
    chosen = np.unique(np.linspace(0, len(pose) - 1, min(len(pose), _MAX_FRAMES)).round().astype(int))
    points, seen = pose.keypoints[chosen].astype(np.float64), pose.scores[chosen] >= SEEN
    bones = {
        bone: (
            *bone_vectors(points, seen, bone),
            *bone_vectors(reference_points, reference_seen, bone),
        )
        for group in GROUPS.values()
        for bone in group
    }
    alike = {posed: _likeness([bones[bone] for name in posed for bone in GROUPS[name]]) for posed in (_POSED, _HEAD)}
    fits = {}
    for name, group in GROUPS.items():
        found = [
            _fit(name, *bones[bone], alike[_HEAD if name in _HEAD else _POSED], scale[chosen], height) for bone in group
        ]
        usable = [one for one in found if one is not None]
        if usable:
            fits[name] = np.sum(usable, axis=0)
    if not fits:
        return None
    ratios, whole = _most_likely(fits)
    return Proportions(ratios, frozenset(fits), whole, scale, height)


def _likeness(
    bones: list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]],
) -> Float[np.ndarray, " frames"]:
    """Return the similarity of each frame's pose to the reference, 0 to 1 (the most similar frames), by directions.

    bones: the vectors of each bone in the clip, where they are seen, and the same in the reference.
    """
    total, squares = np.full(len(bones[0][0]), 1e-9), np.zeros(len(bones[0][0]))
    for vectors, seen, wanted, known in bones:
        if known[0]:
            lengths = np.where(seen, np.linalg.norm(vectors, axis=1), 0)
            squares += lengths * _turned(vectors, wanted) ** 2
            total += lengths
    squares = np.where(total > 1e-6, squares / total, np.pi**2)
    minimum = float(squares.min())
    return np.asarray(np.exp(-0.5 * (squares - minimum) / max(minimum, _SAME_POSE**2)))


def _turned(vectors: Float[np.ndarray, "frames 2"], wanted: Float[np.ndarray, "1 2"]) -> Float[np.ndarray, " frames"]:
    """Return the image-plane angles between the vectors and the wanted one, 0 to pi."""
    angles = np.arctan2(vectors[:, 1], vectors[:, 0]) - np.arctan2(wanted[0, 1], wanted[0, 0])
    return np.asarray(np.abs((angles + np.pi) % (2 * np.pi) - np.pi))


def _most_likely(fits: Mapping[str, Float[np.ndarray, " ratios"]]) -> tuple[dict[str, float], float]:
    """Return the posterior medians of each group's ratio and of the body's, given log likelihoods of the seen groups.

    Groups vary around their limb and limbs around the body: a tree, on which belief propagation is exact.
    """
    own, limb = (np.exp(_prior(spread)) for spread in (_SPREAD_IN_LIMB, _SPREAD))  # both symmetric
    from_group = {name: _spread_out(own, fit) for name, fit in fits.items()}
    none = np.zeros(len(_GRID))
    at_limb = {name: sum((from_group.get(group, none) for group in LIMBS[name]), none) for name in LIMBS}
    from_limb = {name: _spread_out(limb, found) if found.any() else none for name, found in at_limb.items()}
    at_body = sum(from_limb.values(), none)
    ratios = {}
    for name, groups in LIMBS.items():
        here = at_limb[name] + _spread_out(limb, at_body - from_limb[name])
        for group in groups:
            told = _spread_out(own, here - from_group.get(group, none))
            ratios[group] = _median(told + fits.get(group, none))
    return ratios, _median(at_body)


def _spread_out(
    prior: Float[np.ndarray, "ratios ratios"], likelihood: Float[np.ndarray, " ratios"]
) -> Float[np.ndarray, " ratios"]:
    """Convert the log likelihood of one ratio into that of a ratio that varies around it."""
    top = float(likelihood.max())
    return np.asarray(np.log(prior @ np.exp(likelihood - top)) + top)


def _median(likelihood: Float[np.ndarray, " ratios"]) -> float:
    """Return the median ratio."""
    share = np.cumsum(np.exp(likelihood - likelihood.max()))
    return float(np.exp(np.interp(0.5 * share[-1], share, _GRID + 0.5 * (_GRID[1] - _GRID[0]))))


def _prior(spread: float) -> Float[np.ndarray, "ratios ratios"]:
    """Return the log density (Student's t, up to a constant) of each ratio in the grid around each other one."""
    away = (_GRID[:, None] - _GRID) / spread
    return np.asarray(-0.5 * (_HEAVINESS + 1) * np.log1p(away**2 / _HEAVINESS))


def bone_vectors(
    points: Float[np.ndarray, "frames 133 2"], seen: Bool[np.ndarray, "frames 133"], bone: Bone
) -> tuple[Float[np.ndarray, "frames 2"], Bool[np.ndarray, " frames"]]:
    """Return the vector from the bone's start to its end in each frame, and a mask of frames in which both are seen."""
    start, stop = ([INDEX[name] for name in names] for names in bone)
    vectors = points[:, stop].mean(axis=1) - points[:, start].mean(axis=1)
    return vectors, np.asarray(seen[:, [*start, *stop]].all(axis=1))


def _size_over_time(pose: PoseSequence) -> tuple[float, Float[np.ndarray, " frames"]]:
    """Return the median standing height in pixels, and the smoothed size in each frame relative to the median."""
    height = np.concatenate(
        [standing_height(pose.keypoints[part].astype(np.float64), pose.scores[part] >= SEEN) for part in pose.pieces()]
    )
    known = np.isfinite(height)
    if not known.any():
        return 1.0, np.ones(len(height))
    frames = np.arange(len(height))
    height = np.interp(frames, frames[known], height[known])
    window = min(len(height), 2 * round(float(pose.fps)) + 1)
    steady = np.asarray(median_filter(height, size=window, mode="nearest"))
    median = float(np.median(steady))
    return median, steady / median


def _fit(
    name: str,
    vectors: Float[np.ndarray, "frames 2"],
    seen: Bool[np.ndarray, " frames"],
    reference_vector: Float[np.ndarray, "1 2"],
    reference_seen: Bool[np.ndarray, " 1"],
    alike: Float[np.ndarray, " frames"],
    scale: Float[np.ndarray, " frames"],
    height: float,
) -> Float[np.ndarray, " ratios"] | None:
    """Return the log likelihood of each ratio in the grid for one bone; None if it is not seen in both."""
    lengths = np.linalg.norm(vectors, axis=1) / scale
    usable = seen & (lengths > 0)
    observed = float(np.linalg.norm(reference_vector))
    if not usable.any() or not reference_seen.all() or observed <= 0:
        return None
    vectors, lengths = vectors[usable], lengths[usable]
    turned = _turned(vectors, reference_vector)
    weights = np.exp(-0.5 * (turned / _SAME_DIRECTION) ** 2) * alike[usable] + _ANY_FRAME
    typical = TYPICAL.get(name, 0.0) * height
    if typical > np.percentile(lengths, 95):
        lengths = np.append(lengths, typical)
        weights = np.append(weights, _NEVER_FULL * weights.sum())
    weights /= weights.sum()
    noise = np.hypot(_NOISE, _NOISE_OF_HEIGHT * height / np.maximum(lengths, 1e-3))
    short = np.log(lengths) + _GRID[:, None] - np.log(observed)  # by which the reference looks shorter
    kernel = np.exp(-0.5 * (short / noise) ** 2) / (noise * np.sqrt(2 * np.pi))
    beyond = np.maximum(short - 2 * noise, 0) / _ITS_LENGTH  # from where the kernel ends: it must not shift its peak
    tail = beyond * np.exp(-beyond) / _ITS_LENGTH
    density = (weights * ((1 - _UNSEEN_FORESHORTENING) * kernel + _UNSEEN_FORESHORTENING * tail)).sum(axis=1)
    return np.asarray(np.log(density + 1e-4))
