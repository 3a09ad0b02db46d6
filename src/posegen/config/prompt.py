"""Settings of `posegen prompt`."""

from dataclasses import dataclass
from pathlib import Path

from posegen.config.base import Settings
from posegen.config.checks import check_subject, parse_person
from posegen.config.choices import FramingChoice


@dataclass(frozen=True)
class PromptConfig(Settings):
    """Write a prompt for a reference image, as `posegen generate` does without --prompt, and print it."""

    reference: Path
    """Image of the person."""
    subject: str | None = None
    """Word that names the person (woman, dancer, robot ...); the prompt will contain it."""
    reference_person: str = "largest"
    """Person of the image, if it shows several: largest, left, right, a number from the left, or a point X,Y."""
    prompt_model: str | None = None
    """Vision-language model: folder or hub name of a Qwen-VL (Qwen2-VL, Qwen2.5-VL, Qwen3-VL). By default a template is
    filled with the framing and the colours of hair, clothes and background."""
    framing: FramingChoice = "auto"
    """Framing of the person; by default measured in the image."""
    device: str = "auto"
    """Device of the model: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_subject(self.subject)
        parse_person(self.reference_person, "--reference-person")
