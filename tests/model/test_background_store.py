"""The stores agree; what is kept is what is needed; a folder that outlived its process is taken over."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_transformer import make_inputs, predict

from posegen.errors import OutputError, PosegenError
from posegen.model import background_store
from posegen.model.background_store import (
    BackgroundStore,
    CachePosition,
    DiskStore,
    HostTensor,
    MemoryStore,
    pack,
    unpack,
)
from posegen.model.sharing import BackgroundSharing, SharingConfig

BRANCHES = ("positive", "negative")
PASSES = [(step, branch) for step in range(2) for branch in BRANCHES]
PRESETS = ("paper", "release")


def config(preset, steps=(0, 1)):
    return SharingConfig(preset, list(steps), [1, 3], 2)


def run(model, inputs, make, steps=(0, 1)):
    """All steps, both branches; each has a text of its own, and each step a timestep."""
    outputs = []
    for step in steps:
        for sign, branch in zip((1, -1), BRANCHES, strict=True):
            text = sign * (1 + step) * inputs.encoder_hidden_states
            outputs.append(predict(model, inputs.but(encoder_hidden_states=text), make(step, branch)))
    return torch.stack(outputs)


def make_sharing(preset, store=None, precision="same"):
    return BackgroundSharing(config(preset), [2, 3], store, precision)


@pytest.mark.parametrize("preset", PRESETS)
def test_stores_agree_bit_for_bit(model, inputs, preset, tmp_path):
    other, results = make_inputs(seed=9), []
    for store in (MemoryStore(), MemoryStore("cpu"), DiskStore(tmp_path)):
        assert isinstance(store, BackgroundStore)
        sharing = make_sharing(preset, store)
        run(model, inputs, sharing.record)
        assert list(store.places()) == sharing.places(PASSES)
        results += [run(model, other, sharing.share) for _ in range(2)]  # read again for every segment
    assert all(torch.equal(results[0], result) for result in results[1:])
    assert not torch.equal(results[0], run(model, other, lambda step, branch: None))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_folder_that_is_left_is_taken_over(model, inputs, preset, tmp_path):
    other = make_inputs(seed=9)
    first = make_sharing(preset, DiskStore(tmp_path))
    assert not first.resume(PASSES)
    run(model, inputs, first.record)
    second = make_sharing(preset, DiskStore(tmp_path))
    assert second.resume(PASSES)
    assert torch.equal(run(model, other, second.share), run(model, other, first.share))
    assert second.anchor_masks.keys() == first.anchor_masks.keys()
    next(tmp_path.glob("step001-negative*")).unlink()
    assert not make_sharing(preset, DiskStore(tmp_path)).resume(PASSES)


def test_only_values_that_contribute_are_kept(model, inputs):
    sharing = make_sharing("paper")
    run(model, inputs, sharing.record)
    whole = make_sharing("release")
    run(model, inputs, whole.record)
    for place in sharing.places(PASSES):
        kept, all_of_it = sharing.store.get(place), whole.store.get(place)
        subject = int(sharing.anchor_masks[place.step, place.layer].sum())
        batch, tokens = kept["key"].shape[:2]
        assert subject > 0
        assert kept["value"].shape == (batch * tokens - subject, *kept["key"].shape[2:])
        assert all_of_it["value"].shape == all_of_it["key"].shape == kept["key"].shape
        assert torch.equal(kept["key"], all_of_it["key"])
    assert sharing.store.nbytes() < whole.store.nbytes()


def test_fewer_bits_cost_little(model, inputs):
    """Of what sharing changes the result moves by a few percent with 8 bits, with 10 by no more than with bfloat16."""
    other = make_inputs(seed=9)
    results, sizes = {}, {}
    for precision in ("same", "bf16", "int10", "fp8"):
        sharing = make_sharing("release", precision=precision)
        run(model, inputs, sharing.record)
        results[precision] = run(model, other, sharing.share)
        sizes[precision] = sum(
            tensor.nbytes
            for place in sharing.places(PASSES)
            for name, tensor in sharing.store.get(place).items()
            if name != "subject" and not name.endswith("_scale")
        )
    assert sizes["bf16"] == sizes["same"] / 2
    assert sizes["int10"] == sizes["bf16"] * 10 / 16
    assert sizes["fp8"] == sizes["same"] / 4
    effect = (results["same"] - run(model, other, lambda step, branch: None)).norm()
    lost = {precision: (result - results["same"]).norm() for precision, result in results.items()}
    assert 0 < lost["bf16"] < 0.01 * effect
    assert 0 < lost["int10"] < 1.5 * lost["bf16"]
    assert lost["int10"] < 0.3 * lost["fp8"]
    assert 0 < (results["fp8"] - results["same"]).norm() < 0.1 * effect


@given(st.data(), st.integers(1, 9), st.floats(-6, 6))
def test_ten_bits_keep_every_number_to_a_thousandth_of_the_largest(data, width, exponent):
    """Of any width: four numbers share a byte. Zeros and signs stay."""
    numbers = data.draw(st.lists(st.floats(-1e4, 1e4, width=32), min_size=3 * width, max_size=3 * width))
    tensor = torch.tensor(numbers).view(3, 1, width) * 10.0**exponent
    packed = pack("value", tensor, "int10")
    assert packed["value"].nbytes + packed["value_rest"].nbytes == 3 * (width + math.ceil(width / 4))
    back = unpack(packed, "value", torch.float32)
    assert back.shape == tensor.shape
    largest = tensor.abs().amax(-1, keepdim=True)
    assert ((back - tensor).abs() <= largest / 1000 + 1e-12).all()
    assert (back * tensor >= 0).all()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.35, 0.55])
@pytest.mark.parametrize("width", [64, 128])
def test_ten_bits_are_at_most_0_65_of_bfloat16_whatever_the_subject(share, width):
    """All that is kept of a layer, scales and mask too, against all keys and values in bfloat16."""
    tokens, heads = 1000, 4
    subject = torch.arange(tokens) < share * tokens
    key, value = torch.randn(2, 1, tokens, heads, width)
    store = MemoryStore()
    kept = {"subject": subject, **pack("key", key, "int10"), **pack("value", value[:, ~subject], "int10")}
    store.put(CachePosition(0, "positive", 0), kept)
    assert store.nbytes() <= (0.65 if width == 128 or share else 0.66) * 2 * 2 * key.numel()


class PinnedStore(MemoryStore):
    """Keeps and reads tensors as beside a GPU: in pieces, the next place ahead."""

    def put(self, place, tensors):
        super().put(place, {})
        if self._ahead is None:
            self._ahead = background_store._ReadAhead(self._tensors.__getitem__, torch.device("cpu"))
        self._ahead.forget()
        self._tensors[place] = {name: HostTensor(tensor) for name, tensor in tensors.items()}


@pytest.mark.parametrize("precision", ["same", "bf16", "int10", "fp8"])
def test_stores_agree_bit_for_bit_in_every_precision(model, inputs, precision, tmp_path, monkeypatch):
    monkeypatch.setattr(background_store, "_PIECE", 1000)
    other, results, sizes = make_inputs(seed=9), [], []
    for store in (MemoryStore(), PinnedStore("cpu"), DiskStore(tmp_path)):
        sharing = make_sharing("paper", store, precision)
        for anchor in (make_inputs(seed=3), inputs):  # a place that is put again is not served as it was before
            run(model, anchor, sharing.record)
            first = run(model, other, sharing.share)
            assert sharing.resume(PASSES)  # reads masks alone
            second = run(model, other, sharing.share)
        results += [first, second]
        sizes.append(store.nbytes())
    assert all(torch.equal(results[0], result) for result in results[1:])
    assert sizes[0] == sizes[1] < sizes[2]


@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=4, max_size=4), st.floats(-6, 6))
def test_packing_keeps_three_bits_of_every_number(numbers, exponent):
    tensor = torch.tensor(numbers).view(1, 1, 1, 4) * 10.0**exponent
    back = unpack(pack("key", tensor, "fp8"), "key", torch.float32)
    assert torch.isfinite(back).all()
    largest = tensor.abs().max()
    # half a unit of 3 bits of mantissa and of the scale's 8, and what is below the smallest number
    assert ((back - tensor).abs() <= tensor.abs() * (2**-4 + 2**-8) + largest * 2**-15 + 1e-9).all()
    assert torch.equal(unpack(pack("key", tensor, "same"), "key", torch.float32), tensor)


def test_a_damaged_file_is_named(tmp_path):
    store, place = DiskStore(tmp_path), CachePosition(0, "positive", 1)
    store.put(place, {"key": torch.ones(3)})
    (file,) = tmp_path.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(PosegenError, match=r"step000-positive-layer001\.safetensors cannot be read.*delete"):
        store.get(place)
    with pytest.raises(KeyError):
        store.get(CachePosition(0, "negative", 1))


def test_clearing_removes_the_files(tmp_path):
    store = DiskStore(tmp_path / "background")
    for layer in (3, 1):
        store.put(CachePosition(2, "negative", layer), {"key": torch.full((3,), float(layer)), "value": torch.ones(2)})
    assert list(DiskStore(tmp_path / "background").places()) == [
        CachePosition(2, "negative", 1),
        CachePosition(2, "negative", 3),
    ]
    assert list(store.get(CachePosition(2, "negative", 3), ("value",))) == ["value"]
    assert store.nbytes() > 2 * 5 * 4
    store.clear()
    assert not store.places()
    assert not (tmp_path / "background").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="step000-positive-layer001"):
        DiskStore(tmp_path / "file" / "background").put(CachePosition(0, "positive", 1), {"key": torch.ones(1)})


def test_float8_reaches_its_range():
    tensor = torch.tensor([[448.0, -448.0, 1.0, 0.0]])
    packed = pack("value", tensor, "fp8")
    assert packed["value"].dtype == torch.float8_e4m3fn
    assert math.isclose(float(packed["value"].float().abs().max()), 448.0, rel_tol=0.08)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int8, torch.bool])
@pytest.mark.parametrize("shape", [(1, 7, 2, 5), (0, 2, 5), (3, 1)])
def test_a_tensor_in_pieces_comes_back_whole(monkeypatch, dtype, shape):
    monkeypatch.setattr(background_store, "_PIECE", 16)
    tensor = torch.randn(shape).to(dtype).transpose(0, 1)
    kept = HostTensor(tensor)
    assert kept.nbytes == tensor.nbytes == sum(piece.nbytes for piece in kept.pieces)
    assert all(piece.nbytes <= 16 for piece in kept.pieces)
    back = kept.to("cpu")
    assert back.dtype == dtype
    assert torch.equal(back.float(), tensor.float())


def test_what_was_read_ahead_is_not_served_after_a_change(tmp_path):
    store = DiskStore(tmp_path)
    places = [CachePosition(0, "positive", layer) for layer in (0, 1)]

    def fill(value):
        for place in places:
            store.put(place, {"key": torch.full((2,), float(value))})

    fill(1)
    store.get(places[0])  # begins to read the other
    fill(2)
    assert store.get(places[1])["key"].tolist() == [2, 2]  # which begins to read the first again
    store.clear()
    fill(3)
    assert store.get(places[0])["key"].tolist() == [3, 3]


def test_what_is_damaged_when_a_job_is_taken_up_is_removed_and_told(tmp_path, caplog):
    store = DiskStore(tmp_path)
    for layer in range(3):
        store.put(CachePosition(0, "positive", layer), {"key": torch.full((3,), float(layer))})
    first, second, third = sorted(tmp_path.glob("*.safetensors"))
    content = bytearray(first.read_bytes())
    content[-1] ^= 1  # a value
    first.write_bytes(content)
    second.with_name(second.name + ".sha256").unlink()  # its writer was killed
    again = DiskStore(tmp_path)
    assert list(again.places()) == [CachePosition(0, "positive", 2)]
    assert first.name in caplog.text
    assert sorted(tmp_path.glob("*.safetensors")) == [third]
