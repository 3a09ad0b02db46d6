import dataclasses
import json
from pathlib import Path

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from safetensors import safe_open
from tiny_transformer import CHANNELS, CONFIG, make_inputs, predict, randomise

from posegen.errors import PosegenError
from posegen.model.loading import init_from_wan, load_release_adapter, load_release_checkpoint, load_transformer
from posegen.model.lora import adapter_names, use_adapter
from posegen.model.transformer import PoseGenTransformer3DModel

GOLDEN = Path(__file__).parents[1] / "golden" / "transformer.safetensors"
RANK = 4


def release_weights():
    with safe_open(GOLDEN, "pt") as file:
        names = [name for name in file.keys() if name.startswith("weights.")]  # noqa: SIM118
        weights = {name.removeprefix("weights."): file.get_tensor(name) for name in names}
        return weights, json.loads(file.metadata()["config"])


def wrap_lora(weights, seed):
    """As the published checkpoints: every linear of the blocks LoRA-wrapped, all names behind `pipe.dit.`."""
    generator = torch.Generator().manual_seed(seed)
    wrapped = {}
    for name, tensor in weights.items():
        linear = name.startswith("blocks.") and tensor.ndim == 2
        module = name.rsplit(".", 1)[0]
        inside = name.startswith("blocks.") and f"{module}.weight" in weights and weights[f"{module}.weight"].ndim == 2
        key = f"pipe.dit.{module}.base_layer.{name.rsplit('.', 1)[1]}" if inside else f"pipe.dit.{name}"
        wrapped[key] = tensor.clone()
        if linear:
            for part, shape in (("A", (RANK, tensor.shape[1])), ("B", (tensor.shape[0], RANK))):
                noise = 0.1 * torch.randn(shape, generator=generator)
                wrapped[f"pipe.dit.{module}.lora_{part}.default.weight"] = noise
    return wrapped


def write_release(folder, weights, config, shards=2):
    folder.mkdir()
    (folder / "model_config.json").write_text(json.dumps(config))
    names = sorted(weights)
    for index in range(shards):
        shard = {name: weights[name] for name in names[index::shards]}
        torch.save(shard, folder / f"pytorch_model-{index + 1:05d}-of-{shards:05d}.bin")
    return folder


def golden_inputs(batch=1):
    generator = torch.Generator().manual_seed(2)

    def normal(*shape):
        return torch.randn(batch, *shape, generator=generator)

    return {
        "hidden_states": normal(16, 2, 4, 4),
        "condition_latents": normal(20, 2, 4, 4),
        "hand_latents": normal(16, 2, 4, 4),
        "reference_latents": normal(16, 1, 4, 4),
        "timestep": torch.tensor([500.0]),
        "encoder_hidden_states": normal(7, 32),
        "encoder_hidden_states_image": normal(257, 1280),
    }


def output(model, inputs):
    with torch.no_grad():
        return model(**inputs, return_dict=False)[0]


# Our own


def test_saved_and_loaded(model, inputs, tmp_path):
    expected = predict(model, inputs)
    model.save_pretrained(tmp_path / "transformer", max_shard_size="100KB")
    assert len(list((tmp_path / "transformer").glob("*.safetensors"))) > 1
    for folder in (tmp_path / "transformer", tmp_path):  # the second: as in a pipeline
        loaded = load_transformer(folder)
        assert type(loaded) is PoseGenTransformer3DModel
        public = {key: value for key, value in model.config.items() if not key.startswith("_")}
        assert {key: loaded.config[key] for key in public} == public
        assert not loaded.training
        assert torch.equal(predict(loaded, inputs), expected)
    stock_way = PoseGenTransformer3DModel.from_pretrained(tmp_path / "transformer")
    ours = model.state_dict()
    assert all(torch.equal(tensor, ours[name]) for name, tensor in stock_way.state_dict().items())
    torch.testing.assert_close(predict(stock_way, inputs), expected, rtol=0, atol=1e-5)


def test_loaded_in_bfloat16_as_from_pretrained_does(model, tmp_path):
    model.save_pretrained(tmp_path)
    ours = load_transformer(tmp_path, dtype=torch.bfloat16).state_dict()
    theirs = PoseGenTransformer3DModel.from_pretrained(tmp_path, torch_dtype=torch.bfloat16).state_dict()
    assert {name: tensor.dtype for name, tensor in ours.items()} == {
        name: tensor.dtype for name, tensor in theirs.items()
    }
    assert {torch.bfloat16, torch.float32} == {tensor.dtype for tensor in ours.values()}


