"""Inputs of every kind: folders, globs, lists, URLs, odd names; and outputs that cannot be written."""

import errno
import functools
import http.server
import io
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import fsspec
import pytest
from prepared_clips import person_video

from posegen.errors import OutputError, PosegenError
from posegen.prepare.prepare_recipe import read_prepare_recipe
from posegen.prepare.store import Store
from posegen.prepare.video_sources import Video, find_videos, local_copy

ODD = ["two words.mp4", 'it\'s "quoted".mp4', "new\nline.mp4", "人物 été.mp4", "#1 [best]*.mp4", "-dash.mp4"]


@pytest.fixture
def folder(tmp_path):
    for name in [*ODD, "b/same.mp4", "c/same.mp4", "notes.md"]:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(name.encode())
    return tmp_path / "in"


def names(videos, folder):
    return [video.url.removeprefix(f"{folder}/") for video in videos]


def test_a_folder_gives_every_video_once_in_order(folder):
    found = find_videos([str(folder), str(folder / "b"), str(folder / "*" / "same.mp4")])
    assert names(found, folder) == sorted([*ODD, "b/same.mp4", "c/same.mp4"])
    assert len({video.id for video in found}) == len(found), "two inputs with one name are two videos"


def test_a_name_that_looks_like_a_pattern_is_a_name_where_it_exists(folder):
    assert names(find_videos([str(folder / "#1 [best]*.mp4")]), folder) == ["#1 [best]*.mp4"]


def test_lists(folder):
    marked = "two words.mp4\n# remark\n\n  b/same.mp4\ngone.mp4\n"
    (folder / "list.txt").write_text(marked, encoding="utf-8-sig")  # as some editors begin a text
    (folder / "list.json").write_text(json.dumps(["new\nline.mp4"]))
    found = find_videos([str(folder / "list.txt"), str(folder / "list.json")])
    assert names(found, folder) == ["b/same.mp4", "gone.mp4", "new\nline.mp4", "two words.mp4"]
    (folder / "bad.json").write_text('{"a": 1}')
    with pytest.raises(PosegenError, match=r"bad\.json is not a list"):
        find_videos([str(folder / "bad.json")])


def test_changed_content_is_another_video(folder):
    before = find_videos([str(folder / "b")])
    (folder / "b" / "same.mp4").write_bytes(b"other and longer")
    assert find_videos([str(folder / "b")])[0].id != before[0].id


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere", "no such file"),
        ("*.mp4", "no video"),
        ("memory://no/such.mp4", "cannot be reached"),
        ("nokind://host/a.mp4", "nokind"),
        ("http://127.0.0.1:9/a.mp4", "cannot be reached"),
    ],
)
def test_inputs_that_are_not_there(text, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PosegenError, match=message):
        find_videos([text])


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        """No lines."""


@pytest.fixture
def server(folder):
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def test_a_url_is_fetched_within_bounds_and_goes_again(server):
    (video,) = find_videos([f"{server}/b/same.mp4"])
    with local_copy(video, 1e6) as path:
        assert path.read_bytes() == b"b/same.mp4"
    assert not path.exists()
    with pytest.raises(PosegenError, match="scratch_gb"), local_copy(video, 3.0):
        pass
    with pytest.raises(PosegenError, match="cannot be fetched"), local_copy(Video(f"{server}/no.mp4", ""), 1e6):
        pass


def test_lists_of_urls_and_lists_at_urls(folder, server):
    names = ["b/same.mp4", "c/same.mp4"]
    (folder / "here.txt").write_text("".join(f"{server}/{name}\n" for name in [*names, "gone.mp4"]))
    (folder / "there.txt").write_text("# beside the list\nb/same.mp4\n" + f"{server}/c/same.mp4\ngone.mp4\n")
    (folder / "there.json").write_text(json.dumps([*names, "gone.mp4"]))
    expected = {f"{server}/{name}" for name in [*names, "gone.mp4"]}
    for given in (str(folder / "here.txt"), f"{server}/there.txt", f"{server}/there.json"):
        found = find_videos([given])
        assert {video.url for video in found} == expected
        for video in found:
            if video.url.endswith("gone.mp4"):
                with pytest.raises(PosegenError, match="cannot be fetched"), local_copy(video, 1e6):
                    pass
                continue
            with local_copy(video, 1e6) as path:
                assert f"{server}/{path.read_text()}" == video.url
    (folder / "bad.json").write_text('{"a": 1}')
    with pytest.raises(PosegenError, match=r"http.*bad\.json is not a list"):
        find_videos([f"{server}/bad.json"])
    with pytest.raises(PosegenError, match="cannot be reached"):
        find_videos([f"{server}/gone.txt"])


