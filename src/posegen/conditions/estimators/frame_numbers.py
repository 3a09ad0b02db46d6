"""Assigns the entries of a file of keypoints to frames of the video, by their numbers.

Tools leave out frames without people, count from 0 or from 1, and process the whole video or only the used part. All of
that is inferred from the numbers and from the number of frames; assumptions are reported, and ambiguous numbers are
refused. A file without numbers must have one entry for each frame.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

from posegen.errors import PosegenError

_SUFFIX = re.compile(r"\.(jpe?g|png|bmp|webp|tiff?|json)$", re.IGNORECASE)
_MAX_DIGITS = 18
_EARLY = 0.9
"""Fraction of the video: complete entries that end before it are suspicious."""


@dataclass(frozen=True)
class Placement:
    """Entry of each used frame, None without one, and a description of how they were matched.

    doubts: assumptions that the file does not confirm, and evidence against them.
    """

    entries: tuple[int | None, ...]
    description: str
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Way:
    """Interpretation of the numbers: `first` is the number of the first frame, of all frames or of the used ones."""

    whole: bool
    first: int
    length: int

    def reaches_the_end(self, last: int) -> bool:
        return last - self.first == self.length - 1


def numbers_in_names(names: Sequence[str]) -> list[int] | None:
    """Return the number that distinguishes each name (12 in `walk_2_000012_keypoints.json`), if there is one.

    None for names with different patterns, and for those with several numbers that differ.
    """
    split = [re.split(r"(\d+)", _SUFFIX.sub("", Path(name).name)) for name in names]
    if not split or any(parts[::2] != split[0][::2] for parts in split) or len(split[0]) < 2:
        return None
    columns = list(zip(*(parts[1::2] for parts in split), strict=True))
    if any(len(digits) > _MAX_DIGITS for column in columns for digits in column):
        return None
    numbers = [[int(digits) for digits in column] for column in columns]
    if len(names) == 1:
        return numbers[-1]
    telling = [column for column in numbers if len(set(column)) == len(column)]
    return telling[0] if len(telling) == 1 else None


def place_entries(
    path: Path,
    count: int,
    numbers: Sequence[int] | None,
    shown: Sequence[int],
    num_source_frames: int,
    usual_first: int | None = None,
    all_listed: bool = False,
) -> Placement:
    """Find the entry of each used frame.

    count: number of entries in the file; numbers: of the entries, rising, None without any; shown: the used frames of
    the video's `num_source_frames`; usual_first: first number of the tool that wrote the file, if known; all_listed:
    frames without people have entries, too, so that as many entries as frames are one for each, whatever their numbers.
    Raises `PosegenError` if the entries match neither the video nor its used frames, or both.
    """
    whole, used = num_source_frames, len(shown)
    for_all = Placement(tuple(shown), f"one entry for each of the video's {whole} frames")
    if whole == used and list(shown) != list(range(whole)):
        doubt = f"{path.name}: its {count} entries are taken for the whole video's, of which as many frames are used"
        for_all = replace(for_all, doubts=(doubt,))
    for_used = Placement(tuple(range(count)), f"one entry for each of the {used} frames used")
    if numbers is None:
        if count in (whole, used):
            return for_all if count == whole else for_used
        raise PosegenError(
            f"{path} has keypoints of {count} frames, but the driving video has {whole}, {used} of them used: make "
            "them from this video, one for each frame"
        )
    if len(set(numbers)) < count:
        double = next(number for number, after in pairwise(numbers) if number == after)
        raise PosegenError(f"{path}: two entries are for frame {double}: keep one of them")
    first, last = numbers[0], numbers[-1]
    even = len({after - number for number, after in pairwise(numbers)}) < 2
    if count == whole and (even or all_listed):
        return for_all
    exact = [start for start in (0, 1) if [number - start for number in numbers] == list(shown)]
    if exact:
        return _placed(path, numbers, shown, _Way(True, exact[0], whole))
    if count == used and last - first == count - 1 and (first in (0, 1) or last > whole):
        return for_used
    ways = _ways(first, last, shown, whole)
    if not ways and count == used and (even or all_listed):
        return for_used
    if not ways:
        raise PosegenError(
            f"{path} has keypoints of {count} frames, numbered {first} to {last}, but the driving video has {whole} "
            f"frames, {used} of them used: make them from this video"
        )
    placed = {way: _placed(path, numbers, shown, way) for way in ways}
    kinds = {each.entries: way.whole for way, each in placed.items()}
    doubts: list[str] = []
    if len(kinds) > 1 and len(set(kinds.values())) > 1:  # the whole video or its used part: which one?
        ending = {way for way in ways if way.reaches_the_end(last)}
        if len({way.whole for way in ending}) != 1:
            raise PosegenError(
                f"{path}: its {count} entries, numbered {first} to {last}, may be frames of the whole video ({whole}) "
                f"or of the part that is used ({used}): use the whole video, or give an entry for each frame, empty "
                "for frames without people"
            )
        placed = {way: each for way, each in placed.items() if way.whole == next(iter(ending)).whole}
        part = "the whole video" if next(iter(ending)).whole else "the part of the video that is used"
        doubts.append(f"{path.name}: its entries are taken for frames of {part}, since they end where it does")
    if len({each.entries for each in placed.values()}) > 1:
        start = 1 if usual_first is None else usual_first
        why = "since no entry has the number 0" if usual_first is None else "as the tool that writes such files does"
        doubts.append(
            f"{path.name}: frames are taken as counted from {start}, {why}: the numbers {first} to {last} fit counting "
            "from 0 and from 1"
        )
        placed = {way: each for way, each in placed.items() if way.first == start}
    found = next(iter(placed.values()))
    return replace(found, doubts=(*found.doubts, *doubts))


def _ways(first: int, last: int, shown: Sequence[int], whole: int) -> list[_Way]:
    """Return the interpretations of these first and last numbers as frames of the video, or of its used frames."""
    lengths = {True: whole}
    if list(shown) != list(range(whole)):
        lengths[False] = len(shown)
    return [
        _Way(is_whole, start, length)
        for is_whole, length in lengths.items()
        for start in ((0,) if first == 0 else (0, 1))
        if last - start < length
    ]


def _placed(path: Path, numbers: Sequence[int], shown: Sequence[int], way: _Way) -> Placement:
    entries = {number - way.first: index for index, number in enumerate(numbers)}
    wanted = shown if way.whole else range(len(shown))
    of = "the video's" if way.whole else "the used"
    description = f"entries for {len(numbers)} of {of} {way.length} frames, counted from {way.first}"
    if len(numbers) < way.length:
        description += f"; nobody is in the other {way.length - len(numbers)}"
    last = numbers[-1] - way.first
    doubts: tuple[str, ...] = ()
    if last < _EARLY * way.length and numbers[-1] - numbers[0] == len(numbers) - 1:
        doubts = (
            f"{path.name}: entries end at frame {last} of {way.length} without a gap before: if the file was made from "
            "another video, or at another frame rate, make it again from this one",
        )
    return Placement(tuple(entries.get(frame) for frame in wanted), description, doubts)
