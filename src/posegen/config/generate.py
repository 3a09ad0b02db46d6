"""Settings of `posegen generate` and `posegen preview`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from posegen.config.checks import (
    check_subject,
    chosen_person,
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
from posegen.config.limits import Range
from posegen.errors import PosegenError


@dataclass(frozen=True)
class GenerateConfig(EstimatorConfig):
    """Make a video of the person in a reference image making the movements of a driving video."""

    reference: Path
    """Image of the person; it also gives the background."""
    driving: Path | None = None
    """Video of the movements; or give --motion."""
    output: Path = tyro.MISSING
    """The video to write (.mp4). OUTPUT.growing.mp4 beside it can be played during the work, and the folder
    OUTPUT.posegen keeps conditions and finished segments."""
    motion: Path | None = None
    """Motion file instead of a driving video: motion capture, animation or landmarks (docs/motion.md lists the formats;
    `posegen motion FILE` shows what is understood of one)."""
    motion_fps: str | None = None
    """Frame rate of a motion file that does not say it; by default 30, which is reported."""
    model: str = "mini"
    """Name of a model (`posegen models` lists them), or its folder."""
    lora: Annotated[tuple[str, ...], tyro.conf.UseAppendAction] = ()
    """A LoRA file of another trainer, added to the model: FILE or FILE:STRENGTH, like style.safetensors:0.8. Repeat the
    option for each file (docs/lora.md)."""
    prompt: str | None = None
    """Description of the video: image style; person, clothes and background; camera. It should name the person. By
    default one is written for the reference image (`posegen prompt` shows it)."""
    prompt_model: str | None = None
    """Vision-language model that writes the prompt: folder or hub name of a Qwen-VL; by default a template is used."""
    negative_prompt: str | None = None
    """Prompt that guidance leads away from; by default the model's."""
    subject: str | None = None
    """The word of the prompt that names the person, if it is not a usual one (woman, man, person, dancer ...)."""
    seed: Annotated[int, Range(0, 2**63 - 1)] = 42
    """Same seed, same video."""
    steps: Annotated[int | None, Range(1, 1000, "steps")] = None
    """Denoising steps of each segment; by default the model's own number."""
    guidance: Annotated[float | None, Range(0, 100)] = None
    """Scale of classifier-free guidance; by default the model's. 1 switches it off and halves the work."""
    pose_guidance: Annotated[float | None, Range(0, 100)] = None
    """Scale of pose guidance; by default the model's. 1 switches it off. Larger values make arms and hands follow the
    skeleton more closely, but cost another forward pass in the guided steps, and far above 2 harm image quality."""
    pose_strength: Annotated[float | None, Range(0, 10)] = None
    """Strength of skeletons and hand normals; by default the model's. 1 is as drawn, 0 is black."""
    conditions: Path | None = None
    """Folder that `posegen extract` made from the driving video with the same --model; by default they are extracted.
    Size and frame rate are then those of the conditions."""
    size: str | None = None
    """HEIGHTxWIDTH of the result; by default the model's usual area with the aspect ratio of the reference image."""
    fps: str | None = None
    """Frame rate of the result; by default that of the driving video or the motion file (above 60, a whole part of
    it, up to 30). The speed of the movement never changes."""
    fit: FitMode = "crop"
    """Fit of reference image and driving video to the size: crop the excess, or pad."""
    sharing: SharingPreset = "paper"
    """Background sharing between segments: as in the paper, exactly as in the published code, or off."""
    sharing_steps: Annotated[int | None, Range(1, 1000, "steps")] = None
    """Experimental: number of first denoising steps that share it; by default the preset's."""
    sharing_layers: Annotated[int | None, Range(1, 1000, "layers")] = None
    """Experimental: number of last layers that share it; by default the preset's."""
    sharing_mask: bool = True
    """Exclude the person when the background is shared; off only to see the ghosts that this prevents."""
    sharing_store: SharingStore = "auto"
    """Storage of the shared background: in memory, in files beside the result, or none (recompute: the anchor segment
    is computed again along with every other one, in little memory); auto chooses what fits and reports it."""
    sharing_precision: SharingPrecision = "auto"
    """Precision of the stored background: as computed (same), bfloat16, 10 bits (at most 0.65 of bfloat16's memory, and
    no less exact), or 8 bits; auto keeps it as computed, or in 10 bits if only that fits --memory-budget."""
    memory_budget: str | None = None
    """Maximum memory of the shared background, like 8GB or 500MB; by default a part of the free memory."""
    anchor: Annotated[int | None, Range(0, 1_000_000)] = None
    """Number of the base segment (from 0, in order of time) whose background the others share; by default the one with
    the least background motion in the driving video."""
    save_masks: bool = False
    """Also write images of the subject masks, one for each base segment, into OUTPUT_masks/."""
    framing: FramingChoice = "auto"
    """Framing of the person; by default measured. Only `--sharing release` uses it."""
    long_method: LongMethod = "interleaved"
    """Method for long videos: PoseGen's base and stitch segments; segments that each continue the one before;
    FreeNoise's shuffled noise and overlapping windows; or independent segments."""
    retarget: RetargetMode = "full"
    """Retarget the movement to the reference person: to their proportions and position, only to their box (align), or
    not at all."""
    camera: str = "auto"
    """Motion of the driving video's camera: taken out of the movement (still), left in it (follow), or decided by how
    well it is measured (auto). With --motion: the camera's place, front, auto or AZIMUTH,ELEVATION in degrees; 90,0
    sees the person's left side."""
    reference_person: str = "largest"
    """Person of the reference image, if it shows several: largest, left, right, a number (`posegen preview` numbers
    them from the left), or a point on them as X,Y in pixels of the image."""
    hands: bool = True
    """Use hand normals as a condition."""
    reference_tokens: bool = True
    """Experimental: off only to see the effect of the tokens of the reference image."""
    person_check: bool = True
    """Refuse a reference image without a detected person."""
    side_by_side: bool = False
    """Also write OUTPUT_side_by_side.mp4: reference, skeleton and result side by side."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, ..."""
    dtype: DataType = "auto"
    """dtype of the models; auto is bfloat16, or float32 on a processor without instructions for it."""
    dry_run: bool = False
    """Print the plan (segments, frames, tokens, estimated memory) and stop."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for text in self.lora:
            parse_lora(text)
        self._check_movements()
        self._check_hands(self.hands)
        parse_person(self.reference_person, "--reference-person")
        if self.size is not None:
            parse_size(self.size)
        if self.fps is not None:
            parse_fps(self.fps)
        if self.output.suffix.lower() != ".mp4":
            raise PosegenError(f"--output {self.output}: the result is an MP4 video, so its name must end in .mp4")
        if self.memory_budget is not None:
            parse_bytes(self.memory_budget)
        if self.prompt is not None and not self.prompt.strip():
            raise PosegenError("--prompt is empty: describe the video, or omit the option")
        if self.prompt is not None and self.prompt_model is not None:
            raise PosegenError("--prompt and --prompt-model contradict each other: omit one of them")
        if self.camera == "still" and self.retarget == "off":
            raise PosegenError(
                "--camera still and --retarget off contradict each other: off leaves the skeleton where it is in the "
                "driving video; omit one of them"
            )
        if self.motion is None:
            parse_camera(self.camera)
        check_subject(self.subject)
        if self.conditions is not None and self.person.strip().lower() != "largest":
            raise PosegenError("--person has no effect with --conditions, which are of one person: omit one of them")
        self._check_sharing()

    @property
    def movements(self) -> Path:
        """File of the movements: the driving video, or the motion file."""
        path = self.driving or self.motion
        if path is None:
            raise ValueError("one of them is always given")
        return path

    def _check_movements(self) -> None:
        """Raise `PosegenError` unless there is either a driving video, or a motion file without options of a video."""
        if (self.driving is None) == (self.motion is None):
            what = "both are given" if self.motion is not None else "neither is given"
            raise PosegenError(f"--driving VIDEO or --motion FILE: {what}; give one of them")
        if not isinstance(self.output, Path):
            raise PosegenError("--output: the name of the video to write is expected")
        if self.motion_fps is not None and self.motion is None:
            raise PosegenError("--motion-fps has no effect without --motion: omit it (--fps is that of the result)")
        if self.motion is None:
            return
        if self.motion_fps is not None:
            parse_motion_fps(self.motion_fps)
        parse_viewpoint(self.camera)
        chosen_person(self.person)
        for name in ("conditions", "pose", "pose_file", "normals", "normals_file"):
            if getattr(self, name) != getattr(type(self), name):
                option = f"--{name.replace('_', '-')}"
                raise PosegenError(f"{option} has no effect with --motion, whose joints need no estimator: omit one")

    def _check_sharing(self) -> None:
        """Raise `PosegenError` for settings of a shared background if none is shared, except for masks."""
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
                raise PosegenError(f"{option} has no effect with {without}, which shares no background: omit one")


@dataclass(frozen=True)
class PreviewConfig(GenerateConfig):
    """Preview what `generate` would do with the same options, as an image and a short video.

    Writes OUTPUT_preview.png and OUTPUT_preview.mp4: skeletons on the driving video and on the reference, hand normals,
    everybody with their numbers, the plan of segments, and warnings (hands or person not seen, a moving camera,
    different framing). The driving video is gone through once; `generate` takes the result up.
    """

    quick: bool = False
    """Look at a few frames only: a guess in seconds, which may follow another person and see other cuts."""
