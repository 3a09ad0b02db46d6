"""The server of local pages: who may ask it, slow clients, and responses that a browser does not wait for."""

import socket
import struct
import threading
import time
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from posegen.serve import local_server as serving
from posegen.serve.gate import Gate
from posegen.serve.local_server import GatedApplication, start_server


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

    server, _ = start_server("127.0.0.1", 0, SimpleNamespace(application=application))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with socket.create_connection(("127.0.0.1", server.port)) as browser:
        browser.sendall(f"GET / HTTP/1.1\r\nHost: localhost:{server.port}\r\n\r\n".encode())
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


@Request.application
def echo(request):
    return Response(request.method)


def gate(host="127.0.0.1", token=None, port=8422):
    made = Gate(host, token)
    made.port = port
    return made


def through(made):
    return GatedApplication(echo, made)


OWN = {"Host": "127.0.0.1:8422"}
REFUSED = {
    "another name that leads here": ("GET", {"Host": "evil.example:8422"}),
    "another port": ("GET", {"Host": "127.0.0.1:80"}),
    "no port": ("GET", {"Host": "127.0.0.1"}),
    "a name with another in front": ("GET", {"Host": "127.0.0.1:8422@evil.example"}),
    "nonsense": ("GET", {"Host": "[::1"}),
    "a page of another site": ("POST", {**OWN, "Origin": "http://evil.example"}),
    "a page of another port": ("POST", {**OWN, "Origin": "http://127.0.0.1:9"}),
    "a page without an origin": ("POST", {**OWN, "Origin": "null"}),
    "a picture in another site": ("GET", {**OWN, "Sec-Fetch-Site": "cross-site"}),
    "a form": ("POST", {**OWN, "Content-Type": "application/x-www-form-urlencoded"}),
    "text that is sent as a form can be": ("POST", {**OWN, "Content-Type": "text/plain"}),
    "another way to change something": ("PUT", {**OWN, "Content-Type": "text/plain"}),
}


@pytest.mark.parametrize("case", REFUSED)
def test_requests_that_are_not_the_pages_own_are_refused(case):
    method, headers = REFUSED[case]
    sent = {"Content-Type": "application/json", **headers}
    assert Client(through(gate())).open("/undo", method=method, headers=sent).status_code == 403


def test_the_pages_own_requests_are_answered():
    client = Client(through(gate()))
    for host in ("127.0.0.1:8422", "localhost:8422", "[::1]:8422"):
        for headers in (
            {},
            {"Origin": f"http://{host}"},
            {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"},
        ):
            assert client.post("/undo", json={}, headers={"Host": host, **headers}).status_code == 200
    answer = client.get("/", headers={**OWN, "Sec-Fetch-Site": "cross-site"})  # a link was followed
    assert answer.status_code == 200
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"
    for directive in ("frame-ancestors", "base-uri", "form-action"):
        assert directive in serving.POLICY


def test_other_computers_need_the_token():
    made = gate("0.0.0.0")
    assert made.token in made.address
    assert "0.0.0.0" in made.exposure()
    assert gate().token is None
    assert gate().exposure() is None
    other = {"Host": "192.0.2.7:8422"}
    client = Client(through(made), use_cookies=False)
    assert client.get("/", headers=other).status_code == 401
    assert client.get("/?token=another", headers=other).status_code == 401
    assert client.get("/", headers={**other, "Cookie": f"token-8422={'é' * 9}"}).status_code == 401
    assert client.get("/", headers={**other, "Authorization": f"Bearer {made.token}"}).status_code == 200
    first = client.get(f"/?token={made.token}", headers=other)
    assert first.status_code == 200
    assert "HttpOnly" in first.headers["Set-Cookie"]
    cookie = {"Cookie": first.headers["Set-Cookie"].split(";")[0]}
    assert client.post("/say", json={}, headers={**other, **cookie}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example:8422", **cookie}).status_code == 403
    assert gate("0.0.0.0", "chosen-by-me").token == "chosen-by-me"


@pytest.mark.parametrize("sent", [b"", b"GET / HT", b"POST /say HTTP/1.1\r\nHost: {own}\r\nContent-Length: 9\r\n\r\n{"])
def test_a_slow_client_is_given_up(sent, monkeypatch):
    monkeypatch.setattr(serving, "PATIENCE", 0.3)
    monkeypatch.setattr(serving._Handler, "timeout", 0.3)

    @Request.application
    def application(request):
        return Response(request.get_data())

    server, _ = start_server("127.0.0.1", 0, SimpleNamespace(application=application))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(sent.replace(b"{own}", f"127.0.0.1:{server.port}".encode()))
        while client.recv(1000):  # until the server closes; it may say why
            pass
    server.shutdown()
    thread.join()
    server.server_close()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\ud800") | st.just("x" * 200)
VALUES = st.recursive(SCALARS, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(), each, max_size=3))
KEYS = st.sampled_from(["row", "keep", "tags", "name", "question", "answer", "choice"])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES, max_size=4) | VALUES)
def test_no_body_is_an_error_of_the_server(pages, body):
    for client, paths in pages:
        for path in paths:
            assert client.post(path, json=body).status_code < 500


def test_deep_and_odd_bodies_are_refused(pages):
    for body in (b"[" * 4000, b'{"row": ' + b"9" * 5000 + b"}", b"\xff", b'{"name": "\\ud800"}', b""):
        for client, paths in pages:
            for path in paths:
                assert client.post(path, data=body, content_type="application/json").status_code in (400, 404)


@pytest.fixture
def pages(tmp_path):
    """The screening page and the study page, and where they take bodies."""
    from posegen.evaluate.study.study_database import Study
    from posegen.serve.rating_study import StudyPage
    from posegen.serve.screening import Row, ScreenPage

    rows = [Row(number, f"c{number}", "x.mp4", 0.0, 1.0, True, (), {}) for number in range(3)]
    screen = Client(ScreenPage(tmp_path, rows, ("hands",)).application)
    study = Client(StudyPage(Study(tmp_path / "answers.sqlite", {"a": ["x", "y"]}), {}, {}).application)
    study.post("/enter", json={"name": "somebody"})
    return [(screen, ("/say", "/undo")), (study, ("/enter", "/answer"))]
