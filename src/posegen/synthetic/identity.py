"""Identities of people: body, face, colours, hair and clothes as numbers and words, drawn from one seed.

Everything is a parameter here, so that the caption can say what the picture shows. Nothing is built here.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]
"""Linear RGB, 0..1."""

_NAMED = {
    "white": (0.0, 0.02, 0.92),
    "black": (0.0, 0.05, 0.09),
    "grey": (0.6, 0.04, 0.5),
    "navy blue": (0.62, 0.65, 0.28),
    "blue": (0.6, 0.7, 0.65),
    "light blue": (0.56, 0.35, 0.85),
    "teal": (0.5, 0.65, 0.5),
    "green": (0.36, 0.6, 0.45),
    "olive": (0.18, 0.5, 0.4),
    "yellow": (0.145, 0.65, 0.88),
    "orange": (0.07, 0.75, 0.85),
    "red": (0.99, 0.78, 0.7),
    "burgundy": (0.97, 0.65, 0.36),
    "pink": (0.94, 0.35, 0.88),
    "purple": (0.77, 0.5, 0.45),
    "brown": (0.07, 0.5, 0.36),
    "beige": (0.1, 0.22, 0.8),
}
_SKIN_RAMP = (
    (243, 214, 194),
    (232, 192, 162),
    (214, 168, 132),
    (190, 138, 100),
    (158, 108, 75),
    (122, 80, 54),
    (84, 55, 40),
)
_DARK_HAIR = {"black": (20, 16, 14), "dark brown": (38, 26, 20), "brown": (64, 42, 28)}
_LIGHT_HAIR = {"light brown": (112, 76, 44), "blond": (190, 150, 92), "red": (118, 48, 26)}
_GREY_HAIR = {"grey": (150, 148, 146), "white": (205, 203, 200)}
_IRISES = ((0.30, 0.19, 0.10), (0.22, 0.13, 0.07), (0.35, 0.42, 0.50), (0.33, 0.40, 0.28), (0.16, 0.10, 0.06))

TOPS = ("T-shirt", "long-sleeved top", "tank top", "V-neck top", "turtleneck sweater")
BOTTOMS = ("jeans", "trousers", "shorts", "leggings", "skirt", "mini skirt")
PATTERNS = (
    "plain",
    "horizontally striped",
    "vertically striped",
    "plaid",
    "camouflage-patterned",
    "polka-dot",
    "two-tone",
    "printed",
)
HAIRSTYLES = ("short", "cropped", "long", "bob", "afro", "bun", "bald")


@dataclass(frozen=True)
class Garment:
    """One piece of clothing."""

    kind: str
    pattern: int
    """Index into `PATTERNS`."""
    scale: float
    """Repeats of the pattern per metre."""
    colour_name: str
    colours: tuple[Colour, Colour, Colour]


@dataclass(frozen=True)
class Identity:
    """One person with clothes and hair."""

    seed: int
    subject: str
    """The caption's word for the person: `man` or `woman`."""
    phenotype: dict[str, float]
    """anny's phenotype parameters, 0..1."""
    changes: np.ndarray
    """One number per change of the face, -1..1."""
    melanin: float
    skin: Colour
    lips: Colour
    nails: Colour
    blush: float
    beard: float
    brow_width: float
    brow_height: float
    hairline: float
    iris: Colour
    hairstyle: str
    hair_name: str
    hair: Colour
    top: Garment
    bottom: Garment
    dress: bool
    shoes: Colour
    shoe_height: float
    looseness: float


def linear(colour: np.ndarray | tuple[float, ...]) -> Colour:
    """Display RGB in 0..1 -> linear RGB."""
    red, green, blue = np.power(np.clip(np.asarray(colour, float), 0, 1), 2.2)
    return float(red), float(green), float(blue)


def article(words: str) -> str:
    """Return the words with `a` or `an` before them."""
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def named_colour(random: np.random.Generator, name: str | None = None) -> tuple[str, Colour]:
    """Draw a colour that a caption can name, varied a little; of any name if none is given."""
    name = name or str(random.choice(list(_NAMED)))
    hue, saturation, value = np.array(_NAMED[name]) + random.normal(0, (0.012, 0.05, 0.05))
    return name, linear(
        colorsys.hsv_to_rgb(hue % 1, float(np.clip(saturation, 0, 1)), float(np.clip(value, 0.05, 0.97)))
    )


