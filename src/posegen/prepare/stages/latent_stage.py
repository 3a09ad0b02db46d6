"""Encodes the clips of shards ahead of training: `cache/` gets the files that `posegen train` would write.

Each clip is encoded once and kept as `work/latents-X/CLIP-N.safetensors` (N counts the encodings) with `CLIP.json`;
the files of a shard are then assembled from them. Which encodings a training reads is planned elsewhere
(`train/latent_plan.py`); `data/latent_cache.py` defines them.
"""

import hashlib
import tempfile
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load, save

from posegen.data.latent_cache import LatentCache, file_name, is_whole, write_encoded
from posegen.data.shards import samples_of
from posegen.devices import choose_device
from posegen.errors import OutputError
from posegen.media.checksums import checksum_path
from posegen.media.files import output_errors
from posegen.model.sources import load_for_encoding
from posegen.prepare.prepare_recipe import LatentPlan
from posegen.prepare.stages.messages import EncodedClip
from posegen.prepare.store import Store, read_sample

FOLDER = "cache"


class LatentMaker:
    """Encodes clips; the model is kept from one to the next."""

    def __init__(self, plan: LatentPlan, samples: Store, kept: Store, device: str = "auto") -> None:
        pipeline = load_for_encoding(plan.model, getattr(torch, plan.frozen))
        self._cache = LatentCache(Path(), pipeline, getattr(torch, plan.computed))
        self._cache.to(choose_device(device))
        self._plan, self._samples, self._kept = plan, samples, kept

    def make(self, key: str, sha256: str) -> EncodedClip:
        """Encode one clip and keep it.

        Raises `PosegenError` for a clip that cannot be read, `OutputError`.
        """
        with tempfile.TemporaryDirectory(prefix="posegen-latents-") as folder:
            path = Path(folder, "sample.tar")
            with output_errors(path):
                path.write_bytes(read_sample(self._samples, key, sha256))
            (sample,) = samples_of(path)
            digests = []
            for number, encoding in enumerate(self._plan.encodings):
                encoded = save(self._cache.encode(sample, encoding))
                self._kept.write(f"{key}-{number}.safetensors", encoded)
                digests.append(hashlib.sha256(encoded).hexdigest())
        return EncodedClip(sha256, self._cache.identity, tuple(digests))


def assemble_files(
    plan: LatentPlan, kept: Store, output: Store, shard: str, made: Mapping[str, EncodedClip | None]
) -> None:
    """Write the files of one shard that are missing.

    shard: SHA-256 of its bytes. made: its clips in order, None for one that is left out; at least one is encoded.
    Raises `OutputError`.
    """
    there = {key: clip for key, clip in made.items() if clip is not None}
    identities = [clip.identity for clip in there.values()]
    if any(identity != identities[0] for identity in identities):
        raise OutputError(
            f"{kept.url}: clips were encoded with different weights; delete it, the same command encodes them again"
        )
    for number, encoding in enumerate(plan.encodings):
        name = f"{FOLDER}/{file_name(shard, list(made), encoding, identities[0])}"
        if is_whole(Path(output.path(name))) if output.is_local else output.size(name):
            continue
        clips = []
        for key in there:
            content = kept.read(f"{key}-{number}.safetensors")
            if content is None or hashlib.sha256(content).hexdigest() != there[key].files[number]:
                kept.delete(f"{key}.json")  # made again by the next run
                raise OutputError(
                    f"{kept.path(key)}-{number}.safetensors is missing or damaged: the same command makes it again"
                )
            clips.append(load(content))
        with tempfile.TemporaryDirectory(prefix="posegen-latents-") as folder:
            path = Path(folder, Path(name).name)
            write_encoded(path, clips, encoding, [key for key in made if key not in there])
            digest = checksum_path(path)
            output.put(path, name)
            output.put(digest, f"{name}.sha256")
