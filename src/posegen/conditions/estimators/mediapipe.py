"""Default pose estimator: MediaPipe's pose and hand landmarkers, on the CPU, from local task files.

BlazePose's 33 points are converted to COCO-WholeBody's body and feet, and a hand's root is moved back to the wrist. It
has no small toes and no 68 face points: those keep score 0 (the skeleton has no face). Hands are searched in 256-pixel
crops around each wrist, because the hand model does not find small hands in whole frames, and belong to the wrist they
were found at.
"""

import contextlib
import os
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from posegen.conditions.estimators.heavy_pose import heavy_task_file
from posegen.conditions.estimators.layouts import hand_from_wrist
from posegen.conditions.estimators.task_files import POSE_BUNDLE, task_file
from posegen.conditions.framing import FACE_NAMES, face_hidden
from posegen.conditions.keypoints import HAND_FOUND, HANDS, INDEX, MOUTH, NUM_KEYPOINTS, SEEN, PersonPose, empty_hands
from posegen.types import Frame

VERSION = "4"
"""Version, increased when the same frames would give other keypoints."""
MAX_PEOPLE = 4
"""Maximum number of people searched in a frame; more than one is only needed to follow the right one and to warn."""
CROP = 256
"""Side in pixels of the square in which a hand is searched."""
SIZES: tuple[float, ...] = (1.0, 1.4)
"""Relative sizes of the square, tried in turn: the larger one includes a palm that the first one cuts off."""
HAND_SCORE = 0.5
"""Minimum confidence of the palm's detection, and of the hand's presence at its joints."""
BLAZE = {
    "nose": 0,
    "left_eye": 2,
    "right_eye": 5,
    "left_ear": 7,
    "right_ear": 8,
    "left_shoulder": 11,
    "right_shoulder": 12,
    "left_elbow": 13,
    "right_elbow": 14,
    "left_wrist": 15,
    "right_wrist": 16,
    "left_hip": 23,
    "right_hip": 24,
    "left_knee": 25,
    "right_knee": 26,
    "left_ankle": 27,
    "right_ankle": 28,
    "left_big_toe": 31,
    "left_heel": 29,
    "right_big_toe": 32,
    "right_heel": 30,
}
"""BlazePose's index of each COCO-WholeBody point that it has, except for the mouth."""
_BLAZE_MOUTH = (10, 9)
"""Right and left corner of the mouth."""
_ARMS = (("left_shoulder", "left_elbow", "left_wrist"), ("right_shoulder", "right_elbow", "right_wrist"))


Hand = Float[np.ndarray, "21 3"]
"""Joints of a hand: x, y in pixels of the frame, z in the same unit."""


