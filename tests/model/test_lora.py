import logging

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_transformer import predict, randomise

from posegen.errors import PosegenError
from posegen.model.loading import without_adapters
from posegen.model.lora import (
    NEW_EMBEDDINGS,
    TARGETS,
    adapter_names,
    add_adapter,
    load_adapter,
    merge_adapter,
    save_adapter,
    use_adapter,
)
from posegen.model.transformer import PoseGenTransformer3DModel


def train(transformer, name, seed):
    """Pretend to train: random values in everything the adapter has."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in transformer.named_parameters():
            if f".{name}." in key:
                parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))


def test_a_new_adapter_changes_nothing(model, inputs):
    plain = predict(model, inputs)
    add_adapter(model, "base", rank=4, alpha=4)
    assert torch.equal(predict(model, inputs), plain)


def test_what_trains(model):
    wanted = sum(
        4 * (layer.in_features + layer.out_features)
        for name, layer in model.blocks.named_modules()
        if isinstance(layer, torch.nn.Linear) and name.endswith(TARGETS)
    ) + sum(parameter.numel() for name in NEW_EMBEDDINGS for parameter in getattr(model, name).parameters())
    add_adapter(model, "base", rank=4, alpha=4)
    trainable = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert sum(parameter.numel() for parameter in trainable.values()) == wanted
    assert sum("lora_A" in name for name in trainable) == 12 * len(model.blocks)


def test_gradients_reach_everything_that_trains(model, inputs):
    add_adapter(model, "base", rank=4, alpha=4)
    train(model, "base", 0)
    model(**vars(inputs), return_dict=False)[0].square().mean().backward()
    for name, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, name


@pytest.mark.parametrize("alpha", [4, 6])
def test_merged_is_base_plus_the_product(model, inputs, alpha):
    weight = model.blocks[1].attn2.to_q.weight.detach().clone()
    add_adapter(model, "base", rank=4, alpha=alpha)
    train(model, "base", 1)
    layer = model.blocks[1].attn2.to_q
    product = layer.lora_B["base"].weight @ layer.lora_A["base"].weight
    hand = model.hand_projection.modules_to_save["base"].weight.detach().clone()
    unmerged = predict(model, inputs)
    assert merge_adapter(model, "base") is model
    torch.testing.assert_close(model.blocks[1].attn2.to_q.weight, weight + alpha / 4 * product, rtol=0, atol=1e-6)
    assert torch.equal(model.hand_projection.weight, hand)
    torch.testing.assert_close(predict(model, inputs), unmerged, rtol=0, atol=2e-5)
    assert adapter_names(model) == []
    assert set(model.state_dict()) == set(PoseGenTransformer3DModel(**model.config).state_dict())


def test_saved_and_loaded(model, inputs, tmp_path):
    plain = predict(model, inputs)
    add_adapter(model, "stitch", rank=3, alpha=5)
    train(model, "stitch", 2)
    expected = predict(model, inputs)
    save_adapter(model, "stitch", tmp_path)
    fresh = randomise(PoseGenTransformer3DModel(**model.config)).eval()
    load_adapter(fresh, "other name", tmp_path)
    assert torch.equal(predict(fresh, inputs), expected)
    assert not torch.equal(expected, plain)


def test_switching_swaps_adapters_and_embeddings_without_files(model, inputs, tmp_path):
    outputs = {None: predict(model, inputs)}
    for seed, name in enumerate(("base", "stitch")):
        add_adapter(model, name, rank=4, alpha=4)
        train(model, name, seed)
        outputs[name] = predict(model, inputs)
        save_adapter(model, name, tmp_path / name)
    assert not torch.equal(outputs["base"], outputs["stitch"])
    for name in ("base", None, "stitch", "base", None):
        use_adapter(model, name, trainable=False)
        assert torch.equal(predict(model, inputs), outputs[name]), name
        assert not any(parameter.requires_grad for parameter in model.parameters())
    # both on a fresh model, from their folders
    fresh = randomise(PoseGenTransformer3DModel(**model.config)).eval()
    for name in ("base", "stitch"):
        load_adapter(fresh, name, tmp_path / name)
    for name, output in outputs.items():
        use_adapter(fresh, name)
        assert torch.equal(predict(fresh, inputs), output), name
    merge_adapter(fresh, "base")
    torch.testing.assert_close(predict(fresh, inputs), outputs["base"], rtol=0, atol=2e-5)


def test_only_the_used_adapter_trains(model):
    for name in ("base", "stitch"):
        add_adapter(model, name, rank=4, alpha=4)
    use_adapter(model, "base")
    trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert trainable
    assert all(".base." in name for name in trainable)


def test_a_target_that_matches_nothing_gives_a_warning(model, caplog):
    with caplog.at_level(logging.WARNING, logger="posegen"):
        add_adapter(model, "base", rank=2, targets=["to_q", "to_nowhere"])
    assert "to_nowhere" in caplog.text
    assert "'to_q'" not in caplog.text
    with pytest.raises(PosegenError, match="match no layer"):
        add_adapter(model, "other", targets=["to_nowhere"])


def test_unknown_and_taken_names(model, tmp_path):
    add_adapter(model, "base", rank=2)
    with pytest.raises(PosegenError, match="already"):
        add_adapter(model, "base")
    for call in (use_adapter, merge_adapter):
        with pytest.raises(PosegenError, match="no adapter 'stitch'"):
            call(model, "stitch")
    with pytest.raises(PosegenError, match="no adapter 'stitch'"):
        save_adapter(model, "stitch", tmp_path)


@pytest.mark.parametrize("others", [[], ["base"]])
def test_a_folder_that_does_not_fit_leaves_the_model_as_it_was(model, inputs, tmp_path, others):
    for name in others:
        add_adapter(model, name, rank=2)
        train(model, name, 3)
    expected = predict(model, inputs)
    donor = randomise(PoseGenTransformer3DModel(**{**model.config, "num_layers": 2})).eval()
    add_adapter(donor, "stitch", rank=2)
    save_adapter(donor, "stitch", tmp_path)
    with pytest.raises(PosegenError, match=r"missing \(blocks.2"):
        load_adapter(model, "stitch", tmp_path)
    assert adapter_names(model) == others
    assert torch.equal(predict(model, inputs), expected)


def test_broken_folders(model, tmp_path):
    with pytest.raises(PosegenError, match="is missing"):
        load_adapter(model, "base", tmp_path)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    file.write_bytes(b"not safetensors")
    with pytest.raises(PosegenError, match="not an adapter"):
        load_adapter(model, "base", tmp_path)
    save_file({"weights": torch.zeros(1)}, file)
    with pytest.raises(PosegenError, match="not an adapter"):
        load_adapter(model, "base", tmp_path)


def test_the_file_is_plain_peft(model, inputs, tmp_path):
    add_adapter(model, "base", rank=2, alpha=5)
    train(model, "base", 0)
    save_adapter(model, "base", tmp_path)
    stock_way = randomise(PoseGenTransformer3DModel(**model.config)).eval()
    stock_way.load_lora_adapter(str(tmp_path), prefix=None, adapter_name="base", use_safetensors=True)
    assert torch.equal(predict(stock_way, inputs), predict(model, inputs))
    names = set(load_file(tmp_path / "pytorch_lora_weights.safetensors"))
    assert "blocks.0.attn1.to_q.lora_A.weight" in names
    assert "reference_patch_embedding.weight" in names
    assert not any(name.startswith("patch_embedding") for name in names)


def test_a_model_with_adapters_is_not_saved_whole(model, tmp_path):
    add_adapter(model, "base", rank=2)
    with pytest.raises(PosegenError, match="save_adapter"):
        model.save_pretrained(tmp_path)


def test_bfloat16_stays_bfloat16(model, inputs):
    model, inputs = model.to(torch.bfloat16), inputs.to(torch.bfloat16)
    add_adapter(model, "base", rank=2)
    train(model, "base", 0)
    assert predict(model, inputs).dtype == torch.bfloat16
    merge_adapter(model, "base")
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}


def test_the_model_under_the_adapters(model, inputs):
    plain = predict(model, inputs)
    for seed, name in enumerate(("base", "stitch")):
        add_adapter(model, name, rank=2)
        train(model, name, seed)
    bare = without_adapters(model)
    assert torch.equal(predict(bare, inputs), plain)
    assert bare.blocks[0].ffn.net[2].weight.data_ptr() == model.blocks[0].ffn.net[2].base_layer.weight.data_ptr()
    assert adapter_names(model) == ["base", "stitch"]
