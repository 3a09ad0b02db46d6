"""Refuses requests to a local server that come from other sites, or lack the token where one is needed.

A browser sends requests to this computer for any site that is open in it. So the name that a request is addressed to
(Host) and the page that sends it (Origin) must be the server's own. Browsers name the origin of every change that
another page's script or form asks for. A server that other computers reach also needs a token.
"""

import hmac
import ipaddress
import secrets
import socket
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

_YEAR = 365 * 86400
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""Headers of every response: no sniffing, framing, referrer or embedding elsewhere."""
FORBIDDEN, UNKNOWN = 403, 401
"""Status of a refusal: for the request's origin, or for a missing token."""


def is_loopback(host: str) -> bool:
    """Return whether only this computer reaches a server that listens on `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Gate:
    """Decides which requests a server that listens on `host` answers.

    token: the secret of the address; by default none where only this computer reaches the server, else a new one.
    names: other names of the server, HOST or HOST:PORT. changes: content types of requests that change something.
    """

    def __init__(
        self,
        host: str,
        token: str | None = None,
        names: Iterable[str] = (),
        changes: tuple[str, ...] = ("application/json",),
    ) -> None:
        self._host, self._names, self._changes = host, {name.lower() for name in names}, changes
        self.token = token or (None if is_loopback(host) and not self._names else secrets.token_urlsafe(16))
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

    @property
    def cookie(self) -> str:
        """Name of the cookie that holds the token."""
        return f"token-{self.port}"  # cookies do not tell ports apart

    def cookie_to_set(self, query: str) -> str | None:
        """Return the Set-Cookie header for an accepted request; None if it carries no token in its address."""
        if self.token is None or "token" not in parse_qs(query):
            return None
        return f"{self.cookie}={self.token}; HttpOnly; Max-Age={_YEAR}; Path=/; SameSite=Strict"

    def refusal(self, method: str, path: str, query: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return status and reason for refusing a request; None if it is accepted. headers: by names in lower case."""
        host = headers.get("host", "")
        if not self._is_own(host):
            return FORBIDDEN, f"this server is not {host or 'without a name'}"
        origin = headers.get("origin")
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return FORBIDDEN, "requests from other pages are refused"
        followed = method == "GET" and path == "/"  # a link to the page
        if headers.get("sec-fetch-site", "none") not in ("same-origin", "none") and not followed:
            return FORBIDDEN, "requests from other sites are refused"
        kind = headers.get("content-type", "").split(";")[0].strip().lower()
        if method not in ("GET", "HEAD") and kind not in self._changes:
            return FORBIDDEN, f"changes are sent as {' or '.join(filter(None, self._changes))}"
        if self.token is not None and not self._knows_token(query, headers):
            return UNKNOWN, (
                "a token is needed: open the address that posegen printed, or send the header "
                "`Authorization: Bearer TOKEN`"
            )
        return None

    def _knows_token(self, query: str, headers: Mapping[str, str]) -> bool:
        if self.token is None:
            return True
        given = [*parse_qs(query).get("token", ())]
        scheme, _, bearer = headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            given.append(bearer.strip())
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self.cookie)
        except CookieError:
            morsel = None
        if morsel is not None:
            given.append(morsel.value)
        return any(hmac.compare_digest(each.encode("utf-8", "replace"), self.token.encode()) for each in given)

    def _is_own(self, host: str) -> bool:
        """Return whether a Host header names this server: by address, by the computer's name, or as given."""
        try:
            parts = urlsplit(f"//{host}")
            name, port = (parts.hostname or "").rstrip("."), parts.port or 80
        except ValueError:
            return False
        if "@" in host or "/" in host:
            return False
        if host.lower() in self._names or name in self._names:
            return True
        if port != self.port:
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
