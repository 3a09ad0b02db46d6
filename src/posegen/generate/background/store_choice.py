"""Chooses how the shared background is kept: the kind of store and the dtype, by arithmetic on sizes.

The stores are in `model/background_store.py`; `shared_background.py` fills and reads the chosen one.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil
import torch

from posegen.config import SharingPrecision, SharingStore
from posegen.errors import PosegenError
from posegen.model.background_store import StorePrecision
from posegen.model.sharing import SharingConfig

StoreKind = Literal["device", "host", "disk", "recompute"]
_SHARE_OF_FREE = 0.6
"""Of the memory that is free, how much a store takes unless told otherwise: others use the machine too."""
_BYTES: dict[StorePrecision, float] = {"bf16": 2.0, "int10": 1.27, "fp8": 1.02}
"""Of a number in the store; int10 and fp8 have a scale for each token and head."""
_WORDS: dict[StorePrecision, str] = {
    "same": "as computed",
    "bf16": "in bfloat16",
    "int10": "in 10 bits",
    "fp8": "in 8 bits",
}


@dataclass(frozen=True)
class Need:
    """Bytes that kinds of stores need."""

    whole: int
    """Keys and values of all steps, branches and layers."""
    one_layer: int
    """Of one step, branch and layer: what a store in files has in memory, twice."""
    one_pass: int
    """Of one step and branch: what recomputation has in memory."""

    @staticmethod
    def of(
        config: SharingConfig, tokens: int, dim: int, passes: int, precision: StorePrecision, bytes_per_value: int
    ) -> "Need":
        """Return the maximum, with every value kept, for a model `dim` wide with `tokens` video and reference tokens.

        passes: forward passes of the anchor in the shared steps.
        """
        size = _BYTES.get(precision, float(bytes_per_value))
        one_layer = round(2 * tokens * dim * size)
        one_pass = 2 * tokens * dim * bytes_per_value * len(config.layers)
        return Need(one_layer * len(config.layers) * passes, one_layer, one_pass)


@dataclass(frozen=True)
class Room:
    """Bytes that a store may take."""

    device: int
    host: int
    disk: int

    @staticmethod
    def of(device: torch.device, folder: Path, occupied: int, budget: int | None) -> "Room":
        """Measure what is free. Models and their work will take `occupied` bytes; `budget` replaces the memory's share.

        On a CPU device and host are one.
        """
        host = psutil.virtual_memory().available
        disk = psutil.disk_usage(str(next(path for path in (folder, *folder.parents) if path.exists()))).free
        if device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(device)
            on_device = round(max(free - occupied, 0) * _SHARE_OF_FREE)
            on_host = round(host * _SHARE_OF_FREE)
        else:
            on_device = on_host = round(max(host - occupied, 0) * _SHARE_OF_FREE)
        if budget is not None:
            on_device = on_host = budget
        return Room(on_device, on_host, disk)


@dataclass(frozen=True)
class StoreChoice:
    """A kind of store, and why."""

    kind: StoreKind
    reason: str


def choose_precision(
    wanted: SharingPrecision, store: SharingStore, exact: Need, small: Need, budget: int | None
) -> StorePrecision:
    """Choose the dtype: as `wanted`, or by "auto" as computed, but int10 where only that (`small`) fits in memory.

    That memory is the `budget` that was asked for, never what happens to be free: the dtype changes the video, if
    hardly, and the same command must give the same video.
    """
    if wanted != "auto":
        return wanted
    if budget is None or store not in ("auto", "memory"):
        return "same"
    return "int10" if small.whole <= budget < exact.whole else "same"


def describe_precision(
    wanted: SharingPrecision, taken: StorePrecision, kind: StoreKind, exact: Need, small: Need, room: Room
) -> str:
    """Describe the dtype that is taken, and why; or what another one would do."""
    if wanted != "auto":
        return f"{_WORDS[taken]} (as asked for)"
    if taken != "same":
        return f"{_WORDS[taken]}, since as computed they are {_size(exact.whole)}, more than --memory-budget"
    if kind in ("recompute", "disk") and small.whole <= max(room.device, room.host):
        return f"{_WORDS[taken]} (with --sharing-precision int10 they would fit in memory: {_size(small.whole)})"
    return _WORDS[taken]


def choose_store(wanted: SharingStore, need: Need, room: Room, in_files: int = 0) -> StoreChoice:
    """The kind of store: as `wanted`, or by "auto" the fastest that fits: device, host, recompute, disk.

    Files come last, since they can be large; whoever wants them asks for them. `in_files`: places (of a step, branch
    and layer) that an earlier run has left in files, so that they need no more room. Raises `PosegenError` where the
    wanted one, or none at all, fits.
    """
    sizes = {"device": need.whole, "host": need.whole, "recompute": need.one_pass, "disk": 2 * need.one_layer}
    rooms = {"device": room.device, "host": room.host, "recompute": room.device, "disk": room.host}
    fits = {kind: sizes[kind] <= rooms[kind] for kind in sizes}
    to_write = max(0, need.whole - in_files * need.one_layer)
    disk_holds = to_write * 1.05 <= room.disk
    kinds: dict[SharingStore, tuple[StoreKind, ...]] = {
        "auto": ("device", "host", "recompute", "disk"),
        "memory": ("device", "host"),
        "disk": ("disk",),
        "recompute": ("recompute",),
    }
    for kind in kinds[wanted]:
        if not fits[kind] or (kind == "disk" and not disk_holds):
            continue
        reasons = {
            "device": f"in memory: {_size(need.whole)} of {_size(room.device)}",
            "host": f"in host memory, {_size(need.whole)} of {_size(room.host)}, read ahead",
            "recompute": f"recomputed with {_size(need.one_pass)} of memory, for about a fifth more time",
            "disk": f"in files: {_size(to_write)} of {_size(room.disk)} free"
            + (", the rest is there" if in_files else ""),
        }
        why = "" if wanted == "auto" or kind == "device" else " (as asked for)"
        if wanted == "auto" and kind != "device":
            why = f" (in memory they would be {_size(need.whole)}, and there is room for {_size(room.device)})"
        return StoreChoice(kind, reasons[kind] + why)
    if wanted == "disk" and fits["disk"]:
        raise PosegenError(
            f"--sharing-store disk needs {_size(to_write)} of disk, and {_size(room.disk)} are free: free some "
            "space, choose --sharing-precision int10 or fp8, or --sharing-store recompute"
        )
    smallest = min(sizes[kind] for kind in kinds[wanted])
    raise PosegenError(
        f"--sharing-store {wanted} needs {_size(smallest)} of memory, and there is room for "
        f"{_size(max(rooms[kind] for kind in kinds[wanted]))}: raise --memory-budget, choose "
        + ("a smaller --size" if wanted == "auto" else "--sharing-store auto")
        + ", or switch it off with --sharing off"
    )


def _size(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 0.95e8 else f"{size / 1e6:.1f} MB"
