"""Reads landmarks of MediaPipe (Pose, Holistic, Hands): JSON with an entry for each frame, or the long table as CSV.

World landmarks (metres, origin between the hips) are taken where there are any: they can be filmed from anywhere. Hands
are put at the wrists, with the size that the body has. Landmarks of the image alone stay in the plane. Own code: there
is no format, only what programs write, and no library that reads it.
"""

import csv
import io
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32

from posegen.conditions.estimators.layouts import MEDIAPIPE_NAMES
from posegen.errors import PosegenError
from posegen.media.data_files import MEGABYTE, read_json, read_text
from posegen.motion.motion_data import Asked, Motion, check_amount, even_times, simple_rate

FORM = "MediaPipe landmarks"
_MAX_BYTES = 512 * MEGABYTE
_MAX_MEMORY = 4096 * MEGABYTE
_WORLD = (
    "pose_world_landmarks",
    "poseWorldLandmarks",
    "worldLandmarks",
    "world_landmarks",
    "keypoints3D",
    "keypoints3d",
)
_IMAGE = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
_HANDS = {
    "left": ("left_hand_landmarks", "leftHandLandmarks"),
    "right": ("right_hand_landmarks", "rightHandLandmarks"),
}
_HANDS_WORLD = {
    "left": ("left_hand_world_landmarks", "leftHandWorldLandmarks"),
    "right": ("right_hand_world_landmarks", "rightHandWorldLandmarks"),
}
_TIMES = {"timestamp_ms": 1e-3, "timestampMs": 1e-3, "time_ms": 1e-3, "timestamp_us": 1e-6, "timestamp_seconds": 1.0,
          "timestamp": None, "time": None, "t": None}  # fmt: skip  # a table, read in rows
"""Names of a frame's time, and seconds of its unit; None where the size of the numbers must tell."""
_ASPECTS = (16 / 9, 9 / 16, 4 / 3, 3 / 4, 1.0, 3 / 2, 2 / 3)
"""Width over height of usual videos."""
_ENOUGH = 10
"""Minimum number of frames by which the shape of an image can be told."""
_BONES = ((11, 12), (11, 13), (12, 14), (13, 15), (14, 16), (23, 25), (24, 26), (25, 27), (26, 28), (11, 23), (12, 24))
"""Bones between MediaPipe's landmarks, whose lengths do not change."""
_HAND_NAMES = {side: tuple(f"{side}_hand_{joint}" for joint in range(21)) for side in ("left", "right")}
_COLUMNS = {"frame", "type", "landmark_index", "x", "y", "z"}
Landmarks = Float32[np.ndarray, "frames points 4"]


@dataclass
class _Landmarks:
    """Arrays of x, y, z, visibility for each frame; NaN where a frame has none."""

    world: Landmarks | None = None
    image: Landmarks | None = None
    names: tuple[str, ...] = MEDIAPIPE_NAMES
    hands_world: dict[str, Landmarks] | None = None
    hands: dict[str, Landmarks] | None = None
    seconds: np.ndarray | None = None
    fps: Fraction | None = None
    size: tuple[int, int] | None = None
    people: int = 1


def is_mediapipe(head: bytes) -> bool:
    """Return True if a file that begins with these bytes is JSON or CSV with MediaPipe's landmarks."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] in (b"[", b"{"):
        return any(f'"{name}"'.encode() in text for name in (*_WORLD, *_IMAGE, *_HANDS["left"], *_HANDS["right"]))
    return set(text.split(b"\n", 1)[0].strip().decode("latin-1").split(",")) >= _COLUMNS


def read_mediapipe(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read landmarks. Raises `PosegenError` for files without landmarks of a body."""
    try:
        found = _from_table(path) if path.suffix.lower() == ".csv" else _from_json(path, asked)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as error:
        if isinstance(error, PosegenError):
            raise
        raise PosegenError(f"{path}: cannot be read as MediaPipe landmarks ({error!r:.120})") from None
    rate = found.fps
    notes: tuple[str, ...] = ()
    if found.seconds is not None and len(found.seconds) > 1:
        stated, notes = _place_in_time(found)
        rate = rate or stated
    rate, more = asked.rate(rate, path)
    motion = _in_space(found, rate) if found.world is not None else _in_plane(found, rate, path)
    check_amount(str(path), len(motion), len(motion.names))
    return motion.with_notes(*notes, *more)


