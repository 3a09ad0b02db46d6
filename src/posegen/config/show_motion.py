"""Settings of `posegen motion`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from posegen.config.base import Settings
from posegen.config.checks import chosen_person, parse_motion_fps, parse_size, parse_viewpoint
from posegen.errors import PosegenError


@dataclass(frozen=True)
class MotionConfig(Settings):
    """Show what is understood of a motion file (docs/motion.md lists the formats), in words and as a stick figure.

    Prints joints, units, the axis that points up, frame rate and gaps; writes a video in which the camera goes once
    around the person. `posegen generate --motion` understands the file in the same way.
    """

    file: Annotated[Path, tyro.conf.Positional]
    """The motion file."""
    output: Path | None = None
    """The video to write (.mp4); by default FILE_motion.mp4 in the current folder."""
    person: str = "largest"
    """Number of the person, from 1, if the file holds several; by default the one that is known longest."""
    motion_fps: str | None = None
    """Frame rate of a file that does not say it; by default 30, which is reported."""
    camera: str = "auto"
    """Place of the camera: auto goes once around the person; front, or AZIMUTH,ELEVATION in degrees, stay there."""
    size: str = "512x512"
    """HEIGHTxWIDTH of the video in pixels."""
    start: float | None = None
    """Second at which the video begins."""
    seconds: float = 20.0
    """Maximum length of the video."""

    def __post_init__(self) -> None:
        super().__post_init__()
        chosen_person(self.person)
        if self.motion_fps is not None:
            parse_motion_fps(self.motion_fps)
        parse_viewpoint(self.camera)
        parse_size(self.size)
        if self.output is not None and self.output.suffix.lower() != ".mp4":
            raise PosegenError(f"--output {self.output}: the result is an MP4 video, so its name must end in .mp4")
        if not 0 < self.seconds <= 3600:
            raise PosegenError(f"--seconds {self.seconds:g} is out of range: it must be above 0 and at most 3600")
        if self.start is not None and not 0 <= self.start <= 1_000_000:
            raise PosegenError(f"--start {self.start:g} is out of range: it must be from 0 to 1000000")

    @property
    def video(self) -> Path:
        """The video to write."""
        return self.output or Path(f"{self.file.stem}_motion.mp4")
