"""Videos with a known camera path: a real still picture, filmed by moving a window over it."""

from fractions import Fraction

import cv2
import numpy as np
from skimage import data

from posegen.conditions.folder import Conditions
from posegen.conditions.keypoints import PoseSequence
from posegen.media.video import VideoWriter

SIZE = (240, 320)


def background():
    """A photo with much to see: 416 x 741."""
    return data.stereo_motorcycle()[0][:416]


def film(picture, places, size=SIZE):
    """Frames in which the picture's middle lies at `shift` (diagonals from the centre), turned and scaled by `turn`."""
    height, width = size
    diagonal, zoom = np.hypot(height, width), 1.6 * height / picture.shape[0]
    middle = np.array([picture.shape[1] - 1, picture.shape[0] - 1]) / 2
    for turn, shift in places:
        linear = zoom * np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
        centre = np.array([width - 1, height - 1]) / 2 + diagonal * np.array([shift.real, shift.imag])
        matrix = np.column_stack([linear, centre - linear @ middle])
        # reduced from twice the size: sampling a large picture at single points would make noise of its details
        large = cv2.warpAffine(picture, matrix * 2 + [[0, 0, 0.5]], (2 * width, 2 * height), flags=cv2.INTER_AREA)
        yield cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)


def write(path, frames, fps=Fraction(16)):
    frames = list(frames)
    with VideoWriter(path, fps, size=frames[0].shape[:2], codec="ffv1") as writer:
        for frame in frames:
            writer.write(np.ascontiguousarray(frame))
    return path


def nobody(num_frames, size=SIZE, fps=Fraction(16)):
    """Keypoints of no person."""
    return PoseSequence(
        np.zeros((num_frames, 133, 2), np.float32),
        np.zeros((num_frames, 133), np.float32),
        np.full((num_frames, 2, 21, 3), np.nan, np.float32),
        size,
        fps,
    )


def conditions_of(pose, folder):
    """Conditions with this person; their pictures are not there."""
    return Conditions(folder, pose, pose.size, ())
