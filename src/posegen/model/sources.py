"""From the name of a model, or a folder, to its description (without loading a weight) and to a pipeline.

Three kinds of folder are known: one of our own `save_pretrained`; a stock Wan2.1-I2V diffusers checkpoint (its new
parameters are initialised, not trained); and, by name, the published adapters on their base. Reading weights into the
transformer is `model/loading.py`'s concern.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanImageToVideoPipeline
from huggingface_hub import snapshot_download
from huggingface_hub.errors import HfHubHTTPError

from posegen.conditions.skeleton import Colors
from posegen.config import NEGATIVE_PROMPT
from posegen.errors import PosegenError, logger
from posegen.media.data_files import read_json_object
from posegen.media.files import write_whole
from posegen.media.fitting import choose_size
from posegen.model import lora, lora_files, mini
from posegen.model.autoencoder import AutoencoderLightVideo
from posegen.model.loading import init_from_wan, load_release_adapter, load_release_checkpoint, loading_errors
from posegen.model.lora_files import Lora
from posegen.model.model_settings import check_settings
from posegen.model.pipeline import ADAPTER_FOLDER, PoseGenPipeline, load_encoders
from posegen.model.transformer import PoseGenTransformer3DModel
from posegen.offline import no_network
from posegen.quiet import quiet_libraries

WAN_SETTINGS = {"segment_length": 81, "head": 21, "tail": 20, "draw_scale": 1, "max_text_tokens": 512}
WAN_PARTS = ("tokenizer", "text_encoder", "image_processor", "image_encoder", "vae")
FLOW_SHIFT = 5.0
WAN_TRANSFORMER = {
    "num_attention_heads": 40,
    "attention_head_dim": 128,
    "ffn_dim": 13824,
    "num_layers": 40,
}
WAN_INPUTS = {
    "in_channels": 36,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "image_dim": 1280,
    "added_kv_proj_dim": 5120,
}
IMAGE_TOKENS = 257
"""Of Wan's CLIP."""


@dataclass(frozen=True)
class Published:
    """Where the parts of a published model lie on the hub."""

    wan: str
    release: str
    base: str
    stitch: str
    area: int
    weights_bytes: int


PUBLISHED = {
    "wan2.1-i2v-14b-720p": Published(
        "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", "Jessie459/PoseGen", "720p-81f-base", "720p-81f-cond",
        1280 * 720, 47_000_000_000,
    ),
    "wan2.1-i2v-14b-480p": Published(
        "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers", "Jessie459/PoseGen", "720p-81f-base", "720p-81f-cond",
        832 * 480, 47_000_000_000,
    ),
}  # fmt: skip
"""The published adapters exist for 720p only; `-480p` is the same model at the smaller size (faster, less sharp)."""

STOCK = {"wan2.1-i2v-14b": "Wan-AI/Wan2.1-I2V-14B-720P-Diffusers"}
"""Wan itself, which follows no poses: what training starts from."""
NAMES = ("mini", *PUBLISHED, *STOCK)
ADAPTED = "posegen.json"
"""In a folder of adapters only: {"base": name or folder of the model that they belong to}."""


