"""Array types that many files share; each is defined once. Shapes of latents are in `model/latents.py`."""

import numpy as np
from jaxtyping import Bool, UInt8

Image = UInt8[np.ndarray, "height width 3"]
"""One picture: sRGB, 0..255."""
Frame = Image
"""One picture of a video."""
Frames = UInt8[np.ndarray, "frames height width 3"]
"""Frames of a video: sRGB, 0..255."""
PreservedFrames = UInt8[np.ndarray, "_ height width 3"]
"""The first or last frames of a segment, which a stitch segment keeps: fewer than the segment has."""
Mask = Bool[np.ndarray, "height width"]
"""Pixels that belong to something."""
Masks = Bool[np.ndarray, "frames height width"]
"""A mask for each frame of a video."""
SubjectMasks = Bool[np.ndarray, "latent_frames rows columns"]
"""Tokens of one segment that belong to the subject."""
Size = tuple[int, int]
"""(height, width) in pixels."""
