"""What tests of URLs share: a folder over HTTP, whose server can be made to misbehave, the index that it needs, and an
S3-compatible store."""

import contextlib
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path


class Server(http.server.ThreadingHTTPServer):
    """A record of what was `asked` for; `ranges`: whether it knows them; `cut`: bytes after which it hangs up; `after`:
    which file has to be asked for before another one is answered."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder, self.asked, self.ranges, self.cut, self.after = folder, [], True, {}, {}

    def has_been_asked_for(self, name: str, seconds: float = 60) -> bool:
        """Waits for it."""
        deadline = time.monotonic() + seconds
        while name not in [asked for asked, _ in self.asked]:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        return True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address):
        """Clients may leave early."""


class Handler(http.server.BaseHTTPRequestHandler):
    """No listings: an index must do."""

    def log_message(self, *arguments):
        """No lines."""

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body: bool) -> None:
        name = self.path.strip("/")
        wanted = self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")
        path = self.server.folder / name
        if not name or not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        start = int(wanted[0]) if self.server.ranges else 0
        if with_body:
            self.server.asked.append((name, start))
            if name in self.server.after and not self.server.has_been_asked_for(self.server.after[name]):
                self.send_error(504)
                return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        content = content[start:]
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            cuts = self.server.cut.get(name)
            self.wfile.write(content[: cuts.pop(0)] if cuts else content)


@contextlib.contextmanager
def serving(folder: Path):
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


@contextlib.contextmanager
def serving_s3():
    """The address of an empty S3-compatible store, which this process and its children use meanwhile."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    settings = {
        "AWS_ACCESS_KEY_ID": "who",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": address,
    }
    before = {name: os.environ.get(name) for name in settings}
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            os.environ.update(settings)
            deadline = time.monotonic() + 120
            while True:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                assert server.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield address
        finally:
            server.kill()
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def write_index(folder: Path, split: str) -> None:
    """As `posegen synth` and `posegen prepare` write it."""
    entries = [
        {"file": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.glob(f"{split}-*.tar"))
    ]
    (folder / f"{split}.json").write_text(json.dumps({"format": 1, "complete": True, "shards": entries}))
