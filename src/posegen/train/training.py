"""Trains one stage: checks, data, starting model, loop, export.

Each stage has a folder of its own in the output folder (`vae/`, `pretrain/`, `base/`, `stitch/`, `distill/`) with
checkpoints, logs and, at the end, `model/`; a stage starts from the model of the stage before it, if that is there.
"""

import datetime
import logging
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, InitProcessGroupKwargs
from accelerate.state import AcceleratorState
from filelock import FileLock, Timeout

from posegen.config import TrainConfig
from posegen.config.toml_settings import sizes_in_words
from posegen.data.encoders import Encoders
from posegen.data.fetching import RemoteFolder
from posegen.data.latent_cache import LatentCache
from posegen.data.shards import NoShardsError, Shard, open_shards, without
from posegen.devices import choose_device, computes_bfloat16
from posegen.errors import PosegenError, logger
from posegen.media.checksums import DamagedFileError, check_digests, checked_json, digests_of, read_checked_file
from posegen.media.files import output_errors, write_whole
from posegen.model.mini import VAE, build_mini, transformer_sizes
from posegen.model.sources import (
    NAMES,
    autoencoder_arguments,
    describe_model,
    downloads_of,
    image_tokens,
    load_pipeline,
    model_identity,
    transformer_arguments,
)
from posegen.progress import NullProgress, Progress
from posegen.train.autoencoding import AutoencoderStage
from posegen.train.checkpoint import Checkpoints, Origin
from posegen.train.diffusion import DiffusionStage, leaves_weights_unused
from posegen.train.distillation import DistillStage
from posegen.train.loop import MODEL, Loop
from posegen.train.memory import Memory, TransformerInputs, check_fits, estimate, estimate_autoencoder
from posegen.train.run_needs import bytes_of_clip, checkpoint_bytes, describe_disk, describe_hours, host_memory, lines
from posegen.train.stage import TrainStage
from posegen.train.stage_settings import STAGES, DistillSettings, StageName, StageSettings, VaeSettings
from posegen.train.train_recipe import Recipe

SCRATCH = "scratch:mini"
FINISHED = "finished.json"
"""File in a stage's folder once its model is whole: steps, hours, and the recipe's fingerprint."""
_PATIENCE = datetime.timedelta(hours=4)
"""Processes wait this long for each other: encoding a large data set takes its time."""


@dataclass(frozen=True)
class TrainingPaths:
    """Folders that a run reads and writes."""

    output: Path | None
    """None only for a dry run."""
    train: Path | RemoteFolder
    validation: Path | RemoteFolder
    cache: Path
    start: str | None = None
    """A model to start from, instead of the stage before or the recipe's."""

    @classmethod
    def of(cls, config: TrainConfig, recipe: Recipe) -> "TrainingPaths":
        """Take the paths of the command line, else those of the recipe."""
        data = recipe.data
        cache = config.cache or Path(data.cache)
        return cls(
            output=config.output,
            train=shard_folder(config.data or data.train, cache, data.fetched_gb),
            validation=shard_folder(config.validation or data.validation, cache, data.fetched_gb),
            cache=cache,
            start=config.init,
        )


def shard_folder(place: str, cache: Path, fetched_gb: float) -> Path | RemoteFolder:
    """Return a folder of shards, or for a URL one whose shards are fetched into the cache when they are needed."""
    return RemoteFolder(place, cache / "shards", 1e9 * fetched_gb) if "://" in place else Path(place)