@dataclass(frozen=True)
class HandCrop:
    """Square of a frame, scaled to the size in which a hand is searched."""

    picture: UInt8[np.ndarray, "side side 3"]
    corner: Float[np.ndarray, "2"]
    side_length: float

    @classmethod
    def of(cls, frame: Frame, center: Float[np.ndarray, "2"], side_length: float) -> "HandCrop":
        """Cut the square around `center`, `side_length` pixels of the frame wide."""
        scale = CROP / side_length
        corner = center - side_length / 2
        # pixel centres: crop pixel c shows frame position corner + (c + 0.5) / scale - 0.5
        matrix = np.array([[1 / scale, 0, corner[0] + 0.5 / scale], [0, 1 / scale, corner[1] + 0.5 / scale]])
        flags = cv2.WARP_INVERSE_MAP | (cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        picture = cv2.warpAffine(frame, matrix, (CROP, CROP), flags=flags, borderMode=cv2.BORDER_REPLICATE)
        return cls(picture, corner, side_length)

    def nearest_hand(self, result: Any, person: PersonPose, side: int) -> Hand | None:
        """Return the found hand nearest to the person's wrist, if it is near.

        Handedness is ignored: its score rates left against right, not whether there is a hand.
        """
        wrist = _wrist(person, side)
        best, nearest = None, 0.3 * self.side_length  # a hand farther away is the other one, or another person's
        for landmarks in result.hand_landmarks:
            points = np.array([(point.x, point.y, point.z) for point in landmarks], np.float32) * self.side_length
            points[:, :2] += self.corner
            distance = float(np.linalg.norm(points[0, :2] - wrist))
            if distance < nearest:
                best, nearest = points, distance
        return best


class MediaPipePose:
    """`PoseEstimator` with MediaPipe. Frames of one clip must come in order; make a new one for each clip.

    `single_image=True` processes each frame independently (for images). `in_clip`: the frames are of a clip, whose
    hidden faces and points outside the frame are decided later (`finishing.py`); by default unless `single_image`.
    `heavy=True` uses the heavy pose model where it was fetched (`heavy_pose`), half as fast. finds: "bodies" loads no
    hand models, so that `add_hands` finds none. `mouth=True` also gives the corners of the mouth. Raises
    `PosegenError` without set-up.
    """

    name = "mediapipe"
    batch_size = 1
    finds_hands = False
    keeps_everybody = False

    def __init__(
        self,
        single_image: bool = False,
        in_clip: bool | None = None,
        heavy: bool = False,
        finds: Literal["bodies and hands", "bodies"] = "bodies and hands",
        mouth: bool = False,
    ) -> None:
        pose_file, hand_file = task_file(POSE_BUNDLE), task_file("hand.task")
        if heavy:
            pose_file = heavy_task_file() or pose_file
        self.version = f"{version('mediapipe')} {VERSION}{' mouth' if mouth else ''}"
        self._mouth = mouth
        self._single_image = single_image
        self._in_clip = not single_image if in_clip is None else in_clip
        self._time = 0
        with silenced_stderr():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._picture = lambda frame: mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(frame))
            self._pose: Any = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=str(pose_file)),
                    running_mode=vision.RunningMode.IMAGE if single_image else vision.RunningMode.VIDEO,
                    num_poses=MAX_PEOPLE,
                )
            )

            def hand_model(mode: Any, hands: int) -> Any:
                options = vision.HandLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=str(hand_file)),
                    running_mode=mode,
                    num_hands=hands,
                    min_hand_detection_confidence=HAND_SCORE,
                    min_hand_presence_confidence=HAND_SCORE,
                )
                return vision.HandLandmarker.create_from_options(options)

            # one of each for either side: hands are searched on threads of their own
            sides = HANDS if finds == "bodies and hands" else ()
            self._finders = [hand_model(vision.RunningMode.IMAGE, 2) for _ in sides]
            # a tracked hand needs no palm detection, the costlier half; a model that expects two hands would run it
            self._followers = [] if single_image else [hand_model(vision.RunningMode.VIDEO, 1) for _ in sides]
            blank = self._picture(np.zeros((CROP, CROP, 3), np.uint8))
            for landmarker in self._finders:  # the first call writes to stderr
                landmarker.detect(blank)
            for landmarker in self._followers:
                landmarker.detect_for_video(blank, 0)
            self._detect(blank)
        self._followed: list[float | None] = [None for _ in HANDS]
        self._follow_times = [0 for _ in HANDS]
        self._sizes = [SIZES for _ in HANDS]
        self._threads = ThreadPoolExecutor(len(HANDS))

    def _detect(self, picture: Any) -> Any:
        if self._single_image:
            return self._pose.detect(picture)
        self._time += 33  # only the order matters: landmarks are smoothed by the caller, if at all
        return self._pose.detect_for_video(picture, self._time)

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Find the bodies and feet of the people in an RGB frame."""
        result = self._detect(self._picture(frame))
        height, width = frame.shape[:2]
        return [body_pose(landmarks, width, height, self._in_clip, self._mouth) for landmarks in result.pose_landmarks]

    def estimate_batch(self, frames: Sequence[Frame]) -> list[list[PersonPose]]:
        """Find the people in the next frames."""
        return [self.estimate(frame) for frame in frames]

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Add the hands that are found near the person's wrists."""
        if not self._finders:
            return person
        keypoints, scores, hands = person.keypoints.copy(), person.scores.copy(), empty_hands()
        sides = range(len(HANDS))
        found = list(self._threads.map(lambda side: self._find_hand(frame, person, side), sides))
        if self._followers and _is_one_hand(found):  # one track jumped to the other hand: search both again
            found = list(self._threads.map(lambda side: self._search(frame, person, side), sides))
        for side, seen in enumerate(found):
            if seen is not None:
                hand = hand_from_wrist(seen)
                keypoints[HANDS[side]], scores[HANDS[side]] = hand[:, :2], HAND_FOUND
                hands[side] = hand - np.array([0, 0, hand[0, 2]], np.float32)
        return PersonPose(keypoints, scores, hands)

    def _find_hand(self, frame: Frame, person: PersonPose, side: int) -> Hand | None:
        """Track a hand that was found in the frame before, or search for it."""
        followed = self._followed[side]
        if followed is not None and (square := hand_square(person, side)) is not None:
            crop = HandCrop.of(frame, square[0], followed * square[1])
            result = self._follow(side, crop.picture)
            hand = crop.nearest_hand(result, person, side)
            if hand is not None:
                return hand
            if result.hand_landmarks:  # the track jumped to another person's hand
                self._follow(side, np.zeros_like(crop.picture))
        return self._search(frame, person, side)

    def _search(self, frame: Frame, person: PersonPose, side: int) -> Hand | None:
        """Search for a hand at each size.

        In a clip the size that showed the hand last is tried first, and for a hand that was absent one size is tried in
        each frame, in turn: most searches would fail.
        """
        self._followed[side] = None
        square = hand_square(person, side)
        if square is None:
            return None
        sizes = SIZES if self._single_image else self._sizes[side]
        for size in sizes:
            crop = HandCrop.of(frame, square[0], size * square[1])
            hand = crop.nearest_hand(self._finders[side].detect(self._picture(crop.picture)), person, side)
            if hand is not None:
                if self._followers:
                    self._followed[side] = size
                self._sizes[side] = (size, *(other for other in SIZES if other != size))
                return hand
        self._sizes[side] = tuple(other for other in SIZES if other != sizes[-1])
        return None

    def _follow(self, side: int, picture: Frame) -> Any:
        self._follow_times[side] += 33
        return self._followers[side].detect_for_video(self._picture(picture), self._follow_times[side])

    def close(self) -> None:
        """Free the models."""
        self._threads.shutdown()
        with silenced_stderr():
            self._pose.close()
            for landmarker in (*self._finders, *self._followers):
                landmarker.close()


