"""The server of local pages: access, slow clients, and bodies of any kind."""

import pytest

pytest.importorskip("starlette", reason="tests of local pages need the extra `evaluate`")

from asgi_client import AsgiClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.responses import PlainTextResponse

from posegen.serve.gate import Gate
from posegen.serve.local_page import POLICY
from posegen.serve.web_server import GuardedApplication


async def echo(scope, receive, send):
    await PlainTextResponse(scope["method"])(scope, receive, send)


def gate(host="127.0.0.1", token=None, port=8422):
    made = Gate(host, token)
    made.port = port
    return made


def through(made):
    return GuardedApplication(echo, made)


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
    assert AsgiClient(through(gate())).open("/undo", method=method, headers=sent).status_code == 403


def test_the_pages_own_requests_are_answered():
    client = AsgiClient(through(gate()))
    for host in ("127.0.0.1:8422", "localhost:8422", "[::1]:8422"):
        for headers in (
            {},
            {"Origin": f"http://{host}"},
            {"Origin": f"http://{host}", "Sec-Fetch-Site": "same-origin"},
        ):
            assert client.post("/undo", json={}, headers={"Host": host, **headers}).status_code == 200
    answer = client.get("/", headers={**OWN, "Sec-Fetch-Site": "cross-site"})  # a link was followed
    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["x-frame-options"] == "DENY"
    for directive in ("frame-ancestors", "base-uri", "form-action"):
        assert directive in POLICY


def test_other_computers_need_the_token():
    made = gate("0.0.0.0")
    assert made.token in made.address
    assert "0.0.0.0" in made.exposure()
    assert gate().token is None
    assert gate().exposure() is None
    other = {"Host": "192.0.2.7:8422"}
    client = AsgiClient(through(made), use_cookies=False)
    assert client.get("/", headers=other).status_code == 401
    assert client.get("/?token=another", headers=other).status_code == 401
    assert client.get("/", headers={**other, "Cookie": f"token-8422={'é' * 9}"}).status_code == 401
    assert client.get("/", headers={**other, "Authorization": f"Bearer {made.token}"}).status_code == 200
    first = client.get(f"/?token={made.token}", headers=other)
    assert first.status_code == 200
    assert "HttpOnly" in first.headers["set-cookie"]
    cookie = {"Cookie": first.headers["set-cookie"].split(";")[0]}
    assert client.post("/say", json={}, headers={**other, **cookie}).status_code == 200
    assert client.get("/", headers={"Host": "evil.example:8422", **cookie}).status_code == 403
    assert gate("0.0.0.0", "chosen-by-me").token == "chosen-by-me"


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
                assert client.post(path, data=body, content_type="application/json").status_code in (400, 404, 413)


@pytest.fixture
def pages(tmp_path):
    """The screening page and the study page, and where they take bodies."""
    from posegen.evaluate.study.study_database import Study
    from posegen.serve.rating_study import StudyPage
    from posegen.serve.screening import Row, ScreenPage

    rows = [Row(number, f"c{number}", "x.mp4", 0.0, 1.0, True, (), {}) for number in range(3)]
    screen = AsgiClient(ScreenPage(tmp_path, rows, ("hands",)).application)
    study = AsgiClient(StudyPage(Study(tmp_path / "answers.sqlite", {"a": ["x", "y"]}), {}, {}).application)
    study.post("/enter", json={"name": "somebody"})
    return [(screen, ("/say", "/undo")), (study, ("/enter", "/answer"))]
