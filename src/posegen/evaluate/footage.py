"""Opens a video for evaluation: a file, or a folder of numbered frames.

Frames come one by one, never all at once. `matching.py` finds the videos that belong together, and checks them.
"""

import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from posegen.errors import PosegenError
from posegen.media.image import read_image
from posegen.media.video import count_frames, iterate_frames, probe_video

VIDEOS = (".mp4", ".mkv", ".mov", ".webm", ".avi", ".m4v", ".gif")
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")


@dataclass(frozen=True)
class Footage:
    """A video: path, (H, W) and number of its frames, frames per second; `stills`: its frames as files.

    step: every `step`-th frame of the file is taken; rate and number are those of the taken ones.
    """

    path: Path
    size: tuple[int, int]
    fps: Fraction
    num_frames: int
    stills: tuple[Path, ...] = ()
    step: int = 1

    def at_rate(self, fps: Fraction) -> "Footage":
        """The same video sampled at another rate. Raises `PosegenError` for a folder of frames, which has none."""
        if fps == self.fps:
            return self
        if self.stills:
            raise PosegenError(f"{self.path}: a folder of frames cannot be brought to another frame rate")
        return Footage(self.path, self.size, fps, count_frames(probe_video(self.path), fps))

    def every(self, step: int, most: int = 0) -> "Footage":
        """Return every `step`-th frame of the video from its first one, at most `most` of them (0: all)."""
        if step == 1 and not most:
            return self
        stills = self.stills[::step]
        count = len(stills) if stills else -(-self.num_frames // step)
        count = min(count, most) if most else count
        return Footage(self.path, self.size, self.fps / step, count, stills[:count], self.step * step)

    def frames(self) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
        """All frames in order. Raises `PosegenError` where one cannot be read or has another size."""
        if not self.stills:
            decoded = iterate_frames(self.path, self.fps * self.step)
            yield from itertools.islice(decoded, 0, self.num_frames * self.step if self.step > 1 else None, self.step)
            return
        for path in self.stills:
            frame = read_image(path)
            if frame.shape[:2] != self.size:
                raise PosegenError(
                    f"{path}: {frame.shape[0]}x{frame.shape[1]}, but the frames before are "
                    f"{self.size[0]}x{self.size[1]} (height x width)"
                )
            yield frame


def open_footage(path: Path, fps: Fraction | None = None) -> Footage:
    """Look at a video file or a folder of frames; `fps` is the rate of frames in a folder.

    Raises `PosegenError` for a file that is no video, an empty folder, or a folder without a frame rate.
    """
    if not path.is_dir():
        info = probe_video(path)
        rate = info.fps.limit_denominator(100_000)
        return Footage(path, (info.height, info.width), rate, count_frames(info, rate))
    stills = sorted_naturally([each for each in path.iterdir() if each.suffix.lower() in PICTURES])
    if not stills:
        raise PosegenError(f"{path}: neither a video nor a folder of frames ({', '.join(PICTURES)})")
    if fps is None:
        raise PosegenError(f"{path}: a folder of frames does not say its frame rate: write fps in the benchmark")
    first = read_image(stills[0])
    return Footage(path, (first.shape[0], first.shape[1]), fps, len(stills), tuple(stills))


def sorted_naturally(paths: list[Path]) -> list[Path]:
    """Sort key by name, with numbers by value: frame 9 comes before frame 10."""

    def key(path: Path) -> list[tuple[int, str]]:
        return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", path.name.lower())]

    return sorted(paths, key=key)


def files_called(folder: Path, stem: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of a folder with that name and one of the suffixes in any case, in the suffixes' order."""
    found = [each for each in folder.iterdir() if each.stem == stem and each.suffix.lower() in suffixes]
    return sorted((each for each in found if each.is_file()), key=lambda each: suffixes.index(each.suffix.lower()))


def find_video(folder: Path, name: str) -> Path | None:
    """The video called `name` in a folder: a file with a video's suffix, or a folder of frames; None without one.

    Raises `PosegenError` where several could be meant.
    """
    found = files_called(folder, name, VIDEOS)
    if (folder / name).is_dir():
        found.append(folder / name)
    if len(found) > 1:
        raise PosegenError(f"{folder}: {found[0].name} and {found[1].name} are both there: keep one of them")
    return found[0] if found else None
