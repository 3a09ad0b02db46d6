"""Runs ViTPose and ViTPose++ from transformers, with a person detector.

The hub's `usyd-community` models have COCO's 17 points; whole-body models have 133. The latter exist as the authors'
checkpoints (`...wholebody.pth`), which are supported, too: the same weights under other names.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import VitPoseBackboneConfig, VitPoseConfig, VitPoseForPoseEstimation

from posegen.conditions.estimators.detector import PersonDetector
from posegen.conditions.estimators.layouts import layout_of_count
from posegen.conditions.estimators.model_weights import DEFAULTS, identity, load_model, preprocessing
from posegen.conditions.estimators.top_down import IMAGENET_MEAN, IMAGENET_STD, Normalisation, TopDownPose
from posegen.devices import choose_device
from posegen.errors import PosegenError
from posegen.types import Frame

_OPTION = "--pose-weights"
_EXPERTS = {17: 0, 133: 5}
"""Index of the data set whose expert layers ViTPose++ uses, by number of points: COCO, COCO-WholeBody."""
_HEADS = {384: 12, 768: 12, 1024: 16, 1280: 16}
"""Attention heads by width of the authors' sizes (small, base, large, huge), which the weights do not contain."""


def vitpose(
    weights: str | None = None, detector: str | None = None, device: str = "auto", batch_size: int = 8
) -> TopDownPose:
    """Load a `PoseEstimator`; `weights` is a model folder, a hub name, or a .pth file of the authors."""
    name = weights or DEFAULTS["vitpose"]
    mean, std = IMAGENET_MEAN, IMAGENET_STD
    model: Any
    if Path(name).suffix in (".pth", ".pt"):
        model = read_checkpoint(Path(name)).eval().to(choose_device(device))
    else:
        model, folder = load_model(VitPoseForPoseEstimation, name, _OPTION, device)
        settings = preprocessing(folder)
        mean, std = settings.get("image_mean", mean), settings.get("image_std", std)
    points = model.config.num_labels
    layout = layout_of_count(points, f"{_OPTION} {name}")
    normalisation = Normalisation(tuple(mean), tuple(std))
    experts = model.config.backbone_config.num_experts

    def heatmaps(pictures: Sequence[Frame]) -> torch.Tensor:
        pixels = normalisation.apply(pictures, model.device, model.dtype)
        expert = torch.full((len(pixels),), _EXPERTS.get(points, 0), device=model.device) if experts > 1 else None
        return model(pixels, dataset_index=expert).heatmaps

    shape = tuple(model.config.backbone_config.image_size)
    return TopDownPose("vitpose", identity(name), PersonDetector(detector, device), heatmaps, shape, layout, batch_size)


def read_checkpoint(path: Path) -> VitPoseForPoseEstimation:
    """Convert the authors' checkpoint of one data set (state dict of mmpose) to a transformers model.

    Sizes are inferred from the weights' shapes. Raises `PosegenError` for another kind of file.
    """
    if not path.is_file():
        raise PosegenError(
            f"{_OPTION} {path}: there is no such file; ViTPose's whole-body checkpoints (vitpose-b-wholebody.pth ...) "
            "are linked from github.com/ViTAE-Transformer/ViTPose"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        state = content.get("state_dict", content)
        hidden_size = state["backbone.pos_embed"].shape[-1]
        layers = 1 + max(int(name.split(".")[2]) for name in state if name.startswith("backbone.blocks."))
        backbone: dict[str, Any] = {
            "hidden_size": hidden_size,
            "num_hidden_layers": layers,
            "num_attention_heads": _HEADS.get(hidden_size, hidden_size // 64),
            "mlp_ratio": state["backbone.blocks.0.mlp.fc1.weight"].shape[0] // hidden_size,
            "out_indices": [layers],
        }
        head: dict[str, Any] = {
            "num_labels": state["keypoint_head.final_layer.weight"].shape[0],
            "use_simple_decoder": "keypoint_head.deconv_layers.0.weight" not in state,
        }
        model = VitPoseForPoseEstimation(VitPoseConfig(backbone_config=VitPoseBackboneConfig(**backbone), **head))
        model.load_state_dict(_renamed(state, model.config.use_simple_decoder))
    except Exception as error:  # files of other kinds raise errors of any type
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise PosegenError(f"{_OPTION} {path} is not a ViTPose checkpoint of one data set ({reason})") from None
    return model


def _renamed(state: dict[str, torch.Tensor], simple_decoder: bool) -> dict[str, torch.Tensor]:
    """Rename weights from the authors' names to those of transformers."""
    heads = {"final_layer": "conv"}
    if not simple_decoder:
        heads |= {
            "deconv_layers.0": "deconv1",
            "deconv_layers.1": "batchnorm1",
            "deconv_layers.3": "deconv2",
            "deconv_layers.4": "batchnorm2",
        }
    layer = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "attn.proj": "attention.output.dense",
    }
    renamed = {}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == "keypoint_head":
            old = next(old for old in heads if rest.startswith(old + "."))
            renamed[f"head.{heads[old]}.{rest[len(old) + 1 :]}"] = value
        elif rest == "pos_embed":
            renamed["backbone.embeddings.position_embeddings"] = value
        elif rest.startswith("patch_embed.proj."):
            renamed["backbone.embeddings.patch_embeddings.projection." + rest.rsplit(".", 1)[1]] = value
        elif rest.startswith("last_norm."):
            renamed["backbone.layernorm." + rest.rsplit(".", 1)[1]] = value
        elif rest.startswith("blocks."):
            _, number, *inside, kind = rest.split(".")
            place = f"backbone.encoder.layer.{number}."
            if inside == ["attn", "qkv"]:
                for target, third in zip(("query", "key", "value"), value.chunk(3), strict=True):
                    renamed[f"{place}attention.attention.{target}.{kind}"] = third
            else:
                renamed[f"{place}{layer['.'.join(inside)]}.{kind}"] = value
    return renamed
