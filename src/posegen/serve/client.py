"""A client of the job server: `Client("http://127.0.0.1:8420").create_video(...)`. Needs nothing but Python.

    client = Client("http://127.0.0.1:8420", token="...")
    video = client.create_video(reference="person.png", driving_video="dance.mp4", seed=1)
    for event in client.events(video["id"]):
        print(event.kind, event.data)
    client.download(video["id"], "out.mp4")

What a job can be told: the server's `/openapi.json`, or docs/serve.md. Videos are dictionaries as the API returns them.
"""

import contextlib
import http.client
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from posegen.errors import PosegenError
from posegen.media.files import AtomicFile, open_input

FILES = ("reference", "driving_video", "driving_conditions", "pose_file", "normals_file")
"""Fields that are files: paths, or ids of earlier uploads."""
_BLOCK = 1 << 20


class ServerError(PosegenError):
    """The server refused a request; field: the one that it is about, if any; code: a word for programs."""

    def __init__(self, status: int, message: str, field: str | None, code: str) -> None:
        super().__init__(message)
        self.status, self.field, self.code = status, field, code


@dataclass(frozen=True)
class ServerEvent:
    """An event of a job: `status`, `plan`, `note`, `warning`, `segment`, or `progress` (the job as it is now)."""

    kind: str
    data: dict[str, Any]
    id: str | None = None


class Client:
    """Speaks with one server; a connection for each request, so threads may share it."""

    def __init__(self, address: str = "http://127.0.0.1:8420", token: str | None = None, timeout: float = 60.0) -> None:
        """Take the server's address; timeout: seconds without any answer. Raises `PosegenError` for another address."""
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise PosegenError(f"{address!r} is not an address: write it like http://127.0.0.1:8420")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connect = lambda: kind(parts.hostname or "", parts.port, timeout=timeout)
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}

    # -- videos and previews -------------------------------------------------------------------------------------------

    def create_video(self, **fields: Any) -> dict[str, Any]:
        """Queue a video: `reference`, `driving_video` and any other field. Raises `ServerError`."""
        return self._form("/v1/videos", fields)

    def create_preview(self, **fields: Any) -> dict[str, Any]:
        """Queue a preview: what a video with these fields would be. Raises `ServerError`."""
        return self._form("/v1/previews", fields)

    def get(self, job: str) -> dict[str, Any]:
        """Return a video or preview by its id. Raises `ServerError`."""
        return self._json("GET", _place(job))

    def videos(self, limit: int = 100, after: str | None = None) -> list[dict[str, Any]]:
        """Return videos, the newest first, those after the id `after`. Raises `ServerError`."""
        beyond = "" if after is None else f"&after={quote(after, safe='')}"
        found: list[dict[str, Any]] = self._json("GET", f"/v1/videos?limit={limit}{beyond}")["data"]
        return found

    def change(self, job: str, what: str) -> dict[str, Any]:
        """`cancel`, `pause`, `resume` or `retry` a video. Raises `ServerError`."""
        return self._json("POST", f"{_place(job)}/{quote(what, safe='')}")

    def delete(self, job: str) -> None:
        """Delete a video or preview, and its files. Raises `ServerError`."""
        self._json("DELETE", _place(job))

    def events(self, job: str, after: str | None = None) -> Iterator[ServerEvent]:
        """Yield a job's events until it ends, those after the event id `after`. Raises `ServerError`."""
        headers = {} if after is None else {"Last-Event-ID": after}
        with self._answer("GET", f"{_place(job)}/events", headers=headers) as response:
            lines: dict[str, str] = {}
            for line in response:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if value:
                    lines[name] = value
                elif "data" in lines:
                    yield ServerEvent(lines.get("event", ""), json.loads(lines["data"]), lines.get("id"))
                    lines = {}

    def wait(self, job: str) -> dict[str, Any]:
        """Wait until a job has ended; return it. Raises `ServerError` if it failed, or was cancelled or paused."""
        while True:
            for event in self.events(job):
                status = event.data.get("status")
                if event.kind == "progress" and status == "completed":
                    return event.data
                if event.kind == "progress" and status in ("failed", "cancelled", "paused"):
                    error = event.data["error"] or {"message": f"{job} is {status}", "field": None, "code": status}
                    raise ServerError(200, error["message"], error["field"], error["code"])

    def download(self, job: str, path: str | Path, variant: str = "video") -> Path:
        """Write a finished video to a file, whole or not at all. Raises `ServerError` or `OutputError`."""
        file = AtomicFile(Path(path))
        try:
            with (
                self._answer("GET", f"{_place(job)}/content?variant={quote(variant)}") as response,
                file.temporary.open("wb") as copy,
            ):
                while block := response.read(_BLOCK):
                    copy.write(block)
            file.commit()
        except BaseException:
            file.discard()
            raise
        return Path(path)

    # -- requests ------------------------------------------------------------------------------------------------------

    def _json(self, method: str, place: str) -> dict[str, Any]:
        with self._answer(method, place) as response:
            found: dict[str, Any] = json.load(response)
            return found

    def _form(self, place: str, fields: dict[str, Any]) -> dict[str, Any]:
        """Send a form; files are read while they are sent."""
        boundary = secrets.token_hex(16)
        parts: list[bytes | Path] = []
        for name, value in fields.items():
            for each in value if isinstance(value, list | tuple) else [value]:
                if each is None:
                    continue
                head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"'
                if name in FILES and not (isinstance(each, str) and len(each) == 64 and "." not in each):
                    path = Path(each)
                    open_input(path, f"a file for {name}").close()
                    shown = path.name.replace('"', "_")
                    head += f'; filename="{shown}"\r\nContent-Type: application/octet-stream'
                    parts += [f"{head}\r\n\r\n".encode(), path, b"\r\n"]
                else:
                    text = str(each).lower() if isinstance(each, bool) else str(each)
                    parts.append(f"{head}\r\n\r\n{text}\r\n".encode())
        parts.append(f"--{boundary}--\r\n".encode())
        length = sum(part.stat().st_size if isinstance(part, Path) else len(part) for part in parts)
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}", "Content-Length": str(length)}
        with self._answer("POST", place, headers, parts) as response:
            found: dict[str, Any] = json.load(response)
            return found

    @contextlib.contextmanager
    def _answer(
        self, method: str, place: str, headers: dict[str, str] | None = None, parts: list[bytes | Path] | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        connection = self._connect()
        with contextlib.closing(connection):
            try:
                connection.request(
                    method, place, _blocks(parts or []) if parts else None, self._headers | (headers or {})
                )
                response = connection.getresponse()
            except OSError as error:
                raise PosegenError(f"the server does not answer ({error}): is `posegen serve` running?") from error
            if response.status >= 400:
                try:
                    error_of = json.load(response)["error"]
                    raise ServerError(response.status, error_of["message"], error_of["field"], error_of["code"])
                except (KeyError, TypeError, json.JSONDecodeError):
                    raise ServerError(response.status, f"{response.status} {response.reason}", None, "http") from None
            yield response


def _blocks(parts: list[bytes | Path]) -> Iterator[bytes]:
    for part in parts:
        if isinstance(part, bytes):
            yield part
            continue
        with part.open("rb") as file:
            while block := file.read(_BLOCK):
                yield block


def _place(job: str) -> str:
    kind = "previews" if job.startswith("preview") else "videos"
    return f"/v1/{kind}/{quote(job, safe='')}"
