"""Reads keypoints that others have found, from the usual files, as people frame by frame in pixels of the video.

COCO-WholeBody JSON (annotations or results), MMPose's and Sapiens' JSON, OpenPose JSON (a folder, or one file with a
list), DWPose's dictionaries as JSON, and NPZ with `keypoints` and `scores`. Files that need unpickling are
refused: they can run code. Whether the number of frames fits the video is the caller's concern.
"""

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions.estimators.layouts import OPENPOSE_18, layout_of_count, to_wholebody
from posegen.conditions.keypoints import FACE, FEET, LEFT_HAND, RIGHT_HAND, PersonPose, empty_hands
from posegen.errors import PosegenError

People = list[PersonPose]
FORMATS = (
    "COCO-WholeBody JSON, MMPose or Sapiens JSON, OpenPose JSON (a folder, or a list in one file), DWPose JSON, NPZ "
    "with keypoints (frames, points, 2) and scores (frames, points), or a skeleton video (.mp4, .mkv, .mov, .webm)"
)
_OPENPOSE_PARTS = {
    "face_keypoints_2d": FACE,
    "hand_left_keypoints_2d": LEFT_HAND,
    "hand_right_keypoints_2d": RIGHT_HAND,
}
_COCO_PARTS = {"foot_kpts": FEET, "face_kpts": FACE, "lefthand_kpts": LEFT_HAND, "righthand_kpts": RIGHT_HAND}


def read_keypoints(path: Path, size: tuple[int, int]) -> list[People]:
    """The people of each frame, in pixels of a video of `size` = (height, width).

    Coordinates that all lie between 0 and 1 count as shares of the picture; those of another canvas, where the file
    says it, are scaled. Raises `PosegenError` for a file that is none of the known ones, and names them.
    """
    if not path.exists():
        raise PosegenError(f"{path}: there is no such file or folder of keypoints")
    try:
        if path.is_dir():
            files = sorted(path.glob("*.json"), key=_natural)
            if not files:
                raise PosegenError(f"{path}: the folder holds no .json files; known are {FORMATS}")
            frames = [people for file in files for people in _parse(json.loads(file.read_text()), file)]
        elif path.suffix.lower() == ".npz":
            frames = _read_npz(path)
        elif path.suffix.lower() == ".json":
            frames = _parse(json.loads(path.read_text()), path)
        else:
            raise PosegenError(f"{path}: not a file of keypoints that is known; known are {FORMATS}")
    except PosegenError:
        raise
    except (ValueError, KeyError, TypeError, IndexError, OSError, AttributeError, zipfile.BadZipFile) as error:
        raise PosegenError(f"{path}: cannot be read as keypoints ({error!r}); known are {FORMATS}") from None
    return _in_pixels(frames, size)


