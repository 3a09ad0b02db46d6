"""Settings of `posegen extract`."""

from dataclasses import dataclass
from pathlib import Path

from posegen.config.checks import parse_fps, parse_size
from posegen.config.choices import FitMode
from posegen.config.estimators import EstimatorConfig


@dataclass(frozen=True)
class ExtractConfig(EstimatorConfig):
    """Extract the conditions of one driving video (keypoints, skeletons, hand normals) and an overlay to inspect."""

    driving: Path
    """The driving video."""
    output: Path
    """Folder for keypoints, skeleton and hand videos, overlay and manifest."""
    size: str | None = None
    """HEIGHTxWIDTH in pixels of the conditions; by default the driving video's own size, fitted to multiples of 16."""
    fps: str | None = None
    """Frame rate of the conditions; by default that of the driving video."""
    model: str = "mini"
    """Name or folder of the model for which skeletons are drawn."""
    fit: FitMode = "crop"
    """Fit of the driving video to the size: crop the excess, or pad with black."""
    hands: bool = True
    """Make hand normals too."""
    device: str = "auto"
    """Device of the larger estimators: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_hands(self.hands)
        if self.size is not None:
            parse_size(self.size)
        if self.fps is not None:
            parse_fps(self.fps)
