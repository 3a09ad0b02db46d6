"""Starts the server's worker processes, starts each again when it dies, and stops them with the server."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from posegen.config import ServeConfig
from posegen.errors import PosegenError, logger
from posegen.serve.job_store import JobKind, JobStore

_LOOK = 0.1
"""Seconds between two looks at the processes."""
_SOON, _LONGEST_PAUSE = 10.0, 60.0
"""A process that dies within so many seconds is started again after a pause, which doubles up to a maximum."""
_LONGEST_LOG = 10 << 20
"""Bytes of a worker's log at which it begins anew."""
NICENESS = 10
"""Of the process for previews, so that it does not slow down the one that makes videos."""


@dataclass
class _Process:
    """One worker: what it is for, and its process, if there is one."""

    name: str
    kind: JobKind
    device: str
    process: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    pause: float = 0.0
    restarts: int = 0


class WorkerProcesses:
    """A worker for videos on each device, and one for previews."""

    def __init__(self, config: ServeConfig, store: JobStore) -> None:
        self.config, self.store = config, store
        self._stopping = threading.Event()
        self._workers = [_Process(f"video-{device}", "video", device) for device in config.devices]
        self._workers.append(_Process("preview", "preview", config.devices[0]))
        self._thread = threading.Thread(target=self._watch, name="workers", daemon=True)

    def start(self) -> None:
        """Start all of them."""
        for worker in self._workers:
            self._start(worker)
        self._thread.start()

    def states(self) -> dict[str, dict[str, Any]]:
        """Return whether each worker runs, its process id, and how often it was started again."""
        return {
            worker.name: {
                "running": (running := worker.process is not None and worker.process.poll() is None),
                "pid": worker.process.pid if running and worker.process is not None else None,
                "restarts": worker.restarts,
            }
            for worker in self._workers
        }

    def stop(self) -> None:
        """Stop them: each at its next step, or by force after the time that the settings give it."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()
        processes = [worker.process for worker in self._workers if worker.process is not None]
        for process in processes:
            process.terminate()
        deadline = time.monotonic() + self.config.patience
        for process in processes:
            try:
                process.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for worker in self._workers:
            self._close(worker)
            self.store.hand_back(worker.name)

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK):
            for worker in self._workers:
                try:
                    self._look(worker)
                except (PosegenError, OSError) as error:  # a full disk, no memory for a process: try again later
                    worker.began, worker.pause = time.monotonic(), _LONGEST_PAUSE / 6
                    logger.warning("worker %s cannot be started (%s): tried again soon", worker.name, error)

    def _look(self, worker: _Process) -> None:
        process = worker.process
        if process is not None and process.poll() is None:
            return
        if process is not None:
            self._died(worker, process.returncode)
        if time.monotonic() >= worker.began + worker.pause:
            self._start(worker)

    def _died(self, worker: _Process, code: int) -> None:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        self._close(worker)
        soon = time.monotonic() - worker.began < _SOON
        worker.pause = min(_LONGEST_PAUSE, max(1.0, 2 * worker.pause)) if soon else 0.0
        worker.began, worker.restarts = time.monotonic(), worker.restarts + 1
        jobs = self.store.hand_back(worker.name, how)
        logger.warning(
            "worker %s ended (%s)%s: it is started again; see %s",
            worker.name,
            how,
            f" during {', '.join(jobs)}" if jobs else "",
            self._log_path(worker),
        )

    def _start(self, worker: _Process) -> None:
        settings = {
            name: str(value) if isinstance(value, Path) else value for name, value in asdict(self.config).items()
        }
        environment = {name: value for name, value in os.environ.items() if name != "POSEGEN_NAMES_SETTINGS_AS_OPTIONS"}
        with self._log(worker) as log:
            worker.process = subprocess.Popen(
                [sys.executable, "-m", "posegen.serve.job_worker"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,  # Ctrl-C in the terminal is for the server, which then stops its workers
            )
        given = {
            "config": settings,
            "kind": worker.kind,
            "device": worker.device,
            "name": worker.name,
            "nice": NICENESS if worker.kind == "preview" else 0,
        }
        worker.began = time.monotonic()
        pipe = worker.process.stdin
        if pipe is not None:
            with contextlib.suppress(OSError):  # it has died already
                pipe.write(json.dumps(given).encode() + b"\n")
                pipe.flush()

    def _close(self, worker: _Process) -> None:
        if worker.process is not None and worker.process.stdin is not None:
            with contextlib.suppress(OSError):
                worker.process.stdin.close()
        worker.process = None

    def _log_path(self, worker: _Process) -> Path:
        return self.config.folder / "logs" / f"{worker.name.replace(':', '-')}.log"

    def _log(self, worker: _Process) -> IO[bytes]:
        path = self._log_path(worker)
        path.parent.mkdir(exist_ok=True)
        anew = path.is_file() and path.stat().st_size > _LONGEST_LOG
        return path.open("wb" if anew else "ab")
