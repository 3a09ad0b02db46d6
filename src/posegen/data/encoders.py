"""Encodes clips with several processes: one alone unpacks and draws far slower than a GPU encodes.

They write the files that `LatentCache.prepare` would write, each whole or not at all, and keep existing ones.
"""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.context import BaseContext
from pathlib import Path

import torch

from posegen.data.encoding import Encoding
from posegen.data.latent_cache import LatentCache, is_whole
from posegen.data.shards import Shard
from posegen.errors import PosegenError
from posegen.heap import keep_freed_memory
from posegen.model.sources import load_for_encoding

_cache: LatentCache | None = None
"""Cache of a worker process."""


@dataclass(frozen=True)
class Encoders:
    """Number of processes, and the model whose encoders they load."""

    processes: int
    model: str
    """Name or folder."""
    frozen: torch.dtype
    """Dtype of the weights when they are loaded."""

    def encode(
        self,
        cache: LatentCache,
        shards: list[Shard],
        encodings: list[Encoding],
        device: torch.device,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Encode the missing files of `shards`, for all `encodings`.

        Raises what the encoding of a shard raised, and `PosegenError` if a process dies.
        """
        missing = [(shard, e) for e in encodings for shard in shards if not is_whole(cache.file(shard, e))]
        if not missing:
            return
        arguments = (self.model, self.frozen, cache.folder, cache.dtype, str(device), cache.identity)
        with ProcessPoolExecutor(
            min(self.processes, len(missing)),
            mp_context=_context(),
            initializer=_start,
            initargs=arguments,
        ) as pool:
            tasks = [pool.submit(_encode, shard, encoding) for shard, encoding in missing]
            try:
                for done, task in enumerate(as_completed(tasks), start=1):
                    task.result()
                    progress(done, len(tasks))
            except BrokenProcessPool:
                raise PosegenError(
                    f"a process that encodes clips died (out of memory?): fewer of them ([data] encoders, now "
                    f"{self.processes}) may help; what is encoded is kept"
                ) from None
            finally:
                pool.shutdown(cancel_futures=True)


def _context() -> BaseContext:
    """Processes that begin as copies of one which has only imported libraries; fresh ones where that cannot be."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _start(
    model: str, frozen: torch.dtype, folder: Path, dtype: torch.dtype, device: str, identity: dict[str, object]
) -> None:
    global _cache  # noqa: PLW0603  (a pool's initializer has no other way)
    torch.set_num_threads(1)
    if device == "cpu":
        keep_freed_memory()
    _cache = LatentCache(folder, load_for_encoding(model, frozen), dtype)
    assert _cache.identity == identity, "the encoders of a model differ from the training's"
    _cache.to(torch.device(device))


def _encode(shard: Shard, encoding: Encoding) -> None:
    assert _cache is not None
    if not is_whole(_cache.file(shard, encoding)):
        _cache.encode_shard(shard, encoding)
