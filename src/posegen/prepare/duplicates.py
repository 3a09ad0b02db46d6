"""Finds clips that nearly repeat others, by perceptual hashes; the result depends on the given order only."""

from collections import defaultdict

import numpy as np
from jaxtyping import UInt64

_WORDS, _BANDS = 4, 16


def find_duplicates(hashes: UInt64[np.ndarray, "clips 4"], most_bits: int) -> dict[int, int]:
    """Return, for each clip that repeats an earlier one, the index of that one, which itself repeats none.

    hashes: four hashes of 64 bits for each clip, the best clips first: the first of a group of near-duplicates is
    kept. Two clips are near-duplicates if at most `most_bits` (below 16) of their 256 bits differ: one of the 16 pieces
    of 16 bits then is the same in both, so only clips that share a piece are compared. Flat pictures hash alike; they
    are compared in one go.
    """
    assert most_bits < _BANDS, "more differing bits could be in every piece"
    pieces = hashes.view(np.uint16).reshape(len(hashes), _BANDS)
    kept: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(_BANDS)]
    repeats: dict[int, int] = {}
    if most_bits < 0:
        return repeats
    for number in range(len(hashes)):
        row = pieces[number].tolist()
        candidates = sorted({other for band, piece in zip(kept, row, strict=True) for other in band[piece]})
        if candidates:
            differing = np.bitwise_count(hashes[candidates] ^ hashes[number]).sum(axis=1)
            near = np.flatnonzero(differing <= most_bits)
            if len(near):
                repeats[number] = candidates[near[0]]
                continue
        for band, piece in zip(kept, row, strict=True):
            band[piece].append(number)
    return repeats
