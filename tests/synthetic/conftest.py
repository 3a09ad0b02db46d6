"""Fixtures of the tests of synthetic people: small clips, made once. The first run extracts the assets (a minute).

Without the extra's packages these tests are not collected.
"""

from dataclasses import dataclass
from typing import Any

import pytest

from posegen.extras import missing_modules

if missing_modules("synthetic"):
    collect_ignore_glob = ["test_*.py"]


@dataclass(frozen=True)
class Made:
    clip: Any
    frames: list[Any]


@pytest.fixture(scope="session")
def made() -> list[Made]:
    """Two clips of every framing, each of another person."""
    from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
    from posegen.synthetic.scene import FRAMINGS

    settings = SyntheticClipSettings(height=192, width=112, num_frames=9, fps=16.0)
    result = []
    for number in range(2 * len(FRAMINGS)):
        clip = SyntheticClip(500 + number, 70 + number, settings, FRAMINGS[number % len(FRAMINGS)])
        result.append(Made(clip, list(clip.frames())))
    return result
