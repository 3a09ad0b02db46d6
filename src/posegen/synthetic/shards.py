"""Write clips as WebDataset tar shards with an index: by several processes, resumable, split by identity.

Every shard is a function of the settings and its number, so it does not matter who writes it, when, or after how many
interruptions: the bytes are the same. What a clip is, is `clip.py`'s.
"""

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from posegen.errors import OutputError, PosegenError, logger
from posegen.synthetic.clip import Clip, ClipSettings, Frame
from posegen.synthetic.scene import FRAMING_SHARES, FRAMINGS

FORMAT = 1
"""Raised when the content of samples changes: old folders are then not continued."""
SPLITS = ("train", "val-same", "val-cross")
CLIPS_PER_IDENTITY = 2
"""In the training split; in validation every clip has its own person."""
_SHARDS_PER_PROCESS = 8
"""Processes are renewed after so many shards, so that no leak of a library can grow."""
_ATTEMPTS = 3


@dataclass(frozen=True)
class ShardSettings:
    """What a folder of shards holds."""

    split: str
    clips: int
    seed: int = 0
    clips_per_shard: int = 32
    clip: ClipSettings = field(default_factory=ClipSettings)

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise PosegenError(f"the split must be one of {', '.join(SPLITS)}, not {self.split!r}")
        if self.clips < 1 or self.clips_per_shard < 1:
            raise PosegenError(
                f"clips and clips per shard must be positive, not {self.clips} and {self.clips_per_shard}"
            )

    @property
    def num_shards(self) -> int:
        """How many shards there will be."""
        return -(-self.clips // self.clips_per_shard)

    def shard_name(self, shard: int) -> str:
        """File name of a shard."""
        return f"{self.split}-{shard:06d}.tar"


@dataclass(frozen=True)
class Place:
    """Who is in a clip, and the seed of everything else; identities are named so that splits can be compared."""

    identity: str
    identity_seed: int
    seed: int
    framing: str
    reference_identity: str
    reference_identity_seed: int
    reference_seed: int


def make_shards(
    out: Path,
    split: str,
    clips: int,
    size: tuple[int, int] = (192, 112),
    fps: float = 16.0,
    frames: int = 33,
    seed: int = 0,
    workers: int = 1,
    clips_per_shard: int = 32,
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write `clips` clips of `size` (height, width) under `out` and return the path of the index.

    Shards that are there already are kept. `workers` = 0 works in this process. `progress` is told of shards done and
    wanted. Raises `PosegenError` where the folder holds shards of other settings, `OutputError` where it cannot be
    written.
    """
    settings = ShardSettings(split, clips, seed, clips_per_shard, ClipSettings(*size, num_frames=frames, fps=fps))
    index = out / f"{split}.json"
    try:
        out.mkdir(parents=True, exist_ok=True)
        _claim(index, settings)
        done = _run(out, settings, workers, progress)
        _write_json(index, {**_described(settings), "complete": True, "shards": done})
    except OSError as error:
        raise OutputError(f"cannot write shards to {out}: {error}") from error
    return index


def place_of(settings: ShardSettings, clip: int) -> Place:
    """Identities, seeds and framing of a clip. Training and validation never share an identity."""
    group = "train" if settings.split == "train" else "val"
    number = clip // CLIPS_PER_IDENTITY if group == "train" else clip
    cross = settings.split == "val-cross"
    other = number + 1 if cross else number
    seed = _seed(settings.seed, SPLITS.index(settings.split), clip)
    framing = str(np.random.default_rng([seed, 11]).choice(FRAMINGS, p=FRAMING_SHARES))
    return Place(
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
    start = shard * settings.clips_per_shard
    for number in range(start, min(start + settings.clips_per_shard, settings.clips)):
        place = place_of(settings, number)
        clip = Clip(place.identity_seed, place.seed, settings.clip, place.framing)
        arrays = _stacked(list(clip.frames()))
        reference_clip = clip
        if place.reference_seed != place.seed:
            reference_clip = Clip(place.reference_identity_seed, place.reference_seed, settings.clip, place.framing)
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


def _stacked(frames: list[Frame]) -> dict[str, np.ndarray]:
    """Arrays over frames; normals (n + 1) / 2 * 255, 128 where there is no surface."""
    normals = np.stack([np.round((frame.normals + 1) * 127.5).astype(np.uint8) for frame in frames])
    return {
        "frames": np.stack([frame.rgb for frame in frames]),
        "normals": normals,
        "masks": np.stack([frame.masks for frame in frames]),
        "keypoints": np.stack([frame.keypoints for frame in frames]),
        "visibility": np.stack([frame.visibility for frame in frames]),
    }


def write_shard(out: Path, settings: ShardSettings, shard: int) -> dict[str, Any]:
    """Write one shard unless it is there, and return its entry of the index."""
    import webdataset  # type: ignore[import-untyped]

    path = out / settings.shard_name(shard)
    entry_path = path.with_suffix(".json")
    if path.exists() and entry_path.exists():
        return dict(json.loads(entry_path.read_text()))
    partial = path.with_suffix(".partial")
    count = 0
    with partial.open("wb") as stream, webdataset.TarWriter(stream, encoder=False, mtime=0) as tar:
        for sample in samples(settings, shard):
            tar.write(sample)
            count += 1
    content = partial.read_bytes()
    entry = {
        "file": path.name,
        "samples": count,
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
    }
    partial.replace(path)
    _write_json(entry_path, entry)
    return entry


def _run(
    out: Path, settings: ShardSettings, workers: int, progress: Callable[[int, int], None] | None
) -> list[dict[str, Any]]:
    """All shards' entries in order; broken worker processes are replaced a few times."""
    done: dict[int, dict[str, Any]] = {}

    def finish(shard: int, entry: dict[str, Any]) -> None:
        done[shard] = entry
        if progress:
            progress(len(done), settings.num_shards)

    if workers == 0:
        for shard in range(settings.num_shards):
            finish(shard, write_shard(out, settings, shard))
        return list(done.values())
    attempt = 1
    while missing := [shard for shard in range(settings.num_shards) if shard not in done]:
        # a new pool for each round: `max_tasks_per_child` deadlocks in Python 3.11 (cpython issue 115634)
        pool = ProcessPoolExecutor(workers, mp_context=get_context("spawn"))
        try:
            with pool:
                chosen = missing[: workers * _SHARDS_PER_PROCESS]
                futures = {pool.submit(write_shard, out, settings, shard): shard for shard in chosen}
                for future in as_completed(futures):
                    finish(futures[future], future.result())
        except BrokenProcessPool:
            if attempt == _ATTEMPTS:
                raise
            logger.warning("A worker process died; going on with new ones (%d of %d).", attempt, _ATTEMPTS - 1)
            attempt += 1
    return [done[shard] for shard in sorted(done)]


def _described(settings: ShardSettings) -> dict[str, Any]:
    return {"format": FORMAT, "settings": dataclasses.asdict(settings)}


def _claim(index: Path, settings: ShardSettings) -> None:
    """Refuse to mix settings in one folder; write the index's head where there is none."""
    wanted = json.loads(json.dumps(_described(settings)))
    if index.exists():
        found = json.loads(index.read_text())
        if {key: found.get(key) for key in wanted} != wanted:
            raise PosegenError(
                f"{index} was made with other settings ({found.get('settings')}): choose another folder or delete it"
            )
        return
    _write_json(index, {**wanted, "complete": False, "shards": []})


def _write_json(path: Path, content: dict[str, Any]) -> None:
    partial = path.with_suffix(".json.partial")
    partial.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    partial.replace(path)
