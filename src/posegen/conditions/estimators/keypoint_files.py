"""Reads keypoint files of other tools as people frame by frame in pixels of the video.

Formats: OpenPose, MMPose (Inferencer, demo), Sapiens, AlphaPose, COCO and COCO-WholeBody, DWPose, MediaPipe landmarks,
all as JSON (a folder with a file for each frame, or one file), and NPZ with `keypoints` and `scores`. Points are
identified by name if a file names them, else by their number. Files that need unpickling are refused: they can run
code. Entries are assigned to frames in `frame_numbers`, the unit is found in `units`, the layout of 17 points without
names in `unnamed_points`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from posegen.conditions.estimators.frame_numbers import numbers_in_names
from posegen.conditions.estimators.keypoint_content import (
    MAX_PEOPLE,
    Content,
    Entry,
    People,
    UnnamedPose,
    canvas_of,
    has_landmarks,
    person_of,
    plane_of,
)
from posegen.conditions.estimators.keypoint_forms import parse
from posegen.conditions.estimators.layouts import layouts_of_meta
from posegen.conditions.estimators.units import IN_WORDS, choose_unit, describe_canvas, in_pixels
from posegen.conditions.estimators.unnamed_points import name_points
from posegen.errors import PosegenError
from posegen.media.data_files import MAX_ARRAYS, MEGABYTE, read_json, read_npz

FORMATS = (
    "JSON of OpenPose, MMPose, Sapiens, AlphaPose, COCO-WholeBody, DWPose or MediaPipe (one file, or a folder with one "
    "for each frame), NPZ with keypoints (frames, points, 2) and scores (frames, points), or a skeleton video (.mp4, "
    ".mkv, .mov, .webm)"
)
MOTION_SUFFIXES = (
    ".bvh", ".c3d", ".trc", ".pose", ".h5", ".slp", ".csv", ".npy", ".glb", ".gltf", ".vrm", ".vrma", ".vmd",
)  # fmt: skip  # a list, read in rows
"""Suffixes of files that `--motion` reads (`posegen.motion`)."""
MAX_BYTES = 512 * MEGABYTE
"""Maximum size of a JSON file: 20 minutes or more of one person's 133 points. NPZ takes a fifth of that."""
_MAX_MEMORY = 2048 * MEGABYTE
_LEAST_MEMORY, _FRAME_MEMORY = 64 * MEGABYTE, MEGABYTE // 4
"""What JSON may take for any video, and for each of its frames: ten people of 133 points."""
_LEAST_ARRAYS, _FRAME_ARRAYS = 16 * MEGABYTE, MEGABYTE // 16
"""The same of arrays, in bytes."""
_UNREADABLE = (ValueError, KeyError, TypeError, IndexError, AttributeError, OverflowError)


@dataclass(frozen=True)
class KeypointFile:
    """People in pixels of the video, entry by entry.

    numbers: of the entries, rising; None without any; first, all_listed: as in `Content`; description: format, points
    and unit in words; doubts: what may be wrong, a line each.
    """

    people: list[People]
    numbers: list[int] | None
    first: int | None
    all_listed: bool
    description: str
    doubts: list[str] = field(default_factory=list)


def check_size(path: Path) -> None:
    """Raise `PosegenError` for a JSON file that is too large to be read for any video: it need not even be hashed."""
    if path.suffix.lower() == ".json" and path.is_file() and path.stat().st_size > MAX_BYTES:
        raise PosegenError(f"{path}: larger than {MAX_BYTES // MEGABYTE} MB, the maximum for keypoints in JSON")


