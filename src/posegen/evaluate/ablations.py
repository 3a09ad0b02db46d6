"""Ablations by name: generates the variants of each on a benchmark, scores them and writes a report.

Variants are made by `generate_video`. A finished video of the same settings is kept, so the same command resumes where
it stopped. Metrics are defined in `metrics/`.
"""

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posegen.config import AblateConfig, BenchmarkConfig, EvaluateConfig, GenerateConfig, LongMethod
from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import BenchmarkClip, read_benchmark
from posegen.evaluate.evaluation import Evaluation, evaluate
from posegen.evaluate.footage import Footage
from posegen.evaluate.making import make_benchmark
from posegen.evaluate.matching import read_seams
from posegen.evaluate.report.html_report import write_report
from posegen.evaluate.report.text_reports import number
from posegen.generate.job.job_folder import work_folder
from posegen.generate.job.manifest import describe_changes, now, versions
from posegen.generate.long_video import generate_video
from posegen.generate.planning.job_identity import identity_of
from posegen.media.checksums import DamagedFileError, check_digests, checked_json, digests_of, read_checked_file
from posegen.media.files import write_whole
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image, write_image
from posegen.model.sources import ModelDescription, describe_model
from posegen.progress import Progress

Changes = dict[str, Any]
_MOMENTS = 3
"""Moments of each video in the image of an ablation."""


@dataclass(frozen=True)
class Ablation:
    """One part of PoseGen to switch.

    question: what the ablation answers; kind: the synthetic benchmark; variants: name -> changed settings, for a model
    and a number of steps.
    """

    question: str
    kind: Literal["val-same", "val-cross"]
    variants: Callable[[ModelDescription, int], dict[str, Changes]]


def _fixed(**variants: Changes) -> Callable[[ModelDescription, int], dict[str, Changes]]:
    return lambda model, steps: {name.replace("_", " "): changes for name, changes in variants.items()}


