"""Previews a job: looks ahead at it, and writes what was found as an image and a short video.

The looking is in `look_ahead.py`, the drawing in `preview_pictures.py`.
"""

from pathlib import Path

from posegen.config import PreviewConfig
from posegen.generate.planning.job_inputs import protect_inputs
from posegen.generate.preview.look_ahead import Preview, look_ahead
from posegen.generate.preview.preview_pictures import write_preview
from posegen.media.files import check_writable
from posegen.progress import NullProgress, Progress


def preview_job(config: PreviewConfig, progress: Progress | None = None) -> tuple[Preview, Path, Path]:
    """Look ahead at a job; return what was found, the picture and the video. Raises `PosegenError`."""
    progress = progress or NullProgress()
    picture, video = preview_paths(config.output)
    protect_inputs(config, (picture, video))
    check_writable(config.output.parent)
    found = look_ahead(config, progress, quick=config.quick)
    write_preview(found, picture, video)
    return found, picture, video


def preview_paths(output: Path) -> tuple[Path, Path]:
    """OUTPUT_preview.png and OUTPUT_preview.mp4."""
    return output.with_name(f"{output.stem}_preview.png"), output.with_name(f"{output.stem}_preview.mp4")