def train(
    stage: StageName, recipe: Recipe, paths: TrainingPaths, progress: Progress | None = None, encode_only: bool = False
) -> Path:
    """Train one stage, or resume it, and return the folder of the exported model.

    `encode_only` stops when all clips are encoded, and returns the cache folder.

    Raises `PosegenError` for whatever the user can mend, before training where it can.
    """
    wanted, fingerprint = recipe.stage(stage).precision, recipe.fingerprint(stage)  # whatever this machine computes in
    recipe = recipe.computed_on(computes_bfloat16(choose_device("auto")))
    # autocast gives bfloat16 to norms with float32 weights: correct without the fused kernel, and no concern of a user
    warnings.filterwarnings("ignore", message="Mismatch dtype between input and weight", category=UserWarning)
    settings = recipe.stage(stage)
    accelerator = make_accelerator(settings)
    progress = (progress or NullProgress()) if accelerator.is_main_process else NullProgress()
    if settings.precision != wanted:
        progress.say("this processor has no instructions for bfloat16: training in float32, which is far faster here")
    if not accelerator.is_main_process:
        logging.getLogger("posegen").setLevel(logging.ERROR)
    if paths.output is None:
        raise PosegenError("training needs a folder to write to (output)")
    folder = paths.output / stage
    if _is_finished(folder, fingerprint):
        progress.say(f"{stage} is finished: {folder / MODEL}; delete {folder} to train it again")
        return folder / MODEL
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with _only_here(folder, accelerator.is_main_process):
        torch.manual_seed(settings.seed)  # of what builds new parameters; steps have generators of their own
        longest = max(phase.frames_of_clip for phase in settings.phases)
        shards = open_shards(paths.train, "train", longest)
        validation = open_shards(paths.validation, "val-same", longest)
        start = starting_model(stage, recipe, paths)
        shards, validation = (with_known_sizes(start, recipe, settings, each) for each in (shards, validation))
        memory = estimate_memory(stage, recipe, start, _largest(_sizes(shards)), accelerator.num_processes)
        check_fits(memory, accelerator.device, stage)
        work = make_stage(stage, recipe, paths, start, shards, validation)
        _prepare(work, accelerator, progress)
        if encode_only:
            return paths.cache
        origin = Origin(recipe.fingerprint(stage), model_identity(start), work.data_digest)
        checkpoints = Checkpoints(folder / "checkpoints", origin, settings.keep_checkpoints)
        if accelerator.is_main_process:
            checkpoints.clean()
        accelerator.wait_for_everyone()
        loop = Loop(work, settings, checkpoints, folder, accelerator, progress)
        try:
            loop.run()
        finally:
            loop.close()
        if accelerator.is_main_process:
            noted = {**loop.summary(), "recipe": fingerprint, "files": digests_of(folder / MODEL)}
            write_whole(folder / FINISHED, checked_json(noted))
        accelerator.wait_for_everyone()
    accelerator.end_training()
    return folder / MODEL


def _is_finished(folder: Path, fingerprint: str) -> bool:
    """Return whether the stage's model is there and undamaged; a damaged one is reported, and written again.

    Raises `PosegenError` if it was trained with another recipe. Runs of old versions recorded neither recipe nor files.
    """
    path = folder / FINISHED
    if not path.is_file():
        return False
    try:
        found = read_checked_file(path)
        if found.get("recipe", fingerprint) != fingerprint:
            raise PosegenError(
                f"{folder} was trained with another recipe: choose another --output, or delete it to train again"
            )
        check_digests(folder / MODEL, found.get("files", {}))
    except DamagedFileError as error:
        logger.warning("%s: the end of the stage is done again, from its last checkpoint", error)
        return False
    return True


def make_accelerator(settings: StageSettings) -> Accelerator:
    """Set up processes, devices and dtype; the launcher decides the number of processes."""
    AcceleratorState._reset_state()  # of another stage trained in this process, perhaps with another precision
    accelerator = Accelerator(
        mixed_precision="bf16" if settings.precision == "bf16" else "no",
        kwargs_handlers=[
            InitProcessGroupKwargs(timeout=_PATIENCE),
            DistributedDataParallelKwargs(find_unused_parameters=leaves_weights_unused(settings)),
        ],
    )
    for phase in settings.phases:
        if phase.batch_size % (accelerator.num_processes * settings.accumulate):
            raise PosegenError(
                f"batch_size {phase.batch_size} cannot be split over {accelerator.num_processes} processes with "
                f"accumulate = {settings.accumulate}"
            )
    return accelerator


class _only_here:  # noqa: N801
    """Refuses a second run in the same folder."""

    def __init__(self, folder: Path, main: bool) -> None:
        self.lock = FileLock(folder / ".lock") if main else None
        self.folder = folder

    def __enter__(self) -> None:
        try:
            if self.lock is not None:
                self.lock.acquire(timeout=0)
        except Timeout:
            raise PosegenError(
                f"another run trains in {self.folder}: wait for it, or choose another --output"
            ) from None

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            self.lock.release()