def test_an_object_store_is_searched_and_read(s3):
    system = fsspec.filesystem("s3")
    for name in ("in/two words.mp4", "in/deep/人.MP4", "in/notes.txt", "else.mp4"):
        system.pipe_file(f"{s3}/{name}", name.encode())
    system.pipe_file(f"{s3}/list.txt", "in/two words.mp4\n人.mp4\n".encode())
    expected = [f"{s3}/in/deep/人.MP4", f"{s3}/in/two words.mp4"]
    assert [video.url for video in find_videos([f"{s3}/in"])] == expected
    assert [video.url for video in find_videos([f"{s3}/**/*.mp4"])] == [f"{s3}/else.mp4", expected[1]]
    for video in find_videos([f"{s3}/in"]):
        with local_copy(video, 1e6) as path:
            assert f"{s3}/{path.read_text()}" == video.url
    found, missing = find_videos([f"{s3}/list.txt"])
    assert (found.url, missing.state) == (expected[1], "missing")
    for text in ("s3://no-bucket/a.mp4", f"{s3}/no.mp4"):
        with pytest.raises(PosegenError, match=f"{text}: cannot be reached"):
            find_videos([text])
    (video,) = find_videos([f"{s3}/else.mp4"])
    system.pipe_file(f"{s3}/else.mp4", b"anew")
    assert find_videos([f"{s3}/else.mp4"])[0].state != video.state


def test_what_another_process_writes_into_an_object_store_is_seen(s3):
    store = Store(f"{s3}/set")
    store.write("a.json", b"1")
    assert (store.names("*.json"), store.size("b.json"), store.read("b.json")) == (["a.json"], None, None)
    code = f"from posegen.prepare.store import Store; Store('{s3}/set').write('b.json', b'22')"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (store.names("*.json"), store.size("b.json"), store.read("b.json")) == (["a.json", "b.json"], 2, b"22")
    store.delete("a.json")
    assert store.names("*.json") == ["b.json"]
    with pytest.raises(OutputError, match=r"s3://no-bucket/set/a\.json: cannot be written"):
        Store("s3://no-bucket/set").write("a.json", b"1")


def test_a_list_at_a_url_names_no_file_of_this_machine_and_no_other_list(folder, server):
    (folder / "list.txt").write_text("other.txt\n")
    (folder / "other.txt").write_text("c/same.mp4\n")
    assert not [video.url for video in find_videos([f"{server}/list.txt"]) if video.is_local or "c/same" in video.url]


@pytest.mark.parametrize(
    "entry",
    ["{folder}/b/same.mp4", "../a.mp4", "b/../../a.mp4", "%2e%2e/a.mp4", "b%2F..%2fa.mp4", "file://{folder}/b/same.mp4",
     "s3://bucket/a.mp4", "memory://a.mp4", "simplecache::file://{folder}/b/same.mp4", "zip://a::{folder}/b.zip",
     "\\\\host\\a.mp4", "..\\a.mp4"],
)  # fmt: skip  # short arguments, read in rows
def test_a_list_at_a_url_names_what_is_beside_it_or_of_its_kind(folder, server, entry):
    entry = entry.replace("{folder}", str(folder))
    (folder / "list.json").write_text(json.dumps(["b/same.mp4", entry]))
    with pytest.raises(PosegenError, match=r"list\.json: may name") as caught:
        find_videos([f"{server}/list.json"])
    assert "\n" not in str(caught.value)


def test_a_list_at_a_url_is_bounded(folder, server, monkeypatch):
    monkeypatch.setattr("posegen.prepare.video_sources._LARGEST_LIST", 1000)
    (folder / "list.txt").write_text("a.mp4\n" * 200)
    with pytest.raises(PosegenError, match="is larger than"):
        find_videos([f"{server}/list.txt"])


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("list.txt", "a.mp4\n" * 20, "has 20 lines"),
        ("list.txt", "a.mp4\r" * 20, "has 20 lines"),
        ("list.json", json.dumps(["a.mp4"] * 20), "has 20 lines or names"),
        ("list.txt", "a" * 5000, "5,000 characters"),
    ],
)
def test_a_list_of_too_many_names_or_too_long_ones_is_refused(folder, monkeypatch, name, text, told):
    monkeypatch.setattr("posegen.prepare.video_sources._MOST_ENTRIES", 10)
    (folder / name).write_text(text)
    with pytest.raises(PosegenError, match=told) as caught:
        find_videos([str(folder / name)])
    assert len(str(caught.value)) < 400 + len(str(folder))


def test_only_ends_of_lines_part_the_names_of_a_list(folder):
    (folder / "list.txt").write_text("one\u2028two.mp4\r\nthree.mp4\rfour.mp4\n\n# five\n", newline="")
    assert [Path(video.url).name for video in find_videos([str(folder / "list.txt")])] == [
        "four.mp4",
        "one\u2028two.mp4",
        "three.mp4",
    ]


