"""Writes a synthetic clip as files: a driving video and, beside it, exact conditions as `extract` writes them.

Keypoints and hand normals come from the renderer, not from an estimator, so results can be judged against the driving
video itself without an estimator's errors in between.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from posegen.conditions.folder import HAND_NORMALS, SKELETON, Conditions, Inputs, save_conditions
from posegen.conditions.keypoints import PoseSequence, empty_hands
from posegen.conditions.skeleton import draw_skeleton
from posegen.data.clips import LEFT_HAND_BIT, PERSON_BIT, RIGHT_HAND_BIT, Drawing, clip_scores
from posegen.errors import PosegenError
from posegen.evaluate.comparison import save_person
from posegen.media.fitting import Fit, plan_fit
from posegen.media.video import VideoWriter
from posegen.synthetic.clip import RenderedFrame
from posegen.types import Size


@dataclass(frozen=True)
class FilmFormat:
    """The form of a filmed clip.

    frame_size: (H, W) of the rendered frames and of the driving video; size: of the conditions. drawing: how skeletons
    are drawn. crf: quality of the driving video, as in `VideoWriter`.
    """

    fps: Fraction
    frame_size: Size
    size: Size
    drawing: Drawing
    crf: int = 16


def film(frames: Iterable[RenderedFrame], driving: Path, folder: Path, form: FilmFormat) -> Conditions:
    """Write the frames to the video `driving`, and their conditions to `folder`.

    The person's masks are written beside the conditions (`comparison.load_person`). Raises `PosegenError` unless both
    sizes have one shape.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fps, frame_size, size, drawing = form.fps, form.frame_size, form.size, form.drawing
    fit = plan_fit(frame_size, size, "crop")
    if fit.scaled != size:
        raise PosegenError(f"a film of {frame_size} cannot have conditions of {size}: their shapes differ")
    keypoints, visibility, person = [], [], []
    with (
        VideoWriter(driving, fps, size=frame_size, crf=form.crf) as video,
        VideoWriter(folder / HAND_NORMALS, fps, size=size, codec="h264rgb") as hands,
    ):
        for frame in frames:
            video.write(frame.rgb)
            keypoints.append(frame.keypoints.astype(np.float32))
            visibility.append(frame.visibility)
            hands.write(fitted_hands(frame, fit))
            person.append(_share((frame.masks & PERSON_BIT) > 0, fit) > 0.5)
    scores = clip_scores(np.stack(keypoints), np.stack(visibility), frame_size, fps)
    with VideoWriter(folder / SKELETON, fps, size=size, codec="h264rgb") as skeletons:
        for points, score in zip(keypoints, scores, strict=True):
            skeletons.write(_skeleton(points * (size[0] / frame_size[0]), score, size, drawing))
    save_person(folder, np.stack(person))
    no_hands = np.stack([empty_hands()] * len(keypoints))
    sequence = PoseSequence(np.stack(keypoints), scores, no_hands, frame_size, fps)
    inputs = Inputs.of(driving, fit, fps, True, drawing.colors, drawing.draw_scale, "renderer")
    return save_conditions(folder, sequence, inputs, ["exact keypoints and hand normals of a synthetic person"])


def fitted_hands(frame: RenderedFrame, fit: Fit) -> UInt8[np.ndarray, "height width 3"]:
    """The frame's hand normals (n + 1) / 2 · 255 at the fit's target size, black outside; edges stay sharp.

    A pixel is the mean over the hand's part of it; pixels that the hand covers half or less are black.
    """
    hand = (frame.masks & (LEFT_HAND_BIT | RIGHT_HAND_BIT)) > 0
    coded = np.round((frame.normals + 1) * 127.5).astype(np.uint8)
    fitted = fit.apply(np.where(hand[..., None], coded, 0).astype(np.uint8))
    share = _share(hand, fit)[..., None]
    return np.where(share > 0.5, np.round(fitted / np.maximum(share, 0.5)).clip(0, 255), 0).astype(np.uint8)


def _skeleton(
    keypoints: np.ndarray, scores: np.ndarray, size: tuple[int, int], drawing: Drawing
) -> UInt8[np.ndarray, "height width 3"]:
    """Draw the skeleton as training does: coordinates count from the frame's corner, not from a pixel's centre."""
    scale = drawing.draw_scale
    picture = draw_skeleton(keypoints * scale, scores, (size[0] * scale, size[1] * scale), colors=drawing.colors)
    return picture if scale == 1 else cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _share(mask: np.ndarray, fit: Fit) -> np.ndarray:
    """Share of each pixel of the target that the mask covers, 0..1."""
    return fit.apply(np.repeat((mask * np.uint8(255))[..., None], 3, axis=2))[..., 0] / 255.0
