"""`posegen screen`: the local page on which people keep, drop and tag prepared clips by keyboard.

Clips come from the index; each is cut out of its video when it is first shown. `prepare/answers.py` stores the answers;
the page is `screen_page/`.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import cv2
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from posegen.config import ScreenConfig
from posegen.errors import PosegenError
from posegen.media.files import check_writable
from posegen.media.video import VideoWriter, iterate_frames, probe_video
from posegen.prepare.answers import FILE, Answer, Answers
from posegen.prepare.summary_page import index_errors, open_index
from posegen.progress import Progress
from posegen.serve.local_page import NotThereError, json_body, json_response, local_application, page_text, start_page

_SIDE, _MAXIMUM_FPS = 640, 30
"""Longer side and maximum frame rate of the videos shown."""
MAX_ROWS = 1_000_000
_BATCH, _LONGEST_ROW = 512, 64 << 10
"""Rows read at a time, and bytes that each may have."""
_PLAIN = ("clip", "source", "start", "end", "width", "height", "fps", "kept", "dropped_by")


@dataclass(frozen=True)
class Row:
    """A clip of the index."""

    number: int
    clip: str
    source: str
    start: float
    end: float
    kept: bool
    dropped_by: tuple[str, ...]
    facts: dict[str, Any]


def screen(config: ScreenConfig, progress: Progress) -> None:
    """Serve the page until interrupted."""
    page = open_screening(config)
    server, gate = start_page(page.application, config.host, config.port, config.token)
    progress.say(f"look at {len(page.rows)} clips at {gate.address} ; Ctrl-C ends")
    if (exposure := gate.exposure()) is not None:
        progress.say(exposure)
    progress.say(f"answers are kept in {page.answers.path}; `posegen prepare ... --refilter` takes them")
    server.serve_forever()


def open_screening(config: ScreenConfig) -> "ScreenPage":
    """Open the page of a data set.

    Raises `PosegenError` if there is none in the folder, nothing to show, or no answer can be kept there.
    """
    if not (config.folder / "index.parquet").is_file():
        raise PosegenError(f"{config.folder}: no index.parquet there: give the folder that `posegen prepare` wrote")
    check_writable(config.folder, "answers are kept in it: make it writable, or copy index.parquet into another folder")
    rows = read_rows(config.folder / "index.parquet")
    rows = [row for row in rows if config.show == "all" or row.kept == (config.show == "kept")]
    if not rows:
        raise PosegenError(f"{config.folder}: no clips to look at: --show {config.show} shows none")
    return ScreenPage(config.folder, rows, config.tags)


def read_rows(index: Path) -> list[Row]:
    """Read the clips of an index that have thumbnails, without these."""
    file = open_index(index)
    numbers = [each.name for each in file.schema_arrow if str(each.type) == "double" and each.name not in _PLAIN]
    if file.metadata.num_rows > MAX_ROWS:  # a small file can have billions of rows
        raise PosegenError(f"{index}: {file.metadata.num_rows:,} clips; at most {MAX_ROWS:,} can be looked at: part it")
    with index_errors(index):
        content = enumerate(_rows(file, [*_PLAIN, *numbers]))
        return [row for number, each in content if (row := _row(number, each, numbers)) is not None]


def _rows(file: Any, names: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of an index, a few at a time. Raises ValueError where texts are far longer than clips have."""
    for batch in file.iter_batches(_BATCH, columns=names):
        if batch.nbytes > _BATCH * _LONGEST_ROW:
            raise ValueError("its texts are too long")
        yield from batch.to_pylist()


def _row(number: int, row: dict[str, Any], numbers: Sequence[str]) -> Row | None:
    """Read a row of the index; None for one without a thumbnail."""
    dropped = tuple(row["dropped_by"] or ())
    if not row["clip"] or "error" in dropped:
        return None
    facts = {name: round(row[name], 4) for name in numbers if row[name] is not None and math.isfinite(row[name])}
    facts = {"size": f"{row['width']}×{row['height']}", "fps": f"{row['fps']:.4g}", **facts}
    moments = float(row["start"]), float(row["end"])
    return Row(number, str(row["clip"]), str(row["source"]), *moments, bool(row["kept"]), dropped, facts)


