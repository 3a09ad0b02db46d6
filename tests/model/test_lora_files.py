"""LoRA files of other trainers: every way to write one gives the same weights, and sums are as algebra says."""

import copy
import json
import math
import re

import pytest
import torch
from diffusers.loaders.lora_base import LORA_ADAPTER_METADATA_KEY
from safetensors.torch import save_file
from tiny_transformer import CONFIG, predict, randomise

from posegen.errors import PosegenError
from posegen.model.lora import TARGETS, add_adapter, use_adapter
from posegen.model.lora_files import Lora, add_loras, describe, layers_of
from posegen.model.transformer import PoseGenTransformer3DModel

RANK, ALPHA = 4, 8.0  # twice: exact also where it is in the matrices themselves
RELEASE = [
    (r"attn1\.to_([qkv])$", r"self_attn.\1"),
    (r"attn2\.to_([qkv])$", r"cross_attn.\1"),
    (r"attn1\.to_out\.0$", "self_attn.o"),
    (r"attn2\.to_out\.0$", "cross_attn.o"),
    (r"attn2\.add_([kv])_proj$", r"cross_attn.\1_img"),
    (r"ffn\.net\.0\.proj$", "ffn.0"),
    (r"ffn\.net\.2$", "ffn.2"),
]


def release(name):
    for pattern, replacement in RELEASE:
        name = re.sub(pattern, replacement, name)
    return name


@pytest.fixture
def pairs(model):
    """Matrices (down, up) for every linear layer of the blocks."""
    return make_pairs(model, 3)


def make_pairs(model, seed, rank=RANK):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (
            0.1 * torch.randn(rank, layer.weight.shape[1], generator=generator),
            0.1 * torch.randn(layer.weight.shape[0], rank, generator=generator),
        )
        for name, layer in layers_of(model).items()
        if name.startswith("blocks.") and name.endswith(TARGETS)
    }


def diffusers_file(path, pairs, alpha=ALPHA, patterns=None, **more):
    weights = {}
    for name, (down, up) in pairs.items():
        weights |= {f"transformer.{name}.lora_A.weight": down, f"transformer.{name}.lora_B.weight": up}
    settings = {"r": RANK, "lora_alpha": alpha, "alpha_pattern": patterns or {}, **more}
    described = json.dumps({f"transformer.{key}": value for key, value in settings.items()})
    save_file(weights, path, {"format": "pt", LORA_ADAPTER_METADATA_KEY: described})


def peft_folder(path, pairs):
    folder = path.with_suffix("")
    folder.mkdir()
    weights = {}
    for name, (down, up) in pairs.items():
        stem = f"base_model.model.{name}"
        weights |= {f"{stem}.lora_A.weight": down, f"{stem}.lora_B.weight": up}
    save_file(weights, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"r": RANK, "lora_alpha": ALPHA}))
    return folder


def kohya_file(path, pairs, name_of=release, prefix="lora_unet_"):
    weights = {}
    for name, (down, up) in pairs.items():
        stem = prefix + name_of(name).replace(".", "_")
        weights |= {
            f"{stem}.lora_down.weight": down,
            f"{stem}.lora_up.weight": up,
            f"{stem}.alpha": torch.tensor(ALPHA),
        }
    save_file(weights, path)


def comfy_file(path, pairs):
    weights = {}
    for name, (down, up) in pairs.items():
        stem = f"diffusion_model.{release(name)}"
        weights |= {
            f"{stem}.lora_down.weight": down,
            f"{stem}.lora_up.weight": up,
            f"{stem}.alpha": torch.tensor(ALPHA),
        }
    save_file(weights, path)


def diffsynth_file(path, pairs, suffix=".default"):
    """Bare names of the original release, and no alpha: the rank."""
    scale = ALPHA / RANK
    weights = {}
    for name, (down, up) in pairs.items():
        weights |= {
            f"{release(name)}.lora_A{suffix}.weight": down,
            f"{release(name)}.lora_B{suffix}.weight": scale * up,
        }
    save_file(weights, path)


def pickled_file(path, pairs):
    weights = {}
    for name, (down, up) in pairs.items():
        weights |= {f"{name}.lora.down.weight": down, f"{name}.lora.up.weight": ALPHA / RANK * up}
    torch.save({"state_dict": weights}, path.with_suffix(".ckpt"))
    return path.with_suffix(".ckpt")


def metadata_file(path, pairs):
    weights = {}
    for name, (down, up) in pairs.items():
        weights |= {f"{release(name)}.lora_A.weight": down, f"{release(name)}.lora_B.weight": up}
    save_file(weights, path, {"ss_network_alpha": str(ALPHA), "ss_network_dim": str(RANK)})


