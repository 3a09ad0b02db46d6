"""Settings of `posegen serve`."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from posegen.config.base import Settings
from posegen.config.checks import check_token, parse_amount
from posegen.config.limits import Range
from posegen.errors import PosegenError


@dataclass(frozen=True)
class ServeConfig(Settings):
    """Serve a page and an HTTP API: jobs wait in a queue, survive restarts, and can be watched while they run."""

    folder: Path = Path("posegen-server")
    """Folder of the server: queue, uploaded files, videos. One server at a time uses it."""
    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other computers of your network in."""
    port: Annotated[int, Range(0, 65535)] = 8420
    """Port to listen on; 0 chooses a free one."""
    token: str | None = None
    """Token that requests must carry (`Authorization: Bearer TOKEN`, or in the page's address); by default a new one if
    other computers can reach the server, else none."""
    names: tuple[str, ...] = ()
    """Other names by which the server is reached, as behind a proxy: HOST or HOST:PORT."""
    models: tuple[str, ...] = ("mini",)
    """Models that jobs may choose, by name or folder; the first is the default."""
    loras: Path | None = None
    """Folder of LoRA files that jobs may choose by file name."""
    devices: tuple[str, ...] = ("auto",)
    """Devices to compute on, with a process each: auto, cpu, cuda, cuda:1, ..."""
    pose_weights: str | None = None
    """Weights for jobs that choose ViTPose or Sapiens2 as pose estimator: model folder or hub name."""
    detector_weights: str | None = None
    """Weights of the RT-DETR or D-FINE that detects people for them: model folder or hub name."""
    normals_weights: str | None = None
    """Weights for jobs that choose Sapiens2 for hand normals: model folder or hub name."""
    parts_weights: str | None = None
    """Weights of Sapiens2's body parts, which locate the hands: model folder or hub name."""
    max_upload: str = "2GB"
    """Maximum size of the files of one request, together."""
    max_uploads: Annotated[int, Range(1, 1_000_000, "files")] = 1000
    """Maximum number of uploaded files that are kept; the oldest that no job uses go first."""
    upload_days: Annotated[float, Range(0.01, 36_500, "days")] = 7.0
    """Days after which uploaded files that no job uses are removed."""
    max_disk: str = "100GB"
    """Maximum size of the server's folder; new jobs are refused beyond it."""
    max_jobs: Annotated[int, Range(1, 1_000_000, "jobs")] = 1000
    """Maximum number of jobs that wait or run."""
    patience: Annotated[float, Range(0, 3600, "seconds")] = 20.0
    """Seconds that a job in progress has to stop when the server does; it resumes with the next start."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_token(self.token)
        for name in ("max_upload", "max_disk"):
            parse_amount(getattr(self, name), f"--{name.replace('_', '-')}")
        for name in ("models", "devices"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise PosegenError(f"--{name}: name at least one, and each once")
        for name in self.names:
            if not re.fullmatch(r"[A-Za-z0-9.-]{1,253}(:\d{1,5})?", name):
                raise PosegenError(f"--names {name!r:.80} is not a name: write HOST or HOST:PORT")