def _is_one_hand(found: Sequence[Hand | None]) -> bool:
    """Return True if the same hand was found at both wrists."""
    if any(hand is None for hand in found):
        return False
    left, right = (hand[:, :2] for hand in found if hand is not None)
    size = min(float(np.linalg.norm(np.ptp(points, axis=0))) for points in (left, right))
    return float(np.linalg.norm(left - right, axis=1).mean()) < 0.2 * size


def body_pose(landmarks: Any, width: int, height: int, in_clip: bool = False, mouth: bool = False) -> PersonPose:
    """Convert one person's landmarks to keypoints in pixels of the frame.

    In a single image, points outside it get score 0, and a face seen from behind is removed. In a clip both are decided
    once all frames are known: points outside get negative scores, and the face stays.
    """
    keypoints = np.zeros((NUM_KEYPOINTS, 2), np.float32)
    scores = np.zeros(NUM_KEYPOINTS, np.float32)
    rows = [(INDEX[name], number) for name, number in BLAZE.items()]
    for row, number in [*rows, *zip(MOUTH, _BLAZE_MOUTH, strict=True)] if mouth else rows:
        point = landmarks[number]
        keypoints[row] = point.x * width, point.y * height
        inside = 0 <= point.x <= 1 and 0 <= point.y <= 1  # BlazePose guesses points outside the frame, COCO never does
        score = min(point.visibility, point.presence)
        scores[row] = score if inside else -score if in_clip else 0.0
    person = PersonPose(keypoints, scores)
    return person if in_clip else without_hidden_face(person)


def without_hidden_face(person: PersonPose) -> PersonPose:
    """Remove nose, eyes and mouth of a person seen from behind, which BlazePose reports with high scores."""
    if not face_hidden(person.keypoints, person.scores):
        return person
    scores = person.scores.copy()
    scores[[*(INDEX[name] for name in FACE_NAMES), *MOUTH]] = 0
    return PersonPose(person.keypoints, scores, person.hands)


def _wrist(person: PersonPose, side: int) -> Float[np.ndarray, "2"]:
    """Return the position of the body's wrist, or of the hand's root if the body's wrist is not seen."""
    wrist, root = INDEX[_ARMS[side][2]], HANDS[side].start
    return np.asarray(person.keypoints[wrist if person.scores[wrist] >= SEEN else root])


def hand_square(person: PersonPose, side: int) -> tuple[Float[np.ndarray, "2"], float] | None:
    """Return (centre, side length) in pixels of the square in which to search the left (0) or right (1) hand.

    It lies beyond the wrist along the forearm; its size depends on the body, so that a forearm that points at the
    camera does not shrink it. If no wrist is seen, it is centred on the joints of the hand, if a file gives them; else
    the result is None.
    """
    shoulder, elbow, wrist = (person.keypoints[INDEX[name]] for name in _ARMS[side])
    if person.scores[INDEX[_ARMS[side][2]]] < SEEN:
        joints = person.keypoints[HANDS[side]][person.drawn[HANDS[side]]]
        if person.scores[HANDS[side].start] < SEEN or len(joints) < 2:
            return None
        low, high = joints.min(axis=0), joints.max(axis=0)
        return ((low + high) / 2).astype(np.float32), max(1.6 * float((high - low).max()), 12.0)
    forearm = wrist - elbow
    length = max(float(np.linalg.norm(forearm)), 0.7 * float(np.linalg.norm(elbow - shoulder)))
    width = np.linalg.norm(person.keypoints[INDEX["left_shoulder"]] - person.keypoints[INDEX["right_shoulder"]])
    length = max(length, 0.6 * float(width), 12.0)
    return (wrist + 0.3 * forearm).astype(np.float32), 1.6 * length


@contextlib.contextmanager
def silenced_stderr() -> Iterator[None]:
    """Discard writes to file descriptor 2 for a moment: MediaPipe's C++ side logs there before it can be configured."""
    sys.stderr.flush()
    saved = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)
