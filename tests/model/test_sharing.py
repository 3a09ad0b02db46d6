import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from skimage.filters import threshold_otsu
from tiny_transformer import LAYERS, make_inputs, predict

from posegen.errors import PosegenError
from posegen.model.sharing import BackgroundSharing, SharingConfig, make_sharing_config
from posegen.model.subject import otsu_threshold, subject_map, unit_otsu_threshold

BRANCHES = ("positive", "negative")
PRESETS = ("paper", "release")


def config(preset, steps=(0,), layers=(1, 3), mask_layers=2):
    return SharingConfig(preset, list(steps), list(layers), mask_layers)


def run(model, inputs, make, branches=BRANCHES):
    """One step, both branches; the negative branch has other text."""
    outputs = []
    for branch in branches:
        text = inputs.encoder_hidden_states if branch == "positive" else -inputs.encoder_hidden_states
        outputs.append(predict(model, inputs.but(encoder_hidden_states=text), make(0, branch)))
    return torch.stack(outputs)


def nothing(step, branch):
    return None


# Otsu


def frames(kind, count, size, generator):
    shape = (count, size)
    return {
        "normal": generator.normal(size=shape),
        "two groups": np.where(generator.random(shape) < 0.3, 2.0, -1.0) + 0.1 * generator.normal(size=shape),
        "few values": generator.integers(0, 4, shape) / 4.0,
        "two values": generator.integers(0, 2, shape) * 1.0,
        "large offset": 1000 + generator.normal(size=shape),
        "skewed": generator.exponential(size=shape) ** 3,
        "bin edges": generator.integers(0, 257, shape) / 256.0,
    }[kind]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "kind", ["normal", "two groups", "few values", "two values", "large offset", "skewed", "bin edges"]
)
@pytest.mark.parametrize("size", [12, 300, 3600])
def test_otsu_is_exactly_that_of_skimage(kind, dtype, size):
    images = frames(kind, 60, size, np.random.default_rng(size)).astype(dtype)
    images[7] = 0.25  # a constant frame among others
    thresholds = otsu_threshold(torch.from_numpy(images))
    expected = np.array([threshold_otsu(image) for image in images], dtype=dtype)
    assert np.array_equal(thresholds.numpy(), expected)


@given(st.lists(st.integers(-50, 50), min_size=2, max_size=40), st.floats(0.01, 100))
def test_otsu_is_exactly_that_of_skimage_on_ties(values, scale):
    image = np.array(values, dtype=np.float32) * np.float32(scale)
    assert otsu_threshold(torch.from_numpy(image)).item() == threshold_otsu(image)


def test_otsu_of_a_constant_frame_has_no_subject():
    image = torch.full((2, 3, 16), 0.7)
    assert not (image > otsu_threshold(image)[..., None]).any()


def test_unit_otsu_is_the_published_formula():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(40, 48, generator=generator) ** 3
    images[0, 0], images[1] = 1.0, 0.3
    for image, threshold in zip(images, unit_otsu_threshold(images), strict=True):
        below = [float((torch.floor(image.clamp(max=0.999999) * 256) <= index).sum()) for index in range(256)]
        centers = (torch.floor(image.double().clamp(max=0.999999) * 256) + 0.5) / 256
        best, chosen = -1.0, None
        for index, count in enumerate(below):
            rest = image.numel() - count
            low, high = centers[centers < (index + 1) / 256], centers[centers >= (index + 1) / 256]
            means = (low.mean().item() if count else 0.0, high.mean().item() if rest else 0.0)
            variance = count * rest / image.numel() ** 2 * (means[0] - means[1]) ** 2
            if variance > best + 1e-6:
                best, chosen = variance, index
        found = math.floor(threshold.item() * 256)
        assert below[found] == below[chosen]


def test_subject_map_is_the_mean_over_heads_of_scaled_products():
    generator = torch.Generator().manual_seed(0)
    query = torch.randn(2, 7, 3, 8, generator=generator, dtype=torch.float64)
    key = torch.randn(2, 4, 3, 8, generator=generator, dtype=torch.float64)
    products = torch.einsum("bnhc,bthc->bhnt", query, key) / 8**0.5
    expected = products.mean(1)
    for total, reduced in ((False, expected.mean(-1)), (True, expected.sum(-1))):
        actual = subject_map(query, key, total=total)
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual, reduced.float(), rtol=0, atol=1e-5)


# Configuration


