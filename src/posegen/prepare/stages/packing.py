"""Packs finished samples into WebDataset tar shards with their index, and writes the Parquet index of all clips.

A shard that is there with the same samples is left alone. Shards are written to a temporary file and moved, so a
half-written one never has a shard's name.
"""

import base64
import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from posegen.errors import PosegenError
from posegen.media.files import output_errors
from posegen.prepare.filters.clip_filters import thresholds_of
from posegen.prepare.stages.clip_stage import ClipStage
from posegen.prepare.stages.messages import ShardEntry, ShardTask, from_kept
from posegen.prepare.stages.stage_work import Work
from posegen.prepare.store import Store, note_damaged, parsed, read_sample
from posegen.prepare.summary_page import write_report
from posegen.prepare.verdicts import settings_of

SPLITS = ("train", "val-same")
INDEX, REPORT = "index.parquet", "report.html"
_ROWS = 2000
"""Rows of the index that are in memory at once."""


def shard_tasks(
    samples: dict[str, str], splits: dict[str, str], per_shard: int, sizes: Mapping[str, tuple[int, int]] | None = None
) -> list[ShardTask]:
    """Assign samples (clip -> hash) to shards, in order; a shard holds clips of one size (clip -> size)."""
    tasks = []
    for split in SPLITS:
        by_size: dict[tuple[int, int], list[str]] = {}
        for key in samples:
            if splits[key] == split:
                by_size.setdefault(sizes[key] if sizes else (0, 0), []).append(key)
        parts = [
            by_size[size][at : at + per_shard]
            for size in sorted(by_size)
            for at in range(0, len(by_size[size]), per_shard)
        ]
        for number, part in enumerate(parts):
            hashes = tuple(samples[key] for key in part)
            tasks.append(ShardTask(f"{split}-{number:06d}.tar", tuple(part), hashes))
    return tasks


class PackStage(ClipStage):
    """Samples -> a shard, with its entry in the index."""

    def run(self, task: ShardTask) -> ShardEntry:
        """Pack a shard, unless it is there with the same samples, and return its entry in the index."""
        output, name = self.work.output, task.shard
        content = hashlib.sha256(json.dumps([task.keys, task.hashes]).encode()).hexdigest()
        record = parsed(output.read(f"work/shards/{name}.json"), output.path(f"work/shards/{name}.json"))
        if record is not None and record["content"] == content:
            entry = from_kept(ShardEntry, record)
            if _is_whole(output, entry):
                return entry
            note_damaged(f"{output.path(name)}: missing or damaged")
        with tempfile.TemporaryDirectory(prefix="posegen-shard-") as folder:
            shard = Path(folder, name)
            with output_errors(shard), tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
                for key, digest in zip(task.keys, task.hashes, strict=True):
                    _append(tar, self.work.samples, key, digest)
            with shard.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
            entry = ShardEntry(name, len(task.keys), shard.stat().st_size, digest)
            output.put(shard, name)
        output.write_json(f"work/shards/{name}.json", {**asdict(entry), "content": content})
        return entry


def _append(tar: tarfile.TarFile, samples: Store, key: str, digest: str) -> None:
    with tarfile.open(fileobj=io.BytesIO(read_sample(samples, key, digest))) as sample:
        for member in sample:
            tar.addfile(member, sample.extractfile(member))


def _is_whole(output: Store, entry: ShardEntry) -> bool:
    """Return whether a shard is there as its entry says; its bytes are read only in a local folder."""
    if output.size(entry.file) != entry.bytes:
        return False
    if not output.is_local:
        return True
    with Path(output.path(entry.file)).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == entry.sha256


def shards_in(output: Store) -> list[str]:
    """Return the names of all shards that are there."""
    return [name for split in SPLITS for name in output.names(f"{split}-*.tar")]


def check_shards(output: Store) -> None:
    """Raise `PosegenError` if shards are there that were not packed here: they would be replaced."""
    ours = {name.removesuffix(".json") for name in output.names("work/shards/*.json")}
    others = [name for name in shards_in(output) if name not in ours]
    if others:
        raise PosegenError(
            f"{output.url} holds shards that posegen prepare did not make there ({others[0]}, {len(others)} in all): "
            "give another --output, or move them away"
        )


def open_packing(work: Work, tasks: list[ShardTask]) -> None:
    """Mark the shards as being made: until `close_packing`, training does not take their index for whole."""
    names = {task.shard for task in tasks}
    claimed = set(work.output.names("work/shards/*.json"))
    for name in names:
        if f"{name}.json" not in claimed:  # ours from now on, should the run end between a shard and its record
            work.output.write_json(f"work/shards/{name}.json", {"content": ""})
    for split in SPLITS:
        work.output.write(f"{split}.json", _index(work, [], complete=False))
        for name in work.output.names(f"{split}-*.tar"):
            if name not in names:  # of an earlier, larger data set
                work.output.delete(name)
                work.output.delete(f"work/shards/{name}.json")


def close_packing(work: Work, entries: list[ShardEntry]) -> None:
    """Write the index of each split, whole."""
    for split in SPLITS:
        mine = sorted((entry for entry in entries if entry.file.startswith(f"{split}-")), key=lambda entry: entry.file)
        if mine:
            work.output.write(f"{split}.json", _index(work, mine, complete=True))
        else:
            work.output.delete(f"{split}.json")


def _index(work: Work, entries: list[ShardEntry], complete: bool) -> bytes:
    content = {"format": 1, "settings": settings_of(work), "complete": complete, "shards": list(map(asdict, entries))}
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()


def write_index(work: Work, rows: Iterable[dict[str, Any]], columns: list[str]) -> None:
    """Write `index.parquet`, with the scores and reasons of every clip, kept or dropped, and the report `report.html`.

    columns: names of the scores, null where one was not measured.
    """
    import pyarrow as pa  # type: ignore[import-untyped]
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    text, number, whole, flag = pa.string(), pa.float64(), pa.int64(), pa.bool_()
    kinds = {
        "clip": text, "source": text, "source_id": text, "start": number, "end": number, "width": whole,
        "height": whole, "fps": number, "rotation": whole, "hdr": flag, "num_frames": whole, "kept": flag,
        "stage": text, "dropped_by": pa.list_(text), "reason": text, "duplicate_of": text, "split": text,
        "shard": text, "caption": text, "tags": pa.list_(text), "thumbnail": pa.binary(), "preview": text,
    }  # fmt: skip  # a table, read in rows
    schema = pa.schema([*kinds.items(), *((column, number) for column in columns)])
    schema = schema.with_metadata({"posegen": json.dumps(settings_of(work), sort_keys=True)})
    with tempfile.TemporaryDirectory(prefix="posegen-index-") as folder:
        path = Path(folder, INDEX)
        with output_errors(path), pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for batch in _batches(rows):
                ready = [
                    {
                        **row,
                        "thumbnail": base64.b64decode(row["thumbnail"]),
                        "num_frames": work.recipe.clips.num_frames,
                        "source": row["source"].encode("utf-8", "replace").decode(),
                    }
                    for row in batch
                ]
                writer.write_table(pa.Table.from_pylist(ready, schema=schema))
        page = Path(folder, REPORT)
        write_report(path, thresholds_of(work.recipe.filters), page)
        work.output.put(page, REPORT)
        work.output.put(path, INDEX)


def _batches(rows: Iterable[dict[str, Any]]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while batch := list(islice(rows, _ROWS)):
        yield batch
