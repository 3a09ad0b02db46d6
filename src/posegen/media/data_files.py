"""Reads JSON, TOML, YAML, NPZ and text files of users and other tools, with bounds and one-line errors.

Each reader raises a `PosegenError` that names the file for any problem: missing, a folder, a pipe, too large, another
encoding, cut off, nested too deep, duplicate keys, numbers that no array can hold. A byte order mark is skipped. The
meaning of the content is not checked.
"""

import codecs
import io
import json
import math
import os
import re
import tomllib
import zipfile
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import yaml
from yaml.events import AliasEvent

from posegen.errors import PosegenError
from posegen.media.files import open_input

MEGABYTE = 2**20
MAX_TEXT = 64 * MEGABYTE
"""Bytes of a JSON or text file, unless the caller allows more."""
MAX_TOML = MEGABYTE // 4
"""A recipe that comes with posegen has 3 kB; tomllib takes seconds for a megabyte that is made to be slow."""
MAX_YAML = MEGABYTE // 2
MAX_ARRAYS = 400 * MEGABYTE
"""Bytes of all arrays of an NPZ file together, unpacked, unless the caller allows more."""
MAX_DEPTH = 64
"""Levels to which arrays, objects and tables may be nested."""
_MAX_ARRAY_COUNT = 1024
_MAX_DIGITS = 1000
"""Characters of a number in YAML: `1:30` is one to the base 60, and the time for it grows with the square of these."""
_PIECE = 16 * MEGABYTE
_MAX_DEFLATE = 1032
"""Maximum number of bytes that one deflated byte can become."""
_KEY = re.compile(r"[^=,#]*")
"""The key of a line of TOML, or what else comes before the first value."""
_WIDTHS = ((4, re.compile(rb"[\xf0-\xff]")), (2, re.compile(rb"[\xc4-\xff]")))
"""Bytes that CPython needs for every character, and bytes of UTF-8 that only characters of that width have."""
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def read_bytes(path: Path, kind: str, max_bytes: int = MAX_TEXT) -> bytes:
    """Return the content of a regular file of at most `max_bytes`."""
    return b"".join(_pieces(path, kind, max_bytes))


def _pieces(path: Path, kind: str, max_bytes: int) -> Iterator[bytes]:
    """Yield the same content in pieces, so that reading can stop at a limit."""
    too_large = PosegenError(f"{path}: larger than {_size(max_bytes)}, the maximum for {kind}")
    with open_input(path, kind) as stream:
        if os.fstat(stream.fileno()).st_size > max_bytes:
            raise too_large
        try:
            while piece := stream.read(min(_PIECE, max_bytes + 1)):
                max_bytes -= len(piece)
                if max_bytes < 0:  # it grows, or does not say its size, as files of the system do
                    raise too_large
                yield piece
        except OSError as error:
            raise PosegenError(f"{path}: cannot be read ({error.strerror})") from None


def read_text(path: Path, kind: str = "a text", max_bytes: int = MAX_TEXT) -> str:
    """Read a text file in UTF-8, with or without a byte order mark, or in UTF-16 with one."""
    return decode_text(read_bytes(path, kind, max_bytes), str(path), kind)


def read_json(
    path: Path, kind: str = "JSON", max_bytes: int = MAX_TEXT, allow_nan: bool = False, max_memory: int | None = None
) -> Any:
    """Read a JSON file; arguments as in `parse_json`."""
    needed, content = 0, bytearray()
    for piece in _pieces(path, kind, max_bytes):
        content += piece
        needed += _memory_of_values(piece)
        _check_memory(needed, str(path), kind, max_memory)
    _check_memory(needed + _memory_of_text(content), str(path), kind, max_memory)
    text = decode_text(content, str(path), kind)
    del content
    return _loaded_json(text, str(path), kind, allow_nan)


def read_json_object(path: Path, kind: str = "a JSON object", max_bytes: int = MAX_TEXT) -> dict[str, Any]:
    """Read a JSON file that must be one object."""
    content = read_json(path, kind, max_bytes)
    if not isinstance(content, dict):
        raise PosegenError(f"{path} is not {kind}: its top level is a {type(content).__name__}")
    return content


