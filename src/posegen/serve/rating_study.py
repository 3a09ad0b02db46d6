"""`posegen study`: the local page on which people rate blinded videos.

Nothing that is sent names a method: videos are addressed by the question's token and a side.
`evaluate/study/study_database.py` chooses questions and checks answers; the page is `study_page/`.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from posegen.config import StudyConfig
from posegen.digests import content_digest
from posegen.errors import PosegenError
from posegen.evaluate.benchmark_file import read_benchmark
from posegen.evaluate.footage import Footage
from posegen.evaluate.matching import match, parse_methods
from posegen.evaluate.protocols import find_protocol
from posegen.evaluate.study.study_database import ASPECTS, AlreadyAnsweredError, Question, Study
from posegen.evaluate.study.study_results import markdown, write_results
from posegen.media.files import check_writable
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter, probe_video
from posegen.progress import Progress
from posegen.serve.local_page import (
    BlindFileResponse,
    ConflictError,
    NotThereError,
    json_body,
    json_response,
    local_application,
    page_text,
    start_page,
)

_SUFFIXES, _CODECS = (".mp4", ".webm"), ("h264", "vp8", "vp9", "av1")
"""Files that browsers play; of H.264 only 4:2:0 in 8 bits."""
_YEAR = 365 * 86400


def study(config: StudyConfig, progress: Progress) -> None:
    """Serve the page until interrupted, or write results."""
    check_writable(config.output)
    opened, videos, references = open_study(config, progress)
    if config.results:
        if not opened.ratings() and not opened.choices():
            raise PosegenError(f"{opened.path}: nobody has answered yet")
        methods = {method for names in opened.videos.values() for method in names}
        results, paths = write_results(config.output, opened.ratings(), opened.choices(), methods)
        progress.say(markdown(results).strip())
        for path in paths:
            progress.say(f"wrote {path}")
        return
    page = StudyPage(opened, videos, references)
    server, gate = start_page(page.application, config.host, config.port, config.token)
    progress.say(f"people answer at {gate.address} ; answers are kept in {opened.path}")
    if (exposure := gate.exposure()) is not None:
        progress.say(exposure)
    progress.say("Ctrl-C ends; the same command with --results writes the results")
    server.serve_forever()


def open_study(config: StudyConfig, progress: Progress) -> tuple[Study, dict[tuple[str, str], Path], dict[str, Path]]:
    """Open the study; return it, its videos by (clip, method), as files that browsers play, and references by clip.

    Raises `PosegenError` where something is missing or the folder holds another study.
    """
    benchmark, rules = read_benchmark(config.benchmark), find_protocol("disco")
    matched = [match(benchmark, method, rules, config.allow_missing) for method in parse_methods(config.methods)]
    found = {(each.clip.name, each.method): each.footage for one in matched for each in one.results}
    for one in matched:
        for note in one.notes:
            progress.say(f"{one.method.name}: {note}")
    digests = [f"{clip}/{method} {content_digest(each.path)}" for (clip, method), each in sorted(found.items())]
    videos: dict[str, list[str]] = {}
    for clip, method in found:
        videos.setdefault(clip, []).append(method)
    opened = Study(
        config.output / "answers.sqlite", videos, "\n".join(digests), config.pairwise, config.per_person, config.seed
    )
    files = {key: _playable(each, config.output / "videos") for key, each in found.items() if not config.results}
    return opened, files, {clip.name: clip.reference for clip in benchmark.clips}


def _playable(footage: Footage, folder: Path) -> Path:
    """Return the video itself, or a copy of high quality where browsers do not play it."""
    if _is_played(footage):
        return footage.path
    name = hashlib.sha256(f"{content_digest(footage.path)} {footage.fps}".encode()).hexdigest()[:24]
    path = folder / f"{name}.mp4"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        height, width = (max(2, side // 2 * 2) for side in footage.size)  # H.264 wants even sides
        fit = plan_fit(footage.size, (height, width), "crop")
        with VideoWriter(path, footage.fps, (height, width), crf=10) as writer:
            for frame in footage.frames():
                writer.write(fit.apply(frame))
    return path


def _is_played(footage: Footage) -> bool:
    """Return whether browsers play the file as it is."""
    if footage.stills or footage.path.suffix.lower() not in _SUFFIXES:
        return False
    info = probe_video(footage.path)
    return info.codec in _CODECS and (info.codec != "h264" or info.pixel_format in ("yuv420p", "yuvj420p"))


class StudyPage:
    """Answers the requests of the page."""

    def __init__(self, study: Study, videos: Mapping[tuple[str, str], Path], references: Mapping[str, Path]) -> None:
        self.study, self.videos, self.references = study, videos, references
        routes = [
            Route("/next", self.show_next),
            Route("/enter", self.enter, methods=["POST"]),
            Route("/answer", self.answer, methods=["POST"]),
            Route("/media/{token}/{side}", self.show_media),
        ]
        self.application = local_application(page_text("study_page", "study", {"aspects": ASPECTS}), routes)
        """The ASGI application."""

    # -- routes: raise `PosegenError` for requests that do not fit ---------------------------------------------------

    async def enter(self, request: Request) -> Response:
        """Begin or resume as a person, whom a cookie then names."""
        name = str((await json_body(request)).get("name", ""))
        person = await run_in_threadpool(self.study.enter, name)
        response = json_response({})
        response.set_cookie("person", person, httponly=True, samesite="strict", max_age=_YEAR)
        return response

    def show_next(self, request: Request) -> Response:
        """The person's next question."""
        person = request.cookies.get("person", "")
        known = bool(person) and self.study.knows(person)
        return json_response({"question": _shown(self.study.next_question(person)) if known else "who"})

    async def answer(self, request: Request) -> Response:
        """Keep an answer; return the next question."""
        person, body = request.cookies.get("person", ""), await json_body(request)
        token, answer = body.get("question"), body.get("answer")
        if not isinstance(token, str) or not isinstance(answer, dict):
            raise PosegenError("a question and an answer are needed")
        try:
            await run_in_threadpool(self.study.answer, person, token, answer)
        except AlreadyAnsweredError as error:
            raise ConflictError(str(error)) from error
        return json_response({"question": _shown(await run_in_threadpool(self.study.next_question, person))})

    def show_media(self, request: Request) -> Response:
        """A video of a question, or its reference image."""
        side, token = request.path_params["side"], request.path_params["token"]
        question = self.study.question(request.cookies.get("person", ""), token)
        method = {"left": question.first, "right": question.second}.get(side)
        if side == "reference":
            path = self.references[question.clip]
        elif method is not None:
            path = self.videos[question.clip, method]
        else:
            raise NotThereError(f"the question has no {side:.20}")
        return BlindFileResponse(path, _mimetype(path))


def _shown(question: Question | None) -> dict[str, object] | None:
    """The parts of a question that a person may see."""
    if question is None:
        return None
    return {"token": question.token, "kind": question.kind, "place": question.place, "total": question.total}


def _mimetype(path: Path) -> str:
    kinds = {
        ".mp4": "video/mp4",
        ".webm": "video/webm",
        ".png": "image/png",
        ".webp": "image/webp",
        ".bmp": "image/bmp",
    }
    return kinds.get(path.suffix.lower(), "image/jpeg")
