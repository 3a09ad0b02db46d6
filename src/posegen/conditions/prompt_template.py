"""Writes a prompt without a vision-language model: a template filled with measurements of the reference image.

The structure is PoseGen's: image style; subject with hair and clothes; background; camera shot. Colours are measured in
the regions given by keypoints. The content of a region (a dress, a beard, a forest) is not named.
"""

import numpy as np
from jaxtyping import Bool, Float, UInt8
from skimage.color import deltaE_ciede2000, rgb2lab

from posegen.conditions.body_parts import part_regions
from posegen.conditions.camera import person_mask
from posegen.conditions.colours import CLOTHES, HAIR, main_colours, name_colour
from posegen.conditions.subject_words import find_subjects
from posegen.config import Framing
from posegen.errors import PosegenError
from posegen.types import Image

SHOTS: dict[Framing, str] = {
    "close-up": "Close-up shot",
    "half-body": "Half-body shot",
    "full-body": "Full-body shot",
    "distant": "Long shot",
}
_FEWEST = 12
"""Minimum pixels of a part whose colour is named."""
_BARE = 12.0
"""CIEDE2000 below which a part has the colour of the face: then it counts as skin."""


def describe_reference(
    image: Image,
    keypoints: Float[np.ndarray, "133 2"],
    scores: Float[np.ndarray, " 133"],
    framing: Framing,
    subject: str = "person",
) -> str:
    """Write the prompt for a person in an image: sRGB, keypoints in its pixels (x right, y down), scores 0 to 1.

    Parts that are not seen, and those that have the colour of the face (bare arms and legs), are left out.
    """
    regions = part_regions(keypoints, scores, image.shape[:2])
    person = f"{_article(subject)} {subject}"
    hair = _colour(image, regions.get("hair"))
    if hair is not None and not _alike(hair, _colour(image, regions.get("face"))):
        person += f" with {name_colour(hair, HAIR)} hair"
    clothes = [
        words.format(_article(name), name)
        for part, words in (("torso", "{} {} top"), ("thighs", "{1} bottoms"))
        if (name := _clothes(image, regions, part)) is not None
    ]
    if clothes:
        person += f"{',' if ' with ' in person else ''} wearing {' and '.join(clothes)}"
    outside = ~person_mask(keypoints, scores, image.shape[:2])
    return f"A realistic video of {person}. {_background(image[outside])} {SHOTS[framing]}, static camera."


def with_subject(prompt: str, subject: str | None) -> str:
    """Return the prompt, with an added sentence that names the person if it does not do so.

    subject: the word that must occur, or several separated by commas; without it, any usual one.
    """
    words = [None] if subject is None else [word.strip() for word in subject.split(",") if word.strip()]
    for word in words:
        try:
            find_subjects(prompt, word)
        except PosegenError:
            name = word or "person"
            prompt = f"{prompt.rstrip()} The main subject is {_article(name)} {name}."
    return prompt


def _clothes(image: Image, regions: dict[str, Bool[np.ndarray, "height width"]], part: str) -> str | None:
    colour = _colour(image, regions.get(part))
    if colour is None or _alike(colour, _colour(image, regions.get("face"))):
        return None
    return name_colour(colour, CLOTHES)


def _background(pixels: UInt8[np.ndarray, "pixels 3"]) -> str:
    if len(pixels) < _FEWEST:
        return "The background is steady."
    names = list(dict.fromkeys(name_colour(colour, CLOTHES) for colour in main_colours(pixels, count=2)))
    return f"The background is mostly {' and '.join(names)}, and steady."


def _colour(image: Image, region: Bool[np.ndarray, "height width"] | None) -> Float[np.ndarray, " 3"] | None:
    """Return the most frequent colour of a region; None if too little of it is seen."""
    if region is None or region.sum() < _FEWEST:
        return None
    return main_colours(image[region])[0]


def _alike(one: Float[np.ndarray, " 3"], other: Float[np.ndarray, " 3"] | None) -> bool:
    if other is None:
        return False
    return float(deltaE_ciede2000(rgb2lab(one[None] / 255), rgb2lab(other[None] / 255))[0]) < _BARE


def _article(words: str) -> str:
    return "an" if words[0].lower() in "aeiou" else "a"
