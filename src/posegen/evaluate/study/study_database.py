"""Keeps a user study's questions and answers in one SQLite file, and makes sure that nobody answers twice.

A question is about one result video (rated 0 to 5) or about two of the same clip (which is better). Each person gets
questions of their own, those first that have the fewest answers, in a random order, with sides drawn at random; nothing
that a person is sent says which method made a video. Pages and files are `serve/rating_study.py`'s, figures
`study_results.py`'s.
"""

import hashlib
import itertools
import json
import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posegen.errors import OutputError, PosegenError

ASPECTS = ("visual quality", "identity preservation", "temporal consistency")
LOWEST, HIGHEST = 0, 5
CHOICES = ("left", "right", "same")

_TABLES = """
CREATE TABLE study (only INTEGER PRIMARY KEY CHECK (only = 1), identity TEXT NOT NULL);
CREATE TABLE people (person INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE);
CREATE TABLE questions (
  question INTEGER PRIMARY KEY, person INTEGER NOT NULL REFERENCES people, place INTEGER NOT NULL,
  token TEXT NOT NULL UNIQUE, clip TEXT NOT NULL, first TEXT NOT NULL, second TEXT,
  UNIQUE (person, place)
);
CREATE TABLE ratings (
  question INTEGER NOT NULL REFERENCES questions, aspect TEXT NOT NULL, rating INTEGER NOT NULL, at TEXT NOT NULL,
  PRIMARY KEY (question, aspect)
);
CREATE TABLE choices (
  question INTEGER PRIMARY KEY REFERENCES questions, choice TEXT NOT NULL, at TEXT NOT NULL
);
"""
_ANSWERED = "(question IN (SELECT question FROM ratings) OR question IN (SELECT question FROM choices))"


class AlreadyAnsweredError(PosegenError):
    """Raised for a second answer to a question."""


@dataclass(frozen=True)
class Question:
    """One question: rate `first` alone, or choose the better of `first` (left) and `second` (right)."""

    token: str
    clip: str
    first: str
    second: str | None
    place: int
    total: int

    @classmethod
    def of(cls, row: Sequence[Any], total: int) -> "Question":
        """Build a question from a row: token, clip, first, second, place."""
        token, clip, first, second, place = row
        return cls(token, clip, first, second, place, total)

    @property
    def kind(self) -> Literal["rate", "pair"]:
        """Rate one video, or choose between two."""
        return "rate" if self.second is None else "pair"


@dataclass(frozen=True)
class Rating:
    """One answer to one aspect. person counts from 1; nobody's name is in it."""

    person: int
    clip: str
    method: str
    aspect: str
    rating: int


@dataclass(frozen=True)
class Choice:
    """One comparison: the better method, or None where both are the same."""

    person: int
    clip: str
    methods: tuple[str, str]
    better: str | None


