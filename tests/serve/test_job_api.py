"""The HTTP API over real connections: jobs go in, are changed and listed; whatever is wrong is an error with its field.

No worker runs here: what becomes of jobs is tested in `test_job_server.py`.
"""

import io
import json
import random
import socket
import zipfile

import pytest

pytest.importorskip("fastapi", reason="tests of the job server need the extra `serve`")

from posegen.errors import OutputError
from posegen.serve.client import Client, ServerError
from posegen.serve.web_server import listen


def raw(client, method, path, body=None, headers=None):
    """Status, headers and body of any request."""
    connection = client._connect()
    connection.request(method, path, body, headers or {})
    response = connection.getresponse()
    found = response.status, dict(response.getheaders()), response.read()
    connection.close()
    return found


def form(*parts):
    """A form's body and content type; parts: (head, content)."""
    body = b"".join(
        b"--b\r\nContent-Disposition: form-data; " + head.encode() + b"\r\n\r\n" + content + b"\r\n"
        for head, content in parts
    )
    return body + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"}


@pytest.fixture
def inputs(media):
    return {"reference": media / "man.png", "driving_video": media / "cut.mp4"}


def test_a_video_is_queued_changed_listed_and_deleted(serving_jobs, inputs):
    with serving_jobs() as (client, store):
        video = client.create_video(**inputs, steps=3, hands=False)
        name = video["id"]
        assert (video["object"], video["status"], video["queue_place"]) == ("video", "queued", 0)
        assert video["fields"] == {"steps": 3, "hands": False}
        assert video["files"]["reference"]["name"] == "man.png"
        again = client.create_video(
            reference=video["files"]["reference"]["id"], driving_video=video["files"]["driving_video"]["id"]
        )
        assert len(store.uploads()) == 2
        assert [each["id"] for each in client.videos()] == [again["id"], name]
        assert [each["id"] for each in client.videos(after=again["id"])] == [name]
        assert client.change(name, "pause")["status"] == "paused"
        assert client.change(name, "resume")["queue_place"] == 0
        assert client.change(name, "cancel")["status"] == "cancelled"
        assert client.change(name, "retry")["status"] == "queued"
        for what in ("resume", "retry"):
            with pytest.raises(ServerError) as raised:
                client.change(name, what)
            assert (raised.value.status, raised.value.code) == (409, "wrong_status")
        for path in ("content", "growing"):
            assert raw(client, "GET", f"/v1/videos/{name}/{path}")[0] == 409
        client.change(name, "cancel")
        kinds = [event.kind for event in client.events(name)]
        assert kinds.count("status") == 6
        assert kinds[-1] == "progress"
        client.delete(name)
        with pytest.raises(ServerError) as raised:
            client.get(name)
        assert raised.value.status == 404


