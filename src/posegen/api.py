"""Public functions such as `posegen.generate`: each takes paths and settings and returns a result.

Each builds the settings of one command and calls the same function as that command. Nothing heavy is imported before a
function runs. Progress is not shown unless a `posegen.progress.Progress` is given.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from posegen.config import EvaluateConfig, ExtractConfig, GenerateConfig, PrepareConfig, PreviewConfig, TrainConfig
from posegen.config.base import Settings
from posegen.errors import PosegenError
from posegen.extras import require_extra
from posegen.progress import NullProgress, Progress

if TYPE_CHECKING:
    from posegen.evaluate.evaluation import Evaluation
    from posegen.generate.extract_job import ExtractResult
    from posegen.prepare.prepare_videos import Outcome

Config = TypeVar("Config", bound=Settings)


@dataclass(frozen=True)
class GenerateResult:
    """A finished video, or the plan of one (`dry_run`).

    output: the video; job_folder: conditions and segments, kept so that the same call resumes; safe to delete;
    size: (height, width) in pixels; plan: inputs, segments, memory and sound in a few lines.
    """

    output: Path
    job_folder: Path
    num_frames: int
    fps: Fraction
    size: tuple[int, int]
    prompt: str
    plan: str


@dataclass(frozen=True)
class PreviewResult:
    """A preview: an image, a short video, warnings (most important first) and notes, one line each."""

    picture: Path
    video: Path
    warnings: tuple[str, ...]
    notes: tuple[str, ...]


def generate(
    reference: str | Path,
    driving: str | Path | None,
    output: str | Path,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> GenerateResult:
    """Make a video: the person of the image `reference` makes the movements of the video `driving`.

    driving: None if the movements are in a motion file, `motion="walk.bvh"`.
    output: the MP4 file to write. settings: any field of `GenerateConfig`, for example `model="wan2.1-i2v-14b-720p"`,
    `prompt="..."`, `seed=1`, `steps=25`, `start=2.0`. The same call resumes an interrupted job; finished segments are
    never computed twice. Raises `PosegenError` for any problem that the caller can fix.
    """
    config = _config(GenerateConfig, settings, reference=Path(reference), driving=_path(driving), output=Path(output))
    from posegen.generate.job.job_folder import work_folder
    from posegen.generate.long_video import generate_video

    video = generate_video(config, progress).plan
    resolved = video.settings
    return GenerateResult(
        config.output,
        work_folder(config.output),
        resolved.num_frames,
        resolved.fps,
        resolved.size,
        resolved.sampling.prompt,
        video.description,
    )


def preview(
    reference: str | Path,
    driving: str | Path | None,
    output: str | Path,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> PreviewResult:
    """Preview what `generate` would do: writes OUTPUT_preview.png and OUTPUT_preview.mp4.

    The arguments are those of `generate`, which takes up the conditions made here; `quick=True` only guesses them from
    a few frames. Nothing is generated and no video model is loaded.
    """
    config = _config(PreviewConfig, settings, reference=Path(reference), driving=_path(driving), output=Path(output))
    from posegen.generate.preview.preview_job import preview_job

    found, picture, video = preview_job(config, progress)
    return PreviewResult(picture, video, tuple(found.warnings), tuple(found.notes))


def extract(
    driving: str | Path, output: str | Path, *, progress: Progress | None = None, **settings: Any
) -> "ExtractResult":
    """Extract keypoints, skeletons and hand normals of a driving video into the folder `output`.

    settings: any field of `ExtractConfig`, for example `size="256x144"`, `fps="16"`, `pose="vitpose"`.
    Raises `PosegenError` for any problem that the caller can fix.
    """
    config = _config(ExtractConfig, settings, driving=Path(driving), output=Path(output))
    from posegen.generate.extract_job import extract_job

    return extract_job(config, progress)


def train(
    stage: str, recipe: str | Path, output: str | Path, *, progress: Progress | None = None, **settings: Any
) -> Path:
    """Train one stage (`vae`, `pretrain`, `base` or `stitch`) of a recipe; return the folder of the model.

    recipe: a name (`mini-cpu`, `wan2.1-i2v-14b`, ...) or the path of a TOML file. settings: any field of `TrainConfig`
    (`data`, `validation`, `cache`, `init`, ...). The same call resumes an interrupted training.
    """
    require_extra("train", "training")
    config = _config(TrainConfig, settings, stage=stage, recipe=str(recipe), output=Path(output))
    from posegen.train.train_recipe import read_recipe
    from posegen.train.training import TrainingPaths
    from posegen.train.training import train as train_stage

    read = read_recipe(config.recipe)
    return train_stage(config.stage, read, TrainingPaths.of(config, read), progress, config.encode_only)


def evaluate(
    benchmark: str | Path,
    methods: Mapping[str, str | Path] | Sequence[str],
    output: str | Path,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> "Evaluation":
    """Score folders of results against a benchmark and write a report into the folder `output`.

    methods: name -> folder of results. settings: any field of `EvaluateConfig` (`protocol`, `lpips`, `i3d`, ...).
    """
    require_extra("evaluate", "evaluation")
    named = [f"{name}={folder}" for name, folder in methods.items()] if isinstance(methods, Mapping) else methods
    config = _config(EvaluateConfig, settings, benchmark=Path(benchmark), methods=tuple(named), output=Path(output))
    from posegen.evaluate.evaluation import evaluate as score
    from posegen.evaluate.report.html_report import write_report

    progress = progress or NullProgress()
    evaluation = score(config, progress)
    write_report(evaluation, config, progress)
    return evaluation


def prepare(
    inputs: str | Path | Sequence[str | Path],
    output: str | Path,
    *,
    progress: Progress | None = None,
    **settings: Any,
) -> "Outcome":
    """Make training shards and an index in `output` from videos, folders, globs, lists or URLs.

    settings: any field of `PrepareConfig` (`recipe`, `ray`, `refilter`). The same call resumes.
    """
    require_extra("prepare", "preparing data")
    named = [inputs] if isinstance(inputs, str | Path) else inputs
    config = _config(PrepareConfig, settings, inputs=tuple(map(str, named)), output=str(output))
    from posegen.prepare.prepare_recipe import read_prepare_recipe
    from posegen.prepare.prepare_videos import prepare_data
    from posegen.train.latent_plan import plan_latents

    recipe = read_prepare_recipe(config.recipe)
    plan = plan_latents(recipe.latents, recipe.clips) if recipe.latents.recipe else None
    return prepare_data(config.inputs, config.output, recipe, config.ray, config.refilter, progress, plan=plan)


def _path(given: str | Path | None) -> Path | None:
    return None if given is None else Path(given)


def _config(kind: type[Config], settings: dict[str, Any], **given: Any) -> Config:
    """Build the settings. Raises `PosegenError` for an unknown name, with the nearest known one."""
    known = [field.name for field in fields(kind)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f": did you mean {near[0]}?" if near else f": {kind.__name__} has {', '.join(known)}"
            raise PosegenError(f"there is no setting {name!r}{hint}")
    return kind(**given, **settings)
