"""Ways to break a file or folder, each drawn from a seed.

None of them is meant for the faults of other software: guards against those are tested with harmless stand-ins.
"""

import io
import json
import os
import random
import re
import shutil
import sqlite3
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Damage = Callable[[Path, random.Random], None]
"""Breaks the file at a path."""
_BAD_VALUES: tuple[Any, ...] = (
    None, "x", "", -1, 0, 1e308, 10**40, [], {}, [[]], True, float("nan"), "../../../etc/passwd", "\ud800", [1, "a"],
)  # fmt: skip


def _missing(path: Path, chance: random.Random) -> None:
    path.unlink()


def _empty(path: Path, chance: random.Random) -> None:
    path.write_bytes(b"")


def _half(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _no_end(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: -max(1, len(content) // 50)])


def _no_header(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    count = min(128, len(content))
    path.write_bytes(bytes(count) + content[count:])


def _zeros(path: Path, chance: random.Random) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def _noise(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.randbytes(path.stat().st_size))


def _flip(path: Path, chance: random.Random, count: int, first: int | None = None) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(count):
        content[chance.randrange(min(first or len(content), len(content)))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def _bits(path: Path, chance: random.Random) -> None:
    _flip(path, chance, 12)


def _header_bits(path: Path, chance: random.Random) -> None:
    _flip(path, chance, 6, 200)


def _text(path: Path, chance: random.Random) -> None:
    path.write_text("not what it should be\n")


def _web_page(path: Path, chance: random.Random) -> None:
    path.write_text("<!DOCTYPE html><html><body>404 Not Found</body></html>\n")


def _folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _pipe(path: Path, chance: random.Random) -> None:
    path.unlink()
    os.mkfifo(path)


def _link_to_itself(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


def _twice(path: Path, chance: random.Random) -> None:
    path.write_bytes(path.read_bytes() * 2)


def _middle_lost(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    third = len(content) // 3
    path.write_bytes(content[:third] + content[2 * third :])


def other_content(source: Path) -> Damage:
    """Replaces the content by that of another file: an extension that is not true."""

    def swapped(path: Path, chance: random.Random) -> None:
        path.write_bytes(source.read_bytes())

    return swapped


REFUSED: dict[str, Damage] = {
    "missing": _missing, "empty": _empty, "zeros": _zeros, "noise": _noise, "text": _text, "web page": _web_page,
    "folder": _folder, "pipe": _pipe, "link to itself": _link_to_itself,
}  # fmt: skip
"""After these no content is left."""
PARTIAL: dict[str, Damage] = {
    "half": _half, "no end": _no_end, "no header": _no_header, "bits": _bits, "header bits": _header_bits,
    "twice": _twice, "middle lost": _middle_lost,
}  # fmt: skip
"""After these the file may still be readable."""


def json_value(path: Path, chance: random.Random) -> None:
    """Replaces, removes or nests one value of a JSON file, at any depth."""
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    holder, key = _place_in(content, chance)
    if holder is None:
        content = chance.choice(_BAD_VALUES)
    elif chance.random() < 0.25:
        del holder[key]
    else:
        holder[key] = chance.choice(_BAD_VALUES)
    text = json.dumps(content)
    path.write_text(text, encoding="utf-8")


def _place_in(content: Any, chance: random.Random) -> tuple[Any, Any]:
    holder, key = None, None
    while isinstance(content, dict | list) and content and (holder is None or chance.random() < 0.8):
        holder, key = content, chance.choice(list(content) if isinstance(content, dict) else range(len(content)))
        content = holder[key]
    return holder, key


def _json_text(text: Callable[[str], str]) -> Damage:
    def changed(path: Path, chance: random.Random) -> None:
        path.write_text(text(path.read_text(encoding="utf-8-sig")), encoding="utf-8")

    return changed


JSON_REFUSED: dict[str, Damage] = {
    "null": _json_text(lambda text: "null"),
    "number": _json_text(lambda text: "17"),
    "string": _json_text(lambda text: '"text"'),
    "deep": _json_text(lambda text: "[" * 5000 + "]" * 5000),
    "long number": _json_text(lambda text: '{"a": ' + "9" * 6000 + "}"),
    "list of nulls": _json_text(lambda text: "[null, null]"),
}
LATIN = "latin"


def line_of_text(path: Path, chance: random.Random) -> None:
    """Changes one line of a TOML or YAML file: its value, its key, or all of it."""
    lines = path.read_text().splitlines()
    number = chance.choice([number for number, line in enumerate(lines) if re.search(r"[=:]", line)])
    key, sign, _ = re.split(r"([=:])", lines[number], maxsplit=1)
    values = ("-1", '"x"', "[]", "{}", "1e400", "nan", "true", "99999999999999999999", "[1, 2", '"unclosed', "../..",
              "2000-01-01", "''", "0", "[[1]]", "null")  # fmt: skip
    how = chance.randrange(5)
    if how < 3:
        lines[number] = f"{key}{sign} {chance.choice(values)}"
    elif how == 3:
        lines[number] = f"{key.rstrip()}x{sign} 1"
    else:
        del lines[number]
    path.write_text("\n".join(lines) + "\n")


def _appended(text: str) -> Damage:
    def appended(path: Path, chance: random.Random) -> None:
        path.write_text(path.read_text() + text)

    return appended


TEXT_REFUSED: dict[str, Damage] = {
    "bytes that are no text": lambda path, chance: path.write_bytes(path.read_bytes() + b"\xff\xfe\xff") and None,
    "unclosed": _appended('\nx = ["'),
    "NUL": lambda path, chance: path.write_bytes(path.read_bytes() + b"\nx\x00") and None,
}
YAML_REFUSED: dict[str, Damage] = {
    "alias": _appended("\nabout: &a [x]\nmore: *a\n"),
    "tag of Python": _appended("\nabout: !!python/name:os.system ''\n"),
    "deep": lambda path, chance: path.write_text("clips: " + "[" * 3000 + "]" * 3000) and None,
    "list": lambda path, chance: path.write_text("- a\n- b\n") and None,
    "tabs": lambda path, chance: path.write_text("clips:\n\t- name: one\n") and None,
}


def npz_arrays(change: Callable[[dict[str, np.ndarray], random.Random], None]) -> Damage:
    """Changes the arrays of an NPZ file."""

    def changed(path: Path, chance: random.Random) -> None:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
        change(arrays, chance)
        content = io.BytesIO()
        np.savez(content, **arrays)
        path.write_bytes(content.getvalue())

    return changed


def _any_of(arrays: dict[str, np.ndarray], chance: random.Random) -> str:
    return chance.choice(sorted(arrays))


def _large_header(path: Path, chance: random.Random) -> None:
    """An array whose header promises much more than there is."""
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }"
    header += b" " * (63 - (len(header) + 10) % 64) + b"\n"
    content = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(64)
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, content)


def _without_one(arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    del arrays[_any_of(arrays, chance)]


def _objects(arrays: dict[str, np.ndarray], chance: random.Random) -> None:
    name = _any_of(arrays, chance)
    arrays[name] = np.array([None, "x"], dtype=object)


def _replace(make: Callable[[np.ndarray], np.ndarray]) -> Damage:
    def change(arrays: dict[str, np.ndarray], chance: random.Random) -> None:
        name = _any_of(arrays, chance)
        arrays[name] = make(arrays[name])

    return npz_arrays(change)


NPZ_REFUSED: dict[str, Damage] = {
    "no arrays": npz_arrays(lambda arrays, chance: arrays.clear()),
    "header promises much": _large_header,
}
NPZ_PARTIAL: dict[str, Damage] = {
    "array missing": npz_arrays(_without_one),
    "objects": npz_arrays(_objects),
    "no dimension": _replace(lambda array: np.zeros((), np.float32)),
    "no frames": _replace(lambda array: array[:0] if array.ndim else array),
    "not finite": _replace(lambda array: np.full(array.shape, np.nan, np.float32)),
    "text array": _replace(lambda array: np.array(["a", "b"])),
    "complex": _replace(lambda array: np.zeros(array.shape, np.complex64)),
    "huge values": _replace(lambda array: np.full(array.shape, 1e38, np.float32)),
    "a dimension more": _replace(lambda array: array[None]),
}  # fmt: skip


def safetensors_header(change: Callable[[dict[str, Any], random.Random], None]) -> Damage:
    """Changes the header of a safetensors file."""

    def changed(path: Path, chance: random.Random) -> None:
        content = path.read_bytes()
        length = int.from_bytes(content[:8], "little")
        header = json.loads(content[8 : 8 + length])
        change(header, chance)
        text = json.dumps(header).encode()
        path.write_bytes(len(text).to_bytes(8, "little") + text + content[8 + length :])

    return changed


def _tensor(header: dict[str, Any], chance: random.Random) -> str:
    return chance.choice(sorted(name for name in header if name != "__metadata__"))


def _header_length(length: int) -> Damage:
    def changed(path: Path, chance: random.Random) -> None:
        path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])

    return changed


SAFETENSORS_REFUSED: dict[str, Damage] = {
    "header too long": _header_length(2**62),
    "header of no length": _header_length(0),
    "offsets beyond": safetensors_header(
        lambda header, chance: header[_tensor(header, chance)].update(data_offsets=[0, 2**50])),
    "shape of another size": safetensors_header(
        lambda header, chance: header[_tensor(header, chance)].update(shape=[2**40, 7])),
    "unknown dtype": safetensors_header(lambda header, chance: header[_tensor(header, chance)].update(dtype="F17")),
}  # fmt: skip
SAFETENSORS_PARTIAL: dict[str, Damage] = {
    "other name": safetensors_header(
        lambda header, chance: header.update({"another.weight": header.pop(_tensor(header, chance))})),
}  # fmt: skip


def tar_member(change: Callable[[tarfile.TarInfo, random.Random], None]) -> Damage:
    """Changes one member of a tar file, its header's checksum being right again."""

    def changed(path: Path, chance: random.Random) -> None:
        with tarfile.open(path) as tar:
            members = [(member, tar.extractfile(member).read()) for member in tar]  # type: ignore[union-attr]
        chosen = chance.randrange(len(members))
        with tarfile.open(path, "w") as tar:
            for number, (member, content) in enumerate(members):
                if number == chosen:
                    change(member, chance)
                tar.addfile(member, io.BytesIO(content))

    return changed


def _renamed(name: str) -> Damage:
    return tar_member(lambda member, chance: setattr(member, "name", name))


TAR_PARTIAL: dict[str, Damage] = {
    "outside name": _renamed("../outside.json"),
    "absolute name": _renamed("/tmp/absolute.json"),
    "no extension": _renamed("name"),
    "symbolic link": tar_member(lambda member, chance: setattr(member, "type", tarfile.SYMTYPE)),
    "directory": tar_member(lambda member, chance: setattr(member, "type", tarfile.DIRTYPE)),
    "device": tar_member(lambda member, chance: setattr(member, "type", tarfile.CHRTYPE)),
}


def _another_database(path: Path, chance: random.Random) -> None:
    path.unlink()
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE other (a)")
    connection.commit()
    connection.close()


def _other_columns(path: Path, chance: random.Random) -> None:
    connection = sqlite3.connect(path)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    name = chance.choice([name for name in names if not name.startswith("sqlite_")])
    connection.execute(f'DROP TABLE "{name}"')
    connection.execute(f'CREATE TABLE "{name}" (unknown)')
    connection.commit()
    connection.close()


def _null_rows(path: Path, chance: random.Random) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA ignore_check_constraints = on")
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    for name in names:
        columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{name}")') if not row[5]]
        for column in columns:
            try:
                connection.execute(f'UPDATE "{name}" SET "{column}" = ?', (b"\xff\xfe",))
            except sqlite3.Error:
                continue
    connection.commit()
    connection.close()


SQLITE_PARTIAL: dict[str, Damage] = {
    "another database": _another_database, "other columns": _other_columns, "other values": _null_rows,
}  # fmt: skip


def _png_size(path: Path, chance: random.Random) -> None:
    import zlib

    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 60_000, 60_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)


def _bmp_size(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[18:26] = struct.pack("<ii", 60_000, 60_000)
    path.write_bytes(content)


def _gif_size(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[6:10] = struct.pack("<HH", 60_000, 60_000)
    path.write_bytes(content)


HUGE_PICTURE: dict[str, Damage] = {"png": _png_size, "bmp": _bmp_size, "gif": _gif_size}
"""A size in the header that is refused before anything is decoded."""


def folder_missing(path: Path, chance: random.Random) -> None:
    """Removes a folder."""
    shutil.rmtree(path)


def folder_empty(path: Path, chance: random.Random) -> None:
    """Removes what a folder holds."""
    shutil.rmtree(path)
    path.mkdir()


def folder_is_file(path: Path, chance: random.Random) -> None:
    """Puts a file where a folder should be."""
    shutil.rmtree(path)
    path.write_text("a file\n")


FOLDER_REFUSED: dict[str, Damage] = {
    "folder missing": folder_missing, "folder empty": folder_empty, "a file instead": folder_is_file,
}  # fmt: skip
