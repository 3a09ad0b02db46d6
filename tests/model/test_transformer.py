import copy

import pytest
import torch
from diffusers.models.transformers.transformer_wan import WanTransformer3DModel
from tiny_transformer import CHANNELS, CONFIG, make_inputs, predict, randomise

from posegen.errors import PosegenError
from posegen.model import block_arithmetic, cpu_attention
from posegen.model.transformer import PoseGenTransformer3DModel


def stock_like(model, config):
    stock = WanTransformer3DModel(**config).eval()
    own = model.state_dict()
    stock.load_state_dict({name: own[name] for name in stock.state_dict()}, strict=True)
    return stock


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("batch", [1, 2])
def test_without_its_inputs_it_is_stock_wan_bit_for_bit(model, dtype, batch, monkeypatch):
    monkeypatch.setattr(cpu_attention, "suits_processor", lambda: False)  # its rounding is another
    monkeypatch.setattr(block_arithmetic, "is_fused", lambda tensor: False)  # as is this one's
    # 512 text tokens: the stock processor takes the split from that number
    inputs = make_inputs(batch, text=512).but(hand_latents=None, reference_latents=None).to(dtype)
    inputs.timestep = inputs.timestep.float()
    model = model.to(dtype)
    stock = stock_like(model, CONFIG).to(dtype)
    with torch.no_grad():
        expected = stock(
            torch.cat([inputs.hidden_states, inputs.condition_latents], dim=1),
            inputs.timestep,
            inputs.encoder_hidden_states,
            inputs.encoder_hidden_states_image,
            return_dict=False,
        )[0]
    assert torch.equal(predict(model, inputs), expected)


def test_every_input_has_an_effect(model, inputs):
    plain = predict(model, inputs)
    for name, tensor in vars(inputs).items():
        assert not torch.allclose(
            predict(model, inputs.but(**{name: tensor - tensor.roll(1, -1)})), plain, atol=1e-4
        ), name


@pytest.mark.parametrize("name", ["hand_latents", "reference_latents", "encoder_hidden_states_image"])
def test_optional_inputs_can_be_switched_off(model, inputs, name):
    output = predict(model, inputs.but(**{name: None}))
    assert output.shape == inputs.hidden_states.shape
    assert output.isfinite().all()


def test_a_batch_is_its_items(model):
    inputs = make_inputs(batch=2)
    together = predict(model, inputs)
    for item in range(2):
        alone = predict(model, inputs.item(item))
        torch.testing.assert_close(together[item : item + 1], alone, rtol=0, atol=1e-5)


def test_reference_and_video_may_have_different_sizes(model):
    inputs = make_inputs(rows=8, columns=6)
    inputs.reference_latents = torch.randn(1, CHANNELS, 1, 4, 10, generator=torch.Generator().manual_seed(3))
    assert predict(model, inputs).isfinite().all()


def test_reference_positions_are_left_of_every_video_token(model, inputs):
    cosines, sines, is_reference = model.rope(inputs.hidden_states, inputs.reference_latents)
    rows, columns = 4, 3
    assert is_reference.flatten().tolist() == [False] * 3 * rows * columns + [True] * rows * columns
    columns_from = model.rope.t_dim + model.rope.h_dim
    angles = torch.atan2(
        sines[0, :, 0, columns_from], cosines[0, :, 0, columns_from]
    )  # frequency 1: the angle is the position
    reference = angles[is_reference.flatten()].view(rows, columns)
    torch.testing.assert_close(reference, torch.tensor([-3.0, -2.0, -1.0]).expand(rows, -1))
    assert (angles[~is_reference.flatten()] >= 0).all()


def test_reference_tokens_are_modulated_with_timestep_zero(model, inputs):
    def modulation(timestep):
        return model.condition_embedder(timestep, inputs.encoder_hidden_states)[1].unflatten(1, (6, -1))

    seen = []
    model.blocks[1].register_forward_pre_hook(lambda _, arguments: seen.extend([arguments[2], arguments[4]]))
    plain = predict(model, inputs)
    torch.testing.assert_close(seen[0], modulation(inputs.timestep))
    torch.testing.assert_close(seen[1], modulation(torch.zeros(1)))
    model._modulation_at_zero = lambda timestep, text: modulation(timestep)
    assert not torch.equal(predict(model, inputs), plain)


def test_new_parameters_begin_without_effect_or_as_copies(inputs):
    torch.manual_seed(0)
    model = PoseGenTransformer3DModel(**CONFIG).eval()
    assert torch.equal(model.reference_patch_embedding.weight, model.patch_embedding.weight[:, :CHANNELS])
    assert torch.equal(model.reference_patch_embedding.bias, model.patch_embedding.bias)
    assert torch.equal(predict(model, inputs), predict(model, inputs.but(hand_latents=None)))


def test_gradient_checkpointing_gives_the_same_gradients(model, inputs):
    other = copy.deepcopy(model)
    other.enable_gradient_checkpointing()
    gradients = []
    for module in (model.train(), other.train()):
        module(**vars(inputs), return_dict=False)[0].square().mean().backward()
        gradients.append({name: parameter.grad for name, parameter in module.named_parameters()})
    assert other.gradient_checkpointing
    for name, gradient in gradients[0].items():
        assert gradient is not None, name
        torch.testing.assert_close(gradients[1][name], gradient, rtol=0, atol=1e-6)


def test_bfloat16_is_near_float32(model, inputs):
    expected = predict(model, inputs)
    low = inputs.to(torch.bfloat16)
    low.timestep = inputs.timestep
    actual = predict(model.to(torch.bfloat16), low)
    assert actual.dtype == torch.bfloat16
    assert (actual.float() - expected).norm() / expected.norm() < 0.05


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"condition_latents": torch.zeros(1, 3, 3, 8, 6)}, "condition_latents"),
        ({"hand_latents": torch.zeros(1, CHANNELS, 3, 8, 4)}, "hand_latents"),
        ({"reference_latents": torch.zeros(1, CHANNELS, 1, 3, 6)}, "multiples"),
        ({"timestep": torch.zeros(2)}, "timestep"),
    ],
)
def test_inputs_that_do_not_fit_are_named(model, inputs, change, message):
    with pytest.raises(PosegenError, match=message):
        predict(model, inputs.but(**change))


def test_a_text_to_video_configuration_is_refused():
    with pytest.raises(PosegenError, match="in_channels"):
        PoseGenTransformer3DModel(**{**CONFIG, "in_channels": CHANNELS})


def test_hand_embedding_kinds(inputs):
    plain = randomise(PoseGenTransformer3DModel(**CONFIG, hand_embedding="plain")).eval()
    assert not torch.equal(predict(plain, inputs), predict(plain, inputs.but(hand_latents=None)))
    none = randomise(PoseGenTransformer3DModel(**CONFIG, hand_embedding="none")).eval()
    with pytest.raises(PosegenError, match="no hand embedding"):
        predict(none, inputs)