WRITERS = {
    "diffusers": diffusers_file,
    "peft": peft_folder,
    "kohya, musubi": kohya_file,
    "kohya with diffusers' names": lambda path, pairs: kohya_file(path, pairs, lambda name: name),
    "ComfyUI": comfy_file,
    "DiffSynth": diffsynth_file,
    "DiffSynth without an adapter's name": lambda path, pairs: diffsynth_file(path, pairs, ""),
    "a checkpoint": pickled_file,
    "alpha in the description": metadata_file,
}


def merged(model, *loras):
    changed = copy.deepcopy(model)
    add_loras(changed, loras)
    return {name: layer.weight.detach() for name, layer in layers_of(changed).items()}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("strength", [1.0, -0.5])
def test_merged_is_base_plus_strength_alpha_over_rank_times_the_product(model, pairs, tmp_path, writer, strength):
    path = WRITERS[writer](tmp_path / "x.safetensors", pairs) or tmp_path / "x.safetensors"
    model = model.double()
    found = merged(model, Lora(path, strength))
    for name, layer in layers_of(model).items():
        expected = layer.weight.detach()
        if name in pairs:
            down, up = (matrix.double() for matrix in pairs[name])
            expected = expected + strength * ALPHA / RANK * (up @ down)
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-15)
    assert f"{len(pairs)} layers, rank {RANK}" in describe(Lora(path, strength), model)


def test_at_strength_0_nothing_changes_and_two_files_commute(model, pairs, tmp_path):
    diffusers_file(tmp_path / "a.safetensors", pairs)
    kohya_file(tmp_path / "b.safetensors", make_pairs(model, 4, rank=2))
    first, second = Lora(tmp_path / "a.safetensors", 0.7), Lora(tmp_path / "b.safetensors", -1.3)
    plain = merged(model)
    assert all(torch.equal(weight, plain[name]) for name, weight in merged(model, Lora(first.path, 0.0)).items())
    one, other = merged(model, first, second), merged(model, second, first)
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    alone = merged(model.double(), first)
    assert not torch.equal(one["blocks.0.attn1.to_q"], alone["blocks.0.attn1.to_q"].float())


def test_adapters_switch_over_the_changed_weights(model, inputs, pairs, tmp_path):
    """As if the model itself had been trained so: the adapters are added to whatever the base is."""
    diffusers_file(tmp_path / "x.safetensors", pairs)
    lora = Lora(tmp_path / "x.safetensors", 0.8)
    changed = copy.deepcopy(model)
    add_loras(changed, [lora])
    for each in (model, changed):
        for number, name in enumerate(("base", "stitch")):
            add_adapter(each, name, rank=3, alpha=3)
            generator = torch.Generator().manual_seed(number)
            with torch.no_grad():
                for key, parameter in each.named_parameters():
                    if f".{name}." in key:
                        parameter.copy_(0.05 * torch.randn(parameter.shape, generator=generator))
    add_loras(model, [lora])  # under adapters
    for name in ("base", "stitch", "base"):
        outputs = []
        for each in (model, changed):
            use_adapter(each, name, trainable=False)
            outputs.append(predict(each, inputs))
        assert torch.equal(*outputs)


def test_each_layer_may_have_its_own_rank_and_alpha(model, tmp_path):
    names = ["blocks.0.attn1.to_q", "blocks.1.ffn.net.2"]
    pairs = {names[0]: make_pairs(model, 1, 2)[names[0]], names[1]: make_pairs(model, 2, 5)[names[1]]}
    weights = {}
    for number, (name, (down, up)) in enumerate(pairs.items()):
        weights |= {f"{name}.lora_down.weight": down, f"{name}.lora_up.weight": up}
        weights[f"{name}.alpha"] = torch.tensor(1.0 + number)
    save_file(weights, tmp_path / "x.safetensors")
    model = model.double()
    found = merged(model, Lora(tmp_path / "x.safetensors"))
    for (name, (down, up)), scale in zip(pairs.items(), (1 / 2, 2 / 5), strict=True):
        expected = layers_of(model)[name].weight.detach() + scale * up.double() @ down.double()
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-15)


def test_alpha_patterns_and_rank_stabilised_files_are_read_as_written(model, pairs, tmp_path):
    diffusers_file(tmp_path / "x.safetensors", pairs, patterns={r"blocks.0.attn1.to_q": 10.0}, use_rslora=True)
    model = model.double()
    found = merged(model, Lora(tmp_path / "x.safetensors"))
    for name, alpha in (("blocks.0.attn1.to_q", 10.0), ("blocks.0.attn1.to_k", ALPHA)):
        down, up = (matrix.double() for matrix in pairs[name])
        expected = layers_of(model)[name].weight.detach() + alpha / math.sqrt(RANK) * up @ down
        torch.testing.assert_close(found[name], expected, rtol=0, atol=1e-15)


