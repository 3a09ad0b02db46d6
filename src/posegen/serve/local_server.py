"""The server of local pages, and JSON in and out of their requests."""

import contextlib
import errno
import io
import json
import socket
import threading
from collections.abc import Callable, Iterable
from typing import Any, Protocol, runtime_checkable

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from posegen.errors import OutputError, PosegenError
from posegen.serve.gate import HEADERS, Gate

POLICY = (
    "default-src 'self'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of pages that hold their style and script."""
PATIENCE = 20.0
"""Seconds in which a client must send its request."""
_SERVED = "posegen.served"
"""Key of the application's answer in the environment of its request."""


@runtime_checkable
class Served(Protocol):
    """Something with a WSGI application."""

    application: Any


class _Handler(WSGIRequestHandler):
    """Logs errors only, closes files of broken connections, and gives up on slow clients."""

    timeout = PATIENCE
    """Seconds for each piece that is received or sent."""

    def setup(self) -> None:
        """Limit the time for the whole request, too."""
        super().setup()
        self._deadline = threading.Timer(PATIENCE, self._give_up)
        self._deadline.daemon = True
        self._deadline.start()

    def _give_up(self) -> None:
        with contextlib.suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def run_wsgi(self) -> None:
        """Answer; a request without a body is complete now."""
        if self.command in ("GET", "HEAD"):
            self._deadline.cancel()
        super().run_wsgi()

    def send_response(self, code: int, message: str | None = None) -> None:
        """Begin to answer."""
        self._deadline.cancel()
        super().send_response(code, message)

    def finish(self) -> None:
        """End the connection."""
        self._deadline.cancel()
        with contextlib.suppress(OSError):
            super().finish()

    def log_request(self, *_: Any, **__: Any) -> None:
        """Log nothing."""

    def connection_dropped(self, error: BaseException, environ: dict[str, Any] | None = None) -> None:
        """Close the answer, such as a file: werkzeug does not where the connection breaks after the last byte."""
        close = getattr((environ or {}).get(_SERVED), "close", None)
        if close is not None:
            close()


def start_server(host: str, port: int, page: Served, token: str | None = None) -> tuple[BaseWSGIServer, Gate]:
    """Start a server with a thread for each request, behind a `Gate`, which explains `token`.

    Raises `OutputError` for an unknown host or a port that is taken.
    """
    gate = Gate(host, token)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # werkzeug prints what went wrong, and exits
            server = make_server(
                host, port, _noted(GatedApplication(page.application, gate)), threaded=True, request_handler=_Handler
            )
        gate.port = server.port
        return server, gate
    except (OSError, SystemExit) as error:
        reason = error.__context__ if isinstance(error, SystemExit) else error
        text = getattr(reason, "strerror", None) or str(reason)
        if isinstance(reason, socket.gaierror) or getattr(reason, "errno", None) == errno.EADDRNOTAVAIL:
            raise OutputError(
                f"--host {host} is unknown, or no address of this computer ({text}): give one like 127.0.0.1"
            ) from None
        raise OutputError(f"cannot listen on {host}:{port} ({text}): choose another --port") from None


class GatedApplication:
    """A WSGI application behind a gate."""

    def __init__(self, application: Callable[[dict[str, Any], Any], Iterable[bytes]], gate: Gate) -> None:
        self._application, self._gate = application, gate

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Refuse the request, or pass it on."""
        request = Request(environ)
        headers = {name.lower(): value for name, value in request.headers.items()}
        query = environ.get("QUERY_STRING", "")
        refusal = self._gate.refusal(request.method, request.path, query, headers)
        cookie = None if refusal is not None else self._gate.cookie_to_set(query)

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            cookies = [] if cookie is None else [("Set-Cookie", cookie)]
            return start_response(status, [*headers, *HEADERS.items(), *cookies], *more)

        if refusal is not None:
            return Response(f"{refusal[1]}\n", refusal[0], mimetype="text/plain")(environ, start)
        return self._application(environ, start)


def _noted(application: Any) -> Callable[[dict[str, Any], Any], Iterable[bytes]]:
    """Wrap a WSGI application so that `_Handler` finds its answer."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        environ[_SERVED] = application(environ, start_response)
        return environ[_SERVED]

    return answer


def json_body(request: Request) -> dict[str, object]:
    """The JSON object of a request. Raises `PosegenError` for anything else."""
    # a page of another site can send forms, but not this type
    try:
        body = request.get_json(silent=True) if request.mimetype == "application/json" else None
        json.dumps(body, ensure_ascii=False).encode()  # half a character can be written in JSON, but not kept
    except (RecursionError, UnicodeEncodeError):
        body = None
    if not isinstance(body, dict):
        raise PosegenError("a JSON object was expected")
    return body


def json_response(content: object, status: int = 200) -> Response:
    """A response that is not cached."""
    response = Response(json.dumps(content), status, mimetype="application/json")
    response.headers["Cache-Control"] = "no-store"
    return response
