"""Agreement with the method's published inference code (tests/golden, see its origin in the golden README)."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from posegen.model.sharing import BackgroundSharing, SharingConfig
from posegen.model.transformer import PoseGenTransformer3DModel

GOLDEN = Path(__file__).parents[1] / "golden" / "transformer.safetensors"


@pytest.fixture(scope="module")
def golden():
    with safe_open(GOLDEN, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, {key: json.loads(value) for key, value in file.metadata().items()}


@pytest.fixture(scope="module")
def model(golden):
    tensors, metadata = golden
    weights = {name.removeprefix("weights."): t for name, t in tensors.items() if name.startswith("weights.")}
    return PoseGenTransformer3DModel.from_release_state_dict(weights, metadata["config"])


def predict(model, tensors, which, step, branch, background=None):
    with torch.no_grad():
        return model(
            tensors[f"inputs.{which}.x"],
            tensors[f"inputs.{which}.cond_latents"],
            tensors[f"inputs.{which}.hand_latents"],
            tensors["inputs.ref"],
            tensors["inputs.timesteps"][step],
            tensors["inputs.text" if branch == "positive" else "inputs.text_negative"],
            tensors["inputs.clip"],
            background=background,
            return_dict=False,
        )[0]


def runs():
    return [(step, branch) for step in (0, 1) for branch in ("positive", "negative")]


@pytest.mark.parametrize(("which", "name"), [("source", "source"), ("current", "plain")])
def test_plain_forward(golden, model, which, name):
    for step, branch in runs():
        expected = golden[0][f"outputs.{name}.step{step}.{branch}"]
        torch.testing.assert_close(predict(model, golden[0], which, step, branch), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "preset", "masked"),
    [
        ("shared", "release", True),
        ("shared_nomask", "release", False),
        ("paper", "paper", True),
        ("paper_nomask", "paper", False),
    ],
)
def test_background_sharing(golden, model, name, preset, masked):
    tensors, metadata = golden
    config = SharingConfig(preset, metadata["kv_steps"], metadata["kv_blocks"], metadata["max_mask_block"] + 1)
    sharing = BackgroundSharing(config, metadata["subject_token_indices"] if masked else None)
    for step, branch in runs():
        recorded = predict(model, tensors, "source", step, branch, sharing.record(step, branch))
        assert torch.equal(recorded, predict(model, tensors, "source", step, branch))
    for step, branch in runs():
        actual = predict(model, tensors, "current", step, branch, sharing.share(step, branch))
        expected = tensors[f"outputs.{name}.step{step}.{branch}"]
        plain = tensors[f"outputs.plain.step{step}.{branch}"]
        assert (expected - plain).abs().max() > 1e-3  # the feature has an effect here
        torch.testing.assert_close(actual, expected, rtol=0, atol=1e-5)