# Stock Wan


@pytest.fixture
def stock():
    return randomise(WanTransformer3DModel(**CONFIG), seed=5).eval()


@pytest.mark.parametrize("source", ["model", "folder", "bfloat16"])
def test_stock_wan(stock, tmp_path, source):
    stock.save_pretrained(tmp_path)
    dtype = torch.bfloat16 if source == "bfloat16" else None
    model = init_from_wan(stock) if source == "model" else load_transformer(tmp_path, dtype=dtype)
    assert not any(tensor.is_meta for tensor in [*model.parameters(), *model.buffers()])
    embedding = stock.patch_embedding.to(dtype)
    assert torch.equal(model.reference_patch_embedding.weight, embedding.weight[:, :CHANNELS])
    assert torch.equal(model.reference_patch_embedding.bias, embedding.bias)
    assert not model.hand_projection.weight.any()
    assert not model.hand_projection.bias.any()
    if source == "model":
        assert model.blocks[0].ffn.net[2].weight.data_ptr() == stock.blocks[0].ffn.net[2].weight.data_ptr()
    if source == "folder":
        inputs = make_inputs(text=512).but(reference_latents=None)  # hands have no effect yet
        with torch.no_grad():
            expected = stock(
                torch.cat([inputs.hidden_states, inputs.condition_latents], 1),
                inputs.timestep,
                inputs.encoder_hidden_states,
                inputs.encoder_hidden_states_image,
            ).sample
        assert torch.equal(predict(model, inputs), expected)


def test_a_text_to_video_base_is_refused(tmp_path):
    WanTransformer3DModel(**{**CONFIG, "in_channels": CHANNELS}).save_pretrained(tmp_path)
    with pytest.raises(PosegenError, match="image-to-video"):
        load_transformer(tmp_path)


# Published


def test_release_kept_as_adapter_or_merged(tmp_path):
    weights, config = release_weights()
    folder = write_release(tmp_path / "720p-81f-base", wrap_lora(weights, 0), config)
    kept = load_release_checkpoint(folder, adapter="base")
    merged = load_transformer(folder)
    direct = PoseGenTransformer3DModel.from_release_state_dict(wrap_lora(weights, 0), config)
    bare = PoseGenTransformer3DModel.from_release_state_dict(weights, config)
    assert adapter_names(kept) == ["base"]
    assert adapter_names(merged) == []
    inputs = golden_inputs()
    expected = output(merged, inputs)
    assert torch.equal(output(direct, inputs), expected)
    torch.testing.assert_close(output(kept, inputs), expected, rtol=0, atol=2e-5)
    use_adapter(kept, None)
    torch.testing.assert_close(output(kept, inputs), output(bare, inputs), rtol=0, atol=1e-5)
    assert not torch.allclose(output(bare, inputs), expected, atol=1e-3)


def test_release_weights_merge_to_base_plus_product():
    weights, config = release_weights()
    wrapped = wrap_lora(weights, 0)
    model = PoseGenTransformer3DModel.from_release_state_dict(wrapped, config)
    prefix = "pipe.dit.blocks.2.cross_attn.k_img."
    product = wrapped[prefix + "lora_B.default.weight"] @ wrapped[prefix + "lora_A.default.weight"]
    expected = weights["blocks.2.cross_attn.k_img.weight"] + product
    torch.testing.assert_close(model.blocks[2].attn2.add_k_proj.weight, expected, rtol=0, atol=1e-6)


def test_both_published_stages_on_one_base(tmp_path):
    weights, config = release_weights()
    other = {**weights, "ref_patch_embedding.weight": weights["ref_patch_embedding.weight"] * 1.5}
    other["patch_embedding.weight"] = weights["patch_embedding.weight"] * 0.5
    base = write_release(tmp_path / "base", wrap_lora(weights, 0), config)
    stitch = write_release(tmp_path / "cond", wrap_lora(other, 1), config)
    model = load_release_checkpoint(base, adapter="base")
    load_release_adapter(model, stitch, "stitch")
    inputs = golden_inputs()
    for name, folder in (("base", base), ("stitch", stitch), ("base", base)):
        use_adapter(model, name)
        expected = output(load_release_checkpoint(folder, merge=True), inputs)
        torch.testing.assert_close(output(model, inputs), expected, rtol=0, atol=2e-5)


