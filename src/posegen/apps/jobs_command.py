"""`posegen jobs`: lists the jobs kept in a folder, and removes them.

It needs no model, so it is separate from the other commands. It asks and prints; `generate/job/kept_jobs.py` finds and
removes jobs.
"""

import sys
from datetime import UTC, datetime, timedelta

from rich.console import Console
from rich.table import Table

from posegen.config import JobsConfig
from posegen.errors import OutputError, PosegenError
from posegen.generate.job.kept_jobs import KeptJob, list_jobs, remove_job
from posegen.media.files import readable_size

_COLUMNS = ("result", "job", "made", "segments", "size", "state")


def jobs(config: JobsConfig) -> None:
    """List the jobs, or remove those that were asked for."""
    found = list_jobs(config.folder)
    if config.older_than is not None:
        limit = datetime.now(UTC) - timedelta(days=config.older_than)
        found = [job for job in found if job.changed < limit]
    if config.clean is None:
        _show(found, config)
    else:
        _clean([job for job in found if config.clean == "all" or job.state in (config.clean, "running")], config)


def _show(found: list[KeptJob], config: JobsConfig) -> None:
    if not found:
        print(f"no jobs in {config.folder} (they are kept in *.posegen folders beside the results)")
        return
    rows = [_row(job) for job in found]
    console = Console(markup=False, highlight=False)
    if console.is_terminal:
        table = Table(*_COLUMNS)
        for row in rows:
            table.add_row(*row)
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(_COLUMNS, *rows, strict=True)]
    for row in [_COLUMNS, *rows]:
        print("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def _row(job: KeptJob) -> tuple[str, ...]:
    total = "?" if job.segments is None else job.segments
    made = job.made.astimezone().strftime("%Y-%m-%d %H:%M")
    name = job.folder.name.removeprefix("job-")
    return job.output, name, made, f"{job.finished}/{total}", readable_size(job.size), job.state


def _clean(chosen: list[KeptJob], config: JobsConfig) -> None:
    for job in chosen:
        if job.state == "running":
            print(f"{job.folder} is running: it stays")
    removed = [job for job in chosen if job.state != "running"]
    if not removed:
        print("there is nothing to remove")
        return
    for job in removed:
        print("  ".join(_row(job)))
    what = (
        f"{len(removed)} {'job' if len(removed) == 1 else 'jobs'} ({readable_size(sum(job.size for job in removed))})"
    )
    if not config.yes and not _agreed(f"remove {what}, and conditions that no other job uses? [y/N] "):
        print("nothing was removed")
        return
    freed, failures = 0, []
    for job in removed:
        try:
            freed += remove_job(job)
        except OutputError as error:
            failures.append(str(error))
    print(f"{readable_size(freed)} freed")
    if failures:
        raise OutputError("; ".join(failures))


def _agreed(question: str) -> bool:
    if not sys.stdin.isatty():
        raise PosegenError("there is no terminal to ask on: add --yes to remove these jobs")
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False
