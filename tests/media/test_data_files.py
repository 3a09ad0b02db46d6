"""Files of other tools are read whole and within bounds; whatever is wrong with them is one line that names them."""

import io
import json
import os
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.errors import PosegenError
from posegen.media.data_files import (
    MAX_DEPTH,
    parse_json,
    parse_npz,
    read_bytes,
    read_json,
    read_npz,
    read_text,
    read_toml,
    read_yaml,
)
from posegen.media.files import check_input

READERS = {"a.json": read_json, "a.toml": read_toml, "a.yaml": read_yaml, "a.txt": read_text, "a.npz": read_npz}
GOOD = {"a.json": '{"name": "Zoë"}', "a.toml": 'name = "Zoë"', "a.yaml": "name: Zoë", "a.txt": "Zoë"}


def refused(read, path, *named):
    """The reader's one line, which names the file."""
    with pytest.raises(PosegenError) as caught:
        read(path)
    told = str(caught.value)
    assert "\n" not in told
    assert len(told) < 400 + len(str(path))
    for part in (path.name, *named):
        assert part in told
    return told


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("name", GOOD)
def test_a_byte_order_mark_is_skipped(name, encoding, tmp_path):
    path = tmp_path / name
    path.write_bytes(GOOD[name].encode(encoding))
    assert READERS[name](path) == ("Zoë" if name == "a.txt" else {"name": "Zoë"})


@pytest.mark.parametrize("name", READERS)
def test_no_file_a_folder_and_a_pipe_are_told_at_once(name, tmp_path):
    path = tmp_path / name
    refused(READERS[name], path, "no such file")
    path.mkdir()
    refused(READERS[name], path, "folder")
    path.rmdir()
    os.mkfifo(path)  # nobody writes into it: to open it as usual would wait for ever
    refused(READERS[name], path, "pipe")
    with pytest.raises(PosegenError, match="pipe"):
        check_input(path, "a video")


@pytest.mark.parametrize("name", READERS)
def test_another_encoding_or_nothing_readable_is_one_line(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b'name = "\xe9"')
    refused(READERS[name], path)


