"""Finds people in the sampled frames of a clip, once for all filters.

Embedded: MediaPipe's pose model with its masks, and its face detector for people that the pose model misses beside
others. Detectors, and networks for faces, are in `detectors.py`. The filters draw the conclusions.
"""

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Float

from posegen.conditions.estimators.mediapipe import MAX_PEOPLE, body_pose, silenced_stderr
from posegen.conditions.estimators.task_files import task_file
from posegen.conditions.keypoints import BODY, INDEX, PersonPose
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.types import Frame, Mask

FACE_POINTS = [INDEX[name] for name in ("nose", "left_eye", "right_eye")]
HEAD_POINTS = [*FACE_POINTS, INDEX["left_ear"], INDEX["right_ear"]]
_OVERLAP = 0.5
"""Share of the smaller of two boxes above which they are one person, found twice."""
_SECOND_FACE, _SECOND = 0.6, 0.055
"""Minimums for a person who is seen only once the others are painted over: confidence of the face, and share of the
picture times mean score of the body's points. Below them it is mostly the rest of a painted arm."""
_TILE_SECOND, _TILE_MOST = 0.08, 0.4
"""The same minimum for a person who is seen in a tile only, and the maximum of such a person's box, as shares of the
tile: a larger person would have been seen in the whole picture, so it is a background object or a painted arm."""
_LONG = 1.2
"""Longer side over shorter one from which a picture is looked at in two tiles, in which everybody is larger."""
_FACE = 0.55
"""Minimum score of a face: anything below may be a hand or a pattern."""
_NOTICED_FACE = 0.25
"""Share of the widest face's width from which somebody else's face counts: smaller ones are distant passers-by."""
_LONG_SIDE = 640
"""Pixels of the longer side of the models' input: they use at most 256 of them."""
_WIDENED = 0.02
"""Share of the picture's diagonal by which masks are widened, for hair, shadow and movement until the next frame."""

NOTICED = 0.06
"""Share of the largest person's area from which somebody else counts: smaller ones are distant passers-by."""

SmallMask = Bool[np.ndarray, "small_height small_width"]


@dataclass(frozen=True)
class Seen:
    """One person in one frame."""

    box: tuple[float, float, float, float]
    """(left, top, right, bottom) as shares of the picture's width and height, 0..1."""
    face: float
    """Confidence of the face, 0..1."""
    head: float
    """Confidence of the head, seen from any side, 0..1."""
    head_at: tuple[float, float] | None = None
    """(x, y) of its middle, as shares of the picture's width and height; None if unknown."""

    @property
    def area(self) -> float:
        """Share of the picture that the box covers."""
        left, top, right, bottom = self.box
        return max(0.0, right - left) * max(0.0, bottom - top)


@dataclass(frozen=True)
class People:
    """The people in each sampled frame, the largest first, and their masks."""

    seen: tuple[tuple[Seen, ...], ...]
    masks: Bool[np.ndarray, "n small_height small_width"] = field(repr=False)
    """True where a person may be, widened; as large as the clip's `neighbours`."""
    more_faces: tuple[int, ...] = ()
    """Faces in each frame that belong to nobody in `seen`; empty if they were not searched."""

    @property
    def counts(self) -> tuple[int, ...]:
        """Return the number of people of note in each frame."""
        more = self.more_faces or (0,) * len(self.seen)
        return tuple(
            sum(person.area >= NOTICED * people[0].area for person in people) + faces
            for people, faces in zip(self.seen, more, strict=True)
        )

    @property
    def largest(self) -> tuple[Seen | None, ...]:
        """Return the largest person of each frame; None where there is nobody."""
        return tuple(people[0] if people else None for people in self.seen)


@runtime_checkable
class PeopleFinder(Protocol):
    """Finds people in sampled frames; `name` is its model."""

    name: str

    def find(self, clip: SampledClip) -> People:
        """Return everybody in the sampled frames."""

    def close(self) -> None:
        """Free the models."""