def test_a_stage_trained_on_another_base_is_refused(tmp_path):
    weights, config = release_weights()
    other = {**weights, "head.head.weight": weights["head.head.weight"] * 1.5}
    model = load_release_checkpoint(write_release(tmp_path / "base", wrap_lora(weights, 0), config))
    folder = write_release(tmp_path / "cond", wrap_lora(other, 1), config)
    with pytest.raises(PosegenError, match=r"other base weights.*proj_out\.weight"):
        load_release_adapter(model, folder, "stitch")


# Bad input


def damage(weights, name, kind):
    weights = dict(weights)
    if kind == "missing":
        del weights[name]
    elif kind == "extra":
        weights["blocks.0.surplus.weight"] = torch.zeros(2)
    else:
        weights[name] = torch.zeros(3, 3)
    return weights


@pytest.mark.parametrize("kind", ["missing", "extra", "misshapen"])
def test_weights_that_do_not_fit_are_named(model, stock, tmp_path, kind):
    weights, config = release_weights()
    name, named = "blocks.1.cross_attn.o.weight", "blocks.0.surplus" if kind == "extra" else "blocks.1.attn2.to_out.0"
    with pytest.raises(PosegenError, match=f"1 {kind} .{named}"):
        PoseGenTransformer3DModel.from_release_state_dict(damage(weights, name, kind), config)
    folder = write_release(tmp_path / "release", damage(weights, name, kind), config)
    with pytest.raises(PosegenError, match=f"1 {kind} .{named}"):
        load_transformer(folder)
    from safetensors.torch import load_file, save_file

    for index, own in enumerate((model, stock)):
        folder = tmp_path / str(index)
        own.save_pretrained(folder)
        file = folder / "diffusion_pytorch_model.safetensors"
        save_file(damage(load_file(file), "blocks.1.attn2.to_out.0.weight", kind), file)
        with pytest.raises(PosegenError, match=f"1 {kind} .{named}"):
            load_transformer(folder)
        if own is model:
            message = {"misshapen": "does not fit"}.get(kind, f"1 {kind} .{named}")
            with pytest.raises(PosegenError, match=message):
                PoseGenTransformer3DModel.from_pretrained(folder)


def test_from_pretrained_of_a_stock_folder_names_what_is_missing(stock, tmp_path):
    stock.save_pretrained(tmp_path)
    with pytest.raises(PosegenError, match=r"missing .*hand_patch_embedding"):
        PoseGenTransformer3DModel.from_pretrained(tmp_path)


def test_only_the_first_few_are_named():
    weights, config = release_weights()
    few = {name: tensor for name, tensor in weights.items() if not name.startswith("blocks.")}
    with pytest.raises(PosegenError, match="missing") as caught:
        PoseGenTransformer3DModel.from_release_state_dict(few, config)
    assert "…" in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("part", ["lora_A", "lora_B"])
def test_half_a_lora_pair_is_named(part):
    weights, config = release_weights()
    wrapped = wrap_lora(weights, 0)
    del wrapped[f"pipe.dit.blocks.0.ffn.0.{part}.default.weight"]
    with pytest.raises(PosegenError, match=f"blocks.0.ffn.net.0.proj: {part}"):
        PoseGenTransformer3DModel.from_release_state_dict(wrapped, config)


def test_settings_that_do_not_fit(tmp_path):
    weights, config = release_weights()
    for wrong in ({**config, "window": 3}, {k: v for k, v in config.items() if k != "dim"}):
        with pytest.raises(PosegenError, match="model_config"):
            PoseGenTransformer3DModel.from_release_state_dict(weights, wrong)
    with pytest.raises(PosegenError, match="has_image_pos_emb"):
        PoseGenTransformer3DModel.from_release_state_dict(weights, {**config, "has_image_pos_emb": True})


@dataclasses.dataclass
class Surprise:
    """Leaves a file where it is unpickled."""

    trace: Path

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_broken_folders(tmp_path):
    with pytest.raises(PosegenError, match="no transformer in"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(PosegenError, match=r"config\.json is not a JSON object"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(PosegenError, match="UNet2DModel"):
        load_transformer(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "PoseGenTransformer3DModel"}')
    with pytest.raises(PosegenError, match="is missing"):
        load_transformer(tmp_path)


def test_pickled_code_does_not_run(tmp_path):
    _, config = release_weights()
    folder = write_release(tmp_path / "release", {"pipe.dit.head": Surprise(tmp_path / "ran")}, config, shards=1)
    with pytest.raises(PosegenError, match="cannot be read"):
        load_transformer(folder)
    assert not (tmp_path / "ran").exists()