def test_paper_steps_and_layers():
    published = make_sharing_config("paper", 25, 40)
    assert published.steps == tuple(range(5))
    assert published.layers == tuple(range(30, 40))
    small = make_sharing_config("paper", 8, 6)
    assert (small.steps, small.layers) == ((0, 1), (4, 5))  # 8/5 and 6/4, rounded up


@pytest.mark.parametrize(
    ("framing", "steps", "layers"), [("close-up", 1, 6), ("half-body", 2, 6), ("full-body", 4, 8), ("distant", 4, 10)]
)
def test_release_steps_and_layers(framing, steps, layers):
    made = make_sharing_config("release", 25, 40, framing)
    assert made.steps == tuple(range(steps))
    assert made.layers == tuple(range(40 - layers, 40))
    assert made.mask_layers == 11


@pytest.mark.parametrize("wrong", [{"steps": [-1]}, {"layers": [-2]}, {"mask_layers": 0}])
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(PosegenError):
        config("release", **wrong)
    with pytest.raises(PosegenError, match="subject"):
        BackgroundSharing(config("paper"), [])


# Laws


@pytest.mark.parametrize("preset", PRESETS)
def test_recording_changes_nothing(model, inputs, preset):
    sharing = BackgroundSharing(config(preset), [2, 3])
    assert torch.equal(run(model, inputs, sharing.record), run(model, inputs, nothing))


@pytest.mark.parametrize("preset", PRESETS)
def test_sharing_with_oneself_and_no_subject_is_the_plain_result(model, inputs, preset):
    sharing = BackgroundSharing(config(preset), None)
    plain = run(model, inputs, sharing.record)
    torch.testing.assert_close(run(model, inputs, sharing.share), plain, rtol=0, atol=1e-5)


