"""The files of a tar by its headers: what the standard library finds in good ones, and an error for any other."""

import io
import json
import random
import tarfile

import pytest

from posegen.data.shards import key_and_extension, open_shards
from posegen.data.tar_files import tar_files
from posegen.errors import PosegenError
from tiny_shards import write_shard

FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}
NAMES = ["a.json", "./b.c.npz", "v1.2/c.txt", "é/ü.json", "_.txt", "folder.with.dots/" + "x" * 60 + "/d.json"]


def write_tar(path, names, file_format=tarfile.PAX_FORMAT, content=b"some content"):
    with tarfile.open(path, "w", format=file_format) as tar:
        folder = tarfile.TarInfo("a folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
        for number, name in enumerate(names):
            member = tarfile.TarInfo(name)
            member.size, member.uid, member.mtime = number * len(content), 1 << 20, 1.5 if file_format == 2 else 1
            tar.addfile(member, io.BytesIO(content * number))
    return path


@pytest.mark.parametrize("file_format", FORMATS)
def test_what_the_standard_library_finds(tmp_path, file_format):
    names = [*NAMES, "n" * 80 + "/" + "m" * 90 + ".json"]
    names += [] if file_format == "ustar" else ["long/" * 100 + "e.json"]
    path = write_tar(tmp_path / "a.tar", names, FORMATS[file_format])
    with tarfile.open(path) as tar:
        expected = [(member.name, member.offset_data, member.size) for member in tar if member.isfile()]
    assert [(file.name, file.offset, file.size) for file in tar_files(path)] == expected
    assert [name for name, _, _ in expected] == names


def changed(path, place, content):
    """The tar with other bytes in the header at `place` of which the sum is right again."""
    whole = bytearray(path.read_bytes())
    header = whole[:512]
    header[place : place + len(content)] = content
    header[148:156] = b" " * 8
    header[148:156] = f"{sum(header):06o}\0 ".encode()
    path.write_bytes(bytes(header) + whole[512:])
    return path


@pytest.mark.parametrize(
    ("place", "content"),
    [(124, b"77777777777\0"), (124, b"-0000000512\0"), (124, b"\xff" * 11 + b"\0"), (124, b"\x80" + b"\x7f" * 11),
     (124, b"99999999999\0"), (156, b"S"), (124, b"00000004000\0")],
)  # fmt: skip  # short arguments, read in rows
def test_sizes_that_cannot_be(tmp_path, place, content):
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w") as tar:
        tar.addfile(tarfile.TarInfo("a.json"))
    path.write_bytes(path.read_bytes()[:1024])
    with pytest.raises(PosegenError):
        list(tar_files(changed(path, place, content)))


@pytest.mark.parametrize("records", [b"0 path=a\n", b"-9 size=1\n", b"12 size=-5123\n", b"99999 path=a\n", b"path=a\n"])
def test_extended_headers_that_cannot_be(tmp_path, records):
    header = tarfile.TarInfo("pax")
    header.type, header.size = b"x", len(records)
    path = tmp_path / "a.tar"
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.addfile(header, io.BytesIO(records))
        tar.addfile(tarfile.TarInfo("a.json"))
    with pytest.raises(PosegenError):
        list(tar_files(path))


def test_damage_is_an_error_or_changes_nothing_that_matters(tmp_path):
    """Any byte changed, or the file cut off anywhere: the same files, or one line; never another place."""
    whole = write_tar(tmp_path / "a.tar", NAMES)
    content, good = whole.read_bytes(), [(file.offset, file.size) for file in tar_files(whole)]
    chance, damaged = random.Random(0), tmp_path / "b.tar"
    for _ in range(300):
        changed = bytearray(content)
        changed[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        damaged.write_bytes(changed[: chance.choice((len(content), chance.randrange(len(content))))])
        try:
            found = [(file.offset, file.size) for file in tar_files(damaged)]
        except PosegenError as error:
            assert "\n" not in str(error)  # noqa: PT017
        else:
            assert found == good[: len(found)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.json", ("a", "json")), ("./a.json", ("./a", "json")), ("v1.2/a.json", ("v1.2/a", "json")),
     ("a.left.NPZ", ("a", "left.npz")), ("x/y.z/a.b.c", ("x/y.z/a", "b.c")), ("._a.json", None), ("x/._a.json", None),
     ("./._a.json", None), (".DS_Store", None), ("__MACOSX/._a.json", None), ("__index__", None), ("README", None)],
)  # fmt: skip  # short arguments, read in rows
def test_names_are_split_as_webdataset_does(name, expected):
    assert key_and_extension(name) == expected


def test_shards_from_elsewhere(tmp_path):
    """Names with folders and dots, macOS companions and a remark beside the samples."""
    keys = ["./v1.2/a", "./v1.2/b", "c"]
    write_shard(tmp_path / "train-000000.tar", keys)
    with tarfile.open(tmp_path / "train-000000.tar", "a") as tar:
        for name in ("./v1.2/._a.json", "._c.npz", "README.md", "__meta__"):
            member = tarfile.TarInfo(name)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
    (shard,) = open_shards(tmp_path, "train", 9)
    assert [sample.key for sample in shard.samples] == keys
    assert shard.samples[1].read("txt").startswith(b"A drawing")


@pytest.mark.parametrize("value", [1e400, 10**30, -1, 0, None, "9" * 5000, [[]]])
def test_descriptions_that_cannot_be(tmp_path, value):
    description = json.dumps({"num_frames": value, "height": 8, "width": 8}).encode()
    with tarfile.open(tmp_path / "train-000000.tar", "w") as tar:
        for extension, content in (("json", description), ("npz", b""), ("txt", b"")):
            member = tarfile.TarInfo(f"a.{extension}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with pytest.raises(PosegenError, match=r"a\.json"):
        open_shards(tmp_path, "train")