def _place_in_time(found: _Landmarks) -> tuple[Fraction | None, tuple[str, ...]]:
    """Put all arrays at even times, in place."""
    seconds = found.seconds
    if seconds is None:
        return None, ()
    arrays = [each for each in (found.world, found.image) if each is not None]
    for group in (found.hands_world, found.hands):
        arrays += [] if group is None else list(group.values())
    rate, moved, lines = even_times(seconds, *arrays)
    given = iter(moved)
    found.world = None if found.world is None else next(given)
    found.image = None if found.image is None else next(given)
    for group in (found.hands_world, found.hands):
        for side in group or {}:
            group[side] = next(given)  # type: ignore[index]
    return rate, lines


def _from_json(path: Path, asked: Asked) -> _Landmarks:
    content = read_json(path, "landmarks in JSON", _MAX_BYTES, allow_nan=True, max_memory=_MAX_MEMORY)
    meta = content if isinstance(content, dict) else {}
    frames = content
    if isinstance(content, dict):
        frames = next(
            (content[key] for key in ("frames", "results", "data") if isinstance(content.get(key), list)), None
        )
        frames = [content] if frames is None else frames
    frames = [frame if isinstance(frame, dict) else {} for frame in frames]
    check_amount(str(path), len(frames), 33, 4)
    found = _Landmarks(fps=_rate_of(meta), size=_size_of(meta) or _size_of(frames[0]))
    for names, kind in ((_WORLD, "world"), (_IMAGE, "image")):
        name = next((name for name in names if any(frame.get(name) for frame in frames)), None)
        if name is not None:
            array, people, own = _points(frames, name, 33, asked, path)
            setattr(found, kind, array)
            found.people, found.names = max(found.people, people), own or found.names
    for table, kind in ((_HANDS_WORLD, "hands_world"), (_HANDS, "hands")):
        hands = {}
        for side, choices in table.items():
            name = next((name for name in choices if any(frame.get(name) for frame in frames)), None)
            if name is not None:
                hands[side] = _points(frames, name, 21, asked, path)[0]
        setattr(found, kind, hands or None)
    found.seconds = _seconds_of(frames)
    if found.world is None and found.image is None:
        raise PosegenError(f"{path}: holds no landmarks of a body (pose_world_landmarks or pose_landmarks)")
    return found


def _points(
    frames: list[dict[str, Any]], name: str, count: int, asked: Asked, path: Path
) -> tuple[Landmarks, int, tuple[str, ...] | None]:
    """Return the landmarks of one person in all frames, the number of people, and names if the file has them."""
    result, people, own = np.full((len(frames), count, 4), np.nan, np.float32), 1, None
    for index, frame in enumerate(frames):
        given = frame.get(name) or []
        given = given.get("landmark", []) if isinstance(given, dict) else given
        if given and isinstance(given[0], list) and given[0] and isinstance(given[0][0], dict | list):
            people = max(people, len(given))
            number = asked.person - 1 if asked.person and count == 33 else 0
            given = given[number] if number < len(given) else []
        if not given:
            continue
        if own is None and isinstance(given[0], dict) and all("name" in point for point in given):
            own = tuple(str(point["name"]) for point in given)
            if len(own) != count:
                count = len(own)
                result = np.full((len(frames), count, 4), np.nan, np.float32)
        if len(given) != count:
            raise PosegenError(
                f"{path}: frame {index} has {len(given)} landmarks under {name}, not MediaPipe's {count}"
            )
        result[index] = [_column(point) for point in given]
    if asked.person and count == 33:
        asked.index(people, path)
    return result, people, own


