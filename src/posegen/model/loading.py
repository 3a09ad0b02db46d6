"""Loads transformers from stock Wan2.1-I2V folders, published PoseGen folders, and folders of `save_pretrained`.

Files are read and compared with the model before anything large is built; errors name what does not fit. Only
safetensors, and `.bin` shards with `weights_only=True`, are read. No downloads: paths are local folders.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors import safe_open
from torch import Tensor

from posegen.errors import PosegenError, logger
from posegen.media.data_files import read_json, read_json_object
from posegen.media.tensors import check_header
from posegen.model.lora import NEW_EMBEDDINGS, AdapterForm, attach_weights, use_adapter
from posegen.model.release import check_weights, merge_lora_weights, release_config, split_release_state_dict
from posegen.model.transformer import PoseGenTransformer3DModel

CONFIG, RELEASE_CONFIG = "config.json", "model_config.json"
RELEASE_WHOLE = ("patch_embedding", *NEW_EMBEDDINGS)
"""Modules that may differ between the published stages (base, stitch) outside LoRA."""


@contextlib.contextmanager
def loading_errors(folder: Path) -> Iterator[None]:
    """Turn errors of the libraries for a folder that they cannot load into one line that names it, or its bad file.

    Their checks of settings raise errors of any type.
    """
    try:
        yield
    except (PosegenError, MemoryError):
        raise
    except Exception as error:
        for path in sorted(folder.rglob("*.json")):
            read_json(path, "JSON")  # names the bad file, if one is not JSON
        line = " ".join((str(error).strip() or repr(error)).splitlines()[:3])
        raise PosegenError(f"{folder} cannot be loaded: {line[:300]}") from error


def load_transformer(
    folder: str | Path, dtype: torch.dtype | None = None, merge: bool = True
) -> PoseGenTransformer3DModel:
    """Load a transformer from a folder of any of the three kinds.

    Args:
        folder: a stock Wan2.1-I2V transformer or pipeline, a published PoseGen checkpoint, or a folder written by
            `save_pretrained`.
        dtype: cast weights to it (modules that must stay in float32 do); None = as stored.
        merge: published checkpoints only: merge their LoRA weights instead of keeping an adapter "default".

    Raises:
        PosegenError: the folder is none of these, or its weights do not fit.
    """
    folder = Path(folder)
    with loading_errors(folder):
        return _load_transformer(folder, dtype, merge)


def _load_transformer(folder: Path, dtype: torch.dtype | None, merge: bool) -> PoseGenTransformer3DModel:
    if (folder / RELEASE_CONFIG).is_file():
        return load_release_checkpoint(folder, merge=merge, dtype=dtype)
    folder = _transformer_folder(folder)
    kind = read_json_object(folder / CONFIG).get("_class_name")
    if kind == PoseGenTransformer3DModel.__name__:
        config = PoseGenTransformer3DModel.load_config(str(folder))
        return PoseGenTransformer3DModel.from_weights(
            _read_safetensors(folder), _constructor_arguments(config), str(folder), dtype
        )
    if kind == WanTransformer3DModel.__name__:
        return init_from_wan(folder, dtype=dtype)
    raise PosegenError(
        f"{folder / CONFIG}: expected a PoseGenTransformer3DModel or a WanTransformer3DModel, got {kind or 'no class'}"
    )


def init_from_wan(
    base: str | Path | WanTransformer3DModel, dtype: torch.dtype | None = None
) -> PoseGenTransformer3DModel:
    """Make a PoseGen transformer from a stock Wan2.1-I2V one; weights are shared with a model that is passed.

    New parameters start without effect or as copies, see `PoseGenTransformer3DModel.init_new_parameters`.

    Raises:
        PosegenError: not an image-to-video transformer, or weights are missing, extra or misshapen.
    """
    if isinstance(base, WanTransformer3DModel):
        config, weights, source = dict(base.config), base.state_dict(), "the given Wan transformer"
    else:
        folder = _transformer_folder(Path(base))
        config, weights, source = read_json_object(folder / CONFIG), _read_safetensors(folder), str(folder)
    weights = {name: tensor for name, tensor in weights.items() if "norm_added_q" not in name}  # unused by Wan too
    arguments = _constructor_arguments(config)
    with torch.device("meta"):
        skeleton = PoseGenTransformer3DModel(**arguments)
    new = {name: tensor for name, tensor in skeleton.state_dict().items() if name.split(".")[0] in NEW_EMBEDDINGS}
    expected = {name: tensor.shape for name, tensor in skeleton.state_dict().items() if name not in new}
    check_weights(expected, {name: tensor.shape for name, tensor in weights.items()}, source)
    like = weights["patch_embedding.weight"]
    weights |= {name: torch.zeros(tensor.shape, dtype=like.dtype, device=like.device) for name, tensor in new.items()}
    model = PoseGenTransformer3DModel.from_weights(weights, arguments, source, dtype)
    model.init_new_parameters()
    return model


def load_release_checkpoint(
    folder: str | Path, merge: bool = False, dtype: torch.dtype | None = None, adapter: str = "default"
) -> PoseGenTransformer3DModel:
    """Load a published PoseGen checkpoint: `model_config.json` and `.bin` shards.

    Args:
        folder: for example `720p-81f-base`.
        merge: merge the LoRA weights; otherwise they become the adapter `adapter`.
        dtype: cast weights to it; None = as stored.
        adapter: name of the adapter, for example "base".

    Raises:
        PosegenError: files are missing or unreadable, or weights do not fit.
    """
    folder = Path(folder)
    config = release_config(read_json_object(folder / RELEASE_CONFIG))
    base, lora = _read_release(folder)
    if merge or not lora:
        return PoseGenTransformer3DModel.from_weights(merge_lora_weights(base, lora), config, str(folder), dtype)
    model = PoseGenTransformer3DModel.from_weights(base, config, str(folder), dtype)
    _attach_release_lora(model, base, lora, adapter, str(folder))
    return model


def load_release_adapter(transformer: PoseGenTransformer3DModel, folder: str | Path, adapter: str) -> None:
    """Attach the adapter of another published checkpoint (for example `720p-81f-cond` as "stitch").

    Published checkpoints are whole models: each stage has its own patch embeddings, which the adapter takes over; all
    other base weights must be those that the transformer has.

    Raises:
        PosegenError: the checkpoint has no LoRA weights, or was trained on another base.
    """
    folder = Path(folder)
    base, lora = _read_release(folder)
    if not lora:
        raise PosegenError(f"{folder} has no LoRA weights to attach")
    own = _base_weights(transformer)
    own = {name: tensor for name, tensor in own.items() if name.split(".")[0] not in RELEASE_WHOLE}
    theirs = {name: tensor for name, tensor in base.items() if name.split(".")[0] not in RELEASE_WHOLE}
    check_weights(
        {name: tensor.shape for name, tensor in own.items()},
        {name: tensor.shape for name, tensor in theirs.items()},
        str(folder),
    )
    other = [name for name, tensor in own.items() if not torch.equal(tensor, theirs[name].to(tensor))]
    if other:
        raise PosegenError(
            f"{folder} was trained on other base weights than the transformer's ({len(other)} differ, first "
            f"{', '.join(sorted(other)[:3])}): load it as a model of its own"
        )
    _attach_release_lora(transformer, base, lora, adapter, str(folder))


def _attach_release_lora(
    model: PoseGenTransformer3DModel, base: dict[str, Tensor], lora: dict[str, Tensor], adapter: str, source: str
) -> None:
    whole = {name: tensor for name, tensor in base.items() if name.split(".")[0] in RELEASE_WHOLE}
    ranks = {tensor.shape[0] for name, tensor in lora.items() if ".lora_A." in name}
    if len(ranks) != 1:
        raise PosegenError(f"{source}: LoRA weights of one rank expected, got ranks {sorted(ranks)}")
    rank = ranks.pop()  # published with scale 1: alpha = rank
    form = AdapterForm(rank, rank, fully_trained=RELEASE_WHOLE)
    attach_weights(model, adapter, lora | whole, form, source)
    use_adapter(model, adapter, trainable=False)


def _base_weights(transformer: PoseGenTransformer3DModel) -> dict[str, Tensor]:
    """Return the model's own weights, without adapters, by their plain names."""
    return {
        name.replace(".base_layer.", ".").replace(".original_module.", "."): tensor
        for name, tensor in transformer.state_dict().items()
        if ".lora_" not in name and ".modules_to_save." not in name
    }


