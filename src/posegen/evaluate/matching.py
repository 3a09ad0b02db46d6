"""Matches result videos of a method to clips, and checks them before anything is scored.

Missing and short results are refused, or left out and counted; nothing is dropped silently.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import Benchmark, BenchmarkClip
from posegen.evaluate.footage import PICTURES, VIDEOS, Footage, find_video, open_footage
from posegen.evaluate.protocols import Protocol
from posegen.media.data_files import read_json
from posegen.media.video import count_frames, probe_video

_NAMED = 4
"""Maximum number of problems that one line of an error names."""


@dataclass(frozen=True)
class Method:
    """A method: its name in the tables, and the folder of its results."""

    name: str
    folder: Path


@dataclass(frozen=True)
class Result:
    """One result video, and how many of its frames are scored. seams: frames t whose step to t + 1 is in a seam."""

    method: str
    clip: BenchmarkClip
    footage: Footage
    num_frames: int
    seams: tuple[int, ...] = ()

    @property
    def truth_size(self) -> tuple[int, int] | None:
        """(H, W) of the ground truth; None without one."""
        return None if self.clip.ground_truth is None else self.clip.ground_truth.size


@dataclass
class Matched:
    """The results of one method. missing: clips without one that can be scored; notes: lines for the reader."""

    method: Method
    results: list[Result] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def parse_methods(texts: tuple[str, ...]) -> list[Method]:
    """Read "NAME=FOLDER" or "FOLDER". Raises `PosegenError` for a folder that is none, or a name that comes twice."""
    methods = []
    for text in texts:
        name, _, folder = text.rpartition("=")
        path = Path(folder)
        if not path.is_dir():
            raise PosegenError(f"--methods {text}: there is no folder {path}; write NAME=FOLDER")
        methods.append(Method(name or path.resolve().name, path))
    names = [method.name for method in methods]
    if len(set(names)) < len(names) or "truth" in names:
        raise PosegenError(f"--methods: names must differ from each other and from truth, not {', '.join(names)}")
    return methods


def match(
    benchmark: Benchmark, method: Method, protocol: Protocol, allow_missing: bool, resample: bool = False
) -> Matched:
    """Find and check the results of one method.

    Raises `PosegenError` where the folder holds none at all or a video that cannot be read; where one has another frame
    rate (unless `resample`); and, unless `allow_missing`, where some are missing, too short, or of another size than
    the ground truth where the protocol refuses that. A file that belongs to no clip is only noted.
    """
    matched, problems, wrong_rate = Matched(method), [], []
    for clip in benchmark.clips:
        path = find_video(method.folder, clip.name)
        if path is None:
            problems.append(f"{clip.name} is missing")
            matched.missing.append(clip.name)
            continue
        footage = open_footage(path, clip.fps or (clip.motion.fps if clip.motion else None))
        if clip.ground_truth is not None and abs(footage.fps / clip.ground_truth.fps - 1) > 0.01:
            if not resample:
                wrong_rate.append(
                    f"{clip.name} has {float(footage.fps):g} fps, the ground truth {float(clip.ground_truth.fps):g}"
                )
                continue
            matched.notes.append(f"{clip.name}: {float(footage.fps):g} fps brought to {float(clip.ground_truth.fps):g}")
            footage = footage.at_rate(clip.ground_truth.fps)
        expected = protocol.frames_of(expected_frames(clip, footage))
        footage = footage.every(protocol.frame_step, protocol.max_frames)
        if clip.ground_truth is not None and clip.ground_truth.size != footage.size:
            sizes = f"{_text(footage.size)}, the ground truth {_text(clip.ground_truth.size)} (height x width)"
            if protocol.other_sizes == "refuse" and footage.size != protocol.size_of(clip.ground_truth.size):
                problems.append(f"{clip.name} is {sizes}")
                matched.missing.append(clip.name)
                continue
            if footage.size == protocol.size_of(clip.ground_truth.size):
                matched.notes.append(f"{clip.name} is {sizes}: it has the protocol's size, and is taken as it is")
            else:
                matched.notes.append(f"{clip.name} is {sizes}: it is resized to that before it is compared")
        if expected is not None and footage.num_frames != expected:
            lengths = f"{clip.name} has {footage.num_frames} frames instead of {expected}"
            problems.append(lengths)
            matched.notes.append(f"{lengths}: the first {min(footage.num_frames, expected)} are scored")
        count = min(footage.num_frames, expected or footage.num_frames)
        seams = read_seams(path) if protocol.frame_step == 1 else ()
        matched.results.append(Result(method.name, clip_under(clip, protocol), footage, count, seams))
    if wrong_rate:
        raise PosegenError(f"{method.folder}: {some(wrong_rate)}: pass --resample to take the frames of these moments")
    if not matched.results:
        raise PosegenError(f"{method.folder}: holds no result that can be scored: {some(problems)}")
    if problems and not allow_missing:
        raise PosegenError(
            f"{method.folder}: {some(problems)}; pass --allow-missing to score the rest, with the count in the report"
        )
    extra = _extra(benchmark, method.folder)
    if extra:
        matched.notes.append(f"{len(extra)} more than the benchmark's clips, not scored: {some(extra)}")
    if matched.missing:
        matched.notes.insert(
            0, f"{len(matched.missing)} of {len(benchmark.clips)} clips are not scored: {some(matched.missing)}"
        )
    return matched


def clip_under(clip: BenchmarkClip, protocol: Protocol) -> BenchmarkClip:
    """Return the clip with the frames of its ground truth that the protocol compares."""
    truth = clip.ground_truth
    return clip if truth is None else replace(clip, ground_truth=truth.every(protocol.frame_step, protocol.max_frames))


def expected_frames(clip: BenchmarkClip, footage: Footage) -> int | None:
    """The number of frames expected: the ground truth's, or the driving video's at the result's rate."""
    if clip.ground_truth is not None:
        return clip.ground_truth.num_frames
    if clip.driving is None:
        return None
    if clip.driving.stills or clip.driving.fps == footage.fps:
        return clip.driving.num_frames
    return count_frames(probe_video(clip.driving.path), footage.fps)


def read_seams(path: Path) -> tuple[int, ...]:
    """Read the seams of a result, the frames t whose step to t + 1 is in one, from NAME.seams.json beside it.

    Without that file, take them from the last job of that name of `posegen generate`. Raises `PosegenError` for a bad
    list.
    """
    beside = path.with_name(f"{path.stem}.seams.json")
    if not beside.is_file():
        reports = sorted(path.with_suffix(".posegen").rglob("report.json"), key=lambda each: each.stat().st_mtime)
        if not reports:
            return ()
        beside = reports[-1]
    try:
        content = read_json(beside, "a list of frame numbers")
        numbers = content.get("seam_frames", []) if isinstance(content, dict) else content
        return tuple(sorted(int(number) for number in numbers))
    except (ValueError, TypeError) as error:
        raise PosegenError(f"{beside}: a list of frame numbers was expected ({error})") from None


def _extra(benchmark: Benchmark, folder: Path) -> list[str]:
    names = {clip.name for clip in benchmark.clips}
    return sorted(
        each.name
        for each in folder.iterdir()
        if (each.stem not in names and each.suffix.lower() in VIDEOS)
        or (each.is_dir() and each.name not in names and any(p.suffix.lower() in PICTURES for p in each.iterdir()))
    )


def some(texts: list[str]) -> str:
    """The first few texts, and how many more there are."""
    more = f" and {len(texts) - _NAMED} more" if len(texts) > _NAMED else ""
    return f"{', '.join(texts[:_NAMED])}{more}"


def _text(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
