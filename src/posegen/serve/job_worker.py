"""The process that makes videos or previews for the server, which starts it and sends it a line of JSON.

It takes jobs from the store, one after the other, and ends with the server: at once when that is killed (its standard
input closes; nothing is lost, since finished segments are kept), after a step when that stops (SIGTERM).
"""

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
import traceback
import zipfile
from dataclasses import fields
from pathlib import Path
from typing import Any

import filelock

from posegen.config import EstimatorConfig, GenerateConfig, PreviewConfig, ServeConfig
from posegen.errors import DiskFullError, PosegenError
from posegen.library_imports import imported_for_good
from posegen.serve.job_fields import FieldError, SentFile, explain, make_config
from posegen.serve.job_store import JobKind, JobStore, ServerJob, job_place

_POLL = 0.1
"""Seconds between two looks into an empty queue."""
_TAKEOVER = 60.0
"""Seconds to wait for the worker of a killed server to end."""
_TRIES = 20
"""Speeds that are kept for estimates."""
_SHARED = (
    "model",
    "size",
    "fps",
    "fit",
    "hands",
    "conditions",
    *(field.name for field in fields(EstimatorConfig)),
)
"""Settings that two jobs must share for one to take up the other's conditions (extraction checks the rest)."""


class Worker:
    """One worker: its store, its device, and the model that it keeps loaded."""

    def __init__(self, config: ServeConfig, kind: JobKind, device: str, name: str) -> None:
        self.config, self.kind, self.device, self.name = config, kind, device, name
        self.store = JobStore(config.folder)
        self.stopping = threading.Event()

    def run(self) -> None:
        """Work until told to stop."""
        lock = filelock.FileLock(self.config.folder / f"{self.name.replace(':', '-')}.lock")
        try:
            lock.acquire(timeout=_TAKEOVER)
        except filelock.Timeout:
            raise PosegenError(f"another worker {self.name} uses {self.config.folder}: end it first") from None
        with lock, imported_for_good():
            from posegen.serve.loaded_model import LoadedModel

            self.model = LoadedModel()
            self._describe_models()
        with lock:
            self.store.hand_back(self.name)
            while not self.stopping.is_set():
                job = self.store.claim(self.kind, self.name)
                if job is None:
                    self.stopping.wait(_POLL)
                    continue
                self._work(job)

    def _describe_models(self) -> None:
        """Note what clients should know of the models; one that cannot be used says why."""
        from posegen.model.sources import describe_model

        described: dict[str, dict[str, Any]] = {}
        for name in self.config.models:
            try:
                model = describe_model(name)
            except PosegenError as error:
                described[name] = {"problem": str(error)}
                continue
            described[name] = {
                "segment_frames": model.segment_length,
                "pixels": model.default_area,
                "size_multiple": model.size_multiple,
                "trained_size": list(model.trained_size) if model.trained_size else None,
                "steps": model.default_steps,
                "guidance": model.default_guidance,
                "weights_bytes": model.weights_bytes,
                "trained": model.trained,
            }
        self.store.keep_note("models", described)

    # -- one job -------------------------------------------------------------------------------------------------------

    def _work(self, job: ServerJob) -> None:
        """Do a job and note its end, whatever happens."""
        from posegen.serve.job_progress import JobStopped

        place = job_place(self.config.folder, job.id)
        sent = self._files(job)
        try:
            result = self._make_video(job, place, sent) if job.kind == "video" else self._preview(job, place, sent)
            self.store.end(job.id, "completed", result=result)
        except JobStopped as stop:
            if stop.wish is None:
                self.store.hand_back(self.name)
                return
            self.store.end(job.id, "paused" if stop.wish == "pause" else "cancelled")
            if stop.wish == "delete":
                shutil.rmtree(place, ignore_errors=True)
                self.store.delete(job.id)
        except Exception as error:
            self._fail(job, place, error, sent)

    def _fail(self, job: ServerJob, place: Path, error: Exception, sent: list[SentFile]) -> None:
        if isinstance(error, PosegenError):
            found = explain(error, sent)
            code = "disk_full" if isinstance(error, DiskFullError) else found.code
        else:
            place.mkdir(parents=True, exist_ok=True)
            with contextlib.suppress(OSError):
                (place / "traceback.txt").write_text(traceback.format_exc())
            traceback.print_exc()
            text = " ".join(str(error).split())[:200]
            if isinstance(error, MemoryError) or "out of memory" in text.lower() or "allocate memory" in text.lower():
                self.model.unload()
                found, code = FieldError("there is not enough memory: choose a smaller size", "size"), "out_of_memory"
            else:
                found, code = FieldError(f"a defect of posegen ({type(error).__name__}: {text})", None), "defect"
        message = str(found).replace(f"{self.config.folder}/", "")
        self.store.end(job.id, "failed", error={"message": message, "field": found.field, "code": code})

    def _files(self, job: ServerJob) -> list[SentFile]:
        sent = []
        for field, sha256 in job.files.items():
            upload = self.store.upload(sha256)
            if upload is not None:
                sent.append(SentFile(self.config.folder / upload.file, field, upload.name))
        return sent

    def _config(self, job: ServerJob, kind: type[GenerateConfig], place: Path, sent: list[SentFile]) -> GenerateConfig:
        from posegen.serve.upload_check import unpack_conditions

        place.mkdir(parents=True, exist_ok=True)
        paths = {file.field: file.path for file in sent}
        missing = set(job.files) - set(paths)
        if missing:
            field = sorted(missing)[0]
            raise FieldError(f"{field}: the uploaded file is gone: send it again", field, "not_found")
        if "driving_conditions" in paths:
            folder = place / "given_conditions"
            if not (folder / "manifest.json").is_file():
                unpack_conditions(paths["driving_conditions"], folder)
            paths["driving_conditions"] = folder
        return make_config(kind, job.fields, paths, place / "result.mp4", self.config, self.device)

    def _make_video(self, job: ServerJob, place: Path, sent: list[SentFile]) -> dict[str, Any]:
        from posegen.generate.job.job_folder import side_by_side_path, work_folder
        from posegen.generate.long_video import generate_video
        from posegen.serve.job_progress import ReportedProgress

        config = self._config(job, GenerateConfig, place, sent)
        self._take_conditions(config, job, place)
        with ReportedProgress(self.store, job, config.output, sent, self.stopping.is_set) as progress:
            loads = self.model.loads
            plan = generate_video(config, progress, self.model.load).plan
            progress.finish()
        settings = plan.settings
        if self.model.loads > loads:
            self.store.tell(job.id, "note", {"text": f"the model {config.model} was loaded"})
        self._note_speed(config, plan, progress.segment_seconds, _segments_made(job, self.store))
        for folder in work_folder(config.output).glob("job-*"):  # the video is there: its lossless segments can go
            shutil.rmtree(folder, ignore_errors=True)
        files = {"video": config.output.name}
        if config.side_by_side:
            files["side_by_side"] = side_by_side_path(config.output).name
        masks = place / "result_masks"
        if masks.is_dir():
            with zipfile.ZipFile(place / "masks.zip", "w") as archive:
                for path in sorted(masks.iterdir()):
                    archive.write(path, path.name)
            shutil.rmtree(masks)
            files["masks"] = "masks.zip"
        started = progress.first_segment
        return {
            "frames": settings.num_frames,
            "fps": float(settings.fps),
            "width": settings.size[1],
            "height": settings.size[0],
            "seconds": round(float(settings.num_frames / settings.fps), 3),
            "prompt": settings.sampling.prompt,
            "files": files,
            "first_segment_after": None if started is None or job.started is None else round(started - job.started, 3),
        }

    def _preview(self, job: ServerJob, place: Path, sent: list[SentFile]) -> dict[str, Any]:
        from posegen.generate.preview.preview_job import preview_job
        from posegen.serve.job_progress import ReportedProgress
        from posegen.serve.preview_findings import write_findings

        config = self._config(job, PreviewConfig, place, sent)
        if not isinstance(config, PreviewConfig):
            raise TypeError("previews have settings of their own")
        self._take_conditions(config, job, place)
        with ReportedProgress(self.store, job, config.output, sent, self.stopping.is_set) as progress:
            found, picture, video = preview_job(config, progress)
        result = write_findings(found, place, sent)
        plan = found.plan
        result["estimated_seconds"] = self._estimate(config, plan)
        return result | {"files": {"sheet": picture.name, "video": video.name}}

    # -- conditions of other jobs --------------------------------------------------------------------------------------

    def _take_conditions(self, config: GenerateConfig, job: ServerJob, place: Path) -> None:
        """Copy the conditions that a preview or another video with the same inputs has made; extraction checks them."""
        from posegen.generate.job.job_folder import work_folder

        shared = {name: getattr(config, name) for name in _SHARED}
        key = json.dumps([sorted(job.files.items()), shared], default=str, sort_keys=True)
        target = work_folder(config.output) / "conditions"
        (place / "conditions.key").write_text(key)
        if target.exists():
            return
        for path in (self.config.folder / "jobs").glob("*/conditions.key"):
            source = path.parent / "result.posegen" / "conditions"
            with contextlib.suppress(OSError):
                if path.parent == place or path.read_text() != key or not (source / "manifest.json").is_file():
                    continue
                try:
                    shutil.copytree(source, target)
                    return
                except (OSError, shutil.Error):
                    shutil.rmtree(target, ignore_errors=True)

    # -- how long it takes ---------------------------------------------------------------------------------------------

    def _note_speed(self, config: GenerateConfig, plan: Any, seconds: float, segments: int) -> None:
        if segments < 1 or seconds <= 0:
            return
        speed = {**_work_of(config, plan), "device": self.device, "seconds": seconds / segments}
        self.store.keep_note("speeds", [speed, *(self.store.note("speeds") or [])][:_TRIES])

    def _estimate(self, config: GenerateConfig, plan: Any) -> float | None:
        """Seconds for the segments of a video, by the speed of earlier ones with this model; None without any."""
        wanted = _work_of(config, plan)
        known = [each for each in self.store.note("speeds") or [] if each["model"] == wanted["model"]]
        if not known:
            return None
        nearest = min(known, key=lambda each: abs(each["tokens"] - wanted["tokens"]))
        share = wanted["tokens"] * wanted["passes"] / (nearest["tokens"] * nearest["passes"])
        return round(float(nearest["seconds"] * share * len(plan.settings.plan.segments)), 1)


