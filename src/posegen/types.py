"""Array types shared by many files, each defined once. Shapes of latents are in `model/latents.py`."""

import numpy as np
from jaxtyping import Bool, UInt8

Image = UInt8[np.ndarray, "height width 3"]
"""An image: sRGB, 0..255."""
Frame = Image
"""A frame of a video."""
Frames = UInt8[np.ndarray, "frames height width 3"]
"""Frames of a video: sRGB, 0..255."""
PreservedFrames = UInt8[np.ndarray, "_ height width 3"]
"""First or last frames of a segment that a stitch segment preserves: fewer than the segment has."""
Mask = Bool[np.ndarray, "height width"]
"""Mask of pixels, one for an image."""
Masks = Bool[np.ndarray, "frames height width"]
"""Masks of pixels, one for each frame of a video."""
SubjectMasks = Bool[np.ndarray, "latent_frames rows columns"]
"""Mask of the tokens of one segment that belong to the subject."""
Size = tuple[int, int]
"""(height, width) in pixels."""
