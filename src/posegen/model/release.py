"""Converts weight names and settings of the published PoseGen checkpoints to diffusers' conventions.

Pure functions of names and dictionaries; files are read in `loading.py`, modules are built in `transformer.py`.
The published naming is that of the original Wan release, with `ref_patch_embedding` and `hand_patch_embedding`
added, everything behind `pipe.dit.`, and LoRA-wrapped linears as `….base_layer.weight` with
`….lora_A.default.weight` and `….lora_B.default.weight` (rank equal to alpha, so scale 1).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from posegen.errors import PosegenError

PREFIX = "pipe.dit."

_RENAMES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in [
        (r"^head\.head\.", "proj_out."),
        (r"^head\.modulation$", "scale_shift_table"),
        (r"^ref_patch_embedding\.", "reference_patch_embedding."),
        (r"^hand_patch_embedding\.0\.", "hand_patch_embedding."),
        (r"^hand_patch_embedding\.1\.", "hand_projection."),
        (r"^text_embedding\.0\.", "condition_embedder.text_embedder.linear_1."),
        (r"^text_embedding\.2\.", "condition_embedder.text_embedder.linear_2."),
        (r"^time_embedding\.0\.", "condition_embedder.time_embedder.linear_1."),
        (r"^time_embedding\.2\.", "condition_embedder.time_embedder.linear_2."),
        (r"^time_projection\.1\.", "condition_embedder.time_proj."),
        (r"^img_emb\.proj\.0\.", "condition_embedder.image_embedder.norm1."),
        (r"^img_emb\.proj\.1\.", "condition_embedder.image_embedder.ff.net.0.proj."),
        (r"^img_emb\.proj\.3\.", "condition_embedder.image_embedder.ff.net.2."),
        (r"^img_emb\.proj\.4\.", "condition_embedder.image_embedder.norm2."),
        (r"^(blocks\.\d+\.)self_attn\.", r"\1attn1."),
        (r"^(blocks\.\d+\.)cross_attn\.", r"\1attn2."),
        (r"^(blocks\.\d+\.attn[12]\.)([qkv])\.", r"\1to_\2."),
        (r"^(blocks\.\d+\.attn[12]\.)o\.", r"\1to_out.0."),
        (r"^(blocks\.\d+\.attn2\.)([kv])_img\.", r"\1add_\2_proj."),
        (r"^(blocks\.\d+\.attn2\.)norm_k_img\.", r"\1norm_added_k."),
        (r"^(blocks\.\d+\.)ffn\.0\.", r"\1ffn.net.0.proj."),
        (r"^(blocks\.\d+\.)ffn\.2\.", r"\1ffn.net.2."),
        (r"^(blocks\.\d+\.)norm3\.", r"\1norm2."),
        (r"^(blocks\.\d+\.)modulation$", r"\1scale_shift_table"),
    ]
]

_NEEDED = {"in_dim", "out_dim", "text_dim", "freq_dim", "eps", "patch_size", "has_image_input"}
_NEEDED |= {"dim", "ffn_dim", "num_heads", "num_layers"}
_OPTIONAL = {"has_image_pos_emb", "shift_ref_pos", "use_hand", "use_hand_proj", "kvshare_kwargs"}
_IMAGE_FEATURES = 1280  # CLIP ViT-H, fixed in the published code


def release_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return constructor arguments of `PoseGenTransformer3DModel` for a published `model_config.json`.

    Raises:
        PosegenError: a setting is missing, unknown, or not used by PoseGen.
    """
    missing = sorted(_NEEDED - set(config))
    unknown = sorted(set(config) - _NEEDED - _OPTIONAL)
    if missing or unknown:
        raise PosegenError(
            f"model_config.json of a published PoseGen checkpoint: missing {missing or 'nothing'}, "
            f"unknown {unknown or 'nothing'}"
        )
    if config.get("has_image_pos_emb", False):
        raise PosegenError(
            "has_image_pos_emb = true (first-and-last-frame checkpoint) is not supported: use an I2V checkpoint"
        )
    dim, heads = int(config["dim"]), int(config["num_heads"])
    has_image = bool(config["has_image_input"])
    hand = config.get("use_hand", False)
    return {
        "patch_size": tuple(config["patch_size"]),
        "num_attention_heads": heads,
        "attention_head_dim": dim // heads,
        "in_channels": config["in_dim"],
        "out_channels": config["out_dim"],
        "text_dim": config["text_dim"],
        "freq_dim": config["freq_dim"],
        "ffn_dim": config["ffn_dim"],
        "num_layers": config["num_layers"],
        "eps": config["eps"],
        "image_dim": _IMAGE_FEATURES if has_image else None,
        "added_kv_proj_dim": dim if has_image else None,
        "hand_embedding": ("projected" if config.get("use_hand_proj", False) else "plain") if hand else "none",
        "shift_reference": bool(config.get("shift_ref_pos", False)),
    }


