"""Settings, one file per command: each setting is defined, documented and checked in one place.

The command line and the Python API build these dataclasses; both then call the same functions. Nothing heavy is
imported here, and no model or file is touched: paths are checked when they are opened.
"""

from posegen.config.ablate import AblateConfig
from posegen.config.benchmark import BenchmarkConfig
from posegen.config.checks import (
    chosen_person,
    parse_amount,
    parse_bytes,
    parse_camera,
    parse_fps,
    parse_lora,
    parse_motion_fps,
    parse_person,
    parse_size,
    parse_viewpoint,
)
from posegen.config.choices import (
    DEFAULT_PROMPT,
    MAX_FPS,
    MAX_SIDE,
    NEGATIVE_PROMPT,
    CameraMode,
    ClipStyle,
    DataType,
    FitMode,
    Framing,
    FramingChoice,
    LongMethod,
    NormalsChoice,
    PersonChoice,
    PoseChoice,
    RetargetMode,
    SharingPrecision,
    SharingPreset,
    SharingStore,
    Split,
    Viewpoint,
)
from posegen.config.estimators import EstimatorConfig
from posegen.config.evaluate import EvaluateConfig
from posegen.config.extract import ExtractConfig
from posegen.config.generate import GenerateConfig, PreviewConfig
from posegen.config.jobs import JobsConfig
from posegen.config.prepare import PrepareConfig
from posegen.config.prompt import PromptConfig
from posegen.config.screen import ScreenConfig
from posegen.config.serve import ServeConfig
from posegen.config.show_motion import MotionConfig
from posegen.config.study import StudyConfig
from posegen.config.synth import SynthConfig
from posegen.config.train import TrainConfig

__all__ = [
    "DEFAULT_PROMPT",
    "MAX_FPS",
    "MAX_SIDE",
    "NEGATIVE_PROMPT",
    "AblateConfig",
    "BenchmarkConfig",
    "CameraMode",
    "ClipStyle",
    "DataType",
    "EstimatorConfig",
    "EvaluateConfig",
    "ExtractConfig",
    "FitMode",
    "Framing",
    "FramingChoice",
    "GenerateConfig",
    "JobsConfig",
    "LongMethod",
    "MotionConfig",
    "NormalsChoice",
    "PersonChoice",
    "PoseChoice",
    "PrepareConfig",
    "PreviewConfig",
    "PromptConfig",
    "RetargetMode",
    "ScreenConfig",
    "ServeConfig",
    "SharingPrecision",
    "SharingPreset",
    "SharingStore",
    "Split",
    "StudyConfig",
    "SynthConfig",
    "TrainConfig",
    "Viewpoint",
    "chosen_person",
    "parse_amount",
    "parse_bytes",
    "parse_camera",
    "parse_fps",
    "parse_lora",
    "parse_motion_fps",
    "parse_person",
    "parse_size",
    "parse_viewpoint",
]