@dataclass(frozen=True)
class ModelDescription:
    """What planning needs to know of a model."""

    name: str
    segment_length: int
    head: int
    tail: int
    default_area: int
    draw_scale: int
    max_text_tokens: int
    trained: bool
    skeleton_colors: Colors
    num_attention_heads: int
    attention_head_dim: int
    ffn_dim: int
    num_layers: int
    weights_bytes: int
    spatial_stride: int = 8
    temporal_stride: int = 4
    patch: int = 2
    default_steps: int = 25
    default_guidance: float = 5.0
    default_pose_guidance: float = 1.0
    pose_guidance_until: float = 0.0
    default_pose_strength: float = 1.0
    flow_shift: float = FLOW_SHIFT
    negative_prompt: str = NEGATIVE_PROMPT
    trained_size: tuple[int, int] | None = None

    def size_for(self, source: tuple[int, int]) -> tuple[int, int]:
        """(height, width) to generate at for a reference of the size `source`: like it, unless one size is known."""
        return self.trained_size or choose_size(source, self.default_area, self.size_multiple)

    @property
    def size_multiple(self) -> int:
        """Height and width are multiples of this many pixels."""
        return self.spatial_stride * self.patch

    @property
    def dim(self) -> int:
        """Width of the transformer."""
        return self.num_attention_heads * self.attention_head_dim

    def tokens(self, size: tuple[int, int]) -> tuple[int, int]:
        """(video tokens, reference tokens) of a segment of `size` = (height, width) pixels."""
        per_frame = (size[0] // self.size_multiple) * (size[1] // self.size_multiple)
        frames = (self.segment_length - 1) // self.temporal_stride + 1
        return frames * per_frame, per_frame


def _describe(name: str, settings: dict[str, Any], **more: Any) -> ModelDescription:
    known = {field.name for field in fields(ModelDescription)}
    values = {"trained": True, "skeleton_colors": "openpose", **settings, **more, "name": name}
    if values.get("trained_size") is not None:
        values["trained_size"] = tuple(values["trained_size"])
    return ModelDescription(**{key: value for key, value in values.items() if key in known})


def _unknown(name: str) -> PosegenError:
    return PosegenError(f"unknown model {name!r}: it is neither a folder nor one of {', '.join(NAMES)}")


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return read_json_object(path)
    except PosegenError as error:
        raise PosegenError(f"{path.parent} is not a whole model folder: {path.name} cannot be read ({error})") from None


def describe_model(name: str) -> ModelDescription:
    """Describe a model by name or folder; raises `PosegenError` for an unknown one or a folder that is not a model."""
    if name == "mini":
        return replace(describe_model(str(mini.FOLDER)), name=name)
    if name in PUBLISHED:
        published = PUBLISHED[name]
        return _describe(
            name, {**WAN_SETTINGS, **WAN_TRANSFORMER}, default_area=published.area, skeleton_colors="release",
            weights_bytes=published.weights_bytes,
        )  # fmt: skip
    if name in STOCK:
        return replace(describe_model("wan2.1-i2v-14b-720p"), name=name, trained=False, skeleton_colors="openpose")
    folder = Path(name)
    if not folder.is_dir():
        raise _unknown(name)
    if (folder / ADAPTED).is_file():
        return replace(describe_model(_base_of(folder)), name=name, trained=True)
    index = _read_json(folder / "model_index.json")
    inside, coding = folder / "transformer" / "config.json", folder / "vae" / "config.json"
    schedule = folder / "scheduler" / "scheduler_config.json"
    transformer, vae = _read_json(inside), _read_json(coding)
    settings = index if "segment_length" in index else {**WAN_SETTINGS, "default_area": 1280 * 720, "trained": False}
    patch = transformer.get("patch_size", [1, 2, 2])
    more = {
        "weights_bytes": sum(
            path.stat().st_size for path in folder.rglob("*") if path.suffix in {".safetensors", ".bin"}
        ),
        "spatial_stride": vae.get("scale_factor_spatial", 8),
        "temporal_stride": vae.get("scale_factor_temporal", 4),
        "flow_shift": _flow_shift(schedule),
        "patch": patch[-1] if isinstance(patch, list) and patch else patch,
    }
    files = {**dict.fromkeys(transformer, inside), **dict.fromkeys(settings, folder / "model_index.json")}
    files |= {"spatial_stride": coding, "temporal_stride": coding, "flow_shift": schedule, "patch": inside}
    check_settings({**transformer, **settings, **more}, files, folder / "model_index.json")
    return _describe(name, {**transformer, **settings}, **more)


def _flow_shift(schedule: Path) -> Any:
    """The shift of the schedule; of a stock checkpoint, which has another scheduler, what it is sampled with here."""
    return _read_json(schedule).get("shift", FLOW_SHIFT) if schedule.is_file() else FLOW_SHIFT


def transformer_arguments(name: str) -> dict[str, Any]:
    """Constructor arguments of a model's transformer, without loading a weight. Raises as `describe_model` does."""
    if name == "mini":
        return transformer_arguments(str(mini.FOLDER))
    if name in PUBLISHED or name in STOCK:
        return {**WAN_TRANSFORMER, **WAN_INPUTS}
    describe_model(name)
    if (Path(name) / ADAPTED).is_file():
        return transformer_arguments(_base_of(Path(name)))
    folder = Path(name) / "transformer"
    with loading_errors(folder):
        arguments, _, _ = PoseGenTransformer3DModel.extract_init_dict(_read_json(folder / "config.json"))
    return dict(arguments)


def autoencoder_arguments(name: str) -> dict[str, Any]:
    """The same of its autoencoder, if it is one that posegen trains. Raises `PosegenError` for Wan's, too."""
    if name == "mini":
        return autoencoder_arguments(str(mini.FOLDER))
    describe_model(name)
    folder = Path(name)
    if (folder / ADAPTED).is_file():
        return autoencoder_arguments(_base_of(folder))
    config = {"_class_name": "AutoencoderKLWan"} if name in NAMES else _read_json(folder / "vae" / "config.json")
    if config.get("_class_name") != AutoencoderLightVideo.__name__:
        raise PosegenError(
            f"the stage vae trains {AutoencoderLightVideo.__name__}, not {config.get('_class_name')}: Wan's own "
            "autoencoder is used as it is"
        )
    with loading_errors(folder / "vae"):
        arguments, _, _ = AutoencoderLightVideo.extract_init_dict(config)
    return dict(arguments)


def model_identity(name: str) -> str:
    """A text that changes when the model does: its name, and of a folder every file's name, size and time."""
    if name == "mini":  # times of installed files mean nothing
        weights = sorted(mini.FOLDER.rglob("*.safetensors"))
        return f"mini {hashlib.sha256(b''.join(path.read_bytes() for path in weights)).hexdigest()[:16]}"
    folder = Path(name)
    if name in NAMES or not folder.is_dir():
        return name
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return f"{folder.resolve()} " + " ".join(f"{p.name}:{p.stat().st_size}:{p.stat().st_mtime_ns}" for p in files)


def cast(pipeline: PoseGenPipeline, dtype: torch.dtype) -> PoseGenPipeline:
    """Change the number format in place as `from_pretrained(dtype=...)` does: what must stay in float32 stays."""
    for module in pipeline.components.values():
        if not isinstance(module, torch.nn.Module):
            continue
        keep = set(getattr(module, "_keep_in_fp32_modules", None) or ())
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point() and not keep & set(name.split(".")):
                tensor.data = tensor.data.to(dtype)
    return pipeline


def _empty_transformer(name: str) -> PoseGenTransformer3DModel:
    """A model's transformer without weights. Raises as `describe_model` does."""
    arguments = transformer_arguments(name)
    with torch.device("meta"), loading_errors(Path(name) / "transformer"):
        return PoseGenTransformer3DModel(**arguments)


def describe_loras(name: str, loras: Sequence[Lora]) -> list[str]:
    """A line on each LoRA file for a model; no weight of the model is loaded.

    Raises `PosegenError` for a file that is not there, or not a LoRA of this model.
    """
    if not loras:
        return []
    transformer = _empty_transformer(name)
    return [lora_files.describe(lora, transformer) for lora in loras]


@quiet_libraries()
def load_pipeline(name: str, device: torch.device, dtype: torch.dtype, loras: Sequence[Lora] = ()) -> PoseGenPipeline:
    """Load a model by name or folder, ready to use on `device`, with LoRA files added to its weights.

    Raises `PosegenError` with what to do.
    """
    if name == "mini":
        pipeline = load_folder(mini.FOLDER, dtype)
    elif name in PUBLISHED:
        published = PUBLISHED[name]
        wan = _fetch(published.wan, ignore_patterns=["transformer/*"])
        base, stitch = (
            _fetch(published.release, [f"{stage}/*"]) / stage for stage in (published.base, published.stitch)
        )
        pipeline = load_published(wan, base, stitch, area=published.area, dtype=dtype)
    elif name in STOCK:
        pipeline = load_folder(_fetch(STOCK[name]), dtype)
    elif Path(name).is_dir():
        pipeline = load_folder(Path(name), dtype)
    else:
        raise _unknown(name)
    lora_files.add_loras(pipeline.transformer, loras)
    return pipeline.to(device)


@quiet_libraries()
def load_for_encoding(name: str, dtype: torch.dtype) -> PoseGenPipeline:
    """A model's tokenizer, encoders and autoencoder, on the CPU, around a transformer without weights.

    Raises `PosegenError` with what to do.
    """
    description = describe_model(name)
    transformer = _empty_transformer(name)
    settings: dict[str, Any] = {name: getattr(description, name) for name in ("default_area", "skeleton_colors")}
    if name in PUBLISHED or name in STOCK:
        repository = PUBLISHED[name].wan if name in PUBLISHED else STOCK[name]
        return _around(_fetch(repository, ignore_patterns=["transformer/*"]), transformer, dtype, **settings)
    folder = mini.FOLDER if name == "mini" else Path(name)
    if (folder / ADAPTED).is_file():
        return load_for_encoding(_base_of(folder), dtype)
    if _read_json(folder / "model_index.json").get("_class_name") == WanImageToVideoPipeline.__name__:
        return _around(folder, transformer, dtype, **settings)
    return PoseGenPipeline.from_pretrained(folder, transformer=transformer, dtype=dtype)


def _base_of(folder: Path) -> str:
    """The model that a folder of adapters belongs to."""
    base = _read_json(folder / ADAPTED).get("base")
    if not isinstance(base, str) or not base:
        raise PosegenError(f'{folder / ADAPTED}: expected {{"base": name or folder of a model}}')
    return base


def save_adapters(pipeline: PoseGenPipeline, base: str, folder: Path) -> None:
    """Write the adapters alone, with a note of the model that they belong to; `load_pipeline` takes the folder."""
    for name in lora.adapter_names(pipeline.transformer):
        lora.save_adapter(pipeline.transformer, name, folder / ADAPTER_FOLDER / name)
    write_whole(folder / ADAPTED, (json.dumps({"base": base}, indent=1) + "\n").encode())


@quiet_libraries()
def load_folder(folder: Path, dtype: torch.dtype) -> PoseGenPipeline:
    """Load one of our own folders (whole, or adapters only), or a stock Wan2.1 image-to-video checkpoint.

    A stock checkpoint's new parameters are untrained.
    """
    if (folder / ADAPTED).is_file():
        pipeline = load_pipeline(_base_of(folder), torch.device("cpu"), dtype)
        for adapter in sorted((folder / ADAPTER_FOLDER).glob("*/")):
            lora.load_adapter(pipeline.transformer, adapter.name, adapter)
        return pipeline
    kind = _read_json(folder / "model_index.json").get("_class_name")
    if kind == PoseGenPipeline.__name__:
        return PoseGenPipeline.from_pretrained(folder, dtype=dtype)
    if kind == WanImageToVideoPipeline.__name__:
        logger.warning("%s is a stock Wan checkpoint: it was never trained to follow poses", folder)
        return _around(folder, init_from_wan(folder, dtype), dtype, default_area=1280 * 720, trained=False)
    raise PosegenError(
        f"{folder}/model_index.json: expected a PoseGenPipeline or a WanImageToVideoPipeline, got {kind or 'nothing'}"
    )


def load_published(wan: Path, base: Path, stitch: Path, area: int, dtype: torch.dtype) -> PoseGenPipeline:
    """The published PoseGen weights (folders `base` and `stitch`) with encoders and VAE of the Wan folder `wan`."""
    transformer = load_release_checkpoint(base, dtype=dtype, adapter="base")
    load_release_adapter(transformer, stitch, "stitch")
    return _around(wan, transformer, dtype, default_area=area, skeleton_colors="release")


def _around(folder: Path, transformer: Any, dtype: torch.dtype, **settings: Any) -> PoseGenPipeline:
    """A pipeline of the transformer and the other parts of a stock Wan folder."""
    for part in WAN_PARTS:
        if not (folder / part).is_dir():
            raise PosegenError(f"{folder} is not a whole model folder: {part} is missing")
    given = load_encoders(folder, dtype)
    with no_network(), loading_errors(folder):
        wan = WanImageToVideoPipeline.from_pretrained(
            str(folder), **given, transformer=transformer, dtype=dtype, local_files_only=True
        )
    parts = {name: wan.components[name] for name in WAN_PARTS}
    scheduler = FlowMatchEulerDiscreteScheduler(shift=FLOW_SHIFT)
    return PoseGenPipeline(**parts, transformer=transformer, scheduler=scheduler, **{**WAN_SETTINGS, **settings})


def _fetch(repository: str, allow_patterns: list[str] | None = None, ignore_patterns: list[str] | None = None) -> Path:
    """A repository of the hub as a local folder, downloaded once."""
    try:
        return Path(snapshot_download(repository, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns))
    except (OSError, ValueError, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0]
        raise PosegenError(
            f"cannot download {repository} ({reason}): check the network, or download it elsewhere "
            f"(`hf download {repository}`) into this machine's hub cache"
        ) from None