def read_keypoints(path: Path, size: tuple[int, int], num_frames: int = MAX_PEOPLE) -> KeypointFile:
    """Read a file or folder, in pixels of a video of `size` = (height, width) with `num_frames` frames.

    Raises `PosegenError` for a file that is none of the known ones, and names them; also for one that is far larger
    than so many frames need, before it is read.
    """
    if not path.exists():
        raise PosegenError(f"{path}: there is no such file or folder of keypoints")
    try:
        content, numbers = _read_folder(path, num_frames) if path.is_dir() else _read_file(path, num_frames)
    except PosegenError:
        raise
    except _UNREADABLE as error:
        raise PosegenError(f"{path}: cannot be read as keypoints ({error!r:.160}); known are {FORMATS}") from None
    people = [person for entry in content.entries for person in entry.people]
    canvases = [entry.canvas for entry in content.entries if entry.people]
    choice = choose_unit(people, content.centred and not any(canvases))
    frames = [
        [in_pixels(person, choice.unit, size, entry.canvas, content.guessed_outside) for person in entry.people]
        for entry in content.entries
    ]
    unnamed = [[isinstance(person, UnnamedPose) for person in entry.people] for entry in content.entries]
    frames, whose = name_points(frames, unnamed)
    unit = IN_WORDS[choice.unit]
    doubts = []
    if whose is not None and whose.doubt is not None:
        doubts.append(f"{path.name}: {whose.doubt}")
    if choice.doubt is not None:
        doubts.append(f"{path.name}: coordinates are taken {unit}, but that is not certain: {choice.doubt}")
    stretched = describe_canvas(canvases, size) if choice.unit == "pixels" else None
    if stretched is not None:
        doubts.append(f"{path.name}: {stretched}")
    if choice.unit == "pixels" and any(canvases):
        width, height = next(canvas for canvas in canvases if canvas is not None)
        unit += f" of a picture of {height:g}x{width:g} (height x width)"
    form = content.form if whose is None else f"{content.form}, {whose.description}"
    description = f"{path.name}: {form}, coordinates {unit}" if people else f"{path.name}: nobody is in it"
    return KeypointFile(frames, numbers, content.first, content.all_listed, description, doubts)


def _read_file(path: Path, num_frames: int) -> tuple[Content, list[int] | None]:
    """Read one file; return its entries in order, and their numbers."""
    if path.suffix.lower() == ".npz":
        content = _read_npz(path, num_frames)
    elif path.suffix.lower() == ".json":
        content = _known(_load(path, num_frames), path)
    else:
        if path.suffix.lower() in MOTION_SUFFIXES:
            raise PosegenError(
                f"{path}: is motion, not keypoints of a video: `posegen generate --motion {path.name}` takes it "
                "in the place of a driving video"
            )
        raise PosegenError(f"{path}: not a known keypoint format; known are {FORMATS}")
    return _in_order(content, [entry.number for entry in content.entries])


def _read_folder(path: Path, num_frames: int) -> tuple[Content, list[int] | None]:
    """Read a folder of JSON files. Frames are numbered by the files' names, else by the files' content."""
    files = sorted((file for file in path.glob("*.json") if not file.name.startswith(".")), key=_natural)
    if not files:
        raise PosegenError(f"{path}: the folder holds no .json files; known are {FORMATS}")
    if len(files) == 1:
        return _read_file(files[0], num_frames)
    contents, people = [], 0
    for file in files:
        try:
            loaded = _load(file, num_frames)
            contents.append(_known(loaded, file) if loaded else Content("", [Entry([])]))
        except PosegenError:
            raise
        except _UNREADABLE as error:
            raise PosegenError(f"{file}: cannot be read as keypoints ({error!r:.160}); known are {FORMATS}") from None
        people += sum(len(entry.people) for entry in contents[-1].entries)
        if people > MAX_PEOPLE:
            raise PosegenError(
                f"{path}: holds more than the maximum of {MAX_PEOPLE:,} people: keep those of one person"
            )
    entries = [entry for content in contents for entry in content.entries]
    known = next((content for content in contents if content.form), contents[0])
    merged = replace(known, entries=entries, first=None, all_listed=False)
    if len(entries) != len(files):  # several frames in a file: one after the other
        return merged, None
    names = [file.name for file in files]
    if all(re.search(r"_\d{12}_keypoints\.json$", name) for name in names):
        merged = replace(merged, first=0)  # OpenPose's own names for frames of a video
    if numbers_in_names(names) is None:
        return _in_order(merged, [entry.number for entry in entries])
    return _in_order(merged, list(names))


def _known(loaded: Any, path: Path) -> Content:
    content = parse(loaded, path)
    if content is None:
        raise PosegenError(f"{path}: this JSON is not in a known format; known are {FORMATS}")
    return content


