"""Hand-made shards of tiny clips: a square on a background, with keypoints, masks and normals that fit it."""

import io
import json
import tarfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

SIZE, FRAMES = (32, 32), 9


def sample_arrays(seed: int, frames: int = FRAMES, size: tuple[int, int] = SIZE) -> dict[str, np.ndarray]:
    """A square that moves; its corners are the keypoints, a part of it is a hand."""
    height, width = size
    random = np.random.default_rng(seed)
    background, person = random.integers(30, 220, (2, 3))
    video = np.empty((frames, height, width, 3), np.uint8)
    video[:] = background
    masks = np.zeros((frames, height, width), np.uint8)
    keypoints = np.zeros((frames, 133, 2), np.float32)
    for number in range(frames):
        top, left = 4 + number, 6 + (number * (1 + seed % 2)) % 10
        video[number, top : top + 14, left : left + 10] = person
        masks[number, top : top + 14, left : left + 10] = 1
        masks[number, top : top + 4, left : left + 4] |= 2
        keypoints[number] = random.uniform((left, top), (left + 10, top + 14), (133, 2))
    return {
        "frames": video,
        "masks": masks,
        "normals": np.full((frames, height, width, 3), (128, 128, 255), np.uint8),
        "keypoints": keypoints,
        "visibility": np.full((frames, 133), 2, np.uint8),
        "reference": video[0],
    }


def write_shard(
    path: Path, keys: list[str], seed: int = 0, frames: int = FRAMES, sizes: Sequence[tuple[int, int]] = (SIZE,)
) -> None:
    """Write a shard as WebDataset does; its clips have these (height, width) in turn."""
    with tarfile.open(path, "w") as tar:
        for number, key in enumerate(keys):
            buffer = io.BytesIO()
            height, width = sizes[number % len(sizes)]
            np.savez_compressed(buffer, **sample_arrays(seed + number, frames, (height, width)))
            description = {"num_frames": frames, "height": height, "width": width}
            parts = {
                "npz": buffer.getvalue(),
                "json": json.dumps(description).encode(),
                "txt": f"A drawing of a person who is square number {seed + number}.".encode(),
            }
            for extension, content in parts.items():
                member = tarfile.TarInfo(f"{key}.{extension}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def break_clip(sample) -> None:
    """Damage a clip's compressed arrays; its shard stays a whole tar."""
    content = bytearray(sample.shard.read_bytes())
    part = sample.parts["npz"]
    content[part.offset + 60 : part.offset + 90] = bytes(30)
    sample.shard.write_bytes(content)


def write_shards(
    folder: Path,
    split: str,
    shards: int = 2,
    clips: int = 3,
    frames: int = FRAMES,
    sizes: Sequence[tuple[int, int]] = (SIZE,),
) -> Path:
    """A folder of shards."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(shards):
        keys = [f"{split}-{shard * clips + number:08d}" for number in range(clips)]
        write_shard(folder / f"{split}-{shard:06d}.tar", keys, seed=shard * clips, frames=frames, sizes=sizes)
    return folder
