"""Masks drawings on black (skeletons, hand-normal maps) and overlays them on frames.

They are drawn in `skeleton.py` and `hands.py`.
"""

import numpy as np
from jaxtyping import Bool, UInt8


def drawn(picture: UInt8[np.ndarray, "*frames height width 3"]) -> Bool[np.ndarray, "*frames height width"]:
    """Return a mask of the pixels that are not black; numpy's `any` over the last axis is many times slower."""
    return np.asarray((picture[..., 0] | picture[..., 1] | picture[..., 2]) != 0)


def laid_over(
    frame: UInt8[np.ndarray, "height width 3"], drawing: UInt8[np.ndarray, "height width 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Overlay the drawing on the frame; a quarter of the frame shines through."""
    places = np.nonzero(drawn(drawing))
    result = frame.copy()
    result[places] = np.rint(0.25 * frame[places] + 0.75 * drawing[places]).astype(np.uint8)
    return result