def starting_model(stage: StageName, recipe: Recipe, paths: TrainingPaths, must_exist: bool = True) -> str:
    """Return the model to start from: `--init`, the model of the nearest earlier stage, or the recipe's."""
    if paths.start is not None:
        return paths.start
    for earlier in reversed(STAGES[: STAGES.index(stage)]):
        if paths.output is not None and (finished := paths.output / earlier / FINISHED).is_file():
            folder = paths.output / earlier / MODEL
            if must_exist:
                check_digests(folder, read_checked_file(finished).get("files", {}))
            return str(folder)
        if must_exist and getattr(recipe, earlier) is not None and recipe.model.start == SCRATCH:
            raise PosegenError(
                f"{stage} needs the model of the stage {earlier}: train that first, or name one (--init)"
            )
    return recipe.model.start


def dry_run(
    stage: StageName,
    recipe: Recipe,
    paths: TrainingPaths,
    processes: int = 1,
    seconds_per_step: float | None = None,
) -> str:
    """Describe what a run would do and need, without data or weights, for planning on any machine.

    seconds_per_step: a measured rate, from which the hours are computed.
    What depends on clips or a model that are not there yet is reported as unknown.
    """
    settings = recipe.stage(stage)
    shapes = ", ".join(
        f"{phase.steps:,} steps of {phase.batch_size} x {phase.num_frames} frames" for phase in settings.phases
    )
    said = [f"recipe {recipe.name}, stage {stage}: {shapes}"]
    start = starting_model(stage, recipe, paths, must_exist=False)
    written = "" if paths.output is None else f"; writes {paths.output / stage / MODEL}"
    earlier = [name for name in STAGES[: STAGES.index(stage)] if getattr(recipe, name) is not None]
    needed = f"the model of the stage {earlier[-1]}, not trained yet" if start == SCRATCH and earlier else start
    said.append(f"starts from {needed}{written}")
    if paths.start is None and start != SCRATCH and start not in NAMES and not Path(start).is_dir():
        said.append(f"memory is unknown: {start} is not there yet; --init names another model")
        return "\n".join(said)
    if start != SCRATCH and (missing := downloads_of(start)):
        said.append(f"downloads {' and '.join(missing)}")
    said.append(describe_hours(settings, seconds_per_step))
    size, clips = _size_of_clips(stage, recipe, paths)
    if size is None:
        said.append(f"{clips}; memory and disk depend on it")
        return "\n".join(said)
    memory = estimate_memory(stage, recipe, start, size, processes)
    name = "mini" if start == SCRATCH else start
    description = describe_model(name)
    each = 0
    if not isinstance(settings, VaeSettings):
        each = bytes_of_clip(settings, description, _transformer_inputs(recipe, start, size))
    host = host_memory(description.weights_bytes, recipe.model.base_weights, memory, processes, recipe.data.encoders)
    checkpoint = checkpoint_bytes(settings, memory)
    said += lines(describe_disk(each, _count_clips(paths), checkpoint, settings.keep_checkpoints))
    said.append(f"host memory while loading, {processes} process(es) on one machine: about {host / 1e9:,.1f} GB")
    said.append(f"{clips}; on each of {processes} device(s), estimated:")
    return "\n".join([*said, memory.describe()])


def _count_clips(paths: TrainingPaths) -> int | None:
    """Count the clips to train and validate on; None while there are none to train on."""
    try:
        train_on = open_shards(paths.train, "train")
    except PosegenError:  # none, or out of reach: the run itself says so
        return None
    try:
        beside = open_shards(paths.validation, "val-same")
    except PosegenError:
        beside = []
    return sum(len(shard.samples) for shard in (*train_on, *beside))


def _size_of_clips(stage: StageName, recipe: Recipe, paths: TrainingPaths) -> tuple[tuple[int, int] | None, str]:
    """Return the (height, width) of the largest clips, or None while there are none, and all sizes in words."""
    sizes = set(recipe.data.sizes)
    if not sizes:
        try:
            sizes = _sizes(open_shards(paths.train, "train"))
        except NoShardsError:
            crops = [phase.crop for phase in recipe.stage(stage).phases]
            if not all(crops):
                return None, f"the size of clips is unknown: there are none in {paths.train} yet"
            return (max(crops), max(crops)), f"crops of at most {max(crops)} pixels (no clips in {paths.train} yet)"
    return _largest(sizes), f"clips of {sizes_in_words(sorted(sizes, reverse=True))} pixels"


