"""Estimates of what a job takes: memory of models and of the shared background, and bytes on disk.

Arithmetic on sizes, but for the memory and disk that are free, which are asked for here.
"""

import math
from dataclasses import dataclass
from pathlib import Path

from posegen.errors import PosegenError
from posegen.generate.background.store_choice import Room, StoreChoice, choose_store
from posegen.generate.job.job_folder import background_sizes, work_folder
from posegen.generate.job.manifest import JobProgress
from posegen.generate.planning.job_inputs import JobInputs
from posegen.generate.planning.resolved_settings import ResolvedSettings
from posegen.generate.segments import SegmentPlan


@dataclass(frozen=True)
class JobNeeds:
    """Memory that a job needs, and the store of its shared background.

    memory: peak of models, their work and the shared background, in bytes, estimated. room: what the background may
    take. store: how it is kept; None where none is shared, or where it fits nowhere: then `problem` says why.
    """

    memory: int
    room: Room | None = None
    store: StoreChoice | None = None
    problem: str | None = None


def estimate_needs(inputs: JobInputs, settings: ResolvedSettings, job: Path | None = None) -> JobNeeds:
    """Estimate memory, and choose how the shared background is kept in what is free now.

    job: folder of the job, in which an earlier run may have left a part of the background. Raises `PosegenError` where
    the background fits nowhere; a dry run is told so in `problem` instead.
    """
    config, model, (height, width) = inputs.config, inputs.model, settings.size
    weights = model.weights_bytes * settings.dtype.itemsize // 2  # counted in bfloat16
    models = estimate_memory(sum(model.tokens(settings.size)), model.dim, model.ffn_dim, weights, height * width)
    need = settings.sharing.need
    if need is None:
        return JobNeeds(models)
    room = Room.of(settings.device, work_folder(config.output), models, settings.budget)
    in_files = 0 if job is None else len(background_sizes(job))
    try:
        store = choose_store(config.sharing_store, need, room, in_files)
    except PosegenError as error:
        if not config.dry_run:
            raise
        return JobNeeds(models, room, problem=str(error))
    kept = {"device": need.whole, "host": 2 * need.one_layer, "disk": 2 * need.one_layer}
    return JobNeeds(models + kept.get(store.kind, need.one_pass), room, store)


def estimate_disk_usage(
    inputs: JobInputs, settings: ResolvedSettings, needs: JobNeeds, plan: SegmentPlan
) -> JobProgress:
    """Estimate how much a job of this plan will keep on disk."""
    places, size, need = 0, 0, settings.sharing.need
    if need is not None and needs.store is not None and needs.store.kind == "disk":
        places, size = need.whole // need.one_layer, need.one_layer
    return JobProgress(
        segments=0 if inputs.config.long_method == "freenoise" else len(plan.segments),
        segment_length=plan.segment_length,
        num_frames=plan.num_frames,
        frame_pixels=math.prod(settings.size) * 3,
        background_files=places,
        background_file=size,
    )


def estimate_memory(tokens: int, dim: int, ffn_dim: int, weights: int, pixels: int, bytes_per_value: int = 2) -> int:
    """Bytes that models need at their peak, roughly: weights, and the larger of a block's and the decoder's work.

    tokens: video + reference tokens; pixels: height · width of a frame.
    """
    block = tokens * (8 * dim + ffn_dim) * bytes_per_value
    decoder = pixels * 96 * 4 * 6 * bytes_per_value
    return weights + max(block, decoder) + math.ceil(0.5e9)
