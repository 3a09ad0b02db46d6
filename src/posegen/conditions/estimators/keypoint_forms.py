"""The forms in which tools write keypoints as JSON, and how each is read: as people frame by frame, in the file's unit.

Points are known by name where a file names them, else by their number. Which entry belongs to which frame of the video,
and in which unit the coordinates are, is decided elsewhere (`frame_numbers`, `units`).
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions.estimators.frame_numbers import numbers_in_names
from posegen.conditions.estimators.layouts import (
    HUMAN36M_17,
    LAYOUTS,
    OPENPOSE_18,
    Layouts,
    layout_of_count,
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

People = list[PersonPose]
_OPENPOSE_PARTS = {"face_keypoints": FACE, "hand_left_keypoints": LEFT_HAND, "hand_right_keypoints": RIGHT_HAND}
_COCO_PARTS = {"foot_kpts": FEET, "face_kpts": FACE, "lefthand_kpts": LEFT_HAND, "righthand_kpts": RIGHT_HAND}
_NUMBERS = ("frame_id", "frame_index", "frame_idx", "frame_number", "frame_num", "frameIndex", "frame", "image_id")
_MEDIAPIPE_POINTS = 33
MAX_PEOPLE = 500_000
"""In all frames: an hour of five people. Each takes 2.5 kB."""
_MAX_PEOPLE_IN_FRAME = 1000
_MAX_CANVAS = 1e6
_LANDMARKS = ("landmarks", "pose_landmarks", "poseLandmarks", "landmark")
_HAND_LANDMARKS = {
    "left_hand_landmarks": LEFT_HAND, "leftHandLandmarks": LEFT_HAND, "right_hand_landmarks": RIGHT_HAND,
    "rightHandLandmarks": RIGHT_HAND,
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """People of one frame, in the file's own unit.

    number: the frame's number or the name of its picture, as the file gives it; canvas: (width, height) in pixels of
    the picture that the points belong to.
    """

    people: People
    number: int | str | None = None
    canvas: tuple[float, float] | None = None


@dataclass(frozen=True)
class Content:
    """People of all frames of a file, and what its form says about them.

    form: whose it is, in words; first: the number from which the tool counts frames, where that is known; centred:
    whether there are tools that write this form with coordinates from -1 to 1; all_listed: frames without people have
    entries, too; guessed_outside: points beyond the picture are guesses, and count as not seen.
    """

    form: str
    entries: list[Entry]
    first: int | None = None
    centred: bool = False
    all_listed: bool = False
    guessed_outside: bool = False


def person_of(
    points: np.ndarray, scores: np.ndarray, where: Path, layouts: Layouts = LAYOUTS, hands: np.ndarray | None = None
) -> PersonPose:
    """One person, from points and scores in the layout that has so many points."""
    keypoints, scores = to_wholebody(points, scores, layout_of_count(points.shape[-2], str(where), layouts))
    return PersonPose(keypoints, scores, empty_hands() if hands is None else hands.astype(np.float32))


def numbers_of(values: Any) -> np.ndarray:
    """Numbers as float32; those beyond its range become infinite, which counts as not seen."""
    with np.errstate(over="ignore"):
        return np.array(values, np.float64).astype(np.float32)


def _in_three_dimensions(where: Path) -> PosegenError:
    return PosegenError(
        f"{where}: its points have three coordinates, as a 3-D lifter writes them, and are no places in the picture: "
        "give the 2-D keypoints that they were made from"
    )


def _in_one_frame(people: list[Any], where: Path) -> list[Any]:
    if len(people) > _MAX_PEOPLE_IN_FRAME:
        raise PosegenError(f"{where}: {len(people):,} people in one frame are more than can be read")
    return people


def _in_all_frames(people: Sequence[Any], where: Path) -> None:
    if len(people) > MAX_PEOPLE:
        raise PosegenError(
            f"{where}: keypoints of more than {MAX_PEOPLE:,} people in all are not read: keep those of one person"
        )


def bounded(entries: Iterable[Entry], where: Path) -> list[Entry]:
    """The entries, one after the other. Raises `PosegenError` for more people than fit into memory."""
    found: list[Entry] = []
    people: list[PersonPose] = []
    for entry in entries:
        found.append(entry)
        people += entry.people
        _in_all_frames(people, where)
    return found


def has_landmarks(points: np.ndarray) -> bool:
    """Tell whether an array (..., points, columns) holds MediaPipe's landmarks, by how many there are."""
    return points.shape[-2] == _MEDIAPIPE_POINTS


