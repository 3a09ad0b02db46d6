"""Refuses requests to a local page that come from other sites, or lack the token where one is needed.

A browser sends requests to this computer for any site that is open in it. So the name that a request is addressed to
(Host) and the page that sends it (Origin) must be the server's own, and every change must be JSON, which no form can
send. A server that other computers reach also needs a token.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, urlsplit

from werkzeug.wrappers import Request, Response

_YEAR = 365 * 86400
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response: no sniffing, framing, referrer or embedding elsewhere."""
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """A WSGI application in front of another, for a server that listens on `host`.

    token: the secret of the address; by default none where only this computer reaches the server, else a new one.
    """

    def __init__(self, application: Application, host: str, token: str | None = None) -> None:
        self._application, self._host = application, host
        self.token = token or (None if is_loopback(host) else secrets.token_urlsafe(16))
        self.port = 0
        """Port of the server, once it listens."""

    @property
    def address(self) -> str:
        """Address to open in a browser, with the token."""
        name = socket.gethostname() if self._listens_everywhere else self._host
        place = f"http://{f'[{name}]' if ':' in name else name}:{self.port}/"
        return place if self.token is None else f"{place}?token={quote(self.token)}"

    def exposure(self) -> str | None:
        """A warning about other computers; None where none reaches the server."""
        if is_loopback(self._host):
            return None
        return (
            f"--host {self._host}: every computer that reaches this one and knows the token in the address can see the "
            "videos and answer; nothing is encrypted"
        )

    @property
    def _listens_everywhere(self) -> bool:
        return self._host in ("", "0.0.0.0", "::")

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Refuse the request, or pass it on."""
        request = Request(environ)
        refusal = self._refusal(request)
        given = request.args.get("token")

        def start(status: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            headers = [*headers, *HEADERS.items()]
            if refusal is None and self.token is not None and given is not None:
                cookie = Response()
                cookie.set_cookie(self._cookie, self.token, httponly=True, samesite="Strict", max_age=_YEAR)
                headers += [("Set-Cookie", value) for value in cookie.headers.getlist("Set-Cookie")]
            return start_response(status, headers, *more)

        if refusal is not None:
            return Response(f"{refusal}\n", 403, mimetype="text/plain")(environ, start)
        return self._application(environ, start)

    @property
    def _cookie(self) -> str:
        return f"token-{self.port}"  # cookies do not tell ports apart

    def _refusal(self, request: Request) -> str | None:
        """Reason for refusing a request; None if it is accepted."""
        host = request.headers.get("Host", "")
        if not self._is_own(host):
            return f"this server is not {host or 'without a name'}"
        origin = request.headers.get("Origin")
        if origin is not None and origin != f"http://{host}":
            return "requests from other pages are refused"
        followed = request.method == "GET" and request.path == "/"  # a link to the page
        if request.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none") and not followed:
            return "requests from other sites are refused"
        if request.method not in ("GET", "HEAD") and request.mimetype != "application/json":
            return "changes are sent as JSON"
        if self.token is not None:
            known = request.args.get("token") or request.cookies.get(self._cookie, "")
            if not hmac.compare_digest(known.encode("utf-8", "replace"), self.token.encode()):
                return "open the address that posegen printed, with its token"
        return None

    def _is_own(self, host: str) -> bool:
        """Return whether a Host header names this server: by address, by the computer's name, or as given."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").rstrip("."), parts.port or 80
        except ValueError:
            return False
        if "@" in host or "/" in host or port != self.port:
            return False
        if name in ("localhost", self._host.lower()):
            return True
        if not self._listens_everywhere:
            return is_loopback(self._host) and is_loopback(name)
        try:  # the name of another site could be made to lead here; an address or this computer's own cannot
            return bool(ipaddress.ip_address(name))
        except ValueError:
            own = socket.gethostname().lower()
            return name in (own, own.split(".")[0], f"{own.split('.')[0]}.local", socket.getfqdn().lower())
