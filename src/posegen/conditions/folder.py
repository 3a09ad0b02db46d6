"""Reads, writes and checks folders of conditions: their files, their inputs, and their use for a given result.

`extract` fills such folders from driving videos; other tools can write the same files. The manifest is written last, so
a folder without one is unfinished. It holds the SHA-256 of every file. In a job's own folder a file that does not agree
with it is made again; in a folder that belongs to the user it counts as edited, which is logged, and it is used.
"""

import hashlib
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from posegen.conditions.bystanders import Bystanders
from posegen.conditions.keypoints import PoseSequence
from posegen.conditions.skeleton import Colors
from posegen.conditions.tracking_report import PersonSummary, TrackingReport
from posegen.digests import file_digest
from posegen.errors import PosegenError, logger
from posegen.media.checksums import KEY, DamagedFileError, checked_json, digests_of, read_checked_json
from posegen.media.files import read_kept, write_whole
from posegen.media.fitting import Fit, plan_fit
from posegen.media.video import iterate_frames, probe_video, read_frames
from posegen.types import Frames

MANIFEST, KEYPOINTS, SKELETON, HAND_NORMALS = "manifest.json", "keypoints.npz", "skeleton.mkv", "hands.mkv"
FILES = (KEYPOINTS, SKELETON, HAND_NORMALS)
FORMAT = 1
"""Version of the format, increased when the same inputs would give other files."""
_AGAIN = "make them with `posegen extract`"
_UNREADABLE = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    IndexError,
    AttributeError,
    EOFError,
    ArithmeticError,
    MemoryError,
    zipfile.BadZipFile,
    zlib.error,
)
"""Errors that reading a damaged file can raise."""


