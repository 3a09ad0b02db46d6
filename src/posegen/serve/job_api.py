"""The HTTP API of the job server: `/v1/videos`, `/v1/previews`, uploads, models, health and metrics.

Routes only: what they do is in `job_service.py`, what a job can be told in `job_fields.py`.
"""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import FastAPI, Query, Request
from fastapi import Path as InPath
from fastapi.responses import FileResponse, PlainTextResponse, StreamingResponse
from python_multipart.exceptions import FormParserError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile

from posegen import __version__
from posegen.serve.api_errors import documented, handle_errors
from posegen.serve.api_objects import (
    Deleted,
    Health,
    ModelList,
    Move,
    PreviewList,
    PreviewObject,
    UploadObject,
    VideoList,
    VideoObject,
    WorkerObject,
    upload_object,
)
from posegen.serve.job_fields import FieldError, FileKind, job_fields
from posegen.serve.job_page import add_page
from posegen.serve.job_service import CONFIGS, JobService
from posegen.serve.job_store import JobKind, ServerJob, UnknownJobError, WrongStatusError
from posegen.serve.live_streams import Changes, growing_video, job_events
from posegen.serve.server_metrics import metrics_text
from posegen.serve.worker_processes import WorkerProcesses

_MOST_TEXTS, _MOST_FILES, _LONGEST_TEXT = 100, 8, 32 << 10
_TYPES = {
    ".mp4": "video/mp4", ".mov": "video/quicktime", ".mkv": "video/x-matroska", ".avi": "video/x-msvideo",
    ".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp", ".bmp": "image/bmp", ".gif": "image/gif",
    ".avif": "image/avif", ".zip": "application/zip",
}  # fmt: skip  # a table, read in rows
_ABOUT = """Videos of the person in a reference image making the movements of a driving video.

Send `reference` and `driving_video` to `POST /v1/videos`, watch `GET /v1/videos/{id}` or its events, and download
`GET /v1/videos/{id}/content`. Fields are the options of `posegen generate`. Errors are JSON: `error.message` says what
to do, `error.field` which field it is about. Where the server has a token, send `Authorization: Bearer TOKEN`.
"""
JobId = Annotated[str, InPath(description="Identifier of the job.", max_length=100)]


def make_api(service: JobService, workers: WorkerProcesses, stops: Callable[[], bool]) -> FastAPI:
    """Build the application; `stops` tells when the server is to stop."""
    # no page of documentation: it would load scripts from elsewhere
    api = FastAPI(title="posegen", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    handle_errors(api)
    changes = Changes(service.store, stops)
    _add_videos(api, service, changes)
    _add_previews(api, service, changes)
    _add_uploads(api, service)
    _add_server(api, service, workers)
    add_page(api, service.config)
    return api


@contextlib.asynccontextmanager
async def _form(request: Request) -> AsyncIterator[tuple[dict[str, list[str]], dict[str, UploadFile]]]:
    """Read a form: texts, and files by field, which are open inside the block. Raises `FieldError`."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "multipart/form-data":
        raise FieldError("a form with files is expected: send multipart/form-data", None, "invalid_request")
    try:
        form = await request.form(max_files=_MOST_FILES, max_fields=_MOST_TEXTS, max_part_size=_LONGEST_TEXT)
    except FormParserError as error:
        raise FieldError(f"the form cannot be read: {error}", None, "invalid_request") from error
    try:
        texts: dict[str, list[str]] = {}
        files: dict[str, UploadFile] = {}
        for name, value in form.multi_items():
            if isinstance(value, str):
                texts.setdefault(name, []).append(value)
            elif name in files:
                raise FieldError(f"{name[:80]} is given twice: send one file", name[:80])
            elif value.filename or value.size:  # a page's empty choice of a file is none
                files[name] = value
        yield texts, files
    finally:
        await form.close()


def _form_schema(schemas: dict[str, dict[str, Any]], required: list[str]) -> dict[str, Any]:
    """Return OpenAPI's description of a form."""
    schema = {"type": "object", "properties": schemas, "required": required, "additionalProperties": False}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}