class ScreenPage:
    """Answers the requests of the page."""

    def __init__(self, folder: Path, rows: Sequence[Row], tags: Sequence[str]) -> None:
        self.folder, self.rows = folder, list(rows)
        self.answers = Answers(folder / FILE)
        self._by_number = {row.number: row for row in rows}
        self._cutting = Lock()
        routes = [
            Route("/next", self.show_next),
            Route("/say", self.say, methods=["POST"]),
            Route("/undo", self.undo, methods=["POST"]),
            Route("/video/{row:int}", self.show_video),
            Route("/picture/{row:int}", self.show_picture),
        ]
        self.application = local_application(page_text("screen_page", "screen", {"tags": list(tags)}), routes)
        """The ASGI application."""

    # -- routes: raise `PosegenError` for requests that do not fit ---------------------------------------------------

    def show_next(self, request: Request) -> Response:
        """The next clip without an answer."""
        after = request.query_params.get("after", "-1")
        return json_response(self._next(int(after) if after.isdecimal() and len(after) < 10 else -1))

    async def say(self, request: Request) -> Response:
        """Keep an answer; return the next clip."""
        body = await json_body(request)
        keep, tags = body.get("keep"), body.get("tags", [])
        if keep not in (True, False, None) or not isinstance(tags, list):
            raise PosegenError("keep (true, false or null) and a list of tags are needed")
        row = self._row(body.get("row"))
        # a clip with tags only has been looked at; it stays with the filters
        answer = Answer(keep if keep is None else bool(keep), tuple(str(tag) for tag in tags))
        await run_in_threadpool(self.answers.say, row.clip, answer)
        return json_response(await run_in_threadpool(self._next, row.number))

    async def undo(self, request: Request) -> Response:
        """Take back the last answer; return its clip."""
        await json_body(request)
        clip = await run_in_threadpool(self.answers.undo)
        about = next((each for each in self.rows if each.clip == clip), None)
        return json_response(self._next(-1) if about is None else self._shown(about, self.answers.all()))

    def show_picture(self, request: Request) -> Response:
        """The thumbnail of a clip."""
        row = self._row(request.path_params["row"])
        return Response(thumbnail_of(self.folder / "index.parquet", row.number), media_type="image/jpeg")

    def show_video(self, request: Request) -> Response:
        """A clip."""
        return FileResponse(self.cut(self._row(request.path_params["row"])), media_type="video/mp4")

    # -- clips ---------------------------------------------------------------------------------------------------------

    def _row(self, number: object) -> Row:
        row = self._by_number.get(number) if type(number) is int else None
        if row is None:
            raise NotThereError("no such clip is shown")
        return row

    def _next(self, after: int) -> dict[str, Any]:
        """The next clip without an answer, after that row, or else from the beginning."""
        answered = self.answers.all()
        open_rows = [row for row in self.rows if row.clip not in answered]
        later = [row for row in open_rows if row.number > after] or open_rows
        if not later:
            return {"clip": None, "done": len(self.rows), "total": len(self.rows)}
        following = later[1] if len(later) > 1 else None
        return self._shown(later[0], answered) | {"following": following.number if following else None}

    def _shown(self, row: Row, answered: dict[str, Answer]) -> dict[str, Any]:
        done = sum(each.clip in answered for each in self.rows)
        clip = {
            "row": row.number,
            "name": row.clip,
            "source": row.source,
            "start": row.start,
            "end": row.end,
            "kept": row.kept,
            "dropped_by": row.dropped_by,
            "facts": row.facts,
        }
        return {"clip": clip, "done": done, "total": len(self.rows), "following": None}

    def cut(self, row: Row) -> Path:
        """Return the clip as a small video, cut on first request. Raises `PosegenError` if its video is missing."""
        name = hashlib.sha256(f"{row.source} {row.start} {row.end}".encode()).hexdigest()[:24]
        path = self.folder / "screening" / f"{name}.mp4"
        source = Path(row.source.removeprefix("file://"))
        with self._cutting:
            if not path.exists():
                info = probe_video(source)
                scale = min(1.0, _SIDE / max(info.height, info.width))
                height, width = (max(2, round(side * scale / 2) * 2) for side in (info.height, info.width))
                path.parent.mkdir(parents=True, exist_ok=True)
                fps = min(Fraction(_MAXIMUM_FPS), info.fps)
                with VideoWriter(path, fps, size=(height, width), crf=23) as writer:
                    for frame in iterate_frames(source, fps, row.start, row.end):
                        writer.write(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA))
        return path


def thumbnail_of(index: Path, number: int) -> bytes:
    """The JPEG of one row; only its group of rows is read."""
    file = open_index(index)
    if "thumbnail" not in file.schema_arrow.names:
        raise NotThereError("the index holds no thumbnails")
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if number < count:
            with index_errors(index):
                content = file.read_row_group(group, columns=["thumbnail"]).column(0)[number].as_py()
            if not content:
                raise NotThereError("the clip has no thumbnail")
            return bytes(content)
        number -= count
    raise NotThereError("the index holds no such clip")
