"""Camera log is told by its pixels; the same pictures as they should be, dark or pale ones are not."""

import numpy as np
import pytest

from posegen.media.flat_footage import describe_flat, is_flat
from posegen.media.image import read_image
from posegen.media.video import iterate_frames


def slog3(picture):
    """Sony's S-Log3 of a picture in sRGB, in full range (Technical Summary for S-Gamut3/S-Log3, 2014)."""
    value = picture / 255.0
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4) * 0.9
    grey = light.mean(axis=2, keepdims=True)
    light = grey + 0.6 * (light - grey)  # the wide gamut makes colours pale
    curve = np.where(
        light >= 0.01125,
        (420 + np.log10((light + 0.01) / 0.19) * 261.5) / 1023,
        (light * 76.2102946929 / 0.01125 + 95) / 1023,
    )
    return np.rint(curve * 255).astype(np.uint8)


@pytest.mark.parametrize("name", ["man.png", "dancer.mp4"])
def test_camera_log_is_told_from_the_same_pictures_as_they_should_be(media, name):
    path = media / name
    pictures = [read_image(path)] if path.suffix == ".png" else list(iterate_frames(path, 1))
    assert describe_flat(pictures) is None
    assert describe_flat(slog3(picture) for picture in pictures)


def test_blank_and_dark_frames_are_not_flat_footage():
    assert not is_flat(np.full((90, 160, 3), 90, np.uint8))
    assert not is_flat(np.random.default_rng(0).integers(0, 60, (90, 160, 3), np.uint8))
    assert describe_flat([]) is None
