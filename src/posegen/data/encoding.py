"""Defines the windows of a clip that are encoded for a training. `data/latent_cache.py` encodes them.

It loads no model library, since workers of `posegen prepare` that encode nothing read it too.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoding:
    """Windows and kinds of latents made of each clip."""

    num_frames: int
    windows: int = 1
    head: int = 0
    tail: int = 0
    pose: bool = True
    """False: no skeletons and hands, but grey frames after the head (image-to-video, as Wan is trained)."""
    mirrored: bool = False
    """Encode every clip a second time, left and right exchanged."""

    def starts(self, clip_frames: int) -> list[int]:
        """Return the first frames of the windows, evenly spaced over a clip."""
        return [round(float(start)) for start in np.linspace(0, clip_frames - self.num_frames, self.windows)]