def release_name(name: str) -> str:
    """Return the diffusers name of a published weight; unknown names are returned unchanged."""
    name = name.removeprefix(PREFIX)
    for pattern, replacement in _RENAMES:
        name = pattern.sub(replacement, name)
    return name


def split_release_state_dict(
    state_dict: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Split a published state dict into base weights and LoRA weights, with diffusers' and peft's names.

    LoRA weights are returned as `<module>.lora_A.weight` and `<module>.lora_B.weight`.
    """
    base: dict[str, torch.Tensor] = {}
    lora: dict[str, torch.Tensor] = {}
    for name, tensor in state_dict.items():
        renamed = release_name(name)
        if ".lora_" in renamed:
            lora[re.sub(r"\.lora_([AB])\.(?:\w+\.)?weight$", r".lora_\1.weight", renamed)] = tensor
        else:
            base[renamed.replace(".base_layer.", ".")] = tensor
    return base, lora


def merge_lora_weights(
    base: dict[str, torch.Tensor], lora: Mapping[str, torch.Tensor], scale: float = 1.0
) -> dict[str, torch.Tensor]:
    """Compute `base + scale · B A` for every LoRA-wrapped weight, added in float32 and rounded once.

    Raises:
        PosegenError: a LoRA pair is incomplete, misshapen, or without a base weight.
    """
    modules = sorted({name.rsplit(".lora_", 1)[0] for name in lora})
    merged = dict(base)
    for module in modules:
        down, up = lora.get(f"{module}.lora_A.weight"), lora.get(f"{module}.lora_B.weight")
        weight = merged.get(f"{module}.weight")
        if down is None or up is None or weight is None:
            absent = "lora_A" if down is None else "lora_B" if up is None else "its base weight"
            raise PosegenError(f"LoRA of {module}: {absent} is missing from the checkpoint")
        if (up.shape[0], down.shape[1]) != tuple(weight.shape) or up.shape[1] != down.shape[0]:
            raise PosegenError(
                f"LoRA of {module}: B {tuple(up.shape)} · A {tuple(down.shape)} does not fit {tuple(weight.shape)}"
            )
        merged[f"{module}.weight"] = (weight.float() + scale * (up.float() @ down.float())).to(weight.dtype)
    return merged


def check_weights(
    expected: Mapping[str, Iterable[int]], found: Mapping[str, Iterable[int]], source: str, show: int = 5
) -> None:
    """Compare names and shapes of weights.

    Raises:
        PosegenError: names the first few weights that are missing, extra or misshapen in `source`.
    """
    missing = sorted(set(expected) - set(found))
    extra = sorted(set(found) - set(expected))
    misshapen = [
        f"{name} {tuple(found[name])} instead of {tuple(expected[name])}"
        for name in sorted(set(expected) & set(found))
        if tuple(expected[name]) != tuple(found[name])
    ]
    problems = [
        f"{len(names)} {kind} ({', '.join(names[:show])}{', …' if len(names) > show else ''})"
        for kind, names in (("missing", missing), ("extra", extra), ("misshapen", misshapen))
        if names
    ]
    if problems:
        raise PosegenError(f"{source} does not fit the model: {'; '.join(problems)}")
