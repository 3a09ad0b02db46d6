"""Clips of which it is known what is wrong with them: rendered people, changed in one way at a time.

Used by `filter_agreement.py`. Renderings are kept in a folder, because they take the time; everything else is drawn
anew from seeds. A case says which filters it has a known answer for: what is in doubt for a filter is no case of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from posegen.data.clips import PERSON_BIT
from posegen.synthetic.clip import Clip, ClipSettings
from posegen.synthetic.scene import FRAMINGS

FPS, NUM_FRAMES = 8, 20
SIZES = ((360, 640), (640, 360))
FACE_POINTS = slice(0, 3)  # nose and eyes
TEXTS = (
    "SUBSCRIBE FOR MORE", "@dance.studio_91", "Part 3: the chorus", "www.example-videos.net", "follow me  ♥ 24.1K",
    "And then I told her the truth", "LIVE  •  BREAKING NEWS", "How to learn this in 10 minutes", "LOVE", "2023/07/14 18:22",
)  # fmt: skip


@dataclass
class Case:
    """A clip: RGB frames (F, H, W, 3) at `FPS`; `bad`: filter name -> whether that filter must drop it."""

    name: str
    frames: np.ndarray
    bad: dict[str, bool] = field(default_factory=dict)


@dataclass
class Rendered:
    """One identity in one scene: the clip, the same from behind, and the empty scene."""

    frames: np.ndarray
    person: np.ndarray  # (F, H, W) bool
    keypoints: np.ndarray  # (F, 133, 2)
    visibility: np.ndarray
    behind: np.ndarray
    empty: np.ndarray
    framing: str


def render(seed: int, folder: Path) -> Rendered:
    """Render, or read what was rendered before."""
    path = folder / f"{seed}.npz"
    framing = FRAMINGS[seed % len(FRAMINGS)]
    if not path.exists():
        height, width = SIZES[seed // len(FRAMINGS) % 2]
        clip = Clip(seed, seed, ClipSettings(height, width, NUM_FRAMES, float(FPS)), framing)
        frames = list(clip.frames())
        transforms = clip._transforms
        centre = clip._joints.mean((0, 1))
        turn = np.diag([-1.0, -1.0, 1.0])
        clip._transforms = np.einsum("ij,tbjk->tbik", turn, transforms)
        clip._transforms[..., 3] += centre - turn @ centre
        person = clip._start()
        behind = [clip._frame(person, number).rgb for number in range(8)]
        clip._transforms = transforms.copy()
        clip._transforms[..., 2, 3] -= 1000
        empty = clip._frame(clip._start(), 0).rgb
        folder.mkdir(parents=True, exist_ok=True)
        np.savez(
            path, frames=np.stack([frame.rgb for frame in frames]), behind=np.stack(behind), empty=empty,
            person=np.stack([(frame.masks & PERSON_BIT) > 0 for frame in frames]),
            keypoints=np.stack([frame.keypoints for frame in frames]),
            visibility=np.stack([frame.visibility for frame in frames]),
        )  # fmt: skip
    with np.load(path) as data:
        return Rendered(**{name: data[name] for name in data.files}, framing=framing)
