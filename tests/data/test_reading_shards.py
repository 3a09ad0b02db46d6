"""Reading shards: every clip found, every kind of damage named, a few tolerated."""

import hashlib
import json

import pytest

from posegen.data import shards
from posegen.data.shards import open_shards
from posegen.errors import PosegenError
from tiny_shards import write_shard, write_shards


def index_of(folder, split="train"):
    entries = [
        {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
        for path in sorted(folder.glob(f"{split}-*.tar"))
    ]
    (folder / f"{split}.json").write_text(json.dumps({"shards": entries}))


def test_every_clip_is_found(tmp_path):
    shards = open_shards(write_shards(tmp_path, "train"), "train", 9)
    assert [sample.key for shard in shards for sample in shard.samples] == [f"train-{n:08d}" for n in range(6)]
    sample = shards[1].samples[0]
    assert (sample.num_frames, sample.size) == (9, (32, 32))
    assert sample.read("txt") == b"A drawing of a person who is square number 3."


def test_no_shards_says_how_to_make_some(tmp_path):
    with pytest.raises(PosegenError, match="posegen synth --split val-same"):
        open_shards(tmp_path, "val-same")


def break_hash(path):
    content = bytearray(path.read_bytes())
    content[700] ^= 1
    path.write_bytes(content)


def cut_off(path):
    path.write_bytes(path.read_bytes()[:2000])


def make_empty(path):
    path.write_bytes(b"")


def drop_caption(path):
    import tarfile

    with tarfile.open(path) as tar:
        kept = [(member, tar.extractfile(member).read()) for member in tar if not member.name.endswith(".txt")]
    import io

    with tarfile.open(path, "w") as tar:
        for member, content in kept:
            tar.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("damage", [break_hash, cut_off, make_empty, drop_caption, lambda path: path.unlink()])
def test_a_bad_shard_among_few_is_an_error_that_names_it(tmp_path, damage):
    index_of(write_shards(tmp_path, "train"))
    damage(tmp_path / "train-000001.tar")
    with pytest.raises(PosegenError, match=r"1 of 2 shards .*train-000001\.tar"):
        open_shards(tmp_path, "train")


@pytest.mark.parametrize("damage", [cut_off, make_empty, drop_caption])
def test_damage_is_found_without_an_index(tmp_path, damage):
    write_shards(tmp_path, "train")
    damage(tmp_path / "train-000000.tar")
    with pytest.raises(PosegenError, match=r"train-000000\.tar"):
        open_shards(tmp_path, "train")


@pytest.mark.parametrize("part", ["json", "txt"])
def test_a_description_or_caption_that_is_too_long_is_named(tmp_path, part, monkeypatch):
    write_shards(tmp_path, "train")
    monkeypatch.setitem(shards._LONGEST, part, 10)
    with pytest.raises(PosegenError, match=rf"train-00000000\.{part} has \d+ bytes"):
        open_shards(tmp_path, "train")


def test_one_bad_shard_in_a_hundred_is_left_out_with_a_warning(tmp_path, caplog):
    write_shards(tmp_path, "train", shards=100, clips=1)
    make_empty(tmp_path / "train-000042.tar")
    with caplog.at_level("WARNING"):
        assert len(open_shards(tmp_path, "train")) == 99
    assert "1 of 100 shards" in caplog.text
    assert "train-000042.tar" in caplog.text


def test_clips_that_are_too_short_are_an_error(tmp_path):
    write_shards(tmp_path, "train")
    write_shard(tmp_path / "train-000002.tar", ["short"], frames=5)
    assert len(open_shards(tmp_path, "train", 5)) == 3
    with pytest.raises(PosegenError, match=r"1 of 7 clips .*short.*shorter than the 9 frames"):
        open_shards(tmp_path, "train", 9)


def test_an_index_that_is_none_is_named(tmp_path):
    write_shards(tmp_path, "train")
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(PosegenError, match=r"train\.json is not an index"):
        open_shards(tmp_path, "train")


def test_shards_that_are_still_being_made_are_refused(tmp_path):
    write_shards(tmp_path, "train")
    (tmp_path / "train.json").write_text('{"format": 1, "complete": false, "shards": []}')
    with pytest.raises(PosegenError, match=r"train\.json: these shards are still being made"):
        open_shards(tmp_path, "train")
