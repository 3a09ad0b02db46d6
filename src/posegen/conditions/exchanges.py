"""Finds where the detections of one track change over to another person, by looks and size.

Where people hide each other, an estimator's body may slide from one to the other in small steps that no limit of
movement notices. Their clothes and sizes tell: a piece is split where both sides of a moment differ, and a detection
that fits somebody else who is near better than its own person is given to them, or dropped.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Float, Float32, Int

from posegen.conditions.detections import Detections
from posegen.conditions.link_costs import max_jump
from posegen.conditions.looks import NUM_LOOKS, similarity
from posegen.conditions.people import SeenPerson, best_detection
from posegen.conditions.track_pieces import Piece

_SIDE, _BETWEEN = 0.4, 0.12
"""Seconds of both sides of a moment that are compared, and seconds between them: there both may be mixed."""
_NEAR_IN_TIME, _NEAR = 1.0, 1.5
"""Seconds, and heights, within which somebody else must be for an exchange."""
_LOOKS, _SIZE = 0.15, float(np.log(1.3))
"""Differences of looks (1 - similarity) and of size (logarithm) that count as one."""
_SPLIT = 1.0
"""Difference of both sides from which a piece is split."""
_CLEARER = 0.3
"""Difference by which somebody else must fit a detection better."""
_MOMENT = 0.4
"""Seconds for which a detection may look like somebody else who is detected, too, to be left to a second look."""


def split_exchanges(detections: Detections, pieces: Sequence[Piece]) -> list[Piece]:
    """Split pieces where they change over from one person to another, if somebody else is near at that time."""
    reach = max(2, round(_SIDE * float(detections.fps)))
    result: list[Piece] = []
    waiting = [list(piece) for piece in pieces]
    while waiting:
        piece = waiting.pop()
        at = _exchange(detections, piece, reach) if len(pieces) > 1 and len(piece) >= 2 * reach else None
        if at is None:
            result.append(piece)
        else:
            waiting += [piece[:at], piece[at:]]
    return sorted(result, key=lambda piece: (int(detections.frames[piece[0]]), piece[0]))


def settle_exchanges(detections: Detections, people: Sequence[SeenPerson]) -> list[SeenPerson]:
    """Return the people with single detections given to those whom they fit, or to nobody."""
    if len(people) < 2:
        return list(people)
    owner = np.full(len(detections), -1)
    for place, person in enumerate(people):
        owner[person.detections] = place
    sizes = np.stack([_size_difference(detections, person) for person in people])
    fits = np.stack([_looks_difference(detections, person) for person in people]) + np.minimum(sizes, 1)
    new = owner.copy()
    for place, person in enumerate(people):
        own = person.detections
        for other, somebody in enumerate(people):
            if other == place:
                continue
            better = fits[other, own] + _CLEARER < fits[place, own]
            better[better] = _is_near(detections, own[better], somebody.detections)
            # who is hidden for longer shows the clothes of the other, who is then detected, too
            together = better & np.isin(detections.frames[own], detections.frames[somebody.detections])
            for run in np.split(np.flatnonzero(together), np.flatnonzero(np.diff(np.flatnonzero(together)) > 1) + 1):
                if len(run) > _MOMENT * float(detections.fps):
                    better[run] = False
            new[own[better & (new[own] == place)]] = -1
    changed = np.flatnonzero((owner >= 0) & (new < 0))
    for index in changed.tolist():
        _give(detections, index, people, fits, new)
    settled = []
    for place, person in enumerate(people):
        own = np.flatnonzero(new == place)
        best = best_detection(detections, own, fits[place, own]) if len(own) else person.best
        settled.append(replace(person, detections=own, best=best) if len(own) else person)
    return settled


def _exchange(detections: Detections, piece: Piece, reach: int) -> int | None:
    """Return the place in a piece at which it changes over to another person, None without any."""
    count = len(piece)
    between = max(1, round(_BETWEEN * float(detections.fps) / 2))
    sums, seen = _sums(detections.looks[piece].astype(np.float32))
    sizes = np.log(detections.heights[piece])
    known = np.isfinite(sizes)
    size_sums, size_seen = _sum(np.where(known, sizes, 0)), _sum(known.astype(np.float64))
    places = np.arange(max(3, reach // 2), count - max(3, reach // 2) + 1)
    before = (np.maximum(places - between - reach, 0), np.maximum(places - between, 2))
    after = (np.minimum(places + between, count - 2), np.minimum(places + between + reach, count))
    alike = similarity(_mean(sums, seen, *before), _mean(sums, seen, *after))
    with np.errstate(invalid="ignore", divide="ignore"):
        means = [
            (size_sums[stop] - size_sums[start]) / (size_seen[stop] - size_seen[start])
            for start, stop in (before, after)
        ]
    apart = np.abs(means[0] - means[1])
    # sizes alone say little: a crouching person, or one who comes near, changes as much
    difference = np.nan_to_num((1 - alike) / _LOOKS) * (1 + 0.5 * np.minimum(np.nan_to_num(apart / _SIZE), 1))
    best = int(difference.argmax()) if len(places) else 0
    if not len(places) or difference[best] < _SPLIT:
        return None
    at = int(places[best])
    return at if _others_near(detections, piece, at) else None


def _others_near(detections: Detections, piece: Piece, at: int) -> bool:
    """Return True if anybody else is detected near the piece at about this time."""
    frame, own = int(detections.frames[piece[at]]), set(piece)
    some = round(_NEAR_IN_TIME * float(detections.fps))
    low, high = max(frame - some, 0), min(frame + some + 1, detections.num_frames)
    others = [index for index in range(detections.first[low], detections.first[high]) if index not in own]
    if not others:
        return False
    return bool(_is_near(detections, np.array([piece[at]]), np.array(others))[0])


def _is_near(
    detections: Detections, own: Int[np.ndarray, " own"], others: Int[np.ndarray, " others"]
) -> Bool[np.ndarray, " own"]:
    """Return True for detections with one of the others near in time and place."""
    boxes = detections.boxes
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    some = _NEAR_IN_TIME * float(detections.fps)
    near = np.zeros(len(own), bool)
    frames = detections.frames[others]
    for place, index in enumerate(own.tolist()):
        frame = detections.frames[index]
        first, last = np.searchsorted(frames, (frame - some, frame + some))
        apart = np.linalg.norm(middles[others[first:last]] - middles[index], axis=1)
        near[place] = bool((apart < _NEAR * detections.extents[index]).any())
    return near


def _looks_difference(detections: Detections, person: SeenPerson) -> Float[np.ndarray, " people"]:
    """Return how much every detection differs from a person in looks; 0 where nothing is known."""
    return np.asarray(np.nan_to_num((1 - similarity(detections.looks, person.looks[None])) / _LOOKS))


def _size_difference(detections: Detections, person: SeenPerson) -> Float[np.ndarray, " people"]:
    """Return how much every detection differs from a person in size; 0 where nothing is known."""
    heights = detections.heights[person.detections]
    heights = heights[np.isfinite(heights)]
    if not len(heights):
        return np.zeros(len(detections))
    with np.errstate(invalid="ignore"):
        return np.asarray(0.5 * np.nan_to_num(np.abs(np.log(detections.heights / np.median(heights))) / _SIZE))


def _give(
    detections: Detections,
    index: int,
    people: Sequence[SeenPerson],
    fits: Float[np.ndarray, "people detections"],
    owner: Int[np.ndarray, " detections"],
) -> None:
    """Give a detection, in place, to the person whom it fits and who has none in its frame, if they are near."""
    frame = int(detections.frames[index])
    here = range(detections.first[frame], detections.first[frame + 1])
    taken = {int(owner[each]) for each in here}
    for place in np.argsort(fits[:, index]).tolist():
        if place in taken or fits[place, index] > fits[:, index].min() + 1e-6:
            continue
        own = np.flatnonzero(owner == place)
        if not len(own):
            continue
        nearest = own[np.abs(detections.frames[own] - frame).argmin()]
        away = abs(int(detections.frames[nearest]) - frame) / float(detections.fps)
        boxes = detections.boxes[[index, nearest]]
        apart = float(np.linalg.norm((boxes[0, :2] + boxes[0, 2:] - boxes[1, :2] - boxes[1, 2:]) / 2))
        if apart < float(max_jump(away)) * float(detections.extents[nearest]):
            owner[index] = place
        return


def _sums(looks: Float32[np.ndarray, "count 44"]) -> tuple[np.ndarray, np.ndarray]:
    """Return cumulative sums of looks, and of the parts that are seen."""
    half = NUM_LOOKS // 2
    seen = np.stack([looks[:, :half].sum(axis=1) > 0, looks[:, half:].sum(axis=1) > 0], axis=1)
    return _sum(looks), _sum(seen.astype(np.float64))


def _sum(values: np.ndarray) -> np.ndarray:
    return np.concatenate([np.zeros((1, *values.shape[1:])), np.cumsum(values, axis=0, dtype=np.float64)])


def _mean(
    sums: np.ndarray, seen: np.ndarray, start: Int[np.ndarray, " places"], stop: Int[np.ndarray, " places"]
) -> Float[np.ndarray, "places 44"]:
    count = np.repeat(np.maximum(seen[stop] - seen[start], 1), NUM_LOOKS // 2, axis=1)
    return np.asarray((sums[stop] - sums[start]) / count).astype(np.float16)