def _constructor_arguments(config: dict[str, Any]) -> dict[str, Any]:
    arguments, unused, _ = PoseGenTransformer3DModel.extract_init_dict(dict(config))
    unknown = sorted(name for name in unused if not name.startswith("_"))
    if unknown:
        logger.warning("ignoring unknown settings of the transformer: %s", ", ".join(unknown))
    return arguments


def _transformer_folder(folder: Path) -> Path:
    """Return the folder itself, or the `transformer` inside a pipeline."""
    if (folder / "model_index.json").is_file() or not (folder / CONFIG).is_file():
        inside = folder / "transformer"
        if (inside / CONFIG).is_file():
            return inside
    if not (folder / CONFIG).is_file():
        raise PosegenError(
            f"no transformer in {folder}: expected {CONFIG} (diffusers) or {RELEASE_CONFIG} (published PoseGen)"
        )
    return folder


def _read_safetensors(folder: Path) -> dict[str, Tensor]:
    """Read all tensors of a diffusers folder."""
    index = folder / "diffusion_pytorch_model.safetensors.index.json"
    if index.is_file():
        names = sorted(set(read_json_object(index).get("weight_map", {}).values()))
    else:
        names = ["diffusion_pytorch_model.safetensors"]
    weights: dict[str, Tensor] = {}
    for name in names:
        file = folder / name
        if not file.is_file():
            raise PosegenError(f"{file} is missing")
        check_header(file)
        try:
            with safe_open(file, framework="pt") as opened:
                weights |= {key: _aligned(opened.get_tensor(key)) for key in opened.keys()}  # noqa: SIM118
        except Exception as error:
            raise PosegenError(f"{file} cannot be read: {error}") from error
    return weights


def _aligned(tensor: Tensor) -> Tensor:
    """Copy a memory-mapped tensor to aligned memory: kernels round differently on unaligned tensors."""
    return tensor if tensor.data_ptr() % 64 == 0 else tensor.clone()


def _read_release(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    base: dict[str, Tensor] = {}
    lora: dict[str, Tensor] = {}
    for shard in _bin_shards(folder):
        shard_base, shard_lora = split_release_state_dict(shard)
        base |= shard_base
        lora |= shard_lora
    return base, lora


def _bin_shards(folder: Path) -> Iterator[dict[str, Tensor]]:
    files = sorted(folder.glob("*.bin"))
    if not files:
        raise PosegenError(f"no .bin shards in {folder}")
    for file in files:
        try:
            yield torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:
            raise PosegenError(f"{file} cannot be read as weights: {error}".splitlines()[0]) from error


def without_adapters(transformer: PoseGenTransformer3DModel) -> PoseGenTransformer3DModel:
    """Return the base model under the adapters, sharing its weights, for `save_pretrained`."""
    arguments = _constructor_arguments(dict(transformer.config))
    return PoseGenTransformer3DModel.from_weights(_base_weights(transformer), arguments, "the transformer")
