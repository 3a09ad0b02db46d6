"""LoRA adapters of the transformer, through peft: attach, save, load, switch, merge.

PoseGen has two, `base` and `stitch`: rank 16 on every linear layer of self-attention, cross-attention and feed-forward,
while the new embeddings (reference, hands, hand projection) are trained in full and Wan's own patch embedding stays
frozen. Each adapter therefore has its own copy of the new embeddings (peft's `modules_to_save`), and switching swaps
both without reading a file.
An adapter's folder has diffusers' format: `pytorch_lora_weights.safetensors`, with the configuration inside.
Adapters are trained, and chosen for segments, elsewhere.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY, LORA_WEIGHT_NAME_SAFE
from peft import LoraConfig
from peft.functional import delete_adapter, get_peft_model_state_dict, set_adapter, set_peft_model_state_dict
from peft.tuners.tuners_utils import BaseTunerLayer
from peft.utils.other import ModulesToSaveWrapper
from safetensors import safe_open
from safetensors.torch import load_file

from posegen.errors import PosegenError, logger
from posegen.media.data_files import parse_json
from posegen.media.tensors import check_header, save_safetensors
from posegen.model.release import check_weights
from posegen.model.transformer import PoseGenTransformer3DModel

TARGETS = (
    "to_q",
    "to_k",
    "to_v",
    "to_out.0",
    "add_k_proj",
    "add_v_proj",
    "ffn.net.0.proj",
    "ffn.net.2",
)
"""Name endings of every linear layer of self-attention, cross-attention and feed-forward."""
NEW_EMBEDDINGS = ("reference_patch_embedding", "hand_patch_embedding", "hand_projection")
"""Modules that Wan does not have: an adapter trains and stores them in full."""


def adapter_names(transformer: PoseGenTransformer3DModel) -> list[str]:
    """Return the names of the attached adapters."""
    return list(getattr(transformer, "peft_config", {}))


def active_adapter(transformer: PoseGenTransformer3DModel) -> str | None:
    """Return the name of the active adapter; None if the base model runs alone."""
    for module in transformer.modules():
        if isinstance(module, BaseTunerLayer):
            return None if module.disable_adapters else str(module.active_adapters[0])
    return None


def add_adapter(
    transformer: PoseGenTransformer3DModel,
    name: str,
    rank: int = 16,
    alpha: int | float = 16,
    targets: Iterable[str] = TARGETS,
    fully_trained: Iterable[str] = NEW_EMBEDDINGS,
) -> None:
    """Attach a new adapter, which changes nothing until it is trained, and switch to it.

    Args:
        transformer: the model; its own weights stop requiring gradients.
        name: for example "base" or "stitch".
        rank: rank of B·A.
        alpha: B·A is scaled by alpha / rank.
        targets: name endings of linear layers; one that matches nothing gives a warning.
        fully_trained: modules of which the adapter has its own full copy.

    Raises:
        PosegenError: the name is taken, or nothing matches.
    """
    if name in adapter_names(transformer):
        raise PosegenError(f"the transformer already has an adapter {name!r}")
    if rank < 1:
        raise PosegenError(f"LoRA rank must be at least 1, got {rank}")
    linear = [
        key for key, module in transformer.named_modules() if isinstance(module, torch.nn.Linear | BaseTunerLayer)
    ]
    targets = list(targets)
    matched = [target for target in targets if any(key == target or key.endswith("." + target) for key in linear)]
    for target in targets:
        if target not in matched:
            logger.warning("LoRA target %r matches no layer of the transformer", target)
    if not matched:
        raise PosegenError(f"LoRA targets {targets} match no layer of the transformer")
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # it takes any number
        target_modules=matched,
        modules_to_save=[module for module in fully_trained if getattr(transformer, module, None) is not None],
    )
    with warnings.catch_warnings():  # peft warns of a second adapter, which is intended here
        warnings.filterwarnings("ignore", message="Already found a `peft_config` attribute")
        transformer.add_adapter(config, adapter_name=name)
    use_adapter(transformer, name)


def copy_adapter(transformer: PoseGenTransformer3DModel, source: str, name: str) -> None:
    """Attach a new adapter initialised as a copy of another one, and switch to it.

    Raises:
        PosegenError: no such source, or the name is taken.
    """
    if source not in adapter_names(transformer):
        raise PosegenError(f"no adapter {source!r} to copy: the transformer has {adapter_names(transformer) or 'none'}")
    config = transformer.peft_config[source]
    weights = get_peft_model_state_dict(transformer, adapter_name=source)
    weights = {key: tensor.detach().clone() for key, tensor in weights.items()}
    add_adapter(
        transformer, name, config.r, config.lora_alpha, config.target_modules, config.modules_to_save or []
    )  # peft makes modules_to_save a copy of the base's, which the source's weights then replace
    set_peft_model_state_dict(transformer, weights, adapter_name=name)


def use_adapter(transformer: PoseGenTransformer3DModel, name: str | None, trainable: bool = True) -> None:
    """Switch to an attached adapter, or to none: the base model. Nothing is read or copied.

    Args:
        transformer: the model.
        name: the adapter; None = none.
        trainable: True if the adapter's parameters should require gradients.

    Raises:
        PosegenError: no such adapter.
    """
    attached = adapter_names(transformer)
    if name is not None and name not in attached:
        raise PosegenError(f"no adapter {name!r}: the transformer has {', '.join(attached) or 'none'}")
    if not attached:
        return
    for module in _wrappers(transformer):
        module.enable_adapters(name is not None)
    if name is not None:
        set_adapter(transformer, name, inference_mode=not trainable)


def train_adapters(transformer: PoseGenTransformer3DModel, names: Sequence[str]) -> None:
    """Let attached adapters, and no other weights of theirs, require gradients; the first one is switched to."""
    learning = []
    for name in reversed(names):
        use_adapter(transformer, name)
        learning += [parameter for parameter in transformer.parameters() if parameter.requires_grad]
    for parameter in learning:
        parameter.requires_grad_(True)


def save_adapter(transformer: PoseGenTransformer3DModel, name: str, folder: str | Path) -> None:
    """Write one adapter: LoRA weights, its copies of the new embeddings, its configuration.

    Raises:
        PosegenError: no such adapter.
        OutputError: it cannot be written.
    """
    if name not in adapter_names(transformer):
        raise PosegenError(f"no adapter {name!r} to save: the transformer has {adapter_names(transformer) or 'none'}")
    # not diffusers' save_lora_adapter: it passes the whole model through `.to()`, which offloading forbids
    config = transformer.peft_config[name].to_dict()
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    weights = get_peft_model_state_dict(transformer, adapter_name=name)
    described = {"format": "pt", LORA_ADAPTER_METADATA_KEY: json.dumps(config, indent=2, sort_keys=True)}
    save_safetensors(weights, Path(folder) / LORA_WEIGHT_NAME_SAFE, described)


def load_adapter(transformer: PoseGenTransformer3DModel, name: str, folder: str | Path) -> None:
    """Attach an adapter that `save_adapter` wrote, and switch to it.

    Raises:
        PosegenError: there is no adapter in the folder, or it does not fit the transformer.
    """
    file = Path(folder) / LORA_WEIGHT_NAME_SAFE
    if not file.is_file():
        raise PosegenError(f"no adapter in {folder}: {LORA_WEIGHT_NAME_SAFE} is missing")
    try:
        check_header(file)
        with safe_open(file, framework="pt") as opened:
            config = parse_json((opened.metadata() or {})[LORA_ADAPTER_METADATA_KEY], str(file))
        weights = load_file(file)
        fully_trained = config["modules_to_save"] or []
        form = AdapterForm(config["r"], config["lora_alpha"], config["target_modules"], fully_trained)
        attach_weights(transformer, name, weights, form, str(file))
    except PosegenError:
        raise
    except Exception as error:
        raise PosegenError(f"{file} is not an adapter written by posegen: {error}") from error


@dataclass(frozen=True)
class AdapterForm:
    """Rank and alpha of an adapter's weights, and the modules that have them, as for `add_adapter`."""

    rank: int
    alpha: int | float
    targets: Iterable[str] = TARGETS
    fully_trained: Iterable[str] = NEW_EMBEDDINGS


