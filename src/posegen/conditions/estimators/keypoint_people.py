"""Reads the people of one frame from each of the JSON formats of other tools, in the file's unit.

Points are identified by name if a file names them, else by their number. `keypoint_forms` recognises the format.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions.estimators.keypoint_content import (
    People,
    in_one_frame,
    is_in_space,
    lifted,
    numbers_of,
    person_of,
    plane_of,
)
from posegen.conditions.estimators.layouts import (
    LAYOUTS,
    OPENPOSE_18,
    Layouts,
    hand_from_wrist,
    layouts_with_names,
    to_wholebody,
)
from posegen.conditions.keypoints import (
    FACE,
    FEET,
    LEFT_HAND,
    NUM_KEYPOINTS,
    RIGHT_HAND,
    PersonPose,
    empty_hands,
)
from posegen.errors import PosegenError

_OPENPOSE_PARTS = {"face_keypoints": FACE, "hand_left_keypoints": LEFT_HAND, "hand_right_keypoints": RIGHT_HAND}
COCO_PARTS = {"foot_kpts": FEET, "face_kpts": FACE, "lefthand_kpts": LEFT_HAND, "righthand_kpts": RIGHT_HAND}
LANDMARKS = ("landmarks", "pose_landmarks", "poseLandmarks", "landmark")
_LIFTED = ("keypoints_3d", "keypoints3d", "joints_3d", "joints3d", "poses_3d")
"""Names under which tools write points in space alone."""
HAND_LANDMARKS = {
    "left_hand_landmarks": LEFT_HAND,
    "leftHandLandmarks": LEFT_HAND,
    "right_hand_landmarks": RIGHT_HAND,
    "rightHandLandmarks": RIGHT_HAND,
}


def instances(people: list[dict[str, Any]], path: Path, layouts: Layouts = LAYOUTS) -> People:
    """Read people of MMPose, Sapiens and the published code: separate points and scores; older ones x, y, score."""
    found = []
    for person in in_one_frame(people, path):
        if "keypoints" not in person and any(name.lower() in _LIFTED for name in person):
            raise lifted(path)
        given = person["keypoints"]
        if given and isinstance(given[0], dict):
            found.append(_points_by_name(given, path))
            continue
        points = numbers_of(given)
        while points.ndim > 2 and len(points) == 1:
            points = points[0]
        if "keypoint_scores" not in person:
            if points.ndim == 1:
                points = numbers_of(np.stack([*_triples(given, path)[0].T, _triples(given, path)[1]], axis=-1))
            if points.ndim != 2 or points.shape[1] != 3:
                raise PosegenError(f"{path}: people have keypoints but no keypoint_scores")
            points, scores = plane_of(points, None, path)
        else:
            if points.ndim == 2 and points.shape[1] > 2:
                raise lifted(path)
            scores = numbers_of(person["keypoint_scores"]).reshape(len(points))
        found.append(person_of(points.reshape(len(points), 2), scores, path, layouts))
    return found


def _points_by_name(points: list[dict[str, Any]], path: Path) -> PersonPose:
    """Read points that each have a name, as those of TensorFlow.js."""
    layouts = layouts_with_names([str(point.get("name", "point")) for point in points], str(path))
    places = numbers_of([[point["x"], point["y"]] for point in points])
    return person_of(places, numbers_of([point.get("score", 1.0) for point in points]), path, layouts)


def _triples(values: Sequence[float] | None, where: Path) -> tuple[np.ndarray, np.ndarray]:
    flat = numbers_of(values or []).ravel()
    if len(flat) % 3:
        raise PosegenError(f"{where}: {len(flat)} numbers are not a multiple of x, y, score")
    columns = flat.reshape(-1, 3)
    if is_in_space(columns[:, :2], columns[:, 2]):
        raise lifted(where)
    return columns[:, :2], columns[:, 2]


def openpose_people(frame: dict[str, Any], path: Path, layouts: Layouts) -> People:
    """Read a frame of OpenPose, or of AlphaPose in OpenPose's format. Old versions use names without `_2d`."""
    people = []
    for person in in_one_frame(frame.get("people") or frame.get("bodies") or [], path):
        given = {name.removesuffix("_2d"): values for name, values in person.items()}
        points, scores = _triples(given.get("pose_keypoints") or given.get("joints"), path)
        body = person_of(points, scores, path, layouts) if len(points) else _nobody()  # hands or a face alone
        people.append(_with_parts(body, given, _OPENPOSE_PARTS, path))
    return people


def _nobody() -> PersonPose:
    return PersonPose(np.zeros((NUM_KEYPOINTS, 2), np.float32), np.zeros(NUM_KEYPOINTS, np.float32), empty_hands())


