"""Settings of `posegen benchmark`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from posegen.config.base import Settings
from posegen.config.checks import check_range, parse_fps, parse_size
from posegen.errors import PosegenError


@dataclass(frozen=True)
class BenchmarkConfig(Settings):
    """Make a benchmark: synthetic people with fixed seeds, or a description of videos that you have."""

    kind: Annotated[Literal["val-same", "val-cross", "tiktok", "pairs"], tyro.conf.Positional]
    """val-same, val-cross: synthetic clips whose reference is the same or another person; tiktok: videos or folders of
    frames, the first frame of each being the reference; pairs: your own references and videos."""
    output: Path
    """Folder for benchmark.yaml and what it needs."""
    source: Path | None = None
    """Folder of your videos. tiktok: NAME.mp4, or frames in NAME/ or NAME/images/; pairs: NAME.png beside NAME.mp4, or
    NAME/reference.png with NAME/driving.mp4, NAME/truth.mp4 or both; see docs/evaluate.md."""
    clips: int = 4
    """Number of synthetic clips."""
    seconds: float = 10.0
    """Length of the synthetic clips."""
    size: str | None = None
    """HEIGHTxWIDTH of the synthetic clips; by default the size at which the model makes upright videos."""
    fps: str | None = None
    """Frame rate: of synthetic clips (16), of frames in folders (30)."""
    seed: int = 0
    """Same seed, same clips."""
    model: str = "mini"
    """Model whose shape the synthetic clips have, and for which their skeletons are drawn."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.size is not None:
            parse_size(self.size)
        check_range("--clips", self.clips, 1, 10_000)
        check_range("--seconds", self.seconds, 0.5, 36_000)
        check_range("--seed", self.seed, 0, 2**63 - 1)
        if self.fps is not None:
            parse_fps(self.fps)
        if self.kind in ("tiktok", "pairs") and self.source is None:
            raise PosegenError(f"posegen benchmark {self.kind} needs --source, the folder of your videos")
