"""Which windows of a clip are encoded for a training, and how. What is done with them is `data/latent_cache.py`'s.

No model is needed to say it: workers of `posegen prepare` that encode nothing read it, too, and load no library for it.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Encoding:
    """What is made of each clip."""

    num_frames: int
    windows: int = 1
    head: int = 0
    tail: int = 0
    pose: bool = True
    """False: no skeletons and hands, but grey frames after the head (image-to-video, as Wan is trained)."""
    mirrored: bool = False
    """Every clip a second time, left and right exchanged."""

    def starts(self, clip_frames: int) -> list[int]:
        """First frames of the windows, evenly spaced over a clip."""
        return [round(float(start)) for start in np.linspace(0, clip_frames - self.num_frames, self.windows)]