class Study:
    """The study in a file: `videos` are clip -> methods that have a video of it.

    Opening a file of another study (other clips, methods or videos: `identity`) raises `PosegenError`.
    """

    def __init__(
        self,
        path: Path,
        videos: Mapping[str, Sequence[str]],
        identity: str = "",
        pairwise: bool = True,
        per_person: int | None = None,
        seed: int = 0,
    ) -> None:
        self.path, self.videos, self.pairwise, self.per_person, self.seed = path, videos, pairwise, per_person, seed
        described = json.dumps([identity, {clip: sorted(methods) for clip, methods in sorted(videos.items())}])
        wanted = hashlib.sha256(described.encode()).hexdigest()
        with self._open() as connection:
            if not connection.execute("SELECT name FROM sqlite_master WHERE name = 'study'").fetchone():
                for statement in _TABLES.split(";\n"):
                    connection.execute(statement)
                connection.execute("INSERT INTO study VALUES (1, ?)", (wanted,))
            (found,) = connection.execute("SELECT identity FROM study").fetchone()
        if found != wanted:
            raise PosegenError(
                f"{path} holds the answers of another study (other clips, methods or videos): choose another --output"
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """Open a transaction that writes: all of it happens, or nothing."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=30, isolation_level=None)
        except (sqlite3.Error, OSError) as error:
            raise OutputError(f"{self.path}: cannot be opened ({error})") from None
        try:
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise OutputError(f"{self.path}: the answers cannot be read or written ({error})") from None
        finally:
            connection.close()

    # -- people and what they are asked --------------------------------------------------------------------------------

    def enter(self, name: str) -> str:
        """The token of the person of that name (case and spaces do not matter), who is new or resumes."""
        known = " ".join(name.casefold().split())
        if not 1 <= len(known) <= 100:
            raise PosegenError("a name is needed, of at most 100 letters: it keeps anybody from answering twice")
        with self._open() as connection:
            row = connection.execute("SELECT token FROM people WHERE name = ?", (known,)).fetchone()
            if row is not None:
                return str(row[0])
            token = random.SystemRandom().randbytes(16).hex()
            person = connection.execute("INSERT INTO people (name, token) VALUES (?, ?)", (known, token)).lastrowid
            assert person is not None
            for place, (clip, first, second) in enumerate(self._draw(connection, person)):
                mark = random.SystemRandom().randbytes(16).hex()
                row = (person, place, mark, clip, first, second)
                connection.execute(
                    "INSERT INTO questions (person, place, token, clip, first, second) VALUES (?, ?, ?, ?, ?, ?)", row
                )
        return token

    def _draw(self, connection: sqlite3.Connection, person: int) -> list[tuple[str, str, str | None]]:
        """Questions for a new person: ratings first, then pairs, each kind in a random order."""
        drawn = random.Random(f"{self.seed} {person}")
        asked: dict[tuple[str, ...], int] = {}
        for clip, first, second in connection.execute("SELECT clip, first, second FROM questions"):
            key = (clip, *sorted([first] if second is None else [first, second]))
            asked[key] = asked.get(key, 0) + 1
        ratings: list[tuple[str, ...]] = [(clip, each) for clip, methods in self.videos.items() for each in methods]
        pairs: list[tuple[str, ...]] = [
            (clip, *sorted(pair))
            for clip, methods in self.videos.items()
            for pair in itertools.combinations(methods, 2)
            if self.pairwise
        ]
        limits = [len(ratings), len(pairs)]
        if self.per_person is not None:
            limits = [self.per_person - self.per_person // 2 if pairs else self.per_person, self.per_person // 2]
        chosen: list[tuple[str, str, str | None]] = []
        for questions, limit in zip((ratings, pairs), limits, strict=True):
            in_turn = sorted(drawn.sample(questions, len(questions)), key=lambda question: asked.get(question, 0))
            for clip, *methods in drawn.sample(in_turn[:limit], min(limit, len(in_turn))):
                first, *others = drawn.sample(methods, len(methods))
                chosen.append((clip, first, others[0] if others else None))
        return chosen

    def knows(self, person: str) -> bool:
        """Return whether this is a person's token."""
        with self._open() as connection:
            return connection.execute("SELECT 1 FROM people WHERE token = ?", (person,)).fetchone() is not None

    def next_question(self, person: str) -> Question | None:
        """The first question that this person (a token) has not answered; None after the last."""
        with self._open() as connection:
            number = self._person(connection, person)
            (total,) = connection.execute("SELECT count(*) FROM questions WHERE person = ?", (number,)).fetchone()
            row = connection.execute(
                f"SELECT token, clip, first, second, place FROM questions WHERE person = ? AND NOT {_ANSWERED} "
                "ORDER BY place LIMIT 1",
                (number,),
            ).fetchone()
        return None if row is None else Question.of(row, total)

    def question(self, person: str, token: str) -> Question:
        """One of this person's questions. Raises `PosegenError` for any other token."""
        with self._open() as connection:
            return self._question(connection, person, token)[1]

    # -- answers -------------------------------------------------------------------------------------------------------

    def answer(self, person: str, token: str, answer: Mapping[str, Any]) -> None:
        """Store an answer: {aspect: 0..5 for all three} to a rating, {"choice": left, right or same} to a pair.

        Raises `AlreadyAnsweredError` for a second answer, which changes nothing, and `PosegenError` for one that does
        not fit the question.
        """
        with self._open() as connection:
            number, question = self._question(connection, person, token)
            try:
                if question.kind == "pair":
                    if set(answer) != {"choice"} or answer["choice"] not in CHOICES:
                        raise PosegenError(f"a choice is one of {', '.join(CHOICES)}")
                    connection.execute("INSERT INTO choices VALUES (?, ?, datetime('now'))", (number, answer["choice"]))
                    return
                if set(answer) != set(ASPECTS):
                    raise PosegenError(f"ratings of {', '.join(ASPECTS)} are needed")
                for aspect, rating in answer.items():
                    if type(rating) is not int or not LOWEST <= rating <= HIGHEST:
                        raise PosegenError(f"{aspect}: a rating is a whole number from {LOWEST} to {HIGHEST}")
                    connection.execute(
                        "INSERT INTO ratings VALUES (?, ?, ?, datetime('now'))", (number, aspect, rating)
                    )
            except sqlite3.IntegrityError:
                raise AlreadyAnsweredError("this question has been answered") from None

    def ratings(self) -> list[Rating]:
        """All ratings."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT person, clip, first, aspect, rating FROM ratings JOIN questions USING (question) "
                "ORDER BY person, place, aspect"
            ).fetchall()
        return [Rating(*row) for row in rows]

    def choices(self) -> list[Choice]:
        """All comparisons."""
        with self._open() as connection:
            rows = connection.execute(
                "SELECT person, clip, first, second, choice FROM choices JOIN questions USING (question) "
                "ORDER BY person, place"
            ).fetchall()
        better = {"left": 0, "right": 1}
        return [
            Choice(person, clip, (first, second), (first, second)[better[choice]] if choice in better else None)
            for person, clip, first, second, choice in rows
        ]

    @staticmethod
    def _person(connection: sqlite3.Connection, token: str) -> int:
        row = connection.execute("SELECT person FROM people WHERE token = ?", (token,)).fetchone()
        if row is None:
            raise PosegenError("this token is unknown: enter a name")
        return int(row[0])

    def _question(self, connection: sqlite3.Connection, person: str, token: str) -> tuple[int, Question]:
        number = self._person(connection, person)
        row = connection.execute(
            "SELECT question, token, clip, first, second, place FROM questions WHERE person = ? AND token = ?",
            (number, token),
        ).fetchone()
        if row is None:
            raise PosegenError("there is no such question for this person")
        (total,) = connection.execute("SELECT count(*) FROM questions WHERE person = ?", (number,)).fetchone()
        return int(row[0]), Question.of(row[1:], total)
