"""Skeletons and hand-normal maps are drawn on black: where they are drawn, and how they are laid over a picture.

How they are drawn is `skeleton.py`'s and `hands.py`'s.
"""

import numpy as np
from jaxtyping import Bool, UInt8


def drawn(picture: UInt8[np.ndarray, "*frames height width 3"]) -> Bool[np.ndarray, "*frames height width"]:
    """Where it is not black; numpy's `any` over a last axis of three takes many times as long."""
    return np.asarray((picture[..., 0] | picture[..., 1] | picture[..., 2]) != 0)


def laid_over(
    frame: UInt8[np.ndarray, "height width 3"], drawing: UInt8[np.ndarray, "height width 3"]
) -> UInt8[np.ndarray, "height width 3"]:
    """The frame with the drawing over it; a quarter of the frame shines through."""
    places = np.nonzero(drawn(drawing))
    result = frame.copy()
    result[places] = np.rint(0.25 * frame[places] + 0.75 * drawing[places]).astype(np.uint8)
    return result
