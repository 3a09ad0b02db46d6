"""Processes that encode clips write what one alone would, and leave alone what is there."""

import torch
from safetensors.torch import load

from posegen.data.encoders import Encoders
from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache
from posegen.data.shards import open_shards
from posegen.model.sources import load_for_encoding
from tiny_shards import write_shards

ENCODINGS = [Encoding(9, mirrored=True), Encoding(5, windows=2)]


def test_two_processes_write_the_same_files_as_one(narrow, tmp_path):
    shards = open_shards(write_shards(tmp_path / "shards", "train"), "train")
    model = load_for_encoding(narrow, torch.bfloat16)
    alone = LatentCache(tmp_path / "alone", model, torch.float32)
    wanted = {file.name: file.read_bytes() for e in ENCODINGS for file in alone.prepare(shards, e)}

    together = LatentCache(tmp_path / "together", model, torch.float32)
    told = []
    encoders = Encoders(2, narrow, torch.bfloat16)
    encoders.encode(together, shards, ENCODINGS, torch.device("cpu"), lambda done, total: told.append((done, total)))
    found = {file.name: file.read_bytes() for file in together.folder.glob("*.safetensors")}
    assert found.keys() == wanted.keys()
    for name, content in wanted.items():  # workers have one thread each: sums may round differently
        ours, theirs = load(found[name]), load(content)
        assert ours.keys() == theirs.keys()
        for key in ours:
            torch.testing.assert_close(ours[key].float(), theirs[key].float(), atol=0.03, rtol=0.02)
    assert told[-1] == (len(wanted), len(wanted))

    times = {file: file.stat().st_mtime_ns for file in together.folder.glob("*.safetensors")}
    missing = next(iter(times))
    missing.unlink()
    encoders.encode(together, shards, ENCODINGS, torch.device("cpu"))
    assert missing.read_bytes() == found[missing.name]
    assert all(file.stat().st_mtime_ns == time for file, time in times.items() if file != missing)
