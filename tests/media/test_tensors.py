"""Safetensors files, whole or not at all, and what is said where they cannot be written."""

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from posegen.errors import DiskFullError, OutputError, PosegenError
from posegen.media import tensors
from posegen.media.tensors import check_header, save_safetensors


def test_tensors_come_back_with_their_metadata(tmp_path):
    path = tmp_path / "new" / "some.safetensors"
    given = {"turned": torch.arange(6.0).view(2, 3).T, "grown": torch.ones(2, requires_grad=True)}
    save_safetensors(given, path, {"made": "today"})
    back = load_file(path)
    assert all(torch.equal(back[name], tensor) for name, tensor in given.items())
    with safe_open(path, framework="pt") as file:
        assert file.metadata() == {"made": "today"}


def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, full_disk):
    path = tmp_path / "some.safetensors"
    save_safetensors({"a": torch.ones(10)}, path)
    before = path.read_bytes()
    with full_disk(1000), pytest.raises(DiskFullError, match=r"some\.safetensors: the disk is full"):
        save_safetensors({"a": torch.ones(10_000)}, path)
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [("some.safetensors", before)]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"some\.safetensors"):
        save_safetensors({"a": torch.ones(1)}, tmp_path / "file" / "some.safetensors")


def test_a_list_of_tensors_longer_than_any_models_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "some.safetensors"
    save_safetensors({f"a{number}": torch.ones(1) for number in range(100)}, path)
    check_header(path)
    monkeypatch.setattr(tensors, "_MAX_HEADER", 1000)
    with pytest.raises(PosegenError, match=r"some\.safetensors: its list of tensors has .* 1,000 are read"):
        check_header(path)
