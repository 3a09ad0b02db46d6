"""Checksums: no damage goes unseen, and no file is read twice."""

import hashlib
import json
import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen import digests
from posegen.media.checksums import (
    DamagedFileError,
    check_digests,
    checked_json,
    checksum_path,
    digests_of,
    read_checked_file,
    read_checked_json,
    remove_checked,
    state_of,
    write_checked,
    write_checksum,
)
from posegen.media.files import MAX_KEPT, read_kept

CONTENT = {"prompt": "a dancer, «très» vite", "steps": [1, 2.5, None, True], "more": {"seed": 42}}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_json_file_with_a_flipped_bit_is_damaged_or_says_the_same(data):
    content = checked_json(CONTENT)
    bit = data.draw(st.integers(0, 8 * len(content) - 1))
    try:
        found = read_checked_json(flipped(content, bit), "x.json", required=True)
    except DamagedFileError:
        return
    assert found == CONTENT


def test_json_comes_back_as_it_was():
    assert read_checked_json(checked_json(CONTENT), "x.json", required=True) == CONTENT
    assert read_checked_json(json.dumps(CONTENT).encode(), "x.json") == CONTENT  # of an older posegen
    with pytest.raises(DamagedFileError, match="no checksum"):
        read_checked_json(json.dumps(CONTENT).encode(), "x.json", required=True)
    for wrong in (b"", b"[1]", b"[" * 100_000, b"\xff", b"null"):
        with pytest.raises(DamagedFileError):
            read_checked_json(wrong, "x.json")


@given(st.integers(0, 8 * 64 - 1), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_in_a_file_or_its_checksum_is_seen(tmp_path_factory, bit, in_checksum):
    path = tmp_path_factory.mktemp("kept") / "a.npz"
    write_checked(path, bytes(range(64)))
    assert state_of(path) == "intact"
    changed = checksum_path(path) if in_checksum else path
    changed.write_bytes(flipped(changed.read_bytes(), bit))
    assert state_of(path) == "damaged"


def test_what_a_file_can_be(tmp_path):
    first, second = tmp_path / "a.mkv", tmp_path / "b.mkv"
    for path in (first, second):
        path.write_bytes(path.name.encode())
        assert state_of(path, "job-1") == "unchecked"
        write_checksum(path, "job-1")
        assert state_of(path, "job-1") == "intact"
    assert state_of(first, "job-2") == "damaged"  # brought from another job
    for name in ("{}", "{}.sha256"):  # with its checksum, another file takes its place
        one, other = (tmp_path / name.format(path.name) for path in (first, second))
        content = one.read_bytes()
        one.write_bytes(other.read_bytes())
        other.write_bytes(content)
    assert state_of(first, "job-1") == state_of(second, "job-1") == "damaged"
    remove_checked(first)
    assert state_of(first) == "missing"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.mkv", "b.mkv.sha256"]


def test_checksums_of_an_older_posegen_have_no_owner(tmp_path):
    (tmp_path / "a.mkv").write_bytes(b"frames")
    write_checksum(tmp_path / "a.mkv")
    assert state_of(tmp_path / "a.mkv", "job-1") == "intact"


def test_files_of_a_folder_are_checked_by_name(tmp_path):
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "a").write_bytes(b"a")
    (tmp_path / "b").write_bytes(b"b")
    found = digests_of(tmp_path)
    assert set(found) == {"inside/a", "b"}
    check_digests(tmp_path, found)
    (tmp_path / "b").write_bytes(b"c")
    with pytest.raises(DamagedFileError, match="b: missing or damaged"):
        check_digests(tmp_path, found)


def test_a_file_is_read_once_and_again_when_it_has_changed(tmp_path, monkeypatch):
    path, read = tmp_path / "a", []
    path.write_bytes(b"first")
    monkeypatch.setattr(digests, "_RESOLUTION", -1)  # no need to wait until the file is old enough
    hashed = hashlib.file_digest
    monkeypatch.setattr(digests.hashlib, "file_digest", lambda *given: read.append(1) or hashed(*given))
    for _ in range(3):
        assert digests.file_digest(path) == hashlib.sha256(b"first").hexdigest()
    assert len(read) == 1
    path.unlink()
    path.write_bytes(b"other")
    assert digests.file_digest(path) == hashlib.sha256(b"other").hexdigest()


def test_a_file_that_is_too_large_to_be_a_kept_one_is_not_read(tmp_path):
    path = tmp_path / "manifest.json"
    path.write_bytes(checked_json({"a": 1}))
    assert read_kept(path, path.stat().st_size)
    with pytest.raises(OSError, match="did not write"):
        read_kept(path, path.stat().st_size - 1)
    os.truncate(path, MAX_KEPT + 1)
    with pytest.raises(OSError, match="did not write"):
        read_kept(path)
    with pytest.raises(DamagedFileError, match="memory"):
        read_checked_json(b"[" + b"[]," * 6_000_000 + b"[]]", path)


def test_a_pipe_in_the_place_of_a_kept_file_is_no_file(tmp_path):
    """Opening it would wait for ever."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match="not a file"):
            read_kept(path)
    with pytest.raises(FileNotFoundError):
        read_kept(tmp_path / "missing")
    with pytest.raises(DamagedFileError, match="pipe"):
        read_checked_file(tmp_path / "pipe")
    with pytest.raises(FileNotFoundError):
        read_checked_file(tmp_path / "missing")
    path = tmp_path / "file"
    path.write_bytes(b"content")
    os.mkfifo(checksum_path(path))
    assert state_of(path) == "unchecked"
