"""`posegen study`: the local page on which people rate blinded videos.

Nothing that is sent names a method: videos are addressed by the question's token and a side.
`evaluate/study/study_database.py` chooses questions and checks answers; the page is `study_page/`.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from werkzeug.exceptions import NotFound
from werkzeug.routing import Map, Rule
from werkzeug.utils import send_file
from werkzeug.wrappers import Request, Response

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
from posegen.serve.local_server import POLICY, json_body, json_response, start_server

_SUFFIXES, _CODECS = (".mp4", ".webm"), ("h264", "vp8", "vp9", "av1")
"""Files that browsers play; of H.264 only 4:2:0 in 8 bits."""
_ROUTES = Map(
    [
        Rule("/", endpoint="page"),
        Rule("/next", endpoint="next", methods=["GET"]),
        Rule("/enter", endpoint="enter", methods=["POST"]),
        Rule("/answer", endpoint="answer", methods=["POST"]),
        Rule("/media/<token>/<side>", endpoint="media", methods=["GET"]),
    ]
)
_LARGEST_BODY = 10_000


def study(config: StudyConfig, progress: Progress) -> None:
    """Serve the page until interrupted, or write results."""
    check_writable(config.output)
    opened, videos, references = open_study(config, progress)
    if config.results:
        if not opened.ratings() and not opened.choices():
            raise PosegenError(f"{opened.path}: nobody has answered yet")
        results, paths = write_results(config.output, opened.ratings(), opened.choices())
        progress.say(markdown(results).strip())
        for path in paths:
            progress.say(f"wrote {path}")
        return
    server, gate = start_server(config.host, config.port, StudyPage(opened, videos, references), config.token)
    progress.say(f"people answer at {gate.address} ; answers are kept in {opened.path}")
    if (exposure := gate.exposure()) is not None:
        progress.say(exposure)
    progress.say("Ctrl-C ends; the same command with --results writes the results")
    with server:
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
        folder = resources.files("posegen.serve") / "study_page"
        style, script, page = ((folder / f"study.{kind}").read_text(encoding="utf-8") for kind in ("css", "js", "html"))
        settings = json.dumps({"aspects": ASPECTS})
        self.page = page.replace("/* style */", style).replace("/* script */", script).replace("{settings}", settings)

        self.application = Request.application(self.respond_or_refuse)
        """The WSGI application."""

    def respond_or_refuse(self, request: Request) -> Response:
        """Answer a request; one that does not fit gets a status and a line that says why."""
        request.max_content_length = _LARGEST_BODY
        try:
            return self.respond(request)
        except AlreadyAnsweredError as error:
            return json_response({"error": str(error)}, 409)
        except PosegenError as error:
            return json_response({"error": str(error)}, 400)

    def respond(self, request: Request) -> Response:
        """Answer a request; raises `PosegenError` for one that does not fit, `HTTPException` for unknown places."""
        endpoint, values = _ROUTES.bind_to_environ(request.environ).match()
        if endpoint == "page":
            response = Response(self.page, mimetype="text/html")
            response.headers["Content-Security-Policy"] = POLICY
            return response
        if endpoint == "enter":
            response = json_response({})
            person = self.study.enter(str(json_body(request).get("name", "")))
            response.set_cookie("person", person, httponly=True, samesite="Strict", max_age=365 * 86400)
            return response
        person = request.cookies.get("person", "")
        if endpoint == "next":
            known = bool(person) and self.study.knows(person)
            return json_response({"question": _shown(self.study.next_question(person)) if known else "who"})
        if endpoint == "answer":
            body = json_body(request)
            token, answer = body.get("question"), body.get("answer")
            if not isinstance(token, str) or not isinstance(answer, dict):
                raise PosegenError("a question and an answer are needed")
            self.study.answer(person, token, answer)
            return json_response({"question": _shown(self.study.next_question(person))})
        question = self.study.question(person, values["token"])
        method = {"left": question.first, "right": question.second}.get(values["side"])
        if values["side"] == "reference":
            path = self.references[question.clip]
        elif method is not None:
            path = self.videos[question.clip, method]
        else:
            raise NotFound
        # no name, date or checksum of the file: they could tell which method made it
        sent = send_file(
            path, request.environ, mimetype=_mimetype(path), conditional=True, etag=False, last_modified=0, max_age=0
        )
        sent.headers.pop("Content-Disposition", None)
        return sent


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