@dataclass(frozen=True)
class Conditions:
    """Conditions of the model: `pose` in pixels of the driving video, skeleton and hand frames at `size` (H, W).

    report: lines for the user; start, end: the part of the driving video in seconds, None for its ends; cuts: frames
    that begin a new scene; people: everybody who was seen, and the number of the followed one, if that is known;
    bystanders: where the others are, None in folders of an older version or another tool; centre: that of the crop, as
    in `Fit`.
    """

    folder: Path
    pose: PoseSequence
    size: tuple[int, int]
    report: tuple[str, ...]
    start: float | None = None
    end: float | None = None
    cuts: tuple[int, ...] | None = None
    people: tuple[PersonSummary, ...] = ()
    followed: int | None = None
    bystanders: Bystanders | None = None
    centre: tuple[float, float] = (0.5, 0.5)

    @property
    def num_frames(self) -> int:
        """Number of frames of the clip."""
        return len(self.pose)

    @property
    def fps(self) -> Fraction:
        """Frames per second."""
        return self.pose.fps

    def cropping(self, fit: Fit) -> Fit:
        """Return the fit of the driving video with the crop of these conditions."""
        return replace(fit, centre=self.centre)

    def skeleton_frames(self, start: int, stop: int) -> Frames:
        """Read skeleton frames [start, stop)."""
        return read_frames(self.folder / SKELETON, start, stop)

    def hand_frames(self, start: int, stop: int) -> Frames:
        """Read hand-normal maps [start, stop)."""
        return read_frames(self.folder / HAND_NORMALS, start, stop)

    def iterate_skeletons(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """Yield all skeleton frames one by one."""
        return iterate_frames(self.folder / SKELETON)

    def digest(self) -> str:
        """Hash everything that conditions the model."""
        digests = [file_digest(self.folder / name) for name in FILES]
        return hashlib.sha256(" ".join(digests).encode()).hexdigest()


@dataclass(frozen=True)
class Inputs:
    """Inputs from which conditions are made.

    fit: fit of the driving video to the size of the result; estimators: names and versions of the estimators of
    keypoints and hand normals; start, end: as in `Conditions`.
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
        """Build the inputs, with a digest of the driving video's content."""
        return cls(file_digest(driving), fit, fps, hands, colors, draw_scale, estimators, start, end)

    def as_json(self) -> dict[str, Any]:
        """Convert to the form in the manifest."""
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


def save_conditions(
    folder: Path,
    pose: PoseSequence,
    inputs: Inputs,
    report: list[str],
    tracking: TrackingReport | None = None,
    centre: tuple[float, float] = (0.5, 0.5),
) -> Conditions:
    """Write keypoints and, last, the manifest beside the two finished videos; `tracking` if a person was followed."""
    bystanders = None if tracking is None else tracking.bystanders
    pose.save(folder / KEYPOINTS, None if bystanders is None else bystanders.arrays())
    manifest: dict[str, Any] = {
        "inputs": inputs.as_json(),
        "report": report,
        "size": list(inputs.fit.target),
        "files": digests_of(folder, FILES),
        "centre": list(centre),
    }
    if tracking is not None:
        manifest["cuts"] = list(tracking.cuts)
        manifest["people"] = [person.as_json() for person in tracking.people]
        manifest["followed"] = tracking.followed
    write_whole(folder / MANIFEST, checked_json(manifest))
    return _conditions(folder, pose, inputs, manifest, bystanders)


def _conditions(
    folder: Path, pose: PoseSequence, inputs: Inputs, manifest: dict[str, Any], bystanders: Bystanders | None
) -> Conditions:
    """Build the conditions that a manifest describes."""
    report = tuple(manifest["report"])
    if not all(isinstance(line, str) for line in report):
        raise ValueError("report is not a list of lines")
    cuts, followed = manifest.get("cuts"), manifest.get("followed")
    down, across = manifest.get("centre", (0.5, 0.5))
    people = tuple(PersonSummary.from_json(values) for values in manifest.get("people", ()))
    return Conditions(
        folder,
        pose,
        inputs.fit.target,
        report,
        inputs.start,
        inputs.end,
        None if cuts is None else tuple(int(cut) for cut in cuts),
        people,
        None if followed is None else int(followed),
        bystanders,
        (float(down), float(across)),
    )


def find_conditions(folder: Path, inputs: Inputs, edited: bool = False) -> Conditions | None:
    """Open the finished conditions in `folder`, if they were made from exactly these inputs.

    Files that do not agree with their checksums count as damaged, and so do conditions without checksums; or, with
    `edited`, as changed on purpose if they can still be read. Either is reported in one line.
    """
    if not (folder / MANIFEST).is_file():
        return None
    try:
        _, found = open_manifest(folder, required=not edited)
        if found != inputs:
            return None
        if not edited and (damaged := changed_files(folder)):
            raise PosegenError(f"{', '.join(damaged)} in {folder} {'is' if len(damaged) == 1 else 'are'} damaged")
        conditions, _ = open_conditions(folder)
        if edited:
            _check_videos(conditions, len(conditions.pose))
        return conditions
    except PosegenError as error:
        logger.warning("the conditions are made again: %s", error)
        return None


def open_conditions(folder: Path) -> tuple[Conditions, Inputs]:
    """Open finished conditions and their inputs. Raises `PosegenError` if there are none."""
    manifest, inputs = open_manifest(folder)
    try:
        pose, bystanders = PoseSequence.load(folder / KEYPOINTS), Bystanders.load(folder / KEYPOINTS)
        return _conditions(folder, pose, inputs, manifest, bystanders), inputs
    except _UNREADABLE as error:
        raise PosegenError(f"the conditions in {folder} are damaged ({KEYPOINTS}: {error}): {_AGAIN}") from None


def open_manifest(folder: Path, required: bool = False) -> tuple[dict[str, Any], Inputs]:
    """Read the manifest of finished conditions, and the inputs in it. Raises `PosegenError` if there is none.

    required: the manifest must have a checksum. A checksum that does not match is always an error.
    """
    try:
        content = read_kept(folder / MANIFEST)
    except OSError as error:
        reason = error.strerror or error
        raise PosegenError(f"there are no conditions in {folder} ({MANIFEST}: {reason}): {_AGAIN}") from None
    try:
        manifest = read_checked_json(content, MANIFEST, required)
        given = manifest["inputs"]
        if given["format"] != FORMAT:
            raise PosegenError(f"the conditions in {folder} were made by another version of posegen: {_AGAIN}")
        missing = [name for name in FILES if not (folder / name).is_file()]
        if missing:
            raise PosegenError(f"the conditions in {folder} are incomplete ({missing[0]} is missing): {_AGAIN}")
        mode, *sides = given["fit"]
        inputs = Inputs(
            given["driving_sha256"],
            plan_fit((sides[0], sides[1]), (sides[2], sides[3]), mode),
            Fraction(given["fps"]),
            given["hands"],
            given["colors"],
            given["draw_scale"],
            tuple(given["estimators"]),
            given.get("start"),
            given.get("end"),
        )
        return manifest, inputs
    except DamagedFileError as error:
        advice = f"{_AGAIN}, or delete its entry {KEY!r} if it was edited on purpose"
        raise PosegenError(f"the conditions in {folder} are damaged ({error}): {advice}") from None
    except PosegenError:
        raise
    except _UNREADABLE as error:
        raise PosegenError(f"the conditions in {folder} are damaged ({MANIFEST}: {error!r}): {_AGAIN}") from None


def changed_files(folder: Path) -> list[str]:
    """Return the names of files that differ from their checksums in the manifest; none if it holds no checksums."""
    manifest, _ = open_manifest(folder)
    digests = manifest.get("files")
    if not isinstance(digests, dict):  # written by an older version or another tool
        return []
    return [name for name in FILES if file_digest(folder / name) != digests.get(name)]


def check_conditions(conditions: Conditions, found: Inputs, wanted: Inputs, num_frames: int) -> None:
    """Raise `PosegenError`, in one line, unless conditions made from `found` can be used for `wanted`.

    The estimators may differ.
    """
    given = f"the conditions in {conditions.folder}"
    if found.driving_sha256 != wanted.driving_sha256:
        raise PosegenError(f"{given} were made from another driving video: extract those of this video")
    for what, have, want in (
        ("size", "x".join(map(str, found.fit.target)), "x".join(map(str, wanted.fit.target))),
        ("frame rate", str(found.fps), str(wanted.fps)),
    ):
        if have != want:
            option = "--size" if what == "size" else "--fps"
            raise PosegenError(f"{given} have {what} {have}, not {want}: omit {option}, or extract them again")
    if (found.start, found.end) != (wanted.start, wanted.end):
        raise PosegenError(f"{given} are of another part of the driving video: omit --start and --end")
    if found.fit != wanted.fit:
        raise PosegenError(f"{given} were fitted with --fit {found.fit.mode}: use the same --fit")
    if wanted.hands and not found.hands:  # existing hands need not be used
        raise PosegenError(f"{given} were made without hands: add --no-hands")
    if (found.colors, found.draw_scale) != (wanted.colors, wanted.draw_scale):
        raise PosegenError(f"{given} were drawn for another model: extract them with the same --model")
    if len(conditions.pose) != num_frames:
        raise PosegenError(f"{given} have {len(conditions.pose)} frames, not {num_frames}: extract them again")
    _check_videos(conditions, num_frames)


def _check_videos(conditions: Conditions, num_frames: int) -> None:
    """Raise `PosegenError` unless both videos have this number of frames and the right size.

    Files that were changed since the conditions were made are decoded completely, and logged in one line.
    """
    given = f"the conditions in {conditions.folder}"
    changed = changed_files(conditions.folder)
    for name in (SKELETON, HAND_NORMALS):
        path = conditions.folder / name
        info = probe_video(path)
        frames = sum(1 for _ in iterate_frames(path)) if name in changed else info.num_frames
        have_video, want_video = (frames, info.height, info.width), (num_frames, *conditions.size)
        if have_video != want_video:
            raise PosegenError(
                f"{given} are damaged: {name} has (frames, height, width) {have_video}, not {want_video}"
            )
    if changed:
        logger.warning(
            "%s in %s: changed since it was extracted, used as it is now", ", ".join(changed), conditions.folder
        )
