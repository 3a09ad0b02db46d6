"""Recognises the format of keypoints in JSON, and collects its frames: entries with people, in the file's unit.

The people of one frame are read in `keypoint_people`. Entries are assigned to frames of the video in `frame_numbers`,
and the unit of the coordinates is found in `units`.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posegen.conditions.estimators.frame_numbers import numbers_in_names
from posegen.conditions.estimators.keypoint_content import (
    MAX_PEOPLE,
    Content,
    Entry,
    People,
    bounded,
    canvas_of,
    in_all_frames,
)
from posegen.conditions.estimators.keypoint_people import (
    COCO_PARTS,
    HAND_LANDMARKS,
    LANDMARKS,
    annotated,
    dwpose_people,
    instances,
    landmark_people,
    openpose_people,
)
from posegen.conditions.estimators.layouts import LAYOUTS, Layouts, layouts_of_meta, layouts_with_names
from posegen.errors import PosegenError

_NUMBERS = ("frame_id", "frame_index", "frame_idx", "frame_number", "frame_num", "frameIndex", "frame", "image_id")


def parse(content: Any, path: Path) -> Content | None:
    """Parse one JSON file in any of the known formats; None for all others.

    Raises `PosegenError` for errors in a known format, and Python's own errors for values of the wrong type.
    """
    if isinstance(content, dict):
        return _parse_object(content, path)
    return _parse_list(content, path) if isinstance(content, list) and content else None


def _parse_object(content: dict[str, Any], path: Path) -> Content | None:
    """Parse an object: a whole file with its description, or one frame."""
    if "annotations" in content:
        return _coco(content, path)
    described = next((content[name] for name in ("meta_info", "dataset_meta") if content.get(name)), content)
    layouts = layouts_of_meta(described, str(path))
    for name in ("instance_info", "predictions", "frames"):
        frames = content.get(name)
        if isinstance(frames, list) and (frames or name == "instance_info"):
            if name == "instance_info" and (not frames or "instances" not in frames[0]):
                return _MMPOSE.content(path, [Entry(instances(frames, path, layouts))])
            found = _parse_list(frames, path, layouts)
            return replace(found, first=1) if found and name == "instance_info" else found
    for form in _FORMS:
        if form.is_one(content):
            return form.content(path, [_entry(content, form.read(content, path, layouts))])
    if content and all(isinstance(each, dict) and ({"people", "bodies"} & each.keys()) for each in content.values()):
        found = _parse_list(list(content.values()), path)  # AlphaPose: the name of each image, and its people
        if found is not None:
            named = [replace(entry, number=name) for name, entry in zip(content, found.entries, strict=True)]
            return replace(found, form="AlphaPose results", entries=named, first=_alphapose_first(list(content)))
    return None


def _parse_list(content: list[Any], path: Path, layouts: Layouts = LAYOUTS) -> Content | None:
    """Parse a list: of frames, of people with their image's name, or of people (or points) of one frame."""
    if len(content) > MAX_PEOPLE:
        raise PosegenError(f"{path}: a list of {len(content):,} is longer than any video")
    first = next((each for each in content if each), None)
    if first is None:
        if any(not isinstance(each, list | dict | None) for each in content):
            return None
        return Content("", [Entry([]) for _ in content])
    if isinstance(first, list):
        if first and isinstance(first[0], list) and _is_plain(first[0]):
            raise PosegenError(
                f"{path}: lists of numbers without names do not say what they are: put the same array into an NPZ, as "
                "keypoints (frames, points, 2) and scores (frames, points)"
            )
        if _is_point(first[0]) or (isinstance(first[0], list) and first[0] and _is_point(first[0][0])):
            return _MEDIAPIPE.content(
                path, (Entry(landmark_people({"landmarks": frame}, path, layouts)) for frame in content)
            )
        return _MMPOSE.content(path, (Entry(instances(frame or [], path, layouts)) for frame in content))
    if "image_id" in first and "keypoints" in first:
        return _results(content, path, layouts)
    for form in _FORMS:
        if any(isinstance(frame, dict) and form.is_one(frame) for frame in content):
            return form.content(
                path, (_entry(frame or {}, form.read(frame, path, layouts) if frame else []) for frame in content)
            )
    if "keypoints" in first:
        return _MMPOSE.content(path, [Entry(instances(content, path, layouts))])
    if _is_point(first):
        return _MEDIAPIPE.content(path, [Entry(landmark_people({"landmarks": content}, path, layouts))])
    return None


