"""Answers of people about clips: keep, drop or neither, and tags, in one SQLite file beside the data set, with undo.

Every answer is a row; the latest of a clip counts, so taking the latest row away undoes it. The page is
in `serve/screening.py`; the effect of an answer is decided in `verdicts.py`.
"""

import datetime
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posegen.errors import OutputError, PosegenError

FILE = "screening.sqlite"
"""Name of the file, in the folder of the data set."""
_LONGEST_TAG = 60
_TABLE = """CREATE TABLE IF NOT EXISTS answers (
  number INTEGER PRIMARY KEY AUTOINCREMENT, clip TEXT NOT NULL, keep INTEGER CHECK (keep IN (0, 1)),
  tags TEXT NOT NULL, at TEXT NOT NULL
)"""
_LATEST = "SELECT clip, keep, tags FROM answers WHERE number IN (SELECT max(number) FROM answers GROUP BY clip)"


@dataclass(frozen=True)
class Answer:
    """Answer of one person about a clip; `keep` is None where there are only tags."""

    keep: bool | None
    tags: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(not tag.strip() or len(tag) > _LONGEST_TAG for tag in self.tags):
            raise PosegenError(f"a tag has 1 to {_LONGEST_TAG} characters")


class Answers:
    """The answers in a file, which is created if it is missing. Raises `OutputError` where it cannot be used."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with self._open() as connection:
            connection.execute(_TABLE)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that writes everything or nothing."""
        try:
            with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                yield connection
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            raise OutputError(f"{self.path}: the answers cannot be read or written ({error})") from None

    def say(self, clip: str, answer: Answer) -> None:
        """Store an answer; the one before is kept for undo."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        keep = None if answer.keep is None else int(answer.keep)
        with self._open() as connection:
            connection.execute(
                "INSERT INTO answers (clip, keep, tags, at) VALUES (?, ?, ?, ?)",
                (clip, keep, json.dumps(answer.tags, ensure_ascii=False), now),
            )

    def undo(self) -> str | None:
        """Remove the latest answer and return its clip; None if there is no answer."""
        with self._open() as connection:
            latest = connection.execute("SELECT number, clip FROM answers ORDER BY number DESC LIMIT 1").fetchone()
            if latest is None:
                return None
            connection.execute("DELETE FROM answers WHERE number = ?", (latest[0],))
        return str(latest[1])

    def all(self) -> dict[str, Answer]:
        """Return the latest answer for each clip."""
        with self._open() as connection:
            return _of_rows(connection)


def read_answers(content: bytes | None) -> dict[str, Answer]:
    """Read the latest answer for each clip from the bytes of the file; none where there is no file.

    Raises `PosegenError` for a file of something else.
    """
    if content is None:
        return {}
    try:
        with closing(sqlite3.connect(":memory:")) as connection:
            connection.deserialize(content)
            return _of_rows(connection)
    except (sqlite3.Error, ValueError) as error:
        raise PosegenError(f"{FILE} holds no answers ({error}): mend or delete it") from None


def _of_rows(connection: sqlite3.Connection) -> dict[str, Answer]:
    found: dict[str, Answer] = {}
    rows: list[tuple[Any, ...]] = connection.execute(_LATEST).fetchall()
    for clip, keep, tags in rows:
        found[clip] = Answer(None if keep is None else bool(keep), tuple(json.loads(tags)))
    return found
