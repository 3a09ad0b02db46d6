"""Everything that a job is made from, as it is on disk: pictures, videos, given conditions, LoRA files, their digests.

Each file is read, probed and hashed once. What follows from it (sizes, frame rate, segments) is
`resolved_settings.py`'s concern; nothing expensive is done, and no weight is loaded.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from posegen.conditions.folder import Conditions, Inputs, open_conditions
from posegen.config import GenerateConfig, parse_lora
from posegen.digests import file_digest
from posegen.errors import PosegenError
from posegen.generate.driving_motion import DrivingMotion, probe_driving
from posegen.generate.job.job_folder import growing_path, side_by_side_path
from posegen.media.image import read_image
from posegen.media.video import VideoInfo
from posegen.model.lora_files import Lora
from posegen.model.sources import ModelDescription, describe_loras, describe_model, model_identity
from posegen.types import Image, Size


@dataclass(frozen=True)
class InputDigests:
    """SHA-256 of each input, and the text that changes when the model does."""

    reference: str
    driving: str
    conditions: str | None
    model: str


@dataclass(frozen=True, eq=False)
class JobInputs:
    """A job's inputs, read and probed.

    reference: the whole image, uint8 sRGB (H, W, 3). driving: the driving video, or None: then there is a motion.
    conditions, made_from: those that were given and what they were
    made from; None if they are to be extracted. lora_lines: one line about each LoRA file, for people.
    """

    config: GenerateConfig
    model: ModelDescription
    reference: Image
    driving: VideoInfo | None
    motion: DrivingMotion | None = None
    conditions: Conditions | None = None
    made_from: Inputs | None = None
    loras: tuple[Lora, ...] = ()
    lora_lines: tuple[str, ...] = ()

    def driving_info(self, size: Size) -> VideoInfo:
        """The driving video, or the motion as a video that fits a result of this size."""
        if self.driving is not None:
            return self.driving
        if self.motion is None:
            raise ValueError("a job has a driving video or a motion")
        return self.motion.info(size)

    @cached_property
    def digests(self) -> InputDigests:
        """Hashes of everything, made when they are first asked for: a plan alone does not need them."""
        return InputDigests(
            file_digest(self.config.reference),
            self.motion.motion.digest() if self.motion else file_digest(self.config.movements),
            self.conditions.digest() if self.conditions else None,
            model_identity(self.config.model),
        )


def read_inputs(config: GenerateConfig) -> JobInputs:
    """Read the reference image, probe the driving video, open given conditions, look at the model and LoRA files.

    Raises `PosegenError` for what cannot be read, and where an output would take the place of an input.
    """
    model = describe_model(config.model)
    reference = read_image(config.reference)
    driving = None if config.driving is None else probe_driving(config.driving)
    motion = DrivingMotion.of(config)
    beside = [side_by_side_path(config.output)] if config.side_by_side else []
    protect_inputs(config, (config.output, growing_path(config.output), *beside))
    given, made_from = open_conditions(config.conditions) if config.conditions else (None, None)
    loras = tuple(Lora(*parse_lora(text)) for text in config.lora)
    lines = tuple(describe_loras(config.model, loras))
    return JobInputs(config, model, reference, driving, motion, given, made_from, loras, lines)


def protect_inputs(config: GenerateConfig, written: Iterable[Path]) -> None:
    """Raise `PosegenError` if one of the files that will be written is one of the inputs."""
    given = (config.movements, config.reference, config.pose_file, config.normals_file)
    inputs = {path.resolve() for path in given if path is not None}
    for path in written:
        if path.resolve() in inputs:
            what = f"--output {path} is"
            if path != config.output:
                what = f"beside --output {config.output}, {path} is written, which is"
            raise PosegenError(f"{what} one of the inputs: choose another name")