def _job_form(kind: JobKind) -> dict[str, Any]:
    fields = job_fields(CONFIGS[kind])
    return _form_schema(
        {name: field.schema() for name, field in fields.items()},
        [name for name, field in fields.items() if field.required],
    )


def _file(path: Path, name: str | None = None) -> FileResponse:
    kind = _TYPES.get(path.suffix, "application/octet-stream")
    return FileResponse(
        path, media_type=kind, filename=name, content_disposition_type="inline", headers={"Cache-Control": "no-cache"}
    )


_CONTENT: dict[str, Any] = {
    "content": {"video/mp4": {"schema": {"type": "string", "format": "binary"}}},
    "description": "The file.",
}
_FILE_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: _CONTENT,
    206: {**_CONTENT, "description": "The part that the header Range asks for."},
    **documented(400, 404, 416),
}
_EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
        "description": "Server-sent events: `status`, `plan`, `note`, `warning`, `segment` (k of n) have an id and "
        "come again after `Last-Event-ID`; `progress` holds the job as GET returns it (stage, segment, seconds left).",
    },
    **documented(400, 404),
}
Limit = Annotated[int, Query(ge=1, le=1000, description="Maximum number of jobs.")]
After = Annotated[str | None, Query(max_length=100, description="Id of the job after which to begin.")]
Order = Annotated[Literal["asc", "desc"], Query(description="Oldest (asc) or newest (desc) first.")]


async def _create(service: JobService, kind: JobKind, request: Request) -> ServerJob:
    service.housekeeping.check_room(int(request.headers.get("content-length") or 0))
    async with _form(request) as (texts, files):
        sent = {name: (file.filename or "file", file.file) for name, file in files.items()}
        return await run_in_threadpool(service.create, kind, texts, sent)


def _add_events(api: FastAPI, service: JobService, changes: Changes, kind: JobKind) -> None:
    @api.get(
        f"/v1/{kind}s/{{job}}/events",
        response_class=StreamingResponse,
        responses=_EVENTS,
        tags=[f"{kind}s"],
        operation_id=f"{kind}_events",
    )
    async def events(job: JobId, request: Request) -> StreamingResponse:
        """Follow a job by server-sent events until it ends; `Last-Event-ID` resumes after an event."""

        def shown(name: str) -> dict[str, Any]:
            found = service.store.job(name, kind)
            shown = service.video(found) if kind == "video" else service.preview(found)
            return shown.model_dump(mode="json", exclude={"findings"})

        await run_in_threadpool(service.store.job, job, kind)
        last = request.headers.get("last-event-id", "0")
        after = int(last) if last.isdecimal() and len(last) < 16 else 0
        stream = job_events(service.store, changes, job, after, shown)
        return StreamingResponse(stream, media_type="text/event-stream", headers={"Cache-Control": "no-store"})


