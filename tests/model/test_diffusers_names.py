"""Each name below `diffusers` that posegen uses is there, listed in `docs/diffusers.md`, and watched by a test."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKLWan

from posegen.model import lora

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "diffusers.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(diffusers\.[\w.]+)` \| .+ \| `([\w/.]+)::(\w+)` \|$", PAGE, re.MULTILINE)
OF_INSTANCES = {"diffusers.AutoencoderKLWan._feat_map"}
"""Attributes that only an object has."""


def resolve(name):
    """What the dotted name stands for; raises `AttributeError` or `ImportError` where it is gone."""
    parts = name.split(".")
    for end in range(len(parts) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, "__dataclass_fields__", {}).get(part) or getattr(found, part)
        return found
    raise ImportError(name)


def imported_names():
    """All that the source code imports from below `diffusers`."""
    found = set()
    for path in (REPOSITORY / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("diffusers."):
                found |= {f"{node.module}.{alias.name}" for alias in node.names}
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("diffusers.")]
    return found


@pytest.mark.parametrize("name", [row[0] for row in ROWS if row[0] not in OF_INSTANCES])
def test_the_name_is_there(name):
    resolve(name)


def test_the_autoencoder_has_a_feature_map():
    autoencoder = AutoencoderKLWan(base_dim=4, z_dim=4, dim_mult=[1, 1], temperal_downsample=[False], num_res_blocks=1)
    autoencoder.clear_cache()
    assert len(autoencoder._feat_map) > 0


def test_a_name_that_is_gone_is_noticed():
    with pytest.raises(AttributeError):
        resolve("diffusers.ModelMixin._no_such_declaration")
    with pytest.raises(AttributeError):
        resolve("diffusers.hooks._helpers.NoSuchRegistry")


def test_the_page_lists_what_is_imported_and_nothing_else():
    listed = {row[0] for row in ROWS}
    first = PAGE.index("## Attributes")
    imports = {name for name in listed if f"| `{name}` |" in PAGE[:first]}
    assert imports == imported_names()


def test_declarations_of_our_classes_are_listed():
    """Class attributes with an underscore that diffusers' own models have."""
    from diffusers import ModelMixin

    from posegen.model.autoencoder import AutoencoderLightVideo
    from posegen.model.transformer import PoseGenTransformer3DModel

    declared = {
        name
        for ours in (PoseGenTransformer3DModel, AutoencoderLightVideo)
        for name in vars(ours)
        if name.startswith("_") and not name.startswith("__") and hasattr(ModelMixin, name)
    }
    listed = {name.rsplit(".", 1)[1] for name, *_ in ROWS}
    assert declared - {"_internal_dict", "_abc_impl"} <= listed


@pytest.mark.parametrize(("file", "function"), sorted({row[1:] for row in ROWS}))
def test_the_test_that_watches_is_there(file, function):
    tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
    assert function in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_attention_kwargs_scale_the_adapter(model, inputs):
    """Half the strength is half of B."""
    lora.add_adapter(model, "base", rank=2)
    products = [parameter for name, parameter in model.named_parameters() if ".lora_B." in name]
    generator = torch.Generator().manual_seed(0)
    for parameter in products:
        parameter.data.normal_(std=0.1, generator=generator)

    def at(scale):
        with torch.no_grad():
            return model(**vars(inputs), attention_kwargs={"scale": scale}).sample

    whole, half = at(1.0), at(0.5)
    assert (whole - half).abs().max() > 1e-3
    for parameter in products:
        parameter.data.mul_(0.5)
    torch.testing.assert_close(at(1.0), half, rtol=0, atol=1e-5)
