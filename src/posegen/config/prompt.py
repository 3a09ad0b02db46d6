"""Settings of `posegen prompt`."""

from dataclasses import dataclass
from pathlib import Path

from posegen.config.base import Settings
from posegen.config.checks import check_subject
from posegen.config.choices import FramingChoice


@dataclass(frozen=True)
class PromptConfig(Settings):
    """Write a prompt for a reference image, as `posegen generate` does where none is given, and print it."""

    reference: Path
    """Picture of the person."""
    subject: str | None = None
    """The word that names the person (woman, dancer, robot ...); it is certain to occur in the prompt."""
    prompt_model: str | None = None
    """A vision-language model: folder or hub name of a Qwen-VL (Qwen2-VL, Qwen2.5-VL, Qwen3-VL). By default a template
    is filled with the framing and the colours of hair, clothes and background."""
    framing: FramingChoice = "auto"
    """How the person is framed; by default told from the picture."""
    device: str = "auto"
    """Where the model computes: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_subject(self.subject)
