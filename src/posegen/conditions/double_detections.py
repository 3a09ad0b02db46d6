"""Finds people who were detected twice in the same frames, and drops the worse detection."""

from collections.abc import Sequence

import numpy as np

from posegen.conditions.detections import Detections
from posegen.conditions.folded_bodies import HEAD, fold
from posegen.conditions.link_costs import Sightings
from posegen.conditions.track_pieces import Piece

_DOUBLE = 0.6
"""Minimum share of the common frames in which two pieces coincide, to be one person detected twice."""
_SAME_PLACE = 0.12
"""Maximum mean distance of the points of two detections of one person in one frame, in heights."""
_DOUBLED = 0.4
"""Maximum distance, in heights, of the end of a piece from the one that continues it as its double."""


def without_doubles(detections: Detections, pieces: list[Piece]) -> list[Piece]:
    """Drop the worse one of two pieces where both are the same person: their heads or bodies coincide."""
    owner = {index: number for number, piece in enumerate(pieces) for index in piece}
    common: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
    for frame in np.flatnonzero(np.diff(detections.first) > 1).tolist():
        people = [index for index in range(detections.first[frame], detections.first[frame + 1]) if index in owner]
        sightings = Sightings.of(detections, people)
        for place, one in enumerate(people):
            for after, other in enumerate(people[place + 1 :], start=place + 1):
                pair = sorted((one, other), key=lambda index: owner[index])
                key = (owner[pair[0]], owner[pair[1]])
                common.setdefault(key, []).append((pair[0], pair[1], coincide(sightings, place, after)))
    dropped: set[int] = set()
    for together in common.values():
        both = [entry for entry in together if entry[0] not in dropped and entry[1] not in dropped]
        if not both or np.mean([entry[2] for entry in both]) < _DOUBLE:
            continue
        first, second = [entry[0] for entry in both], [entry[1] for entry in both]
        worse = first if _quality(detections, first) < _quality(detections, second) else second
        dropped.update(worse)
    result: list[Piece] = []
    for piece in pieces:
        part: Piece = []
        for index in piece:
            if index not in dropped:
                part.append(index)
            elif part:
                result.append(part)
                part = []
        result += [part] if part else []
    return result


def coincide(people: Sightings, one: int, other: int) -> bool:
    """Return True if heads, or all points, of two people of one frame are at the same place."""
    size = float(min(people.extents[one], people.extents[other]))
    seen = people.seen[one] & people.seen[other]
    apart = np.linalg.norm(people.points[one] - people.points[other], axis=-1)
    head = seen[HEAD]
    if head.sum() >= 2 and float(apart[HEAD][head].mean()) < _SAME_PLACE * size:
        return True
    return bool(seen.any()) and float(apart[seen].mean()) < _SAME_PLACE * size


def _quality(detections: Detections, people: Sequence[int]) -> float:
    """Return how much detections look like a real body: straight, with good scores, with many points."""
    upper = detections.scores[people][:, :13]
    return float((upper.mean(axis=1) - fold(detections, people)).mean())


def is_doubled(detections: Detections, piece: Piece, later: Piece) -> bool:
    """Return True if the end of a piece is a second detection of the person with whom a later piece begins."""
    begins, half = int(detections.frames[later[0]]), len(piece) / 2
    common = [index for index in piece if detections.frames[index] >= begins]
    if len(common) >= half or detections.frames[piece[-1]] >= detections.frames[later[-1]]:
        return False
    boxes = detections.boxes
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    own = {int(detections.frames[index]): index for index in later}
    pairs = [(index, own[frame]) for index in common if (frame := int(detections.frames[index])) in own]
    apart = [float(np.linalg.norm(middles[one] - middles[other])) for one, other in pairs]
    return bool(apart) and float(np.mean(apart)) < _DOUBLED * float(np.median(detections.extents[later]))
