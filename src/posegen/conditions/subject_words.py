"""Finds the tokens of the prompt that name the person, from which the subject mask is made.

Words are located by the tokenizer's own offsets, so that every sub-word piece of every mention is found. Prompts are
written elsewhere.
"""

import re
import unicodedata
from typing import Any

from posegen.errors import PosegenError, logger

SUBJECT_WORDS = (
    "woman", "man", "girl", "boy", "lady", "gentleman", "guy", "person", "human", "child", "kid", "baby", "infant",
    "toddler", "teenager", "teen", "adult", "youth", "mother", "father", "grandmother", "grandfather",
    "dancer", "ballerina", "singer", "presenter", "speaker", "actor", "actress", "performer", "musician", "influencer",
    "model", "athlete", "gymnast", "boxer", "skater", "instructor", "teacher",
    "student", "worker", "businessman", "businesswoman", "doctor", "nurse", "chef", "soldier",
    "character", "figure", "protagonist", "hero", "heroine", "warrior", "knight", "samurai", "ninja", "elf", "fairy",
    "witch", "wizard", "angel", "princess", "prince", "queen", "king", "maid", "schoolgirl", "schoolboy", "idol",
    "cosplayer", "catgirl", "avatar", "robot", "android", "cyborg", "subject",
)  # fmt: skip  # a table, read in rows
"""English nouns for one person, people of animation among them."""

SUBJECT_PLURALS = (
    "women", "men", "girls", "boys", "ladies", "gentlemen", "guys", "people", "persons", "humans", "children", "kids",
    "babies", "teenagers", "adults", "dancers", "singers", "presenters", "actors", "actresses", "performers",
    "musicians", "models", "athletes", "characters", "figures", "warriors", "robots", "subjects",
)  # fmt: skip  # a table, read in rows
"""Plurals, used only if the prompt names no single person: otherwise they are other people ("people watch her")."""

CHINESE_SUBJECT_WORDS = (
    "女人", "男人", "女孩", "男孩", "女子", "男子", "女性", "男性", "女士", "男士", "先生", "少女", "少年", "美女",
    "帅哥", "老人", "孩子", "儿童", "婴儿", "人物", "角色", "主角", "舞者", "演员", "歌手", "模特", "运动员", "机器人",
)  # fmt: skip  # a table, read in rows
"""Chinese nouns; Chinese has no spaces between words, so they count anywhere."""

_UNSPACED = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
"""Kana and Chinese characters: letters between which a word may begin or end without a space."""
_LETTER = rf"[^\W{_UNSPACED}]"


def find_subjects(prompt: str, subject: str | None = None) -> list[tuple[int, int]]:
    """Return the (start, stop) characters of every mention of the person, in order.

    `subject` is the user's own word or phrase, or several of them separated by commas, each of which must occur;
    without it, every noun of `SUBJECT_WORDS` and `CHINESE_SUBJECT_WORDS` counts, and plurals if there is none of them.
    Case and the width of spaces do not matter; parts of longer words ("human" in "humanoid") and of compounds
    ("figure-hugging") do not count. Raises `PosegenError`, with advice, if there is no mention.
    """
    if subject is not None:
        spans: list[tuple[int, int]] = []
        words = [word for word in (part.strip() for part in subject.split(",")) if word]
        if not words:
            raise PosegenError("--subject is empty: give the word of the prompt that names the person, or omit it")
        for word in words:
            found = _mentions(prompt, (word,))
            if not found:
                raise PosegenError(
                    f"--subject {word!r} does not occur in the prompt: use a word exactly as the prompt contains it, "
                    "or add it to the prompt"
                )
            spans += found
        return sorted(set(spans))
    for nouns in ((*SUBJECT_WORDS, *CHINESE_SUBJECT_WORDS), SUBJECT_PLURALS):
        found = _mentions(prompt, nouns, compounds=False)
        if found:
            return found
    raise PosegenError(
        "the prompt does not name the person (woman, man, person, dancer, ...), which background sharing needs: "
        "name one, give the word with --subject, or use --sharing off"
    )


def _mentions(prompt: str, words: tuple[str, ...], compounds: bool = True) -> list[tuple[int, int]]:
    """Return the spans of whole `words`; without `compounds` none that a hyphen joins to another word."""
    forms = {
        # an accented letter may be one character or two: the tokenizer reads both, so the prompt may have either
        r"\s+".join(map(re.escape, unicodedata.normalize(form, word).split()))
        for word in words
        for form in ("NFC", "NFD")
    }
    # a boundary is demanded only of letters that are written with spaces between words; each kind of boundary stands
    # once, before and after all of its words, since letters of any case in any script take long to compile
    bounded: dict[tuple[str, str], list[str]] = {}
    for form in sorted(forms, key=len, reverse=True):
        bounded.setdefault((_edge(form[0], before=True), _edge(form[-1], before=False)), []).append(form)
    alternatives = "|".join(f"{begin}(?:{'|'.join(group)}){end}" for (begin, end), group in bounded.items())
    compound = "" if compounds else r"(?!-\w)"
    return [match.span() for match in re.finditer(f"(?:{alternatives}){compound}", prompt, flags=re.IGNORECASE)]


def _edge(character: str, before: bool) -> str:
    if not re.match(_LETTER, character) and unicodedata.combining(character) == 0:
        return ""
    return f"(?<!{_LETTER})" if before else rf"(?!{_LETTER}|[\u0300-\u036f])"


def subject_token_indices(tokenizer: Any, prompt: str, subject: str | None = None, max_length: int = 512) -> list[int]:
    """Return the positions of the subject's tokens in the prompt: every sub-word piece of every mention, rising.

    `tokenizer` must provide offsets (a "fast" one). Mentions beyond the `max_length` tokens that the model reads are
    left out with a warning. Raises `PosegenError` if no word matches (see `find_subjects`), if all lie beyond, or if
    the tokenizer provides no offsets.
    """
    spans = find_subjects(prompt, subject)
    if not getattr(tokenizer, "is_fast", False):
        raise PosegenError(
            f"the model's tokenizer ({type(tokenizer).__name__}) does not provide the offsets of its tokens, which "
            "background sharing needs: save the model with a fast tokenizer, or use --sharing off"
        )
    encoded = tokenizer(
        prompt, truncation=True, max_length=max_length, add_special_tokens=True, return_offsets_mapping=True
    )
    offsets = encoded["offset_mapping"]
    pieces = [
        [place for place, (first, last) in enumerate(offsets) if first < stop and last > start and last > first]
        for start, stop in spans
    ]
    read = max((last for _, last in offsets), default=0)
    beyond = [prompt[start:stop] for start, stop in spans if stop > read]
    indices = sorted({place for places in pieces for place in places})
    if not indices:
        start, stop = spans[0]
        raise PosegenError(
            f"{prompt[start:stop]!r} lies beyond the {max_length} tokens that the model reads: name the person earlier"
        )
    if beyond:
        logger.warning(
            "the prompt is longer than the %d tokens that the model reads: %r at its end is not seen as the person",
            max_length,
            beyond[0],
        )
    return indices
