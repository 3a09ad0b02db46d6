"""The `file` estimator: assigns existing keypoints, skeletons and hand normals to the used frames.

A file belongs to the whole driving video at its own rate, or to just the frames that are used (after --start, --end and
--fps). Formats of keypoints are read in `keypoint_files`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from posegen.conditions.estimators.frame_numbers import place_entries
from posegen.conditions.estimators.keypoint_files import KeypointFile, read_keypoints
from posegen.conditions.estimators.model_weights import identity
from posegen.conditions.keypoints import HAND_DRAWN, SEEN, PersonPose
from posegen.errors import PosegenError
from posegen.media.fitting import Fit
from posegen.media.video import iterate_frames, probe_video
from posegen.types import Frame

VERSION = "4"
"""Version, increased when the same file of keypoints would give other people."""
VIDEO_SUFFIXES = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v")
_SAME_SHAPE = 0.02
"""Maximum relative difference in aspect ratio of two videos that count as the same scene."""


def is_video(path: Path) -> bool:
    """Return True if the name is that of a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class FilePose:
    """`PoseEstimator` that reads a file of keypoints; pixels are not used. Frames must come in order.

    description: how the file was interpreted, in one line; doubts: what may be wrong with that, a line each. The
    content of the last file is cached until `close`, so that a check at the beginning does not cost a second read.
    """

    name = "file"
    batch_size = 1
    finds_hands = True
    keeps_everybody = True

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        shown: Sequence[int],
        num_source_frames: int,
        samples: Sequence[int] | None = None,
    ) -> None:
        """Read the file.

        size: (height, width) of the driving video; shown: the used frames of its `num_source_frames`; samples: numbers
        of the used frames that will be requested, by default all. Raises `PosegenError` for an unreadable file, and one
        whose entries do not match the video's frames.
        """
        self.version = identity(str(path))
        file = _read(path, self.version, size, max(num_source_frames, len(shown)))
        placed = place_entries(
            path, len(file.people), file.numbers, shown, num_source_frames, file.first, file.all_listed
        )
        used = placed.entries if samples is None else [placed.entries[number] for number in samples]
        self._people = [[] if entry is None else file.people[entry] for entry in used]
        undrawn = sum(bool(people) and not any(each.extent for each in people) for people in self._people)
        self._next = 0
        self.description = f"{file.description}; {placed.description}"
        self.doubts = (*file.doubts, *placed.doubts, *_describe_undrawn(path, undrawn, len(used)))

    def estimate(self, frame: Frame) -> list[PersonPose]:
        """Return the people of the next frame."""
        self._next += 1
        return self._people[self._next - 1]

    def estimate_batch(self, frames: Sequence[Frame]) -> list[list[PersonPose]]:
        """Return the people of the next frames."""
        return [self.estimate(frame) for frame in frames]

    def add_hands(self, frame: Frame, person: PersonPose) -> PersonPose:
        """Return the person unchanged."""
        return person

    def close(self) -> None:
        """Drop the cached content of the file."""
        _read.cache_clear()


@lru_cache(maxsize=1)
def _read(path: Path, content: str, size: tuple[int, int], num_frames: int) -> KeypointFile:
    """Read keypoints, cached; `content` identifies the content of the file, so that a changed one is read again."""
    return read_keypoints(path, size, num_frames)


def _describe_undrawn(path: Path, undrawn: int, frames: int) -> list[str]:
    if not undrawn:
        return []
    return [
        f"{path.name}: there is nothing to draw in {undrawn} of {frames} frames: their people have no two points of "
        f"the body with a score of {SEEN} or of a hand with {HAND_DRAWN} (faces are never drawn)"
    ]


def chosen(path: Path, what: str, count: int, shown: Sequence[int], num_source_frames: int) -> Sequence[int]:
    """Return the entries, out of `count`, of the used frames. Raises `PosegenError` if the count matches neither."""
    if count == num_source_frames:
        return shown
    if count == len(shown):
        return range(count)
    raise PosegenError(
        f"{path} has {what} of {count} frames, but the driving video has {num_source_frames}, {len(shown)} of them "
        f"used: make them from this video, one for each frame"
    )


def video_of_pictures(
    path: Path, what: str, driving_size: tuple[int, int], fit: Fit, shown: Sequence[int], num_source_frames: int
) -> Iterator[Frame]:
    """Yield the used frames of a video of `what` (skeletons or hand normals), fitted like the driving video.

    It may have another size than the driving video, but not another aspect ratio. Checks are made at once. Raises
    `PosegenError`.
    """
    info = probe_video(path)
    ratio = (info.width / info.height) / (driving_size[1] / driving_size[0])
    if abs(ratio - 1) > _SAME_SHAPE:
        raise PosegenError(
            f"{path} is {info.height}x{info.width} (height x width), the driving video {driving_size[0]}x"
            f"{driving_size[1]}: {what} must show the same scene, at any scale"
        )
    indices = chosen(path, what, info.num_frames, shown, num_source_frames)
    own_fit = replace(fit, source=(info.height, info.width))
    return _picked(path, indices, own_fit)


def _picked(path: Path, indices: Sequence[int], fit: Fit) -> Iterator[Frame]:
    """Yield the frames with these rising numbers, fitted."""
    frames = enumerate(iterate_frames(path))
    number, frame = next(frames)
    for index in indices:
        while number < index:
            number, frame = next(frames)
        yield np.ascontiguousarray(fit.apply(frame))