class MediaPipePeople:
    """The embedded finder. Raises `PosegenError` if MediaPipe's models are not set up."""

    name = "mediapipe"

    def __init__(self) -> None:
        pose_file, face_file = task_file("pose.task"), task_file("face.tflite")
        with silenced_stderr():
            import mediapipe
            from mediapipe.tasks.python import BaseOptions, vision

            self._picture = lambda frame: mediapipe.Image(mediapipe.ImageFormat.SRGB, np.ascontiguousarray(frame))
            self._pose: Any = vision.PoseLandmarker.create_from_options(
                vision.PoseLandmarkerOptions(
                    base_options=BaseOptions(model_asset_path=str(pose_file)),
                    running_mode=vision.RunningMode.IMAGE,
                    num_poses=MAX_PEOPLE,
                    output_segmentation_masks=True,
                )
            )
            self._faces: Any = vision.FaceDetector.create_from_options(
                vision.FaceDetectorOptions(
                    base_options=BaseOptions(model_asset_path=str(face_file)), min_detection_confidence=_FACE
                )
            )
            blank = self._picture(np.zeros((256, 256, 3), np.uint8))
            for model in (self._pose, self._faces):  # the first call writes to stderr
                model.detect(blank)
        self._end = weakref.finalize(self, _close_quietly, self._pose, self._faces)

    def find(self, clip: SampledClip) -> People:
        """Return everybody in the sampled frames."""
        small = clip.neighbours.shape[1:3]
        scale = min(1.0, _LONG_SIDE / max(clip.frames.shape[1:3]))
        frames = [cv2.resize(frame, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for frame in clip.frames]
        found = [self._look(frame, small) for frame in frames]
        # the model rarely sees the second of two people who touch: once more without those it saw; in every other
        # sample, and in the others where that found somebody
        if sum(self._look_again(frames, found, number) for number in range(0, len(frames), 2)):
            for number in range(1, len(frames), 2):
                self._look_again(frames, found, number)
        seen = tuple(distinct(seen) for seen, _ in found)
        faces = tuple(self._more_faces(frame, people) for frame, people in zip(frames, seen, strict=True))
        return People(seen, np.stack([widened(taken) for _, taken in found]), faces)

    def _more_faces(self, frame: Frame, people: Sequence[Seen]) -> int:
        """Count faces of note that belong to nobody who was found: the pose model misses people beside others."""
        size = np.array(frame.shape[1::-1], float)
        boxes = [face.bounding_box for face in self._faces.detect(self._picture(frame)).detections]
        widest = max((box.width for box in boxes), default=0)
        boxes = [box for box in boxes if box.width >= _NOTICED_FACE * widest]
        middles = [np.array([box.origin_x + box.width / 2, box.origin_y + box.height / 2]) for box in boxes]
        heads = [np.array(person.head_at) * size for person in people if person.head_at is not None]
        return sum(
            all(np.linalg.norm(middle - head) > box.width for head in heads)
            for box, middle in zip(boxes, middles, strict=True)
        )

    def _look_again(self, frames: list[Frame], found: list[tuple[list[Seen], SmallMask]], number: int) -> bool:
        """Add people in a frame besides those that were found; return whether there is anybody."""
        seen, taken = found[number]
        if not seen:
            return False
        rest = without(frames[number], taken)
        others, more = self._look(rest, taken.shape, least=_SECOND)
        if not others:
            others, closer = self._look_closer(rest, taken.shape)
            more |= closer
        found[number] = (seen + others, taken | more)
        return bool(others)

    def _look_closer(self, frame: Frame, small: tuple[int, ...]) -> tuple[list[Seen], SmallMask]:
        """Find people in the two squares at the ends of a picture, with their mask; nobody in a square picture."""
        height, width = frame.shape[:2]
        side = min(height, width)
        if max(height, width) < _LONG * side:
            return [], np.zeros(small, bool)
        for top, left in ((0, 0), (height - side, width - side)):
            shares = (left / width, top / height, side / width, side / height)
            rows, columns = (
                slice(round(begin * length), round((begin + share) * length))
                for begin, share, length in ((shares[1], shares[3], small[0]), (shares[0], shares[2], small[1]))
            )
            taken = np.zeros(small, bool)
            tile = taken[rows, columns].shape
            others, mask = self._look(frame[top : top + side, left : left + side], tile, least=_TILE_SECOND)
            if others and others[0].area <= _TILE_MOST:
                taken[rows, columns] = mask
                return [_placed(person, shares) for person in others], taken
        return [], np.zeros(small, bool)

    def _look(self, frame: Frame, small: tuple[int, ...], least: float | None = None) -> tuple[list[Seen], SmallMask]:
        """Find the people in the picture, and their mask.

        least: minimum share of the picture times mean score of the body's points, for people with sure faces only,
        against slips of the model; None for everybody.
        """
        result = self._pose.detect(self._picture(frame))
        height, width = frame.shape[:2]
        taken = np.zeros(small, bool)
        seen = []
        for landmarks, picture in zip(result.pose_landmarks, result.segmentation_masks or [], strict=True):
            mask = (
                cv2.resize(picture.numpy_view().reshape(height, width), small[::-1], interpolation=cv2.INTER_AREA) > 0.5
            )
            pose = body_pose(landmarks, width, height)
            person = see(pose, (height, width), mask)
            if person is None:
                continue
            taken |= mask
            if least is not None:
                sureness = person.area * float(pose.scores[BODY].mean())
                if person.face < _SECOND_FACE or sureness < least:
                    continue
            seen.append(person)
        return seen, taken

    def close(self) -> None:
        """Free the models."""
        self._end()


def _close_quietly(*models: Any) -> None:
    with silenced_stderr():
        for model in models:
            model.close()


def see(person: PersonPose, size: tuple[int, int], mask: Mask | None = None) -> Seen | None:
    """Build a person from keypoints in pixels of a picture of `size` = (height, width), and a mask of any size.

    None where nothing of the person is in the picture.
    """
    edges = []
    if person.area > 0:
        left, top, right, bottom = person.box
        edges.append((left / size[1], top / size[0], right / size[1], bottom / size[0]))
    if mask is not None and mask.any():
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        height, width = mask.shape
        edges.append((columns[0] / width, rows[0] / height, (columns[-1] + 1) / width, (rows[-1] + 1) / height))
    if not edges:
        return None
    low, high = np.min(edges, axis=0)[:2], np.max(edges, axis=0)[2:]
    left, top, right, bottom = np.clip([*low, *high], 0, 1).tolist()
    face = float(person.scores[FACE_POINTS].mean())
    x, y = (person.keypoints[HEAD_POINTS].mean(axis=0) / size[::-1]).tolist()
    return Seen((left, top, right, bottom), face, max(face, head_of(person.scores)), (x, y))


def _placed(person: Seen, shares: tuple[float, float, float, float]) -> Seen:
    """Somebody of a tile in the whole picture; `shares`: the tile's (left, top, width, height) of the picture's."""
    left, top, width, height = shares
    box = person.box
    moved = (left + box[0] * width, top + box[1] * height, left + box[2] * width, top + box[3] * height)
    head = None
    if person.head_at is not None:
        head = (left + person.head_at[0] * width, top + person.head_at[1] * height)
    return replace(person, box=moved, head_at=head)


def head_of(scores: Float[np.ndarray, " 133"]) -> float:
    """Return the confidence of a head seen from any side: by its two surest points of eyes, ears and nose."""
    return float(np.sort(scores[HEAD_POINTS])[-2:].mean())


def without(frame: Frame, taken: SmallMask) -> Frame:
    """Return the picture with the area under the mask (of any size) painted over with the colours around it."""
    height, width = frame.shape[:2]
    free = (~widened(taken)).astype(np.float32)
    tiny = (max(2, taken.shape[1] // 8), max(2, taken.shape[0] // 8))  # what is blurred so far needs no pixels
    small = cv2.resize(frame, taken.shape[::-1], interpolation=cv2.INTER_AREA) * free[..., None]
    shares, pictures = (cv2.resize(each, tiny, interpolation=cv2.INTER_AREA) for each in (free, small))
    sigma = 0.12 * max(tiny)
    share = cv2.GaussianBlur(shares, (0, 0), sigma)[..., None]
    colours = cv2.GaussianBlur(pictures, (0, 0), sigma) / np.maximum(share, 1e-3)
    mixed = cv2.resize(np.clip(colours, 0, 255).astype(np.uint8), (width, height))
    result = frame.copy()
    cv2.copyTo(mixed, cv2.resize((1 - free).astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST), result)
    return result


def distinct(people: Sequence[Seen]) -> tuple[Seen, ...]:
    """Return the people, the largest first, without those mostly within a larger one (found twice)."""
    kept: list[Seen] = []
    for person in sorted(people, key=lambda each: -each.area):
        if all(_shared(person, other) < _OVERLAP * person.area for other in kept):
            kept.append(person)
    return tuple(kept)


def _shared(one: Seen, other: Seen) -> float:
    low, high = np.maximum(one.box[:2], other.box[:2]), np.minimum(one.box[2:], other.box[2:])
    return float(np.clip(high - low, 0, None).prod())


def widened(mask: Mask) -> Mask:
    """Return the mask, widened by a small part of the picture."""
    radius = max(2, round(_WIDENED * float(np.hypot(*mask.shape))))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel) > 0
