"""Shards at URLs: the same clips as from the folder, whatever the connection does; nothing is fetched twice."""

import json
import shutil

import fsspec
import pytest

from posegen.data import fetching
from posegen.data.fetching import RemoteFolder, UnreachableURLError
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from serving_files import serving, write_index
from tiny_shards import write_shards


@pytest.fixture
def folder(tmp_path):
    folder = write_shards(tmp_path / "set", "train")
    write_index(folder, "train")
    return folder


@pytest.fixture
def server(folder):
    with serving(folder) as running:
        yield running


def everything(shards):
    return [
        (shard.sha256, sample.key, sample.description, {part: sample.read(part) for part in ("json", "npz", "txt")})
        for shard in shards
        for sample in shard.samples
    ]


def fetched(server):
    """Which shards were asked for, in order of names: a few are fetched at once, and which comes first is chance."""
    return sorted(name for name, _ in server.asked if name.endswith(".tar"))


def test_clips_are_those_of_the_folder_in_an_object_store(s3, folder, tmp_path):
    fsspec.filesystem("s3").put(str(folder), f"{s3}/set", recursive=True)
    assert everything(open_shards(RemoteFolder(f"{s3}/set", tmp_path / "cache"), "train", 9)) == everything(
        open_shards(folder, "train", 9)
    )


@pytest.mark.parametrize("kind", ["http", "memory", "file"])
def test_clips_are_those_of_the_folder(kind, folder, server, tmp_path):
    url = {"http": server.url, "memory": "memory://set", "file": f"file://{folder}/"}[kind]
    if kind == "memory":
        fsspec.filesystem("memory").put(str(folder), "/set", recursive=True)
    assert everything(open_shards(RemoteFolder(url, tmp_path / "cache"), "train", 9)) == everything(
        open_shards(folder, "train", 9)
    )
    assert not list((tmp_path / "cache").glob("*.part"))


def test_what_is_there_is_not_fetched_again_and_what_is_gone_only_when_it_is_read(folder, server, tmp_path):
    remote = RemoteFolder(server.url, tmp_path / "cache")
    whole = everything(open_shards(remote, "train"))
    assert fetched(server) == ["train-000000.tar", "train-000001.tar"]
    server.asked.clear()
    assert everything(open_shards(remote, "train")) == whole
    assert not fetched(server)
    for path in remote.cache.glob("*.tar"):
        path.unlink()
    shards = open_shards(remote, "train")
    assert not fetched(server), "what is in a shard is known"
    assert shards[1].samples[0].read("txt")
    assert fetched(server) == ["train-000001.tar"]


def test_a_few_are_fetched_at_once_and_come_in_order_of_names_whichever_is_first(folder, server, tmp_path):
    server.after = {"train-000000.tar": "train-000001.tar"}  # not answered before the next one is asked for
    shards = open_shards(RemoteFolder(server.url, tmp_path / "cache"), "train")
    assert [name for name, _ in server.asked if name.endswith(".tar")].count("train-000000.tar") == 1
    assert everything(shards) == everything(open_shards(folder, "train"))


def test_no_more_is_kept_than_allowed(folder, server, tmp_path):
    size = max(path.stat().st_size for path in folder.glob("*.tar"))
    remote = RemoteFolder(server.url, tmp_path / "cache", 1.5 * size)
    shards = open_shards(remote, "train")
    for _ in range(2):
        assert everything(shards) == everything(open_shards(folder, "train"))
        assert sum(path.stat().st_size for path in remote.cache.glob("*.tar")) <= 1.5 * size
    assert fetched(server).count("train-000000.tar") >= 2
    with pytest.raises(PosegenError, match="fetched_gb"):
        open_shards(RemoteFolder(server.url, tmp_path / "other", 0.5 * size), "train")


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_that_breaks_off_goes_on(ranges, folder, server, tmp_path):
    server.ranges = ranges
    server.cut = {"train-000001.tar": [3000, 2000]}
    shards = open_shards(RemoteFolder(server.url, tmp_path / "cache"), "train")
    assert everything(shards) == everything(open_shards(folder, "train"))
    starts = [start for name, start in server.asked if name == "train-000001.tar"]
    assert len(starts) == 3
    assert starts == (sorted(starts) if ranges else [0, 0, 0])  # what was under way when it broke off may be lost


def test_what_a_killed_process_had_fetched_is_used_if_it_fits(folder, server, tmp_path):
    remote = RemoteFolder(server.url, tmp_path / "cache")
    remote.cache.mkdir()
    first, second = remote.shards("train")
    content = (folder / first.name).read_bytes()
    first.path.with_suffix(".part").write_bytes(content[:4000])
    second.path.with_suffix(".part").write_bytes(b"something else" * 100)
    assert everything(open_shards(remote, "train")) == everything(open_shards(folder, "train"))
    assert [start for name, start in server.asked if name == first.name] == [4000]
    assert [start for name, start in server.asked if name == second.name] == [1400, 0]