def _work_of(config: GenerateConfig, plan: Any) -> dict[str, Any]:
    """The amount of work of a segment: tokens, and forward passes."""
    sampling = plan.settings.sampling
    passes = sampling.steps * (1 + (sampling.guidance != 1.0) + (sampling.pose_guidance.scale != 1.0))
    return {"model": config.model, "tokens": sum(plan.inputs.model.tokens(plan.settings.size)), "passes": passes}


def _segments_made(job: ServerJob, store: JobStore) -> int:
    """Number of segments that this run of the job has made."""
    events = store.events(job.id, limit=100_000)
    begun = max((event.number for event in events if event.data.get("status") == "in_progress"), default=0)
    made = [event.data for event in events if event.kind == "segment" and event.number > begun]
    return made[-1]["segments"] - made[0]["segment"] if made else 0


def end_with_the_server() -> None:
    """End this process at once when its standard input closes: then the server is gone."""

    def wait() -> None:
        while sys.stdin.buffer.read(1):
            pass
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def main() -> None:
    """Work as the line of JSON on standard input says."""
    given = json.loads(sys.stdin.buffer.readline())
    end_with_the_server()
    if given["nice"]:
        os.nice(given["nice"])
    settings = given["config"]
    worker = Worker(ServeConfig(**settings), given["kind"], given["device"], given["name"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: worker.stopping.set())
    began = time.strftime("%Y-%m-%d %H:%M:%S")
    print(f"{began} worker {worker.name}, process {os.getpid()}", file=sys.stderr, flush=True)
    try:
        worker.run()
    except PosegenError as error:
        print(f"{began} {error}", file=sys.stderr, flush=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