def sharing_variants(model: ModelDescription, steps: int) -> dict[str, Changes]:
    """Variants of sharing: off, without a mask, both presets, and a grid of steps and layers.

    The grid shares a fifth, half or all of the steps x a quarter, half or all of the layers.
    """
    variants: dict[str, Changes] = {
        "off": {"sharing": "off"},
        "without mask": {"sharing_mask": False},
        "paper": {},
        "release": {"sharing": "release"},
    }
    for step_count in sorted({-(-steps // 5), -(-steps // 2), steps}):
        for layer_count in sorted({-(-model.num_layers // 4), -(-model.num_layers // 2), model.num_layers}):
            name = f"{step_count} of {steps} steps × {layer_count} of {model.num_layers} layers"
            variants[name] = {"sharing_steps": step_count, "sharing_layers": layer_count}
    return variants


ABLATIONS = {
    "hand-normals": Ablation("Are hands better with hand normals?", "val-same", _fixed(on={}, off={"hands": False})),
    "sharing": Ablation(
        "Does sharing keep the background steady, what is the mask for, and how many steps and layers are enough?",
        "val-same",
        sharing_variants,
    ),
    "long-method": Ablation(
        "Do base and stitch segments drift and flicker less than other ways to a long video?",
        "val-same",
        _fixed(**{name: {"long_method": name} for name in get_args(LongMethod)}),
    ),
    "reference-tokens": Ablation(
        "Do reference tokens keep the person's identity?", "val-same", _fixed(on={}, off={"reference_tokens": False})
    ),
    "retargeting": Ablation(
        "Does the person keep their own proportions when somebody else drives?",
        "val-cross",
        _fixed(full={"retarget": "full"}, align={"retarget": "align"}, off={"retarget": "off"}),
    ),
    "pose-guidance": Ablation(
        "Does pose guidance, which is not part of PoseGen, make limbs follow more closely?",
        "val-same",
        _fixed(off={"pose_guidance": 1.0}, **{f"{scale:g}": {"pose_guidance": scale} for scale in (1.5, 2.0, 3.0)}),
    ),
}


def benchmark_of(config: AblateConfig) -> BenchmarkConfig:
    """Settings of the synthetic benchmark that an ablation uses by default."""
    return BenchmarkConfig(
        ABLATIONS[config.name].kind,
        config.output / "benchmark",
        clips=config.clips,
        seconds=config.seconds,
        size=config.size,
        seed=config.seed,
        model=config.model,
    )


def ablate(config: AblateConfig, progress: Progress) -> tuple[Evaluation, list[Path]]:
    """Generate the missing videos, score all, write the report; returns scores and files. Raises `PosegenError`."""
    ablation, model = ABLATIONS[config.name], describe_model(config.model)
    steps = config.steps or model.default_steps
    variants = ablation.variants(model, steps)
    unknown = {key for changes in variants.values() for key in changes} - {
        f.name for f in dataclasses.fields(GenerateConfig)
    }
    if unknown:
        raise PosegenError(f"{config.name}: this posegen cannot switch {', '.join(sorted(unknown))}")
    source = config.benchmark or make_benchmark(benchmark_of(config), progress)
    benchmark = read_benchmark(source)
    wanted = [(name, clip) for clip in benchmark.clips for name in variants]
    for done, (name, clip) in enumerate(wanted):
        progress.update("videos of all variants", done, len(wanted))
        make_variant(variant_config(config, clip, name, variants[name]), progress)
    methods = tuple(f"{name}={config.output / 'videos' / name}" for name in variants)
    scored = EvaluateConfig(
        source, methods, config.output / "report", "native", resample=True, cache=config.cache, device=config.device
    )
    evaluation = evaluate(scored, progress)
    paths = write_report(evaluation, scored, progress)
    return evaluation, [*paths, *write_summary(config, ablation, variants, evaluation)]


def variant_config(config: AblateConfig, clip: BenchmarkClip, name: str, changes: Changes) -> GenerateConfig:
    """Settings of one video of one variant: the usual ones, without retargeting where the clip is aligned."""
    if clip.motion is None:
        raise PosegenError(f"clip {clip.name} has neither a driving video nor a ground truth")
    settings: Changes = {
        "seed": config.seed,
        "steps": config.steps,
        "device": config.device,
        "pose_guidance": config.pose_guidance,
        "pose_strength": config.pose_strength,
    }
    if clip.aligned and "retarget" in {field.name for field in dataclasses.fields(GenerateConfig)}:
        settings["retarget"] = "off"
    return GenerateConfig(
        reference=clip.reference,
        driving=clip.motion.path,
        output=config.output / "videos" / name / f"{clip.name}.mp4",
        model=config.model,
        prompt=clip.prompt,
        conditions=clip.conditions,
        person_check=False,
        **{**settings, **changes},
    )


def make_variant(config: GenerateConfig, progress: Progress) -> bool:
    """Make the video, with its seams beside it, unless one of the same settings exists; return whether it was made."""
    settings = json.loads(json.dumps(identity_of(config)))
    record = config.output.with_suffix(".json")
    if record.exists() and config.output.exists():
        reasons = _reasons_to_make_again(config.output, record, settings)
        if not reasons:
            return False
        progress.say(f"{config.output} is made again: {'; '.join(reasons)}")
    generate_video(config, progress)
    seams = read_seams(config.output)
    beside = config.output.with_name(f"{config.output.stem}.seams.json")
    write_whole(beside, json.dumps(seams).encode())
    digests = digests_of(beside.parent, (config.output.name, beside.name))
    write_whole(record, checked_json({"settings": settings, "files": digests}))
    shutil.rmtree(work_folder(config.output), ignore_errors=True)  # segments without loss are large
    return True


def _reasons_to_make_again(output: Path, record: Path, settings: dict[str, Any]) -> list[str]:
    """Reasons why an existing video cannot be kept: other settings, or damage."""
    try:
        kept = read_checked_file(record, required=True)
        check_digests(output.parent, kept["files"])
    except DamagedFileError as error:
        return [str(error)]
    return describe_changes(kept["settings"], settings)


def write_summary(
    config: AblateConfig, ablation: Ablation, variants: dict[str, Changes], evaluation: Evaluation
) -> list[Path]:
    """Write ablation.json (settings, every number with its interval), grid.md where there is one, and ablation.jpg."""
    cells = {
        row: {
            score.name: dataclasses.asdict(cell) | {"clips": len(cell.clips)}
            for score in evaluation.scores
            if (cell := evaluation.cells.get((row, score.name))) is not None
        }
        for row in evaluation.rows
    }
    content = {
        "ablation": config.name,
        "question": ablation.question,
        "model": config.model,
        "benchmark": {"name": evaluation.benchmark.name, "about": evaluation.benchmark.about},
        "clips": len(evaluation.benchmark.clips),
        "steps": config.steps,
        "seed": config.seed,
        "protocol": evaluation.rules.name,
        "date": now(),
        "versions": versions(),
        "variants": variants,
        "better": {score.name: score.better for score in evaluation.scores},
        "scores": cells,
        "warnings": evaluation.warnings,
    }
    paths = [config.output / name for name in ("ablation.json", "ablation.jpg")]
    write_whole(paths[0], (json.dumps(content, indent=1, ensure_ascii=False, default=list) + "\n").encode())
    write_image(paths[1], picture(evaluation, list(variants)))
    grid = grid_tables(variants, evaluation)
    if grid:
        paths.append(config.output / "grid.md")
        write_whole(paths[-1], grid.encode())
    return paths


def grid_tables(variants: dict[str, Changes], evaluation: Evaluation) -> str:
    """A Markdown table of steps x layers for each score; empty where no variant sets both."""
    places = {
        (changes["sharing_steps"], changes["sharing_layers"]): name
        for name, changes in variants.items()
        if {"sharing_steps", "sharing_layers"} <= set(changes)
    }
    if not places:
        return ""
    steps, layers = (sorted({place[axis] for place in places}) for axis in (0, 1))
    lines = []
    for score in evaluation.scores:
        lines += [
            f"### {score.name} ({score.better} is better)",
            "",
            "| steps \\ layers | " + " | ".join(map(str, layers)) + " |",
        ]
        lines.append("|---" * (len(layers) + 1) + "|")
        for step_count in steps:
            found = [evaluation.cells.get((places[step_count, layer_count], score.name)) for layer_count in layers]
            texts = ["–" if cell is None else number(score, cell.value) for cell in found]
            lines.append(f"| {step_count} | " + " | ".join(texts) + " |")
        lines.append("")
    return "\n".join(lines)


def picture(evaluation: Evaluation, names: list[str]) -> np.ndarray:
    """An image of the first clip: reference and driving video, then a row for each variant, from start to end."""
    clip = evaluation.benchmark.clips[0]
    assert clip.motion is not None
    first = evaluation.results[names[0]][clip.name].footage
    rows = [_moments(clip.motion, first.size)]
    rows += [_moments(evaluation.results[name][clip.name].footage, first.size) for name in names]
    reference = read_image(clip.reference)
    shown = plan_fit(reference.shape[:2], first.size, "crop").apply(reference)
    left = [shown, *(_label(name, first.size) for name in names)]
    return np.hstack([np.vstack(left), np.vstack(rows)])


def _label(name: str, size: tuple[int, int]) -> np.ndarray:
    """The variant's name in white on dark grey, one word a line."""
    board = Image.new("RGB", size[::-1], (40, 40, 40))
    text = "\n".join(name.split())
    text = text.replace("×", "x")  # missing in Pillow's own font
    ImageDraw.Draw(board).text((6, 6), text, fill="white", font=ImageFont.load_default(max(10, size[0] // 14)))
    return np.asarray(board)


def _moments(footage: Footage, size: tuple[int, int]) -> np.ndarray:
    """Frames at the start, the middle and the end, side by side."""
    wanted = np.linspace(0, footage.num_frames - 1, _MOMENTS).round().astype(int)
    fit = plan_fit(footage.size, size, "crop")
    return np.hstack([fit.apply(frame) for place, frame in enumerate(footage.frames()) if place in wanted])