def _natural(path: Path) -> list[int | str]:
    """Sorts frame_10 after frame_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]


def _person(points: np.ndarray, scores: np.ndarray, where: Path, hands: np.ndarray | None = None) -> PersonPose:
    keypoints, scores = to_wholebody(points, scores, layout_of_count(points.shape[-2], str(where)))
    return PersonPose(keypoints, scores, empty_hands() if hands is None else hands.astype(np.float32))


def _read_npz(path: Path) -> list[People]:
    with np.load(path, allow_pickle=False) as data:
        points = data["keypoints"].astype(np.float32)
        scores = data["scores"].astype(np.float32) if "scores" in data else np.ones(points.shape[:-1], np.float32)
        hands = data.get("hands")
    if points.shape[-1] == 3:
        points, scores = points[..., :2], points[..., 2]
    if points.ndim not in (3, 4) or points.shape[-1] != 2 or scores.shape != points.shape[:-1]:
        raise PosegenError(
            f"{path}: expected keypoints (frames, points, 2) or (frames, people, points, 2) and scores of the same "
            f"frames and points, not {points.shape} and {scores.shape}"
        )
    if points.ndim == 3:
        given = [None] * len(points) if hands is None else list(hands)
        return [[_person(*frame[:2], path, frame[2])] for frame in zip(points, scores, given, strict=True)]
    return [
        [_person(person, score, path) for person, score in zip(*frame, strict=True) if score.max() > 0]
        for frame in zip(points, scores, strict=True)
    ]


def _parse(content: Any, path: Path) -> list[People]:
    """Frames of one JSON file, whichever of the known forms it has."""
    if isinstance(content, dict):
        if "annotations" in content:
            return _coco(content["annotations"], path, [image["id"] for image in content.get("images", [])])
        if "instance_info" in content:
            frames = content["instance_info"]
            if frames and "instances" in frames[0]:
                return [_instances(frame["instances"], path) for frame in frames]
            return [_instances(frames, path)]
        if "people" in content:
            return [_openpose(content, path)]
        if "bodies" in content:
            return [_dwpose(content, path)]
    if isinstance(content, list) and content:
        first = content[0]
        if isinstance(first, list):
            return [_instances(frame, path) for frame in content]
        if "people" in first:
            return [_openpose(frame, path) for frame in content]
        if "bodies" in first:
            return [_dwpose(frame, path) for frame in content]
        if "image_id" in first:
            return _coco(content, path, [])
    raise PosegenError(f"{path}: this JSON has none of the known forms; known are {FORMATS}")


def _instances(people: list[dict[str, Any]], path: Path) -> People:
    """MMPose, Sapiens and the published code: points and scores apart."""
    return [
        _person(np.array(person["keypoints"], np.float32), np.array(person["keypoint_scores"], np.float32), path)
        for person in people
    ]


def _triples(values: Sequence[float], where: Path) -> tuple[np.ndarray, np.ndarray]:
    flat = np.array(values, np.float32).ravel()
    if len(flat) % 3:
        raise PosegenError(f"{where}: {len(flat)} numbers are no x, y, score of whole points")
    return flat.reshape(-1, 3)[:, :2], flat.reshape(-1, 3)[:, 2]


def _openpose(frame: dict[str, Any], path: Path) -> People:
    people = []
    for person in frame["people"] or []:
        body = _person(*_triples(person["pose_keypoints_2d"], path), path)
        people.append(_with_parts(body, person, _OPENPOSE_PARTS, path))
    return [_from_canvas(person, frame) for person in people]


def _coco(annotations: list[dict[str, Any]], path: Path, images: list[Any]) -> list[People]:
    """Frames are images, in the order of their numbers; numbers that nobody is in are frames without people."""
    found: dict[Any, People] = {image: [] for image in images}
    for person in annotations:
        body = _person(*_triples(person["keypoints"], path), path)
        found.setdefault(person["image_id"], []).append(_with_parts(body, person, _COCO_PARTS, path))
    if not images and all(isinstance(image, int) for image in found):
        first, last = min(found), max(found)
        return [found.get(image, []) for image in range(min(first, 1), last + 1)]
    return [found[image] for image in sorted(images or found, key=lambda image: _natural(Path(str(image))))]


def _with_parts(body: PersonPose, person: dict[str, Any], parts: dict[str, slice], path: Path) -> PersonPose:
    """The body with face, hands and feet as far as they are given, 0 to 1 or COCO's 0, 1, 2 as scores."""
    keypoints, scores = body.keypoints.copy(), body.scores.copy()
    for name, place in parts.items():
        if person.get(name):
            points, seen = _triples(person[name], path)
            wanted = place.stop - place.start
            if len(points) == wanted + 2 and place == FACE:  # OpenPose's face has the pupils, too
                points, seen = points[:wanted], seen[:wanted]
            if len(points) != wanted:
                raise PosegenError(f"{path}: {name} has {len(points)} points, not {wanted}")
            keypoints[place], scores[place] = points, np.clip(seen, 0, 1)
    return PersonPose(keypoints, scores, body.hands)


def _dwpose(frame: dict[str, Any], path: Path) -> People:
    """Shares of the picture; which of the 18 body points were seen, or their scores; all left hands, then all right."""
    bodies = frame["bodies"]
    if not np.size(bodies["candidate"]):
        return []
    points = np.array(bodies["candidate"], np.float32)[..., :2].reshape(-1, 18, 2)
    subset = np.array(bodies["subset"], np.float32).reshape(-1, np.array(bodies["subset"]).shape[-1])[:, :18]
    scores = np.array(bodies["score"], np.float32).reshape(-1, 18) if "score" in bodies else (subset >= 0) * 1.0
    people = []
    for body, seen in zip(points, scores, strict=True):
        people.append(PersonPose(*to_wholebody(body, seen.astype(np.float32), OPENPOSE_18)))
    for name, places in (("hands", (LEFT_HAND, RIGHT_HAND)), ("faces", (FACE,))):
        if not frame.get(name):
            continue
        given = np.array(frame[name], np.float32)
        sure = np.array(frame.get(f"{name}_score", (given >= 0).all(axis=-1)), np.float32)
        if given.shape != (len(places) * len(people), places[0].stop - places[0].start, 2):
            raise PosegenError(f"{path}: {name} has the shape {given.shape} for {len(people)} people")
        for number, place in enumerate(places):
            for index, person in enumerate(people):
                row = number * len(people) + index
                person.keypoints[place], person.scores[place] = given[row], np.clip(sure[row], 0, 1)
    return [_from_canvas(person, frame) for person in people]


def _from_canvas(person: PersonPose, frame: dict[str, Any]) -> PersonPose:
    """Shares of the picture, if the frame says how large its canvas is in pixels and the points lie in it."""
    width, height = frame.get("canvas_width"), frame.get("canvas_height")
    if not width or not height or np.abs(person.keypoints).max() <= 1:
        return person
    return PersonPose(person.keypoints / np.array([width, height], np.float32), person.scores, person.hands)


def _in_pixels(frames: list[People], size: tuple[int, int]) -> list[People]:
    farthest = max((float(np.abs(p.keypoints[p.scores > 0]).max(initial=0)) for f in frames for p in f), default=0.0)
    if farthest > 1.5:  # shares may lie a little outside the picture
        return frames
    scale = np.array([size[1], size[0]], np.float32)
    return [[PersonPose(person.keypoints * scale, person.scores, person.hands) for person in f] for f in frames]
