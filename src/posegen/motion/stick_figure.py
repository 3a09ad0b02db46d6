"""Shows what is understood of a motion file: lines about it, and a video of a stick figure seen from all around.

The floor is a grid of metres (or of half body heights, where units are not known), the dark line in it points where the
person faces at azimuth 0; the palette is that of skeletons: the person's left arm is green, the right one orange.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import BODY_NAMES, INDEX
from posegen.conditions.skeleton import draw_skeleton
from posegen.config import Viewpoint
from posegen.media.video import VideoWriter
from posegen.motion.joint_names import check_names, keypoint_sources
from posegen.motion.motion_conditions import film_motion, usual_rate
from posegen.motion.motion_data import Motion
from posegen.motion.viewpoint import VirtualCamera, choose_view, project_pose
from posegen.motion.whole_body import WholeBody, whole_body
from posegen.types import Frame

_GAPS_SHOWN = 5
_FLOOR, _FRONT = (70, 70, 78), (150, 150, 60)
_ELEVATION = 12.0
"""Degrees from which the turning camera looks down, so that the floor is seen."""
_UNITS = {1.0: "m", 0.01: "cm", 0.001: "mm", 0.0254: "inches", 0.3048: "feet"}
_HEIGHT = (1.0, 2.2)
"""Heights of people in metres, by which units are guessed."""


@dataclass(frozen=True)
class ShownMotion:
    """Lines about a motion, and the video."""

    lines: tuple[str, ...]
    video: Path


def describe_motion(motion: Motion, body: WholeBody) -> list[str]:
    """Describe what was understood, in a few lines."""
    sources = keypoint_sources(motion.names)
    used = {motion.names[index] for index in sources.values()}
    own = [name for name in motion.names if name not in motion.derived]
    others = [name for name in own if name not in used]
    pairs = [f"{name} = {motion.names[sources[name]]}" for name in BODY_NAMES if sources.get(name, len(own)) < len(own)]
    lines = [
        f"format     {motion.form}, {motion.people} {'person' if motion.people == 1 else 'people'}",
        f"time       {len(motion)} frames at {_rate(motion)} frames/s, {motion.seconds:.2f} s",
        f"joints     {len(own)}: {', '.join(pairs)}",
        f"fingers    {body.finger_joints(0)} joints of the left hand, {body.finger_joints(1)} of the right hand",
    ]
    if body.computed:
        lines.append(f"computed   {', '.join(body.computed)}")
    if others:
        lines.append(
            f"not used   {', '.join(others[:12])}{f' and {len(others) - 12} more' if len(others) > 12 else ''}"
        )
    if motion.in_space:
        lines.append(f"units      {_units(motion, body)}")
        lines.append(f"up         {motion.up or 'not in the file'}")
    else:
        size = motion.size
        lines.append(
            "units      pixels" + (f" of {size[0]}x{size[1]} (height x width)" if size else ", of unknown size")
        )
    lines.append(f"gaps       {_gaps(motion, sorted(used))}")
    return [*lines, *(f"note       {line}" for line in (*motion.notes, *body.lines))]


def _rate(motion: Motion) -> str:
    return f"{float(motion.fps):.6g}"


def _units(motion: Motion, body: WholeBody) -> str:
    height = body.height or 0.0
    if motion.metres is not None:
        name = _UNITS.get(motion.metres, f"{motion.metres:g} m")
        return f"{name}; the person is {height * motion.metres:.2f} m tall"
    fitting = [name for metres, name in _UNITS.items() if _HEIGHT[0] <= height * metres <= _HEIGHT[1]]
    guess = f", probably {fitting[0]}" if len(fitting) == 1 else ""
    return f"not in the file{guess}: the person is {height:.4g} tall (the result does not depend on it)"


def _gaps(motion: Motion, used: list[str]) -> str:
    known = motion.known
    parts = []
    for name in used:
        missing = 1 - float(known[:, motion.names.index(name)].mean())
        if missing > 0:
            parts.append((missing, f"{name} {100 * missing:.1f} %"))
    if not parts:
        return "none"
    parts.sort(reverse=True)
    more = f" and {len(parts) - _GAPS_SHOWN} more" if len(parts) > _GAPS_SHOWN else ""
    return f"{', '.join(text for _, text in parts[:_GAPS_SHOWN])}{more} of the frames"


def show_motion(
    motion: Motion,
    where: str,
    video: Path,
    size: tuple[int, int],
    viewpoint: Viewpoint = "auto",
    start: float | None = None,
    seconds: float = 20.0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ShownMotion:
    """Describe a motion and write the video of its stick figure, at the motion's own speed. Raises `PosegenError`."""
    check_names(keypoint_sources(motion.names), motion.names, where)
    lines = describe_motion(motion, whole_body(motion, where))
    begin = start or 0.0
    stop = min(motion.seconds, begin + seconds)
    shown = motion.without_short_gaps().at_rate(usual_rate(motion.fps), begin, stop)
    if stop < motion.seconds or begin:
        lines.append(f"video      second {begin:g} to {stop:g} of {motion.seconds:.1f}")
    if not shown.in_space:
        filmed = film_motion(shown, where, viewpoint, size)
        pose = filmed.pose
        with VideoWriter(video, shown.fps, size=_even(pose.size)) as writer:
            for index in range(len(pose)):
                picture = draw_skeleton(pose.keypoints[index], pose.scores[index], pose.size)
                writer.write(_cut(picture))
                progress(index + 1, len(pose))
        return ShownMotion(tuple(lines), video)
    body = whole_body(shown, where)
    azimuth, elevation = viewpoint if isinstance(viewpoint, tuple) else (None, 0.0)
    view = choose_view(body, azimuth, elevation)
    lines.append(
        f"view       {view.line}" if viewpoint != "auto" else "view       the camera goes once around the person"
    )
    normals, total = CapsuleHandNormals(), len(shown)
    around = replace(view, elevation=_ELEVATION) if viewpoint == "auto" else view
    reach = VirtualCamera.reach_around(body)
    with VideoWriter(video, shown.fps, size=_even(size)) as writer:
        for index in range(total):
            if viewpoint == "auto":
                around = replace(around, azimuth=360.0 * index / total)
            camera = VirtualCamera.at(reach, around, size)
            pose = project_pose(body, camera, slice(index, index + 1), size, shown.fps)
            picture = draw_skeleton(pose.keypoints[0], pose.scores[0], size)
            hands = normals.estimate(pose[0], size)
            picture[hands.any(axis=2)] = hands[hands.any(axis=2)]
            floor = _draw_floor(body, camera, view.front, motion.metres, size)
            empty = ~picture.any(axis=2)
            picture[empty] = floor[empty]
            writer.write(_cut(picture))
            progress(index + 1, total)
    return ShownMotion(tuple(lines), video)