def plane_of(points: np.ndarray, scores: np.ndarray | None, where: Path) -> tuple[np.ndarray, np.ndarray]:
    """Places in the picture and scores from arrays of three or four columns. Raises `PosegenError` for other ones."""
    if has_landmarks(points) and (points.shape[-1] == 4 or scores is not None):
        return points[..., :2], points[..., 3] if scores is None else scores  # MediaPipe: x, y, z, visibility
    third = points[..., 2]
    finite = third[np.isfinite(third)]
    if points.shape[-1] == 4 or scores is not None or ((finite < 0) | (finite > 10)).any():
        raise _in_three_dimensions(where)
    return points[..., :2], third


def parse(content: Any, path: Path) -> Content | None:
    """The content of one JSON file, whichever of the known forms it has; None for all others.

    Raises `PosegenError` for what is wrong in a known form, and whatever Python does for values of the wrong kind.
    """
    if isinstance(content, dict):
        return _parse_object(content, path)
    return _parse_list(content, path) if isinstance(content, list) and content else None


def _parse_object(content: dict[str, Any], path: Path) -> Content | None:
    """An object: a whole file with its description, or one frame."""
    if "annotations" in content:
        return _coco(content, path)
    layouts = _layouts_of_meta(content.get("meta_info", content), path)
    for name in ("instance_info", "predictions", "frames"):
        frames = content.get(name)
        if isinstance(frames, list) and (frames or name == "instance_info"):
            if name == "instance_info" and (not frames or "instances" not in frames[0]):
                return _MMPOSE.content(path, [Entry(_instances(frames, path, layouts))])
            found = _parse_list(frames, path, layouts)
            return replace(found, first=1) if found and name == "instance_info" else found
    for form in _FORMS:
        if form.is_one(content):
            return form.content(path, [_entry(content, form.read(content, path, layouts))])
    if content and all(isinstance(each, dict) and ({"people", "bodies"} & each.keys()) for each in content.values()):
        found = _parse_list(list(content.values()), path)  # AlphaPose: the name of each picture, and what is in it
        if found is not None:
            named = [replace(entry, number=name) for name, entry in zip(content, found.entries, strict=True)]
            return replace(found, form="AlphaPose results", entries=named, first=_alphapose_first(list(content)))
    return None


def _parse_list(content: list[Any], path: Path, layouts: Layouts = LAYOUTS) -> Content | None:
    """A list: of frames, of people with their picture's name, or of people (or points) of one frame."""
    if len(content) > MAX_PEOPLE:
        raise PosegenError(f"{path}: a list of {len(content):,} is longer than any video")
    first = next((each for each in content if each), None)
    if first is None:
        if any(not isinstance(each, list | dict | None) for each in content):
            return None
        return Content("", [Entry([]) for _ in content])
    if isinstance(first, list):
        if _is_point(first[0]) or (isinstance(first[0], list) and first[0] and _is_point(first[0][0])):
            return _MEDIAPIPE.content(
                path, (Entry(_landmarks({"landmarks": frame}, path, layouts)) for frame in content)
            )
        return _MMPOSE.content(path, (Entry(_instances(frame or [], path, layouts)) for frame in content))
    if "image_id" in first and "keypoints" in first:
        return _results(content, path)
    for form in _FORMS:
        if any(isinstance(frame, dict) and form.is_one(frame) for frame in content):
            return form.content(
                path, (_entry(frame or {}, form.read(frame, path, layouts) if frame else []) for frame in content)
            )
    if "keypoints" in first:
        return _MMPOSE.content(path, [Entry(_instances(content, path, layouts))])
    if _is_point(first):
        return _MEDIAPIPE.content(path, [Entry(_landmarks({"landmarks": content}, path, layouts))])
    return None


def _entry(frame: dict[str, Any], people: People) -> Entry:
    """The frame's number and canvas beside its people."""
    number = next((frame[name] for name in _NUMBERS if isinstance(frame.get(name), int | str)), None)
    return Entry(people, number, canvas_of(frame.get("canvas_width"), frame.get("canvas_height")))


def canvas_of(width: Any, height: Any) -> tuple[float, float] | None:
    """The size of a canvas, if these two are one."""
    size = float(width or 0), float(height or 0)
    return size if all(1 <= length <= _MAX_CANVAS for length in size) else None


