"""Makes benchmark descriptions: of synthetic clips (rendered here, fixed seeds), TikTok-style folders, a user's pairs.

`benchmark_file.py` defines what a description says.
"""

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from posegen.config import BenchmarkConfig, parse_fps, parse_size
from posegen.errors import PosegenError, logger
from posegen.evaluate.benchmark_file import read_benchmark, write_benchmark
from posegen.evaluate.footage import PICTURES, VIDEOS, files_called, open_footage, sorted_naturally
from posegen.evaluate.matching import some
from posegen.extras import require_extra
from posegen.media.checksums import DamagedFileError, check_digests, checked_json, digests_of, read_checked_file
from posegen.media.files import write_whole
from posegen.media.fitting import plan_fit
from posegen.media.image import write_image
from posegen.model.sources import describe_model
from posegen.progress import Progress
from posegen.types import Size

_FRAME_FOLDERS = ("images", "frames", "imgs", "rgb")
_UPRIGHT = (16, 9)
"""Height and width that give synthetic clips their default aspect ratio."""


def make_benchmark(config: BenchmarkConfig, progress: Progress) -> Path:
    """Make what the settings ask for and return the description's path. Raises `PosegenError`."""
    path = config.output / "benchmark.yaml"
    if config.kind in ("val-same", "val-cross"):
        (height, width), size = synthetic_sizes(config)
        clips = _synthetic(config, (height, width), size, progress)
        who = "the same person" if config.kind == "val-same" else "another person, so there is no ground truth"
        about = (
            f"Synthetic people, {config.clips} clips of {config.seconds:g} s at {height}x{width}, seed {config.seed}; "
            f"the reference shows {who}. Keypoints are the renderer's."
        )
        write_benchmark(path, f"synthetic {config.kind}", about, clips)
    else:
        assert config.source is not None
        if not config.source.is_dir():
            raise PosegenError(f"--source {config.source}: there is no such folder")
        find = _tiktok if config.kind == "tiktok" else _pairs
        clips = find(config.source.resolve(), config, progress)
        if not clips:
            raise PosegenError(
                f"--source {config.source}: holds no clip; `posegen benchmark --help` says what is looked for"
            )
        write_benchmark(path, config.source.resolve().name, f"{len(clips)} clips of {config.source.name}", clips)
    read_benchmark(path)
    return path


def synthetic_sizes(config: BenchmarkConfig) -> tuple[Size, Size]:
    """(height, width) in pixels of the synthetic clips, and of the videos that the model makes of them.

    Raises `PosegenError` if their shapes differ.
    """
    model = describe_model(config.model)
    clips = parse_size(config.size) if config.size is not None else model.size_for(_UPRIGHT)
    size = model.size_for(clips)
    if plan_fit(clips, size, "crop").scaled != size:
        raise PosegenError(
            f"--size {config.size}: {config.model} makes {size[0]}x{size[1]}, another shape: give that or a multiple"
        )
    return clips, size


def _synthetic(config: BenchmarkConfig, clip_size: Size, size: Size, progress: Progress) -> list[dict[str, Any]]:
    """Render clips of people in no training data, with exact keypoints; existing clips are kept."""
    require_extra("synthetic", "a benchmark of synthetic people")
    from posegen.data.clips import Drawing
    from posegen.evaluate.filming import FilmFormat, film
    from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
    from posegen.synthetic.shard_writer import ShardSettings, place_of

    fps, (height, width) = parse_fps(config.fps or "16"), clip_size
    frames = max(1, round(config.seconds * fps))
    settings = SyntheticClipSettings(height, width, frames, float(fps))
    model = describe_model(config.model)
    description = f"{config.kind} {config.seed} {settings} {fps} {model.draw_scale} {model.skeleton_colors} {size}"
    clips = []
    for number in range(config.clips):
        name = f"{number:03d}"
        folder = config.output / name
        done = folder / "done.json"
        if not _is_made(folder, done, description):
            place = place_of(ShardSettings(config.kind, config.clips, config.seed), number)
            clip = SyntheticClip(place.identity_seed, place.seed, settings, place.framing)
            done.unlink(missing_ok=True)
            drawing = Drawing(model.draw_scale, model.skeleton_colors)
            form = FilmFormat(fps, (height, width), size, drawing, crf=12)
            film(clip.frames(), folder / "driving.mp4", folder / "conditions", form)
            shown = clip
            if config.kind == "val-cross":
                shown = SyntheticClip(place.reference_identity_seed, place.reference_seed, settings, place.framing)
            write_image(folder / "reference.png", shown.reference().rgb)
            (folder / "prompt.txt").write_text(shown.caption + "\n")
            write_whole(done, checked_json({"made": description, "files": digests_of(folder)}))
        prompt = (folder / "prompt.txt").read_text().strip()
        entry: dict[str, Any] = {"name": name, "reference": f"{name}/reference.png"}
        entry |= {"truth" if config.kind == "val-same" else "driving": f"{name}/driving.mp4"}
        entry |= {"conditions": f"{name}/conditions", "prompt": prompt, "aligned": config.kind == "val-same"}
        clips.append(entry)
        progress.update("clips", number + 1, config.clips)
    return clips