def _even(size: tuple[int, int]) -> tuple[int, int]:
    return size[0] - size[0] % 2, size[1] - size[1] % 2


def _cut(picture: Frame) -> Frame:
    height, width = _even((picture.shape[0], picture.shape[1]))
    return np.ascontiguousarray(picture[:height, :width])


def _draw_floor(
    body: WholeBody, camera: VirtualCamera, front: float, metres: float | None, size: tuple[int, int]
) -> Frame:
    """Draw the grid of the floor, and the direction of the front, from the lowest point of the feet."""
    picture = np.zeros((*size, 3), np.uint8)
    feet = [INDEX[f"{side}_{part}"] for side in ("left", "right") for part in ("heel", "big_toe", "ankle")]
    heights = body.points[:, feet, 2]
    if not np.isfinite(heights).any():
        return picture
    floor = float(np.nanpercentile(heights, 2))
    step = 1 / metres if metres else (body.height or 1.0) / 2
    middle = np.nanmean(body.points[:, [INDEX["left_hip"], INDEX["right_hip"]], :2], axis=(0, 1))
    middle = np.where(np.isfinite(middle), middle, 0)
    lines = range(-3, 4)
    for number in lines:
        for ends in (((number, -3), (number, 3)), ((-3, number), (3, number))):
            _line(picture, camera, _on_floor(middle + step * np.array(ends), floor), _FLOOR)
    ahead = middle + 1.5 * step * np.array([np.cos(front), np.sin(front)])
    _line(picture, camera, _on_floor(np.stack([middle, ahead]), floor), _FRONT)
    return picture


def _on_floor(places: np.ndarray, height: float) -> np.ndarray:
    return np.column_stack([places, np.full(len(places), height)]).astype(np.float64)


def _line(picture: Frame, camera: VirtualCamera, ends: np.ndarray, colour: tuple[int, int, int]) -> None:
    pixels, depth, _ = camera.project(ends[None])
    if (depth > 0).all() and (np.abs(pixels) < 30_000).all():
        (left, top), (right, bottom) = pixels[0].round().astype(int).tolist()
        cv2.line(picture, (left, top), (right, bottom), colour, 1, cv2.LINE_AA)