def _layouts_of_meta(meta: Any, where: Path) -> Layouts:
    """The layouts of a file with MMPose's `meta_info`, which names its points, or their data set."""
    if not isinstance(meta, dict):
        return LAYOUTS
    names: dict[int, str] = {}
    if isinstance(meta.get("keypoint_id2name"), dict):
        names = {int(index): str(name) for index, name in meta["keypoint_id2name"].items()}
    elif isinstance(meta.get("keypoint_name2id"), dict):
        names = {int(index): str(name) for name, index in meta["keypoint_name2id"].items()}
    if names and sorted(names) == list(range(len(names))):
        return layouts_with_names([names[index] for index in range(len(names))], str(where))
    return {**LAYOUTS, 17: HUMAN36M_17} if meta.get("dataset_name") in ("h36m", "human36m") else LAYOUTS


def _instances(people: list[dict[str, Any]], path: Path, layouts: Layouts = LAYOUTS) -> People:
    """MMPose, Sapiens and the published code: points and scores apart; older ones x, y, score."""
    found = []
    for person in _in_one_frame(people, path):
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
                raise _in_three_dimensions(path)
            scores = numbers_of(person["keypoint_scores"]).reshape(len(points))
        found.append(person_of(points.reshape(len(points), 2), scores, path, layouts))
    return found


def _points_by_name(points: list[dict[str, Any]], path: Path) -> PersonPose:
    """Points that each say their name, as those of TensorFlow.js do."""
    layouts = layouts_with_names([str(point.get("name", "point")) for point in points], str(path))
    places = numbers_of([[point["x"], point["y"]] for point in points])
    return person_of(places, numbers_of([point.get("score", 1.0) for point in points]), path, layouts)


def _triples(values: Sequence[float] | None, where: Path) -> tuple[np.ndarray, np.ndarray]:
    flat = numbers_of(values or []).ravel()
    if len(flat) % 3:
        raise PosegenError(f"{where}: {len(flat)} numbers are no x, y, score of whole points")
    return flat.reshape(-1, 3)[:, :2], flat.reshape(-1, 3)[:, 2]


def _openpose(frame: dict[str, Any], path: Path, layouts: Layouts) -> People:
    """One frame of OpenPose, or of AlphaPose in OpenPose's forms. Names without `_2d` are those of old versions."""
    people = []
    for person in _in_one_frame(frame.get("people") or frame.get("bodies") or [], path):
        given = {name.removesuffix("_2d"): values for name, values in person.items()}
        points, scores = _triples(given.get("pose_keypoints") or given.get("joints"), path)
        body = person_of(points, scores, path, layouts) if len(points) else _nobody()  # hands or a face alone
        people.append(_with_parts(body, given, _OPENPOSE_PARTS, path))
    return people


def _nobody() -> PersonPose:
    return PersonPose(np.zeros((NUM_KEYPOINTS, 2), np.float32), np.zeros(NUM_KEYPOINTS, np.float32), empty_hands())


def _coco(content: dict[str, Any], path: Path) -> Content:
    """Annotations of COCO, its names of points and the sizes of its pictures with them."""
    names = {category.get("id"): category.get("keypoints") for category in content.get("categories") or []}
    layouts: dict[Any, Layouts] = {}
    images = {image["id"]: image for image in content.get("images") or []}
    found: dict[Any, People] = {image: [] for image in images}
    _in_all_frames(content["annotations"], path)
    for person in content["annotations"]:
        if not person.get("keypoints"):
            continue  # a box alone
        if images and person["image_id"] not in images:
            raise PosegenError(
                f"{path}: an annotation is of picture {person['image_id']!r:.60}, which is not in its list"
            )
        category = person.get("category_id")
        if category not in layouts:  # only of categories that people belong to: others may be animals
            layouts[category] = layouts_with_names(names[category], str(path)) if names.get(category) else LAYOUTS
        body = _body(person, path, layouts[category])
        found.setdefault(person["image_id"], []).append(_with_parts(body, person, _COCO_PARTS, path))
    files = [image.get("file_name") for image in images.values()]
    in_names = numbers_in_names([str(name) for name in files]) if files and all(files) else None
    entries = [
        Entry(
            people,
            number if in_names is None else in_names[index],
            canvas_of(images[number].get("width"), images[number].get("height")) if images else None,
        )
        for index, (number, people) in enumerate(found.items())
    ]
    return Content("COCO annotations", entries, all_listed=bool(images))


def _results(people: list[dict[str, Any]], path: Path) -> Content:
    """AlphaPose's and COCO's results: a list of people with the picture they are in."""
    found: dict[Any, People] = {}
    _in_all_frames(people, path)
    for person in people:
        body = _with_parts(_body(person, path, LAYOUTS), person, _COCO_PARTS, path)
        found.setdefault(person["image_id"], []).append(body)
    entries = [Entry(each, number) for number, each in found.items()]
    if all(isinstance(number, str) for number in found):
        return Content("AlphaPose results", entries, first=_alphapose_first(list(found)))
    return Content("COCO results", entries)


