"""Tone-maps HDR images (PQ or HLG, BT.2020) to 8-bit BT.709, with a roll-off of bright light.

`colour` supplies the signal values. (libswscale 9 maps HDR too, but clips all light above that of a white page, which
flattens skies and lamps.)
"""

import functools
from typing import Literal

import cv2
import numpy as np
from jaxtyping import Float, UInt8, UInt16

REFERENCE_WHITE = 203.0
"""Luminance of a white page in HDR video, cd/m² (ITU-R BT.2408); it becomes nearly full white."""
PEAK = 1000.0
"""Maximum luminance that stays distinct from full white, cd/m²."""
_KNEE = 0.8  # of reference white; below it light is kept as it is
_DISPLAY_GAMMA = 2.4  # of an ordinary video's display (ITU-R BT.1886)
_LUMINANCE = np.array([0.2627, 0.6780, 0.0593], dtype=np.float32)
_BT2020_TO_BT709 = np.array(
    [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]], dtype=np.float32
)


def to_standard_range(
    image: UInt16[np.ndarray, "h w 3"], transfer: Literal["pq", "hlg"], wide_gamut: bool
) -> UInt8[np.ndarray, "h w 3"]:
    """Map RGB signal values 0..65535 of an HDR transfer function to BT.709 values 0..255 for an ordinary display.

    `wide_gamut`: the colours are BT.2020's. Formulas: ITU-R BT.2100 tables 4 (PQ) and 5 (HLG on a 1000 cd/m² display).
    Light above 0.8 of reference white is compressed by a Möbius curve (as FFmpeg's `tonemap=mobius`), the same
    for all three channels, so that hues stay.
    """
    light = _light_table(transfer)[image]
    if transfer == "hlg":
        luminance = light @ _LUMINANCE
        light *= (luminance ** np.float32(0.2))[..., None] * np.float32(PEAK / REFERENCE_WHITE)
    if wide_gamut:
        light = cv2.transform(light, _BT2020_TO_BT709)
    brightest = light.max(axis=2)
    above = brightest > _KNEE
    light[above] *= (_rolled_off(brightest[above]) / brightest[above])[:, None]
    return _display_table()[(np.clip(light, 0, 1) * 65535).astype(np.uint16)]


@functools.cache
def _light_table(transfer: str) -> Float[np.ndarray, " 65536"]:
    """Tabulate signal to light: for PQ in units of reference white, for HLG scene light 0..1."""
    signal = np.arange(65536) / 65535
    if transfer == "pq":
        power = signal ** (1 / 78.84375)
        light = 10000 * (np.maximum(power - 0.8359375, 0) / (18.8515625 - 18.6875 * power)) ** (1 / 0.1593017578125)
        return (light / REFERENCE_WHITE).astype(np.float32)
    dark = signal**2 / 3
    bright = (np.exp((signal - 0.55991073) / 0.17883277) + 0.28466892) / 12
    return np.where(signal <= 0.5, dark, bright).astype(np.float32)


@functools.cache
def _display_table() -> UInt8[np.ndarray, " 65536"]:
    """Tabulate light 0..65535 to display values 0..255."""
    return np.round(255 * (np.arange(65536) / 65535) ** (1 / _DISPLAY_GAMMA)).astype(np.uint8)


def _rolled_off(light: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Compress light above the knee to below 1: smooth at the knee, `PEAK` becomes 1."""
    peak = PEAK / REFERENCE_WHITE
    a = -(_KNEE**2) * (peak - 1) / (_KNEE**2 - 2 * _KNEE + peak)
    b = (_KNEE**2 - 2 * _KNEE * peak + peak) / (peak - 1)
    scale = (b * b + 2 * b * _KNEE + _KNEE**2) / (b - a)
    return scale * (light + a) / (light + b)
