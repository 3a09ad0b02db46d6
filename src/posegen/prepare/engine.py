"""Runs stages over tasks on Ray Data: on this machine, or on a cluster by its address. It knows nothing of their work.

Packing shards and looking through videos run as tasks, stages with models as pools of actors that keep them loaded
(also looking through videos, if their clips are scored meanwhile).
Only rows of two short texts travel. A task whose worker dies is run again by Ray; what was kept is not computed again.
"""

import contextlib
import json
import logging
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import filelock
import psutil

from posegen.errors import PosegenError, logger
from posegen.prepare.stages.clip_stage import ClipStage, TaskRow
from posegen.prepare.stages.clip_stages import LookStage, ScoreStage
from posegen.prepare.stages.messages import VideoTask, from_text, to_text
from posegen.prepare.stages.stage_work import Work, tasks_of
from posegen.prepare.video_sources import Video

_OBJECT_STORE = 128 << 20
"""Bytes of Ray's object store: rows are short."""
_BLOCKS = 10_000
_TEMPORARY = "posegen-ray-"
_STAGES: dict[tuple[str, str], ClipStage] = {}
"""Stages of this worker process: tasks are stateless for Ray, and a stage has a process to keep."""


class Engine:
    """Ray, started or connected to; a context manager."""

    def __init__(self, address: str | None, workers: int) -> None:
        self._address, self._workers, self._folder = address, workers, ""

    def __enter__(self) -> "Engine":
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 would add to the user's own `nice`, and starve
        handler = signal.getsignal(signal.SIGTERM)
        import ray
        import ray.data

        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)  # Ray's own ends the process without a word
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            ensure_token()
            _remove_leftovers()
            self._folder = tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-")
            options |= {
                "num_cpus": self._workers or len(os.sched_getaffinity(0)),
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE,
                "_temp_dir": self._folder,
            }
        try:
            ray.init(address=self._address or "local", **options)
        except (ConnectionError, ValueError, RuntimeError, TimeoutError) as error:
            self._clean()
            place = self._address or "this machine"
            raise PosegenError(f"Ray cannot be used at {place}: {' '.join(str(error).split())[:300]}") from error
        resources = ray.cluster_resources()
        self.cpus, self.gpus = int(resources.get("CPU", 1)), int(resources.get("GPU", 0))
        if self._workers:
            self.cpus = min(self.cpus, self._workers)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.print_on_execution_start = False
        for name in ("ray.data", "ray"):
            logging.getLogger(name).setLevel(logging.ERROR)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import ray

        ray.shutdown()
        self._clean()

    def _clean(self) -> None:
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def device(self) -> str:
        """Device that models compute on."""
        return "cuda" if self.gpus else "cpu"

    def run(self, work: Work, stage: type[ClipStage], tasks: Sequence[Any], models: bool) -> Iterator[Any]:
        """Yield the results of a stage, in any order. Raises `PosegenError` for an error that stops the run."""
        if tasks:
            yield from _results(self._with(_dataset(tasks), work, stage, models, len(tasks)))

    def look_and_score(self, work: Work, videos: list[Video]) -> Iterator[Any]:
        """Yield the results of `ScoreStage` while videos are still looked through: GPUs do not wait for CPUs."""
        tasks = [VideoTask(video) for video in videos]
        if not tasks:
            return
        looked = self._with(_dataset(tasks), work, LookStage, False, len(tasks))
        found = looked.flat_map(_score_tasks, fn_args=(work,), num_cpus=0)
        spread = found.repartition(target_num_rows_per_block=1)
        yield from _results(self._with(spread, work, ScoreStage, True, len(tasks) * 1000))

    def _with(self, dataset: Any, work: Work, stage: type[ClipStage], models: bool, most: int) -> Any:
        from ray.data import ActorPoolStrategy, TaskPoolStrategy

        if not models:
            tasks = TaskPoolStrategy(self._workers or None)
            return dataset.map(_run_task, fn_args=(work, stage), compute=tasks, num_cpus=1)
        share = work.recipe.compute.actors_per_gpu
        actors = self.gpus * share if self.gpus else self.cpus
        resources = {"num_gpus": 1 / share, "num_cpus": 0} if self.gpus else {"num_cpus": 1}
        # Ray would begin with one actor and give it the first four tasks, minutes of work, while others wait for some
        pool = ActorPoolStrategy(size=max(1, min(actors, most)), max_tasks_in_flight_per_actor=1)
        return dataset.map(stage, fn_constructor_args=(work,), compute=pool, **resources)


def ensure_token() -> None:
    """Make the token by which the processes of a Ray of one's own know each other, where Ray would make it.

    Ray's own way is a race: of two that find none, the later one replaces the token with which the earlier one's
    processes have begun. Nothing is done where the environment names a token or wants none, as Ray documents it.
    Raises `PosegenError` where it cannot be written.
    """
    wanted = os.environ.get("RAY_AUTH_MODE", "token").lower() == "token"
    if not wanted or os.environ.get("RAY_AUTH_TOKEN") or os.environ.get("RAY_AUTH_TOKEN_PATH"):
        return
    path = Path.home() / ".ray" / "auth_token"
    try:
        if _holds_text(path):
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(path.with_name("auth_token.lock")):
            if not _holds_text(path):  # else another process has made it meanwhile
                part = path.with_name(f"auth_token.{secrets.token_hex(4)}.part")
                with open(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
                    file.write(secrets.token_hex(32))
                os.replace(part, path)
    except (OSError, NotImplementedError) as error:  # a file system without locks
        raise PosegenError(
            f"{path}: Ray's token cannot be kept there ({getattr(error, 'strerror', None) or error}): name a file "
            "that holds one in RAY_AUTH_TOKEN_PATH, or set RAY_AUTH_MODE=disabled to do without"
        ) from error


def _holds_text(path: Path) -> bool:
    return path.is_file() and bool(path.read_bytes().strip())


def _dataset(tasks: Sequence[Any]) -> Any:
    import ray.data

    rows = [{"task": to_text(task)} for task in tasks]
    return ray.data.from_items(rows, override_num_blocks=min(len(rows), _BLOCKS))


def _results(dataset: Any) -> Iterator[Any]:
    for row in dataset.iter_rows():
        if row.get("fatal"):
            raise PosegenError(row["fatal"])
        for damaged in json.loads(row["damaged"]):
            logger.warning("made again: %s", damaged)
        yield from_text(row["result"])


def _run_task(row: TaskRow, work: Work, stage: type[ClipStage]) -> TaskRow:
    """Run a stage as a task; its process is kept between the tasks of one worker."""
    key = (stage.__name__, f"{work.output.url} {work.recipe}")
    if key not in _STAGES:
        for other in _STAGES.values():
            other.close()
        _STAGES.clear()
        _STAGES[key] = stage(work)
    return _STAGES[key](row)


def _score_tasks(row: TaskRow, work: Work) -> list[TaskRow]:
    """Return the scoring tasks of a video that was looked through, as rows."""
    if row.get("fatal"):
        return [row]
    found = tasks_of(from_text(row["task"]).video, from_text(row["result"]))
    return [{"task": to_text(each)} for each in found]


def _remove_leftovers() -> None:
    """Remove temporary folders of runs that were killed."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(ValueError, OSError):
            if not psutil.pid_exists(int(folder.name.removeprefix(_TEMPORARY).split("-")[0])):
                shutil.rmtree(folder, ignore_errors=True)
                logger.info("removed %s, left by a run that was killed", folder)
