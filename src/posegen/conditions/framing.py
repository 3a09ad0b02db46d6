"""Classifies the framing of a person, from close-up to distant, and views from behind, from keypoints.

The framing depends on whether the feet are in the image, and on how much of a standing body would fit between the face
and the lower edge, by the size of the parts that are seen. Joints that are missing, hidden or foreshortened in some
frames therefore matter little. Pixels are not used.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import median_filter  # type: ignore[import-untyped]

from posegen.conditions.keypoints import INDEX, SEEN, PoseSequence
from posegen.config import Framing
from posegen.errors import PosegenError

CLOSE_UP = 0.3
"""Maximum distance from nose to lower edge, in standing heights, of a close-up: down to the chest."""
FULL_BODY = 0.85
"""Distance from nose to lower edge, in standing heights, from which the feet count as visible, even if hidden."""
DISTANT = 0.4
"""Height of the standing person, as a fraction of the image's, below which the framing is distant."""

_SIDES = ("left", "right")
_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip", "left_eye", "right_eye")
_TURNED, _EYES = 0.25, 0.02
"""Minimum reversed distance of shoulders and of eyes, in torso lengths, of a person seen from behind."""
_RARELY = 0.03
_PROFILE = 2.2
"""Distance of the nose from the middle of the ears, in halves of the ears' distance, of a head in profile."""
_MOMENT = 0.1
"""Maximum duration in seconds of a view from behind, or from the front, between two longer ones that counts as an
error."""
FACE_NAMES = ("nose", "left_eye", "right_eye")
"""Points that cannot be seen from behind."""
_LENGTHS = (
    # the least foreshortened parts first; then arms, which sometimes point at the camera; then the others
    {"left_shoulder right_shoulder": 0.21}
    | {
        f"{side}_{upper} {side}_{lower}": length
        for side in _SIDES
        for upper, lower, length in (("shoulder", "hip", 0.29), ("hip", "knee", 0.245), ("knee", "ankle", 0.245))
    },
    {
        f"{side}_{upper} {side}_{lower}": length
        for side in _SIDES
        for upper, lower, length in (("shoulder", "elbow", 0.17), ("elbow", "wrist", 0.15))
    },
    {"nose left_hip": 0.40, "nose right_hip": 0.40, "left_eye right_eye": 0.037, "left_ear right_ear": 0.085},
)
_NOSE_TO_SHOULDERS, _NOSE_TO_HIPS = 0.11, 0.40
# all lengths are fractions of a standing adult's height, between joints as COCO marks them


def choose_framing(
    keypoints: Float[np.ndarray, "frames 133 2"], scores: Float[np.ndarray, "frames 133"], size: tuple[int, int]
) -> Framing:
    """Classify the framing of a clip; an image is a clip of one frame.

    keypoints: pixels of the frames of `size` = (height, width), x right and y down; scores: 0 to 1. A person down to
    the chest is a close-up, one cut anywhere between chest and feet a half-body shot, one with feet a full-body shot,
    or a distant one if a standing person would fill less than `DISTANT` of the height. Raises `PosegenError` if no
    frame shows enough of a person.
    """
    height, width = size
    x, y = keypoints[..., 0], keypoints[..., 1]
    seen = (scores >= SEEN) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    standing = standing_height(keypoints, seen)
    person = np.isfinite(standing)
    if not person.any():
        raise PosegenError("no frame shows enough of a person to measure the framing: set it with --framing")
    keypoints, seen = keypoints[person], seen[person]
    standing = np.full(len(keypoints), np.median(standing[person]))
    below = (height - _nose_height(keypoints, seen, standing)) / standing
    feet = (seen[:, [INDEX[f"{side}_ankle"] for side in _SIDES]]).any(axis=1)
    if feet.mean() >= 0.5 or float(np.nanmedian(below)) >= FULL_BODY:
        return "distant" if float(standing[0]) < DISTANT * height else "full-body"
    return "close-up" if float(np.nanmedian(below)) < CLOSE_UP else "half-body"


def from_behind(
    keypoints: Float[np.ndarray, "*frames 133 2"], scores: Float[np.ndarray, "*frames 133"]
) -> Bool[np.ndarray, "*frames"]:
    """Return True for frames that show the person's back: shoulders, and eyes if reported, are clearly reversed.

    People seen sideways, people upside down and turned heads are not mistaken for it.
    """
    places = {name: keypoints[..., INDEX[name], :] for name in _TORSO}
    seen = {name: scores[..., INDEX[name]] >= SEEN for name in _TORSO}
    across = places["left_shoulder"] - places["right_shoulder"]
    width = np.linalg.norm(across, axis=-1)
    hips = seen["left_hip"] & seen["right_hip"]
    spine = (places["left_hip"] + places["right_hip"] - places["left_shoulder"] - places["right_shoulder"]) / 2
    down = np.where(hips[..., None], spine, np.stack([np.zeros_like(width), width], axis=-1))
    length = np.maximum(np.linalg.norm(down, axis=-1), 1e-6)
    shoulders = _cross(across, down) / length**2  # shoulders' width in lengths of the torso, negative from behind
    eyes = _cross(places["left_eye"] - places["right_eye"], down) / length**2
    facing = seen["left_eye"] & seen["right_eye"] & (eyes > -_EYES)
    return np.asarray(seen["left_shoulder"] & seen["right_shoulder"] & (shoulders < -_TURNED) & ~facing)