def _add_videos(api: FastAPI, service: JobService, changes: Changes) -> None:
    store = service.store

    @api.post(
        "/v1/videos",
        response_model=VideoObject,
        tags=["videos"],
        openapi_extra=_job_form("video"),
        responses=documented(400, 413, 429, 507),
    )
    async def create_video(request: Request) -> VideoObject:
        """Queue a video."""
        return service.video(await _create(service, "video", request))

    @api.get("/v1/videos", response_model=VideoList, tags=["videos"], responses=documented(400, 404))
    def list_videos(limit: Limit = 100, after: After = None, order: Order = "desc") -> VideoList:
        """List videos by the time at which they were made."""
        found, places = store.jobs("video", limit + 1, after, order == "asc"), store.places()
        data = [service.video(job, places) for job in found[:limit]]
        ids: list[str | None] = [video.id for video in data] or [None]
        return VideoList(data=data, first_id=ids[0], last_id=ids[-1], has_more=len(found) > limit)

    @api.get("/v1/videos/{job}", response_model=VideoObject, tags=["videos"], responses=documented(400, 404))
    def get_video(job: JobId) -> VideoObject:
        """Return a video's status."""
        return service.video(store.job(job, "video"))

    @api.delete("/v1/videos/{job}", response_model=Deleted, tags=["videos"], responses=documented(400, 404))
    def delete_video(job: JobId) -> Deleted:
        """Delete a video and its files; one in progress is stopped first."""
        service.delete(store.job(job, "video"))
        return Deleted(id=job, object="video.deleted")

    @api.get(
        "/v1/videos/{job}/content",
        response_class=FileResponse,
        tags=["videos"],
        responses=_FILE_RESPONSES | documented(409),
    )
    def video_content(
        job: JobId,
        variant: Annotated[
            Literal["video", "side_by_side", "masks"],
            Query(description="The video; the side-by-side video; or a ZIP of pictures of masks."),
        ] = "video",
    ) -> FileResponse:
        """Download a finished video; the header Range is answered."""
        found = store.job(job, "video")
        if found.status != "completed":
            raise WrongStatusError(f"{job} is {found.status}: only completed videos have content (watch .../growing)")
        path = service.output_path(found, variant)
        return _file(path, f"{job}{'' if variant == 'video' else f'_{variant}'}{path.suffix}")

    @api.get(
        "/v1/videos/{job}/growing",
        response_class=StreamingResponse,
        tags=["videos"],
        responses={200: _CONTENT, **documented(400, 404, 409)},
    )
    async def growing(job: JobId) -> StreamingResponse:
        """Watch a video while it is made: a response that lasts as long as the work."""
        found = await run_in_threadpool(store.job, job, "video")

        def running() -> bool:
            try:
                return store.job(job).status == "in_progress"
            except UnknownJobError:
                return False

        try:
            if found.status != "in_progress":
                raise FileNotFoundError
            stream = await growing_video(service.growing_path(found), running, changes.stops)
        except FileNotFoundError:
            raise WrongStatusError(f"{job} is {found.status}: there is nothing to watch (yet)") from None
        return StreamingResponse(stream, media_type="video/mp4", headers={"Cache-Control": "no-store"})

    def change(name: str, does: Callable[[str], ServerJob], text: str) -> None:
        @api.post(
            f"/v1/videos/{{job}}/{name}",
            response_model=VideoObject,
            tags=["videos"],
            description=text,
            operation_id=f"{name}_video",
            summary=f"{name.capitalize()} a video",
            responses=documented(400, 404, 409),
        )
        def changed(job: JobId) -> VideoObject:
            store.job(job, "video")
            return service.video(does(job))

    change("cancel", store.cancel, "Cancel a video; finished segments are kept until it is deleted.")
    change("pause", store.pause, "Pause a video: one in progress stops after a step and keeps finished segments.")
    change("resume", store.resume, "Queue a paused video again, in its old place of the queue.")
    change("retry", store.retry, "Queue a failed or cancelled video again; finished segments are not made again.")

    @api.post("/v1/videos/{job}/move", response_model=VideoObject, tags=["videos"], responses=documented(400, 404, 409))
    def move_video(job: JobId, to: Move) -> VideoObject:
        """Move a queued video before another one, or to the end of the queue."""
        store.job(job, "video")
        return service.video(store.move(job, to.before))

    _add_events(api, service, changes, "video")


