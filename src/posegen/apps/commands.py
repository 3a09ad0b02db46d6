"""The commands that use models, each a few calls; imported only when one runs, because it needs torch."""

from importlib import resources
from pathlib import Path

from posegen.apps.terminal import Terminal
from posegen.config import (
    ExtractConfig,
    GenerateConfig,
    PreviewConfig,
    PromptConfig,
    TrainConfig,
)
from posegen.devices import choose_device
from posegen.extras import require_extra
from posegen.generate.extract_job import extract_job
from posegen.generate.job.job_folder import side_by_side_path, work_folder
from posegen.generate.long_video import generate_video
from posegen.generate.preview.preview_job import preview_job
from posegen.generate.prompting import prompt_for
from posegen.model.sources import NAMES, describe_model


def generate(config: GenerateConfig) -> None:
    """`posegen generate`."""
    with Terminal() as terminal:
        generate_video(config, terminal)
        if config.dry_run:
            return
        terminal.say(f"wrote {config.output}")
        if config.side_by_side:
            terminal.say(f"wrote {side_by_side_path(config.output)}")
        terminal.say(f"conditions and segments are kept in {work_folder(config.output)}; delete it when you are done")


def extract(config: ExtractConfig) -> None:
    """`posegen extract`."""
    with Terminal() as terminal:
        result = extract_job(config, terminal)
        terminal.say(f"wrote {result.overlay} and the conditions beside it")


def preview(config: PreviewConfig) -> None:
    """`posegen preview`."""
    with Terminal() as terminal:
        found, picture, video = preview_job(config, terminal)
        for line in (*(f"! {line}" for line in found.warnings), *found.notes):
            terminal.say(line)
        terminal.say(f"wrote {picture} and {video}")


def print_prompt(config: PromptConfig) -> None:
    """`posegen prompt`: the prompt alone on stdout, its author on stderr."""
    choose_device(config.device)
    with Terminal() as terminal:
        prompt, who = prompt_for(config)
        terminal.say(f"written {who}")
    print(prompt)


def train_stage(config: TrainConfig) -> None:
    """`posegen train`."""
    from posegen.train.train_recipe import read_recipe
    from posegen.train.training import TrainingPaths, dry_run, train

    recipe = read_recipe(config.recipe)
    paths = TrainingPaths.of(config, recipe)
    if config.dry_run:
        print(dry_run(config.stage, recipe, paths, config.processes, config.seconds_per_step))
        return
    require_extra("train", "training")
    with Terminal() as terminal:
        folder = train(config.stage, recipe, paths, terminal, config.encode_only)
        figures = "" if config.encode_only else f"; figures and images: tensorboard --logdir {config.output}"
        terminal.say(f"wrote {folder}{figures}")


def list_models() -> None:
    """`posegen models`."""
    for name in NAMES:
        model = describe_model(name)
        trained = "" if model.trained else ", NOT TRAINED to follow poses"
        if model.few_steps:
            trained += f", made for {model.few_steps} steps"
        print(
            f"{name:<22} segments of {model.segment_length} frames, about {model.default_area:,} pixels a frame, "
            f"weights {model.weights_bytes / 1e9:.2f} GB{trained}"
        )
    print("or a folder: one that posegen saved, or a Wan2.1 image-to-video checkpoint in diffusers' layout")


def demo(output: Path, model: str, steps: int | None, guidance: float | None, pose_guidance: float | None) -> None:
    """`posegen demo`: `generate` on the bundled inputs, and a comparison with the ground truth."""
    from posegen.evaluate.comparison import compare_with_driving

    beside = side_by_side_path(output)
    with resources.as_file(resources.files("posegen") / "demo") as folder, Terminal() as terminal:
        result = generate_video(
            GenerateConfig(
                reference=folder / "reference.png",
                driving=folder / "driving.mp4",
                output=output,
                model=model,
                prompt=(folder / "prompt.txt").read_text().strip(),
                conditions=folder / "conditions",
                steps=steps,
                guidance=guidance,
                pose_guidance=pose_guidance,
                person_check=False,  # these inputs are known: no estimator need be loaded
                retarget="off",  # and the reference is the driving person, in their place
            ),
            terminal,
        )
        for line in compare_with_driving(result.plan, beside).lines():
            terminal.say(line)
        terminal.say(f"wrote {output}")
        terminal.say(f"wrote {beside}: reference, skeleton, result and ground truth")
