"""A model is known by its contents: copies are the same one, a changed weight is another, and nothing is read twice."""

import os
import shutil

import pytest

from posegen import digests
from posegen.model import folder_digest as tested
from posegen.model.folder_digest import folder_digest


@pytest.fixture
def folder(tmp_path):
    for name in ("model_index.json", "transformer/config.json", "transformer/weights.safetensors", "vae/config.json"):
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_bytes(name.encode() * 100)
    return tmp_path / "model"


@pytest.fixture
def reads(monkeypatch, tmp_path):
    """Names of the files that are read, with the digests of all but empty ones kept in a cache of the test's."""
    names = []
    original = digests.hashlib.file_digest
    monkeypatch.setenv("POSEGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tested, "KEPT_FROM", 1)
    monkeypatch.setattr(digests, "_RESOLUTION", -1)  # no need to wait until files are old enough
    monkeypatch.setattr(digests, "_known", {})
    monkeypatch.setattr(
        digests.hashlib, "file_digest", lambda file, kind: names.append(file.name) or original(file, kind)
    )
    return names


def test_a_folder_that_is_copied_touched_or_moved_is_the_same(folder, tmp_path):
    before = folder_digest(folder)
    shutil.copytree(folder, tmp_path / "copy")
    assert folder_digest(tmp_path / "copy") == before
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    assert folder_digest(folder) == before
    folder.rename(tmp_path / "moved")
    assert folder_digest(tmp_path / "moved") == before


def test_what_systems_and_downloads_add_does_not_count(folder):
    before = folder_digest(folder)
    (folder / ".cache").mkdir()
    for name in (".DS_Store", ".cache/when", "README.md"):
        (folder / name).write_text("added")
    assert folder_digest(folder) == before


def test_one_changed_bit_is_another_model_even_with_size_and_time_as_before(folder):
    before, path = folder_digest(folder), folder / "transformer" / "weights.safetensors"
    status, content = path.stat(), bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder_digest(folder) != before


def test_a_renamed_or_missing_file_is_another_model(folder):
    before, path = folder_digest(folder), folder / "vae" / "config.json"
    path.rename(folder / "vae" / "other.json")
    renamed = folder_digest(folder)
    (folder / "vae" / "other.json").unlink()
    assert len({before, renamed, folder_digest(folder)}) == 3


def test_linked_parts_count_and_links_upwards_end(folder, tmp_path):
    before = folder_digest(folder)
    (folder / "vae").rename(tmp_path / "shared")
    (folder / "vae").symlink_to(tmp_path / "shared", target_is_directory=True)
    (folder / "transformer" / "up").symlink_to(folder, target_is_directory=True)
    assert folder_digest(folder) == before
    (tmp_path / "shared" / "config.json").write_text("{}")
    assert folder_digest(folder) != before


def test_a_large_file_is_read_once_by_all_processes(folder, reads, monkeypatch):
    before = folder_digest(folder)
    assert len(reads) == 4
    monkeypatch.setattr(digests, "_known", {})  # as in another process
    assert folder_digest(folder) == before
    assert len(reads) == 4
    (folder / "vae" / "config.json").write_text("{}")
    assert folder_digest(folder) != before
    assert len(reads) == 5


def test_a_damaged_or_missing_cache_costs_time_only(folder, reads, tmp_path, monkeypatch):
    before = folder_digest(folder)
    monkeypatch.setattr(digests, "_known", {})
    for note in (tmp_path / "cache" / "digests").iterdir():
        note.write_text("cut")
    assert folder_digest(folder) == before
    shutil.rmtree(tmp_path / "cache")
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setattr(digests, "_known", {})
    assert folder_digest(folder) == before