def _column(point: Any) -> tuple[float, float, float, float]:
    if isinstance(point, dict):
        sure = [point[name] for name in ("visibility", "presence", "score") if point.get(name) is not None]
        return point["x"], point["y"], point.get("z", 0.0), min(sure, default=1.0)
    return point[0], point[1], point[2], point[3] if len(point) > 3 else 1.0


def _rate_of(meta: dict[str, Any]) -> Fraction | None:
    for name in ("fps", "frame_rate", "frameRate", "framerate"):
        if isinstance(meta.get(name), int | float) and (rate := simple_rate(meta[name])) is not None:
            return rate
    return None


def _size_of(meta: dict[str, Any]) -> tuple[int, int] | None:
    for wide, high in (("width", "height"), ("image_width", "image_height"), ("video_width", "video_height")):
        if isinstance(meta.get(wide), int | float) and isinstance(meta.get(high), int | float):
            height, width = round(meta[high]), round(meta[wide])
            return (height, width) if min(height, width) >= 16 and max(height, width) <= 16384 else None
    return None


def _seconds_of(frames: list[dict[str, Any]]) -> np.ndarray | None:
    for name, unit in _TIMES.items():
        values = [frame.get(name) for frame in frames]
        if all(isinstance(value, int | float) for value in values):
            times = np.array(values, np.float64)
            step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
            # without a unit: frames are 1 to 1000 ms apart
            scale = unit if unit is not None else 1.0 if step < 1 else 1e-3 if step < 1000 else 1e-6
            return times * scale
    return None


def _from_table(path: Path) -> _Landmarks:
    """Read the long table: a row for each landmark (frame, type, landmark_index, x, y, z)."""
    text = read_text(path, "landmarks in CSV", _MAX_BYTES)
    rows = csv.DictReader(io.StringIO(text))
    columns: dict[str, list[tuple[int, int, float, float, float]]] = {}
    for row in rows:
        values = [float(row[name]) if row[name] not in ("", None) else np.nan for name in ("x", "y", "z")]
        columns.setdefault(row["type"], []).append((int(row["frame"]), int(row["landmark_index"]), *values))  # type: ignore[arg-type]
    if "pose" not in columns:
        raise PosegenError(f"{path}: has no rows of the type pose")
    given = {kind: np.array(found) for kind, found in columns.items()}
    first = int(min(values[:, 0].min() for values in given.values()))
    frames = int(max(values[:, 0].max() for values in given.values())) - first + 1
    check_amount(str(path), frames, 75, 4)

    def placed(kind: str, count: int) -> Landmarks:
        result = np.full((frames, count, 4), np.nan, np.float32)
        values = given[kind]
        frame, joint = values[:, 0].astype(int) - first, values[:, 1].astype(int)
        usable = (joint >= 0) & (joint < count)
        result[frame[usable], joint[usable]] = np.column_stack([values[usable, 2:5], np.ones(usable.sum())])
        return result

    hands = {side: placed(f"{side}_hand", 21) for side in _HANDS if f"{side}_hand" in given}
    return _Landmarks(image=placed("pose", 33), hands=hands or None)


def _in_space(found: _Landmarks, rate: Fraction) -> Motion:
    """Build the motion of world landmarks: x right, y down, z away from the camera, in metres."""
    if found.world is None:
        raise ValueError("world landmarks are given")
    names, points, scores = list(found.names), [found.world[..., :3]], [found.world[..., 3]]
    wrists = {side: found.names.index(f"{side}_wrist") for side in ("left", "right") if f"{side}_wrist" in found.names}
    scale = _metres_per_pixel(found)
    notes = ["world landmarks have their origin between the hips: the person stays on the spot"]
    for side, wrist in wrists.items():
        hand = (found.hands_world or {}).get(side)
        if hand is None and scale is not None and side in (found.hands or {}):
            hand = _pixels(found.hands[side], found)[0] * scale[:, None, None]  # type: ignore[index]
        if hand is not None:
            placed = hand[..., :3] - hand[:, :1, :3] + found.world[:, wrist : wrist + 1, :3]
            names += _HAND_NAMES[side]
            points.append(placed.astype(np.float32))
            scores.append(np.isfinite(placed[..., 0]).astype(np.float32))
    return Motion(
        FORM,
        tuple(names),
        np.concatenate(points, axis=1),
        1 / rate,
        metres=1.0,
        up="-y",
        scores=np.nan_to_num(np.concatenate(scores, axis=1)),
        estimated=True,
        people=found.people,
        notes=tuple(notes),
    )


