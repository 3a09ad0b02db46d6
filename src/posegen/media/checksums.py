"""Checksums of kept files, written with them and checked before they are used again.

Two forms. A file of any kind has its SHA-256 beside it in NAME.sha256, readable by `sha256sum -c`; a small JSON file
holds the checksum of its other entries as an entry. Callers decide what to do about a damaged file: usually it is made
again, and one line is logged. Files written by older versions of posegen have no checksum.
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
"""Entry of a JSON file that holds the SHA-256 of all other entries."""
FileState = Literal["missing", "unchecked", "intact", "damaged"]
"""State of a kept file; `unchecked`: without a checksum, because its writer was killed or older."""


class DamagedFileError(PosegenError):
    """A kept file differs from what was written."""


def checksum_path(path: Path) -> Path:
    """Return the path NAME.sha256 beside the file."""
    return path.with_name(path.name + ".sha256")


def write_checksum(path: Path, owner: str = "") -> None:
    """Write the checksum of a finished file. Raises `OutputError`.

    owner: identifies what the file belongs to, if another file of the same name might replace it.
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
    """Check whether a file agrees with its checksum, its name and its owner; it is read once."""
    if not path.is_file():
        return "missing"
    try:
        kept = read_kept(checksum_path(path))
    except OSError:
        return "unchecked"
    without_owner = kept.count(b"\n") == 1  # written by an older version
    try:
        return "intact" if kept == _lines(path, "" if without_owner else owner) else "damaged"
    except OSError:
        return "damaged"


def remove_checked(path: Path) -> None:
    """Remove a file, its checksum, and leftovers of killed writers."""
    for each in (checksum_path(path), path):
        each.unlink(missing_ok=True)
        remove_leftovers(each)


def _lines(path: Path, owner: str) -> bytes:
    return f"{file_digest(path)}  {path.name}\n{f'# {owner}' + chr(10) if owner else ''}".encode()


def digests_of(folder: Path, names: Iterable[str] | None = None) -> dict[str, str]:
    """Return the SHA-256 of these files of a folder, or of all files in it, by name: for a manifest."""
    if names is None:
        names = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {name: file_digest(folder / name) for name in names}


def check_digests(folder: Path, digests: dict[str, str]) -> None:
    """Raise `DamagedFileError` for the first file that differs from the result of `digests_of`."""
    for name, digest in digests.items():
        if not (folder / name).is_file() or file_digest(folder / name) != digest:
            raise DamagedFileError(f"{folder / name}: missing or damaged")


def checked_json(content: dict[str, Any], indent: int | None = 1) -> bytes:
    """Serialize as JSON with a checksum; values that JSON cannot hold become text."""
    plain = json.loads(json.dumps(content, default=str))
    whole = {**plain, KEY: _digest(plain)}
    try:
        return (json.dumps(whole, indent=indent, sort_keys=True, ensure_ascii=False) + "\n").encode()
    except UnicodeEncodeError:  # the name of a file that is not UTF-8
        return (json.dumps(whole, indent=indent, sort_keys=True) + "\n").encode()


def read_checked_json(content: bytes, name: Path | str, required: bool = False) -> dict[str, Any]:
    """Parse the output of `checked_json` and remove the checksum.

    Raises `DamagedFileError` for other content, and for a missing checksum if one is `required`.
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
    """Read a file of `checked_json`. Raises `FileNotFoundError`, and as `read_checked_json` does, also where
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
