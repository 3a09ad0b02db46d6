"""Reads SLEAP's projects and predictions (.slp) and its analysis files (.h5), in pixels of the video.

Own code: `Labels.numpy()` of sleap-io returns nothing once two animals without a track share a frame, and the package
installs forty others. A track is a person; without tracks the instances of a frame are, by their score.
"""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from posegen.errors import PosegenError
from posegen.motion.hdf5_files import hdf5_error, open_hdf5
from posegen.motion.motion_data import Asked, Motion, check_amount

FORM = "SLEAP"
_PIXEL_CENTRES = 1.1
"""Version of the format from which (0, 0) is the middle of the first pixel, as in posegen."""
_MAX_JSON = 64 << 20


def is_sleap(file: Any) -> bool:
    """Return True if an open HDF5 file is a project or an analysis file of SLEAP."""
    return "node_names" in file or ("instances" in file and "metadata" in file)


def read_sleap(path: Path, asked: Asked = Asked()) -> Motion:  # noqa: B008 - it is frozen
    """Read a .slp or an analysis .h5 file. Raises `PosegenError` for others, and for files without instances."""
    with open_hdf5(path) as file, hdf5_error(path):
        names, positions, scores, notes = (
            _read_analysis(file, path) if "node_names" in file else _read_project(file, path)
        )
    people, frames = positions.shape[:2]
    check_amount(str(path), frames, len(names), 2)
    person, about = asked.choose(np.isfinite(positions[..., 0]).any(axis=2), path)
    rate, more = asked.rate(None, path)
    chosen = positions[person].astype(np.float32)
    sure = np.where(np.isfinite(chosen).all(axis=2), np.nan_to_num(scores[person], nan=1.0), 0)
    return Motion(
        FORM,
        names,
        chosen,
        1 / rate,
        scores=np.clip(sure, 0, 1).astype(np.float32),
        estimated=True,
        people=people,
        notes=(*notes, *about, *more),
    )


def _texts(values: Any) -> tuple[str, ...]:
    return tuple(value.decode() if isinstance(value, bytes) else str(value) for value in values[:].ravel().tolist())


def _read_analysis(file: Any, path: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, list[str]]:
    """Read an analysis file: positions (tracks, frames, nodes, 2) and scores."""
    names, tracks = _texts(file["node_names"]), file["tracks"]
    count = len(names)
    if tracks.ndim != 4 or tracks.size > 500_000_000:
        raise PosegenError(f"{path}: tracks have the shape {tracks.shape}")
    if tracks.shape[1:3] == (2, count):  # as SLEAP writes them for MATLAB
        positions, order = tracks[:].transpose(0, 3, 2, 1), (0, 2, 1)
    elif tracks.shape[1:3] == (count, 2):
        positions, order = tracks[:].transpose(3, 0, 1, 2), (2, 0, 1)
    else:
        raise PosegenError(f"{path}: tracks of the shape {tracks.shape} do not fit {count} nodes")
    scores = np.ones(positions.shape[:3])
    if "point_scores" in file and file["point_scores"].size == scores.size:
        scores = file["point_scores"][:].transpose(order)
    return names, positions, scores, []


def _read_project(file: Any, path: Path) -> tuple[tuple[str, ...], np.ndarray, np.ndarray, list[str]]:
    """Read a project or predictions: what people have labelled comes before what was predicted."""
    content = file["metadata"].attrs["json"]
    if len(content) > _MAX_JSON:
        raise PosegenError(f"{path}: its description is larger than any skeleton's")
    meta = json.loads(content)
    skeleton = meta["skeletons"][0]
    names = tuple(str(meta["nodes"][_number(node["id"])]["name"]) for node in skeleton["nodes"])
    frames, instances = file["frames"][:], file["instances"][:]
    if not len(instances):
        raise PosegenError(f"{path}: holds no instances: nothing is labelled or predicted in it")
    tables = [np.stack([file[name][axis] for axis in ("x", "y")], axis=1) for name in ("points", "pred_points")]
    sure = [np.ones(len(tables[0])), np.asarray(file["pred_points"]["score"])]
    seen = [np.asarray(file[name]["visible"], bool) for name in ("points", "pred_points")]
    videos = Counter(frames["video"].tolist())
    video = max(videos, key=lambda number: (videos[number], -number))
    notes = [f"it holds {len(videos)} videos: number {video} is taken"] if len(videos) > 1 else []
    chosen = frames[frames["video"] == video]
    total = int(chosen["frame_idx"].max()) + 1
    tracks = sorted({int(track) for track in instances["track"].tolist() if track >= 0})
    people = {track: number for number, track in enumerate(tracks)}
    most = max(1, len(tracks)) if tracks else int(max(chosen["instance_id_end"] - chosen["instance_id_start"]))
    check_amount(str(path), total * most, len(names), 2)
    positions = np.full((most, total, len(names), 2), np.nan)
    scores = np.zeros((most, total, len(names)))
    replaced = {int(number) for number in instances["from_predicted"].tolist() if number >= 0}
    for frame in chosen:
        first, stop = int(frame["instance_id_start"]), int(frame["instance_id_end"])
        rows = [row for row in instances[first:stop] if int(row["instance_id"]) not in replaced]
        rows.sort(key=lambda row: (int(row["instance_type"]), -float(np.nan_to_num(row["score"]))))
        for number, row in enumerate(reversed(rows) if tracks else rows):  # the better ones are written last
            person = people.get(int(row["track"])) if tracks else number
            if person is None or int(row["skeleton"]) != 0:
                continue
            kind, part = int(row["instance_type"]), slice(int(row["point_id_start"]), int(row["point_id_end"]))
            place = tables[kind][part]
            if len(place) == len(names):
                index = int(frame["frame_idx"])
                positions[person, index] = np.where(seen[kind][part, None], place, np.nan)
                scores[person, index] = sure[kind][part]
    if float(file["metadata"].attrs.get("format_id", _PIXEL_CENTRES)) < _PIXEL_CENTRES:
        positions -= 0.5
    return names, positions, scores, notes


def _number(value: Any) -> int:
    """Return the number of a node; jsonpickle wraps some in an object."""
    return int(value["py/id"]) - 1 if isinstance(value, dict) else int(value)
