"""The server's jobs, their events and uploaded files, in one SQLite file that server and workers share.

It knows states and their order, not what a job does. Every change is one short transaction, so several processes may
use the same file; readers never wait (write-ahead log).
"""

import contextlib
import json
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posegen.errors import DiskFullError, PosegenError

FORMAT = 1
"""Version of the tables (SQLite's user_version)."""
MAX_ATTEMPTS = 3
"""Times that a job may end its worker process before it counts as failed."""
JobStatus = Literal["queued", "in_progress", "paused", "completed", "failed", "cancelled"]
JobKind = Literal["video", "preview"]
Wish = Literal["pause", "cancel", "delete"]
"""What a worker is asked to do with the job that it works on."""
OPEN: tuple[JobStatus, ...] = ("queued", "in_progress", "paused")
_TABLES = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, kind TEXT NOT NULL, status TEXT NOT NULL, wish TEXT, position REAL NOT NULL,
    fields TEXT NOT NULL, files TEXT NOT NULL, made REAL NOT NULL, started REAL, ended REAL,
    attempts INTEGER NOT NULL DEFAULT 0, worker TEXT, progress TEXT NOT NULL DEFAULT '{}', result TEXT, error TEXT);
CREATE INDEX IF NOT EXISTS queue ON jobs (status, kind, position);
CREATE INDEX IF NOT EXISTS by_time ON jobs (kind, made, id);
CREATE TABLE IF NOT EXISTS events (
    number INTEGER PRIMARY KEY AUTOINCREMENT, job TEXT NOT NULL, kind TEXT NOT NULL, data TEXT NOT NULL,
    moment REAL NOT NULL);
CREATE INDEX IF NOT EXISTS by_job ON events (job, number);
CREATE TABLE IF NOT EXISTS uploads (
    sha256 TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, file TEXT NOT NULL, bytes INTEGER NOT NULL,
    facts TEXT NOT NULL, used REAL NOT NULL, PRIMARY KEY (sha256, kind));
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, content TEXT NOT NULL);
"""


class WrongStatusError(PosegenError):
    """A job cannot do this in its present status."""


class QueueFullError(PosegenError):
    """As many jobs wait as the server takes."""


class UnknownJobError(PosegenError):
    """There is no such job."""


@dataclass(frozen=True)
class ServerJob:
    """A job of the server, as it is in the store.

    fields: the settings by their names in the API; files: SHA-256 of uploaded files by field; position: order in the
    queue; made, started, ended: seconds since 1970; attempts: times that it was begun without an end; progress: what
    the worker last reported; result, error: once there is one.
    """

    id: str
    kind: JobKind
    status: JobStatus
    wish: Wish | None
    position: float
    fields: dict[str, Any]
    files: dict[str, str]
    made: float
    started: float | None
    ended: float | None
    attempts: int
    worker: str | None
    progress: dict[str, Any]
    result: dict[str, Any] | None
    error: dict[str, Any] | None


@dataclass(frozen=True)
class JobEvent:
    """Something that happened to a job: `kind` and `data` are those of the API's events."""

    number: int
    job: str
    kind: str
    data: dict[str, Any]
    moment: float


@dataclass(frozen=True)
class StoredUpload:
    """An uploaded file: name as it was sent, `file` its path in the store's folder, facts what was found in it."""

    sha256: str
    kind: str
    name: str
    file: str
    bytes: int
    facts: dict[str, Any]
    used: float


