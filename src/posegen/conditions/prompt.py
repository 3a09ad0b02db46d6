"""Which tokens of the prompt name the person: what the subject mask is made from.

Finds words through the tokenizer's own offsets, so that every sub-word piece of the word is taken. It does not write
prompts and does not look at pictures.
"""

import re
from typing import Any

from posegen.errors import PosegenError

SUBJECT_WORDS = (
    "woman", "man", "girl", "boy", "lady", "gentleman", "person", "people", "human", "child", "kid", "baby",
    "teenager", "adult", "dancer", "singer", "presenter", "speaker", "actor", "actress", "model", "athlete",
    "performer", "musician", "teacher", "character", "figure", "warrior", "elf", "princess", "prince", "robot",
    "subject",
)  # fmt: skip
"""Nouns that are taken for the person, the first of them in the prompt wins."""


def find_subject(prompt: str, subject: str | None = None) -> tuple[int, int]:
    """Return the (start, stop) characters of the word that names the person.

    `subject` is the user's own word or words; without it, the first of `SUBJECT_WORDS` in the prompt is taken. Raises
    `PosegenError` when there is none, with what to do.
    """
    words = (subject,) if subject else SUBJECT_WORDS
    pattern = r"(?<!\w)(?:" + "|".join(re.escape(word) for word in words) + r")(?!\w)"
    match = re.search(pattern, prompt, flags=re.IGNORECASE)
    if match is not None:
        return match.span()
    if subject:
        raise PosegenError(f"--subject {subject!r} does not occur in the prompt: use a word that the prompt contains")
    raise PosegenError(
        "the prompt names no person that background sharing could keep apart (woman, man, person, dancer, ...): "
        "name one, say with --subject which word it is, or use --sharing off"
    )


def subject_token_indices(tokenizer: Any, prompt: str, subject: str | None = None, max_length: int = 512) -> list[int]:
    """Positions of the subject's tokens among the prompt's tokens (every sub-word piece).

    Raises `PosegenError` when no word fits or when it lies beyond the `max_length` tokens that the model reads.
    """
    start, stop = find_subject(prompt, subject)
    encoded = tokenizer(
        prompt, truncation=True, max_length=max_length, add_special_tokens=True, return_offsets_mapping=True
    )
    indices = [
        position
        for position, (first, last) in enumerate(encoded["offset_mapping"])
        if first < stop and last > start and last > first
    ]
    if not indices:
        raise PosegenError(
            f"{prompt[start:stop]!r} lies beyond the {max_length} tokens that the model reads: name the person earlier"
        )
    return indices