BAD_JSON = {
    "cut off": '{"a": [1, 2',
    "empty": "",
    "deep arrays": "[" * 100_000 + "]" * 100_000,
    "a little too deep": "[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2),
    "deep objects": '{"a":' * 2000 + "1" + "}" * 2000,
    "more digits than Python reads": "1" * 5000,
    "more than 64 bits": "[18446744073709551616]",
    "not a number": "[NaN]",
    "infinity": '{"a": [-Infinity]}',
    "infinity by its exponent": "[1e999]",
    "a key twice": '{"seed": 1, "seed": 2}',
    "half a character": '["\\ud800"]',
    "half a character as a key": '{"\\udc00": 1}',
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_refused(name, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(BAD_JSON[name])
    refused(read_json, path)


def test_what_is_unusual_but_right_is_read(tmp_path):
    path = tmp_path / "a.json"
    content = {"seed": 2**64 - 1, "low": -(2**63), "text": "\U0001f57a", "deep": json.loads("[" * 60 + "]" * 60)}
    path.write_text(json.dumps(content))
    assert read_json(path) == content
    path.write_text("[NaN, 1e999, 2]")
    assert np.isnan(read_json(path, allow_nan=True)[0])


def test_too_large_a_file_is_refused_with_its_limit(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[" + "1," * 2000 + "1]")
    assert len(read_bytes(path, "JSON", 4003)) == 4003
    with pytest.raises(PosegenError, match="larger than 4,002 bytes"):
        read_json(path, max_bytes=4002)
    with pytest.raises(PosegenError, match="memory"):
        read_json(path, max_memory=60_000)
    path.write_text("[" + "[]," * 2000 + "1]")  # little text, much memory
    with pytest.raises(PosegenError, match="memory"):
        read_json(path, max_memory=100_000)
    for widest, needed in (("x", 2000), ("ш", 4000), ("\U0001f57a", 8000)):  # one character widens all of a text
        path.write_text(json.dumps("x" * 1000 + widest, ensure_ascii=False), encoding="utf-8")
        assert read_json(path, max_memory=needed + 100) == "x" * 1000 + widest
        with pytest.raises(PosegenError, match="memory"):
            read_json(path, max_memory=needed)


BAD_TOML = {
    "no value": "a =",
    "a key twice": "a = 1\na = 2",
    "deep arrays": "a = " + "[" * 5000 + "]" * 5000,
    "deep tables": "[" + ".".join("a" * 200) + "]",
    "a large number": "a = 1" + "0" * 30,
    "a very large number": "a = 1" + "0" * 5000,
    "a deep key": ".".join("a" * 100) + " = 1",  # with many more parts, tomllib takes hours
}


@pytest.mark.parametrize("name", BAD_TOML)
def test_bad_toml_is_refused(name, tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(BAD_TOML[name])
    refused(read_toml, path)


BAD_YAML = {
    "aliases": "a: &x [1, 2]\nb: [*x, *x]",
    "deep": "[" * 100 + "]" * 100,
    "objects": "a: !!python/object/apply:os.getcwd []",
    "no date": "a: 2026-99-99",
    "two documents": "a: 1\n---\nb: 2",
    "a large number": "a: 1" + "0" * 30,
    "a long number to the base 60": "a: " + "1:" * 600 + "1",  # with many more digits, the loader takes minutes
    "a long number with a point": "a: !!float 1." + "0" * 1200,
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_bad_yaml_is_refused(name, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(BAD_YAML[name])
    refused(read_yaml, path)


def npz(**members):
    """A file with these contents as its arrays, whatever they are."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return out.getvalue()


def npy(shape, descr="<f4", content=b""):
    """An array whose header promises this, whatever follows."""
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": descr, "fortran_order": False, "shape": shape})
    return out.getvalue() + content


BAD_NPZ = {
    "no archive": b"x" * 100,
    "empty": b"",
    "promises more than is there": npz(a=npy((10**6,), content=b"1234")),
    "promises more than any memory": npz(a=npy((10**9, 10**9))),
    "negative": npz(a=npy((-1, 4))),
    "no array": npz(a=b"text"),
    "no header": npz(a=b"\x93NUMPY\x01\x00\x10\x00((((((((((((((("),
    "objects": npz(a=npy((1,), "|O", b"12345678")),
    "more than the limit": npz(a=npy((1000,), content=bytes(4000))),
    "many that are more together": npz(a=npy((300,), content=bytes(1200)), b=npy((300,), content=bytes(1200))),
    "nothing, endlessly often": npz(a=npy((10**6,), "|V0")),
    "too many": npz(**{f"a{number}": npy((1,), content=bytes(4)) for number in range(1100)}),
}


@pytest.mark.parametrize("name", BAD_NPZ)
def test_bad_arrays_are_refused(name, tmp_path):
    path = tmp_path / "bad.npz"
    path.write_bytes(BAD_NPZ[name])
    refused(lambda path: read_npz(path, max_bytes=2000), path)


def test_arrays_come_back_and_only_those_that_are_asked_for(tmp_path):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array("text"),
        "c": np.asfortranarray(np.eye(3)),
        "d": np.array(""),
    }
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", **arrays)
        found = read_npz(tmp_path / "a.npz")
        assert found.keys() == arrays.keys()
        assert all(np.array_equal(found[name], arrays[name]) for name in arrays)
        assert found["a"].flags.writeable
        assert read_npz(tmp_path / "a.npz", names=("a", "z")).keys() == {"a"}


@given(st.integers(0, 2**32), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_a_changed_byte_gives_the_same_arrays_or_one_line(place, change):
    out = io.BytesIO()
    np.savez_compressed(out, keypoints=np.linspace(0, 1, 40), scores=np.ones(7))
    content = bytearray(out.getvalue())
    content[place % len(content)] ^= change
    try:
        found = parse_npz(bytes(content), "damaged.npz")
    except PosegenError as error:
        assert "damaged.npz" in str(error)  # noqa: PT017 - both ways are right
    else:
        for name, array in found.items():
            assert np.array_equal(array, {"keypoints": np.linspace(0, 1, 40), "scores": np.ones(7)}.get(name, array))


@given(st.binary(max_size=60))
@settings(max_examples=100)
def test_any_bytes_are_a_value_or_one_line(content):
    try:
        parse_json(content, "any.json")
    except PosegenError as error:
        assert "any.json" in str(error)  # noqa: PT017 - both ways are right


def test_a_text_with_a_nul_character_is_none(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(b"one.mp4\n\x00two.mp4\n")
    with pytest.raises(PosegenError, match=r"list\.txt"):
        read_text(path)


@pytest.mark.parametrize("text", ["a: 1\na: 2\n", "a: {b: 1, b: 2}\n"])
def test_a_yaml_key_that_comes_twice_is_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(PosegenError, match="duplicate key"):
        read_yaml(path)
