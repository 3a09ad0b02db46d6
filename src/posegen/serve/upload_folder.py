"""Keeps uploaded files under the SHA-256 of their content, once each, after another process has looked into them.

Nothing that a client sends becomes part of a path: names are kept in the database, and suffixes follow from the
content. Size, number and age are limited.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

from posegen.errors import OutputError, PosegenError
from posegen.media.files import output_errors, readable_size
from posegen.serve.job_fields import FieldError, FileKind
from posegen.serve.job_store import JobStore, StoredUpload

_BLOCK = 1 << 20
_PATIENCE = 120.0
"""Seconds for looking into a file."""
_HEADS: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG", ".png"),
    (0, b"\xff\xd8\xff", ".jpg"),
    (8, b"WEBP", ".webp"),
    (0, b"BM", ".bmp"),
    (0, b"II*\x00", ".tif"),
    (0, b"MM\x00*", ".tif"),
    (4, b"ftypavif", ".avif"),
    (4, b"ftyphei", ".heic"),
    (4, b"ftypqt", ".mov"),
    (4, b"ftyp", ".mp4"),
    (0, b"\x1aE\xdf\xa3", ".mkv"),
    (8, b"AVI ", ".avi"),
    (0, b"GIF8", ".gif"),
    (0, b"\x00\x00\x01\xba", ".mpg"),
    (0, b"G", ".ts"),
)
"""Place and bytes at the beginning of a file, and the suffix that it gets."""


class UploadFolder:
    """The uploaded files of a server, in `folder/uploads`."""

    def __init__(self, store: JobStore, most_bytes: int, most_files: int, days: float) -> None:
        self.store, self.folder = store, store.folder / "uploads"
        self.most_bytes, self.most_files, self.days = most_bytes, most_files, days
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, upload: StoredUpload) -> Path:
        """Path of an uploaded file."""
        return self.store.folder / upload.file

    def keep(self, file: BinaryIO, name: str, kind: FileKind, field: str) -> StoredUpload:
        """Keep a file that was sent for a field. Raises `FieldError` for one that is too large or no such thing."""
        digest, size = hashlib.sha256(), 0
        name = re.sub(r"[^\w. ()+-]", "_", name.replace("\\", "/").rsplit("/", 1)[-1])[-100:] or "file"
        temporary = self.folder / f".{secrets.token_hex(8)}.part"
        try:
            with output_errors(self.folder), temporary.open("wb") as copy:
                while block := file.read(_BLOCK):
                    size += len(block)
                    if size > self.most_bytes:
                        most = readable_size(self.most_bytes)
                        raise FieldError(
                            f"{field}: {name} has more than {most}: send a smaller file", field, "too_large"
                        )
                    digest.update(block)
                    copy.write(block)
            if size == 0:
                raise FieldError(f"{field}: {name} is empty: send the file itself", field, "empty_file")
            sha256 = digest.hexdigest()
            known = self.store.upload(sha256, kind)
            if known is not None and self.path(known).is_file():
                self.store.keep_upload(_used_now(known))
                return known
            self._make_room(field)
            path = self.folder / sha256[:2] / f"{sha256}{_suffix(temporary, kind)}"
            with output_errors(self.folder):
                path.parent.mkdir(exist_ok=True)
                os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        upload = StoredUpload(sha256, kind, name, str(path.relative_to(self.store.folder)), size, {}, time.time())
        try:
            found = look_into(path, kind)
        except PosegenError as error:
            if self.store.upload(sha256) is None:  # no other field has the same file
                path.unlink(missing_ok=True)
            text = str(error.args[0]).replace(str(path), name)
            raise FieldError(f"{field}: {text}", field, "unusable_file") from None
        upload = StoredUpload(**{**vars(upload), "facts": found})
        self.store.keep_upload(upload)
        return upload

    def find(self, sha256: str, kind: FileKind, field: str) -> StoredUpload:
        """Return an earlier upload by its id. Raises `FieldError` if it is not there, or of another kind."""
        if not re.fullmatch(r"[0-9a-f]{64}", sha256):
            raise FieldError(f"{field}: a file is expected, or the id of an earlier upload", field)
        known = self.store.upload(sha256, kind)
        if known is None or not self.path(known).is_file():
            other = self.store.upload(sha256)
            if other is None or not self.path(other).is_file():
                raise FieldError(f"{field}: no upload has this id (any more): send the file again", field, "not_found")
            with self.path(other).open("rb") as file:  # the same file for another use: look again
                return self.keep(file, other.name, kind, field)
        self.store.keep_upload(_used_now(known))
        return known

    def _make_room(self, field: str) -> None:
        uploads = self.store.uploads()
        excess = len(uploads) + 1 - self.most_files
        for upload in uploads if excess > 0 else ():
            excess -= self._remove(upload)
            if excess <= 0:
                return
        if excess > 0:
            raise FieldError(
                f"{field}: {len(uploads)} uploaded files are in use, as many as the server keeps: delete old videos",
                field,
                "too_many_files",
            )

    def remove_old(self) -> None:
        """Remove files that no job uses and that were sent or used too long ago; and what no record names."""
        for upload in self.store.uploads():
            if upload.used < time.time() - self.days * 86400:
                self._remove(upload)
        kept = {upload.file for upload in self.store.uploads()}
        for path in self.folder.rglob("*"):
            with contextlib.suppress(OSError):
                old = path.stat().st_mtime < time.time() - 3600
                if path.is_file() and old and str(path.relative_to(self.store.folder)) not in kept:
                    path.unlink()

    def _remove(self, upload: StoredUpload) -> bool:
        if not self.store.forget_upload(upload.sha256):
            return False
        self.path(upload).unlink(missing_ok=True)
        return True


def _used_now(upload: StoredUpload) -> StoredUpload:
    return StoredUpload(**{**vars(upload), "used": time.time()})


def _suffix(path: Path, kind: FileKind) -> str:
    with path.open("rb") as file:
        head = file.read(64)
    if kind in ("pose", "conditions") and head.startswith(b"PK\x03\x04"):
        return ".zip" if kind == "conditions" else ".npz"
    if kind == "pose" and head.lstrip().startswith((b"{", b"[")):
        return ".json"
    return next((suffix for place, bytes_, suffix in _HEADS if head[place:].startswith(bytes_)), ".bin")


def look_into(path: Path, kind: FileKind) -> dict[str, object]:
    """Have another process look into a file; return what it found. Raises `PosegenError`."""
    command = [sys.executable, "-m", "posegen.serve.upload_check", kind, str(path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=_PATIENCE,
            env=environment,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise PosegenError(
            f"{path} takes more than {_PATIENCE:.0f} s to look into: convert it, or send a shorter one"
        ) from None
    except OSError as error:
        raise OutputError(f"no process can be started to look into {path} ({error.strerror})") from error
    try:
        answer = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        raise PosegenError(
            f"{path} cannot be read: the decoder ended with code {done.returncode}; convert the file to another format"
        ) from None
    if "error" in answer:
        raise PosegenError(answer["error"])
    facts: dict[str, object] = answer["facts"]
    return facts