def test_differences_of_weights_and_biases_are_added(model, tmp_path):
    """As few-step LoRAs for Wan hold them beside the matrices."""
    name = "blocks.2.attn2.to_k"
    layer = layers_of(model)[name]
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(layer.weight.shape, generator=generator)
    bias, norm = torch.randn(layer.bias.shape, generator=generator), torch.randn(48, generator=generator)
    stem = "diffusion_model.blocks.2.cross_attn"
    weights = {f"{stem}.k.diff": weight, f"{stem}.k.diff_b": bias, f"{stem}.norm_k.diff": norm}
    save_file(weights, tmp_path / "x.safetensors")
    before = layer.weight.detach().clone(), layer.bias.detach().clone(), model.blocks[2].attn2.norm_k.weight.clone()
    add_loras(model, [Lora(tmp_path / "x.safetensors", 0.5)])
    torch.testing.assert_close(layer.weight, before[0] + 0.5 * weight)
    torch.testing.assert_close(layer.bias, before[1] + 0.5 * bias)
    torch.testing.assert_close(model.blocks[2].attn2.norm_k.weight, before[2] + 0.5 * norm)


BAD = {
    "a layer that is not there": ({"transformer.blocks.9.attn1.to_q.lora_A.weight": torch.ones(2, 48)}, "blocks.9"),
    "a text encoder": ({"lora_te1_text_model.lora_down.weight": torch.ones(2, 2)}, "lora_te1_text_model"),
    "LoKr": ({"lora_unet_blocks_0_self_attn_q.lokr_w1": torch.ones(2, 2)}, "lokr"),
    "one matrix": ({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 48)}, "one of its two"),
    "another width": ({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 40),
                       "blocks.0.attn1.to_q.lora_B.weight": torch.ones(48, 2)}, r"48, 48.*2, 40"),
    "unequal ranks": ({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 48),
                       "blocks.0.attn1.to_q.lora_B.weight": torch.ones(48, 3)}, "does not fit"),
    "the same layer twice": ({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 48),
                              "blocks.0.self_attn.q.lora_A.weight": torch.ones(2, 48)}, "two keys"),
    "alpha that is no number": ({"blocks.0.attn1.to_q.lora_A.weight": torch.ones(2, 48),
                                 "blocks.0.attn1.to_q.lora_B.weight": torch.ones(48, 2),
                                 "blocks.0.attn1.to_q.alpha": torch.tensor(float("nan"))}, "alpha"),
    "nothing": ({}, "no weights"),
}  # fmt: skip  # a table, read in rows


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_an_error_that_names_it(model, tmp_path, case):
    weights, expected = BAD[case]
    save_file(weights, tmp_path / "x.safetensors")
    before = merged(model)
    with pytest.raises(PosegenError, match=expected) as caught:
        add_loras(model, [Lora(tmp_path / "x.safetensors")])
    assert "\n" not in str(caught.value)
    assert "x.safetensors" in str(caught.value)
    assert all(torch.equal(weight, before[name]) for name, weight in merged(model).items())


def test_files_that_are_none_are_errors(model, tmp_path):
    (tmp_path / "text.safetensors").write_text("no weights")
    (tmp_path / "text.ckpt").write_text("no weights")
    (tmp_path / "empty").mkdir()
    for name in ("text.safetensors", "text.ckpt", "empty", "missing.safetensors"):
        with pytest.raises(PosegenError, match=name.split(".")[0]):
            add_loras(model, [Lora(tmp_path / name)])


def test_a_file_is_described_without_the_models_weights(pairs, tmp_path):
    kohya_file(tmp_path / "style.safetensors", pairs)
    with torch.device("meta"):
        model = PoseGenTransformer3DModel(**CONFIG)
    line = describe(Lora(tmp_path / "style.safetensors", 0.5), model)
    assert line.startswith("style.safetensors, strength 0.5: ")


def test_what_identifies_a_file_is_its_content(model, pairs, tmp_path):
    randomise(model)
    for name in ("a", "b"):
        kohya_file(tmp_path / f"{name}.safetensors", pairs)
    kohya_file(tmp_path / "c.safetensors", make_pairs(model, 9))
    first, same, other = (Lora(tmp_path / f"{name}.safetensors").identity for name in "abc")
    assert first == same != other
    assert Lora(tmp_path / "a.safetensors", 2.0).identity != first
