"""The server of pages and API: an ASGI application behind a `Gate`, with limits on what a client may send.

Bodies have a maximum size, and each piece of one must come soon. uvicorn does the rest.
"""

import asyncio
import contextlib
import errno
import json
import socket
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from posegen.errors import OutputError
from posegen.serve.gate import HEADERS, Gate

PATIENCE = 20.0
"""Seconds in which a client must begin its request, and send each piece of its body."""
SMALL_BODY = 64 << 10
"""Maximum bytes of a body that is no form with files."""
API_POLICY = "default-src 'none'; frame-ancestors 'none'; sandbox"
"""Content-Security-Policy of everything that is no page."""
_SHUTDOWN = 3
"""Seconds that open responses have when the server stops."""

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
AsgiApplication = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class BodyTooLargeError(Exception):
    """A request's body exceeds the limit, in bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the request has more than {limit:,} bytes")
        self.limit = limit


class SlowClientError(Exception):
    """A client has sent nothing for too long."""


class GuardedApplication:
    """An ASGI application behind a gate; `largest` is the maximum of a form with files, in bytes."""

    def __init__(self, application: AsgiApplication, gate: Gate, largest: int = SMALL_BODY) -> None:
        self._application, self._gate, self._largest = application, gate, largest

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Refuse the request, or pass it on."""
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
            return
        if scope["type"] != "http":  # nothing here speaks over web sockets
            await send({"type": "websocket.close"})
            return
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = scope["query_string"].decode("latin-1")
        refusal = self._gate.refusal(scope["method"], scope["path"], query, headers)
        limit = self._largest if headers.get("content-type", "").startswith("multipart/") else SMALL_BODY
        length = headers.get("content-length", "")
        if refusal is None and length.isdigit() and int(length) > limit:
            refusal = 413, str(BodyTooLargeError(limit))
        cookie = None if refusal is not None else self._gate.cookie_to_set(query)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]
                if not any(name == b"content-security-policy" for name, _ in message["headers"]):
                    own.append((b"content-security-policy", API_POLICY.encode()))
                if cookie is not None:
                    own.append((b"set-cookie", cookie.encode()))
                message["headers"] = [*message["headers"], *own]
            await send(message)

        if refusal is not None:
            await _refuse(answer, *refusal)
            return
        received = 0

        async def limited() -> Message:
            nonlocal received
            try:
                message = await asyncio.wait_for(receive(), PATIENCE if received >= 0 else None)
            except TimeoutError:
                raise SlowClientError from None
            if message["type"] == "http.request":
                received += len(message.get("body", b""))
                if received > limit:
                    raise BodyTooLargeError(limit)
                if not message.get("more_body", False):
                    received = -1  # what is received from now on is the end of the connection, whenever it comes
            return message

        await self._application(scope, limited, answer)


async def _refuse(send: Send, status: int, message: str) -> None:
    code = {401: "unauthorized", 413: "too_large"}.get(status, "forbidden")
    body = json.dumps({"error": {"message": message, "field": None, "code": code}}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class _PatientProtocol(H11Protocol):
    """Gives up on clients that connect and do not complete the head of a request."""

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.loop.call_later(PATIENCE, self._give_up)

    def _give_up(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


class WebServer:
    """A server that listens from the beginning; `serve_forever` answers until `shutdown`, or a signal in a terminal."""

    def __init__(
        self, application: AsgiApplication, gate: Gate, host: str, port: int, largest: int = SMALL_BODY
    ) -> None:
        """Listen. Raises `OutputError` for an unknown host or a port that is taken."""
        self._socket = listen(host, port)
        self.port = gate.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            GuardedApplication(application, gate, largest),
            http=_PatientProtocol,
            ws="none",
            log_level="error",
            access_log=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=_SHUTDOWN,
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    @property
    def stopping(self) -> bool:
        """True once the server is to stop: streams without an end should end."""
        return self._server.should_exit

    def serve_forever(self) -> None:
        """Answer requests until told to stop."""
        self._server.run(sockets=[self._socket])

    def shutdown(self) -> None:
        """Make `serve_forever` return, in whatever thread it runs."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def __enter__(self) -> "WebServer":
        """Serve in a thread inside the block."""
        self._thread = threading.Thread(target=self.serve_forever, name="server", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.close()


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `OutputError` for an unknown host or a port that is taken."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                with contextlib.suppress(OSError):
                    listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            listening.bind(address)
            listening.listen(128)
        except OSError:
            listening.close()
            raise
        return listening
    except OSError as error:
        text = error.strerror or str(error)
        if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
            raise OutputError(
                f"--host {host} is unknown, or no address of this computer ({text}): give one like 127.0.0.1"
            ) from None
        raise OutputError(f"cannot listen on {host}:{port} ({text}): choose another --port") from None