def read_toml(path: Path, kind: str = "a recipe in TOML", max_bytes: int = MAX_TOML) -> dict[str, Any]:
    """Read a TOML file."""
    text = read_text(path, kind, max_bytes)
    for line in text.splitlines():
        key = _KEY.match(line)
        # tomllib takes time that grows with the square of their number
        if key is not None and key[0].count(".") > MAX_DEPTH:
            raise PosegenError(f"{path} is not {kind}: nested deeper than {MAX_DEPTH} levels")
    try:
        content = tomllib.loads(text)
    except RecursionError:
        raise PosegenError(f"{path} is not {kind}: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise PosegenError(f"{path} is not {kind}: {_line(error)}") from None
    _check_values(content, str(path), kind, allow_nan=True)
    return content


def read_yaml(path: Path, kind: str = "YAML", max_bytes: int = MAX_YAML) -> Any:
    """Read a YAML file of plain values. Aliases (`*name`) are refused: they can expand without limit."""
    text = read_text(path, kind, max_bytes)
    try:
        if any(isinstance(event, AliasEvent) for event in _yaml_events(text)):
            raise PosegenError(f"{path}: aliases (*name) are not read: write the value out")
        content = yaml.load(text, Loader=_UniqueKeys)
    except RecursionError:
        raise PosegenError(f"{path} is not {kind}: nested deeper than {MAX_DEPTH} levels") from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # OverflowError: a date or a number beyond all bounds
        if isinstance(error, PosegenError):
            raise
        raise PosegenError(f"{path} is not {kind}: {_line(error)}") from None
    _check_values(content, str(path), kind, allow_nan=True)
    return content


def read_npz(
    path: Path, kind: str = "arrays (.npz)", names: Collection[str] | None = None, max_bytes: int = MAX_ARRAYS
) -> dict[str, np.ndarray]:
    """Read the arrays of an NPZ file, or those of `names` that it has; together at most `max_bytes` unpacked.

    Nothing is unpickled. An array whose header declares more than the file holds is refused before memory is allocated.
    """
    with open_input(path, kind) as stream:
        return parse_npz(stream, str(path), kind, names, max_bytes)


def decode_text(content: bytes | bytearray, where: str, kind: str = "a text") -> str:
    """Decode bytes that came from `where`: UTF-8 with or without a byte order mark, or UTF-16 with one."""
    encoding = next((name for mark, name in _BOMS if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise PosegenError(f"{where} is not {kind} in UTF-8 ({error.reason} at byte {error.start})") from None
    if "\0" in text:
        raise PosegenError(f"{where} is not {kind} in UTF-8 (it holds a NUL character)")
    return text


def parse_json(
    content: bytes | str, where: str, kind: str = "JSON", allow_nan: bool = False, max_memory: int | None = None
) -> Any:
    """Parse JSON that came from `where`, a file's name or a URL.

    allow_nan: accept numbers that are not finite, as some tools write them; max_memory: maximum bytes of the value as
    Python objects, by default what `MAX_TEXT` bytes of usual content need.
    """
    check_json_memory(
        content.encode(errors="replace") if isinstance(content, str) else content, where, kind, max_memory
    )
    text = content if isinstance(content, str) else decode_text(content, where, kind)
    return _loaded_json(text, where, kind, allow_nan)


def check_json_memory(content: bytes, where: str, kind: str, max_memory: int | None = None) -> None:
    """Raise `PosegenError` where the value of this JSON would take more memory than `parse_json` allows."""
    _check_memory(_memory_of_values(content) + _memory_of_text(content), where, kind, max_memory)


def _memory_of_values(content: bytes) -> int:
    """About the bytes that CPython needs for arrays, objects and numbers: 64 for an empty array, of 3 characters."""
    return 64 * content.count(b"[") + 200 * content.count(b"{") + 32 * content.count(b",")


def _memory_of_text(content: bytes | bytearray) -> int:
    """The most that decoded JSON takes together with its texts: the widest character is the width of all of them."""
    width = next((width for width, beyond in _WIDTHS if beyond.search(content)), 1)
    return 2 * width * len(content)


def _check_memory(needed: int, where: str, kind: str, max_memory: int | None) -> None:
    most = 6 * MAX_TEXT if max_memory is None else max_memory
    if needed > most:
        raise PosegenError(f"{where}: would take more than {_size(most)} of memory, too much for {kind}")


def _loaded_json(text: str, where: str, kind: str, allow_nan: bool) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            double = Counter(name for name, _ in pairs).most_common(1)[0][0]
            raise PosegenError(f"{where} is not {kind}: duplicate key {double!r:.80} in one object")
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except PosegenError:
        raise
    except RecursionError:
        raise PosegenError(f"{where} is not {kind}: nested deeper than {MAX_DEPTH} levels") from None
    except ValueError as error:
        raise PosegenError(f"{where} is not {kind}: {_line(error)}") from None
    _check_values(value, where, kind, allow_nan)
    return value


def parse_npz(
    stream: BinaryIO | bytes,
    where: str,
    kind: str = "arrays (.npz)",
    names: Collection[str] | None = None,
    max_bytes: int = MAX_ARRAYS,
) -> dict[str, np.ndarray]:
    """Parse an NPZ file that came from `where`, like `read_npz`."""
    source = io.BytesIO(stream) if isinstance(stream, bytes) else stream
    arrays, left = {}, max_bytes
    try:
        with zipfile.ZipFile(source) as archive:
            members = [each for each in archive.infolist() if each.filename.endswith(".npy")]
            if len(members) > _MAX_ARRAY_COUNT:
                raise PosegenError(f"{where}: {len(members)} arrays, more than the maximum of {_MAX_ARRAY_COUNT}")
            for member in members:
                name = member.filename.removesuffix(".npy")
                if names is None or name in names:
                    if name in arrays:
                        raise PosegenError(f"{where} is damaged: two arrays are named {name!r:.80}")
                    left -= _check_array(archive, member, where, kind, left)
                    with archive.open(member) as opened:
                        arrays[name] = np.lib.format.read_array(opened, allow_pickle=False)
    except PosegenError:
        raise
    except (
        Exception
    ) as error:  # zipfile, zlib and numpy each have errors of their own for damage, SyntaxError among them
        raise PosegenError(f"{where} is not {kind}, or damaged ({_line(error)})") from None
    return arrays


def _check_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str, kind: str, limit: int) -> int:
    """Return the bytes of an array by its header. Raises `PosegenError` if they are missing, or exceed `limit`."""
    name = member.filename.removesuffix(".npy")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise PosegenError(f"{where}: {name} uses a compression that numpy does not write")
    with archive.open(member) as opened:
        version = np.lib.format.read_magic(opened)
        if version not in ((1, 0), (2, 0)):
            raise PosegenError(f"{where}: {name} is not a plain array of numbers or text")
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(opened)
        header = opened.tell()
    if dtype.hasobject or any(length < 0 for length in shape):
        raise PosegenError(f"{where}: {name} is not a plain array of numbers or text; nothing is unpickled")
    count = math.prod(shape)
    size = count * dtype.itemsize
    if size != member.file_size - header or member.file_size > _MAX_DEFLATE * member.compress_size + MEGABYTE:
        raise PosegenError(f"{where} is damaged: the header of {name} declares {size} bytes, which are missing")
    if max(count, size) > limit:
        raise PosegenError(f"{where}: its arrays take more than {_size(limit)}, the maximum for {kind}")
    return size


class _UniqueKeys(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Loads plain values. Refused are a mapping in which a key comes twice, of which YAML's own loader takes the last,
    and numbers of more than `_MAX_DIGITS` characters."""

    def _number(self, node: Any) -> Any:
        if len(node.value) > _MAX_DIGITS:
            raise yaml.constructor.ConstructorError(None, None, "a number is too long", node.start_mark)
        is_whole = node.tag.endswith(":int")
        return self.construct_yaml_int(node) if is_whole else self.construct_yaml_float(node)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        """Construct the mapping of a node. Raises `yaml.YAMLError` for a duplicate key."""
        found: dict[Any, Any] = super().construct_mapping(node, deep=deep)
        if len(found) < len(node.value):
            double = Counter(str(key.value) for key, _ in node.value).most_common(1)[0][0]
            raise yaml.constructor.ConstructorError(None, None, f"duplicate key {double!r:.80}", node.start_mark)
        return found


for _kind in ("int", "float"):
    _UniqueKeys.add_constructor(f"tag:yaml.org,2002:{_kind}", _UniqueKeys._number)


def _yaml_events(text: str) -> Iterator[Any]:
    """Yield the events of a YAML text. Raises `RecursionError` if they are nested too deep for a loader."""
    depth = 0
    for event in yaml.parse(text, Loader=_UniqueKeys):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise RecursionError
        yield event


def _check_values(value: Any, where: str, kind: str, allow_nan: bool) -> None:
    """Raise `PosegenError` for values that would fail later; level by level, without recursion."""
    level = [[value]]
    for _ in range(MAX_DEPTH + 1):
        below: list[Any] = []
        for container in level:
            for item in container.values() if isinstance(container, dict) else container:
                known = type(item)
                if known is float:
                    if not (allow_nan or math.isfinite(item)):
                        raise PosegenError(f"{where} is not {kind}: {item} is not a finite number")
                elif known is list or known is dict:
                    below.append(item)
                elif known is int:
                    if not -(2**63) <= item < 2**64:
                        raise PosegenError(f"{where} is not {kind}: an integer exceeds 64 bits")
                elif known is str and not _encodable(item):
                    raise PosegenError(f"{where} is not {kind}: half a character, {item!r:.80}")
            if isinstance(container, dict) and not all(_encodable(key) for key in container if type(key) is str):
                raise PosegenError(f"{where} is not {kind}: half a character in the name of a key")
        if not below:
            return
        level = below
    raise PosegenError(f"{where} is not {kind}: nested deeper than {MAX_DEPTH} levels")


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:  # JSON can write half of a pair of surrogates
        return False
    return True


def _line(error: BaseException) -> str:
    """Return the message of an error in one line of bounded length."""
    return " ".join(f"{error}".split())[:160] or type(error).__name__


def _size(count: int) -> str:
    return f"{count // MEGABYTE} MB" if count >= MEGABYTE else f"{count:,} bytes"