def _add_previews(api: FastAPI, service: JobService, changes: Changes) -> None:
    store = service.store

    @api.post(
        "/v1/previews",
        response_model=PreviewObject,
        tags=["previews"],
        openapi_extra=_job_form("preview"),
        responses=documented(400, 413, 429, 507),
    )
    async def create_preview(request: Request) -> PreviewObject:
        """Queue a preview: what a video with these fields would be. A video with the same files takes up its work."""
        return service.preview(await _create(service, "preview", request))

    @api.get("/v1/previews", response_model=PreviewList, tags=["previews"], responses=documented(400, 404))
    def list_previews(limit: Limit = 100, after: After = None, order: Order = "desc") -> PreviewList:
        """List previews by the time at which they were made."""
        found = store.jobs("preview", limit + 1, after, order == "asc")
        data = [service.preview(job) for job in found[:limit]]
        ids: list[str | None] = [preview.id for preview in data] or [None]
        return PreviewList(data=data, first_id=ids[0], last_id=ids[-1], has_more=len(found) > limit)

    @api.get("/v1/previews/{job}", response_model=PreviewObject, tags=["previews"], responses=documented(400, 404))
    def get_preview(job: JobId) -> PreviewObject:
        """Return a preview's status, and what was found."""
        return service.preview(store.job(job, "preview"))

    @api.get(
        "/v1/previews/{job}/files/{name}", response_class=FileResponse, tags=["previews"], responses=_FILE_RESPONSES
    )
    def preview_file(job: JobId, name: Annotated[str, InPath(description="As the preview names it.")]) -> FileResponse:
        """Download a picture or a video of a preview."""
        return _file(service.preview_path(store.job(job, "preview"), name))

    @api.delete("/v1/previews/{job}", response_model=Deleted, tags=["previews"], responses=documented(400, 404))
    def delete_preview(job: JobId) -> Deleted:
        """Delete a preview; one in progress is stopped first."""
        service.delete(store.job(job, "preview"))
        return Deleted(id=job, object="preview.deleted")

    _add_events(api, service, changes, "preview")


def _add_uploads(api: FastAPI, service: JobService) -> None:
    kinds: dict[str, FileKind] = {field.name: field.file for field in job_fields().values() if field.file is not None}
    file = {"type": "string", "contentMediaType": "application/octet-stream"}
    form = _form_schema({name: file | {"description": job_fields()[name].description} for name in kinds}, [])
    form["requestBody"]["content"]["multipart/form-data"]["schema"] |= {"minProperties": 1, "maxProperties": 1}

    @api.post(
        "/v1/uploads",
        response_model=UploadObject,
        tags=["uploads"],
        openapi_extra=form,
        responses=documented(400, 413, 507),
    )
    async def upload_file(request: Request) -> UploadObject:
        """Send one file ahead, under the name of the field for which it is; its id then stands for it."""
        service.housekeeping.check_room(int(request.headers.get("content-length") or 0))
        async with _form(request) as (texts, files):
            if texts or len(files) != 1 or next(iter(files)) not in kinds:
                raise FieldError(f"one file is expected, as one of {', '.join(kinds)}", None, "missing")
            ((field, sent),) = files.items()
            name = sent.filename or "file"
            return upload_object(await run_in_threadpool(service.uploads.keep, sent.file, name, kinds[field], field))

    @api.get("/v1/uploads/{upload}", response_class=FileResponse, tags=["uploads"], responses=_FILE_RESPONSES)
    def get_upload(upload: Annotated[str, InPath(description="Id of the upload.", max_length=100)]) -> FileResponse:
        """Download an uploaded file."""
        found = service.store.upload(upload)
        if found is None or not (path := service.uploads.path(found)).is_file():
            raise FieldError("no upload has this id (any more): send the file again", "upload", "not_found")
        return _file(path)


def _add_server(api: FastAPI, service: JobService, workers: WorkerProcesses) -> None:
    @api.get("/v1/models", response_model=ModelList, tags=["server"], responses=documented())
    def list_models() -> ModelList:
        """List the models that jobs may choose."""
        return service.models()

    @api.get("/healthz", response_model=Health, tags=["server"], responses=documented())
    def healthz() -> Health:
        """Tell whether the server and its workers run."""
        states = workers.states()
        return Health(
            status="ok" if all(state["running"] for state in states.values()) else "degraded",
            version=__version__,
            workers={name: WorkerObject(**state) for name, state in states.items()},
            disk_bytes=service.housekeeping.used,
            disk_limit_bytes=service.housekeeping.limit,
        )

    @api.get("/metrics", response_class=PlainTextResponse, tags=["server"], responses=documented())
    def metrics() -> PlainTextResponse:
        """Return counts for Prometheus, in its text format."""
        text = metrics_text(service, workers.states())
        return PlainTextResponse(text, media_type="text/plain; version=0.0.4")
