"""Retargets conditions to a reference person: skeletons are redrawn, hand normals are moved with their hands.

They are kept in a folder of their own beside the driving video's conditions, and reused if nothing changed and every
file agrees with its checksum. Points are moved in `retargeting.py`.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.drawings import drawn
from posegen.conditions.extraction import draw_fitted
from posegen.conditions.folder import FILES, HAND_NORMALS, KEYPOINTS, SKELETON, Conditions, open_conditions
from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import HANDS, INDEX, SEEN, PoseSequence
from posegen.conditions.retargeting import Retargeted
from posegen.conditions.skeleton import Colors
from posegen.errors import logger
from posegen.media.checksums import DamagedFileError, check_digests, checked_json, digests_of, read_checked_json
from posegen.media.files import read_kept, write_whole
from posegen.media.fitting import Fit, plan_fit
from posegen.media.video import VideoWriter, iterate_frames
from posegen.types import Image

MADE_FROM = "retargeted.json"
VERSION = "1"
"""Version, increased when the same poses would give other frames."""


def fit_sequence(pose: PoseSequence, fit: Fit) -> PoseSequence:
    """Map a clip's person to the pixels of the fitted frames."""
    keypoints, hands = np.empty_like(pose.keypoints), np.empty_like(pose.hands)
    for part in pose.pieces():
        keypoints[part] = fit.apply_points(pose.keypoints[part])
        hands[part] = pose.hands[part] * (fit.scaled[0] / fit.source[0])
        hands[part, ..., :2] = fit.apply_points(pose.hands[part, ..., :2])
    return PoseSequence(keypoints, pose.scores, hands, fit.target, pose.fps)


def save_retargeted(
    conditions: Conditions,
    fitted: PoseSequence,
    moved: Retargeted,
    folder: Path,
    colors: Colors,
    draw_scale: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conditions:
    """Write the retargeted `conditions` to `folder`, or reuse those that were made there from the same inputs.

    fitted: the clip's person before retargeting, in pixels of the result; colors, draw_scale: as for
    `extract_conditions`. Hands that were drawn around joints are redrawn; maps estimated from pixels are moved. The
    pose of the returned conditions is in pixels of the result.
    """
    kept = Conditions(folder, moved.pose, fitted.size, (moved.report,), conditions.start, conditions.end)
    made_from = {"conditions": conditions.digest(), "moved": _digest(moved), "drawn": [colors, draw_scale, VERSION]}
    if _is_kept(folder, made_from):
        return kept
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MADE_FROM).unlink(missing_ok=True)
    total, size, rate = len(moved.pose), fitted.size, moved.pose.fps
    fit = plan_fit(size, size, "crop")
    with (
        VideoWriter(folder / SKELETON, rate, size=size, codec="h264rgb") as skeletons,
        VideoWriter(folder / HAND_NORMALS, rate, size=size, codec="h264rgb") as hand_maps,
    ):
        given = iterate_frames(conditions.folder / HAND_NORMALS)
        for index, hand_map in enumerate(carry_hands(given, fitted, moved, hands_are_drawn(conditions))):
            skeletons.write(draw_fitted(moved.pose[index], fit, colors, draw_scale))
            hand_maps.write(hand_map)
            progress(index + 1, total)
    moved.pose.save(folder / KEYPOINTS)
    write_whole(folder / MADE_FROM, checked_json({**made_from, "files": digests_of(folder, FILES)}))
    return kept


def _digest(moved: Retargeted) -> str:
    pose = moved.pose
    content = hashlib.sha256()
    for values in (pose.keypoints, pose.scores, pose.hands, moved.hands):
        content.update(np.ascontiguousarray(values).tobytes())
    return content.hexdigest()


def _is_kept(folder: Path, made_from: dict[str, Any]) -> bool:
    """Return True if the folder holds undamaged files made from exactly these inputs; logs a line if damaged."""
    try:
        found = read_checked_json(read_kept(folder / MADE_FROM), folder / MADE_FROM, required=True)
        digests = found.pop("files")
        if found != made_from:
            return False
        check_digests(folder, digests)
    except OSError:
        return False
    except DamagedFileError as error:
        logger.warning("the retargeted conditions are made again: %s", error)
        return False
    return True


def hands_are_drawn(conditions: Conditions) -> bool:
    """Return True if the hand normals were drawn around joints, not estimated from pixels."""
    _, inputs = open_conditions(conditions.folder)
    return bool(inputs.hands and inputs.estimators[1:2] in ((CapsuleHandNormals.name,), ("mediapipe",)))


def carry_hands(hand_maps: Iterable[Image], fitted: PoseSequence, moved: Retargeted, drawn: bool) -> Iterator[Image]:
    """Yield the hand-normal map of each frame: redrawn if `drawn`, else moved."""
    capsules = CapsuleHandNormals()
    for index, hand_map in enumerate(hand_maps):
        if drawn:
            yield capsules.estimate(moved.pose[index], fitted.size)
        else:
            yield move_hands(hand_map, _middles(fitted, index), moved.hands[index])


def _middles(pose: PoseSequence, frame: int) -> Float[np.ndarray, "2 2"]:
    """Return the approximate positions of the left and the right hand; NaN if unknown."""
    middles = np.full((2, 2), np.nan)
    for side, (hand, wrist) in enumerate(zip(HANDS, ("left_wrist", "right_wrist"), strict=True)):
        seen = pose.scores[frame, hand] >= SEEN
        if seen.any():
            middles[side] = pose.keypoints[frame, hand][seen].mean(axis=0)
        elif pose.scores[frame, INDEX[wrist]] >= SEEN:
            middles[side] = pose.keypoints[frame, INDEX[wrist]]
    return middles


def move_hands(hand_map: Image, middles: Float[np.ndarray, "2 2"], transforms: Float[np.ndarray, "2 3"]) -> Image:
    """Scale and shift each hand of a hand-normal map; transforms: (scale, x, y) of the left and right hand.

    Pixels belong to the hand whose middle is nearer. Normals keep their directions, since nothing is rotated; edges
    stay sharp and do not mix with the black.
    """
    result = np.zeros_like(hand_map)
    shown = drawn(hand_map)
    if not shown.any():
        return result
    rows, columns = np.nonzero(shown)
    away = np.linalg.norm(np.stack([columns, rows], 1)[:, None] - middles, axis=-1)
    away = np.where(np.isfinite(away), away, np.inf)
    belongs = np.zeros(shown.shape, np.int8)
    belongs[rows, columns] = away.argmin(axis=1) + 1
    for side in (0, 1):
        mask = belongs == side + 1
        if mask.any():
            picture, covered = _moved(hand_map, mask, transforms[side])
            result[covered] = picture[covered]
    return result


def _moved(
    hand_map: Image, mask: Bool[np.ndarray, "height width"], transform: Float[np.ndarray, " 3"]
) -> tuple[Image, Bool[np.ndarray, "height width"]]:
    scale, x, y = transform
    size = (hand_map.shape[1], hand_map.shape[0])
    share = mask.astype(np.float32)
    content = np.dstack([hand_map * share[..., None], share]).astype(np.float32)
    matrix = np.array([[scale, 0, x], [0, scale, y]])
    moved = cv2.warpAffine(content, matrix, size, flags=cv2.INTER_LINEAR)
    covered = moved[..., 3] > 0.5
    picture = np.rint(moved[..., :3] / np.maximum(moved[..., 3:], 0.5)).clip(0, 255).astype(np.uint8)
    return picture, covered