def _metres_per_pixel(found: _Landmarks) -> np.ndarray | None:
    """Return the size of a pixel at the person in each frame, from the same bones in space and in the image."""
    if found.image is None or found.world is None or found.image.shape != found.world.shape:
        return None
    image, lengths = _pixels(found.image, found)[0], []
    for start, stop in _BONES:
        space = np.linalg.norm(found.world[:, start, :3] - found.world[:, stop, :3], axis=1)
        plane = np.linalg.norm(image[:, start] - image[:, stop], axis=1)
        lengths.append(space / np.maximum(plane, 1e-6))
    return np.asarray(np.median(lengths, axis=0))


def _pixels(points: Landmarks, found: _Landmarks) -> tuple[np.ndarray, tuple[int, int], str | None]:
    """Return x, y and depth in pixels, the image's size, and a line if its shape is a guess."""
    line = None
    size = found.size
    if size is None:
        image = found.image if found.image is not None else points
        aspect, sure = _guess_aspect(image)
        size = (1000, round(1000 * aspect))
        line = (
            f"the file does not say the size of the image: its shape is taken as {_words(aspect)}"
            + ("" if sure else ", which is uncertain")
            + ' ("width" and "height" beside the frames say it)'
        )
    scaled = points[..., :3] * np.array([size[1], size[0], size[1]], np.float32)
    return scaled, size, line


def _words(aspect: float) -> str:
    known = ((16, 9), (9, 16), (4, 3), (3, 4), (1, 1), (3, 2), (2, 3))
    return next(f"{wide}:{high}" for wide, high in known if abs(wide / high - aspect) < 1e-6)


def _guess_aspect(image: Landmarks) -> tuple[float, bool]:
    """Return the shape of the image with which bones change their length least, and whether that is clear."""
    step = max(1, len(image) // 500)
    sample = image[::step, :, :3].astype(np.float64)
    sample = sample[np.isfinite(sample).all(axis=(1, 2))]
    if len(sample) < _ENOUGH:
        return _ASPECTS[0], False

    def variation(aspect: float) -> float:
        points = sample * np.array([aspect, 1, aspect])
        lengths = np.stack([np.linalg.norm(points[:, start] - points[:, stop], axis=1) for start, stop in _BONES])
        lengths = lengths / np.maximum(np.median(lengths, axis=0), 1e-9)  # without the distance from the camera
        return float(np.mean(lengths.std(axis=1) / np.maximum(lengths.mean(axis=1), 1e-9)))

    found = sorted((variation(aspect), aspect) for aspect in _ASPECTS)
    return found[0][1], found[0][0] < 0.9 * found[1][0]


def _in_plane(found: _Landmarks, rate: Fraction, path: Path) -> Motion:
    """Build the motion of landmarks of the image, in pixels, with the depth of hands."""
    if found.image is None:
        raise PosegenError(f"{path}: holds no landmarks of a body")
    body, size, line = _pixels(found.image, found)
    names, points, scores = list(found.names), [body], [found.image[..., 3]]
    for side, hand in (found.hands or {}).items():
        names += _HAND_NAMES[side]
        points.append(_pixels(hand, found)[0])
        scores.append(np.isfinite(hand[..., 0]).astype(np.float32))
    places = np.concatenate(points, axis=1)
    return Motion(
        FORM,
        tuple(names),
        np.ascontiguousarray(places[..., :2]),
        1 / rate,
        size=size,
        depth=np.ascontiguousarray(places[..., 2]),
        scores=np.nan_to_num(np.concatenate(scores, axis=1)),
        estimated=True,
        people=found.people,
        notes=() if line is None else (line,),
    )