def test_sharing_with_oneself_and_an_empty_mask_is_the_plain_result(model, inputs):
    """With masks on, but no token found to be the subject: a constant map has no subject."""
    model.blocks[0].attn2.to_q.weight.data.zero_()
    for block in model.blocks:
        block.attn2.to_q.weight.data.zero_()  # every query is the bias: the map is constant
    sharing = BackgroundSharing(config("paper"), [2])
    plain = run(model, inputs, sharing.record)
    assert not any(mask.any() for mask in sharing.anchor_masks.values())
    torch.testing.assert_close(run(model, inputs, sharing.share), plain, rtol=0, atol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("tokens", [None, [2, 5]])
def test_sharing_changes_the_result(model, inputs, preset, tokens):
    sharing = BackgroundSharing(config(preset), tokens)
    run(model, inputs, sharing.record)
    other = make_inputs(seed=9)
    assert not torch.allclose(run(model, other, sharing.share), run(model, other, nothing), atol=1e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_other_steps_change_nothing(model, inputs, preset):
    sharing = BackgroundSharing(config(preset, steps=[3]), [2])
    assert sharing.record(0, "positive") is None
    assert sharing.share(2, "negative") is None
    assert not list(sharing.store.places())


@pytest.mark.parametrize("preset", PRESETS)
def test_a_batch_is_its_items(model, preset):
    anchor, current = make_inputs(batch=2, seed=4), make_inputs(batch=2, seed=5)
    together = BackgroundSharing(config(preset), [2, 3])
    run(model, anchor, together.record)
    outputs = run(model, current, together.share)
    for item in range(2):
        alone = BackgroundSharing(config(preset), [2, 3])
        run(model, anchor.item(item), alone.record)
        expected = run(model, current.item(item), alone.share)
        torch.testing.assert_close(outputs[:, item : item + 1], expected, rtol=0, atol=1e-5)
        for place, mask in alone.subject_masks.items():
            assert torch.equal(together.subject_masks[place][item : item + 1], mask)
    masks = next(iter(together.subject_masks.values()))
    assert not torch.equal(masks[0], masks[1])  # the items do differ


def test_one_anchor_serves_a_batch(model, inputs):
    sharing = BackgroundSharing(config("paper"), [2])
    run(model, inputs, sharing.record)
    both = make_inputs(batch=2, seed=5)
    outputs = run(model, both, sharing.share)
    for item in range(2):
        expected = run(model, both.item(item), sharing.share)
        torch.testing.assert_close(outputs[:, item : item + 1], expected, rtol=0, atol=1e-5)


def test_only_background_tokens_differ_within_the_layer(model, inputs):
    """Sharing at the last layer only: a subject token's output is the plain one, exactly."""
    sharing = BackgroundSharing(config("paper", layers=[LAYERS - 1]), [2])
    run(model, inputs, sharing.record)
    other = make_inputs(seed=9)
    plain, shared = run(model, other, nothing), run(model, other, sharing.share)
    place = (0, LAYERS - 1)
    subject = sharing.subject_masks[place] | sharing.anchor_masks[place]
    subject = subject.repeat_interleave(2, -1).repeat_interleave(2, -2)  # tokens to latents
    assert 0 < subject.float().mean() < 1
    kept = subject[None, :, None].expand_as(plain)
    assert torch.equal(shared[kept], plain[kept])
    assert ((shared - plain).abs()[~kept] > 0).float().mean() > 0.9


def test_numbers_of_shared_tokens_come_in_few_shapes(model, inputs, monkeypatch):
    """Kernels are cached by shape: as many shapes as segments would be memory that grows with the video."""
    shapes, results = set(), []
    attend = type(model.blocks[0].attn1).forward

    def watched(self, hidden_states, *args, source=None, **more):
        if source is not None:
            shapes.add(hidden_states.shape[1])
        return attend(self, hidden_states, *args, source=source, **more)

    monkeypatch.setattr(type(model.blocks[0].attn1), "forward", watched)
    for size in (1, 64):
        monkeypatch.setattr("posegen.model.sharing._ROUND", size)
        shapes.clear()
        sharing = BackgroundSharing(config("paper"), [1])
        run(model, inputs, sharing.record)
        results.append(run(model, inputs.but(hidden_states=inputs.hidden_states.flip(-1)), sharing.share))
        assert shapes
        assert all(count % size == 0 for count in shapes)
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)


def test_a_segment_leaves_nothing_behind(model, inputs):
    sharing = BackgroundSharing(config("release"), [2, 3])
    run(model, inputs, sharing.record)
    other, third = make_inputs(seed=9), make_inputs(seed=10)
    first = run(model, other, sharing.share)
    run(model, third, sharing.share)
    assert torch.equal(run(model, other, sharing.share), first)


def test_without_reference_tokens_and_with_other_sizes(model, inputs):
    for preset in PRESETS:
        sharing = BackgroundSharing(config(preset), None)
        run(model, inputs, sharing.record)
        other = make_inputs(frames=2, rows=4, columns=8, seed=9).but(reference_latents=None)
        assert run(model, other, sharing.share).isfinite().all()


def test_first_layer_of_release_has_no_map_of_its_own_yet(model, inputs):
    sharing = BackgroundSharing(config("release", layers=[0, 2]), [2])
    run(model, inputs, sharing.record)
    run(model, make_inputs(seed=9), sharing.share)
    assert not sharing.subject_masks[0, 0].any()
    assert sharing.anchor_masks[0, 0].any()


def test_bfloat16(model, inputs):
    model, inputs = model.to(torch.bfloat16), inputs.to(torch.bfloat16)
    for preset in PRESETS:
        sharing = BackgroundSharing(config(preset), [2, 3])
        run(model, inputs, sharing.record)
        output = run(model, make_inputs(seed=9).to(torch.bfloat16), sharing.share)
        assert output.dtype == torch.bfloat16
        assert output.isfinite().all()


def test_gradients_flow_through_shared_layers(model, inputs):
    sharing = BackgroundSharing(config("paper"), [2, 3])
    run(model, inputs, sharing.record)
    other = make_inputs(seed=9)
    model(**vars(other), background=sharing.share(0, "positive"), return_dict=False)[0].square().mean().backward()
    assert all(parameter.grad is not None for parameter in model.blocks.parameters())


# Errors


def test_sharing_before_recording(model, inputs):
    with pytest.raises(PosegenError, match="run it first"):
        run(model, inputs, BackgroundSharing(config("paper"), None).share)


def test_negative_before_positive(model, inputs):
    sharing = BackgroundSharing(config("paper"), [2])
    run(model, inputs, sharing.record)
    with pytest.raises(PosegenError, match="positive branch"):
        run(model, inputs, sharing.share, branches=["negative"])


def test_masks_need_one_size(model, inputs):
    sharing = BackgroundSharing(config("paper"), [2])
    run(model, inputs, sharing.record)
    with pytest.raises(PosegenError, match="one size"):
        run(model, make_inputs(rows=4), sharing.share)


@pytest.mark.parametrize(
    ("settings", "tokens", "message"),
    [({"layers": [9]}, None, "layer 9"), ({}, [40], "token 40"), ({}, [-1], "token -1")],
)
def test_what_does_not_exist_is_named(model, inputs, settings, tokens, message):
    with pytest.raises(PosegenError, match=message):
        run(model, inputs, BackgroundSharing(config("paper", **settings), tokens).record)
