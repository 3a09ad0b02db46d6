"""LPIPS, FID, FID-VID and FVD with random weights, against forwards written from the weights' names; wrong files."""

import hashlib

import numpy as np
import pytest
import torch
from PIL import Image
from scored_frames import run
from torch import nn
from torch.nn import functional

from posegen.errors import PosegenError
from posegen.evaluate.metrics import lpips_fid_fvd
from posegen.evaluate.metrics.inception import FidInception, inception_input, load_inception
from posegen.evaluate.metrics.perceptual import Lpips, Vgg16, load_lpips
from posegen.evaluate.metrics.video_networks import (
    I3D,
    ResNet3D,
    i3d_input,
    load_i3d,
    load_resnet3d,
    resized,
    resnet_input,
)
from posegen.evaluate.protocols import Protocol, find_protocol
from posegen.evaluate.report.score_tables import frechet_cell

CPU = torch.device("cpu")


def randomised(make):
    """A network of random weights that keep activations in range, running statistics of batch norms included."""
    with torch.device("meta"):  # it draws none of its own
        module = make()
    module.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(0)
    for name, value in [*module.named_parameters(), *module.named_buffers()]:
        if value.ndim > 1:
            value.data.copy_(torch.randn(value.shape, generator=generator) * (2 / value[0].numel()) ** 0.5)
        elif name.endswith("running_var") or name.endswith("weight"):
            value.data.copy_(0.8 + 0.4 * torch.rand(value.shape, generator=generator))
        elif value.is_floating_point():
            value.data.copy_(0.1 * torch.randn(value.shape, generator=generator))
        else:
            value.data.zero_()
    return module.eval().requires_grad_(False)


def norm(state, name, maps, eps):
    mean, variance = state[f"{name}.running_mean"], state[f"{name}.running_var"]
    return functional.batch_norm(maps, mean, variance, state[f"{name}.weight"], state[f"{name}.bias"], eps=eps)


