"""A folder of conditions: what is in it, what it was made from, and whether it fits what is to be made.

`extract` fills such folders from driving videos; anybody else may, who writes the same files. The manifest comes last,
so a folder without one is not finished.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from posegen.conditions.keypoints import PoseSequence
from posegen.conditions.skeleton import Colors
from posegen.errors import PosegenError
from posegen.media.files import write_whole
from posegen.media.fitting import Fit, plan_fit
from posegen.media.video import iterate_frames, probe_video, read_frames

Frames = UInt8[np.ndarray, "frames height width 3"]
MANIFEST, KEYPOINTS, SKELETON, HAND_NORMALS = "manifest.json", "keypoints.npz", "skeleton.mkv", "hands.mkv"
FILES = (KEYPOINTS, SKELETON, HAND_NORMALS)
FORMAT = 1
"""Raised when the same inputs would give other files."""


@dataclass(frozen=True)
class Conditions:
    """What steers the model: `pose` in pixels of the driving video, skeleton and hand frames at `size` (H, W).

    report: lines that a user should read; start, end: the part of the driving video in seconds, None for its ends.
    """

    folder: Path
    pose: PoseSequence
    size: tuple[int, int]
    report: tuple[str, ...]
    start: float | None = None
    end: float | None = None

    @property
    def num_frames(self) -> int:
        """Frames of the clip."""
        return len(self.pose)

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return self.pose.fps

    def skeleton_frames(self, start: int, stop: int) -> Frames:
        """Skeleton pictures [start, stop)."""
        return read_frames(self.folder / SKELETON, start, stop)

    def hand_frames(self, start: int, stop: int) -> Frames:
        """Hand-normal maps [start, stop)."""
        return read_frames(self.folder / HAND_NORMALS, start, stop)

    def iterate_skeletons(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """All skeleton pictures, one after the other."""
        return iterate_frames(self.folder / SKELETON)

    def digest(self) -> str:
        """A hash of everything that steers the model."""
        digests = [_digest(self.folder / name) for name in FILES]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class Inputs:
    """What conditions were made from.

    fit: how the driving video became the size of the result; estimators: names and versions of who found the keypoints
    and the hand normals; start, end: as in `Conditions`.
    """

    driving_sha256: str
    fit: Fit
    fps: Fraction
    hands: bool
    colors: Colors
    draw_scale: int
    estimators: tuple[str, ...]
    start: float | None = None
    end: float | None = None

    @classmethod
    def of(
        cls,
        driving: Path,
        fit: Fit,
        fps: Fraction,
        hands: bool,
        colors: Colors,
        draw_scale: int,
        *estimators: str,
        start: float | None = None,
        end: float | None = None,
    ) -> "Inputs":
        """The inputs with the driving video's content."""
        return cls(_digest(driving), fit, fps, hands, colors, draw_scale, estimators, start, end)

    def as_json(self) -> dict[str, Any]:
        """As the manifest has them."""
        return {
            "format": FORMAT,
            "driving_sha256": self.driving_sha256,
            "fit": [self.fit.mode, *self.fit.source, *self.fit.target],
            "fps": str(self.fps),
            "hands": self.hands,
            "colors": self.colors,
            "draw_scale": self.draw_scale,
            "estimators": list(self.estimators),
            "start": self.start,
            "end": self.end,
        }


def save_conditions(folder: Path, pose: PoseSequence, inputs: Inputs, report: list[str]) -> Conditions:
    """Write keypoints and, last, the manifest beside the two finished videos."""
    pose.save(folder / KEYPOINTS)
    manifest = {
        "inputs": inputs.as_json(),
        "report": report,
        "size": list(inputs.fit.target),
        "files": list(FILES),
    }
    write_whole(folder / MANIFEST, json.dumps(manifest, indent=2).encode())
    return Conditions(folder, pose, inputs.fit.target, tuple(report), inputs.start, inputs.end)


def find_conditions(folder: Path, inputs: Inputs) -> Conditions | None:
    """The finished conditions in `folder`, if they were made from exactly these inputs."""
    try:
        conditions, found = open_conditions(folder)
    except PosegenError:
        return None
    return conditions if found == inputs else None


def open_conditions(folder: Path) -> tuple[Conditions, Inputs]:
    """Finished conditions and what they were made from. Raises `PosegenError` where there are none."""
    again = "make them with `posegen extract`"
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except OSError as error:
        reason = error.strerror or error
        raise PosegenError(f"there are no conditions in {folder} ({MANIFEST}: {reason}): {again}") from None
    except ValueError as error:
        raise PosegenError(f"the conditions in {folder} are damaged ({MANIFEST}: {error}): {again}") from None
    try:
        given = manifest["inputs"]
        if given["format"] != FORMAT:
            raise PosegenError(f"the conditions in {folder} were made by another version of posegen: {again}")
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise PosegenError(f"the conditions in {folder} are not whole ({missing[0]} is missing): {again}")
        mode, *sides = given["fit"]
        inputs = Inputs(
            given["driving_sha256"], plan_fit((sides[0], sides[1]), (sides[2], sides[3]), mode), Fraction(given["fps"]),
            given["hands"], given["colors"], given["draw_scale"], tuple(given["estimators"]),
            given.get("start"), given.get("end"),
        )  # fmt: skip
        pose = PoseSequence.load(folder / KEYPOINTS)
        report = tuple(manifest["report"])
        return Conditions(folder, pose, inputs.fit.target, report, inputs.start, inputs.end), inputs
    except PosegenError:
        raise
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise PosegenError(f"the conditions in {folder} are damaged ({error}): {again}") from None


def check_conditions(conditions: Conditions, found: Inputs, wanted: Inputs, num_frames: int) -> None:
    """Raise `PosegenError`, in one line, unless conditions made from `found` can stand in for those of `wanted`.

    Who estimated them does not matter.
    """
    given = f"the conditions in {conditions.folder}"
    if found.driving_sha256 != wanted.driving_sha256:
        raise PosegenError(f"{given} were made from another driving video: extract those of this one")
    for what, have, want in (
        ("size", "x".join(map(str, found.fit.target)), "x".join(map(str, wanted.fit.target))),
        ("frame rate", str(found.fps), str(wanted.fps)),
    ):
        if have != want:
            option = "--size" if what == "size" else "--fps"
            raise PosegenError(f"{given} have {what} {have}, not {want}: leave {option} out, or extract them again")
    if (found.start, found.end) != (wanted.start, wanted.end):
        raise PosegenError(f"{given} are of another part of the driving video: leave --start and --end out here")
    if found.fit != wanted.fit:
        raise PosegenError(f"{given} were fitted with --fit {found.fit.mode}: say the same here")
    if wanted.hands and not found.hands:  # hands that are there need not be used
        raise PosegenError(f"{given} were made without hands: add --no-hands")
    if (found.colors, found.draw_scale) != (wanted.colors, wanted.draw_scale):
        raise PosegenError(f"{given} were drawn for another model: extract them with the same --model")
    if len(conditions.pose) != num_frames:
        raise PosegenError(f"{given} have {len(conditions.pose)} frames, not {num_frames}: extract them again")
    for name in (SKELETON, HAND_NORMALS):
        info = probe_video(conditions.folder / name)
        have_video, want_video = (info.num_frames, info.height, info.width), (num_frames, *conditions.size)
        if have_video != want_video:
            raise PosegenError(
                f"{given} are damaged: {name} has (frames, height, width) {have_video}, not {want_video}"
            )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
