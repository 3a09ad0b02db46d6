"""Each kind of model is found by one function, and is the same model wherever its folder is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from posegen.errors import PosegenError
from posegen.model import mini
from posegen.model.folder_sources import ADAPTED, AdapterFolder, OwnFolder, PackagedFolder, StockFolder
from posegen.model.hub_sources import PublishedWeights, StockWan
from posegen.model.sources import NAMES, describe_model, find_source, load_folder, model_identity


@pytest.fixture
def model(narrow, tmp_path):
    """A copy, since it is changed."""
    return Path(shutil.copytree(narrow, tmp_path / "model"))


def adapters(folder, base):
    (folder / "adapters" / "base").mkdir(parents=True)
    (folder / "adapters" / "base" / "weights.safetensors").write_bytes(b"weights")
    (folder / ADAPTED).write_text(json.dumps({"base": str(base)}))
    return folder


def test_each_kind_has_its_class(model, tmp_path):
    assert [type(find_source(name)) for name in NAMES] == [PackagedFolder, PublishedWeights, PublishedWeights, StockWan]
    assert type(find_source(str(mini.FOLDER))) is OwnFolder
    assert type(find_source(str(model))) is OwnFolder
    assert type(find_source(str(adapters(tmp_path / "adapters", model)))) is AdapterFolder
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, "_class_name": "WanImageToVideoPipeline"}))
    assert type(find_source(str(model))) is StockFolder


def test_a_name_stands_before_a_folder_of_that_name(model, tmp_path, monkeypatch):
    model.rename(tmp_path / "mini")
    monkeypatch.chdir(tmp_path)
    assert find_source("mini").folder == mini.FOLDER
    assert find_source("./mini").folder == Path("mini")


def test_an_unknown_name_is_an_error_and_has_no_identity_but_itself(tmp_path):
    with pytest.raises(PosegenError, match="unknown model 'nobody'"):
        find_source("nobody")
    assert model_identity("scratch:mini") == "scratch:mini"
    with pytest.raises(PosegenError, match=r"model_index\.json"):
        describe_model(str(tmp_path))


def test_a_folder_is_known_by_its_weights_not_by_its_place(model, tmp_path):
    before = model_identity(str(model))
    copy = shutil.copytree(model, tmp_path / "copy", copy_function=shutil.copyfile)  # with times of its own
    assert model_identity(str(copy)) == before
    path = next((copy / "vae").glob("*.safetensors"))
    weights = load_file(path)
    next(iter(weights.values())).view(-1)[0] += 1
    save_file(weights, path, metadata={"format": "pt"})
    assert model_identity(str(copy)) != before


def test_adapters_are_known_by_themselves_and_by_their_base(model, tmp_path):
    first = adapters(tmp_path / "first", model)
    before = model_identity(str(first))
    copy = shutil.copytree(model, tmp_path / "copy")
    assert model_identity(str(adapters(tmp_path / "second", copy))) == before
    (tmp_path / "second" / "adapters" / "base" / "weights.safetensors").write_bytes(b"others!")
    assert model_identity(str(tmp_path / "second")) != before
    (model / "vae" / "added.json").write_text("{}")
    assert model_identity(str(first)) != before


def test_adapters_have_settings_of_their_own(model, tmp_path):
    folder = adapters(tmp_path / "few", model)
    before, plain = describe_model(str(folder)), model_identity(str(folder))

    def note(settings):
        (folder / ADAPTED).write_text(json.dumps({"base": str(model), "settings": settings}))

    note({"few_steps": 3, "default_steps": 3, "flow_shift": 2.0})
    described = describe_model(str(folder))
    assert described == replace(before, few_steps=3, default_steps=3, flow_shift=2.0)
    assert model_identity(str(folder)) != plain
    for wrong, named in ({"few_steps": -1}, "few_steps"), ({"seed": 1}, "'seed' is unknown"), ([], "settings"):
        note(wrong)
        with pytest.raises(PosegenError, match=named):
            describe_model(str(folder))


@pytest.mark.parametrize("others", [0, 1])
def test_adapters_that_are_their_own_base_are_an_error(tmp_path, others):
    names = [tmp_path / str(number) for number in range(others + 1)]
    for name, base in zip(names, names[1:] + names[:1], strict=True):
        adapters(name, base)
    with pytest.raises(PosegenError, match=ADAPTED):
        describe_model(str(names[0]))


def test_a_folder_with_another_pipeline_is_not_loaded(model):
    index = json.loads((model / "model_index.json").read_text())
    (model / "model_index.json").write_text(json.dumps({**index, "_class_name": "OtherPipeline"}))
    with pytest.raises(PosegenError, match="got OtherPipeline"):
        load_folder(model, torch.float32)
