"""Settings of `posegen synth`."""

from dataclasses import dataclass
from pathlib import Path

from posegen.config.base import Settings
from posegen.config.checks import check_range, parse_fps, parse_size
from posegen.config.choices import ClipStyle, Split
from posegen.errors import PosegenError


@dataclass(frozen=True)
class SynthConfig(Settings):
    """Make synthetic people for training: short clips with exact keypoints, normals, masks and captions, as shards."""

    output: Path
    """Folder for the shards and their index; the same command again checks existing shards and makes missing ones, and
    with more --clips it adds clips."""
    split: Split = "train"
    """Training; validation with the person's own reference image; or with that of another person."""
    clips: int = 100
    """Number of clips."""
    size: str = "256x144"
    """HEIGHTxWIDTH of the clips in pixels."""
    fps: str = "16"
    """Frame rate of the clips."""
    style: ClipStyle = "calm"
    """People who face the camera and stay where they are, or who turn, come near and move their arms fast."""
    frames: int = 33
    """Number of frames of each clip."""
    seed: int = 0
    """Same seed, same people, movements and pixels."""
    workers: int | None = None
    """Number of worker processes; by default one for each processor core. 0 works in this process."""
    clips_per_shard: int = 16
    """Number of clips in one shard file, which one process makes at a time."""
    contact_sheet: Path | None = None
    """Also write an image (.jpg) of a few clips: frames, skeletons, hand normals, masks and captions."""

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_size(self.size)
        parse_fps(self.fps)
        check_range("--clips", self.clips, 1, 10_000_000)
        check_range("--frames", self.frames, 1, 10_000)
        check_range("--seed", self.seed, 0, 2**63 - 1)
        check_range("--workers", self.workers or 0, 0, 1024)
        check_range("--clips-per-shard", self.clips_per_shard, 1, 100_000)
        if self.contact_sheet is not None and self.contact_sheet.suffix.lower() not in (".jpg", ".jpeg", ".png"):
            raise PosegenError(f"--contact-sheet {self.contact_sheet}: its name must end in .jpg or .png")
