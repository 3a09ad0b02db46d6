"""Scores of frames against ground truth: L1, PSNR, SSIM, and movement in time.

Frames are uint8 (F, H, W, 3), masks bool (F, H, W). All sums are exact: differences are taken in integers, squares in
float64. `appearance.py` identifies people.
"""

from typing import Literal

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.metrics import structural_similarity

from posegen.types import Frames, Masks

Distances = Float[np.ndarray, "frames truth_frames"]


def psnr(generated: Frames, ground_truth: Frames, masks: Masks | None = None) -> float:
    """PSNR in dB of a whole clip: one mean squared error over all its pixels, or over those of `masks`.

    Pooling comes before the logarithm, so one perfect frame does not make the clip's score infinite; identical clips
    give infinity. Raises `ValueError` where the masks are empty.
    """
    errors = _squared_errors(generated, ground_truth)
    if masks is None:
        return _decibels(float(errors.mean()))
    if not masks.any():
        raise ValueError("the region of a PSNR is empty")
    return _decibels(float(errors[masks].mean()))


def psnr_per_frame(generated: Frames, ground_truth: Frames) -> Float[np.ndarray, " frames"]:
    """PSNR in dB of each frame."""
    return np.array([_decibels(value) for value in _squared_errors(generated, ground_truth).mean(axis=(1, 2)).tolist()])


def l1_per_frame(generated: Frames, ground_truth: Frames) -> Float[np.ndarray, " frames"]:
    """Mean absolute difference of each frame, over pixels and channels, in units of 0..255."""
    _check_shapes(generated, ground_truth)
    return np.abs(generated.astype(np.int16) - ground_truth.astype(np.int16)).mean(axis=(1, 2, 3), dtype=np.float64)


def ssim_per_frame(
    generated: Frames, ground_truth: Frames, of: Literal["grey", "colour"] = "grey"
) -> Float[np.ndarray, " frames"]:
    """SSIM of each frame, 7 x 7 uniform windows: on 8-bit grey (BT.601), as in published tables, or of each colour."""
    _check_shapes(generated, ground_truth)
    if of == "colour":
        pairs = zip(generated, ground_truth, strict=True)
        return np.array([structural_similarity(left, right, channel_axis=-1) for left, right in pairs])
    return np.array(
        [
            structural_similarity(cv2.cvtColor(left, cv2.COLOR_RGB2GRAY), cv2.cvtColor(right, cv2.COLOR_RGB2GRAY))
            for left, right in zip(generated, ground_truth, strict=True)
        ]
    )


def frame_distances(
    generated: Frames,
    ground_truth: UInt8[np.ndarray, "truth_frames height width 3"],
    region: Bool[np.ndarray, "height width"],
) -> Distances:
    """Mean squared error in `region` between each generated frame and each frame of the ground truth.

    The region is one for all pairs: where the person is in any frame of the ground truth (`masks.any(axis=0)`). A
    region that changed from pair to pair would favour pairs with much background in it; in a fixed one, a place where
    neither frame shows the person does not influence which frame is nearer. Raises `ValueError` for an empty region.
    """
    if not region.any():
        raise ValueError("the region of a comparison is empty")
    left = generated[:, region].reshape(len(generated), -1).astype(np.float64)
    right = ground_truth[:, region].reshape(len(ground_truth), -1).astype(np.float64)
    # the squares are integers below 2^53: expanding them loses nothing
    squares = (left**2).sum(axis=1)[:, None] + (right**2).sum(axis=1) - 2 * left @ right.T
    return squares / left.shape[1]


def motion_score(distances: Distances, tolerance: int = 1, shift: int = 0) -> float:
    """Share (0..1) of generated frames whose nearest true frame lies within `tolerance` frames of the same moment.

    Frames of the ground truth that are exactly equally near share the vote, so a clip in which nothing moves scores no
    more than chance. `shift` looks for the nearest frame that much later instead.
    """
    generated, ground_truth = distances.shape
    nearest = distances == distances.min(axis=1, keepdims=True)
    moments = np.arange(generated)[:, None] + shift
    right = nearest & (np.abs(np.arange(ground_truth) - moments) <= tolerance)
    return float((right.sum(axis=1) / nearest.sum(axis=1)).mean())


def motion_chance(distances: Distances, tolerance: int = 1) -> float:
    """The exact mean of `motion_score` over all orders of the generated frames: its value by chance.

    Every generated frame is equally likely at every moment, so its votes are scored at all of them.
    """
    generated, ground_truth = distances.shape
    nearest = distances == distances.min(axis=1, keepdims=True)
    votes = (nearest / nearest.sum(axis=1, keepdims=True)).mean(axis=0)
    near = np.abs(np.arange(ground_truth) - np.arange(generated)[:, None]) <= tolerance
    return float((near @ votes).mean())


def _squared_errors(generated: np.ndarray, ground_truth: np.ndarray) -> Float[np.ndarray, "frames height width"]:
    """Mean over the channels of squared differences."""
    _check_shapes(generated, ground_truth)
    return np.square(generated.astype(np.int32) - ground_truth.astype(np.int32)).mean(axis=-1, dtype=np.float64)


def _check_shapes(generated: np.ndarray, ground_truth: np.ndarray) -> None:
    if generated.shape != ground_truth.shape:
        raise ValueError(f"frames of one shape were expected, not {generated.shape} and {ground_truth.shape}")


def _decibels(squared_error: float) -> float:
    return float("inf") if squared_error == 0 else float(10 * np.log10(255.0**2 / squared_error))