def _alphapose_first(names: list[str]) -> int | None:
    """AlphaPose calls the frames of a video 0.jpg, 1.jpg, ...; pictures of a folder keep their own names."""
    return 0 if all(re.fullmatch(r"0|[1-9]\d*\.\w+", Path(name).name) for name in names) else None


def _body(person: dict[str, Any], path: Path, layouts: Layouts) -> PersonPose:
    return person_of(*_triples(person["keypoints"], path), path, layouts)


def _with_parts(body: PersonPose, person: dict[str, Any], parts: dict[str, slice], path: Path) -> PersonPose:
    """The body with face, hands and feet where they are given, 0 to 1 or COCO's 0, 1, 2 as scores."""
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
    """Points of a part; those that are not finite are not seen."""
    usable = np.isfinite(points).all(axis=-1) & np.isfinite(scores)
    return np.where(usable[..., None], points, 0), np.where(usable, np.clip(scores, 0, 1), 0)


def _dwpose(frame: dict[str, Any], path: Path, layouts: Layouts) -> People:
    """Shares of the picture; which of the 18 body points were seen, or their scores; all left hands, then all right."""
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


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and "x" in value and "y" in value


def _landmarks(frame: dict[str, Any], path: Path, layouts: Layouts) -> People:
    """MediaPipe's landmarks, of one person or a list of people; hands beside the body belong to one person."""
    given = next((frame[name] for name in _LANDMARKS if frame.get(name)), None) or []
    if isinstance(given, dict):
        given = given["landmark"]
    nested = given and isinstance(given[0], list) and given[0] and isinstance(given[0][0], dict | list)
    everybody = _in_one_frame(given, path) if nested else [given]
    people = [_landmarks_of(person, path, layouts) for person in everybody if person]
    if len(people) == 1:
        for name, place in _HAND_LANDMARKS.items():
            hand = frame.get(name)
            points = hand.get("landmark") if isinstance(hand, dict) else hand
            if points and isinstance(points[0], list) and not isinstance(points[0][0], int | float):
                points = points[0]
            if points:
                places = numbers_of([_columns(point)[:2] for point in points])
                people[0].keypoints[place], people[0].scores[place] = _finite(places, np.ones(len(places), np.float32))
    return people


def _landmarks_of(points: list[Any], path: Path, layouts: Layouts) -> PersonPose:
    if isinstance(points[0], dict) and all("name" in point for point in points):
        layouts = layouts_with_names([str(point["name"]) for point in points], str(path))
    columns = [_columns(point) for point in points]
    places, scores = numbers_of([each[:2] for each in columns]), numbers_of([each[2] for each in columns])
    return person_of(places, scores, path, layouts)


def _columns(point: Any) -> tuple[float, float, float]:
    """x, y and visibility of a landmark."""
    if isinstance(point, dict):
        sure = [point[name] for name in ("visibility", "presence", "score") if point.get(name) is not None]
        return point["x"], point["y"], min(sure, default=1.0)
    return point[0], point[1], point[3] if len(point) > 3 else 1.0


@dataclass(frozen=True)
class _Form:
    """A form that has an object for each frame: how to tell and read one; the rest as in `Content`."""

    name: str
    is_one: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any], Path, Layouts], People]
    first: int | None = None
    centred: bool = False
    guessed_outside: bool = False

    def content(self, path: Path, entries: Iterable[Entry]) -> Content:
        """Collect the entries of a file of this form. Raises `PosegenError` for more people than there can be."""
        return Content(
            self.name, bounded(entries, path), self.first, centred=self.centred, guessed_outside=self.guessed_outside
        )


_MMPOSE = _Form(
    "MMPose keypoints",
    lambda frame: "instances" in frame,
    lambda frame, path, layouts: _instances(frame.get("instances") or [], path, layouts),
    first=0,
)
_MEDIAPIPE = _Form(
    "MediaPipe landmarks", lambda frame: any(name in frame for name in _LANDMARKS), _landmarks, guessed_outside=True
)
_FORMS = (
    _Form("OpenPose keypoints", lambda frame: "people" in frame, _openpose, centred=True),
    _Form("AlphaPose results", lambda frame: isinstance(frame.get("bodies"), list), _openpose),
    _Form("DWPose keypoints", lambda frame: "bodies" in frame, _dwpose),
    _MMPOSE,
    _MEDIAPIPE,
)
