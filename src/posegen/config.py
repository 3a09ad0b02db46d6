"""Settings of the main jobs: every setting has its one home, one line of documentation and its check here.

The command line and the Python API build these dataclasses; both then call the same functions. This file imports
nothing heavy, knows no model and touches no file: whether paths exist is checked where they are opened.
"""

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.errors import PosegenError

FitMode = Literal["crop", "pad"]
SharingPreset = Literal["paper", "release", "off"]
SharingStore = Literal["auto", "memory", "disk", "recompute"]
SharingPrecision = Literal["auto", "same", "bf16", "int10", "fp8"]
LongMethod = Literal["interleaved", "autoregressive", "freenoise", "independent"]
Framing = Literal["close-up", "half-body", "full-body", "distant"]
FramingChoice = Literal["auto", "close-up", "half-body", "full-body", "distant"]
Split = Literal["train", "val-same", "val-cross"]
DataType = Literal["auto", "float32", "bfloat16"]
PoseChoice = Literal["mediapipe", "vitpose", "sapiens2", "sapiens1", "file"]
RetargetMode = Literal["full", "align", "off"]
NormalsChoice = Literal["mediapipe", "sapiens2", "sapiens1", "file"]

MAX_SIDE = 8192
"""Pixels; beyond it a size is taken for a slip."""
MAX_FPS = 240.0

NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，静止不动的画面，"
    "杂乱的背景，三条腿，背景人很多，倒着走"
)
"""Wan's usual negative prompt (garish, static, blurred, subtitles, deformed hands, crowd, walking backwards ...)."""

DEFAULT_PROMPT = "A realistic video of a person in front of a steady background. The camera does not move."


def parse_size(text: str) -> tuple[int, int]:
    """Read "HxW" as (height, width) in pixels; raises `PosegenError` for anything else or an absurd size."""
    match = re.fullmatch(r"(\d{1,6})\s*[xX×]\s*(\d{1,6})", text.strip())
    if match is None:
        raise PosegenError(f"--size {text!r} is not a size: write HEIGHTxWIDTH in pixels, like 256x144")
    height, width = int(match[1]), int(match[2])
    if not (64 <= height <= MAX_SIDE and 64 <= width <= MAX_SIDE):
        raise PosegenError(f"--size {height}x{width}: both sides must lie between 64 and {MAX_SIDE} pixels")
    return height, width


def parse_fps(text: str, setting: str = "--fps") -> Fraction:
    """Read a frame rate ("16", "29.97", "30000/1001"); raises `PosegenError`, naming the setting, outside 1..240."""
    try:
        fps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise PosegenError(f"{setting} {text!r} is not a frame rate: write it like 16, 29.97 or 30000/1001") from None
    if not 1 <= fps <= MAX_FPS:
        raise PosegenError(f"{setting} {text}: a frame rate lies between 1 and {MAX_FPS:g} frames per second")
    return fps.limit_denominator(100_000)


def parse_lora(text: str) -> tuple[Path, float]:
    """Read FILE or FILE:STRENGTH as (path, strength); raises `PosegenError` for a strength that is none."""
    file, colon, strength = text.rpartition(":")
    if not colon or not re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?|[-+]?(inf|nan)", strength, re.IGNORECASE):
        file, strength = text, "1"
    if not file:
        raise PosegenError(f"--lora {text!r}: write FILE or FILE:STRENGTH")
    _finite(f"--lora {file}: the strength", float(strength), -100, 100)
    return Path(file), float(strength)


