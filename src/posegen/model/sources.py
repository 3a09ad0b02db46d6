"""Finds the source of a model by name or folder (`find_source`), with shortcuts for common requests.

To add a kind of model, write a class with the methods of `ModelSource` and choose it in `find_source`. Weights are read
into the transformer in `loading`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from posegen.errors import PosegenError
from posegen.heap import keep_freed_memory
from posegen.model import lora_files, mini
from posegen.model.folder_sources import (
    ADAPTED,
    AdapterFolder,
    OwnFolder,
    PackagedFolder,
    StockFolder,
    base_of,
    is_stock,
    read_part_of_model,
    save_adapters,
)
from posegen.model.hub_sources import PublishedWeights, StockWan, load_published
from posegen.model.lora_files import Lora
from posegen.model.model_description import ModelDescription
from posegen.model.model_source import ModelSource, empty_transformer
from posegen.model.pipeline import PoseGenPipeline
from posegen.model.wan import IMAGE_TOKENS, WAN_INPUTS, WAN_TRANSFORMER
from posegen.quiet import quiet_libraries

__all__ = [
    "ADAPTED",
    "IMAGE_TOKENS",
    "NAMES",
    "WAN_INPUTS",
    "WAN_TRANSFORMER",
    "ModelDescription",
    "ModelSource",
    "autoencoder_arguments",
    "cast",
    "describe_loras",
    "describe_model",
    "downloads_of",
    "find_source",
    "image_tokens",
    "load_folder",
    "load_for_encoding",
    "load_pipeline",
    "load_published",
    "model_identity",
    "save_adapters",
    "source_of_folder",
    "transformer_arguments",
]

_NAMED: dict[str, ModelSource] = {
    source.name: source
    for source in (
        PackagedFolder(mini.NAME, mini.FOLDER),
        PublishedWeights("wan2.1-i2v-14b-720p"),
        PublishedWeights("wan2.1-i2v-14b-480p", area=832 * 480),  # the same weights: faster, less sharp
        StockWan("wan2.1-i2v-14b"),
    )
}
NAMES = tuple(_NAMED)


def find_source(name: str) -> ModelSource:
    """Choose the source of a model by its name, or by the files in its folder; no weight is read.

    Raises `PosegenError` for an unknown name and for a folder that is not a model.
    """
    if not _is_known(name):
        raise PosegenError(f"unknown model {name!r}: it is neither a folder nor one of {', '.join(NAMES)}")
    return _NAMED.get(name) or source_of_folder(Path(name), name)


def source_of_folder(folder: Path, name: str | None = None) -> ModelSource:
    """Choose the source of a model in a folder by its files. Raises `PosegenError` if that is not a model."""
    name = str(folder) if name is None else name
    base = base_of(folder)
    if base is not None:
        _check_ends(folder, base)
        return AdapterFolder(name, folder, find_source(base))
    return StockFolder(name, folder) if is_stock(folder) else OwnFolder(name, folder)


def _is_known(name: str) -> bool:
    return name in _NAMED or Path(name).is_dir()


def _check_ends(folder: Path, base: str | None) -> None:
    """Raise `PosegenError` if a folder of adapters is, directly or through others, its own base."""
    passed = {folder.resolve()}
    while base is not None and base not in _NAMED and Path(base).is_dir():
        if Path(base).resolve() in passed:
            raise PosegenError(f"{folder / ADAPTED}: the adapters' base leads back to {base}: name a complete model")
        passed.add(Path(base).resolve())
        base = base_of(Path(base))


def describe_model(name: str) -> ModelDescription:
    """Describe a model by name or folder; raises `PosegenError` for an unknown one or a folder that is not a model."""
    return find_source(name).describe()


def transformer_arguments(name: str) -> dict[str, Any]:
    """Return the constructor arguments of a model's transformer; loads no weights. Raises like `describe_model`."""
    return find_source(name).transformer_arguments()


def autoencoder_arguments(name: str) -> dict[str, Any]:
    """Return the constructor arguments of a model's autoencoder. Raises `PosegenError` if posegen cannot train it."""
    return find_source(name).autoencoder_arguments()


def downloads_of(name: str) -> list[str]:
    """Return the repositories that loading a model would download, in words; none for folders and the mini."""
    source = find_source(name)
    return source.downloads() if isinstance(source, StockWan) else []


def image_tokens(name: str) -> int:
    """Return the number of tokens that a model's image encoder makes of an image; loads no weights."""
    source = find_source(name)
    while isinstance(source, AdapterFolder):
        source = source.base
    if not isinstance(source, OwnFolder):
        return IMAGE_TOKENS
    config = read_part_of_model(source.folder / "image_encoder" / "config.json")
    side, patch = config.get("image_size", 224), config.get("patch_size", 32)  # transformers' defaults
    if not isinstance(side, int) or not isinstance(patch, int) or patch < 1:
        raise PosegenError(f"{source.folder}: image_encoder/config.json has no whole image_size and patch_size")
    return (side // patch) ** 2 + 1


def model_identity(name: str) -> str:
    """Return a text that changes if and only if the model does; for an unknown name the name itself."""
    return find_source(name).identity() if _is_known(name) else name


def describe_loras(name: str, loras: Sequence[Lora]) -> list[str]:
    """Describe each LoRA file for a model in one line; no weight of the model is loaded.

    Raises `PosegenError` for a file that is missing, or not a LoRA of this model.
    """
    if not loras:
        return []
    transformer = empty_transformer(find_source(name))
    return [lora_files.describe(lora, transformer) for lora in loras]


@quiet_libraries()
def load_pipeline(name: str, device: torch.device, dtype: torch.dtype, loras: Sequence[Lora] = ()) -> PoseGenPipeline:
    """Load a model by name or folder, ready to use on `device`, with LoRA files added to its weights.

    Raises `PosegenError` with what to do.
    """
    pipeline = find_source(name).load(dtype)
    lora_files.add_loras(pipeline.transformer, loras)
    if device.type == "cpu":
        keep_freed_memory()
    return pipeline.to(device)


@quiet_libraries()
def load_for_encoding(name: str, dtype: torch.dtype) -> PoseGenPipeline:
    """Load a model's tokenizer, encoders and autoencoder on the CPU, around a transformer without weights.

    Raises `PosegenError` with what to do.
    """
    return find_source(name).load_for_encoding(dtype)


@quiet_libraries()
def load_folder(folder: Path, dtype: torch.dtype) -> PoseGenPipeline:
    """Load a posegen folder (complete, or adapters only), or a stock Wan2.1 image-to-video checkpoint.

    New parameters of a stock checkpoint are untrained.
    """
    return source_of_folder(folder).load(dtype)


def cast(pipeline: PoseGenPipeline, dtype: torch.dtype) -> PoseGenPipeline:
    """Change the dtype in place as `from_pretrained(dtype=...)` does: modules that must stay in float32 do."""
    for module in pipeline.components.values():
        if not isinstance(module, torch.nn.Module):
            continue
        keep = set(getattr(module, "_keep_in_fp32_modules", None) or ())
        for name, tensor in (*module.named_parameters(), *module.named_buffers()):
            if tensor.is_floating_point() and not keep & set(name.split(".")):
                tensor.data = tensor.data.to(dtype)
    return pipeline
