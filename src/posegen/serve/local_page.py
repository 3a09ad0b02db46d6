"""Parts of the local pages of `posegen screen` and `posegen study`: one HTML text, JSON in and out, errors in one line.

Both run on the same server as the job server, behind the same gate.
"""

import json
import os
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from posegen.errors import PosegenError
from posegen.serve.gate import Gate
from posegen.serve.web_server import BodyTooLargeError, SlowClientError, WebServer

POLICY = (
    "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of pages that hold their style and script."""


class NotThereError(PosegenError):
    """There is nothing at this address."""


class ConflictError(PosegenError):
    """The request does not fit what happened before."""


def local_application(page: str, routes: Sequence[Route]) -> Starlette:
    """Build the application of a local page: the page itself at `/`, and other routes."""

    async def show_page(_: Request) -> Response:
        return HTMLResponse(page, headers={"Content-Security-Policy": POLICY})

    def refuse(_: Request, error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return json_response({"error": str(error.detail)}, error.status_code)
        kinds = {NotThereError: 404, ConflictError: 409, BodyTooLargeError: 413, SlowClientError: 408}
        status = next((status for kind, status in kinds.items() if isinstance(error, kind)), 400)
        return json_response({"error": str(error)}, status)

    kinds: tuple[type[Exception], ...] = (PosegenError, HTTPException, BodyTooLargeError, SlowClientError)
    handlers: Any = dict.fromkeys(kinds, refuse)
    return Starlette(routes=[Route("/", show_page), *routes], exception_handlers=handlers)


def start_page(application: Any, host: str, port: int, token: str | None = None) -> tuple[WebServer, Gate]:
    """Listen for a local page, behind a `Gate`, which explains `token`.

    Raises `OutputError` for an unknown host or a port that is taken.
    """
    gate = Gate(host, token)
    return WebServer(application, gate, host, port), gate


def page_text(folder: str, name: str, settings: Mapping[str, Any]) -> str:
    """Return a page of this package with its style, script and settings in it."""
    package = resources.files("posegen.serve")
    texts = {kind: (package / folder / f"{name}.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html")}
    style = (package / "shared_page" / "base.css").read_text(encoding="utf-8") + texts["css"]
    data = json.dumps(settings).replace("<", "\\u003c")
    page = texts["html"].replace("/* style */", style).replace("/* script */", texts["js"])
    return page.replace("{settings}", data)


async def json_body(request: Request) -> dict[str, object]:
    """The JSON object of a request. Raises `PosegenError` for anything else."""
    # a page of another site can send forms, but not this type
    try:
        kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
        body = json.loads(await request.body()) if kind == "application/json" else None
        json.dumps(body, ensure_ascii=False).encode()  # half a character can be written in JSON, but not kept
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        raise PosegenError("a JSON object was expected")
    return body


def json_response(content: object, status: int = 200) -> Response:
    """A response that is not cached."""
    return JSONResponse(content, status, headers={"Cache-Control": "no-store"})


class BlindFileResponse(FileResponse):
    """A file without its name, date or checksum, which could tell how it was made."""

    def __init__(self, path: Path, kind: str) -> None:
        super().__init__(path, media_type=kind, headers={"Cache-Control": "no-store"})

    def set_stat_headers(self, stat_result: os.stat_result) -> None:
        """Send the length, and the same date and tag for all files."""
        self.headers.setdefault("content-length", str(stat_result.st_size))
        self.headers.setdefault("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT")
        self.headers.setdefault("etag", '"-"')