class JobStore:
    """The database in `folder`. Any thread may call it; each has a connection of its own."""

    def __init__(self, folder: Path) -> None:
        """Open or make it. Raises `PosegenError` for a damaged file or one of a newer posegen."""
        self.folder, self.path = folder, folder / "jobs.sqlite"
        self._local = threading.local()
        self._opened: list[sqlite3.Connection] = []
        with self._changing() as database:
            version = int(database.execute("PRAGMA user_version").fetchone()[0])
            if version > FORMAT:
                raise PosegenError(
                    f"{self.path} was made by a newer posegen: update posegen, or choose another --folder"
                )
            for statement in _TABLES.split(";"):
                database.execute(statement)
            database.execute(f"PRAGMA user_version = {FORMAT}")

    # -- jobs ----------------------------------------------------------------------------------------------------------

    def add(self, kind: JobKind, fields: dict[str, Any], files: dict[str, str], most: int) -> ServerJob:
        """Put a job at the end of the queue. Raises `QueueFullError` where `most` jobs wait already."""
        name = f"{kind}_{secrets.token_hex(12)}"
        with self._changing() as database:
            waiting = database.execute(
                "SELECT COUNT(*) FROM jobs WHERE status IN ('queued', 'in_progress', 'paused')"
            ).fetchone()[0]
            if waiting >= most:
                raise QueueFullError(f"{waiting} jobs are waiting, as many as the server takes: try again later")
            database.execute(
                "INSERT INTO jobs (id, kind, status, position, fields, files, made) SELECT ?, ?, 'queued', "
                "COALESCE(MAX(position), 0) + 1, ?, ?, ? FROM jobs",
                (name, kind, json.dumps(fields), json.dumps(files), time.time()),
            )
            self._tell(database, name, "status", {"status": "queued"})
        return self.job(name)

    def job(self, name: str, kind: JobKind | None = None) -> ServerJob:
        """Return a job. Raises `UnknownJobError`."""
        row = self._database.execute("SELECT * FROM jobs WHERE id = ?", (name,)).fetchone()
        if row is None or (kind is not None and row["kind"] != kind):
            raise UnknownJobError(f"there is no {kind or 'job'} {name:.80}: it was deleted, or never made")
        return _job(row)

    def jobs(
        self, kind: JobKind, limit: int = 100, after: str | None = None, oldest_first: bool = False
    ) -> list[ServerJob]:
        """Return jobs by time, at most `limit`, those that come after the job `after`. Raises `UnknownJobError`."""
        order, beyond = ("ASC", ">") if oldest_first else ("DESC", "<")
        where, values = "kind = ?", [kind]
        if after is not None:
            last = self.job(after, kind)
            where += f" AND (made, id) {beyond} (?, ?)"
            values += [last.made, last.id]  # type: ignore[list-item]
        rows = self._database.execute(
            f"SELECT * FROM jobs WHERE {where} ORDER BY made {order}, id {order} LIMIT ?", (*values, limit)
        )
        return [_job(row) for row in rows]

    def places(self) -> dict[str, int]:
        """Return for each queued video how many videos will be begun before it."""
        rows = self._database.execute(
            "SELECT id FROM jobs WHERE status = 'queued' AND kind = 'video' ORDER BY position"
        )
        return {row["id"]: number for number, row in enumerate(rows)}

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many jobs there are of each kind and status."""
        rows = self._database.execute("SELECT kind, status, COUNT(*) AS number FROM jobs GROUP BY kind, status")
        return {(row["kind"], row["status"]): row["number"] for row in rows}

    def claim(self, kind: JobKind, worker: str) -> ServerJob | None:
        """Take the first job of the queue for a worker; None if none waits."""
        if not self._database.execute(
            "SELECT 1 FROM jobs WHERE status = 'queued' AND kind = ? LIMIT 1", (kind,)
        ).fetchone():
            return None
        with self._changing() as database:
            row = database.execute(
                "UPDATE jobs SET status = 'in_progress', worker = ?, attempts = attempts + 1, started = ?, "
                "wish = NULL, progress = '{}' WHERE id = (SELECT id FROM jobs WHERE status = 'queued' AND kind = ? "
                "ORDER BY position LIMIT 1) RETURNING *",
                (worker, time.time(), kind),
            ).fetchone()
            if row is not None:
                self._tell(database, row["id"], "status", {"status": "in_progress"})
        return None if row is None else _job(row)

    def report(self, name: str, progress: dict[str, Any]) -> Wish | None:
        """Keep how far a job is; return what is wished of it."""
        with self._changing() as database:
            row = database.execute(
                "UPDATE jobs SET progress = ? WHERE id = ? RETURNING wish", (json.dumps(progress), name)
            ).fetchone()
        return None if row is None else row["wish"]

    def tell(self, name: str, kind: str, data: dict[str, Any]) -> None:
        """Add an event to a job."""
        with self._changing() as database:
            self._tell(database, name, kind, data)

    def end(
        self,
        name: str,
        status: JobStatus,
        result: dict[str, Any] | None = None,
        error: dict[str, Any] | None = None,
    ) -> None:
        """Take a job from its worker: it is done, has failed, was stopped, or waits again (with its turn kept)."""
        over = status in ("completed", "failed", "cancelled")
        with self._changing() as database:
            database.execute(
                "UPDATE jobs SET status = ?, wish = NULL, worker = NULL, ended = ?, result = COALESCE(?, result), "
                "error = ?, attempts = CASE WHEN ? THEN 0 ELSE attempts END WHERE id = ?",
                (status, time.time() if over else None, _dumped(result), _dumped(error), status != "queued", name),
            )
            self._tell(database, name, "status", {"status": status, **({"error": error} if error else {})})

    def hand_back(self, worker: str, death: str | None = None) -> list[str]:
        """Queue what a worker was doing when it ended: by itself, or (`death`: how) unexpectedly. Returns their ids.

        A job whose worker has died `MAX_ATTEMPTS` times fails.
        """
        rows = self._database.execute(
            "SELECT id, attempts, wish FROM jobs WHERE status = 'in_progress' AND worker = ?", (worker,)
        ).fetchall()
        for row in rows:
            if row["wish"] is not None:
                self.end(row["id"], "paused" if row["wish"] == "pause" else "cancelled")
                if row["wish"] == "delete":
                    self.delete(row["id"])
            elif death is not None and row["attempts"] >= MAX_ATTEMPTS:
                message = (
                    f"the process that worked on it ended {row['attempts']} times ({death}): a smaller size needs less "
                    "memory; retry resumes it"
                )
                self.end(row["id"], "failed", error={"message": message, "field": None, "code": "worker_died"})
            else:
                if death is None:
                    with self._changing() as database:
                        database.execute("UPDATE jobs SET attempts = attempts - 1 WHERE id = ?", (row["id"],))
                else:
                    self.tell(row["id"], "warning", {"text": f"the worker process ended ({death}): the job resumes"})
                self.end(row["id"], "queued")
        return [row["id"] for row in rows]

    def hand_back_all(self) -> None:
        """Queue everything that is in progress: what a server that was killed has left, whatever its workers' names."""
        rows = self._database.execute("SELECT DISTINCT worker FROM jobs WHERE status = 'in_progress'").fetchall()
        for row in rows:
            self.hand_back(row["worker"])

    # -- what users do -------------------------------------------------------------------------------------------------

    def pause(self, name: str) -> ServerJob:
        """Pause a job that waits, or have its worker stop. Raises `WrongStatusError`."""
        return self._change(name, {"queued": "paused"}, "pause", "paused")

    def cancel(self, name: str) -> ServerJob:
        """Cancel a job, or have its worker stop. Raises `WrongStatusError`."""
        return self._change(name, {"queued": "cancelled", "paused": "cancelled"}, "cancel", "cancelled")

    def resume(self, name: str) -> ServerJob:
        """Queue a paused job again; it keeps its place in the order. Raises `WrongStatusError`."""
        return self._change(name, {"paused": "queued"}, None, "resumed")

    def retry(self, name: str) -> ServerJob:
        """Queue a job that failed or was cancelled; finished segments are kept. Raises `WrongStatusError`."""
        return self._change(name, {"failed": "queued", "cancelled": "queued"}, None, "tried again")

    def move(self, name: str, before: str | None) -> ServerJob:
        """Move a queued job before another queued one, or (None) to the end. Raises `WrongStatusError`."""
        with self._changing() as database:
            queue = database.execute("SELECT id, position FROM jobs WHERE status = 'queued' ORDER BY position")
            positions = {row["id"]: row["position"] for row in queue}
            for each in (name, before):
                if each is not None and each not in positions:
                    raise WrongStatusError(f"{each:.80} does not wait in the queue: only queued jobs can be moved")
            if before is None:
                new = max(positions.values()) + 1
            else:
                others = [place for each, place in positions.items() if each != name and place < positions[before]]
                new = (max(others) + positions[before]) / 2 if others else positions[before] - 1
            if before != name:
                database.execute("UPDATE jobs SET position = ? WHERE id = ?", (new, name))
        return self.job(name)

    def delete(self, name: str) -> bool:
        """Remove a job; False where its worker has to stop first (then it goes with `end`)."""
        with self._changing() as database:
            row = database.execute("SELECT status FROM jobs WHERE id = ?", (name,)).fetchone()
            if row is not None and row["status"] == "in_progress":
                database.execute("UPDATE jobs SET wish = 'delete' WHERE id = ?", (name,))
                return False
            database.execute("DELETE FROM jobs WHERE id = ?", (name,))
            database.execute("DELETE FROM events WHERE job = ?", (name,))
        return True

    def _change(self, name: str, changes: dict[JobStatus, JobStatus], wish: Wish | None, done: str) -> ServerJob:
        with self._changing() as database:
            row = database.execute("SELECT status FROM jobs WHERE id = ?", (name,)).fetchone()
            if row is None:
                raise UnknownJobError(f"there is no job {name:.80}: it was deleted, or never made")
            status = row["status"]
            if status in changes:
                database.execute(
                    "UPDATE jobs SET status = ?, wish = NULL, error = NULL, ended = ? WHERE id = ?",
                    (changes[status], time.time() if changes[status] == "cancelled" else None, name),
                )
                self._tell(database, name, "status", {"status": changes[status]})
            elif status == "in_progress" and wish is not None:
                database.execute("UPDATE jobs SET wish = ? WHERE id = ?", (wish, name))
            else:
                fitting = [*changes, *(["in_progress"] if wish else [])]
                raise WrongStatusError(f"{name} is {status}: only jobs that are {' or '.join(fitting)} can be {done}")
        return self.job(name)

    # -- events --------------------------------------------------------------------------------------------------------

    def events(self, name: str, after: int = 0, limit: int = 1000) -> list[JobEvent]:
        """Return a job's events in order, those with a number above `after`."""
        rows = self._database.execute(
            "SELECT * FROM events WHERE job = ? AND number > ? ORDER BY number LIMIT ?", (name, after, limit)
        )
        return [
            JobEvent(row["number"], row["job"], row["kind"], json.loads(row["data"]), row["moment"]) for row in rows
        ]

    def _tell(self, database: sqlite3.Connection, name: str, kind: str, data: dict[str, Any]) -> None:
        database.execute(
            "INSERT INTO events (job, kind, data, moment) VALUES (?, ?, ?, ?)",
            (name, kind, json.dumps(data), time.time()),
        )

    # -- uploads -------------------------------------------------------------------------------------------------------

    def keep_upload(self, upload: StoredUpload) -> None:
        """Remember an uploaded file, or that it was used again."""
        with self._changing() as database:
            database.execute(
                "INSERT INTO uploads VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = excluded.used",
                (
                    upload.sha256,
                    upload.kind,
                    upload.name,
                    upload.file,
                    upload.bytes,
                    json.dumps(upload.facts),
                    upload.used,
                ),
            )

    def uploads(self) -> list[StoredUpload]:
        """Return all uploaded files, those used longest ago first."""
        return [_upload(row) for row in self._database.execute("SELECT * FROM uploads ORDER BY used")]

    def upload(self, sha256: str, kind: str | None = None) -> StoredUpload | None:
        """Return an uploaded file, of one kind or any; None if it is not there."""
        rows = self._database.execute("SELECT * FROM uploads WHERE sha256 = ?", (sha256,)).fetchall()
        return next((_upload(row) for row in rows if kind in (None, row["kind"])), None)

    def forget_upload(self, sha256: str) -> bool:
        """Forget an uploaded file, unless a job uses it. Returns whether it was forgotten."""
        with self._changing() as database:
            if sha256 in self._used_files(database):
                return False
            database.execute("DELETE FROM uploads WHERE sha256 = ?", (sha256,))
        return True

    def used_files(self) -> set[str]:
        """Return the SHA-256 of all files that jobs use."""
        return self._used_files(self._database)

    def _used_files(self, database: sqlite3.Connection) -> set[str]:
        return {
            each for row in database.execute("SELECT files FROM jobs") for each in json.loads(row["files"]).values()
        }

    # -- notes ---------------------------------------------------------------------------------------------------------

    def note(self, name: str) -> Any:
        """Return what was noted under a name, a JSON value; None if nothing was."""
        row = self._database.execute("SELECT content FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row["content"])

    def keep_note(self, name: str, content: Any) -> None:
        """Note a JSON value under a name."""
        with self._changing() as database:
            database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(content)))

    # -- database ------------------------------------------------------------------------------------------------------

    @property
    def _database(self) -> sqlite3.Connection:
        """This thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
            found.row_factory = sqlite3.Row
            found.execute("PRAGMA journal_mode = WAL")
            found.execute("PRAGMA synchronous = NORMAL")  # a power failure may lose the last moments, not the file
            self._local.connection = found
            self._opened.append(found)
        return found

    @contextlib.contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction. Raises `DiskFullError`, and `PosegenError` for a file that is no database."""
        try:
            database = self._database
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            if "full" in str(error):
                raise DiskFullError(f"{self.path}: the disk is full; free some space") from error
            raise PosegenError(f"{self.path}: cannot be used ({error})") from error

    def close(self) -> None:
        """Close all connections."""
        for connection in self._opened:
            connection.close()
        self._opened.clear()


def _dumped(content: dict[str, Any] | None) -> str | None:
    return None if content is None else json.dumps(content)


def _job(row: sqlite3.Row) -> ServerJob:
    values = dict(row)
    for name in ("fields", "files", "progress", "result", "error"):
        values[name] = None if values[name] is None else json.loads(values[name])
    values["position"] = float(values["position"])  # SQLite's RETURNING gives whole numbers for such floats
    return ServerJob(**values)


def _upload(row: sqlite3.Row) -> StoredUpload:
    return StoredUpload(**{**dict(row), "facts": json.loads(row["facts"])})


def job_place(folder: Path, name: str) -> Path:
    """Return the folder of a job's files in the server's folder."""
    return folder / "jobs" / name
