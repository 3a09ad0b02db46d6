"""The fused arithmetic is the plain one up to rounding: laws against the same formula in float64."""

import pytest
import torch
from diffusers.models.attention import FeedForward
from diffusers.models.normalization import FP32LayerNorm
from tiny_transformer import predict
from torch import nn

from posegen.model import block_arithmetic, lora
from posegen.model.block_arithmetic import add_gated, feed_forward, modulate, normalise, split_heads

WIDTH, HEADS = 48, 2
ROUNDING = 2.0**-8
"""Of one number in bfloat16, relative."""


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_rounded(found, exact, roundings=1.0):
    """Within that many roundings of the exact result, of which each is relative to the result's size."""
    assert found.dtype == torch.bfloat16
    scale = exact.abs() + exact.abs().mean()
    assert float(((found.double() - exact).abs() / scale).max()) < roundings * ROUNDING


@pytest.fixture
def tokens():
    return normal(1, 30, WIDTH).bfloat16()


@torch.no_grad()
@pytest.mark.parametrize("batch", [1, 2])
def test_modulation(batch):
    tokens = normal(batch, 30, WIDTH).bfloat16()
    shift, scale = (normal(batch, 1, WIDTH, seed=seed).float() for seed in (1, 2))
    exact = nn.functional.layer_norm(tokens.double(), (WIDTH,), eps=1e-6) * (1 + scale.double()) + shift
    assert_rounded(modulate(FP32LayerNorm(WIDTH, 1e-6, elementwise_affine=False), tokens, shift, scale), exact)


@torch.no_grad()
def test_layer_norm(tokens):
    norm = FP32LayerNorm(WIDTH, 1e-6)
    norm.weight.copy_(normal(WIDTH, seed=1))
    norm.bias.copy_(normal(WIDTH, seed=2))
    exact = nn.functional.layer_norm(tokens.double(), (WIDTH,), norm.weight.double(), norm.bias.double(), 1e-6)
    assert_rounded(normalise(norm, tokens), exact)
    assert torch.equal(normalise(nn.Identity(), tokens), tokens)


@torch.no_grad()
def test_gated_addition(tokens):
    update, gate = normal(1, 30, WIDTH, seed=1).bfloat16(), normal(1, 1, WIDTH, seed=2).float()
    exact = tokens.double() + update.double() * gate.double()
    assert_rounded(add_gated(tokens, update, gate), exact, roundings=3)  # the gate's and the product's own


@torch.no_grad()
@pytest.mark.parametrize("rotated", [True, False])
def test_heads_are_normalised_and_rotated(tokens, rotated):
    norm = nn.RMSNorm(WIDTH, eps=1e-6, dtype=torch.bfloat16)
    norm.weight.copy_(normal(WIDTH, seed=1))
    angles = normal(1, 30, 1, WIDTH // HEADS // 2, seed=2).repeat_interleave(2, dim=-1)
    rotary = (angles.cos().float(), angles.sin().float()) if rotated else None
    values = tokens.double()
    values = values * (values.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * norm.weight.double()
    exact = values.unflatten(-1, (HEADS, -1))
    if rotated:
        exact = block_arithmetic.rotate(exact, angles.cos(), angles.sin())
    found = split_heads(norm, tokens, HEADS, rotary)
    assert found.shape == exact.shape
    assert found.transpose(1, 2).is_contiguous()
    assert_rounded(found, exact)


@torch.no_grad()
def test_feed_forward(tokens):
    layers = FeedForward(WIDTH, inner_dim=3 * WIDTH, activation_fn="gelu-approximate").bfloat16()
    exact = FeedForward(WIDTH, inner_dim=3 * WIDTH, activation_fn="gelu-approximate").double()
    exact.load_state_dict(layers.state_dict())
    plain, found = layers(tokens), feed_forward(layers, tokens)
    assert not torch.equal(plain, found)  # rounded once less
    expected = exact(tokens.double())
    assert (found.double() - expected).norm() <= (plain.double() - expected).norm()
    assert_rounded(found, expected, roundings=2)


@torch.no_grad()
def test_layers_that_something_else_waits_for_are_called(tokens):
    """Adapters, and hooks as offloading and caches use them, work as before."""
    layers = FeedForward(WIDTH, inner_dim=3 * WIDTH, activation_fn="gelu-approximate").bfloat16()
    plain, calls = layers(tokens), []
    hook = layers.net[0].proj.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(feed_forward(layers, tokens), plain)
    assert calls == [1]
    hook.remove()
    norm = FP32LayerNorm(WIDTH, 1e-6)
    norm.register_forward_pre_hook(lambda *_: calls.append(2))
    normalise(norm, tokens)
    assert calls == [1, 2]


def test_adapters_beside_the_layers_count(model, inputs):
    """With an attached adapter a forward pass in bfloat16 is the merged model's, up to rounding."""
    lora.add_adapter(model, "base", rank=4, alpha=4)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
        with_adapter = predict(model, inputs)
        lora.use_adapter(model, None)
        without = predict(model, inputs)
        lora.use_adapter(model, "base")
        model.to(torch.bfloat16)
        found = predict(model, inputs.to(torch.bfloat16)).float()
    assert (found - with_adapter).norm() < 0.2 * (found - without).norm()


def test_a_forward_pass_is_as_exact_as_the_plain_one(model, inputs, monkeypatch):
    exact = predict(model, inputs)
    model.to(torch.bfloat16)
    found = {}
    with torch.no_grad():
        found[True] = predict(model, inputs.to(torch.bfloat16))
        monkeypatch.setattr(block_arithmetic, "is_fused", lambda tensor: False)
        found[False] = predict(model, inputs.to(torch.bfloat16))
    assert not torch.equal(found[True], found[False])
    errors = {fused: float((result.float() - exact).norm() / exact.norm()) for fused, result in found.items()}
    assert errors[True] < 1.2 * errors[False] < 0.1


def test_only_inference_in_bfloat16_on_a_cpu_is_fused():
    tokens = torch.zeros(1, 2, 4, dtype=torch.bfloat16)
    assert not block_arithmetic.is_fused(tokens)
    with torch.no_grad():
        assert block_arithmetic.is_fused(tokens)
        assert not block_arithmetic.is_fused(tokens.float())
        assert not block_arithmetic.is_fused(tokens.to("meta"))
        with torch.autocast("cpu", torch.bfloat16):
            assert not block_arithmetic.is_fused(tokens)
