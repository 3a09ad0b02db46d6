"""Objects of the HTTP API, as JSON: their fields with units, which the OpenAPI document shows.

Names and shape of a video follow the `/v1/videos` API of OpenAI, vLLM-Omni and SGLang; what they lack is added plainly.
"""

from typing import Any, Literal

from pydantic import BaseModel, Field

from posegen.serve.job_store import JobStatus, ServerJob, StoredUpload


class ErrorDetail(BaseModel):
    """An error: its cause, and what to do."""

    message: str = Field(description="One line: what was expected, what came, what to do.")
    field: str | None = Field(description="Name of the field that it is about; null if it is about no single one.")
    code: str = Field(description="A word for programs, like `invalid_value`, `not_found`, `too_large`, `disk_full`.")


class ErrorBody(BaseModel):
    """The body of every response that is an error."""

    error: ErrorDetail


class SentFileObject(BaseModel):
    """An uploaded file that a job uses."""

    id: str = Field(description="SHA-256 of the content: send it instead of the file in other jobs.")
    name: str = Field(description="Name under which it was sent.")
    bytes: int = Field(ge=0, description="Size in bytes.")


class JobObject(BaseModel):
    """Common part of videos and previews."""

    id: str = Field(description="Identifier of the job.")
    status: JobStatus
    progress: int = Field(ge=0, le=100, description="Percent of the work that is done, by finished steps.")
    stage: str | None = Field(description="What is being done now, like `conditions` or `segment`; null if it waits.")
    stage_done: int = Field(ge=0, description="Units of the stage that are done: frames, or denoising steps.")
    stage_total: int = Field(ge=0, description="Units of the stage in all; 0 if that is not known.")
    created_at: int = Field(description="When the job was made, in seconds since 1970.")
    started_at: int | None = Field(description="When work on it last began, in seconds since 1970.")
    completed_at: int | None = Field(description="When it ended, in seconds since 1970.")
    model: str = Field(description="Name of the model.")
    fields: dict[str, Any] = Field(description="The fields as they were sent, without files and defaults.")
    files: dict[str, SentFileObject] = Field(description="The files that were sent, by field.")
    error: ErrorDetail | None = Field(description="Why it failed; null if it did not.")
    outputs: dict[str, str] = Field(description="Files that it has made: path on this server, by name.")


class VideoObject(JobObject):
    """A video: waiting, in progress, or made."""

    object: Literal["video"] = "video"
    queue_place: int | None = Field(
        description="Number of videos that begin before this one; null if it is not queued."
    )
    segment: int | None = Field(description="The segment in progress, from 1; null before the first one.")
    segments: int | None = Field(description="Number of segments; null before the first one.")
    seconds_left: float | None = Field(description="Estimated seconds until the end; null if not known.")
    growing: bool = Field(description="True if what is finished so far can be watched (GET .../growing).")
    width: int | None = Field(description="Width in pixels; null until it is made.")
    height: int | None = Field(description="Height in pixels; null until it is made.")
    fps: float | None = Field(description="Frames per second; null until it is made.")
    frames: int | None = Field(description="Number of frames; null until it is made.")
    seconds: float | None = Field(description="Length in seconds; null until it is made.")
    prompt: str | None = Field(description="The prompt that was used or given; null if it is still to be written.")
    first_segment_after: float | None = Field(
        description="Seconds from the beginning of the work to its first segment; null until it is made."
    )


class PreviewObject(JobObject):
    """A preview: what a video with these fields would be."""

    object: Literal["preview"] = "preview"
    findings: dict[str, Any] | None = Field(
        description="What was found; null until it is made. `people` and `reference_people` are numbered, with `box` "
        "(left, top, right, bottom as shares of the picture, 0 to 1); `segments` have `start` and `stop` in frames; "
        "`memory_bytes`; `estimated_seconds` (null if no video was made with the model yet); `plan`, `warnings` and "
        "`notes` are texts."
    )


class VideoList(BaseModel):
    """Videos, the newest first."""

    object: Literal["list"] = "list"
    data: list[VideoObject]
    first_id: str | None
    last_id: str | None = Field(description="Send it as `after` for the next ones.")
    has_more: bool


class PreviewList(BaseModel):
    """Previews, the newest first."""

    object: Literal["list"] = "list"
    data: list[PreviewObject]
    first_id: str | None
    last_id: str | None = Field(description="Send it as `after` for the next ones.")
    has_more: bool


class Deleted(BaseModel):
    """A job that was deleted, or that goes as soon as its worker has stopped."""

    id: str
    object: Literal["video.deleted", "preview.deleted"]
    deleted: bool = True


class UploadObject(BaseModel):
    """An uploaded file."""

    id: str = Field(description="SHA-256 of the content: send it instead of the file.")
    object: Literal["upload"] = "upload"
    kind: str = Field(description="What it was looked into as: image, video, conditions, pose or normals.")
    name: str = Field(description="Name under which it was sent.")
    bytes: int = Field(ge=0, description="Size in bytes.")
    facts: dict[str, Any] = Field(description="`width` and `height` in pixels, `fps`, `seconds`, where it has them.")


class ModelObject(BaseModel):
    """A model that jobs may choose."""

    id: str
    object: Literal["model"] = "model"
    default: bool = Field(description="True for the one that is used if a job names none.")
    facts: dict[str, Any] | None = Field(
        description="`segment_frames`, `pixels` (of a frame), `size_multiple` (pixels), `trained_size` (height, "
        "width), `steps`, `guidance`, `weights_bytes`, `trained`; or `problem`. Null until a worker has looked."
    )


class ModelList(BaseModel):
    """The models of the server."""

    object: Literal["list"] = "list"
    data: list[ModelObject]


class Move(BaseModel):
    """New place of a queued video."""

    before: str | None = Field(description="Id of the queued video that comes after it; null for the end of the queue.")


class WorkerObject(BaseModel):
    """A worker process."""

    running: bool
    restarts: int = Field(ge=0, description="Times that it died and was started again.")


class Health(BaseModel):
    """State of the server. `status` is `ok` if all workers run."""

    status: Literal["ok", "degraded"]
    version: str
    workers: dict[str, WorkerObject]
    disk_bytes: int = Field(ge=0, description="Size of the server's folder in bytes.")
    disk_limit_bytes: int = Field(ge=0, description="Its limit in bytes.")


def upload_object(upload: StoredUpload) -> UploadObject:
    """Return an uploaded file as an object of the API."""
    return UploadObject(id=upload.sha256, kind=upload.kind, name=upload.name, bytes=upload.bytes, facts=upload.facts)


def percent(job: ServerJob) -> int:
    """Return how much of a job is done, in percent: by steps of segments for videos, of the stage for previews."""
    if job.status == "completed":
        return 100
    done, total = job.progress.get("done", 0), job.progress.get("total", 0)
    share = done / total if total else 0.0
    if job.kind == "video":
        segments = job.progress.get("segments") or 0
        share = ((job.progress.get("segment") or 1) - 1 + share) / segments if segments else 0.0
    return min(99, int(100 * share))
