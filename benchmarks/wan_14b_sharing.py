"""Time and memory of background sharing in `wan_14b.py`'s blocks, with every store and precision."""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch

from posegen.model.background_store import MemoryStore
from posegen.model.sharing import BackgroundSharing, SharingConfig, SharingPass
from wan_14b_blocks import BRANCHES, STEPS, SUBJECT, WAN_LAYERS, Size, Workbench
from wan_14b_measuring import attempt, gigabytes, milliseconds, peak_memory, release_memory, synchronize

SHARED_STEPS, SHARED_LAYERS = 5, 10  # the `paper` setting of 25 steps and 40 layers


def sharing(bench: Workbench, figures: dict) -> None:
    size, blocks = bench.sizes[0], bench.blocks
    anchor, other = blocks.inputs(size, 1), blocks.inputs(size, 2)
    plain = milliseconds(lambda: blocks.forward(other))
    figures |= {"size": size.name, "blocks_measured": bench.layers, "forward_ms": round(plain, 3)}

    def maps(result: dict) -> None:
        """Subject maps in every block; only the last one shares."""
        config = SharingConfig("paper", [0], [bench.layers - 1])
        sharing = BackgroundSharing(config, SUBJECT)
        with fixed_mask(size, 0.5, bench.device):
            blocks.forward(anchor, sharing.record(0, "positive"))
            blocks.forward(anchor, sharing.record(0, "negative"))
            positive = milliseconds(lambda: blocks.forward(other, sharing.share(0, "positive")))
            negative = milliseconds(lambda: blocks.forward(other, sharing.share(0, "negative")))
        result["more_ms_of_a_block_for_its_subject_map"] = round((positive - negative) / bench.layers, 3)

    attempt(figures, maps, figures)
    for common, precision in itertools.product((0.4, 0.6), ("same", "int10", "fp8")):
        outputs: dict[str, torch.Tensor] = {}
        for kind in ("device", "host"):
            name = f"common {common:.0%}, {kind}, {precision}"
            figures[name] = {}
            attempt(figures[name], _one_store, bench, figures[name], (anchor, other), common,
                    (kind, precision), plain, outputs)  # fmt: skip
            release_memory()
        if len(outputs) == 2:
            figures[name]["same_bits_as_device"] = torch.equal(outputs["host"], outputs["device"])
    # the anchor's forward beside the other at 5 of 25 steps, besides what the device store takes
    figures["recompute_extrapolated_more_time"] = SHARED_STEPS / STEPS


def _one_store(bench: Workbench, result, inputs, common, kind_and_precision, plain, outputs) -> None:
    (anchor, other), (kind, precision), blocks = inputs, kind_and_precision, bench.blocks
    store = MemoryStore("cpu" if kind == "host" else None)
    sharing = BackgroundSharing(SharingConfig("paper", [0], range(bench.layers)), SUBJECT, store, precision)
    pinned = attempt({}, pinned_bytes) or 0
    with fixed_mask(bench.sizes[0], common, bench.device):
        for branch in ("positive", "negative"):
            synchronize()
            begin = time.perf_counter()
            blocks.forward(anchor, sharing.record(0, branch))
            synchronize()
            recorded = (time.perf_counter() - begin) * 1e3
        again = milliseconds(lambda: blocks.forward(anchor, sharing.record(0, "negative")), warm_up=0, repeats=1)
        taken = {}
        for branch in ("positive", "negative"):
            taken[branch] = milliseconds(lambda branch=branch: blocks.forward(other, sharing.share(0, branch)))
        with peak_memory(result, "memory"):
            outputs[kind] = blocks.forward(other, sharing.share(0, "negative"))
    size = sharing.store.nbytes() / 2 / bench.layers
    more = {branch: (value - plain) / bench.layers for branch, value in taken.items()}
    segment = STEPS * BRANCHES * WAN_LAYERS * plain / bench.layers
    result |= {
        "gb_of_a_block": gigabytes(size),
        "extrapolated_gb_of_a_job": gigabytes(size * SHARED_STEPS * SHARED_LAYERS * BRANCHES),
        "more_ms_of_a_recording_block": round((recorded - plain) / bench.layers, 3),
        "more_ms_of_a_block_recording_again": round((again - plain) / bench.layers, 3),
        "more_ms_of_a_sharing_block": {branch: round(value, 3) for branch, value in more.items()},
        # without subject maps of the blocks that do not share
        "extrapolated_more_time_of_a_segment": round(
            SHARED_STEPS * SHARED_LAYERS * (more["positive"] + more["negative"]) / segment, 4
        ),
    }
    if kind == "host" and bench.report.cuda:
        result["stored_gb"] = gigabytes(sharing.store.nbytes())
        attempt(result, lambda: result.update(more_pinned_gb_taken=gigabytes(pinned_bytes() - pinned)))
    sharing.store.clear()


def pinned_bytes() -> int:
    """Bytes of pinned host memory that torch has taken from the system, cached ones included."""
    if not torch.cuda.is_available():
        return 0
    return int(torch.cuda.memory.host_memory_stats()["allocated_bytes.current"])


@contextmanager
def fixed_mask(size: Size, common: float, device: torch.device) -> Iterator[None]:
    """The subject of every segment is the same upright stripe, so that `common` of the tokens are background."""
    columns = size.columns // 2
    mask = torch.zeros(1, size.frames, size.rows // 2, columns, dtype=torch.bool, device=device)
    mask[..., round(columns * common) :] = True
    with mock.patch.object(SharingPass, "current_mask", return_value=mask):
        yield
