"""Builds detections of people by hand: stick figures in clothes of one colour, on small grey frames."""

from fractions import Fraction

import numpy as np

from posegen.conditions.detections import DetectionRecorder
from posegen.conditions.keypoints import INDEX, PersonPose
from posegen.conditions.tracking import people_seen

SIZE = (360, 640)
RED, BLUE, GREEN = (200, 40, 40), (40, 40, 200), (40, 160, 60)
_FIGURE = {
    "nose": (0.0, 0.08), "left_eye": (0.02, 0.07), "right_eye": (-0.02, 0.07), "left_ear": (0.04, 0.08),
    "right_ear": (-0.04, 0.08), "left_shoulder": (0.11, 0.2), "right_shoulder": (-0.11, 0.2),
    "left_elbow": (0.14, 0.36), "right_elbow": (-0.14, 0.36), "left_wrist": (0.15, 0.5), "right_wrist": (-0.15, 0.5),
    "left_hip": (0.07, 0.5), "right_hip": (-0.07, 0.5), "left_knee": (0.07, 0.73), "right_knee": (-0.07, 0.73),
    "left_ankle": (0.07, 0.97), "right_ankle": (-0.07, 0.97),
}  # fmt: skip  # a table
"""Places of the points of a standing person, in heights from the middle of the top."""


def figure(x, height=150.0, bottom=340.0, turn=0.0, only=None):
    """Somebody who stands at x, turned about the middle by `turn` degrees clockwise; `only` these points are seen."""
    points, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    for name, place in _FIGURE.items():
        offset = rotation @ (np.array(place) - [0, 0.5]) * height
        points[INDEX[name]] = np.array([x, bottom - height / 2]) + offset
        scores[INDEX[name]] = 0.9 if only is None or name in only else 0.0
    return PersonPose(points, scores)


def watched(frames, fps=30):
    """Detections of a clip; `frames` lists (person, colour of the clothes) for each frame, those behind first."""
    recorder = DetectionRecorder(SIZE, Fraction(fps))
    for people in frames:
        record(recorder, people)
    return recorder.finish()


def record(recorder, people):
    """Draw a frame, and record its people; return their detections."""
    picture = np.full((*SIZE, 3), 120, np.uint8)
    for person, colour in people:
        left, top, right, bottom = (int(side) for side in person.box)
        picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)] = colour
    return recorder.add(picture, people_seen([person for person, _ in people], keeps_everybody=False))[1]


def middles(detections, following):
    """The horizontal middle of the followed person in each frame, NaN where they are not."""
    boxes = detections.boxes[following.chosen]
    return np.where(following.usable, (boxes[:, 0] + boxes[:, 2]) / 2, np.nan)
