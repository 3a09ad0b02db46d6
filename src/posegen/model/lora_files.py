"""Adds LoRA files of other trainers to a transformer's weights: diffusers, peft, kohya, musubi, DiffSynth.

Each trainer names layers and writes alpha in its own way; here they become changes of the model's linear layers, which
are summed in float64 and added to the weights once. The model is therefore as fast as without them, its own adapters
(`base`, `stitch`) switch as before, and the order of files does not matter. Adapters trained by posegen are in
`lora.py`. LoKr, LoHa and DoRA are not supported.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from peft.tuners.tuners_utils import BaseTunerLayer
from safetensors import safe_open
from torch import Tensor, nn

from posegen.digests import file_digest
from posegen.errors import PosegenError
from posegen.media.data_files import parse_json, read_json_object
from posegen.media.tensors import check_header
from posegen.model.release import release_name
from posegen.model.transformer import PoseGenTransformer3DModel

IN_FOLDERS = ("pytorch_lora_weights.safetensors", "adapter_model.safetensors")
"""File names of a LoRA in a folder, of diffusers and of peft."""
_PICKLED = {".pt", ".pth", ".bin", ".ckpt"}
_SHOWN = 4
_PREFIXES = ("base_model.model.", "transformer.", "diffusion_model.", "pipe.dit.", "dit.", "model.", "module.")
_FLAT = ("lora_unet_", "lora_transformer_", "lora_dit_")
"""Prefixes of names in which every dot became an underscore, in files of kohya's trainers."""
_ROLES = [
    (re.compile(pattern), role)
    for pattern, role in [
        (r"\.lora_A(?:\.\w+)?\.weight$|\.lora_down\.weight$|\.lora\.down\.weight$", "down"),
        (r"\.lora_B(?:\.\w+)?\.weight$|\.lora_up\.weight$|\.lora\.up\.weight$", "up"),
        (r"\.alpha$", "alpha"),
        (r"\.diff$", "weight"),
        (r"\.diff_b$", "bias"),
    ]
]
_UNFLAT = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"^blocks_(\d+)_(self_attn|cross_attn)_(.+)$", r"blocks.\1.\2.\3"),
        (r"^blocks_(\d+)_ffn_(\d+)$", r"blocks.\1.ffn.\2"),
        (r"^(text_embedding|time_embedding|time_projection)_(\d+)$", r"\1.\2"),
        (r"^img_emb_proj_(\d+)$", r"img_emb.proj.\1"),
        (r"^head_head$", "head.head"),
    ]
]


@dataclass(frozen=True)
class Lora:
    """LoRA file, or a folder with one, and its strength: 1 as trained, 0 without effect."""

    path: Path
    strength: float = 1.0

    @cached_property
    def file(self) -> Path:
        """Path of the file. Raises `PosegenError` if there is none."""
        if self.path.is_dir():
            found = [self.path / name for name in IN_FOLDERS if (self.path / name).is_file()]
            if not found:
                raise PosegenError(f"--lora {self.path}: the folder holds no {' or '.join(IN_FOLDERS)}")
            return found[0]
        if not self.path.is_file():
            raise PosegenError(f"--lora {self.path}: no such file")
        return self.path

    @cached_property
    def identity(self) -> tuple[str, float]:
        """Digest of the content, and the strength, on which a result depends."""
        beside = self.file.with_name("adapter_config.json")
        digest = file_digest(self.file)
        return (f"{digest} {file_digest(beside)}" if beside.is_file() else digest), self.strength


@dataclass
class Change:
    """Change of one layer in a file."""

    down: Tensor | None = None
    up: Tensor | None = None
    alpha: Tensor | None = None
    weight: Tensor | None = None
    bias: Tensor | None = None
    keys: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Scales:
    """Alpha of layers without their own, from the file's metadata; None if it is not given."""

    alpha: float | None = None
    patterns: Mapping[str, float] = field(default_factory=dict)
    rank_stabilised: bool = False

    def scale(self, change: Change, names: Iterable[str], rank: int) -> float:
        """Return the factor of up · down: alpha / rank, or alpha / sqrt(rank) for rank-stabilised LoRA."""
        alpha = self._alpha(change, names)
        alpha = float(rank) if alpha is None else alpha
        return alpha / (math.sqrt(rank) if self.rank_stabilised else rank)

    def _alpha(self, change: Change, names: Iterable[str]) -> float | None:
        if change.alpha is not None:
            return float(change.alpha.double())
        for name in names:
            for pattern, alpha in self.patterns.items():
                if re.fullmatch(rf"(.*\.)?({pattern})", name):
                    return float(alpha)
        return self.alpha


