"""Tiny random models of the real classes, saved as a user would have them on disk."""

import json
import warnings

import torch
from transformers import (
    DFineConfig,
    DFineForObjectDetection,
    HGNetV2Config,
    RTDetrConfig,
    RTDetrForObjectDetection,
    RTDetrResNetConfig,
    Sapiens2Config,
    Sapiens2ForNormalEstimation,
    Sapiens2ForPoseEstimation,
    Sapiens2ForSemanticSegmentation,
    VitPoseBackboneConfig,
    VitPoseConfig,
    VitPoseForPoseEstimation,
)

SAPIENS_SHAPE = (64, 48)
"""Input of the tiny Sapiens2 models."""
LABELS = {0: "person", 1: "bicycle", 2: "car"}


def _detector_parts():
    return {
        "d_model": 32, "encoder_hidden_dim": 32, "encoder_in_channels": [32, 48, 64], "decoder_in_channels": [32] * 3,
        "encoder_ffn_dim": 32, "decoder_ffn_dim": 32, "num_queries": 6, "decoder_layers": 2, "encoder_layers": 1,
        "encoder_attention_heads": 2, "decoder_attention_heads": 2, "num_denoising": 0, "id2label": LABELS,
        "label2id": {name: index for index, name in LABELS.items()}, "anchor_image_size": None, "num_feature_levels": 3,
    }  # fmt: skip


def rt_detr(folder):
    torch.manual_seed(0)
    backbone = RTDetrResNetConfig(
        embedding_size=8, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1],
        out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    model = RTDetrForObjectDetection(RTDetrConfig(backbone_config=backbone, **_detector_parts())).eval()
    return _save(model, folder, {"size": {"height": 64, "width": 64}, "do_normalize": False})


def d_fine(folder):
    torch.manual_seed(0)
    backbone = HGNetV2Config(
        embedding_size=8, hidden_sizes=[16, 32, 48, 64], depths=[1] * 4, stem_channels=[3, 8, 8],
        stage_in_channels=[8, 16, 32, 48], stage_mid_channels=[8] * 4, stage_out_channels=[16, 32, 48, 64],
        stage_num_blocks=[1] * 4, stage_numb_of_layers=[1] * 4, stage_downsample=[False, True, True, True],
        stage_light_block=[False] * 4, stage_kernel_size=[3] * 4, out_features=["stage2", "stage3", "stage4"],
    )  # fmt: skip
    model = DFineForObjectDetection(DFineConfig(backbone_config=backbone, **_detector_parts())).eval()
    return _save(model, folder, {"size": {"height": 64, "width": 64}, "do_normalize": False})


def vitpose_model(points=133, experts=1, simple=True):
    torch.manual_seed(0)
    backbone = VitPoseBackboneConfig(
        hidden_size=64, num_hidden_layers=1, num_attention_heads=1, mlp_ratio=2, out_indices=[1],
        num_experts=experts, part_features=16 if experts > 1 else 0,
    )  # fmt: skip
    return VitPoseForPoseEstimation(
        VitPoseConfig(backbone_config=backbone, num_labels=points, use_simple_decoder=simple)
    ).eval()


def vitpose(folder, **options):
    return _save(vitpose_model(**options), folder, {"size": {"height": 256, "width": 192}})


def _sapiens(num_labels, **options):
    torch.manual_seed(0)
    return Sapiens2Config(
        hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, num_register_tokens=2,
        num_key_value_heads_per_layer=[2], image_size=list(SAPIENS_SHAPE), patch_size=16, num_labels=num_labels,
        head_config={"upsample_out_channels": [16], "conv_out_channels": [16]}, **options,
    )  # fmt: skip


def sapiens2_pose(folder, **options):
    return _save(Sapiens2ForPoseEstimation(_sapiens(308, **options)).eval(), folder, _sapiens_input())


def sapiens2_normals(folder):
    return _save(Sapiens2ForNormalEstimation(_sapiens(3)).eval(), folder, _sapiens_input())


def sapiens2_parts(folder, **options):
    return _save(Sapiens2ForSemanticSegmentation(_sapiens(29, **options)).eval(), folder, _sapiens_input())


def _sapiens_input():
    return {"size": dict(zip(("height", "width"), SAPIENS_SHAPE, strict=True))}


def _save(model, folder, preprocessing):
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps(preprocessing))
    return folder


class ColourFinder(torch.nn.Module):
    """Heat maps (people, colours, h/4, w/4): high where the picture has the colour, for Sapiens-1's TorchScript."""

    def __init__(self, colours):
        super().__init__()
        mean, std = torch.tensor([123.5, 116.5, 103.5]), torch.tensor([58.5, 57.0, 57.5])
        self.register_buffer("colours", (torch.tensor(colours) - mean) / std)

    def forward(self, pixels):
        distance = (pixels[:, None] - self.colours[None, :, :, None, None]).square().sum(dim=2)
        return torch.nn.functional.avg_pool2d(torch.exp(-4 * distance), 4)


class ColourNormals(torch.nn.Module):
    """The picture's colours as normals: (n + 1) / 2 · 255."""

    def forward(self, pixels):
        mean, std = torch.tensor([123.5, 116.5, 103.5]), torch.tensor([58.5, 57.0, 57.5])
        return (pixels * std.view(1, 3, 1, 1) + mean.view(1, 3, 1, 1)) / 127.5 - 1


class BluePixelsAreHands(torch.nn.Module):
    """Scores of 28 body parts: the left hand where the picture is blue, else background."""

    def forward(self, pixels):
        scores = torch.zeros(pixels.shape[0], 28, pixels.shape[2], pixels.shape[3])
        scores[:, 5] = pixels[:, 2]
        return scores


def torchscript(path, module):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path