@pytest.fixture
def forbidden(folder, monkeypatch):
    """A folder and a file that may not be read; where the tests run as root, who may read everything, by a stand-in."""
    paths = [folder / "c", folder / "two words.mp4", folder / "list.txt"]
    paths[2].write_text("two words.mp4\n")
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(0)
    if os.geteuid() == 0:
        refuse_like_the_system(monkeypatch, {str(path) for path in paths})
    yield folder
    for path, mode in modes.items():
        path.chmod(mode)


def refuse_like_the_system(monkeypatch, refused):
    def guarded(function):
        def call(path, *arguments, **options):
            if isinstance(path, str | os.PathLike) and os.fspath(path) in refused:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(path))
            return function(path, *arguments, **options)

        return call

    for module, name in ((os, "scandir"), (io, "open"), (os, "open")):
        monkeypatch.setattr(module, name, guarded(getattr(module, name)))


def test_folders_and_lists_without_permission_are_named(forbidden):
    for path in (forbidden / "c", forbidden, forbidden / "list.txt"):
        with pytest.raises(PosegenError, match=r"cannot be read \(Permission denied\)") as caught:
            find_videos([str(path)])
        assert "\n" not in str(caught.value)
        assert str(forbidden / ("list.txt" if path.suffix else "c")) in str(caught.value)


@pytest.fixture
def open_folder():
    """A temporary folder that everybody can find."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


def test_a_video_without_permission_says_so_and_others_are_read(open_folder):
    """In a process that is nobody, if the tests run as root."""
    person_video(open_folder / "a.mp4")
    person_video(open_folder / "secret.mp4").chmod(0)
    script = (
        "import os, sys; from pathlib import Path\n"
        "from posegen.media.video import probe_video\n"
        "from posegen.errors import PosegenError\n"
        "probe_video(Path(sys.argv[1]))  # nobody may not read the folders that libraries are imported from\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "for path in sys.argv[1:]:\n"
        "    try: print(probe_video(Path(path)).height)\n"
        "    except PosegenError as error: print(error)\n"
    )
    paths = [str(open_folder / name) for name in ("a.mp4", "secret.mp4")]
    done = subprocess.run([sys.executable, "-c", script, *paths], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["192", f"{paths[1]}: cannot be read (Permission denied)"], done


@pytest.mark.parametrize("kind", ["{}", "file://{}"])
def test_a_store_writes_whole_files(kind, tmp_path):
    store = Store(kind.format(tmp_path / "a b"))
    assert store.read("deep/x.json") is None
    store.write("deep/x.json", b"1")
    store.write("deep/x.json", b"22")
    local = tmp_path / "local"
    local.write_bytes(b"333")
    store.put(local, "t.tar")
    assert (store.read("deep/x.json"), store.size("t.tar"), store.names("*.tar")) == (b"22", 3, ["t.tar"])
    assert not local.exists()
    store.delete("t.tar")
    store.delete("t.tar")
    assert store.size("t.tar") is None
    assert list(store.read_many(["deep/x.json", "no"])) == [("deep/x.json", b"22"), ("no", None)]


@pytest.mark.parametrize("kind", ["{}", "file://{}"])
def test_a_place_that_cannot_be_written_says_so(kind, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match="cannot be written"):
        Store(kind.format(tmp_path / "file" / "out")).write("x", b"1")


@pytest.mark.parametrize(
    ("text", "message"),
    [("[clip]\n", "unknown key 'clip'"), ("[clips]\nlength = 3\n", r"\[clips\] has the unknown key 'length'"),
     ("[clips]\nnum_frames = 6\n", "1 \\+ 4k"), ("[clips]\nnum_frames = 1000000001\n", "at most 10001"),
     ("[clips]\nsize = [1000000000, 16]\n", "up to 8192"), ("[compute]\nworkers = 1000000000\n", "0 to 10000"),
     (f"[clips]\nsizes = {[[96, 64]] * 101}\n", "1 to 100"), ("[output]\nclips_per_shard = 1000000\n", "1 to 100000"),
     ("[filters.thresholds.person_area]\nminimum = 'x'\n", "must be float"),
     ("clips = 3", "must be a table"), ("[", "TOML"), ('[conditions]\npose = "sapiens1"\n', "pose_weights")],
)  # fmt: skip  # short arguments, read in rows
def test_a_recipe_that_cannot_be_used_names_the_key(text, message, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(PosegenError, match=message) as caught:
        read_prepare_recipe(path)
    assert "recipe.toml" in str(caught.value)
