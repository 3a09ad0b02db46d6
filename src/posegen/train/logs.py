"""Writes the figures and pictures of a run: TensorBoard, a JSON line for each record, and image and video files."""

import json
from pathlib import Path

import numpy as np

from posegen.errors import logger
from posegen.media.image import animated_gif, write_image
from posegen.media.video import VideoWriter
from posegen.train.stage import Validation

_FPS = 16
_LINES = 256
"""Height in pixels of a video in TensorBoard: GIFs compress badly."""


class Logs:
    """Logs of one stage in its folder; for the main process only."""

    def __init__(self, folder: Path, step: int) -> None:
        """Resume after `step`: later records of a killed run are dropped."""
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "metrics.jsonl"
        if self._file.is_file():
            lines = self._file.read_text(errors="replace").splitlines()
            kept = [line for line in lines if _step_of(line) <= step]
            self._file.write_text("".join(f"{line}\n" for line in kept))
        from torch.utils.tensorboard import SummaryWriter

        self._board = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)

    def close(self) -> None:
        """Close the files."""
        self._board.close()

    def scalars(self, group: str, values: dict[str, float], step: int) -> None:
        """Record numbers under the names GROUP/NAME."""
        for name, value in values.items():
            self._board.add_scalar(f"{group}/{name}", value, step)
        rounded = {f"{group}/{name}": float(f"{value:.6g}") for name, value in values.items()}
        with self._file.open("a") as stream:
            stream.write(json.dumps({"step": step, **rounded}) + "\n")
        self._board.flush()

    def validation(self, result: Validation, step: int) -> None:
        """Record a validation: numbers, pictures, and videos, as files and as the GIFs that TensorBoard can show."""
        self.scalars("validation", result.scalars, step)
        folder = self.folder / "samples"
        for name, picture in result.pictures.items():
            self._board.add_image(f"validation/{name}", picture, step, dataformats="HWC")
            write_image(folder / f"{name}-{step:07d}.png", picture)
        for name, video in result.videos.items():
            self._show(f"validation/{name}_video", video, step)
            height, width = video.shape[1] // 2 * 2, video.shape[2] // 2 * 2
            try:
                with VideoWriter(folder / f"{name}-{step:07d}.mp4", fps=_FPS, size=(height, width)) as writer:
                    for frame in video[:, :height, :width]:
                        writer.write(np.ascontiguousarray(frame))
            except ValueError as error:  # a picture to look at is not worth stopping for
                logger.warning("no sample video at step %d: %s", step, error)
        self._board.flush()

    def _show(self, tag: str, video: np.ndarray, step: int) -> None:
        """Add an animated GIF to TensorBoard; torch's `add_video` would need another package for it."""
        height, width = video.shape[1:3]
        from tensorboard.compat.proto.summary_pb2 import Summary  # type: ignore[import-untyped]

        image = Summary.Image(
            height=height, width=width, colorspace=3, encoded_image_string=animated_gif(video, _FPS, _LINES)
        )
        self._board._get_file_writer().add_summary(Summary(value=[Summary.Value(tag=tag, image=image)]), step)


def _step_of(line: str) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError):
        return 2**62