def layers_of(transformer: PoseGenTransformer3DModel) -> dict[str, nn.Module]:
    """Return the layers that can be changed, by their names without adapters: all with a weight that Wan has, too."""
    layers: dict[str, nn.Module] = {}
    for name, module in transformer.named_modules():
        if isinstance(module, BaseTunerLayer):
            layers[name] = module.get_base_layer()
        elif isinstance(getattr(module, "weight", None), nn.Parameter) and not re.search(
            r"\.(base_layer|lora_[AB]|original_module|modules_to_save)(\.|$)", name
        ):
            layers[name] = module
    return layers


def describe(lora: Lora, transformer: PoseGenTransformer3DModel) -> str:
    """Describe in one line what a file changes; the transformer may be on the meta device.

    Raises `PosegenError` for a file that is not a LoRA of this model.
    """
    changes, scales = _read(lora, layers_of(transformer))
    ranks = sorted({change.down.shape[0] for change in changes.values() if change.down is not None})
    rank = " to ".join(str(each) for each in dict.fromkeys((ranks[0], ranks[-1]))) if ranks else "full"
    if any(change.alpha is not None for change in changes.values()):
        alpha = "alpha of each layer"
    else:
        alpha = "no alpha is written: taken as the rank" if scales.alpha is None else f"alpha {scales.alpha:g}"
    return f"{lora.file.name}, strength {lora.strength:g}: {len(changes)} layers, rank {rank}, {alpha}"


@torch.no_grad()
def add_loras(transformer: PoseGenTransformer3DModel, loras: Sequence[Lora]) -> None:
    """Add the files to the transformer's own weights, in place: weight + sum of strength · alpha / rank · up · down.

    The sum is computed in float64, in an order independent of the files' order, and rounded once. Raises `PosegenError`
    for a file that is not a LoRA of this model; the weights are changed only after all files were read.
    """
    layers = layers_of(transformer)
    used = sorted((lora for lora in loras if lora.strength != 0), key=lambda lora: lora.identity)
    read = [(lora, *_read(lora, layers)) for lora in used]
    for name, layer in layers.items():
        for part in ("weight", "bias"):
            deltas = [
                lora.strength * delta
                for lora, changes, scales in read
                if name in changes and (delta := _delta(changes[name], scales, name, part)) is not None
            ]
            if deltas:
                parameter = getattr(layer, part)
                total = sum(deltas[1:], start=deltas[0]).reshape(parameter.shape).to(parameter.device)
                parameter.data = (parameter.data.double() + total).to(parameter.dtype)


def _delta(change: Change, scales: Scales, name: str, part: str) -> Tensor | None:
    """Compute the addition to a layer's weight or bias, in float64, of any shape."""
    if part == "bias":
        return None if change.bias is None else change.bias.double()
    delta = None if change.weight is None else change.weight.double()
    if change.down is not None and change.up is not None:
        rank = change.down.shape[0]
        product = change.up.double().flatten(1) @ change.down.double().flatten(1)
        product = product * scales.scale(change, _names_of(change, name), rank)
        delta = product if delta is None else delta.reshape(product.shape) + product
    return delta


def _names_of(change: Change, name: str) -> list[str]:
    return [name, *(re.sub(r"\.(lora_|lora\.).*$", "", key) for key in change.keys)]


def _read(lora: Lora, layers: Mapping[str, nn.Module]) -> tuple[dict[str, Change], Scales]:
    """Read the changes of a file by layer. Raises `PosegenError` if a key or a shape does not fit."""
    tensors, described = _tensors(lora.file)
    flat = {name.replace(".", "_"): name for name in layers}
    changes: dict[str, Change] = {}
    unmatched: list[str] = []
    for key, tensor in tensors.items():
        role, stem = _role(key)
        name = None if role is None else _layer_name(stem, layers, flat)
        if name is None or role is None or (role == "bias" and getattr(layers[name], "bias", None) is None):
            unmatched.append(key)
            continue
        change = changes.setdefault(name, Change())
        if getattr(change, role) is not None:
            raise PosegenError(f"--lora {lora.path}: two keys are for {role} of {name} ({key}, {change.keys[-1]})")
        setattr(change, role, tensor)
        change.keys.append(key)
    if unmatched:
        shown = ", ".join(unmatched[:_SHOWN]) + (", ..." if len(unmatched) > _SHOWN else "")
        kinds = [word for word in ("lokr", "hada", "dora_scale") if any(word in key for key in unmatched)]
        why = (
            f"{' and '.join(kinds)}: not a plain LoRA"
            if kinds
            else "it was made for another model, or another part of one"
        )
        raise PosegenError(
            f"--lora {lora.path}: {len(unmatched)} of {len(tensors)} keys match nothing ({shown}): {why}"
        )
    if not changes:
        raise PosegenError(f"--lora {lora.path}: the file holds no weights")
    for name, change in changes.items():
        _check(change, layers[name], name, lora)
    return changes, _scales(described, lora.file)


