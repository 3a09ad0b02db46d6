"""The server of local pages: what happens to a response that the browser does not wait for."""

import socket
import struct
import threading
import time
from types import SimpleNamespace

from werkzeug.wrappers import Request, Response

from posegen.apps.serving import start_server


def test_a_served_file_is_closed_when_the_browser_is_gone(tmp_path):
    (tmp_path / "clip.mp4").write_bytes(b"a clip")
    file, gone = (tmp_path / "clip.mp4").open("rb"), threading.Event()

    @Request.application
    def application(request):
        def parts():
            yield file.read()
            gone.wait(60)

        response = Response(parts(), headers={"Content-Length": "6"})
        response.call_on_close(file.close)
        return response

    server = start_server("127.0.0.1", 0, SimpleNamespace(application=application))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with socket.create_connection(("127.0.0.1", server.port)) as browser:
        browser.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        received = b""
        while not received.endswith(b"a clip"):  # the error of a reset is told once: to who reads, not to who writes
            received += browser.recv(1000)
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # closing resets
    gone.set()
    deadline = time.monotonic() + 20
    while not file.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    closed = file.closed
    file.close()
    server.shutdown()
    thread.join()
    server.server_close()
    assert closed