def test_what_was_damaged_after_it_was_fetched_is_fetched_again(folder, server, tmp_path):
    remote = RemoteFolder(server.url, tmp_path / "cache")
    shard = open_shards(remote, "train")[0]
    content = bytearray(shard.path.read_bytes())
    content[700] ^= 1
    shard.path.write_bytes(content)
    assert everything(open_shards(remote, "train")) == everything(open_shards(folder, "train"))


def damage(folder):
    content = bytearray((folder / "train-000001.tar").read_bytes())
    content[700] ^= 1
    (folder / "train-000001.tar").write_bytes(content)


def test_a_shard_without_end_is_not_fetched_beyond_what_the_index_says(folder, server, tmp_path, monkeypatch):
    pieces = []

    def counted(stream, read=fetching.read_pieces):
        for piece in read(stream):
            pieces.append(piece)
            yield piece

    monkeypatch.setattr(fetching, "_PIECE", 4096)
    monkeypatch.setattr(fetching, "read_pieces", counted)
    (shard, _) = RemoteFolder(server.url, tmp_path / "cache").shards("train")
    pieces.clear()
    with (folder / shard.name).open("ab") as out:
        out.write(bytes(100 * 4096))
    with pytest.raises(PosegenError, match="damaged"):
        shard.fetch()
    assert sum(map(len, pieces)) <= shard.size + 4096
    assert not list((tmp_path / "cache").glob("*.part"))


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (damage, r"1 of 2 shards in http.*train-000001\.tar \(damaged"),
        (lambda folder: (folder / "train-000001.tar").unlink(), r"1 of 2 .*train-000001\.tar \(missing"),
        (lambda folder: (folder / "train.json").unlink(), r"train\.json is not there: .*posegen synth"),
        (lambda folder: (folder / "train.json").write_text("[]"), r"train\.json is not an index"),
        (lambda folder: (folder / "train.json").write_text('{"shards": [], "complete": false}'), "still being made"),
    ],
)
def test_what_is_wrong_at_a_url_is_named(harm, message, folder, server, tmp_path):
    harm(folder)
    with pytest.raises(PosegenError, match=message) as caught:
        open_shards(RemoteFolder(server.url, tmp_path / "cache"), "train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("file", "../../evil.tar", "no name"), ("file", "a/evil.tar", "no name"), ("file", "..", "no name"),
     ("file", "a.tar?x=1", "no name"), ("file", "", "no name"), ("file", "a\nb.tar", "no name"),
     ("sha256", "../../../evil", "no SHA-256"), ("sha256", "", "no SHA-256"), ("sha256", "0" * 63 + "/", "no SHA-256"),
     ("bytes", -1, "cannot have"), ("bytes", 1e999, "not an index"), ("bytes", "9" * 5000, "not an index")],
)  # fmt: skip  # short arguments, read in rows
def test_an_index_cannot_write_elsewhere(folder, server, tmp_path, field, value, message):
    index = json.loads((folder / "train.json").read_text())
    index["shards"][0][field] = value
    (folder / "train.json").write_text(json.dumps(index))
    with pytest.raises(PosegenError, match=message) as caught:
        open_shards(RemoteFolder(server.url, tmp_path / "cache"), "train")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*evil*"))


@pytest.mark.parametrize(
    ("url", "message"),
    [("http://127.0.0.1:9/set", "cannot be reached"), ("nokind://set", "nokind"), ("memory://none", "is not there")],
)
def test_a_url_that_does_not_answer_is_one_line(url, message, tmp_path):
    with pytest.raises(PosegenError, match=message) as caught:
        open_shards(RemoteFolder(url, tmp_path), "train")
    assert "\n" not in str(caught.value)


def test_a_server_that_goes_away_is_no_damaged_shard(folder, tmp_path, monkeypatch):
    """One of a hundred may be damaged; but what cannot be reached now would change what is trained on."""
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    with serving(folder) as server:
        server.cut = {"train-000001.tar": [0] * 100}
        with pytest.raises(UnreachableURLError, match=r"train-000001\.tar: "):
            open_shards(RemoteFolder(server.url, tmp_path / "cache"), "train")


def test_prepared_copies_of_a_set_share_what_is_fetched(folder, server, tmp_path):
    """What is kept is named by content: the same shards at another URL are there already."""
    open_shards(RemoteFolder(server.url, tmp_path / "cache"), "train")
    shutil.copytree(folder, tmp_path / "copy")
    with serving(tmp_path / "copy") as other:
        everything(open_shards(RemoteFolder(other.url, tmp_path / "cache"), "train"))
        assert not fetched(other)
