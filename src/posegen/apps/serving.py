"""What local pages share: a server, and JSON in and out of requests. What is served is said elsewhere."""

import contextlib
import errno
import io
import json
import socket
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from posegen.errors import OutputError, PosegenError

POLICY = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:"
"""Content-Security-Policy of pages that hold their style and script."""
_SERVED = "posegen.served"
"""What the application gave, in the environment of its request."""


@runtime_checkable
class Served(Protocol):
    """Something with a WSGI application."""

    application: Any


class _Handler(WSGIRequestHandler):
    """Says errors, not every request, and closes what a browser breaks off."""

    def log_request(self, *_: Any, **__: Any) -> None:
        """Nothing."""

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """Close what was served, such as a file: werkzeug does not where the connection breaks after the last byte."""
        if environ and _SERVED in environ:
            environ[_SERVED].close()


def start_server(host: str, port: int, page: Served) -> BaseWSGIServer:
    """A server with a thread for each request. Raises `OutputError` for an unknown host or a port that is taken."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # werkzeug prints what went wrong, and exits
            return make_server(host, port, _noted(page.application), threaded=True, request_handler=_Handler)
    except (OSError, SystemExit) as error:
        reason = error.__context__ if isinstance(error, SystemExit) else error
        text = getattr(reason, "strerror", None) or str(reason)
        if isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) == errno.EADDRNOTAVAIL:
            raise OutputError(
                f"--host {host} is unknown, or no address of this computer ({text}): give one like 127.0.0.1"
            ) from None
        raise OutputError(f"cannot listen on {host}:{port} ({text}): choose another --port") from None


def _noted(application: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """The WSGI application; `_Handler` finds what it gave."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[_SERVED] = application(environ, start_response)
        return environ[_SERVED]

    return answer


def json_body(request: Request) -> dict[str, object]:
    """The JSON object that was sent. Raises `PosegenError` for anything else."""
    # a page of another site can send forms, but not this type
    body = request.get_json(silent=True) if request.mimetype == "application/json" else None
    if not isinstance(body, dict):
        raise PosegenError("JSON was expected")
    return body


def json_response(content: object, status: int = 200) -> Response:
    """A response that nobody keeps."""
    response = Response(json.dumps(content), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
