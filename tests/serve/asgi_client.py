"""Calls an ASGI application without a server, as a browser that keeps cookies."""

import asyncio
import json as json_format
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.cookies import SimpleCookie
from typing import Any
from urllib.parse import unquote, urlsplit


@dataclass
class Answer:
    """A whole response; headers by names in lower case."""

    status_code: int
    headers: dict[str, str]
    data: bytes

    @property
    def json(self) -> Any:
        return json_format.loads(self.data)


class AsgiClient:
    """`AsgiClient(application).post("/say", json={...})`."""

    def __init__(self, application, use_cookies=True):
        self.application, self.use_cookies, self.cookies = application, use_cookies, {}

    def get(self, path, **options):
        return self.open(path, "GET", **options)

    def post(self, path, **options):
        return self.open(path, "POST", **options)

    def open(self, path, method="GET", headers=None, json=..., data=b"", content_type=None):
        """Send one request and read the whole answer."""
        if json is not ...:
            data, content_type = json_format.dumps(json).encode(), "application/json"
        sent = {"host": "localhost", **{name.lower(): value for name, value in (headers or {}).items()}}
        if content_type is not None:
            sent["content-type"] = content_type
        if self.cookies:
            sent.setdefault("cookie", "; ".join(f"{name}={value}" for name, value in self.cookies.items()))
        parts = urlsplit(path)
        scope = {
            "type": "http", "method": method, "path": unquote(parts.path), "raw_path": parts.path.encode(),
            "query_string": parts.query.encode(), "root_path": "", "scheme": "http", "http_version": "1.1",
            "headers": [(name.encode(), value.encode("utf-8")) for name, value in sent.items()],
            "asgi": {"version": "3.0"}, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2),
        }  # fmt: skip  # a table, read in rows
        with ThreadPoolExecutor(1) as thread:  # in this one Playwright may have a loop
            answer = thread.submit(asyncio.run, self._call(scope, data)).result()
        if self.use_cookies and "set-cookie" in answer.headers:
            for name, morsel in SimpleCookie(answer.headers["set-cookie"]).items():
                self.cookies[name] = morsel.value
        return answer

    async def _call(self, scope, data):
        answer = Answer(0, {}, b"")
        received = False

        async def receive():
            nonlocal received
            if received:
                await asyncio.sleep(60)
            received = True
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message):
            if message["type"] == "http.response.start":
                answer.status_code = message["status"]
                answer.headers = {name.decode().lower(): value.decode() for name, value in message["headers"]}
            else:
                answer.data += message.get("body", b"")

        await self.application(scope, receive, send)
        return answer
