"""Captions as in PoseGen: image style; subject and clothes; background; camera shot. From parameters only."""

from posegen.synthetic.identity import PATTERNS, Garment, Identity, article
from posegen.synthetic.scene import Background, Lights

STYLE = "A computer-rendered video"
_SHOTS = {
    "close-up": "Close-up shot",
    "half-body": "Half-body shot",
    "three-quarter": "Medium long shot from the knees up",
    "full-body": "Full-body shot",
}
_HAIR = {
    "short": "short {} hair",
    "cropped": "cropped {} hair",
    "long": "long {} hair",
    "bob": "a {} bob",
    "afro": "a {} afro",
    "bun": "{} hair in a bun",
}


def caption(identity: Identity, background: Background, lights: Lights, framing: str) -> str:
    """One paragraph; the first noun for a person is `identity.subject`."""
    person = f"{article(_build(identity))} {identity.subject} with {_looks(identity)}"
    subject = f"{STYLE} of {person}, {_clothes(identity, framing)}."
    place = f"The background is {background.words}, in {lights.words}."
    return f"{subject} {place} {_SHOTS[framing]}, static camera."


def _build(identity: Identity) -> str:
    weight, age = identity.phenotype["weight"], identity.phenotype["age"]
    build = "slim" if weight < 0.32 else "heavy-set" if weight > 0.66 else ""
    years = "young" if age < 0.74 else "elderly" if age > 0.88 else "middle-aged"
    return f"{years}, {build}" if build else years


def _looks(identity: Identity) -> str:
    tone = ("pale", "light", "tan", "brown", "dark")[min(int(identity.melanin * 5), 4)]
    hair = _HAIR[identity.hairstyle].format(identity.hair_name) if identity.hairstyle != "bald" else "a bald head"
    beard = " and a beard" if identity.beard > 0.7 else " and stubble" if identity.beard > 0 else ""
    return f"{tone} skin and {hair}{beard}".replace(" and ", ", ", 1) if beard else f"{tone} skin and {hair}"


def _clothes(identity: Identity, framing: str) -> str:
    if identity.dress:
        return f"wearing {article(_worn(identity.top, 'dress'))}"
    top = f"wearing {article(_worn(identity.top, identity.top.kind))}"
    if framing == "close-up":
        return top
    plural = identity.bottom.kind in ("jeans", "trousers", "shorts", "leggings")
    bottom = _worn(identity.bottom, identity.bottom.kind)
    return f"{top} and {bottom if plural else article(bottom)}"


def _worn(garment: Garment, kind: str) -> str:
    pattern = "" if garment.pattern == 0 else PATTERNS[garment.pattern]
    return " ".join(word for word in (garment.colour_name, pattern, kind) if word)
