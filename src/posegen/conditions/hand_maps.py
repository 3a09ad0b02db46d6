"""Makes the hand-normal maps of a clip at the size of the result, with the chosen estimator.

Drawn hands are drawn at that size. Maps of an estimator that needs pixels are made at the video's size and then fitted,
and the video is read once more for them.
"""

from collections.abc import Iterator
from itertools import islice

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posegen.conditions.drawings import drawn
from posegen.conditions.estimators.interfaces import HandNormalEstimator
from posegen.conditions.keypoints import PersonPose, PoseSequence
from posegen.media.fitting import Fit
from posegen.types import Frame


def make_hand_maps(
    pose: PoseSequence, fitted: Iterator[PersonPose], fit: Fit, normals: HandNormalEstimator, frames: Iterator[Frame]
) -> Iterator[Frame]:
    """Yield a map for each frame, at the fit's target size.

    pose: the person in the driving video; fitted: the same in the result's pixels; frames: of the driving video, read
    only if `normals` needs them.
    """
    if not normals.needs_frames:
        for person in fitted:
            yield normals.estimate(person, fit.target)
        return
    size, done = fit.source, 0
    while batch := list(islice(frames, normals.batch_size)):
        people = [pose[done + index] for index in range(len(batch))]
        done += len(batch)
        for hand_map in normals.estimate_batch(people, size, batch):
            yield fit_hand_map(hand_map, fit)


def fit_hand_map(hand_map: UInt8[np.ndarray, "h w 3"], fit: Fit) -> Frame:
    """Fit a map of the driving video's size to the result; edges stay sharp and do not mix with the black.

    Each pixel is the mean over its part that the hand covers; pixels covered half or less are black.
    """
    if not hand_map.any():
        return np.zeros((*fit.target, 3), np.uint8)
    hand = drawn(hand_map)
    fitted = fit.apply(hand_map).astype(np.float32)
    share = _share(hand, fit)[..., None]
    return np.where(share > 0.5, np.rint(fitted / np.maximum(share, 0.5)).clip(0, 255), 0).astype(np.uint8)


def _share(mask: np.ndarray, fit: Fit) -> Float[np.ndarray, "height width"]:
    """Return the fraction of each pixel that the mask covers, after fitting."""
    coverage = fit.apply(cv2.merge([mask.astype(np.uint8) * 255] * 3))
    return coverage[..., 0].astype(np.float32) / 255