def test_inception_is_the_published_one():
    model = randomised(FidInception)
    state = model.state_dict()
    # torchvision's Inception v3 without its auxiliary head has 23,834,568 parameters, FID's eight classes more
    assert sum(value.numel() for value in model.parameters()) == 23_834_568 + 8 * 2049

    def conv(name, maps, stride=1, padding=(0, 0)):
        maps = functional.conv2d(maps, state[f"{name}.conv.weight"], stride=stride, padding=padding)
        return norm(state, f"{name}.bn", maps, 1e-3).relu()

    def chain(block, maps, *steps):
        for name, padding, *stride in steps:
            maps = conv(f"{block}.{name}", maps, *(stride or [1]), padding)
        return maps

    def pool(block, maps, kind="average"):
        if kind == "average":
            ones = functional.avg_pool2d(torch.ones_like(maps), 3, 1, 1)
            maps = functional.avg_pool2d(maps, 3, 1, 1) / ones  # the border does not count
        else:
            maps = functional.max_pool2d(maps, 3, 1, 1)
        return conv(f"{block}.branch_pool", maps)

    none, one, two, row, column = (0, 0), (1, 1), (2, 2), (0, 3), (3, 0)
    pictures = torch.rand(1, 3, 299, 299, generator=torch.Generator().manual_seed(1)) * 2 - 1
    maps = conv("Conv2d_2b_3x3", conv("Conv2d_2a_3x3", conv("Conv2d_1a_3x3", pictures, 2)), 1, one)
    maps = functional.max_pool2d(conv("Conv2d_4a_3x3", conv("Conv2d_3b_1x1", functional.max_pool2d(maps, 3, 2))), 3, 2)
    for block in ("Mixed_5b", "Mixed_5c", "Mixed_5d"):
        maps = torch.cat(
            [
                chain(block, maps, ("branch1x1", none)),
                chain(block, maps, ("branch5x5_1", none), ("branch5x5_2", two)),
                chain(block, maps, ("branch3x3dbl_1", none), ("branch3x3dbl_2", one), ("branch3x3dbl_3", one)),
                pool(block, maps),
            ],
            1,
        )
    maps = torch.cat(
        [
            chain("Mixed_6a", maps, ("branch3x3", none, 2)),
            chain("Mixed_6a", maps, ("branch3x3dbl_1", none), ("branch3x3dbl_2", one), ("branch3x3dbl_3", none, 2)),
            functional.max_pool2d(maps, 3, 2),
        ],
        1,
    )
    for block in ("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"):
        maps = torch.cat([
            chain(block, maps, ("branch1x1", none)),
            chain(block, maps, ("branch7x7_1", none), ("branch7x7_2", row), ("branch7x7_3", column)),
            chain(block, maps, ("branch7x7dbl_1", none), ("branch7x7dbl_2", column), ("branch7x7dbl_3", row),
                  ("branch7x7dbl_4", column), ("branch7x7dbl_5", row)),
            pool(block, maps),
        ], 1)  # fmt: skip  # a table, read in rows
    maps = torch.cat([
        chain("Mixed_7a", maps, ("branch3x3_1", none), ("branch3x3_2", none, 2)),
        chain("Mixed_7a", maps, ("branch7x7x3_1", none), ("branch7x7x3_2", row), ("branch7x7x3_3", column),
              ("branch7x7x3_4", none, 2)),
        functional.max_pool2d(maps, 3, 2),
    ], 1)  # fmt: skip  # a table, read in rows
    for block, kind in (("Mixed_7b", "average"), ("Mixed_7c", "maximum")):
        three = chain(block, maps, ("branch3x3_1", none))
        double = chain(block, maps, ("branch3x3dbl_1", none), ("branch3x3dbl_2", one))
        maps = torch.cat(
            [
                chain(block, maps, ("branch1x1", none)),
                chain(block, three, ("branch3x3_2a", (0, 1))),
                chain(block, three, ("branch3x3_2b", (1, 0))),
                chain(block, double, ("branch3x3dbl_3a", (0, 1))),
                chain(block, double, ("branch3x3dbl_3b", (1, 0))),
                pool(block, maps, kind),
            ],
            1,
        )
    expected = maps.mean(dim=(2, 3))
    assert expected.std() > 1e-3
    torch.testing.assert_close(model(pictures), expected, rtol=1e-4, atol=1e-4)


