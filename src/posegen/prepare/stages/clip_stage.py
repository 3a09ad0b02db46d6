"""The base of all stages that run on workers: attempts, failures, and errors that stop the run.

A clip is worked on in an isolated process; a clip that ends it is tried again, then recorded. Only rows of short texts
travel between workers: {"task": ..., "result": ...}, or {"fatal": ...} that stops the run.
"""

import functools
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from posegen.errors import OutputError, PosegenError
from posegen.prepare.isolated import CrashError, Isolated, SetupError, UnreachableWorkerError
from posegen.prepare.stages.messages import Call, Failure, from_text, to_text
from posegen.prepare.stages.stage_work import WHOLE_VIDEO, Work
from posegen.prepare.stages.worker_calls import make_in_worker
from posegen.prepare.store import take_damaged
from posegen.prepare.video_sources import Video, local_copy

Result = TypeVar("Result")
TaskRow = dict[str, str]
"""A row of Ray Data: "task" and "result" are messages as text, "damaged" a list in JSON, "fatal" a line of text."""


class ClipStage:
    """A stage: does tasks one after the other, with an isolated process of its own."""

    models: Literal["none", "scorer", "maker", "encoder"] = "none"
    """Models that the process loads when it starts."""

    def __init__(self, work: Work) -> None:
        self.work = work
        compute = work.recipe.compute
        # loaded in float32, they take twice what bfloat16 takes on the disk
        memory = compute.memory_gb * 1e9 + 2 * self.weights_bytes(work)
        self._child = Isolated(functools.partial(make_in_worker, work, self.models), compute.timeout, memory)

    def __call__(self, row: TaskRow) -> TaskRow:
        """Do the task of a row and return its result as a row.

        An error of writing, or one that concerns every clip, becomes "fatal"; failures of single clips are results.
        """
        if row.get("fatal"):  # of the stage before
            return row
        try:
            result = to_text(self.run(from_text(row["task"])))
            return {"task": row["task"], "result": result, "damaged": json.dumps(take_damaged())}
        except (OutputError, SetupError) as error:
            return {"task": row["task"], "fatal": str(error)}

    def run(self, task: Any) -> Any:
        """Do one task: the stage itself. Raises `OutputError`, `SetupError`."""
        raise NotImplementedError

    def weights_bytes(self, work: Work) -> int:
        """Return the bytes on the disk of the stage's models."""
        return 0

    def call(self, call: Call[Result], whole_video: bool = False) -> Result:
        """Make one attempt. Raises what the isolated process raises, see `Isolated`."""
        result: Result = self._child(call, WHOLE_VIDEO if whole_video else 1)
        return result

    def isolated(self, call: Call[Result], whole_video: bool = False) -> Result | Failure:
        """Make a call until it succeeds or the recipe's attempts are used up; return its result, or the failure.

        Raises `OutputError`, `SetupError`.
        """
        reason = ""
        for _ in range(self.work.recipe.compute.attempts):
            try:
                return self.call(call, whole_video)
            except (OutputError, SetupError):
                raise
            except CrashError as error:
                reason = f"{error}, {self.work.recipe.compute.attempts} times"
            except UnreachableWorkerError as error:
                return Failure(str(error), again=True)
            except PosegenError as error:
                return Failure(str(error))
            except RuntimeError as error:  # a defect, or no memory on a GPU: not known to be the clip's fault
                return Failure("unexpected: " + str(error).strip().splitlines()[-1], again=True)
        return Failure(reason, limits=self._limits())

    def is_open(self, found: Any) -> bool:
        """Return whether a task is still to be done: nothing is kept of it, or a failure that is to be tried again."""
        if not isinstance(found, Failure):
            return found is None
        return found.again or any(limit > found.limits.get(name, limit) for name, limit in self._limits().items())

    def _limits(self) -> dict[str, float]:
        """Return the recipe's limits that a clip may run into."""
        compute = self.work.recipe.compute
        return {"timeout": float(compute.timeout), "memory_gb": float(compute.memory_gb)}

    def close(self) -> None:
        """End the process."""
        self._child.close()


class FetchedVideo:
    """`local_copy` that gives the reason why there is none instead of raising."""

    def __init__(self, video: Video, work: Work) -> None:
        self._copy: Any = local_copy(video, work.recipe.compute.scratch_gb * 1e9)

    def __enter__(self) -> Path | Failure:
        try:
            path: Path = self._copy.__enter__()
        except OutputError:
            raise
        except PosegenError as error:
            self._copy = None
            return Failure(str(error), again=True)
        return path

    def __exit__(self, *error: Any) -> None:
        if self._copy is not None:
            self._copy.__exit__(*error)


def without_path(found: Result | Failure, path: Path, video: Video) -> Result | Failure:
    """Return the same with a failure's reason that names the video, not a temporary copy of it."""
    if isinstance(found, Failure):
        return replace(found, failed=found.failed.replace(f"{path}: ", "").replace(str(path), video.url))
    return found


def run_here(stage: type[ClipStage], work: Work, tasks: Iterator[Any]) -> Iterator[TaskRow]:
    """Do tasks one after the other in this process, for tests and measurements."""
    worker = stage(work)
    try:
        for task in tasks:
            yield worker({"task": to_text(task)})
    finally:
        worker.close()
