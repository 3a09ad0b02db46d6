"""The server's counts in the text format of Prometheus."""

from collections.abc import Iterable, Mapping
from typing import Any, get_args

from posegen.serve.job_service import JobService
from posegen.serve.job_store import JobKind, JobStatus


def metrics_text(service: JobService, workers: Mapping[str, Mapping[str, Any]]) -> str:
    """Return all counts; names end in their unit."""
    counts = service.store.counts()
    jobs = [
        (f'{{kind="{kind}",status="{status}"}}', counts.get((kind, status), 0))
        for kind in get_args(JobKind)
        for status in get_args(JobStatus)
    ]
    uploads = service.store.uploads()
    house = service.housekeeping
    return "".join(
        [
            *_metric("posegen_jobs", "gauge", "Jobs by kind and status.", jobs),
            *_metric("posegen_workers_running", "gauge", "1 if the worker process runs.",
                     [(_worker(name), int(state["running"])) for name, state in workers.items()]),
            *_metric("posegen_worker_restarts_total", "counter", "Times that a worker died and was started again.",
                     [(_worker(name), state["restarts"]) for name, state in workers.items()]),
            *_metric("posegen_uploads", "gauge", "Uploaded files that are kept.", [("", len(uploads))]),
            *_metric("posegen_upload_bytes", "gauge", "Their size.", [("", sum(each.bytes for each in uploads))]),
            *_metric("posegen_disk_bytes", "gauge", "Size of the server's folder.", [("", house.used)]),
            *_metric("posegen_disk_limit_bytes", "gauge", "Its limit.", [("", house.limit)]),
        ]
    )  # fmt: skip  # a table, read in rows


def _worker(name: str) -> str:
    escaped = name.replace("\\", "\\\\").replace('"', '\\"')
    return f'{{worker="{escaped}"}}'


def _metric(name: str, kind: str, text: str, values: Iterable[tuple[str, int]]) -> list[str]:
    return [
        f"# HELP {name} {text}\n",
        f"# TYPE {name} {kind}\n",
        *(f"{name}{labels} {value}\n" for labels, value in values),
    ]
