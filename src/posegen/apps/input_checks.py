"""Checks that the inputs of the settings exist, before torch is imported, which takes many seconds.

Only cheap checks are made here. The functions that do the work check everything, these inputs included.
"""

from pathlib import Path

from posegen.config import (
    AblateConfig,
    EvaluateConfig,
    ExtractConfig,
    GenerateConfig,
    MotionConfig,
    PromptConfig,
    StudyConfig,
    TrainConfig,
)
from posegen.media.files import check_input


def check_inputs(config: object) -> None:
    """Raise `PosegenError` for the first input of the settings that is missing; settings without inputs pass."""
    match config:
        case GenerateConfig():
            check_input(config.reference, "a picture")
            if config.driving is not None:
                check_input(config.driving, "a video")
            if config.motion is not None:
                _check_motion(config.motion)
            if config.conditions is not None:
                from posegen.conditions.folder import open_conditions

                open_conditions(config.conditions)
        case ExtractConfig():
            check_input(config.driving, "a video")
        case MotionConfig():
            _check_motion(config.file)
        case PromptConfig():
            check_input(config.reference, "a picture")
        case TrainConfig():
            from posegen.train.train_recipe import read_recipe

            read_recipe(config.recipe).stage(config.stage)
        case EvaluateConfig() | StudyConfig():
            _check_benchmark(config.benchmark)
            from posegen.evaluate.matching import parse_methods

            parse_methods(config.methods)
        case AblateConfig() if config.benchmark is not None:
            _check_benchmark(config.benchmark)


def _check_motion(path: Path) -> None:
    if not path.is_dir():  # FreeMoCap's recordings are folders
        check_input(path, "a motion file")


def _check_benchmark(path: Path) -> None:
    from posegen.evaluate.benchmark_file import read_benchmark

    read_benchmark(path)
