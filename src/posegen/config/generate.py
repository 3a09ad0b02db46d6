"""Settings of `posegen generate` and `posegen preview`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from posegen.config.checks import check_range, check_subject, parse_bytes, parse_fps, parse_lora, parse_size
from posegen.config.choices import (
    DataType,
    FitMode,
    FramingChoice,
    LongMethod,
    RetargetMode,
    SharingPrecision,
    SharingPreset,
    SharingStore,
)
from posegen.config.estimators import EstimatorConfig
from posegen.errors import PosegenError


@dataclass(frozen=True)
class GenerateConfig(EstimatorConfig):
    """Make a video: the person of a reference image makes the movements of a driving video."""

    reference: Path
    """Picture of the person: who, and where they are."""
    driving: Path
    """Video of the movements."""
    output: Path
    """The video to write (.mp4). Beside it OUTPUT.growing.mp4 plays while the work goes on, and a folder OUTPUT.posegen
    keeps conditions and finished segments."""
    model: str = "mini"
    """Name of a model (`posegen models` lists them) or a folder with one."""
    lora: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A LoRA file of another trainer, added to the model: FILE or FILE:STRENGTH, like style.safetensors:0.8. Give the
    option once for each file (docs/lora.md)."""
    prompt: str | None = None
    """What the video shows: image style; person, clothes and background; camera. It should name the person. Without it
    one is written for the reference image (`posegen prompt` shows it)."""
    prompt_model: str | None = None
    """A vision-language model that writes the prompt: folder or hub name of a Qwen-VL; by default a template does."""
    negative_prompt: str | None = None
    """What guidance leads away from; by default what the model was made for."""
    subject: str | None = None
    """The word of the prompt that names the person, if it is not a usual one (woman, man, person, dancer ...)."""
    seed: int = 42
    """Same seed, same video."""
    steps: int | None = None
    """Denoising steps of each segment; by default the model's usual number."""
    guidance: float | None = None
    """Strength of classifier-free guidance, by default the model's; 1 switches it off and halves the work."""
    pose_guidance: float | None = None
    """Strength of guidance by the pose, by default the model's; 1 switches it off. More makes arms and hands follow the
    skeleton more closely, costs another forward pass in the steps that it leads, and far above 2 harms the picture."""
    pose_strength: float | None = None
    """How strong skeletons and hand normals are, by default as the model wants them: 1 as they are drawn, 0 black."""
    conditions: Path | None = None
    """Folder that `posegen extract` made from the driving video with the same --model; by default they are extracted.
    Size and frame rate are then those of the conditions."""
    size: str | None = None
    """HEIGHTxWIDTH of the result; by default the model's usual area in the shape of the reference image."""
    fps: str | None = None
    """Frame rate of the result; by default that of the driving video."""
    fit: FitMode = "crop"
    """How reference image and driving video are fitted to the size: cut what is too much, or pad."""
    sharing: SharingPreset = "paper"
    """Background sharing between segments: as in the paper, exactly as the published code, or none."""
    sharing_steps: int | None = None
    """Experimental: how many first denoising steps share it; by default the preset's."""
    sharing_layers: int | None = None
    """Experimental: how many last layers share it; by default the preset's."""
    sharing_mask: bool = True
    """Tell the person from the background when it is shared; off only to see the ghosts that this prevents."""
    sharing_store: SharingStore = "auto"
    """Where the shared background is kept: in memory, in files beside the result, or nowhere (the anchor segment is
    then computed again beside every other one, in little memory); auto takes what fits and says so."""
    sharing_precision: SharingPrecision = "auto"
    """Number format in which it is kept: as computed (same), bfloat16, 10 bits (at most 0.65 of bfloat16's memory, and
    no less exact), or 8 bits; auto keeps it as computed, but in 10 bits where only that fits --memory-budget."""
    memory_budget: str | None = None
    """Memory that the shared background may take, like 8GB or 500MB; by default a part of what is free."""
    anchor: int | None = None
    """Number of the base segment (from 0, in order of time) whose background the others share; by default the one
    whose background moves least in the driving video."""
    save_masks: bool = False
    """Also write pictures of the subject masks, one for each base segment, into OUTPUT_masks/."""
    framing: FramingChoice = "auto"
    """Framing of the person, by default measured; only `--sharing release` looks at it."""
    long_method: LongMethod = "interleaved"
    """How segments become a long video: the method's base and stitch segments; each segment continuing the one before;
    FreeNoise's shuffled noise and overlapping windows; or segments that do not know of each other."""
    retarget: RetargetMode = "full"
    """Carry the movement to the reference person: to their proportions and place, only to their box (align), or not."""
    hands: bool = True
    """Use hand normals as a condition."""
    reference_tokens: bool = True
    """Experimental: off only to see what the tokens of the reference image are worth."""
    person_check: bool = True
    """Refuse a reference image in which no person is found."""
    side_by_side: bool = False
    """Also write OUTPUT_side_by_side.mp4: reference, skeleton and result beside each other."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1, ..."""
    dtype: DataType = "auto"
    """Number format of the models; auto is bfloat16, or float32 on a processor without instructions for it."""
    dry_run: bool = False
    """Print the plan (segments, frames, tokens, estimated memory) and stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.lora:
            parse_lora(text)
        self._check_hands(self.hands)
        if self.size is not None:
            parse_size(self.size)
        if self.fps is not None:
            parse_fps(self.fps)
        if self.steps is not None:
            check_range("--steps", self.steps, 1, 1000)
        if self.guidance is not None:
            check_range("--guidance", self.guidance, 0, 100)
        if self.pose_guidance is not None:
            check_range("--pose-guidance", self.pose_guidance, 0, 100)
        if self.pose_strength is not None:
            check_range("--pose-strength", self.pose_strength, 0, 10)
        check_range("--seed", self.seed, 0, 2**63 - 1)
        if self.output.suffix.lower() != ".mp4":
            raise PosegenError(
                f"--output {self.output}: the result is an MP4 video, so give it a name that ends in .mp4"
            )
        for name, count in (("--sharing-steps", self.sharing_steps), ("--sharing-layers", self.sharing_layers)):
            if count is not None:
                check_range(name, count, 1, 1000)
        if self.memory_budget is not None:
            parse_bytes(self.memory_budget)
        if self.anchor is not None:
            check_range("--anchor", self.anchor, 0, 1_000_000)
        if self.prompt is not None and not self.prompt.strip():
            raise PosegenError("--prompt is empty: describe the picture, or leave the option out")
        if self.prompt is not None and self.prompt_model is not None:
            raise PosegenError("--prompt is a prompt, and --prompt-model writes one: leave one of them out")
        check_subject(self.subject)
        self._check_sharing()

    def _check_sharing(self) -> None:
        """Raise `PosegenError` for settings of a shared background where none is shared; masks are told as missing."""
        if self.sharing != "off" and self.long_method == "interleaved":
            return
        without = "--sharing off" if self.sharing == "off" else f"--long-method {self.long_method}"
        for name, default in (
            ("anchor", None),
            ("sharing_steps", None),
            ("sharing_layers", None),
            ("sharing_store", "auto"),
            ("memory_budget", None),
        ):
            if getattr(self, name) != default:
                option = f"--{name.replace('_', '-')}"
                raise PosegenError(f"{option} is of the shared background, and {without} shares none: leave one out")


@dataclass(frozen=True)
class PreviewConfig(GenerateConfig):
    """Look ahead in seconds: a picture and a short video of what `generate` would do with the same options.

    Writes OUTPUT_preview.png and OUTPUT_preview.mp4: skeletons on the driving video and on the reference, hand normals,
    the plan of segments, and warnings (hands or person not seen, a moving camera, other framing).
    """