def draw_identity(seed: int, changes: int) -> Identity:
    """Draw the person of a seed; `changes` is how many changes of the face the assets have."""
    random = np.random.default_rng([seed, 1])
    woman = bool(random.random() < 0.5)
    melanin = float(random.random())
    skin = _skin(random, melanin)
    hairstyle, hair_name, hair, age = _hair(random, woman, melanin)
    dress = woman and random.random() < 0.12
    bottom = "skirt" if dress else str(random.choice(BOTTOMS if woman else BOTTOMS[:3], p=None))
    top = _garment(random, str(random.choice(TOPS)))
    made_up = woman and random.random() < 0.4
    lips = linear((random.uniform(0.5, 0.8), random.uniform(0.12, 0.3), random.uniform(0.2, 0.35)))
    natural = np.asarray(skin) * (0.95, 0.66, 0.66)
    painted = woman and random.random() < 0.3
    return Identity(
        seed=seed,
        subject="woman" if woman else "man",
        phenotype=_phenotype(random, woman, melanin, age),
        changes=np.clip(random.normal(0, 0.2, changes), -0.6, 0.6),
        melanin=melanin,
        skin=skin,
        lips=lips if made_up else _colour(natural),
        nails=named_colour(random)[1] if painted else _colour(np.asarray(skin) * 1.12),
        blush=float(random.uniform(0.4, 1.2)),
        beard=0.0 if woman or random.random() < 0.5 else float(random.choice([0.35, 0.55, 0.85])),
        brow_width=float(random.uniform(0.0026, 0.0042) if woman else random.uniform(0.0038, 0.006)),
        brow_height=float(random.uniform(-0.001, 0.002)),
        hairline=float(random.uniform(-0.008, 0.008) if woman else random.uniform(-0.006, 0.015)),
        iris=linear(_IRISES[int(random.integers(5)) if melanin < 0.5 else (0, 1, 4)[int(random.integers(3))]]),
        hairstyle=hairstyle,
        hair_name=hair_name,
        hair=hair,
        top=top,
        bottom=top if dress else _garment(random, bottom),
        dress=bool(dress),
        shoes=named_colour(random)[1],
        shoe_height=float(random.choice([-0.735, -0.735, -0.70])),
        looseness=float(random.uniform(0.004, 0.015)),
    )


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = np.clip(values, 0, 1)
    return float(red), float(green), float(blue)


def _skin(random: np.random.Generator, melanin: float) -> Colour:
    """Skin tones spread evenly from pale to dark."""
    ramp = np.array([linear(np.array(tone) / 255) for tone in _SKIN_RAMP])
    place = np.linspace(0, 1, len(ramp))
    tone = np.array([np.interp(melanin, place, ramp[:, channel]) for channel in range(3)])
    return _colour(tone * random.uniform(0.93, 1.06) * random.normal(1, 0.025, 3))


def _phenotype(random: np.random.Generator, woman: bool, melanin: float, age: float) -> dict[str, float]:
    african, asian, caucasian = random.dirichlet([0.15 + 2 * melanin**2, 0.6, 0.15 + 1.2 * (1 - melanin)])
    return {
        "gender": float(np.clip(random.normal(0.92 if woman else 0.08, 0.06), 0, 1)),
        "age": age,
        "muscle": float(random.uniform(0.3, 0.75)),
        "weight": float(random.beta(3, 3.5)),
        "height": float(random.uniform(0.3, 0.7)),
        "proportions": float(random.uniform(0.35, 0.9)),
        "cupsize": float(random.uniform(0.3, 0.6)),
        "firmness": 0.6,
        "african": float(african),
        "asian": float(asian),
        "caucasian": float(caucasian),
    }


def _hair(random: np.random.Generator, woman: bool, melanin: float) -> tuple[str, str, Colour, float]:
    """Style, colour name, colour, and the age (anny's scale; adults only, from 0.64) that the colour fits."""
    styles = (
        ("short", "cropped", "long", "long", "bob", "afro", "bun")
        if woman
        else ("short", "short", "cropped", "cropped", "bald", "afro", "long")
    )
    style = str(random.choice(styles))
    age = float(random.uniform(0.64, 0.95))
    choice = random.random()
    if age > 0.86 and choice < 0.6:
        colours = _GREY_HAIR
    elif melanin < 0.45 and choice < 0.55:
        colours = _LIGHT_HAIR
    else:
        colours = _DARK_HAIR
    name = str(random.choice(list(colours)))
    return style, name, linear(np.array(colours[name]) / 255 * random.uniform(0.9, 1.1)), age


def _garment(random: np.random.Generator, kind: str) -> Garment:
    weights = np.array([5, 1, 1, 1, 0.7, 0.8, 0.6, 0.8])
    if kind in BOTTOMS:
        weights[[6, 7]] = 0
    pattern = 0 if kind in ("jeans", "leggings") else int(random.choice(len(PATTERNS), p=weights / weights.sum()))
    if kind == "jeans":
        name = str(random.choice(["blue", "dark blue", "black", "light blue"]))
        shades = {
            "blue": (0.18, 0.25, 0.42),
            "dark blue": (0.1, 0.14, 0.26),
            "black": (0.09, 0.1, 0.12),
            "light blue": (0.42, 0.5, 0.6),
        }
        return Garment(kind, 0, 18.0, name, (linear(shades[name]),) * 3)
    name, first = named_colour(random)
    scale = random.uniform(14, 26) if kind in BOTTOMS else random.uniform(10, 22)
    return Garment(kind, pattern, float(scale), name, (first, named_colour(random)[1], named_colour(random)[1]))
