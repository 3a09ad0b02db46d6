"""The API's work without HTTP: takes jobs in, shows them, and removes them with their files."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from posegen.config import GenerateConfig, PreviewConfig, ServeConfig, parse_amount
from posegen.serve.api_objects import (
    ErrorDetail,
    ModelList,
    ModelObject,
    PreviewObject,
    SentFileObject,
    VideoObject,
    percent,
)
from posegen.serve.housekeeping import Housekeeping
from posegen.serve.job_fields import FieldError, JobField, job_fields, make_config, read_fields
from posegen.serve.job_store import JobKind, JobStore, ServerJob, StoredUpload, UnknownJobError, job_place
from posegen.serve.upload_folder import UploadFolder

CONFIGS: dict[JobKind, type[GenerateConfig]] = {"video": GenerateConfig, "preview": PreviewConfig}
"""Settings of each kind of job."""
SentFiles = Mapping[str, tuple[str, BinaryIO]]
"""Files of a request by field: name and content."""
_GROWING = "result.growing.mp4"


class JobService:
    """The jobs of one server."""

    def __init__(self, config: ServeConfig, store: JobStore) -> None:
        self.config, self.store = config, store
        most = parse_amount(config.max_upload, "--max-upload")
        self.uploads = UploadFolder(store, most, config.max_uploads, config.upload_days)
        self.housekeeping = Housekeeping(config, store, self.uploads)

    # -- taking in -----------------------------------------------------------------------------------------------------

    def create(self, kind: JobKind, texts: Mapping[str, Sequence[str]], files: SentFiles) -> ServerJob:
        """Check everything that can be checked at once, and queue the job. Raises `FieldError`."""
        config, known = CONFIGS[kind], job_fields(CONFIGS[kind])
        for name in files:
            if name not in known or known[name].kind != "file":
                raise FieldError(f"{name[:80]} is not a field for a file: send it as text", name[:80], "unknown_field")
        of_files = {name: field for name, field in known.items() if field.kind == "file"}
        values = read_fields({name: text for name, text in texts.items() if name not in of_files}, config)
        places = {name: Path(name) for name in of_files if name in files or name in texts}
        make_config(config, values, places, Path("result.mp4"), self.config)  # before files are looked at
        self.housekeeping.check_room()
        kept = {name: self._file(field, texts, files) for name, field in of_files.items() if name in places}
        paths = {name: self.uploads.path(upload) for name, upload in kept.items()}
        make_config(config, values, paths, Path("result.mp4"), self.config)
        lost = [name for name, upload in kept.items() if self.store.upload(upload.sha256) is None]
        if lost:  # made room for another file of this request
            raise FieldError(f"{lost[0]}: the server keeps too few files for this job", lost[0], "too_many_files")
        return self.store.add(
            kind, values, {name: upload.sha256 for name, upload in kept.items()}, self.config.max_jobs
        )

    def _file(self, field: JobField, texts: Mapping[str, Sequence[str]], files: SentFiles) -> StoredUpload:
        if field.file is None:
            raise ValueError(f"{field.name} is no file")
        if field.name in files:
            if field.name in texts:
                raise FieldError(f"{field.name} is given twice: send a file, or the id of an upload", field.name)
            name, content = files[field.name]
            return self.uploads.keep(content, name, field.file, field.name)
        if len(texts[field.name]) != 1:
            raise FieldError(f"{field.name} is given {len(texts[field.name])} times: give it once", field.name)
        return self.uploads.find(texts[field.name][0].strip(), field.file, field.name)

    # -- showing -------------------------------------------------------------------------------------------------------

    def video(self, job: ServerJob, places: Mapping[str, int] | None = None) -> VideoObject:
        """Return a video as an object of the API; places: those of the queue, if they are known."""
        result, progress = job.result or {}, job.progress if job.status == "in_progress" else {}
        place = None
        if job.status == "queued":
            place = (self.store.places() if places is None else places).get(job.id)
        made = ("width", "height", "fps", "frames", "seconds", "first_segment_after")
        return VideoObject.model_validate(
            {
                **self._shared(job),
                "queue_place": place,
                "segment": progress.get("segment"),
                "segments": progress.get("segments"),
                "seconds_left": progress.get("seconds_left"),
                "growing": job.status == "in_progress" and self.growing_path(job).is_file(),
                "prompt": result.get("prompt") or job.fields.get("prompt"),
                **{name: result.get(name) if job.status == "completed" else None for name in made},
            }
        )

    def preview(self, job: ServerJob) -> PreviewObject:
        """Return a preview as an object of the API."""
        findings = None
        if job.result is not None:
            findings = {name: value for name, value in job.result.items() if name != "files"}
            address = f"/v1/previews/{job.id}/files/"
            findings["people"] = [{**person, "picture": address + person["picture"]} for person in findings["people"]]
            findings["videos"] = {name: address + file for name, file in findings["videos"].items()}
            findings["reference"] = address + findings["reference"]
        return PreviewObject.model_validate({**self._shared(job), "findings": findings})

    def _shared(self, job: ServerJob) -> dict[str, Any]:
        progress = job.progress if job.status == "in_progress" else {}
        return {
            "id": job.id,
            "status": job.status,
            "progress": percent(job),
            "stage": progress.get("stage"),
            "stage_done": progress.get("done", 0),
            "stage_total": progress.get("total", 0),
            "created_at": int(job.made),
            "started_at": None if job.started is None else int(job.started),
            "completed_at": None if job.ended is None else int(job.ended),
            "model": job.fields.get("model", self.config.models[0]),
            "fields": job.fields,
            "files": {name: self._sent(sha256) for name, sha256 in job.files.items()},
            "error": None if job.error is None else ErrorDetail(**job.error),
            "outputs": {
                name: f"/v1/{job.kind}s/{job.id}/"
                + (f"content?variant={name}" if job.kind == "video" else f"files/{file}")
                for name, file in (job.result or {}).get("files", {}).items()
                if job.status == "completed"
            },
        }

    def _sent(self, sha256: str) -> SentFileObject:
        upload = self.store.upload(sha256)
        if upload is None:
            return SentFileObject(id=sha256, name="(removed)", bytes=0)
        return SentFileObject(id=sha256, name=upload.name, bytes=upload.bytes)

    def models(self) -> ModelList:
        """Return the models of the server."""
        facts = self.store.note("models") or {}
        names = self.config.models
        return ModelList(data=[ModelObject(id=name, default=name == names[0], facts=facts.get(name)) for name in names])

    # -- files ---------------------------------------------------------------------------------------------------------

    def growing_path(self, job: ServerJob) -> Path:
        """Path of the video as far as it is made."""
        return job_place(self.config.folder, job.id) / _GROWING

    def output_path(self, job: ServerJob, variant: str) -> Path:
        """Return the path of a file that a video job has made. Raises `FieldError` or `UnknownJobError`."""
        files = (job.result or {}).get("files", {}) if job.status == "completed" else {}
        if variant not in files:
            made = f"it has {', '.join(files)}" if files else f"it is {job.status}"
            raise FieldError(
                f"there is no {variant} of {job.id}: {made}", "variant", "not_ready" if not files else "not_found"
            )
        path = job_place(self.config.folder, job.id) / files[variant]
        if not path.is_file():
            raise UnknownJobError(
                f"the file of {job.id} is gone from the server's folder: retry is not possible, send it again"
            )
        return path

    def preview_path(self, job: ServerJob, name: str) -> Path:
        """Return the path of a file of a preview. Raises `UnknownJobError` for names that it has not made."""
        result = job.result or {}
        names = {*result.get("files", {}).values(), *result.get("videos", {}).values(), result.get("reference")}
        names |= {person["picture"] for person in result.get("people", ())}
        path = job_place(self.config.folder, job.id) / name
        if name not in names or not path.is_file():
            raise UnknownJobError(f"the preview {job.id} has no file {name:.80}")
        return path

    def delete(self, job: ServerJob) -> None:
        """Remove a job and its files; one in progress goes as soon as its worker has stopped."""
        if self.store.delete(job.id):
            shutil.rmtree(job_place(self.config.folder, job.id), ignore_errors=True)
