"""`posegen`: the commands. Each builds a settings object and calls one function; nothing heavy is imported before.

Exit codes: 0 done; 1 a defect of posegen; 2 a problem of the input; 130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP
(the same command resumes). Each except 0 comes with one line on stderr (`failures.py`).
"""

import contextlib
import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, get_args

import tyro
from rich.console import Console

from posegen import __version__
from posegen.apps.argument_errors import one_line
from posegen.apps.failures import check_address_space, guarded
from posegen.apps.input_checks import check_inputs
from posegen.config import (
    AblateConfig,
    BenchmarkConfig,
    EvaluateConfig,
    ExtractConfig,
    GenerateConfig,
    JobsConfig,
    MotionConfig,
    PrepareConfig,
    PreviewConfig,
    PromptConfig,
    ScreenConfig,
    ServeConfig,
    StudyConfig,
    SynthConfig,
    TrainConfig,
)
from posegen.errors import PosegenError
from posegen.extras import require_extra
from posegen.library_imports import imported_for_good


@dataclass(frozen=True)
class ModelsConfig:
    """List the models that can be used by name, and the requirements of each."""


@dataclass(frozen=True)
class SetupConfig:
    """Fetch MediaPipe's pose models, which are not in the package, and list which extras are installed."""

    heavy_pose: bool = False
    """Also fetch the heavy pose model with npm (41 MB): it looks again where the usual one failed."""


@dataclass(frozen=True)
class DemoConfig:
    """Make a video from the inputs that come with posegen: a first try on any computer."""

    output: Path = Path("outputs/demo.mp4")
    """The video to write; a side-by-side video goes beside it."""
    model: str = "mini"
    """Name of a model, or a folder with one, that reads skeletons as the mini does."""
    steps: int | None = None
    """Denoising steps of each segment; by default the model's usual number."""
    guidance: float | None = None
    """Strength of classifier-free guidance, by default the model's."""
    pose_guidance: float | None = None
    """Strength of pose guidance, by default the model's."""


Command = (
    Annotated[GenerateConfig, tyro.conf.subcommand("generate")]
    | Annotated[ExtractConfig, tyro.conf.subcommand("extract")]
    | Annotated[PreviewConfig, tyro.conf.subcommand("preview")]
    | Annotated[MotionConfig, tyro.conf.subcommand("motion")]
    | Annotated[PromptConfig, tyro.conf.subcommand("prompt")]
    | Annotated[SynthConfig, tyro.conf.subcommand("synth")]
    | Annotated[PrepareConfig, tyro.conf.subcommand("prepare")]
    | Annotated[TrainConfig, tyro.conf.subcommand("train")]
    | Annotated[EvaluateConfig, tyro.conf.subcommand("evaluate")]
    | Annotated[BenchmarkConfig, tyro.conf.subcommand("benchmark")]
    | Annotated[AblateConfig, tyro.conf.subcommand("ablate")]
    | Annotated[StudyConfig, tyro.conf.subcommand("study")]
    | Annotated[ScreenConfig, tyro.conf.subcommand("screen")]
    | Annotated[ServeConfig, tyro.conf.subcommand("serve")]
    | Annotated[JobsConfig, tyro.conf.subcommand("jobs")]
    | Annotated[ModelsConfig, tyro.conf.subcommand("models")]
    | Annotated[SetupConfig, tyro.conf.subcommand("setup")]
    | Annotated[DemoConfig, tyro.conf.subcommand("demo")]
)
_COMMANDS = tuple(get_args(command)[1].name for command in get_args(Command))
CommandConfig = (
    GenerateConfig
    | ExtractConfig
    | PreviewConfig
    | MotionConfig
    | PromptConfig
    | SynthConfig
    | PrepareConfig
    | TrainConfig
    | EvaluateConfig
    | BenchmarkConfig
    | AblateConfig
    | StudyConfig
    | ScreenConfig
    | ServeConfig
    | JobsConfig
    | ModelsConfig
    | SetupConfig
    | DemoConfig
)
_EXTRA_OF: dict[type, str] = {
    SynthConfig: "synthetic",
    PrepareConfig: "prepare",
    ScreenConfig: "evaluate",
    ServeConfig: "serve",
    EvaluateConfig: "evaluate",
    BenchmarkConfig: "evaluate",
    AblateConfig: "evaluate",
    StudyConfig: "evaluate",
}
"""Extras that a command needs to start; `posegen.extras` lists what they install."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; `arguments` defaults to those of the process."""
    sys.exit(guarded(lambda: dispatch(parse(arguments))))