def _entry(frame: dict[str, Any], people: People) -> Entry:
    """Make an entry from a frame's people, number and canvas."""
    number = next((frame[name] for name in _NUMBERS if isinstance(frame.get(name), int | str)), None)
    return Entry(people, number, canvas_of(frame.get("canvas_width"), frame.get("canvas_height")))


def _coco(content: dict[str, Any], path: Path) -> Content:
    """Parse COCO annotations, with its names of points and sizes of images."""
    names = {category.get("id"): category.get("keypoints") for category in content.get("categories") or []}
    only = next(iter(names.values())) if len(names) == 1 else None  # of people without a category
    layouts: dict[Any, Layouts] = {}
    images = {image["id"]: image for image in content.get("images") or []}
    found: dict[Any, People] = {image: [] for image in images}
    in_all_frames(content["annotations"], path)
    for person in content["annotations"]:
        if not any(person.get(name) for name in ("keypoints", *COCO_PARTS)):
            continue  # a box alone
        if images and person["image_id"] not in images:
            raise PosegenError(
                f"{path}: an annotation refers to image {person['image_id']!r:.60}, which is not in its list"
            )
        category = person.get("category_id")
        if category not in layouts:  # only of categories that people belong to: others may be animals
            given = names.get(category, only if category is None else None)
            layouts[category] = layouts_with_names(given, str(path)) if given else LAYOUTS
        found.setdefault(person["image_id"], []).append(annotated(person, path, layouts[category]))
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


def _results(people: list[dict[str, Any]], path: Path, layouts: Layouts) -> Content:
    """Parse results of AlphaPose and COCO: a list of people, each with its image."""
    found: dict[Any, People] = {}
    in_all_frames(people, path)
    for person in people:
        found.setdefault(person["image_id"], []).append(annotated(person, path, layouts))
    entries = [Entry(each, number) for number, each in found.items()]
    if all(isinstance(number, str) for number in found):
        return Content("AlphaPose results", entries, first=_alphapose_first(list(found)))
    return Content("COCO results", entries)


def _alphapose_first(names: list[str]) -> int | None:
    """Return 0 for AlphaPose's names of video frames, 0.jpg, 1.jpg, ...; None for images with names of their own."""
    return 0 if all(re.fullmatch(r"0|[1-9]\d*\.\w+", Path(name).name) for name in names) else None


def _is_plain(values: list[Any]) -> bool:
    """Return True for a list of numbers, or of points that are such lists."""
    inner = values[0] if values else None
    return isinstance(inner, int | float) or (isinstance(inner, list) and bool(inner) and _is_plain(inner))


def _is_point(value: Any) -> bool:
    return isinstance(value, dict) and "x" in value and "y" in value


@dataclass(frozen=True)
class _Form:
    """Format with an object for each frame: how to recognise and read one; the rest as in `Content`."""

    name: str
    is_one: Callable[[dict[str, Any]], bool]
    read: Callable[[dict[str, Any], Path, Layouts], People]
    first: int | None = None
    centred: bool = False
    guessed_outside: bool = False

    def content(self, path: Path, entries: Iterable[Entry]) -> Content:
        """Collect the entries of a file in this format. Raises `PosegenError` for too many people."""
        return Content(
            self.name, bounded(entries, path), self.first, centred=self.centred, guessed_outside=self.guessed_outside
        )


_MMPOSE = _Form(
    "MMPose keypoints",
    lambda frame: "instances" in frame,
    lambda frame, path, layouts: instances(frame.get("instances") or [], path, layouts),
    first=0,
)
_MEDIAPIPE = _Form(
    "MediaPipe landmarks",
    lambda frame: any(name in frame for name in (*LANDMARKS, *HAND_LANDMARKS)),
    landmark_people,
    guessed_outside=True,
)
_FORMS = (
    _Form("OpenPose keypoints", lambda frame: "people" in frame, openpose_people, centred=True),
    _Form("AlphaPose results", lambda frame: isinstance(frame.get("bodies"), list), openpose_people),
    _Form("DWPose keypoints", lambda frame: "bodies" in frame, dwpose_people),
    _MMPOSE,
    _MEDIAPIPE,
)
