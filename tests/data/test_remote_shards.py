"""Shards by URL: they are what a local folder's are, and what breaks is told or goes on."""

import functools
import hashlib
import http.server
import json
import threading
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest

from posegen.data.remote import local_shards
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from tiny_shards import write_shards


class Counting(http.server.SimpleHTTPRequestHandler):
    asked: ClassVar[list[str]] = []
    broken: ClassVar[set[str]] = set()

    def do_GET(self):
        self.asked.append(self.path)
        if self.path in self.broken:  # says how much is coming, and hangs up half-way
            content = Path(self.translate_path(self.path)).read_bytes()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        super().do_GET()

    def log_message(self, *arguments):
        """No lines."""


def write_index(folder, split, complete=True):
    entries = [
        {"file": path.name, "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.glob(f"{split}-*.tar"))
    ]
    (folder / f"{split}.json").write_text(json.dumps({"complete": complete, "shards": entries}))


@pytest.fixture
def folder(tmp_path):
    write_shards(tmp_path / "data", "train", shards=3)
    write_index(tmp_path / "data", "train")
    return tmp_path / "data"


@pytest.fixture
def server(folder):
    Counting.asked, Counting.broken = [], set()
    handler = functools.partial(Counting, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def shards_asked():
    return sorted(path for path in Counting.asked if path.endswith(".tar"))


def test_a_folder_is_itself(folder, tmp_path):
    assert local_shards(str(folder), "train", tmp_path / "cache") == folder
    assert not (tmp_path / "cache").exists()


def test_shards_by_url_are_the_same_shards_and_come_once(folder, server, tmp_path):
    heard = []
    copy = local_shards(server, "train", tmp_path / "cache", lambda done, total: heard.append((done, total)))
    assert heard == [(1, 3), (2, 3), (3, 3)]
    here, there = open_shards(copy, "train"), open_shards(folder, "train")
    assert [shard.sha256 for shard in here] == [shard.sha256 for shard in there]
    assert len(shards_asked()) == 3
    assert local_shards(server + "/", "train", tmp_path / "cache") == copy
    assert len(shards_asked()) == 3


def test_a_shard_that_changed_and_one_that_is_no_more(folder, server, tmp_path):
    local_shards(server, "train", tmp_path / "cache")
    write_shards(folder, "train", shards=1, clips=5)
    (folder / "train-000002.tar").unlink()
    write_index(folder, "train")
    Counting.asked.clear()
    copy = local_shards(server, "train", tmp_path / "cache")
    assert shards_asked() == ["/train-000000.tar"]
    assert [len(shard.samples) for shard in open_shards(copy, "train")] == [5, 3]


def test_a_connection_that_breaks_is_told_and_the_rest_is_not_fetched_again(folder, server, tmp_path):
    Counting.broken = {"/train-000001.tar"}
    with pytest.raises(PosegenError, match=r"train-000001.tar: cannot be fetched") as caught:
        local_shards(server, "train", tmp_path / "cache")
    assert "\n" not in str(caught.value)
    assert not list((tmp_path / "cache").rglob("*.part*"))
    Counting.broken, first = set(), set(shards_asked()) - {"/train-000001.tar"}
    Counting.asked.clear()
    copy = local_shards(server, "train", tmp_path / "cache")
    assert "/train-000001.tar" in shards_asked()
    assert "/train-000000.tar" in first
    assert "/train-000000.tar" not in shards_asked()
    assert len(open_shards(copy, "train")) == 3


def test_what_is_not_the_index_s_is_refused(folder, server, tmp_path):
    (folder / "train-000001.tar").write_bytes(b"something else")
    with pytest.raises(PosegenError, match="its hash is not the index's"):
        local_shards(server, "train", tmp_path / "cache")


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (None, "shards by URL need the index"),
        ("[", "not an index of shards"),
        ('{"shards": [{"file": "../x.tar", "bytes": 1, "sha256": ""}]}', "not an index of shards"),
        ('{"complete": false, "shards": []}', "not finished"),
    ],
)
def test_without_an_index_there_is_one_line(index, message, folder, server, tmp_path):
    (folder / "train.json").unlink()
    if index is not None:
        (folder / "train.json").write_text(index)
    with pytest.raises(PosegenError, match=message) as caught:
        local_shards(server, "train", tmp_path / "cache")
    assert "\n" not in str(caught.value)


def test_an_address_that_nobody_answers_is_one_line(tmp_path):
    for url in ("http://127.0.0.1:9/data", "nonsense://data"):
        with pytest.raises(PosegenError) as caught:
            local_shards(url, "train", tmp_path / "cache")
        assert "\n" not in str(caught.value)
        assert url in str(caught.value)


def test_other_file_systems_do_too(folder, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/remote-shards", recursive=True)
    copy = local_shards("memory://remote-shards", "train", tmp_path / "cache")
    assert len(open_shards(copy, "train")) == 3
    memory.rm("/remote-shards", recursive=True)