def parse(arguments: list[str] | None) -> CommandConfig:
    """Read the arguments into a settings object; raises `PosegenError` for invalid ones.

    Raises `SystemExit` after printing help or the version.
    """
    given = sys.argv[1:] if arguments is None else arguments
    if given == ["--version"]:
        print(f"posegen {__version__}")
        raise SystemExit(0)
    printed = io.StringIO()
    try:
        with contextlib.redirect_stderr(printed):
            return tyro.cli(
                Command,
                prog="posegen",
                args=given,
                config=(tyro.conf.DisallowNone,),
                description="One reference image of a person + one driving video -> a video of that person making "
                "those movements, of any length. `posegen COMMAND --help` explains each command, `posegen --version` "
                "prints the version.",
            )
    except SystemExit as exit_request:
        cause: BaseException | None = exit_request
        while cause is not None and not isinstance(cause, PosegenError):
            cause = cause.__cause__ or cause.__context__
        if cause is not None:  # a check of ours
            raise cause from None
        if exit_request.code:
            raise PosegenError(one_line(printed.getvalue(), given, _COMMANDS)) from None
        raise


def dispatch(config: CommandConfig) -> None:
    """Pass the settings to the function that does the work."""
    check_inputs(config)
    if type(config) in _EXTRA_OF:
        require_extra(_EXTRA_OF[type(config)], "this command")
    check_address_space()
    for name in ("TRANSFORMERS_VERBOSITY", "DIFFUSERS_VERBOSITY"):
        os.environ.setdefault(name, "error")  # read at import: the terminal is for posegen's own lines
    os.environ.setdefault("TQDM_DELAY", "5")  # seconds: bars of libraries only where there is something to wait for
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("GOMP_SPINCOUNT", "2000")  # waiting threads give way: on a busy machine they starve others
    # seconds of silence otherwise; shown in a terminal only
    with Console(stderr=True).status("loading libraries"), imported_for_good():
        work = _work_of(config)
    work()


def _work_of(config: CommandConfig) -> Callable[[], None]:
    """Import and return the function that does the work."""
    match config:
        case SynthConfig():
            from posegen.apps.synth_command import synth

            return partial(synth, config)
        case PrepareConfig():
            from posegen.apps.prepare_command import prepare

            return partial(prepare, config)
        case JobsConfig():
            from posegen.apps.jobs_command import jobs

            return partial(jobs, config)
        case EvaluateConfig() | BenchmarkConfig() | AblateConfig():
            from posegen.apps import evaluation_commands as evaluation

            return partial(evaluation.run, config)
        case MotionConfig():
            from posegen.apps.motion_command import show

            return partial(show, config)
        case StudyConfig():
            from posegen.apps.page_commands import serve_study

            return partial(serve_study, config)
        case SetupConfig():
            from posegen.apps.setup_command import set_up

            return partial(set_up, config.heavy_pose)
        case ScreenConfig():
            from posegen.apps.page_commands import serve_screening

            return partial(serve_screening, config)
        case ServeConfig():
            from posegen.apps.page_commands import serve_jobs

            return partial(serve_jobs, config)
    from posegen.apps import commands

    match config:
        case PreviewConfig():  # is a GenerateConfig too
            return partial(commands.preview, config)
        case GenerateConfig():
            return partial(commands.generate, config)
        case ExtractConfig():
            return partial(commands.extract, config)
        case PromptConfig():
            return partial(commands.print_prompt, config)
        case TrainConfig():
            return partial(commands.train_stage, config)
        case ModelsConfig():
            return commands.list_models
        case DemoConfig():
            return partial(
                commands.demo, config.output, config.model, config.steps, config.guidance, config.pose_guidance
            )


if __name__ == "__main__":
    main()