def _check(change: Change, layer: nn.Module, name: str, lora: Lora) -> None:
    """Raise `PosegenError` unless a change is complete and has the layer's shape."""
    weight: Any = layer.weight
    if (change.down is None) != (change.up is None):
        raise PosegenError(f"--lora {lora.path}: {name} has only one of its two matrices ({change.keys[0]})")
    if change.down is not None and change.up is not None:
        down, up = tuple(change.down.shape), tuple(change.up.shape)
        fits = len(down) > 1 and len(up) > 1 and up[1] == down[0] and math.prod(up[1:]) == up[1]
        if not fits or (up[0], math.prod(down[1:])) != (weight.shape[0], math.prod(weight.shape[1:])):
            raise PosegenError(
                f"--lora {lora.path} does not fit the model: {name} is {tuple(weight.shape)}, and the file's matrices "
                f"are {up} and {down}"
            )
    for part in ("weight", "bias"):
        given, own = getattr(change, part), getattr(layer, part, None)
        if given is not None and own is not None and given.numel() != own.numel():
            raise PosegenError(
                f"--lora {lora.path} does not fit the model: {part} of {name} is {tuple(own.shape)}, not "
                f"{tuple(given.shape)}"
            )
    if change.alpha is not None and (change.alpha.numel() != 1 or not math.isfinite(float(change.alpha))):
        raise PosegenError(f"--lora {lora.path}: alpha of {name} is not a number")


def _role(key: str) -> tuple[str | None, str]:
    """Split a key into the role of its tensor and the layer's name in the file."""
    for pattern, role in _ROLES:
        if match := pattern.search(key):
            return role, key[: match.start()]
    return None, key


def _layer_name(stem: str, layers: Mapping[str, nn.Module], flat: Mapping[str, str]) -> str | None:
    """Return the model's name of a layer; None if the model has no such layer."""
    for prefix in _FLAT:
        if stem.startswith(prefix):
            stem = stem.removeprefix(prefix)
            if stem in flat:
                return flat[stem]
            for pattern, replacement in _UNFLAT:
                stem = pattern.sub(replacement, stem)
            break
    while part := next((each for each in _PREFIXES if stem.startswith(each)), None):
        stem = stem.removeprefix(part)
    names = (stem, release_name(f"{stem}.").removesuffix("."))
    return next((name for name in names if name in layers), None)


def _tensors(file: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """Read tensors and metadata of a file without running code in it. Raises `PosegenError`."""
    try:
        if file.suffix in _PICKLED:
            content = torch.load(file, map_location="cpu", weights_only=True)
            content = content.get("state_dict", content) if isinstance(content, dict) else None
            if not isinstance(content, dict) or not all(isinstance(each, Tensor) for each in content.values()):
                raise ValueError("no dictionary of weights")
            return content, {}
        check_header(file)
        with safe_open(file, framework="pt") as opened:
            return {key: opened.get_tensor(key) for key in opened.keys()}, opened.metadata() or {}  # noqa: SIM118
    except Exception as error:  # pickles have errors of any kind
        raise PosegenError(f"--lora {file}: cannot be read as weights ({str(error).splitlines()[0]})") from error


def _scales(described: Mapping[str, str], file: Path) -> Scales:
    """Read alpha from a file's metadata, or from peft's adapter_config.json beside it. Raises `PosegenError`."""
    beside = file.with_name("adapter_config.json")
    try:
        if LORA_ADAPTER_METADATA_KEY in described:
            settings = parse_json(described[LORA_ADAPTER_METADATA_KEY], f"--lora {file}", "a description of a LoRA")
            parts = {key.removeprefix("transformer."): value for key, value in settings.items()}
        elif beside.is_file():
            parts = read_json_object(beside, "a description of a LoRA")
        elif "ss_network_alpha" in described and described["ss_network_alpha"] not in ("None", ""):
            parts = {"lora_alpha": float(described["ss_network_alpha"])}
        else:
            return Scales()
        alpha, patterns = parts.get("lora_alpha"), parts.get("alpha_pattern") or {}
        if parts.get("use_dora"):
            raise PosegenError(f"--lora {file}: DoRA is not supported, only plain LoRA")
        scales = Scales(
            None if alpha is None else float(alpha),
            {str(key).removeprefix("transformer."): float(value) for key, value in patterns.items()},
            bool(parts.get("use_rslora", False)),
        )
    except PosegenError:
        raise
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PosegenError(f"--lora {file}: its description of alpha cannot be read ({error})") from None
    if not all(math.isfinite(value) for value in (scales.alpha or 0.0, *scales.patterns.values())):
        raise PosegenError(f"--lora {file}: its alpha is not a number")
    return scales
