"""Merged adapters compute what they compute beside the base, and attention by products what fused attention does."""

import pytest
import torch
from tiny_transformer import predict
from torch.nn import functional

from posegen.errors import PosegenError
from posegen.model import cpu_attention
from posegen.model.lora import adapter_names, add_adapter
from posegen.model.merged import MergedAdapters, extra_bytes, is_mergeable


@pytest.fixture
def trained(model, inputs):
    """A model with two adapters of different rank and alpha, and what it computes with each."""
    outputs = {}
    for seed, (name, rank, alpha) in enumerate((("base", 4, 4), ("stitch", 3, 5))):
        add_adapter(model, name, rank, alpha)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for key, parameter in model.named_parameters():
                if f".{name}." in key:
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
        outputs[name] = predict(model, inputs)
    return model, outputs


def test_each_adapter_survives_any_order_of_switches(trained, inputs):
    model, outputs = trained
    assert not torch.allclose(outputs["base"], outputs["stitch"], atol=1e-3)
    names = set(dict(model.named_parameters()))
    merged = MergedAdapters(model)
    assert adapter_names(model) == []
    assert not any("lora" in key for key in dict(model.named_parameters()))
    assert len(dict(model.named_parameters())) < len(names)
    first = {}
    for name in ("stitch", "base", "base", "stitch", "base"):
        merged.use(name)
        found = predict(model, inputs)
        torch.testing.assert_close(found, outputs[name], rtol=0, atol=2e-5)
        assert torch.equal(found, first.setdefault(name, found))


def test_what_cannot_be_merged_is_refused(trained, model):
    with pytest.raises(PosegenError, match="'other'"):
        MergedAdapters(trained[0]).use("other")
    with pytest.raises(PosegenError, match="no adapters"):
        MergedAdapters(trained[0])
    add_adapter(model, "small", rank=2)
    assert is_mergeable(model)
    layer = model.blocks[0].attn1.to_q.get_base_layer()
    layer.weight.data = layer.weight.data.to(torch.float8_e4m3fn)
    assert not is_mergeable(model)
    with pytest.raises(PosegenError, match="cannot be merged"):
        MergedAdapters(model)


def test_extra_bytes_are_those_of_the_kept_weights(trained):
    model, _ = trained
    linear = [module.get_base_layer() for module in model.modules() if hasattr(module, "lora_A")]
    assert extra_bytes(model) == 2 * sum(4 * layer.weight.numel() for layer in linear)


@pytest.mark.parametrize("limit", ["MAX_SCORES", "CACHED_SCORES"])
@pytest.mark.parametrize("pieces", [1, 3])
def test_attention_by_products_is_fused_attention(monkeypatch, pieces, limit):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, n, 3, 16, generator=generator, dtype=torch.float64) for n in (30, 50, 50))
    monkeypatch.setattr(cpu_attention, limit, 2 * 3 * 50 * 30 // pieces)
    monkeypatch.setattr(cpu_attention, "_MINIMUM_ROWS", 1)
    expected = functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value)))
    torch.testing.assert_close(cpu_attention.attend(query, key, value), expected.transpose(1, 2), rtol=0, atol=1e-12)


def test_a_model_in_bfloat16_is_as_exact_with_products(model, inputs, monkeypatch):
    """Both ways differ from float32 by about as much, and products are really taken."""
    exact = predict(model, inputs)
    model.to(torch.bfloat16)
    errors, calls = {}, []
    attend = cpu_attention.attend
    monkeypatch.setattr(cpu_attention, "attend", lambda *tensors: calls.append(1) or attend(*tensors))
    for products in (False, True):
        monkeypatch.setattr(cpu_attention, "suits_processor", lambda products=products: products)
        with torch.no_grad():
            found = predict(model, inputs.to(torch.bfloat16))
        errors[products] = (found.float() - exact).norm() / exact.norm()
        assert bool(calls) == products
    assert errors[True] < 1.3 * errors[False] < 0.1


@pytest.mark.parametrize("pieces", [1, 3])
def test_gradients_of_attention_by_products_are_those_of_fused_attention(monkeypatch, pieces):
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(2, n, 3, 16, generator=generator, dtype=torch.float64) for n in (30, 50, 50)]
    weights = torch.randn(2, 30, 3, 16, generator=generator, dtype=torch.float64)
    monkeypatch.setattr(cpu_attention, "MAX_SCORES", 3 * 50 * 30 // pieces)

    def fused(query, key, value):
        return functional.scaled_dot_product_attention(*(x.transpose(1, 2) for x in (query, key, value))).transpose(
            1, 2
        )

    gradients = []
    for attend in (cpu_attention.attend, fused):
        own = [tensor.clone().requires_grad_() for tensor in inputs]
        gradients.append(torch.autograd.grad((attend(*own) * weights).sum(), own))
    for found, expected in zip(*gradients, strict=True):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_products_are_taken_in_bfloat16_alone(monkeypatch):
    monkeypatch.setattr(cpu_attention, "suits_processor", lambda: True)
    query = torch.zeros(1, 2, 1, 4, dtype=torch.bfloat16)
    assert cpu_attention.is_preferred(query)
    assert not cpu_attention.is_preferred(query.float())
    with torch.autocast("cpu", torch.bfloat16):
        assert cpu_attention.is_preferred(query.float())
        assert cpu_attention.attend(*[query.float()] * 3).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.float16):
        assert not cpu_attention.is_preferred(query)


@pytest.mark.parametrize(
    ("avx512", "amx", "dtype", "words"),
    [
        (True, False, torch.bfloat16, "by matrix products"),
        (True, True, torch.bfloat16, "torch's own"),
        (False, False, torch.bfloat16, "emulated"),
        (False, False, torch.float32, "no bfloat16 instructions"),
    ],
)
def test_the_processor_decides_and_is_described(monkeypatch, avx512, amx, dtype, words):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    cpu_attention.suits_processor.cache_clear()
    try:
        assert words in cpu_attention.describe_processing(torch.device("cpu"), dtype)
        query = torch.zeros(1, 2, 1, 4, dtype=dtype)
        assert cpu_attention.is_preferred(query) == (words == "by matrix products")
    finally:
        cpu_attention.suits_processor.cache_clear()


@pytest.mark.filterwarnings("ignore:Mismatch dtype")  # torch's slower norms of float32 weights
def test_training_in_autocast_is_as_exact_with_products(model, inputs, monkeypatch):
    """Gradients of both ways differ from those in float32 by about as much."""
    model.train().requires_grad_(True)
    gradients = {}
    for products in (None, False, True):
        monkeypatch.setattr(cpu_attention, "suits_processor", lambda products=products: bool(products))
        with torch.autocast("cpu", torch.bfloat16, enabled=products is not None):
            loss = model(**vars(inputs), return_dict=False)[0].float().square().mean()
        found = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        gradients[products] = torch.cat([one.flatten() for one in found if one is not None])
    exact = gradients.pop(None)
    errors = {products: float((found - exact).norm() / exact.norm()) for products, found in gradients.items()}
    assert errors[True] != errors[False]
    assert errors[True] < 1.3 * errors[False] < 0.2
