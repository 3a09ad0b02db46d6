"""Names colours with usual words for clothes, hair and walls: the nearest one in CIELAB.

Callers choose the pixels.
"""

import numpy as np
from jaxtyping import Float, UInt8
from scipy.cluster.vq import kmeans2  # type: ignore[import-untyped]
from skimage.color import deltaE_ciede2000, rgb2lab

CLOTHES = {
    "white": (240, 240, 238), "light grey": (196, 196, 196), "grey": (132, 132, 134), "dark grey": (74, 74, 78),
    "black": (24, 24, 26), "red": (196, 34, 40), "burgundy": (98, 24, 40), "pink": (232, 160, 184),
    "orange": (226, 122, 40), "brown": (104, 68, 42), "beige": (214, 194, 162), "yellow": (232, 204, 70),
    "olive": (104, 104, 50), "light green": (156, 206, 146), "green": (52, 124, 62), "dark green": (26, 62, 40),
    "teal": (36, 124, 126), "light blue": (150, 192, 226), "blue": (48, 92, 176), "navy blue": (28, 38, 78),
    "purple": (112, 58, 146), "lilac": (186, 160, 210),
}  # fmt: skip  # a table, read in rows
"""Colour names of clothes and rooms, with a typical 8-bit sRGB value each."""
HAIR = {
    "black": (26, 22, 22), "dark brown": (54, 38, 28), "brown": (98, 66, 42), "light brown": (142, 106, 72),
    "blond": (204, 172, 116), "red": (146, 66, 34), "grey": (136, 134, 132), "white": (222, 220, 216),
    "blue": (60, 96, 170), "green": (60, 130, 80), "pink": (226, 130, 170), "purple": (116, 66, 150),
}  # fmt: skip  # a table, read in rows
"""Colour names of hair, which is never called beige. Characters may have any colour."""


def name_colour(colour: Float[np.ndarray, " 3"], names: dict[str, tuple[int, int, int]]) -> str:
    """Return the name nearest to an sRGB colour (0 to 255) by CIEDE2000."""
    lab = rgb2lab(colour[None] / 255)
    distances = deltaE_ciede2000(lab, rgb2lab(np.array(list(names.values())) / 255))
    return list(names)[int(np.argmin(distances))]


def main_colours(pixels: UInt8[np.ndarray, "pixels 3"], count: int = 1) -> list[Float[np.ndarray, " 3"]]:
    """Return the `count` most frequent colours in sRGB 0 to 255, most frequent first: the largest clusters in CIELAB.

    Fewer if the pixels have fewer colours; none for no pixels. Deterministic.
    """
    if not len(pixels):
        return []
    step = max(1, len(pixels) // 4000)
    sample = pixels[::step]
    clusters = min(count + 2, len(np.unique(sample, axis=0)))
    _, labels = kmeans2(rgb2lab(sample[None] / 255)[0], clusters, minit="++", rng=np.random.default_rng(0))
    frequent = np.argsort(-np.bincount(labels, minlength=clusters), kind="stable")[:count]
    return [np.median(sample[labels == label], axis=0).astype(np.float64) for label in frequent]
