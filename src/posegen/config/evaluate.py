"""Settings of `posegen evaluate`."""

from dataclasses import dataclass
from pathlib import Path

from posegen.config.base import Settings
from posegen.config.checks import check_methods, check_range


@dataclass(frozen=True)
class EvaluateConfig(Settings):
    """Score the results of one or many methods on a benchmark, and write a report (HTML, Markdown, CSV)."""

    benchmark: Path
    """A benchmark description (YAML; docs/evaluate.md lists its keys), or a folder with benchmark.yaml; made by
    `posegen benchmark`."""
    methods: tuple[str, ...]
    """NAME=FOLDER of each method; the folder holds a video, or a folder of frames, for each clip of the benchmark, and
    for "seam flicker" NAME.seams.json; see docs/evaluate.md."""
    output: Path
    """Folder for report.html, report.md, scores.csv and clips.csv."""
    protocol: str = "disco"
    """disco: as in published tables, the central square of frames at 256 x 256; disco-native: the same formulas at the
    videos' own size; humanvid: 896 x 512, every third of 72 frames; native; or a TOML file (docs/evaluate.md)."""
    allow_missing: bool = False
    """Score the available results if some are missing or too short, and count them in the report."""
    resample: bool = False
    """Sample results of another frame rate at the times of the ground truth."""
    embedded: bool = True
    """Also score with the network included in a package (a substitute, reported under its own names)."""
    people: bool = True
    """Detect people in the results, for pose error, hands, background drift and appearance."""
    lpips: Path | None = None
    """Weights for LPIPS: vgg16-397923af.pth."""
    inception: Path | None = None
    """Weights for FID: pt_inception-2015-12-05-6726825d.pth."""
    resnet3d: Path | None = None
    """Weights for FID-VID: resnet-50-kinetics.pth."""
    i3d: Path | None = None
    """Weights for FVD: i3d_pretrained_400.pt."""
    arcface: Path | None = None
    """ArcFace network for identity: w600k_r50.onnx."""
    dino: str | None = None
    """DINO or DINOv2 model (folder or hub name) for temporal consistency."""
    q_align: str | None = None
    """Vision-language model that rates images (folder or hub name), for visual quality as in Q-Align."""
    videos: bool = True
    """Include small videos in the report, at most --preview-seconds of each."""
    preview_seconds: float = 20.0
    """Seconds of each video in the report."""
    cache: Path | None = None
    """Folder of cached scores, by content of the videos; by default in the user's cache folder."""
    device: str = "auto"
    """Device to compute on: auto, cpu, cuda, cuda:1, ..."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("--preview-seconds", self.preview_seconds, 0.1, 36_000)
        check_methods(self.methods)
