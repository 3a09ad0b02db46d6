"""Estimates what a training needs besides device memory: disk for encoded clips, host memory, hours, downloads.

Everything is computed from the recipe, the model's description and the sizes of clips; nothing is loaded. Not counted:
the clips themselves, sample videos, and the operating system's cache of mapped files.
"""

from collections.abc import Iterable

from posegen.data.encoding import Encoding
from posegen.model.model_description import ModelDescription
from posegen.train.diffusion import encodings_of
from posegen.train.memory import Memory, TransformerInputs
from posegen.train.stage_settings import StageSettings, TransformerSettings
from posegen.train.train_recipe import BaseWeights

_BFLOAT16 = 2
_LOADED = {"fp32": 2.0, "bf16": 1.0, "fp8": 1.0}
"""Bytes of a model while it is loaded, for each byte of its published bfloat16 weights; fp8 is made from bfloat16."""
_KEPT_FOR_CHECKPOINT = 3
"""Values in float32 of each weight that learns, which a checkpoint gathers on the host: itself and Adam's moments."""


def bytes_of_encoding(encoding: Encoding, inputs: TransformerInputs) -> int:
    """Return the bytes that one clip takes in the cache; `LatentCache.encode` writes these tensors."""
    height, width = inputs.latent_size
    channels = inputs.arguments["out_channels"]
    frame = channels * height * width
    window = (4 if encoding.pose else 2) * frame * ((encoding.num_frames - 1) // 4 + 1)
    features = (
        inputs.text_tokens * inputs.arguments["text_dim"] + inputs.image_tokens * inputs.arguments["image_dim"]
    )  # of each clip
    side = encoding.windows * window + (frame if encoding.pose else 0) + features
    return (1 + encoding.mirrored) * side * _BFLOAT16


def bytes_of_clip(settings: TransformerSettings, model: ModelDescription, inputs: TransformerInputs) -> int:
    """Return the bytes in the cache of one clip, over all encodings that the phases of a stage read."""
    encodings = {each for phase in settings.phases for each in encodings_of(settings, phase, model).values()}
    return sum(bytes_of_encoding(encoding, inputs) for encoding in encodings)


def describe_disk(each: int, clips: int | None, checkpoint: int, kept: int) -> list[str]:
    """Return lines about disk. each: bytes of a clip in the cache; clips: None if unknown; kept: checkpoints kept."""
    cache = f"encoded clips on disk: {each / 1e6:,.1f} MB a clip"
    number = f", {clips * each / 1e9:,.2f} GB for {clips:,} clips" if clips is not None else ""
    beside = kept + 1  # the newest is written before the oldest goes
    return [f"{cache}{number}" if each else "", f"checkpoints on disk: up to {beside * checkpoint / 1e9:,.2f} GB"]


def host_memory(weights_bytes: int, base_weights: BaseWeights, memory: Memory, processes: int, encoders: int) -> int:
    """Estimate the bytes of host memory while the model is loaded, by all processes of one machine.

    weights_bytes: of the whole published model in bfloat16, or of a folder's files. encoders: processes that encode,
    each of which loads all parts but the transformer (counted as the model without its frozen transformer weights).
    """
    loaded = round(weights_bytes * _LOADED[base_weights])
    transformer = round(_BFLOAT16 * _LOADED[base_weights] * (memory.parameters - memory.trained_parameters))
    beside = max(loaded - transformer, 0)
    learning = 4 * _KEPT_FOR_CHECKPOINT * memory.trained_parameters
    return processes * (loaded + learning) + (encoders * beside if encoders > 1 else 0)


def checkpoint_bytes(settings: StageSettings, memory: Memory) -> int:
    """Return the bytes of one checkpoint: weights, optimizer, moving average, float32."""
    return 4 * memory.trained_parameters * (_KEPT_FOR_CHECKPOINT + (settings.ema > 0))


def describe_hours(settings: StageSettings, seconds_per_step: float | None) -> str:
    """Return a line about the time that all steps take at a rate; without one, how to name it."""
    if seconds_per_step is None:
        return "time: add --seconds-per-step, as a short run measures it, for the hours"
    hours = settings.steps * seconds_per_step / 3600
    return f"time: {hours:,.1f} hours at {seconds_per_step:g} s a step, without encoding and validation"


def lines(parts: Iterable[str]) -> list[str]:
    """Return the lines that are not empty."""
    return [part for part in parts if part]