def attach_weights(
    transformer: PoseGenTransformer3DModel,
    name: str,
    weights: Mapping[str, torch.Tensor],
    form: AdapterForm,
    source: str,
) -> None:
    """Attach an adapter with weights in peft's names, without the adapter's name; `source` names them in errors.

    Raises:
        PosegenError: weights are missing, extra or misshapen; the transformer is left unchanged.
    """
    previous = active_adapter(transformer)
    add_adapter(transformer, name, form.rank, form.alpha, form.targets, form.fully_trained)
    expected = get_peft_model_state_dict(transformer, adapter_name=name)
    try:
        check_weights(
            {key: tensor.shape for key, tensor in expected.items()},
            {key: tensor.shape for key, tensor in weights.items()},
            source,
        )
    except PosegenError:
        _delete(transformer, name, previous)
        raise
    set_peft_model_state_dict(transformer, dict(weights), adapter_name=name)


@torch.no_grad()
def merge_adapter(transformer: PoseGenTransformer3DModel, name: str) -> PoseGenTransformer3DModel:
    """Merge one adapter into the base weights (base + alpha / rank · B·A) and remove every adapter, in place.

    The result is a plain model without the adapter's cost, for `save_pretrained` or for one kind of segment.

    Raises:
        PosegenError: no such adapter.
    """
    use_adapter(transformer, name)
    for parent in list(transformer.modules()):
        for key, module in list(parent.named_children()):
            if isinstance(module, BaseTunerLayer):
                module.merge(safe_merge=True, adapter_names=[name])
                setattr(parent, key, module.get_base_layer())
            elif isinstance(module, ModulesToSaveWrapper):
                own = name in module.modules_to_save
                setattr(parent, key, module.modules_to_save[name] if own else module.original_module)
    forget_adapters(transformer)
    return transformer


def _wrappers(transformer: PoseGenTransformer3DModel) -> list[BaseTunerLayer | ModulesToSaveWrapper]:
    return [module for module in transformer.modules() if isinstance(module, BaseTunerLayer | ModulesToSaveWrapper)]


def _delete(transformer: PoseGenTransformer3DModel, name: str, previous: str | None) -> None:
    """Remove one adapter and switch back to the previous one; with the last one the wrappers are removed, too."""
    others = [other for other in adapter_names(transformer) if other != name]
    if others:
        use_adapter(transformer, others[0])
        delete_adapter(transformer, name, prefix="lora_", layer_cls=BaseTunerLayer)
        del transformer.peft_config[name]
        use_adapter(transformer, previous)
        return
    for parent in list(transformer.modules()):
        for key, module in list(parent.named_children()):
            if isinstance(module, BaseTunerLayer):
                setattr(parent, key, module.get_base_layer())
            elif isinstance(module, ModulesToSaveWrapper):
                setattr(parent, key, module.original_module)
    forget_adapters(transformer)


def forget_adapters(transformer: PoseGenTransformer3DModel) -> None:
    """Remove the attributes of peft and diffusers from a transformer whose layers no longer have adapters."""
    del transformer.peft_config
    transformer._hf_peft_config_loaded = False
    transformer.requires_grad_(True)
