"""Checksums of files that are kept, written with them and checked before they are used again.

Two forms. Any file has its SHA-256 in NAME.sha256 beside it, as `sha256sum -c` reads it; a small JSON file has one of
its other entries among them. What is done about a damaged file is the caller's business: usually it is made again, and
one line says so. Files of an older posegen have no checksum.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from posegen.digests import file_digest
from posegen.errors import PosegenError
from posegen.media.data_files import check_json_memory
from posegen.media.files import read_kept, remove_leftovers, write_whole

KEY = "checksum"
"""The entry of a JSON file that holds the SHA-256 of all others."""
FileState = Literal["missing", "unchecked", "intact", "damaged"]
"""`unchecked`: there is no checksum, since its writer was killed or older."""


class DamagedFileError(PosegenError):
    """A file that is kept is not what was written."""


def checksum_path(path: Path) -> Path:
    """NAME.sha256, beside the file."""
    return path.with_name(path.name + ".sha256")


def write_checksum(path: Path, owner: str = "") -> None:
    """Write the checksum of a finished file. Raises `OutputError`.

    owner: what the file belongs to, where another of the same name might be put in its place.
    """
    remove_leftovers(checksum_path(path))
    write_whole(checksum_path(path), _lines(path, owner))


def forget_checksum(path: Path) -> None:
    """Remove the checksum of a file that is about to be written again, if there is one."""
    with contextlib.suppress(OSError):  # one that stays will not agree with the new file
        checksum_path(path).unlink()


def write_checked(path: Path, content: bytes) -> None:
    """Write a small file and its checksum, each at once or not at all. Raises `OutputError`."""
    forget_checksum(path)
    remove_leftovers(path)
    write_whole(path, content)
    write_checksum(path)


def state_of(path: Path, owner: str = "") -> FileState:
    """Whether a file agrees with its checksum, its name and its owner; it is read once."""
    if not path.is_file():
        return "missing"
    try:
        kept = read_kept(checksum_path(path))
    except OSError:
        return "unchecked"
    without_owner = kept.count(b"\n") == 1  # of an older posegen
    try:
        return "intact" if kept == _lines(path, "" if without_owner else owner) else "damaged"
    except OSError:
        return "damaged"


def remove_checked(path: Path) -> None:
    """Remove a file, its checksum, and what killed writers left of both."""
    for each in (checksum_path(path), path):
        each.unlink(missing_ok=True)
        remove_leftovers(each)


def _lines(path: Path, owner: str) -> bytes:
    return f"{file_digest(path)}  {path.name}\n{f'# {owner}' + chr(10) if owner else ''}".encode()


def digests_of(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """SHA-256 of these files of a folder, or of all in it, by their names: for a manifest."""
    if names is None:
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name: file_digest(folder / name) for name in names}


def check_digests(folder: Path, digests: dict[str, str]) -> None:
    """Raise `DamagedFileError` for the first file that is not what `digests_of` found."""
    for name, digest in digests.items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise DamagedFileError(f"{folder / name}: missing or damaged")


def checked_json(content: dict[str, Any], indent: int | None = 1) -> bytes:
    """JSON with a checksum; values that JSON does not know become text."""
    plain = json.loads(json.dumps(content, default=str))
    whole = {**plain, KEY: _digest(plain)}
    try:
        return (json.dumps(whole, indent=indent, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8
        return (json.dumps(whole, indent=indent, sort_keys=True) + "\n").encode()


def read_checked_json(content: bytes, name: Path | str, required: bool = False) -> dict[str, Any]:
    """What `checked_json` wrote, without the checksum.

    Raises `DamagedFileError` where it is something else; also where there is no checksum if one is `required`.
    """
    try:
        check_json_memory(content, str(name), "a file that posegen keeps")
        found = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{name}: is not JSON ({' '.join(str(error).split())[:160]})") from error
    if not isinstance(found, dict):
        raise DamagedFileError(f"{name}: holds no JSON object")
    digest = found.pop(KEY, None)
    if (digest is None and required) or (digest is not None and digest != _digest(found)):
        raise DamagedFileError(f"{name}: {'has no checksum' if digest is None else 'does not match its checksum'}")
    return found


def read_checked_file(path: Path, required: bool = False) -> dict[str, Any]:
    """What `checked_json` wrote into a file. Raises `FileNotFoundError`, and as `read_checked_json` does, also where
    the file is a folder, a pipe, or far too large."""
    try:
        content = read_kept(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DamagedFileError(f"{path}: {error.strerror}") from error
    return read_checked_json(content, path, required)


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