def annotated(person: dict[str, Any], path: Path, layouts: Layouts = LAYOUTS) -> PersonPose:
    """Read one person of COCO's annotations or results, or of AlphaPose's results."""
    points, scores = _triples(person.get("keypoints"), path)
    # 17 points are COCO's in these formats, which passing a layout states
    body = person_of(points, scores, path, dict(layouts)) if len(points) else _nobody()
    return _with_parts(body, person, COCO_PARTS, path)


def _with_parts(body: PersonPose, person: dict[str, Any], parts: dict[str, slice], path: Path) -> PersonPose:
    """Add face, hands and feet, if given, to the body; scores are 0 to 1 or COCO's 0, 1, 2."""
    if not any(person.get(name) for name in parts):
        return body
    keypoints, scores = body.keypoints.copy(), body.scores.copy()
    for name, place in parts.items():
        if person.get(name):
            points, seen = _triples(person[name], path)
            wanted = place.stop - place.start
            if len(points) == wanted + 2 and place == FACE:  # OpenPose's face has the pupils, too
                points, seen = points[:wanted], seen[:wanted]
            if len(points) != wanted:
                raise PosegenError(f"{path}: {name} has {len(points)} points, not {wanted}")
            keypoints[place], scores[place] = _finite(points, seen)
    return PersonPose(keypoints, scores, body.hands)


def _finite(points: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mark points of a part that are not finite as not seen."""
    usable = np.isfinite(points).all(axis=-1) & np.isfinite(scores)
    return np.where(usable[..., None], points, 0), np.where(usable, np.clip(scores, 0, 1), 0)


def dwpose_people(frame: dict[str, Any], path: Path, layouts: Layouts) -> People:
    """Read a frame of DWPose: fractions of the image; seen flags or scores; left hands, then right."""
    bodies = frame["bodies"]
    if not np.size(bodies["candidate"]):
        return []
    points = numbers_of(bodies["candidate"])[..., :2].reshape(-1, 18, 2)
    subset = numbers_of(bodies["subset"]).reshape(-1, np.array(bodies["subset"]).shape[-1])[:, :18]
    scores = numbers_of(bodies["score"]).reshape(-1, 18) if "score" in bodies else (subset >= 0) * 1.0
    people = []
    for body, seen in zip(points, scores, strict=True):
        people.append(PersonPose(*to_wholebody(body, seen.astype(np.float32), OPENPOSE_18)))
    for name, places in (("hands", (LEFT_HAND, RIGHT_HAND)), ("faces", (FACE,))):
        if not frame.get(name):
            continue
        given = numbers_of(frame[name])
        sure = numbers_of(frame.get(f"{name}_score", (given >= 0).all(axis=-1)))
        wanted = places[0].stop - places[0].start
        if given.shape != (len(places) * len(people), wanted, 2):
            raise PosegenError(f"{path}: {name} has the shape {given.shape} for {len(people)} people")
        for number, place in enumerate(places):
            for index, person in enumerate(people):
                row = number * len(people) + index
                person.keypoints[place], person.scores[place] = _finite(given[row], sure[row])
    return people


def landmark_people(frame: dict[str, Any], path: Path, layouts: Layouts) -> People:
    """Read MediaPipe's landmarks of one person or a list of people; separate hands belong to one person."""
    given = next((frame[name] for name in LANDMARKS if frame.get(name)), None) or []
    if isinstance(given, dict):
        given = given["landmark"]
    nested = given and isinstance(given[0], list) and given[0] and isinstance(given[0][0], dict | list)
    everybody = in_one_frame(given, path) if nested else [given]
    people = [_landmarks_of(person, path, layouts) for person in everybody if person]
    if not people and any(frame.get(name) for name in HAND_LANDMARKS):
        people = [_nobody()]
    if len(people) == 1:
        for name, place in HAND_LANDMARKS.items():
            hand = frame.get(name)
            points = hand.get("landmark") if isinstance(hand, dict) else hand
            if points and isinstance(points[0], list) and not isinstance(points[0][0], int | float):
                points = points[0]
            if points:
                places = numbers_of([_columns(point)[:2] for point in points])
                places = hand_from_wrist(places) if len(places) == place.stop - place.start else places
                people[0].keypoints[place], people[0].scores[place] = _finite(places, np.ones(len(places), np.float32))
    return people


def _landmarks_of(points: list[Any], path: Path, layouts: Layouts) -> PersonPose:
    if isinstance(points[0], dict) and all("name" in point for point in points):
        layouts = layouts_with_names([str(point["name"]) for point in points], str(path))
    columns = [_columns(point) for point in points]
    places, scores = numbers_of([each[:2] for each in columns]), numbers_of([each[2] for each in columns])
    return person_of(places, scores, path, layouts)


def _columns(point: Any) -> tuple[float, float, float]:
    """Return x, y and visibility of a landmark."""
    if isinstance(point, dict):
        sure = [point[name] for name in ("visibility", "presence", "score") if point.get(name) is not None]
        return point["x"], point["y"], min(sure, default=1.0)
    return point[0], point[1], point[3] if len(point) > 3 else 1.0
