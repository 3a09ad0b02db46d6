"""Lists the files of a tar and their positions from its headers alone; a damaged or hostile tar ends in an error.

The standard library's reader ends silently at a damaged header, and can go round in circles; here each header must
come after the one before, and the content that it announces must be there. USTAR, GNU and PAX are read; sparse files
are refused.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from posegen.errors import PosegenError

_BLOCK = 512
_LONGEST_HEADER = 1 << 20
"""Maximum bytes of an extended header: names and remarks."""
_LONGEST_NAME = 4096
"""Bytes, as most file systems have it."""
_REGULAR = (b"0", b"\0", b"7")
_WITHOUT_CONTENT = (b"1", b"2", b"3", b"4", b"5", b"6")
"""Links, devices, folders: the size in their header means nothing."""


@dataclass(frozen=True)
class TarFile:
    """One regular file of a tar."""

    name: str
    offset: int
    """Offset of its content, in bytes."""
    size: int


def tar_files(path: Path) -> Iterator[TarFile]:
    """Yield the regular files of a tar that is not compressed, in its order.

    Raises `PosegenError` for damage, without the path; FileNotFoundError, and other OSErrors, as `open` does.
    """
    with path.open("rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        place, common = 0, dict[str, str]()
        own, long_name = dict[str, str](), ""
        while header := _read(stream, place, _BLOCK, total):
            if not any(header):
                return
            _check(header, place)
            kind, size = header[156:157], _size(header[124:136], place)
            begin = place + _BLOCK
            if kind in (b"x", b"X", b"g", b"L", b"K"):
                if size > _LONGEST_HEADER:
                    raise PosegenError(f"damaged: a header of {size} bytes at byte {place}")
                content = _read(stream, begin, size, total)
                if kind in (b"x", b"X"):
                    own = _records(content, place)
                elif kind == b"g":
                    common |= _records(content, place)
                elif kind == b"L":
                    long_name = _text(content)
                place = begin + _blocks(size)
                continue
            known = common | own
            if any(key.startswith("GNU.sparse") for key in known) or kind == b"S":
                raise PosegenError(f"a sparse file at byte {place}: pack it again without --sparse")
            if "size" in known:
                size = _number(known["size"], place)
            name = known.get("path") or long_name or _name(header)
            own, long_name = {}, ""
            if kind in _WITHOUT_CONTENT:
                size = 0
            if begin + size > total:
                raise PosegenError("cut off")
            if len(name) > _LONGEST_NAME:
                raise PosegenError(f"damaged: a name of {len(name)} characters at byte {place}")
            if kind in _REGULAR and not name.endswith("/"):
                yield TarFile(name, begin, size)
            place = begin + _blocks(size)


def _read(stream: BinaryIO, place: int, size: int, total: int) -> bytes:
    """Read bytes of the file; none at its end."""
    if place >= total and size == _BLOCK:
        return b""
    if place + size > total:
        raise PosegenError("cut off")
    stream.seek(place)
    content = stream.read(size)
    if len(content) != size:
        raise PosegenError("cut off")
    return content


def _check(header: bytes, place: int) -> None:
    """Check the sum of a header's bytes, with its own field counted as spaces, against that field."""
    field = header[148:156]
    for signed in (False, True):
        values = memoryview(header).cast("b") if signed else header
        noted = _number(_text(field).strip() or "0", place, base=8)
        if noted == sum(values) - sum(memoryview(field).cast("b") if signed else field) + 8 * ord(" "):
            return
    raise PosegenError(f"damaged: no header at byte {place}")


def _size(field: bytes, place: int) -> int:
    if field[0] & 0x80:  # base 256, for files above 8 GB
        size = int.from_bytes(field, signed=False) & ~(0x80 << 8 * (len(field) - 1))
        if field[0] == 0xFF:
            raise PosegenError(f"damaged: a negative size at byte {place}")
        return size
    return _number(_text(field).strip() or "0", place, base=8)


def _number(text: str, place: int, base: int = 10) -> int:
    """Read a number of digits only; others, negative ones and those of more than 20 digits are damage."""
    if not text.isascii() or not text.isdigit() or len(text) > 20:
        raise PosegenError(f"damaged: {text[:20]!r} is no size, at byte {place}")
    try:
        return int(text, base)
    except ValueError as error:
        raise PosegenError(f"damaged: {text[:20]!r} is no size, at byte {place}") from error


def _records(content: bytes, place: int) -> dict[str, str]:
    """Read a PAX header: records of "length key=value\\n", each of which says its own length."""
    records, position = dict[str, str](), 0
    while position < len(content) and content[position]:
        digits, space, _ = content[position : position + 24].partition(b" ")
        length = _number(_text(digits), place) if space else 0
        record = content[position + len(digits) + 1 : position + length - 1]
        key, equals, value = record.partition(b"=")
        if length <= len(digits) + 1 or position + length > len(content) or not equals:
            raise PosegenError(f"damaged: an extended header at byte {place} cannot be read")
        records[_text(key)] = _text(value)
        position += length
    return records


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500])
    is_posix = header[257:263] == b"ustar\0"  # GNU keeps other things in the prefix's place
    return f"{prefix}/{name}" if is_posix and prefix else name


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _blocks(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