def parse_bytes(text: str) -> int:
    """Read an amount of memory ("8GB", "500 MB", "1.5GiB") in bytes; raises `PosegenError` for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", text.strip().lower())
    if match is None or (match[3] and not match[2]):
        raise PosegenError(f"--memory-budget {text!r} is not an amount of memory: write it like 8GB or 500MB")
    return round(float(match[1]) * (1024 if match[3] else 1000) ** " kmgt".index(match[2] or " "))


def _some_methods(methods: tuple[str, ...]) -> None:
    if not methods:
        raise PosegenError("--methods: name at least one, like --methods ours=results/ours")


def _finite(name: str, value: int | float, low: int | float, high: int | float) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        shown, least, most = (f"{n:g}" if isinstance(n, float) else str(n) for n in (value, low, high))
        raise PosegenError(f"{name} {shown} is out of range: it goes from {least} to {most}")


def _check_subject(subject: str | None) -> None:
    if subject is not None and not subject.strip(" ,"):
        raise PosegenError("--subject is empty: give the word that names the person, or leave the option out")


@dataclass(frozen=True, kw_only=True)
class EstimatorConfig:
    """Which part of the driving video is taken, and who finds the person and the hand normals in it."""

    start: float | None = None
    """Seconds of the driving video at which to begin."""
    end: float | None = None
    """Seconds of the driving video at which to stop."""
    pose: PoseChoice = "mediapipe"
    """Who finds the person: the embedded MediaPipe, ViTPose or Sapiens (with a detector), or a file of keypoints."""
    pose_weights: str | None = None
    """Weights of ViTPose or Sapiens2 (model folder or hub name; ViTPose's own .pth) or Sapiens-1 (TorchScript file)."""
    pose_file: Path | None = None
    """Keypoints for `--pose file`: JSON of OpenPose, MMPose, AlphaPose, COCO, DWPose or MediaPipe (a file or a folder),
    NPZ, or a finished skeleton video."""
    detector_weights: str | None = None
    """RT-DETR or D-FINE that finds people for ViTPose and Sapiens: model folder or hub name."""
    normals: NormalsChoice = "mediapipe"
    """Who makes hand normals: hands drawn around MediaPipe's joints, Sapiens from the picture, or a finished video."""
    normals_weights: str | None = None
    """Weights of Sapiens' surface normals: model folder or hub name, or a TorchScript file of Sapiens-1."""
    parts_weights: str | None = None
    """Weights of Sapiens' body parts, which tell where hands are; given like those of the normals."""
    trust_torchscript: bool = False
    """TorchScript files (Sapiens-1) can run any code on this machine: say that you trust where yours come from."""
    normals_file: Path | None = None
    """Video of hand normals, black outside the hands, for `--normals file`."""
    smoothing: bool = True
    """Steady the keypoints over time: jitter, swapped sides, outliers, short gaps."""

    def __post_init__(self) -> None:
        for name, moment in (("--start", self.start), ("--end", self.end)):
            if moment is not None:
                _finite(name, moment, 0, 1_000_000)
        if self.start is not None and self.end is not None and self.start >= self.end:
            raise PosegenError(f"--start {self.start:g} lies not before --end {self.end:g}")
        for option, choice, file in (("pose", self.pose, self.pose_file), ("normals", self.normals, self.normals_file)):
            if (choice == "file") != (file is not None):
                raise PosegenError(f"--{option} file and --{option}-file FILE belong together: give both, or neither")
        weights = (
            ("--pose", self.pose, "--pose-weights", self.pose_weights),
            ("--pose", self.pose, "--detector-weights", self.detector_weights),
            ("--normals", self.normals, "--normals-weights", self.normals_weights),
            ("--normals", self.normals, "--parts-weights", self.parts_weights),
        )
        for option, choice, belonging, given in weights:
            if given is not None and choice in ("mediapipe", "file"):
                raise PosegenError(
                    f"{belonging} is not for {option} {choice}: choose another {option}, or leave it out"
                )
        if self.pose == "sapiens1" and self.pose_weights is None:
            raise PosegenError("--pose sapiens1 needs --pose-weights: a TorchScript file (..._torchscript.pt2)")
        if self.normals == "sapiens1" and (self.normals_weights is None or self.parts_weights is None):
            raise PosegenError("--normals sapiens1 needs --normals-weights and --parts-weights: TorchScript files")
        for option, choice in (("--pose", self.pose), ("--normals", self.normals)):
            if choice == "sapiens1" and not self.trust_torchscript:
                raise PosegenError(
                    f"{option} sapiens1 loads TorchScript files, which can run any code on this machine: add "
                    "--trust-torchscript if you trust where they come from"
                )

    def _check_hands(self, hands: bool) -> None:
        if not hands and self.normals != "mediapipe":
            raise PosegenError(
                f"--no-hands makes no hand normals, and --normals {self.normals} says how: leave one out"
            )


@dataclass(frozen=True)
class ExtractConfig(EstimatorConfig):
    """Make the conditions of one driving video (keypoints, skeletons, hand normals) and an overlay to look at."""

    driving: Path
    """The driving video."""
    output: Path
    """Folder for keypoints, skeleton and hand videos, overlay and manifest."""
    size: str | None = None
    """HEIGHTxWIDTH in pixels of the conditions; by default the driving video's own size, fitted to multiples of 16."""
    fps: str | None = None
    """Frame rate of the conditions; by default that of the driving video."""
    model: str = "mini"
    """Skeletons are drawn as this model wants them: its name or folder."""
    fit: FitMode = "crop"
    """How the driving video is fitted to the size: cut what is too much, or pad with black."""
    hands: bool = True
    """Make hand normals too."""
    device: str = "auto"
    """Where larger estimators compute: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_hands(self.hands)
        if self.size is not None:
            parse_size(self.size)
        if self.fps is not None:
            parse_fps(self.fps)


@dataclass(frozen=True)
class PromptConfig:
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
        _check_subject(self.subject)


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
        for text in self.lora:
            parse_lora(text)
        super().__post_init__()
        self._check_hands(self.hands)
        if self.size is not None:
            parse_size(self.size)
        if self.fps is not None:
            parse_fps(self.fps)
        if self.steps is not None:
            _finite("--steps", self.steps, 1, 1000)
        if self.guidance is not None:
            _finite("--guidance", self.guidance, 0, 100)
        if self.pose_guidance is not None:
            _finite("--pose-guidance", self.pose_guidance, 0, 100)
        if self.pose_strength is not None:
            _finite("--pose-strength", self.pose_strength, 0, 10)
        _finite("--seed", self.seed, 0, 2**63 - 1)
        if self.output.suffix.lower() != ".mp4":
            raise PosegenError(
                f"--output {self.output}: the result is an MP4 video, so give it a name that ends in .mp4"
            )
        for name, count in (("--sharing-steps", self.sharing_steps), ("--sharing-layers", self.sharing_layers)):
            if count is not None:
                _finite(name, count, 1, 1000)
        if self.memory_budget is not None:
            parse_bytes(self.memory_budget)
        if self.anchor is not None:
            _finite("--anchor", self.anchor, 0, 1_000_000)
        if self.prompt is not None and not self.prompt.strip():
            raise PosegenError("--prompt is empty: describe the picture, or leave the option out")
        if self.prompt is not None and self.prompt_model is not None:
            raise PosegenError("--prompt is a prompt, and --prompt-model writes one: leave one of them out")
        _check_subject(self.subject)
        self._check_sharing()

    def _check_sharing(self) -> None:
        """Raise `PosegenError` for settings of a shared background where none is shared; masks are told as missing."""
        if self.sharing != "off" and self.long_method == "interleaved":
            return
        without = "--sharing off" if self.sharing == "off" else f"--long-method {self.long_method}"
        for name, default in (("anchor", None), ("sharing_steps", None), ("sharing_layers", None),
                              ("sharing_store", "auto"), ("memory_budget", None)):  # fmt: skip
            if getattr(self, name) != default:
                option = f"--{name.replace('_', '-')}"
                raise PosegenError(f"{option} is of the shared background, and {without} shares none: leave one out")


@dataclass(frozen=True)
class PreviewConfig(GenerateConfig):
    """Look ahead in seconds: a picture and a short video of what `generate` would do with the same options.

    Writes OUTPUT_preview.png and OUTPUT_preview.mp4: skeletons on the driving video and on the reference, hand normals,
    the plan of segments, and warnings (hands or person not seen, a moving camera, other framing).
    """


@dataclass(frozen=True)
class TrainConfig:
    """Train one stage of a recipe, or go on with it where it stopped."""

    stage: Annotated[Literal["vae", "pretrain", "base", "stitch"], tyro.conf.Positional]
    """The stage of the recipe."""
    recipe: str
    """Name of a recipe that comes with posegen (mini, mini-cpu, mini-longer, mini-autoencoder, wan2.1-i2v-14b,
    wan2.1-i2v-14b-one-gpu), or the path of a TOML file."""
    output: Path | None = None
    """Folder of the run: each stage has a folder in it, with checkpoints, logs and at the end its model. Only
    `--dry-run` does without it."""
    data: str | None = None
    """Folder of train-*.tar shards, or its URL (http, s3, ...); by default the recipe's."""
    validation: str | None = None
    """Folder of val-same-*.tar shards, or its URL; by default the recipe's."""
    cache: Path | None = None
    """Folder for encoded clips; by default the recipe's."""
    init: str | None = None
    """A model (name or folder) to start from, instead of the stage before or the recipe's."""
    processes: int = 1
    """Devices that `--dry-run` reckons with; how many really train is up to the launcher (accelerate, torchrun)."""
    dry_run: bool = False
    """Print what would be trained and how much memory it needs, and stop."""
    encode_only: bool = False
    """Encode clips into the cache, and stop: training then starts at once."""

    def __post_init__(self) -> None:
        _finite("--processes", self.processes, 1, 100_000)
        if self.output is None and not self.dry_run:
            raise PosegenError("missing --output, the folder of the run (only --dry-run does without it)")


@dataclass(frozen=True)
class SynthConfig:
    """Make synthetic people for training: short clips with exact keypoints, normals, masks and captions, as shards."""

    output: Path
    """Folder for the shards and their index; the same command again checks what is there and makes what is missing, and
    with more --clips it adds those."""
    split: Split = "train"
    """Training; validation with the person's own reference picture; or with that of another person."""
    clips: int = 100
    """How many clips."""
    size: str = "256x144"
    """HEIGHTxWIDTH of the clips in pixels."""
    fps: str = "16"
    """Frame rate of the clips."""
    frames: int = 33
    """Frames of each clip."""
    seed: int = 0
    """Same seed, same people, movements and pixels."""
    workers: int | None = None
    """Processes that work at once; by default one for each processor core, and 0 works in this process."""
    clips_per_shard: int = 16
    """Clips in one shard file, which is also what one process makes at a time."""
    contact_sheet: Path | None = None
    """Also write a picture (.jpg) of a few clips: frames, skeletons, hand normals, masks and captions."""

    def __post_init__(self) -> None:
        parse_size(self.size)
        parse_fps(self.fps)
        _finite("--clips", self.clips, 1, 10_000_000)
        _finite("--frames", self.frames, 1, 10_000)
        _finite("--seed", self.seed, 0, 2**63 - 1)
        _finite("--workers", self.workers or 0, 0, 1024)
        _finite("--clips-per-shard", self.clips_per_shard, 1, 100_000)
        if self.contact_sheet is not None and self.contact_sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise PosegenError(f"--contact-sheet {self.contact_sheet}: give it a name that ends in .jpg or .png")


@dataclass(frozen=True)
class PrepareConfig:
    """Turn raw video into training data: clips are found, judged by filters, given conditions and captions, packed."""

    inputs: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Videos: files, folders, globs, lists (.txt, .json) or URLs that fsspec knows."""
    output: str
    """Folder or URL of the data set: train-*.tar, val-same-*.tar, index.parquet; the same command again goes on."""
    recipe: str | None = None
    """What clips are like, what filters keep, who finds conditions: a recipe's name or the path of a TOML file. The
    recipe of a name makes what the training recipe of that name takes; see docs/prepare.md."""
    ray: str | None = None
    """Address of a Ray cluster ("auto", or HOST:PORT); by default all cores of this machine."""
    refilter: bool = False
    """Only apply the thresholds (and manual answers) again to scores that are there; clips that are kept now and were
    not before get their conditions."""

    def __post_init__(self) -> None:
        if not self.inputs and not self.refilter:
            raise PosegenError("name at least one video, folder, glob, list or URL")


@dataclass(frozen=True)
class EvaluateConfig:
    """Score the results of one or many methods on a benchmark, and write a report (HTML, Markdown, CSV)."""

    benchmark: Path
    """A benchmark description (YAML; docs/evaluate.md lists its keys), or a folder that holds benchmark.yaml; `posegen
    benchmark` makes them."""
    methods: tuple[str, ...]
    """NAME=FOLDER of each method; the folder holds a video, or a folder of frames, for each clip of the benchmark, and
    for "seam flicker" NAME.seams.json; see docs/evaluate.md."""
    output: Path
    """Folder for report.html, report.md, scores.csv and clips.csv."""
    protocol: Literal["disco", "native"] = "disco"
    """disco: as the field's tables, the central square of every frame at 256 x 256; native: at the videos' own size."""
    allow_missing: bool = False
    """Score what is there when results are missing or too short, and count it in the report."""
    resample: bool = False
    """Take results of another frame rate at the truth's moments."""
    embedded: bool = True
    """Score with the network that comes inside a package (stand-ins with names of their own)."""
    people: bool = True
    """Look for people in the results: pose error, hands, background drift, looks."""
    lpips: Path | None = None
    """Weights for LPIPS: vgg16-397923af.pth."""
    inception: Path | None = None
    """Weights for FID: pt_inception-2015-12-05-6726825d.pth."""
    resnet3d: Path | None = None
    """Weights for FID-VID: resnet-50-kinetics.pth."""
    i3d: Path | None = None
    """Weights for FVD: i3d_pretrained_400.pt."""
    arcface: Path | None = None
    """An ArcFace network for identity: w600k_r50.onnx."""
    dino: str | None = None
    """A DINO or DINOv2 model (folder or hub name) for temporal consistency."""
    q_align: str | None = None
    """A vision-language model that rates pictures (folder or hub name), for visual quality by Q-Align's rule."""
    videos: bool = True
    """Put the videos into the report (small ones, at most --preview-seconds of each)."""
    preview_seconds: float = 20.0
    """Seconds of each video in the report."""
    cache: Path | None = None
    """Folder in which scores are kept by content; by default in the user's cache folder."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        _finite("--preview-seconds", self.preview_seconds, 0.1, 36_000)
        _some_methods(self.methods)


@dataclass(frozen=True)
class BenchmarkConfig:
    """Make a benchmark: synthetic people with fixed seeds, or a description of videos that you have."""

    kind: Annotated[Literal["val-same", "val-cross", "tiktok", "pairs"], tyro.conf.Positional]
    """val-same, val-cross: synthetic clips whose reference is the same or another person; tiktok: videos or folders of
    frames, the first frame of each being the reference; pairs: your own references and videos."""
    output: Path
    """Folder for benchmark.yaml and what it needs."""
    source: Path | None = None
    """Folder of your videos. tiktok: NAME.mp4, or frames in NAME/ or NAME/images/; pairs: NAME.png beside NAME.mp4, or
    NAME/reference.png with NAME/driving.mp4, NAME/truth.mp4 or both; see docs/evaluate.md."""
    clips: int = 4
    """How many synthetic clips."""
    seconds: float = 10.0
    """Length of the synthetic clips."""
    size: str | None = None
    """HEIGHTxWIDTH of the synthetic clips; by default the size at which the model makes upright videos."""
    fps: str | None = None
    """Frame rate: of synthetic clips (16), of frames in folders (30)."""
    seed: int = 0
    """Same seed, same clips."""
    model: str = "mini"
    """Synthetic clips have this model's shape, and their skeletons are drawn as it wants them."""

    def __post_init__(self) -> None:
        if self.size is not None:
            parse_size(self.size)
        _finite("--clips", self.clips, 1, 10_000)
        _finite("--seconds", self.seconds, 0.5, 36_000)
        _finite("--seed", self.seed, 0, 2**63 - 1)
        if self.fps is not None:
            parse_fps(self.fps)
        if self.kind in ("tiktok", "pairs") and self.source is None:
            raise PosegenError(f"posegen benchmark {self.kind} needs --source, the folder of your videos")


@dataclass(frozen=True)
class AblateConfig:
    """Switch one part of the method off and on: generate, score and report in one command, which goes on if stopped."""

    name: Annotated[
        Literal["hand-normals", "sharing", "long-method", "reference-tokens", "retargeting", "pose-guidance"],
        tyro.conf.Positional,
    ]
    """What is switched. sharing also tries a grid of steps and layers; long-method compares the ways to long videos."""
    output: Path
    """Folder for the benchmark, the videos of all variants, the report, ablation.json and ablation.jpg."""
    benchmark: Path | None = None
    """A benchmark of your own; by default synthetic people are made."""
    model: str = "mini"
    """Name of a model or a folder with one."""
    clips: int = 4
    """How many synthetic clips."""
    seconds: float = 12.0
    """Length of the synthetic clips."""
    size: str | None = None
    """HEIGHTxWIDTH of the synthetic clips; by default the size at which the model makes upright videos."""
    steps: int | None = None
    """Denoising steps; by default the model's usual number."""
    pose_guidance: float | None = None
    """Strength of guidance by the pose in all variants that do not switch it, by default the model's; the published
    method has none (1)."""
    pose_strength: float | None = None
    """How strong skeletons and hand normals are, by default as the model wants them; in the published method 1."""
    seed: int = 0
    """Of the clips and of the noise."""
    cache: Path | None = None
    """Folder in which scores are kept by content; by default in the user's cache folder."""
    device: str = "auto"
    """Where to compute: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        if self.size is not None:
            parse_size(self.size)
        _finite("--clips", self.clips, 1, 10_000)
        _finite("--seconds", self.seconds, 0.5, 36_000)
        _finite("--seed", self.seed, 0, 2**63 - 1)
        if self.steps is not None:
            _finite("--steps", self.steps, 1, 1000)
        if self.pose_guidance is not None:
            _finite("--pose-guidance", self.pose_guidance, 0, 100)
        if self.pose_strength is not None:
            _finite("--pose-strength", self.pose_strength, 0, 10)


def _long_enough(token: str | None) -> None:
    if token is not None and not re.fullmatch(r"[A-Za-z0-9._~-]{8,200}", token):
        raise PosegenError("--token: 8 to 200 letters, digits, and . _ ~ - are needed, so that it can be in an address")


@dataclass(frozen=True)
class StudyConfig:
    """Ask people: a local page on which they rate blinded videos 0 to 5 and choose the better of two."""

    benchmark: Path
    """A benchmark description (YAML), or a folder that holds benchmark.yaml."""
    methods: tuple[str, ...]
    """NAME=FOLDER of each method, as for `posegen evaluate`; nobody who answers sees the names."""
    output: Path
    """Folder for answers.sqlite and, with --results, ratings.csv, choices.csv and study.md."""
    results: bool = False
    """Write what the answers so far say, and stop."""
    pairwise: bool = True
    """Also ask which of two videos of the same clip is better."""
    per_person: int | None = None
    """Questions for each person; those with the fewest answers come first. By default all."""
    allow_missing: bool = False
    """Ask about what is there when results are missing or too short."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers of your network take part."""
    port: int = 8421
    """Port to listen on; 0 takes any that is free."""
    token: str | None = None
    """What the address must hold; by default made anew where other computers reach the page, and none on this one."""
    seed: int = 0
    """Same seed, same draw of questions."""

    def __post_init__(self) -> None:
        _finite("--port", self.port, 0, 65535)
        _long_enough(self.token)
        _finite("--seed", self.seed, 0, 2**63 - 1)
        _some_methods(self.methods)
        if self.per_person is not None:
            _finite("--per-person", self.per_person, 1, 100_000)


@dataclass(frozen=True)
class ScreenConfig:
    """Look at prepared clips and keep, drop or tag them by keyboard; `posegen prepare --refilter` takes the answers."""

    folder: Annotated[Path, tyro.conf.Positional]
    """A data set that `posegen prepare` made (with index.parquet), in a local folder; answers are kept in it, in
    screening.sqlite. Of one at a URL, copy index.parquet into a folder, and screening.sqlite back beside it."""
    show: Literal["kept", "dropped", "all"] = "kept"
    """Clips that the filters keep, those that they drop, or all."""
    tags: tuple[str, ...] = ("hands", "face", "dark", "text", "camera", "other people")
    """Tags on the keys 1 to 9; others can be typed."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers of your network take part."""
    port: int = 8422
    """Port to listen on; 0 takes any that is free."""
    token: str | None = None
    """What the address must hold; by default made anew where other computers reach the page, and none on this one."""

    def __post_init__(self) -> None:
        _finite("--port", self.port, 0, 65535)
        _long_enough(self.token)
        if re.match(r"[a-z0-9+]{2,}:/", str(self.folder)):  # a path has lost one of the two slashes
            raise PosegenError(
                f"{self.folder} is no local folder: copy the data set's index.parquet into one, and screening.sqlite "
                "back beside it when you are done"
            )
        if len(self.tags) > 9:
            raise PosegenError(f"--tags: {len(self.tags)} tags, but only 9 keys; others can be typed on the page")


@dataclass(frozen=True)
class JobsConfig:
    """List the jobs whose finished segments are kept beside results, or remove them."""

    folder: Annotated[Path, tyro.conf.Positional] = Path()
    """Folder of results, in which OUTPUT.posegen folders are looked for."""
    clean: Annotated[
        Literal["finished", "unfinished", "all"] | None, tyro.conf.arg(metavar="{finished,unfinished,all}")
    ] = None
    """Remove such jobs, and conditions that none of a result's jobs is left to use. Results stay, and running jobs."""
    older_than: float | None = None
    """Only jobs whose files have not changed for so many days."""
    yes: bool = False
    """Remove without asking."""

    def __post_init__(self) -> None:
        if self.older_than is not None:
            _finite("--older-than", self.older_than, 0, 100_000)
