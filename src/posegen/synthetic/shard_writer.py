"""Writes clips as WebDataset tar shards with an index: by several processes, resumable, split by identity.

Every shard is a function of the settings and its number, so its bytes do not depend on the process that writes it,
nor on interruptions. A shard that is there is kept if its bytes are those of its entry, and made again
otherwise. Clips are made by `clip.py`, processes run by `workers.py`.
"""

import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import filelock
import numpy as np

from posegen.digests import file_digest
from posegen.errors import OutputError, PosegenError, logger
from posegen.media.data_files import parse_json, read_json
from posegen.media.files import output_errors, read_kept
from posegen.synthetic.clip import RenderedFrame, SyntheticClip, SyntheticClipSettings, prepare
from posegen.synthetic.scene import FRAMING_SHARES, FRAMINGS
from posegen.synthetic.workers import run_in_processes

FORMAT = 1
"""Raised when the content of samples changes: old folders are then not continued."""
SPLITS = ("train", "val-same", "val-cross")
CLIPS_PER_IDENTITY = 2
"""Clips of one person in the training split; in validation every clip has its own person."""


@dataclass(frozen=True)
class ShardSettings:
    """The clips of one split of a folder of shards."""

    split: str
    """One of `SPLITS`."""
    clips: int
    """Number of clips, at least 1."""
    seed: int = 0
    """Same seed, same people, movements and pixels."""
    clips_per_shard: int = 16
    """Clips in one file, which is also the task of one process."""
    clip: SyntheticClipSettings = field(default_factory=SyntheticClipSettings)
    """Size and length of each clip."""

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise PosegenError(f"the split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.clips < 1 or self.clips_per_shard < 1:
            raise PosegenError(
                f"clips and clips per shard must be positive, not {self.clips} and {self.clips_per_shard}"
            )

    @property
    def num_shards(self) -> int:
        """Number of shards."""
        return -(-self.clips // self.clips_per_shard)

    def clips_of(self, shard: int) -> range:
        """Return the numbers of the clips of a shard."""
        start = shard * self.clips_per_shard
        return range(start, min(start + self.clips_per_shard, self.clips))

    def shard_name(self, shard: int) -> str:
        """File name of a shard."""
        return f"{self.split}-{shard:06d}.tar"


@dataclass(frozen=True)
class ShardPosition:
    """Identities and seeds of one clip; identities have names, so that splits can be compared."""

    identity: str
    identity_seed: int
    seed: int
    framing: str
    reference_identity: str
    reference_identity_seed: int
    reference_seed: int


def make_shards(
    out: Path, settings: ShardSettings, workers: int = 1, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write the shards of one split to the folder `out` and return the path of their index.

    Whole shards that are there already are kept: called again on a finished folder, it only checks their hashes, and
    with more clips it adds those that are missing.

    workers: processes; 0 works in this process. progress: called with the numbers of clips done and wanted.

    Raises `PosegenError` where the folder holds shards of other settings or more clips, `OutputError` where it cannot
    be written.
    """
    split = settings.split
    index = out / f"{split}.json"
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        try:
            with filelock.FileLock(out / f".{split}.lock", timeout=0):
                _claim(index, settings)
                done = _run(out, settings, workers, progress)
                _write_json(index, {**_described(settings), "complete": True, "shards": done})
        except filelock.Timeout:
            raise OutputError(
                f"another process writes {split} shards to {out}: wait for it, or choose another folder"
            ) from None
    return index


def place_of(settings: ShardSettings, clip: int) -> ShardPosition:
    """Identities, seeds and framing of a clip. Training and validation never share an identity."""
    group = "train" if settings.split == "train" else "val"
    number = clip // CLIPS_PER_IDENTITY if group == "train" else clip
    cross = settings.split == "val-cross"
    other = number + 1 if cross else number
    seed = _seed(settings.seed, SPLITS.index(settings.split), clip)
    framing = str(np.random.default_rng([seed, 11]).choice(FRAMINGS, p=FRAMING_SHARES))
    return ShardPosition(
        identity=f"{group}-{settings.seed}-{number:07d}",
        identity_seed=identity_seed(settings.seed, group, number),
        seed=seed,
        framing=framing,
        reference_identity=f"{group}-{settings.seed}-{other:07d}",
        reference_identity_seed=identity_seed(settings.seed, group, other),
        reference_seed=_seed(settings.seed, 100, clip) if cross else seed,
    )


def identity_seed(seed: int, group: str, number: int) -> int:
    """Seed of an identity: odd in validation, even in training, so that no person can be in both."""
    return _seed(seed, 200, number) * 2 + (group != "train")


def _seed(*words: int) -> int:
    return int(np.random.SeedSequence(list(words)).generate_state(1, np.uint64)[0] >> 2)


def samples(settings: ShardSettings, shard: int) -> Iterator[dict[str, Any]]:
    """The samples of one shard, as `webdataset.TarWriter` takes them."""
    for number in settings.clips_of(shard):
        place = place_of(settings, number)
        clip = SyntheticClip(place.identity_seed, place.seed, settings.clip, place.framing)
        arrays = _stacked(clip.frames())
        reference_clip = clip
        if place.reference_seed != place.seed:
            reference_clip = SyntheticClip(
                place.reference_identity_seed, place.reference_seed, settings.clip, place.framing
            )
        reference = reference_clip.reference()
        arrays |= {
            "reference": reference.rgb,
            "reference_keypoints": reference.keypoints,
            "reference_visibility": reference.visibility,
        }
        description = {
            **dataclasses.asdict(place),
            "split": settings.split,
            "caption": clip.caption,
            "reference_caption": reference_clip.caption,
            "subject": clip.subject,
            "movement": clip.movement,
            **dataclasses.asdict(settings.clip),
        }
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type]
        yield {
            "__key__": f"{settings.split}-{number:08d}",
            "npz": buffer.getvalue(),
            "json": json.dumps(description, sort_keys=True).encode(),
            "txt": clip.caption.encode(),
        }


def _stacked(frames: Iterable[RenderedFrame]) -> dict[str, np.ndarray]:
    """Arrays over frames; normals (n + 1) / 2 * 255, 128 where there is no surface."""
    rows: dict[str, list[np.ndarray]] = {}
    for frame in frames:  # one by one: only bytes are kept, not normals and depths as floats
        kept = {
            "frames": frame.rgb,
            "normals": np.round((frame.normals + 1) * 127.5).astype(np.uint8),
            "masks": frame.masks,
            "keypoints": frame.keypoints,
            "visibility": frame.visibility,
        }
        for name, array in kept.items():
            rows.setdefault(name, []).append(array)
    return {name: np.stack(arrays) for name, arrays in rows.items()}


def write_shard(
    out: Path, settings: ShardSettings, shard: int, tell: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Write one shard and return its entry of the index; `tell` is called after every clip."""
    import webdataset  # type: ignore[import-untyped]

    path = out / settings.shard_name(shard)
    partial = path.with_suffix(".partial")
    count = 0
    try:
        with partial.open("wb") as stream, webdataset.TarWriter(stream, encoder=False, mtime=0) as tar:
            for sample in samples(settings, shard):
                tar.write(sample)
                count += 1
                if tell:
                    tell(count)
        entry = {"file": path.name, "samples": count, "bytes": partial.stat().st_size, "sha256": file_digest(partial)}
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _write_json(path.with_suffix(".json"), entry)
    return entry


def kept_entry(out: Path, settings: ShardSettings, shard: int) -> dict[str, Any] | None:
    """The entry of a shard that is there and whole, by size and hash; None where it must be made."""
    path = out / settings.shard_name(shard)
    try:
        entry = parse_json(read_kept(path.with_suffix(".json")), f"{path.stem}.json")
        if entry["samples"] < len(settings.clips_of(shard)):
            return None  # the last one of a folder that grows
        described = (entry["file"], entry["samples"], entry["bytes"])
        is_right = described == (path.name, len(settings.clips_of(shard)), path.stat().st_size)
        if is_right and file_digest(path) == entry["sha256"]:
            return dict(entry)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        pass
    logger.warning("%s is damaged or does not belong to its .json; it is made again.", path)
    return None


def _run(
    out: Path, settings: ShardSettings, workers: int, progress: Callable[[int, int], None] | None
) -> list[dict[str, Any]]:
    """All shards' entries in order: kept, or made here or by workers."""
    numbers = range(settings.num_shards)
    entries = {shard: entry for shard in numbers if (entry := kept_entry(out, settings, shard))}
    clips_done = {shard: int(entry["samples"]) for shard, entry in entries.items()}

    def count(shard: int, clips: int) -> None:
        clips_done[shard] = clips
        if progress:
            progress(sum(clips_done.values()), settings.clips)

    if progress:
        progress(sum(clips_done.values()), settings.clips)
    missing = [shard for shard in numbers if shard not in entries]
    if missing:
        _write_json(out / f"{settings.split}.json", {**_described(settings), "complete": False, "shards": []})
        prepare()  # here, so that workers do not all do it
    if workers == 0:
        for shard in missing:
            entries[shard] = write_shard(out, settings, shard, functools.partial(count, shard))
    else:
        run_in_processes(functools.partial(write_shard, out, settings), missing, workers, count, entries.__setitem__)
    return [entries[shard] for shard in numbers]


def _described(settings: ShardSettings) -> dict[str, Any]:
    return {"format": FORMAT, "settings": dataclasses.asdict(settings)}


def _claim(index: Path, settings: ShardSettings) -> None:
    """Refuse to mix settings in one folder; write the index's head where there is none. A folder may grow."""
    wanted = json.loads(json.dumps(_described(settings)))
    if not index.exists():
        _write_json(index, {**wanted, "complete": False, "shards": []})
        return
    try:
        found = read_json(index, "an index of shards")
        before, now = ({"format": head["format"], **_flat(head["settings"])} for head in (found, wanted))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise PosegenError(f"{index} is not an index of shards: choose another folder, or delete the file") from None
    if isinstance(before.get("clips"), int) and _clips_made(index.parent, settings) <= settings.clips:
        before["clips"] = settings.clips
    differences = [f"{name} {before.get(name)} instead of {now[name]}" for name in now if before.get(name) != now[name]]
    if differences or before.keys() != now.keys():
        raise PosegenError(
            f"{index} was made with other settings ({', '.join(differences) or 'of another version'}): "
            "choose another folder, or the same settings"
        )


def _clips_made(out: Path, settings: ShardSettings) -> int:
    """One more than the number of the last clip that is in a shard of the folder."""
    made = [0]
    for path in out.glob(f"{settings.split}-*.tar"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # damaged ones are made again anyway
            entry = parse_json(read_kept(path.with_suffix(".json")), f"{path.stem}.json")
            made.append(int(path.stem.rsplit("-", 1)[1]) * settings.clips_per_shard + int(entry["samples"]))
    return max(made)


def _flat(settings: dict[str, Any]) -> dict[str, Any]:
    clip = {"style": "calm"} | settings["clip"]  # folders made before there were styles
    return {name: value for name, value in settings.items() if name != "clip"} | clip


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    partial.replace(path)