def _sizes(shards: list[Shard]) -> set[tuple[int, int]]:
    return {sample.size for shard in shards for sample in shard.samples}


def _largest(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    """Return the size with the most pixels, whose batches need the most memory."""
    return max(sizes, key=lambda size: (size[0] * size[1], size))


def estimate_memory(stage: StageName, recipe: Recipe, start: str, size: tuple[int, int], processes: int) -> Memory:
    """Estimate the memory of a stage with clips of `size` (height, width) in pixels, on each of `processes` devices."""
    scratch, settings = start == SCRATCH, recipe.stage(stage)
    if isinstance(settings, VaeSettings):
        return estimate_autoencoder(settings, VAE if scratch else autoencoder_arguments(start), size, processes)
    return estimate(settings, recipe.model.base_weights, _transformer_inputs(recipe, start, size), processes)


def _transformer_inputs(recipe: Recipe, start: str, size: tuple[int, int]) -> TransformerInputs:
    scratch, model = start == SCRATCH, recipe.model
    name = "mini" if scratch else start
    description = describe_model(name)
    stride = description.spatial_stride
    return TransformerInputs(
        arguments=transformer_sizes(model.layers, model.heads) if scratch else transformer_arguments(name),
        latent_size=(size[0] // stride, size[1] // stride),
        text_tokens=description.max_text_tokens,
        image_tokens=image_tokens(name),
    )


def with_known_sizes(start: str, recipe: Recipe, settings: StageSettings, shards: list[Shard]) -> list[Shard]:
    """Return the shards without clips of sizes that the recipe excludes or the model does not accept.

    A few are named and left out. Raises `PosegenError` for more than 1 %.
    """
    multiple = 16 if start == SCRATCH else describe_model(start).size_multiple
    crop = max(phase.crop for phase in settings.phases)
    wanted = recipe.data.sizes
    kept = {
        size
        for size in _sizes(shards)
        if (not wanted or size in wanted) and not any(side % multiple for side in size) and crop <= min(size)
    }
    bad = [sample for shard in shards for sample in shard.samples if sample.size not in kept]
    if not bad:
        return shards
    named = {sample.key: f"{sample.key} ({sizes_in_words([sample.size])})" for sample in bad}
    rules = [
        f"{sizes_in_words(wanted)} pixels (height x width)" if wanted else "",
        f"multiples of {multiple} pixels",
        f"at least crop = {crop} pixels" if crop else "",
    ]
    return without(
        shards, named, f"clips in {bad[0].shard.parent}", f"this training takes {', '.join(filter(None, rules))}"
    )


def make_stage(
    stage: StageName, recipe: Recipe, paths: TrainingPaths, start: str, shards: list[Shard], validation: list[Shard]
) -> TrainStage:
    """Load the starting model and build the stage around it."""
    settings = recipe.stage(stage)
    if start == SCRATCH:
        captions = [sample.read("txt").decode("utf-8-sig", "replace") for shard in shards for sample in shard.samples]
        pipeline = build_mini(recipe.model.seed, captions, False, recipe.model.layers, recipe.model.heads)
    else:
        frozen = torch.float32 if recipe.model.base_weights == "fp32" else torch.bfloat16
        pipeline = load_pipeline(start, torch.device("cpu"), frozen)
    if isinstance(settings, VaeSettings):
        return AutoencoderStage(pipeline, settings, shards, validation)
    cache = LatentCache(paths.cache, pipeline, torch.bfloat16 if settings.precision == "bf16" else torch.float32)
    encoders = None
    if recipe.data.encoders > 1 and start != SCRATCH:
        encoders = Encoders(recipe.data.encoders, start, frozen)
    if isinstance(settings, DistillSettings):
        return DistillStage(pipeline, settings, recipe.model, shards, validation, cache, encoders)
    return DiffusionStage(pipeline, settings, recipe.model, shards, validation, cache, encoders)


def _prepare(work: TrainStage, accelerator: Accelerator, progress: Progress) -> None:
    began = time.monotonic()
    work.prepare(progress.update, accelerator.process_index, accelerator.num_processes, accelerator.device)
    accelerator.wait_for_everyone()
    work.ready()
    if time.monotonic() - began > 10:
        progress.say(f"data ready after {time.monotonic() - began:.0f} s")