def face_hidden(
    keypoints: Float[np.ndarray, "*frames 133 2"], scores: Float[np.ndarray, "*frames 133"]
) -> Bool[np.ndarray, "*frames"]:
    """Return True for frames that show the person's back, and no profile of a head that looks over a shoulder.

    In profile, the nose is farther from the ears than they are from each other.
    """
    nose, left, right = (keypoints[..., INDEX[name], :] for name in ("nose", "left_ear", "right_ear"))
    span = right - left
    length = np.maximum(np.linalg.norm(span, axis=-1), 1e-6)
    along = np.abs(((nose - (left + right) / 2) * span).sum(axis=-1)) / length
    seen = (scores[..., [INDEX["nose"], INDEX["left_ear"], INDEX["right_ear"]]] >= SEEN).all(axis=-1)
    profile = seen & (along > _PROFILE * length / 2)
    return np.asarray(from_behind(keypoints, scores) & ~profile)


def without_hidden_faces(pose: PoseSequence, cuts: Sequence[int] = ()) -> PoseSequence:
    """Remove nose and eyes in the frames of a clip in which they are hidden by the head.

    `cuts`: first frames of new scenes. Moments (`_MOMENT`) are decided like the frames around them. For estimators that
    report faces they cannot see.
    """
    scores = pose.scores.copy()
    for start, stop in pairwise((0, *cuts, len(pose))):
        behind = face_hidden(pose.keypoints[start:stop], scores[start:stop])
        size = 2 * round(_MOMENT * float(pose.fps)) + 1
        steady = median_filter(behind.astype(np.uint8), min(size, len(behind)), mode="nearest") > 0
        rows = start + np.flatnonzero(steady)
        scores[rows[:, None], [INDEX[name] for name in FACE_NAMES]] = 0
    return PoseSequence(pose.keypoints, scores, pose.hands, pose.size, pose.fps)


def describe_back(keypoints: Float[np.ndarray, "frames 133 2"], scores: Float[np.ndarray, "frames 133"]) -> str | None:
    """Describe in one line how often the back is seen; None if it hardly ever is."""
    share = float(from_behind(keypoints, scores).mean())
    return (
        f"the person is seen from behind in {100 * share:.0f} % of the frames: no face is drawn there"
        if (share > _RARELY)
        else None
    )


def _cross(first: Float[np.ndarray, "*frames 2"], second: Float[np.ndarray, "*frames 2"]) -> np.ndarray:
    return np.asarray(first[..., 0] * second[..., 1] - first[..., 1] * second[..., 0])


def standing_height(
    keypoints: Float[np.ndarray, "frames 133 2"], seen: Bool[np.ndarray, "frames 133"]
) -> Float[np.ndarray, " frames"]:
    """Estimate the person's standing height in pixels from the least foreshortened part; NaN if unknown."""
    height = np.full(len(keypoints), np.nan)
    for lengths in _LENGTHS:
        estimates = [_distance(keypoints, seen, *joints.split()) / share for joints, share in lengths.items()]
        height = np.where(np.isfinite(height), height, np.fmax.reduce(estimates))
    return np.where(height >= 1, height, np.nan)  # points that all coincide are no person


def _distance(
    keypoints: Float[np.ndarray, "frames 133 2"], seen: Bool[np.ndarray, "frames 133"], first: str, second: str
) -> Float[np.ndarray, " frames"]:
    """Return the distance between two joints in pixels, NaN if one is not seen."""
    one, other = INDEX[first], INDEX[second]
    length = np.linalg.norm(keypoints[:, one] - keypoints[:, other], axis=-1)
    return np.where(seen[:, one] & seen[:, other], length, np.nan)


def _nose_height(
    keypoints: Float[np.ndarray, "frames 133 2"],
    seen: Bool[np.ndarray, "frames 133"],
    standing: Float[np.ndarray, " frames"],
) -> Float[np.ndarray, " frames"]:
    """Return the row of the nose in pixels, estimated from shoulders or hips if not seen; NaN if none of them is."""
    row = np.full(len(keypoints), np.nan)
    for names, below in (
        (["nose"], 0.0),
        (["left_shoulder", "right_shoulder"], _NOSE_TO_SHOULDERS),
        (["left_hip", "right_hip"], _NOSE_TO_HIPS),
    ):
        joints = [INDEX[name] for name in names]
        count = seen[:, joints].sum(axis=1)
        mean = np.where(seen[:, joints], keypoints[:, joints, 1], 0).sum(axis=1) / np.maximum(count, 1)
        row = np.where(np.isnan(row) & (count > 0), mean - below * standing, row)
    return row