@pytest.mark.parametrize(
    ("fields", "field", "status"),
    [
        ({"steps": 0}, "steps", 400),
        ({"stepz": 3}, "stepz", 400),
        ({"model": "gpt"}, "model", 400),
        ({"reference": None}, "reference", 400),
        ({"reference": "f" * 64}, "reference", 404),
        ({"driving_video": "cut"}, "driving_video", 400),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_field(serving_jobs, inputs, media, fields, field, status):
    with serving_jobs() as (client, store):
        given = {**inputs, **fields}
        if fields.get("driving_video") == "cut":
            given["driving_video"] = media / "README.md"  # text in the place of a video
        with pytest.raises(ServerError) as raised:
            client.create_video(**given)
        assert (raised.value.status, raised.value.field) == (status, field)
        assert store.jobs("video") == []
        assert not list((store.folder / "uploads").rglob("*.part"))


def test_a_lying_type_or_name_changes_nothing(serving_jobs, inputs):
    picture = inputs["reference"].read_bytes()
    with serving_jobs() as (client, store):
        head = 'name="reference"; filename="../../../etc/cron.d/x.mp4"\r\nContent-Type: video/mp4'
        status, _, answer = raw(client, "POST", "/v1/uploads", *form((head, picture)))
        assert status == 200
        upload = json.loads(answer)
        assert upload["name"] == "x.mp4"
        assert upload["facts"] == {"width": 360, "height": 640}
        status, headers, content = raw(client, "GET", f"/v1/uploads/{upload['id']}")
        assert (status, headers["content-type"], content) == (200, "image/png", picture)
        assert "sandbox" in headers["content-security-policy"]
        stored = [path for path in (store.folder / "uploads").rglob("*") if path.is_file()]
        assert [path.suffix for path in stored] == [".png"]


def test_conditions_come_as_a_zip_whose_paths_do_not_matter(serving_jobs, inputs, tmp_path):
    from posegen.serve.upload_check import unpack_conditions

    def packed(**files):
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for name, text in files.items():
                archive.writestr(name.replace("__", "/").replace("_dot_", "."), text)
        return content.getvalue()

    good = packed(
        manifest_dot_json="{}",
        keypoints_dot_npz="k",
        a__b__skeleton_dot_mkv="s",
        **{"..__.._dot_hands_dot_mkv": "x"},
        **{"..__..__hands_dot_mkv": "h"},
    )
    (tmp_path / "good.zip").write_bytes(good)
    unpack_conditions(tmp_path / "good.zip", tmp_path / "into" / "it")
    assert sorted(path.name for path in tmp_path.rglob("*.*") if path.suffix != ".zip") == [
        "hands.mkv",
        "keypoints.npz",
        "manifest.json",
        "skeleton.mkv",
    ]
    with serving_jobs() as (client, _):
        for bad in (b"no zip", packed(manifest_dot_json="{}")):
            (tmp_path / "bad.zip").write_bytes(bad)
            with pytest.raises(ServerError) as raised:
                client.create_video(**inputs, driving_conditions=tmp_path / "bad.zip")
            assert raised.value.field == "driving_conditions"
        video = client.create_video(**inputs, driving_conditions=tmp_path / "good.zip")
        assert set(video["files"]) == {"reference", "driving_video", "driving_conditions"}


def test_limits_are_kept(serving_jobs, inputs, tmp_path):
    with serving_jobs(max_upload="200kB", max_uploads=2, max_jobs=1) as (client, store):
        large = tmp_path / "large.png"
        large.write_bytes(inputs["reference"].read_bytes() + bytes(300_000))
        with pytest.raises(ServerError) as raised:
            client.create_video(reference=large, driving_video=inputs["driving_video"])
        assert (raised.value.status, raised.value.field) == (413, "reference")
        body = b"x" * 2_000_000
        status, _, answer = raw(client, "POST", "/v1/videos", body, {"Content-Type": "multipart/form-data; boundary=b"})
        assert (status, json.loads(answer)["error"]["code"]) == (413, "too_large")
        client.create_video(**inputs)
        with pytest.raises(ServerError) as raised:
            client.create_video(**inputs)
        assert raised.value.code == "queue_full"
        other = tmp_path / "other.png"
        other.write_bytes(inputs["reference"].read_bytes() + b"more")
        with pytest.raises(ServerError) as raised:  # both files are in use
            client.create_video(reference=other, driving_video=inputs["driving_video"])
        assert (raised.value.status, raised.value.code) == (507, "too_many_files")
        client.delete(client.videos()[0]["id"])
        client.create_video(reference=other, driving_video=inputs["driving_video"])
        assert len(store.uploads()) == 2


def test_a_full_disk_is_said_and_loses_nothing(serving_jobs, inputs, full_disk):
    with serving_jobs() as (client, store):
        kept = client.create_video(**inputs)
        other = {**inputs, "reference": inputs["driving_video"], "driving_video": inputs["reference"]}
        with full_disk(100_000), pytest.raises(ServerError) as raised:
            client.create_video(**other)
        assert (raised.value.status, raised.value.code) == (507, "disk_full")
        assert [each["id"] for each in client.videos()] == [kept["id"]]
    with serving_jobs(max_disk="1kB") as (client, store):
        with pytest.raises(ServerError) as raised:
            client.create_video(**inputs)
        assert raised.value.status == 507
        assert [job.id for job in store.jobs("video")] == [kept["id"]]  # and the queue was kept


def test_a_second_server_in_the_folder_is_refused(serving_jobs):
    with serving_jobs(), pytest.raises(OutputError, match="another posegen server"), serving_jobs():
        pass
    with serving_jobs() as (client, _):
        assert raw(client, "GET", "/healthz")[0] == 200


def test_a_port_that_is_taken_or_an_unknown_host_is_one_line():
    with listen("127.0.0.1", 0) as taken, pytest.raises(OutputError, match=r"choose another (--)?port"):
        listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(OutputError, match="host"):
        listen("no.such.host.invalid", 0)


def test_other_sites_and_strangers_are_refused(serving_jobs):
    with serving_jobs(token="a-secret-token") as (client, _):
        port = client._connect().port
        assert client.videos() == []
        for headers in ({}, {"Authorization": "Bearer another"}, {"Cookie": f"token-{port}=another"}):
            status, answer_headers, answer = raw(client, "GET", "/v1/videos", None, headers)
            assert (status, json.loads(answer)["error"]["code"]) == (401, "unauthorized")
            assert answer_headers["www-authenticate"] == "Bearer"
        mine = {"Authorization": "Bearer a-secret-token"}
        for headers in ({"Host": "evil.example"}, {"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            assert raw(client, "POST", "/v1/videos", b"", {**mine, **headers})[0] == 403
        status, headers, _ = raw(client, "GET", "/v1/models?token=a-secret-token")
        assert status == 200
        cookie = {"Cookie": headers["set-cookie"].split(";")[0]}
        assert raw(client, "GET", "/metrics", None, cookie)[0] == 200


def test_counts_are_prometheus_text(serving_jobs, inputs):
    with serving_jobs() as (client, _):
        client.create_video(**inputs)
        status, headers, text = raw(client, "GET", "/metrics")
        assert status == 200
        assert headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = text.decode().splitlines()
        assert 'posegen_jobs{kind="video",status="queued"} 1' in lines
        assert "posegen_uploads 2" in lines
        named = {line.split()[2] for line in lines if line.startswith("# TYPE")}
        assert {line.split("{")[0].split()[0] for line in lines if not line.startswith("#")} == named


def test_the_document_is_complete(serving_jobs):
    with serving_jobs() as (client, _):
        document = json.loads(raw(client, "GET", "/openapi.json")[2])
    operations = [each for path in document["paths"].values() for each in path.values()]
    assert all(each.get("summary") and each["responses"].keys() >= {"200", "401", "403"} for each in operations)
    schema = document["paths"]["/v1/videos"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]
    assert set(schema["required"]) == {"reference", "driving_video"}
    assert schema["properties"]["steps"] == {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "description": schema["properties"]["steps"]["description"],
    }
    assert all(each["description"] for each in schema["properties"].values())
    for name, each in document["components"]["schemas"].items():
        for field, of_field in each.get("properties", {}).items():
            told = "description" in of_field or "const" in of_field or name.startswith(("HTTP", "Validation"))
            assert told or field in SELF_EVIDENT, (name, field)


SELF_EVIDENT = {
    "data",
    "deleted",
    "error",
    "first_id",
    "has_more",
    "id",
    "object",
    "running",
    "status",
    "version",
    "workers",
}


MALFORMED = [
    ("GET", "/v1/videos?limit=0", None),
    ("GET", "/v1/videos?limit=9999999999999999999999", None),
    ("GET", "/v1/videos?limit=x&order=sideways", None),
    ("GET", "/v1/videos?after=video_0", None),
    ("GET", "/v1/videos/%00", None),
    ("GET", "/v1/videos/..%2f..%2fjobs.sqlite", None),
    ("GET", "/v1/videos/../../jobs.sqlite", None),
    ("GET", "/v1/uploads/..%2f..%2fjobs.sqlite", None),
    ("GET", "/v1/uploads/%ff", None),
    ("GET", "/v1/previews/preview_0/files/..%2f..%2f..%2fjobs.sqlite", None),
    ("GET", "/v1/videos/x/content?variant=../../jobs.sqlite", None),
    ("GET", f"/v1/videos/{'x' * 5000}", None),
    ("DELETE", "/v1/videos", None),
    ("DELETE", "/v1/videos/'; DROP TABLE jobs; --", None),
    ("PUT", "/v1/videos/video_0", b"{}"),
    ("PATCH", "/", b"[]"),
    ("POST", "/v1/videos/video_0/move", b"{"),
    ("POST", "/v1/videos/video_0/move", b'{"before": 7}'),
    ("POST", "/v1/videos/video_0/move", b'{"before": null}'),
    ("POST", "/v1/videos/video_0/move", b"\xff\xfe"),
    ("POST", "/v1/videos/video_0/move", b"[" * 60_000),
    ("POST", "/v1/videos/video_0/explode", b"{}"),
    ("POST", "/v1/videos", b"{}"),
    ("POST", "/v1/previews", b""),
    ("POST", "/v1/uploads", b"x" * 70_000),
    ("GET", "/v2/videos", None),
    ("GET", "/.env", None),
    ("OPTIONS", "/v1/videos", None),
    ("TRACE", "/v1/videos", None),
]


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # half a form
def test_malformed_requests_are_never_errors_of_the_server(serving_jobs, inputs, tmp_path, monkeypatch):
    """Hand-made requests, and forms that random damage was done to: no 5xx, no file elsewhere, no job lost."""
    from posegen.serve import web_server

    monkeypatch.setattr(web_server, "PATIENCE", 1.0)
    chance = random.Random(7)
    picture = inputs["reference"].read_bytes()[:2000]
    whole, kind = form(
        ('name="reference"; filename="a.png"', picture),
        ('name="driving_video"; filename="b.mp4"', picture),
        ('name="steps"', b"three"),
        ('name="prompt"', "é".encode() * 50),
    )
    odd = [
        form(('name="steps"', b"3" * 40_000)),
        form(*[('name="lora"', b"x")] * 150),
        form(*[(f'name="reference"; filename="{number}"', b"x") for number in range(12)]),
        form(('name="reference"; filename=""', b"")),
        form(('name="reference"; filename="a"', b"x"), ('name="reference"', b"y")),
        form(('name=""', b"")),
        form(('name="steps"; filename="a.txt"', b"3")),
        (whole, {"Content-Type": "multipart/form-data"}),
        (whole, {"Content-Type": "multipart/form-data; boundary="}),
        (whole, {"Content-Type": f"multipart/form-data; boundary={'b' * 3000}"}),
        (whole, {"Content-Type": "multipart/form-data; boundary=b", "Content-Encoding": "gzip"}),
        (b"", kind),
    ]
    for _ in range(70):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 3, 20))):
            place = chance.randrange(len(damaged))
            if chance.random() < 0.5:
                del damaged[place : place + chance.choice((1, 50, 900))]
            else:
                damaged[place : place + 1] = chance.randbytes(chance.choice((1, 4)))
        odd.append((bytes(damaged), kind))
    with serving_jobs() as (client, store):
        kept = client.create_video(**inputs)["id"]
        before = {path for path in tmp_path.rglob("*") if store.folder not in path.parents}
        statuses = []
        for method, path, body in MALFORMED:
            statuses.append(raw(client, method, path.replace(" ", "%20"), body, {"Content-Type": "application/json"}))
        for body, headers in odd:
            statuses.append(raw(client, "POST", chance.choice(("/v1/videos", "/v1/previews")), body, headers))
        found = [status for status, *_ in statuses]
        assert len(found) > 100
        assert not [status for status in found if status >= 500], found
        assert not [status for status in found if status == 200]
        for status, headers, answer in statuses:
            if status not in (400, 404) or answer:
                assert json.loads(answer)["error"].keys() == {"message", "field", "code"}, (status, headers, answer)
        for line in (
            b"\r\n\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"\x16\x03\x01\x02\x00",
            b"GET / HTTP/1.1\r\n\r\n",
        ):
            with socket.create_connection(("127.0.0.1", client._connect().port), timeout=20) as connection:
                connection.sendall(line)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(100)
                assert not answer or answer.split()[1].startswith(b"4"), answer
        assert [job.id for job in store.jobs("video")] == [kept]
        assert {path for path in tmp_path.rglob("*") if store.folder not in path.parents} == before
        assert not list((store.folder / "temporary").iterdir())


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")  # half a form
def test_a_client_that_leaves_in_the_middle_leaves_nothing(serving_jobs, inputs):
    with serving_jobs() as (client, store):
        for _ in range(3):
            connection = client._connect()
            connection.putrequest("POST", "/v1/videos")
            connection.putheader("Content-Type", "multipart/form-data; boundary=b")
            connection.putheader("Content-Length", "3000000")
            connection.endheaders(
                b'--b\r\nContent-Disposition: form-data; name="reference"; filename="a"\r\n\r\n' + bytes(1_500_000)
            )
            connection.close()
        assert raw(client, "GET", "/v1/videos")[0] == 200
        for _ in range(100):
            if not list((store.folder / "temporary").iterdir()):
                break
            raw(client, "GET", "/healthz")
        assert not list((store.folder / "temporary").iterdir())
        assert store.jobs("video") == []


def test_an_address_names_all_its_methods(serving_jobs):
    with serving_jobs() as (client, _):
        status, headers, _ = raw(client, "PUT", "/v1/videos", b"{}", {"Content-Type": "application/json"})
        assert (status, headers["allow"]) == (405, "GET, POST")


def test_a_client_that_says_nothing_is_given_up(serving_jobs, monkeypatch):
    from posegen.serve import web_server

    monkeypatch.setattr(web_server, "PATIENCE", 0.3)
    with serving_jobs() as (client, _):
        port = client._connect().port
        head = f"POST /v1/videos HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        head += "Content-Length: 9\r\n\r\n{"
        for sent in ("", "GET / HT", head):
            with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
                connection.sendall(sent.encode())
                while connection.recv(1000):  # until the server closes; it may say why
                    pass


def test_the_client_is_told_when_there_is_no_server():
    from posegen.errors import PosegenError

    with pytest.raises(PosegenError, match="posegen serve"):
        Client("http://127.0.0.1:1", timeout=5.0).videos()
    with pytest.raises(PosegenError, match="address"):
        Client("127.0.0.1:8420")
