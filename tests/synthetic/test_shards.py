"""Shards: readable by webdataset, the same after a kill, and no person in two splits."""

import json
import shutil
import signal
import time
from dataclasses import replace

import filelock
import numpy as np
import pytest
import webdataset

from posegen.errors import OutputError, PosegenError
from posegen.synthetic.clip import SyntheticClipSettings
from posegen.synthetic.shard_writer import SPLITS, ShardSettings, make_shards, place_of

TINY = ShardSettings("train", clips=4, clips_per_shard=2, clip=SyntheticClipSettings(64, 48, num_frames=2))
PROGRAM = """
from pathlib import Path
import sys
from posegen.synthetic.clip import SyntheticClipSettings
from posegen.synthetic.shard_writer import ShardSettings, make_shards
clip = SyntheticClipSettings(64, 48, num_frames=2)
make_shards(Path(sys.argv[1]), ShardSettings("train", clips=4, clips_per_shard=2, clip=clip), workers=0)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    make_shards(out, TINY, workers=0)
    return out


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_a_killed_run_goes_on_to_the_same_bytes(whole, warm, tmp_path):
    process = warm(PROGRAM, [tmp_path])
    deadline = time.monotonic() + 90
    while not (tmp_path / "train-000000.tar").exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (tmp_path / "train-000000.tar").exists()
    assert not json.loads((tmp_path / "train.json").read_text())["complete"], "killed too late to be a test"
    (tmp_path / "train-000001.partial").write_bytes(b"half a shard")
    make_shards(tmp_path, TINY, workers=0)
    assert content(tmp_path) == content(whole)


def test_worker_processes_write_the_same_bytes(whole, tmp_path):
    told = []
    make_shards(tmp_path, TINY, workers=2, progress=lambda done, wanted: told.append((done, wanted)))
    assert content(tmp_path) == content(whole)
    assert told[0] == (0, 4)
    assert told[-1] == (4, 4)
    assert sorted(told) == told


def test_a_deleted_shard_is_made_again_alone(whole, tmp_path):
    before = content(whole)
    shutil.copytree(whole, tmp_path / "copy")
    kept = (tmp_path / "copy" / "train-000000.tar").stat().st_mtime_ns
    (tmp_path / "copy" / "train-000001.tar").unlink()
    make_shards(tmp_path / "copy", TINY, workers=0)
    assert content(tmp_path / "copy") == before
    assert (tmp_path / "copy" / "train-000000.tar").stat().st_mtime_ns == kept


def cut(path):
    path.write_bytes(path.read_bytes()[:-512])


def flip_a_byte(path):
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    path.write_bytes(damaged)


@pytest.mark.parametrize("damage", [cut, flip_a_byte, lambda path: path.with_suffix(".json").write_text("{")])
def test_a_damaged_shard_is_made_again_and_told_of(whole, tmp_path, damage, caplog):
    shutil.copytree(whole, tmp_path / "copy")
    damage(tmp_path / "copy" / "train-000001.tar")
    make_shards(tmp_path / "copy", TINY, workers=0)
    assert content(tmp_path / "copy") == content(whole)
    assert "train-000001.tar is damaged" in caplog.text
    assert "train-000000" not in caplog.text


def test_an_index_that_is_none_is_refused(whole, tmp_path):
    (tmp_path / "train.json").write_text("{")
    with pytest.raises(PosegenError, match="not an index"):
        make_shards(tmp_path, TINY, workers=0)


def test_two_runs_in_one_folder_are_refused(tmp_path):
    with filelock.FileLock(tmp_path / ".train.lock"), pytest.raises(OutputError, match="another process"):
        make_shards(tmp_path, TINY, workers=0)


def test_finished_shards_are_not_made_again(whole, monkeypatch):
    monkeypatch.setattr("posegen.synthetic.shard_writer.samples", lambda *_: pytest.fail("made again"))
    before = content(whole)
    make_shards(whole, TINY, workers=0)
    assert content(whole) == before


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # webdataset leaves it to the collector
def test_webdataset_reads_every_sample(whole):
    index = json.loads((whole / "train.json").read_text())
    assert index["complete"]
    assert [entry["samples"] for entry in index["shards"]] == [2, 2]
    files = [str(whole / entry["file"]) for entry in index["shards"]]
    dataset = webdataset.WebDataset(files, shardshuffle=False).decode()
    seen = []
    for sample in dataset:
        arrays, description = sample["npz"], sample["json"]
        assert arrays["frames"].shape == (2, 64, 48, 3)
        assert arrays["keypoints"].shape == (2, 133, 2)
        assert arrays["visibility"].max() <= 2
        assert arrays["normals"].dtype == arrays["masks"].dtype == arrays["reference"].dtype == np.uint8
        assert arrays["reference"].shape == (64, 48, 3)
        assert sample["txt"] == description["caption"]
        assert description["reference_identity"] == description["identity"]
        seen.append(sample["__key__"])
    assert seen == [f"train-{number:08d}" for number in range(4)]


def test_other_settings_in_the_same_folder_are_refused(whole):
    with pytest.raises(PosegenError, match=r"other settings \(num_frames 2 instead of 3\)"):
        make_shards(whole, replace(TINY, clip=replace(TINY.clip, num_frames=3)), workers=0)


def test_a_folder_grows_and_never_shrinks(whole, tmp_path):
    make_shards(tmp_path, replace(TINY, clips=3), workers=0)  # the second shard has one clip
    kept = (tmp_path / "train-000000.tar").stat().st_mtime_ns
    make_shards(tmp_path, TINY, workers=0)
    assert content(tmp_path) == content(whole)
    assert (tmp_path / "train-000000.tar").stat().st_mtime_ns == kept
    with pytest.raises(PosegenError, match=r"other settings \(clips 4 instead of 3\)"):
        make_shards(tmp_path, replace(TINY, clips=3), workers=0)
    assert content(tmp_path) == content(whole)
    index = tmp_path / "train.json"  # of a run that was to make more and was stopped
    index.write_text(index.read_text().replace('"clips": 4', '"clips": 40').replace("true", "false"))
    make_shards(tmp_path, TINY, workers=0)
    assert content(tmp_path) == content(whole)


def test_a_folder_that_cannot_be_made_is_told_of(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        make_shards(tmp_path / "file" / "out", TINY, workers=0)


def test_an_unknown_split_is_refused():
    with pytest.raises(PosegenError, match="val-cross"):
        replace(TINY, split="test")


def test_no_person_is_in_training_and_validation():
    places = {split: [place_of(ShardSettings(split, 400), clip) for clip in range(400)] for split in SPLITS}
    people = {
        split: {(name, seed) for place in rows for name, seed in ((place.identity, place.identity_seed),
                (place.reference_identity, place.reference_identity_seed))}
        for split, rows in places.items()
    }  # fmt: skip  # a table, read in rows
    for validation in ("val-same", "val-cross"):
        assert not {name for name, _ in people["train"]} & {name for name, _ in people[validation]}
        assert not {seed for _, seed in people["train"]} & {seed for _, seed in people[validation]}
    assert len({seed for _, seed in people["train"]}) == 200


def test_cross_validation_takes_its_reference_from_another_person():
    for clip in range(50):
        same, cross = (place_of(ShardSettings(split, 50), clip) for split in ("val-same", "val-cross"))
        assert same.identity == same.reference_identity
        assert cross.identity != cross.reference_identity
        assert cross.identity_seed != cross.reference_identity_seed


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_cross_sample_shows_the_other_person(tmp_path):
    index = make_shards(tmp_path, ShardSettings("val-cross", 1, clip=SyntheticClipSettings(64, 48, 1)), workers=0)
    files = [str(tmp_path / entry["file"]) for entry in json.loads(index.read_text())["shards"]]
    sample = next(iter(webdataset.WebDataset(files, shardshuffle=False).decode()))
    assert sample["json"]["caption"] != sample["json"]["reference_caption"]
    difference = np.abs(sample["npz"]["reference"].astype(int) - sample["npz"]["frames"][0])
    assert difference.mean() > 5