def _load(path: Path, num_frames: int) -> Any:
    most = min(_MAX_MEMORY, _LEAST_MEMORY + num_frames * _FRAME_MEMORY)
    kind = f"keypoints of {num_frames} frames in JSON" if most < _MAX_MEMORY else "keypoints in JSON"
    return read_json(path, kind, min(MAX_BYTES, most), allow_nan=True, max_memory=most)


def _natural(path: Path) -> list[int | str]:
    """Return a sort key that puts frame_10 after frame_9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.stem)]


def _in_order(content: Content, given: Sequence[int | str | None]) -> tuple[Content, list[int] | None]:
    """Sort the entries by number, and return the numbers. Without numbers they keep the order of the file."""
    numbers: list[int] | None = None
    if given and all(isinstance(number, int) and number >= 0 for number in given):
        numbers = [int(number) for number in given if number is not None]
    elif given and all(isinstance(number, str) for number in given):
        names = [str(number) for number in given]
        numbers = numbers_in_names(names)
        if numbers is None:
            order = sorted(range(len(names)), key=lambda index: _natural(Path(names[index])))
            return replace(content, entries=[content.entries[index] for index in order]), None
    if numbers is None or (len(numbers) > 1 and len(set(numbers)) == 1):  # the same number in each says nothing
        return content, None
    order = sorted(range(len(numbers)), key=numbers.__getitem__)
    entries = [content.entries[index] for index in order]
    return replace(content, entries=entries), [numbers[index] for index in order]


def _read_npz(path: Path, num_frames: int) -> Content:
    most = min(MAX_ARRAYS, _LEAST_ARRAYS + num_frames * _FRAME_ARRAYS)
    names = ("keypoints", "scores", "hands", "size_hw", "dataset_name", "keypoint_names")
    data = read_npz(path, f"keypoints of {num_frames} frames", names, most)
    if data["keypoints"].ndim and len(data["keypoints"]) > num_frames:
        raise PosegenError(
            f"{path} has keypoints of {len(data['keypoints'])} frames, but the driving video has {num_frames}: make "
            "them from this very video, one for each frame"
        )
    meta = {
        "dataset_name": str(data.get("dataset_name", "")),
        "keypoint_names": data.get("keypoint_names", np.array([])).tolist(),
    }
    layouts = layouts_of_meta(meta, str(path))
    with np.errstate(over="ignore"):  # numbers beyond float32 become infinite, which counts as not seen
        points = data["keypoints"].astype(np.float32)
        given_scores = data["scores"].astype(np.float32) if "scores" in data else None
    if points.ndim in (3, 4) and points.shape[-1] in (3, 4):
        points, given_scores = plane_of(points, given_scores, path)
    # without scores, a point at 0, 0 is one that is missing
    scores = np.asarray(points.any(axis=-1), np.float32) if given_scores is None else given_scores
    if points.ndim not in (3, 4) or points.shape[-1] != 2 or scores.shape != points.shape[:-1]:
        raise PosegenError(
            f"{path}: expected keypoints (frames, points, 2) or (frames, people, points, 2) and scores of the same "
            f"frames and points, not {points.shape} and {scores.shape}"
        )
    canvas = None
    if "size_hw" in data:
        height, width = data["size_hw"].tolist()
        canvas = canvas_of(width, height)
    form = f"NPZ of {points.shape[-2]} points"
    hands = data.get("hands")
    if hands is not None and hands.shape != (len(points), 2, 21, 3):
        raise PosegenError(f"{path}: expected hands (frames, 2, 21, 3), not {hands.shape}")
    if points.ndim == 3:
        given = [None] * len(points) if hands is None else list(hands)
        people = [[person_of(*frame[:2], path, layouts, frame[2])] for frame in zip(points, scores, given, strict=True)]
    else:
        people = [
            [person_of(person, score, path, layouts) for person, score in zip(*frame, strict=True) if (score > 0).any()]
            for frame in zip(points, scores, strict=True)
        ]
    entries = [Entry(each, canvas=canvas) for each in people]
    return Content(form, entries, centred=canvas is None, guessed_outside=has_landmarks(points))
