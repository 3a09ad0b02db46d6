"""Reads and writes benchmark descriptions: YAML files that list clips and the files of each.

    name: my clips
    fps: 30                       # of frames in folders; videos say their own
    clips:
      - name: dance               # results are called dance.mp4, or are a folder dance/ of frames
        reference: dance.png
        truth: dance_truth.mp4    # the ground truth, if there is one
        driving: dance_moves.mp4  # the movement; by default the ground truth
        keypoints: dance.npz      # of the driving video, as `posegen extract` keeps them; by default estimated
        conditions: dance         # instead: the folder of `posegen extract`, which `posegen ablate` generates from too
        prompt: A woman ...       # for `posegen ablate`; by default one is written for the reference
        aligned: false            # the result shows the person at another place; by default true with a ground truth

Paths are relative to the file. `making.py` makes such files; `footage.py` reads the videos.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import yaml

from posegen.conditions.folder import KEYPOINTS
from posegen.config import parse_fps
from posegen.errors import PosegenError
from posegen.evaluate.footage import Footage, open_footage
from posegen.media.data_files import read_yaml
from posegen.media.files import check_input, write_whole

_CLIP_KEYS = ("name", "reference", "truth", "driving", "keypoints", "conditions", "prompt", "aligned", "fps")
_FILES = ("reference", "truth", "driving", "keypoints", "conditions")
_KEYS = ("name", "about", "fps", "clips")


@dataclass(frozen=True)
class BenchmarkClip:
    """One clip, all of whose files exist. aligned: driving video and result show the person at the same place."""

    name: str
    reference: Path
    ground_truth: Footage | None
    driving: Footage | None
    keypoints: Path | None
    aligned: bool
    fps: Fraction | None
    conditions: Path | None = None
    prompt: str | None = None

    @property
    def motion(self) -> Footage | None:
        """The driving video, or else the ground truth."""
        return self.driving or self.ground_truth


@dataclass(frozen=True)
class Benchmark:
    """The clips that methods are scored on."""

    name: str
    about: str
    clips: tuple[BenchmarkClip, ...]


def read_benchmark(path: Path) -> Benchmark:
    """Read a description, or the `benchmark.yaml` of a folder.

    Raises `PosegenError` for anything that is not one, an unknown key, a name that comes twice, a missing file.
    """
    path = path / "benchmark.yaml" if path.is_dir() else path
    if not path.exists() and path.name == "benchmark.yaml":
        raise PosegenError(f"{path.parent}: holds no benchmark.yaml: `posegen benchmark --help` says how to make one")
    content = read_yaml(path, "a benchmark description in YAML")
    top = _checked(content, _KEYS, f"{path}")
    clips = top.get("clips")
    if not isinstance(clips, list) or not clips:
        raise PosegenError(f"{path}: a benchmark needs a list of clips")
    rate = _rate(top.get("fps"), f"{path}")
    read = tuple(_clip(entry, rate, path, number) for number, entry in enumerate(clips, start=1))
    names = [clip.name for clip in read]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise PosegenError(f"{path}: two clips are called {double}")
    return Benchmark(str(top.get("name", path.resolve().parent.name)), str(top.get("about", "")), read)


def write_benchmark(path: Path, name: str, about: str, clips: list[dict[str, Any]]) -> None:
    """Write a description; the clips' keys are those of the file."""
    content = {"name": name, "about": about, "clips": clips}
    write_whole(path, yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120).encode())


def _clip(entry: Any, rate: Fraction | None, path: Path, number: int) -> BenchmarkClip:
    where = f"{path}: clip {number}"
    known = _checked(entry, _CLIP_KEYS, where)
    for key in ("name", "reference"):
        if not isinstance(known.get(key), str | int) or not str(known[key]).strip():
            raise PosegenError(f"{where}: {key} is missing")
    name = str(known["name"])
    if Path(name).name != name or name.startswith("."):
        raise PosegenError(f"{where}: {name!r} is no name for a file")
    fps = _rate(known["fps"], where) if "fps" in known else rate
    files = {key: path.parent / str(known[key]) for key in _FILES if known.get(key)}
    if "conditions" in files:
        files.setdefault("keypoints", files["conditions"] / KEYPOINTS)
    for key in ("reference", "keypoints"):
        if key in files:
            check_input(files[key], f"the {key} of clip {name}")
    aligned = known.get("aligned", "truth" in files)
    if not isinstance(aligned, bool):
        raise PosegenError(f"{where}: aligned is true or false, not {aligned!r}")
    ground_truth, driving = (open_footage(files[key], fps) if key in files else None for key in ("truth", "driving"))
    prompt = str(known["prompt"]) if known.get("prompt") else None
    return BenchmarkClip(
        name,
        files["reference"],
        ground_truth,
        driving,
        files.get("keypoints"),
        aligned,
        fps,
        files.get("conditions"),
        prompt,
    )


def _checked(content: Any, keys: tuple[str, ...], where: str) -> Mapping[str, Any]:
    if not isinstance(content, dict):
        raise PosegenError(f"{where}: keys ({', '.join(keys)}) were expected, not {type(content).__name__}")
    unknown = [str(key) for key in content if key not in keys]
    if unknown:
        raise PosegenError(f"{where}: {unknown[0]} is unknown; there are {', '.join(keys)}")
    return content


def _rate(value: Any, where: str) -> Fraction | None:
    return None if value is None else parse_fps(str(value), f"{where}: fps")