def _is_made(folder: Path, done: Path, description: str) -> bool:
    """Return whether a clip exists as described and undamaged; report a damaged one."""
    if not done.exists():
        return False
    try:
        kept = read_checked_file(done, required=True)
        if kept["made"] != description:
            return False
        check_digests(folder, kept["files"])
    except DamagedFileError as error:
        logger.warning("the clip is made again: %s", error)
        return False
    return True


def _tiktok(source: Path, config: BenchmarkConfig, progress: Progress) -> list[dict[str, Any]]:
    """List videos, folders of frames, or folders with frames in `images`; the first frame is the reference image."""
    fps = parse_fps(config.fps or "30")
    found: list[tuple[str, Path]] = []
    for each in sorted_naturally(list(source.iterdir())):
        if each.suffix.lower() in VIDEOS:
            found.append((each.stem, each))
        elif each.is_dir():
            inside = [each / name for name in _FRAME_FOLDERS if (each / name).is_dir()] or [each]
            if any(picture.suffix.lower() in PICTURES for picture in inside[0].iterdir()):
                found.append((each.name, inside[0]))
    _check_names([name for name, _ in found], source)
    clips: list[dict[str, Any]] = []
    for done, (name, path) in enumerate(found, start=1):
        reference = config.output / "references" / f"{name}.png"
        reference.parent.mkdir(parents=True, exist_ok=True)
        write_image(reference, next(iter(open_footage(path, fps).frames())))
        clips.append(_entry(config.output, name, reference, fps if path.is_dir() else None, truth=path))
        progress.update("clips", done, len(found))
    return clips


def _pairs(source: Path, config: BenchmarkConfig, progress: Progress) -> list[dict[str, Any]]:
    """List pairs: NAME.png beside NAME.mp4 (driving), or a folder NAME with reference, driving and, if known, truth."""
    fps = parse_fps(config.fps) if config.fps else None
    clips: list[dict[str, Any]] = []
    alone: list[str] = []
    for each in sorted_naturally(list(source.iterdir())):
        if each.is_dir():
            reference = _one(each, "reference", PICTURES)
            driving, truth = (_one(each, part, VIDEOS) for part in ("driving", "truth"))
            if reference and (driving or truth):
                clips.append(_entry(config.output, each.name, reference, fps, truth=truth, driving=driving))
            elif reference or driving or truth:
                alone.append(each.name)
        elif each.suffix.lower() in PICTURES and (driving := _one(source, each.stem, VIDEOS)):
            clips.append(_entry(config.output, each.stem, each, fps, driving=driving))
        elif each.suffix.lower() in PICTURES or (
            each.suffix.lower() in VIDEOS and not _one(source, each.stem, PICTURES)
        ):
            alone.append(each.name)
    _check_names([entry["name"] for entry in clips], source)
    if alone:
        progress.say(f"{len(alone)} left out, where an image or a video is missing beside it: {some(alone)}")
    progress.update("clips", len(clips), len(clips))
    return clips


def _check_names(names: list[str], source: Path) -> None:
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise PosegenError(f"--source {source}: two clips would be called {double}: rename one of them")


def _one(folder: Path, stem: str, suffixes: tuple[str, ...]) -> Path | None:
    return next(iter(files_called(folder, stem, suffixes)), None)


def _entry(output: Path, name: str, reference: Path, fps: Fraction | None, **videos: Path | None) -> dict[str, Any]:
    """A clip of the description, with paths from it to the files."""
    files = {"reference": reference, **{key: path for key, path in videos.items() if path}}
    entry: dict[str, Any] = {"name": name}
    entry |= {key: os.path.relpath(path.resolve(), output.resolve()) for key, path in files.items()}
    if "driving" in files and "truth" not in files:
        entry["aligned"] = False
    return entry | ({"fps": str(fps)} if fps else {})
