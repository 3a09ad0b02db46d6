"""What local pages share: a server, and JSON in and out of requests. What is served is said elsewhere."""

import contextlib
import errno
import io
import json
import socket
from typing import Any, Protocol, runtime_checkable

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from posegen.errors import OutputError, PosegenError

POLICY = "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:"
"""Content-Security-Policy of pages that hold their style and script."""


@runtime_checkable
class Served(Protocol):
    """Something with a WSGI application."""

    application: Any


class _Quiet(WSGIRequestHandler):
    """Says errors, not every request."""

    def log_request(self, *_: Any, **__: Any) -> None:
        """Nothing."""


def start_server(host: str, port: int, page: Served) -> BaseWSGIServer:
    """A server with a thread for each request. Raises `OutputError` for an unknown host or a port that is taken."""
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # werkzeug prints what went wrong, and exits
            return make_server(host, port, page.application, threaded=True, request_handler=_Quiet)
    except (OSError, SystemExit) as error:
        reason = error.__context__ if isinstance(error, SystemExit) else error
        text = getattr(reason, "strerror", None) or str(reason)
        if isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) == errno.EADDRNOTAVAIL:
            raise OutputError(
                f"--host {host} is unknown, or no address of this computer ({text}): give one like 127.0.0.1"
            ) from None
        raise OutputError(f"cannot listen on {host}:{port} ({text}): choose another --port") from None


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
