"""`posegen serve`: the job server, from its folder's lock to its last worker.

One server at a time uses a folder. What was in progress when it ended, however it ended, is queued again and resumes.
"""

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import replace

import filelock

from posegen.config import ServeConfig, parse_amount
from posegen.errors import OutputError
from posegen.media.files import check_writable
from posegen.progress import Progress
from posegen.serve.gate import Gate
from posegen.serve.job_api import make_api
from posegen.serve.job_service import JobService
from posegen.serve.job_store import JobStore
from posegen.serve.web_server import WebServer
from posegen.serve.worker_processes import WorkerProcesses

CHANGES = ("application/json", "multipart/form-data", "")
"""Content types of requests that change something; browsers name the origin of each."""


def serve(config: ServeConfig, progress: Progress) -> None:
    """Serve until interrupted."""
    with job_server(config) as (server, gate, workers):
        workers.start()
        progress.say(f"page and API at {gate.address} ; Ctrl-C ends")
        if (exposure := gate.exposure()) is not None:
            progress.say(exposure)
        progress.say(f"jobs and videos are kept in {config.folder}; the same command resumes them")
        server.serve_forever()


@contextlib.contextmanager
def job_server(config: ServeConfig) -> Iterator[tuple[WebServer, Gate, WorkerProcesses]]:
    """Open the folder, listen, and stop everything at the end. Raises `PosegenError`.

    Neither answers requests nor starts workers: that is up to the caller.
    """
    config = replace(config, folder=config.folder.resolve())
    check_writable(config.folder, "choose another --folder")
    lock = filelock.FileLock(config.folder / "server.lock")
    try:
        lock.acquire(timeout=0.5)
    except filelock.Timeout:
        raise OutputError(f"another posegen server uses {config.folder}: stop it, or choose another --folder") from None
    with lock, contextlib.ExitStack() as stack:
        for name in ("jobs", "uploads", "logs", "temporary"):
            (config.folder / name).mkdir(exist_ok=True)
        for path in (config.folder / "temporary").iterdir():
            path.unlink(missing_ok=True)
        before, tempfile.tempdir = tempfile.tempdir, str(config.folder / "temporary")
        stack.callback(setattr, tempfile, "tempdir", before)  # files that are being sent count for the folder's limit
        store = JobStore(config.folder)
        stack.callback(store.close)
        store.hand_back_all()
        service = JobService(config, store)
        workers = WorkerProcesses(config, store)
        gate = Gate(config.host, config.token, config.names, CHANGES)
        stops = [False]
        largest = parse_amount(config.max_upload, "--max-upload") + (1 << 20)
        server = WebServer(
            make_api(service, workers, lambda: stops[0] or server.stopping), gate, config.host, config.port, largest
        )
        stack.callback(server.close)
        service.housekeeping.start()
        stack.callback(service.housekeeping.stop)
        stack.callback(workers.stop)
        try:
            yield server, gate, workers
        finally:
            stops[0] = True