def same(maps, kernel, stride):
    """TensorFlow's padding, from its definition: ceil(side / stride) results."""
    pads = []
    for side, length, step in reversed(list(zip(maps.shape[2:], kernel, stride, strict=True))):
        total = max((-(-side // step) - 1) * step + length - side, 0)
        pads += [total // 2, total - total // 2]
    return functional.pad(maps, pads)


def test_i3d_is_the_published_one():
    model = randomised(I3D)
    state = model.state_dict()

    def unit(name, maps, stride=1):
        weight = state[f"{name}.conv3d.weight"]
        maps = functional.conv3d(same(maps, weight.shape[2:], [stride] * 3), weight, stride=stride)
        return norm(state, f"{name}.bn", maps, 1e-3).relu()

    def pool(maps, kernel, stride):
        return functional.max_pool3d(same(maps, kernel, stride), kernel, stride)

    windows = torch.rand(1, 3, 16, 224, 224, generator=torch.Generator().manual_seed(1)) * 2 - 1
    maps = pool(unit("Conv3d_1a_7x7", windows, 2), (1, 3, 3), (1, 2, 2))
    maps = pool(unit("Conv3d_2c_3x3", unit("Conv3d_2b_1x1", maps)), (1, 3, 3), (1, 2, 2))
    for group, blocks, after in ((3, "bc", (3, 2)), (4, "bcdef", (2, 2)), (5, "bc", None)):
        for letter in blocks:
            block = f"Mixed_{group}{letter}"
            maps = torch.cat(
                [
                    unit(f"{block}.b0", maps),
                    unit(f"{block}.b1b", unit(f"{block}.b1a", maps)),
                    unit(f"{block}.b2b", unit(f"{block}.b2a", maps)),
                    unit(f"{block}.b3b", pool(maps, (3, 3, 3), (1, 1, 1))),
                ],
                1,
            )
        if after is not None:
            maps = pool(maps, (after[0],) * 3, (after[1],) * 3)
    assert maps.shape == (1, 1024, 2, 7, 7)
    pooled = maps.mean(dim=(2, 3, 4))
    expected = pooled @ state["logits.conv3d.weight"].flatten(1).T + state["logits.conv3d.bias"]
    torch.testing.assert_close(model(windows), expected, rtol=1e-4, atol=1e-4)


def test_the_residual_network_is_the_published_one(tmp_path):
    model = randomised(ResNet3D)
    state = model.state_dict()

    def conv(name, maps, stride=1, padding=0):
        return functional.conv3d(maps, state[f"{name}.weight"], stride=stride, padding=padding)

    def step(block, number, maps, stride=1, padding=0):
        return norm(state, f"{block}.bn{number}", conv(f"{block}.conv{number}", maps, stride, padding), 1e-5)

    windows = 60 * torch.randn(1, 3, 16, 112, 112, generator=torch.Generator().manual_seed(1))
    maps = functional.max_pool3d(norm(state, "bn1", conv("conv1", windows, (1, 2, 2), 3), 1e-5).relu(), 3, 2, 1)
    for layer, blocks in enumerate((3, 4, 6, 3), start=1):
        for number in range(blocks):
            block, stride = f"layer{layer}.{number}", 2 if number == 0 and layer > 1 else 1
            inner = step(block, 1, maps).relu()
            inner = step(block, 3, step(block, 2, inner, stride, 1).relu())
            if number == 0:
                maps = norm(state, f"{block}.downsample.1", conv(f"{block}.downsample.0", maps, stride), 1e-5)
            maps = (inner + maps).relu()
    assert maps.shape == (1, 2048, 1, 4, 4)
    torch.testing.assert_close(model(windows), maps.mean(dim=(2, 3, 4)), rtol=1e-4, atol=1e-4)
    # as the weights are published: trained on several devices, inside a checkpoint
    path = tmp_path / "resnet-50-kinetics.pth"
    torch.save({"epoch": 1, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)
    torch.testing.assert_close(load_resnet3d(path)(windows), model(windows))


def test_lpips_is_the_published_formula():
    network = randomised(Vgg16)
    # the published VGG-16 has 138,357,544 parameters
    assert sum(value.numel() for value in network.parameters()) == 138_357_544
    model = Lpips(network)
    generator = torch.Generator().manual_seed(1)
    left, right = (torch.rand(2, 3, 32, 48, generator=generator) * 2 - 1 for _ in range(2))
    shift, scale = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
    expected = np.zeros(2)
    maps = [
        ((picture.numpy().transpose(0, 2, 3, 1) - shift) / scale).transpose(0, 3, 1, 2) for picture in (left, right)
    ]
    pair = [torch.tensor(each, dtype=torch.float32) for each in maps]
    head = 0
    convolutions = [layer for layer in network.features if not isinstance(layer, nn.ReLU)]
    for layer, following in zip(convolutions, [*convolutions[1:], None], strict=False):
        pair = [layer(each).relu() for each in pair]
        if isinstance(layer, nn.Conv2d) and not isinstance(following, nn.Conv2d):  # the last of its resolution
            unit = [each.numpy() / (np.sqrt((each.numpy() ** 2).sum(1, keepdims=True)) + 1e-10) for each in pair]
            weights = model.heads[head].numpy()[None, :, None, None]
            assert (weights >= 0).all()
            expected += (weights * (unit[0] - unit[1]) ** 2).sum(1).mean(axis=(1, 2))
            head += 1
    assert head == 5
    np.testing.assert_allclose(model(left, right).numpy(), expected, atol=1e-4, rtol=1e-4)
    assert model(left, left).abs().max() == 0


RULES = Protocol("small", (64, 64), window=16, stride=2, zero_to_one=True, weighted=False)


def frames_of(seed):
    """18 frames: with a stride of 2, two windows of 16."""
    return np.random.default_rng(seed).integers(0, 256, (18, 64, 64, 3), np.uint8)


def features_of_windows(network, frames, side, scale, shift):
    """Of frames 0 to 15 and 2 to 17, one after the other; pixels are 0..255 times `scale` plus `shift`."""
    windows = [resized(frames[start : start + 16], side) * scale + shift for start in (0, 2)]
    pictures = [torch.tensor(window.transpose(3, 0, 1, 2)[None], dtype=torch.float32) for window in windows]
    return np.concatenate([network(each).numpy() for each in pictures]).astype(np.float64)


def test_fid_is_of_all_frames_and_nothing_for_a_set_with_itself(tmp_path):
    network = randomised(FidInception)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    metric, frames = lpips_fid_fvd.fid(tmp_path / "weights.pth", CPU), frames_of(0)[:5]
    found = run(metric, frames, rules=RULES)
    pictures = torch.tensor(frames.transpose(0, 3, 1, 2) / 255, dtype=torch.float32)
    expected = np.concatenate([network(inception_input(each[None])).numpy() for each in pictures])
    np.testing.assert_allclose(found.features["FID"].arrays()["rows"], expected, rtol=1e-3, atol=1e-4)
    cell, warning = frechet_cell(metric.scores[0], {"a": found}, {"a": found})
    assert (cell.value < 1e-3, cell.samples) == (True, 5)
    assert "5 samples are too few for 2048 features" in warning


def test_fid_vid_is_the_distance_of_its_windows(tmp_path):
    network = randomised(ResNet3D)
    torch.save(network.state_dict(), tmp_path / "weights.pth")
    metric, score = lpips_fid_fvd.fid_vid(tmp_path / "weights.pth", CPU), "FID-VID"
    sets = [frames_of(0), frames_of(1) // 2]
    left, right = (run(metric, frames, rules=RULES) for frames in sets)
    rows = [features_of_windows(network, frames, 112, 1, -np.array([114.7748, 107.7354, 99.475])) for frames in sets]
    for found, expected in zip((left, right), rows, strict=True):
        atol = 1e-4 * np.abs(expected).max()
        np.testing.assert_allclose(found.features[score].arrays()["rows"], expected, rtol=1e-3, atol=atol)
    # of two samples the covariance is d dᵀ / 2, and tr (C1 C2)^½ = |d1 · d2| / 2
    (first, second), (third, fourth) = rows
    one, other = first - second, third - fourth
    expected = (((first + second - third - fourth) / 2) ** 2).sum() + (one @ one + other @ other) / 2 - abs(one @ other)
    assert frechet_cell(metric.scores[0], {"a": left}, {"a": right})[0].value == pytest.approx(expected, rel=1e-3)
    assert frechet_cell(metric.scores[0], {"a": left}, {"a": left})[0].value < 1e-3


def test_fvd_is_of_windows_from_minus_one_to_one(tmp_path):
    network = randomised(I3D)
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    metric, frames = lpips_fid_fvd.fvd(tmp_path / "weights.pt", CPU), frames_of(0)
    found = run(metric, frames, rules=RULES)
    expected = features_of_windows(network, frames, 224, 1 / 127.5, -1)
    np.testing.assert_allclose(found.features["FVD"].arrays()["rows"], expected, rtol=1e-3, atol=1e-4)
    cell, _ = frechet_cell(metric.scores[0], {"a": found}, {"a": found})
    assert (cell.value < 1e-3, cell.samples) == (True, 2)


def test_lpips_is_of_each_frame_in_the_range_of_the_protocol(tmp_path):
    network = randomised(Vgg16)
    state = network.state_dict()
    for key in state:
        if key.startswith("classifier"):  # not looked at, and 500 MB
            state[key] = torch.zeros(1).expand(state[key].shape)
    torch.save(state, tmp_path / "weights.pth")
    metric, model = lpips_fid_fvd.LpipsMetric(tmp_path / "weights.pth", CPU), Lpips(network)
    frames, ground_truth = frames_of(0)[:3, :32, :32], frames_of(1)[:3, :32, :32]
    for rules, scale, shift in ((RULES, 1 / 255, 0), (find_protocol("native"), 1 / 127.5, -1)):
        pair = [
            torch.tensor(each.transpose(0, 3, 1, 2) * scale + shift, dtype=torch.float32)
            for each in (frames, ground_truth)
        ]
        found = run(metric, frames, ground_truth, rules=rules)
        np.testing.assert_allclose(found.curves["LPIPS"][1], model(*pair).numpy(), rtol=1e-4)
        assert found.values["LPIPS"] > 0
    assert run(metric, frames, frames, rules=RULES).values["LPIPS"] < 1e-6


def test_inputs_are_what_the_networks_expect():
    frames = np.random.default_rng(0).integers(0, 256, (2, 40, 30, 3), np.uint8)
    frames[0] = 255
    pictures = inception_input(torch.from_numpy(frames.transpose(0, 3, 1, 2) / np.float32(255)))
    assert pictures.shape == (2, 3, 299, 299)
    assert (pictures[0] - 1).abs().max() < 1e-5
    small = resized(frames, 16)
    expected = Image.fromarray(frames[1]).resize((16, 16), Image.Resampling.BICUBIC)
    assert np.abs(small[1].clip(0, 255) - np.asarray(expected)).max() <= 1  # Pillow's 8-bit version rounds twice
    windows = np.stack([small] * 8).reshape(1, 16, 16, 16, 3)
    assert i3d_input(windows).shape == resnet_input(windows).shape == (1, 3, 16, 16, 16)
    assert float(i3d_input(windows)[0, 0, 0].mean()) == pytest.approx(1, abs=1e-3)
    assert float(resnet_input(windows)[0, 2, 0].mean()) == pytest.approx(255 - 99.475, abs=0.1)


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(ResNet3D().state_dict(), path)
    with pytest.raises(PosegenError, match=r"not the weights of I3D .*Conv3d_1a_7x7.*i3d_pretrained_400\.pt") as caught:
        load_i3d(path)
    assert "\n" not in str(caught.value)
    # torchvision's Inception differs from FID's by the number of its classes
    state = FidInception().state_dict()
    state["fc.weight"], state["fc.bias"] = state["fc.weight"][:1000], state["fc.bias"][:1000]
    torch.save(state, path)
    with pytest.raises(PosegenError, match=r"fc\.weight is \(1000, 2048\), not \(1008, 2048\)"):
        load_inception(path)


def test_damaged_weights_are_refused(tmp_path):
    path = tmp_path / "weights.pth"
    with pytest.raises(PosegenError, match="no such file"):
        load_i3d(path)
    for content in (b"PK\x03\x04 cut off", b"error: not found\n", b"hello", b"JSON", b""):
        path.write_bytes(content)
        with pytest.raises(PosegenError, match="cannot be read as weights of I3D") as caught:
            load_i3d(path)
        assert "\n" not in str(caught.value)
    path.with_suffix(".safetensors").write_bytes(b"{}")
    with pytest.raises(PosegenError, match="cannot be read as weights of I3D"):
        load_i3d(path.with_suffix(".safetensors"))
    torch.save({"state_dict": 5}, path)
    with pytest.raises(PosegenError, match="holds no weights"):
        load_i3d(path)
    torch.save({"epoch": 3}, path)
    with pytest.raises(PosegenError, match="holds no weights"):
        load_lpips(path)
    state = I3D().state_dict()
    state["logits.conv3d.bias"][3] = float("nan")
    torch.save(state, path)
    with pytest.raises(PosegenError, match="not numbers"):
        load_i3d(path)


def test_a_hash_in_the_name_is_checked(tmp_path):
    content = tmp_path / "content"
    torch.save(I3D().state_dict(), content)
    digest = hashlib.sha256(content.read_bytes()).hexdigest()
    right, wrong = tmp_path / f"i3d-{digest[:8]}.pth", tmp_path / "i3d-01234567.pth"
    content.rename(right)
    assert isinstance(load_i3d(right), I3D)
    right.rename(wrong)
    with pytest.raises(PosegenError, match="hash"):
        load_i3d(wrong)
