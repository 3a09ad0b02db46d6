"""Links the detections of a clip to pieces of tracks, and the pieces of a scene to one chain for each person.

Pieces are linked from frame to frame, with a limit that depends on the time between two sightings, and only where size
and looks agree. Where people hide each other or are missed, pieces end; they are then linked over the gap, all at once,
so that everybody gets the most likely continuation. Links never cross cuts; `people` recognises people after those.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from posegen.conditions.detections import Detections
from posegen.conditions.keypoints import INDEX, SEEN
from posegen.conditions.looks import mean_looks, similarity

MAX_JUMP = 0.3
"""Maximum movement in 1/30 s, in heights of the person; over longer times it grows with their root."""
_FARTHEST = 2.5
"""Maximum movement over any gap in a scene, in heights."""
_COAST = 0.35
"""Seconds for which somebody unseen is predicted to keep moving as before."""
_PATIENCE = 0.2
"""Maximum gap in seconds inside a piece."""
_LONGEST_GAP = 8.0
"""Maximum gap in seconds over which pieces are linked by position."""
_SIZE, _GAP_SIZE = float(np.log(1.7)), float(np.log(1.6))
"""Maximum change in size, as a logarithm, between two sightings in a piece and over a gap."""
_ALIKE, _UNLIKE, _UNLIKE_LATER = 0.9, 0.65, 0.8
"""Similarity of looks assumed where it is unknown, and below which people are not linked at once, and after 2 s."""
_DOUBLE = 0.6
"""Minimum share of the common frames in which two pieces coincide, to be one person detected twice."""
_OVERLAP, _DOUBLED = 0.25, 0.4
"""Seconds by which the end of a piece may overlap the next one as its double, and their distance in heights."""
_DOUBLE_LIMIT, _DOUBLE_COST = 2.0, 0.2
"""Factors on maximum movement and cost there: a person detected twice moves fast, or one of both is off."""
_TURN = 0.5
"""Cost of a change of velocity over a gap by one height per second."""
_OLD, _MARGIN = 3, 0.5
"""Minimum length of pieces that can be confused, and the difference in cost, in limits, below which they are."""
_FLIPPED = 0.12
"""Distance in heights that is added to that of boxes."""
_MOST_PIECES = 2000
"""Maximum number of pieces of one scene that are linked over gaps: the longest; memory grows with its square."""
_NEVER = 1e3

Piece = list[int]
"""Indices of the detections of one person, in order of their frames."""
_HEAD = [INDEX[name] for name in ("nose", "left_eye", "right_eye", "left_ear", "right_ear")]
_JOINTS = tuple(
    [INDEX[f"{side}_{name}"] for side in ("left", "right")] for name in ("shoulder", "hip", "knee", "ankle")
)


def link_people(
    detections: Detections,
    cuts: Sequence[int],
    split: Callable[[Detections, Sequence[Piece]], list[Piece]] = lambda _, pieces: list(pieces),
) -> list[Piece]:
    """Return the chains of everybody, each inside one scene; those that were detected twice only once.

    split: splits pieces that change over to another person.
    """
    chains = []
    for start, stop in pairwise((0, *cuts, detections.num_frames)):
        pieces = split(detections, _without_doubles(detections, _pieces(detections, start, stop)))
        chains += _linked(detections, pieces)
    return chains


def max_jump(seconds: Float[np.ndarray, "*links"] | float) -> Float[np.ndarray, "*links"]:
    """Return the maximum movement over some time, in heights of the person."""
    return np.asarray(np.minimum(MAX_JUMP * np.sqrt(np.asarray(seconds, float) * 30), _FARTHEST))


def distances(
    detections: Detections, places: Float[np.ndarray, "tracks 17 2"], before: Sequence[int], after: Sequence[int]
) -> Float[np.ndarray, "tracks people"]:
    """Return the mean distance in pixels of the body points that are seen in both, else that of the boxes.

    A body that is suddenly upside down is at the same place all the same: where the boxes are much nearer than the
    points, their distance counts, with something added. places: predicted points of the detections `before`.
    """
    seen = detections.body_seen[before][:, None] & detections.body_seen[after][None]
    apart = np.linalg.norm(detections.points[after][None, :, :17] - places[:, None], axis=-1)
    count = seen.sum(axis=-1)
    mean = np.where(seen, apart, 0).sum(axis=-1) / np.maximum(count, 1)
    boxes, extents = detections.boxes, detections.extents
    moved = places[:, 0] - detections.points[before, 0]
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    near = np.linalg.norm(middles[after][None] - (middles[before] + moved)[:, None], axis=-1)
    near = near + 0.5 * np.abs(extents[after][None] - extents[before][:, None])
    return np.asarray(np.where(count > 0, np.minimum(mean, near + _FLIPPED * extents[after][None]), near), float)


def fold(detections: Detections, people: Sequence[int]) -> Float[np.ndarray, " people"]:
    """Return how far bodies are folded in ways that real ones seldom are: 0 for a straight one, about 1 for a tangle.

    Compares the directions of neck, torso and legs, and the length of the torso with that of the legs.
    """
    points, seen = detections.points[people].astype(np.float64), detections.scores[people] >= SEEN

    def middle(joints: Sequence[int]) -> Float[np.ndarray, "people 2"]:
        known = seen[:, joints]
        total = np.where(known[..., None], points[:, joints], 0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            count = known.sum(axis=1, keepdims=True)
            return np.where(count > 0, total / np.maximum(count, 1), np.nan)

    head, (shoulders, hips, knees, ankles) = middle(_HEAD), (middle(joints) for joints in _JOINTS)
    neck, torso = shoulders - head, hips - shoulders
    legs = np.where(np.isfinite(ankles), ankles - hips, 2 * (knees - hips))
    turns = [_turn(neck, torso), _turn(torso, legs)]
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.linalg.norm(torso, axis=1) / np.maximum(0.6 * np.linalg.norm(legs, axis=1), 1e-6)
        length = 0.5 * np.clip(np.abs(np.log(np.maximum(ratio, 1e-3))) - np.log(2), 0, 2)
    return np.asarray(sum(np.nan_to_num(part) for part in (*turns, length)))


def _turn(first: Float[np.ndarray, "people 2"], second: Float[np.ndarray, "people 2"]) -> Float[np.ndarray, " people"]:
    """Return 0 for equal directions to 1 for opposite ones; NaN if one is unknown."""
    lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return (1 - (first * second).sum(axis=1) / np.maximum(lengths, 1e-6)) / 2


@dataclass
class _OpenPiece:
    """Piece that may still grow, with the movement in pixels per frame."""

    piece: Piece
    velocity: Float[np.ndarray, "2"]
    extent: float
    height: float


def _pieces(detections: Detections, start: int, stop: int) -> list[Piece]:
    """Link the detections of one scene from frame to frame."""
    done: list[Piece] = []
    active: list[_OpenPiece] = []
    fps = float(detections.fps)
    patience = max(2, round(_PATIENCE * fps))
    for frame in range(start, stop):
        ended = [each for each in active if frame - detections.frames[each.piece[-1]] > patience]
        if ended:
            done += [each.piece for each in ended]
            active = [each for each in active if frame - detections.frames[each.piece[-1]] <= patience]
        people = list(range(int(detections.first[frame]), int(detections.first[frame + 1])))
        if not people:
            continue
        taken: set[int] = set()
        if active:
            matches, unclear = _matches(detections, active, people, frame)
            for track, person in matches:
                _extend(detections, active[track], people[person], fps)
                taken.add(person)
            done += [active[track].piece for track in unclear]
            active = [each for track, each in enumerate(active) if track not in unclear]
        for number, person in enumerate(people):
            if number not in taken:
                extent, height = float(detections.extents[person]), float(detections.heights[person])
                active.append(_OpenPiece([person], np.zeros(2), extent, height))
    return done + [each.piece for each in active]


def _matches(
    detections: Detections, active: Sequence[_OpenPiece], people: Sequence[int], frame: int
) -> tuple[list[tuple[int, int]], set[int]]:
    """Return which piece goes on with which person of the frame, and the pieces of which that is unclear.

    It is unclear where one of two people hides the other and who is seen fits both: then both pieces end, and what
    follows decides.
    """
    last = [each.piece[-1] for each in active]
    away = frame - detections.frames[last]
    moved = np.array([each.velocity for each in active]) * away[:, None]
    apart = distances(detections, detections.points[last][:, :17] + moved[:, None], last, people)
    limit = max_jump(away / float(detections.fps)) * np.array([each.extent for each in active])
    heights = np.array([each.height for each in active])
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.nan_to_num(np.abs(np.log(detections.heights[people][None] / heights[:, None])), nan=0.0)
    allowed = (apart < limit[:, None]) & (size < _SIZE)
    if len(active) == 1 and len(people) == 1:
        return ([(0, 0)] if allowed[0, 0] else []), set()
    looks = np.nan_to_num(similarity(detections.looks[last][:, None], detections.looks[people][None]), nan=_ALIKE)
    cost = apart / limit[:, None] + 0.6 * size / _SIZE + 2.0 * (1 - looks)
    cost = np.where(allowed, cost, _NEVER)
    rows, columns = linear_sum_assignment(cost)
    pairs = [(int(row), int(column)) for row, column in zip(rows, columns, strict=True) if cost[row, column] < _NEVER]
    old = np.array([len(each.piece) >= _OLD for each in active])
    lost = old.copy()
    lost[[row for row, _ in pairs]] = False
    unclear: set[int] = set()
    for row, column in pairs:
        rivals = (
            np.flatnonzero(lost & (cost[:, column] < cost[row, column] + _MARGIN)) if old[row] else np.zeros(0, int)
        )
        if len(rivals):
            unclear.update([row, *rivals.tolist()])
    return [pair for pair in pairs if pair[0] not in unclear], unclear


def _extend(detections: Detections, track: _OpenPiece, person: int, fps: float) -> None:
    last = track.piece[-1]
    both = detections.body_seen[last] & detections.body_seen[person]
    away = int(detections.frames[person] - detections.frames[last])
    if both.any():
        step = (detections.points[person, :17][both] - detections.points[last, :17][both]).mean(axis=0) / away
        keep = 0.5 ** (30 / fps)
        track.velocity = keep * track.velocity + (1 - keep) * step
    track.piece.append(person)
    track.extent += 0.2 * (float(detections.extents[person]) - track.extent)
    height = float(detections.heights[person])
    if np.isfinite(height):
        track.height = height if not np.isfinite(track.height) else track.height + 0.2 * (height - track.height)


def _without_doubles(detections: Detections, pieces: list[Piece]) -> list[Piece]:
    """Drop the worse one of two pieces where both are the same person: their heads or bodies coincide."""
    owner = {index: number for number, piece in enumerate(pieces) for index in piece}
    common: dict[tuple[int, int], list[tuple[int, int, bool]]] = {}
    for frame in np.flatnonzero(np.diff(detections.first) > 1).tolist():
        people = [index for index in range(detections.first[frame], detections.first[frame + 1]) if index in owner]
        for place, one in enumerate(people):
            for other in people[place + 1 :]:
                pair = sorted((one, other), key=lambda index: owner[index])
                key = (owner[pair[0]], owner[pair[1]])
                common.setdefault(key, []).append((pair[0], pair[1], _coincide(detections, one, other)))
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


def _coincide(detections: Detections, one: int, other: int) -> bool:
    """Return True if heads, or all points, of two people of one frame are at the same place."""
    size = float(min(detections.extents[one], detections.extents[other]))
    seen = detections.body_seen[one] & detections.body_seen[other]
    apart = np.linalg.norm(detections.points[one, :17] - detections.points[other, :17], axis=-1)
    head = seen[_HEAD]
    if head.sum() >= 2 and float(apart[_HEAD][head].mean()) < 0.12 * size:
        return True
    return bool(seen.any()) and float(apart[seen].mean()) < 0.12 * size


def _quality(detections: Detections, people: Sequence[int]) -> float:
    """Return how much detections look like a real body: straight, with good scores, with many points."""
    upper = detections.scores[people][:, :13]
    return float((upper.mean(axis=1) - fold(detections, people)).mean())


def _linked(detections: Detections, pieces: list[Piece]) -> list[Piece]:
    """Link the pieces of one scene over gaps; everybody gets the most likely continuation."""
    if len(pieces) < 2:
        return pieces
    short: list[Piece] = []
    if len(pieces) > _MOST_PIECES:
        pieces = sorted(pieces, key=len, reverse=True)
        pieces, short = pieces[:_MOST_PIECES], pieces[_MOST_PIECES:]
    pieces = sorted(pieces, key=lambda piece: (int(detections.frames[piece[0]]), piece[0]))
    cost = _link_costs(detections, pieces)
    rows, columns = linear_sum_assignment(cost)
    following = {int(row): int(column) for row, column in zip(rows, columns, strict=True) if cost[row, column] < _NEVER}
    chains, later = [], set(following.values())
    for number in range(len(pieces)):
        if number in later:
            continue
        chain, step = list(pieces[number]), number
        while step in following:
            step = following[step]
            begins = detections.frames[pieces[step][0]]
            chain = [index for index in chain if detections.frames[index] < begins] + pieces[step]
        chains.append(chain)
    return chains + short


def _link_costs(detections: Detections, pieces: Sequence[Piece]) -> Float[np.ndarray, "pieces pieces"]:
    """Return the cost of each piece's continuation by each other one; `_NEVER` where that is not possible."""
    fps = float(detections.fps)
    ends, starts = [piece[-1] for piece in pieces], [piece[0] for piece in pieces]
    gap = (detections.frames[starts][None] - detections.frames[ends][:, None]) / fps
    cost, overlapping = np.full(gap.shape, _NEVER), dict[tuple[int, int], int]()
    possible = (gap > 0) & (gap <= _LONGEST_GAP)
    for row, column in np.argwhere((gap <= 0) & (gap > -_OVERLAP)).tolist():
        if row != column and _is_doubled(detections, pieces[row], pieces[column]):
            before = [index for index in pieces[row] if detections.frames[index] < detections.frames[starts[column]]]
            overlapping[row, column] = before[-1]
            gap[row, column] = (detections.frames[starts[column]] - detections.frames[before[-1]]) / fps
            possible[row, column] = True
    looks = [mean_looks(detections.looks[_some(piece)]) for piece in pieces]
    sizes = np.array([_typical(detections.heights[piece]) for piece in pieces])
    extents = np.array([float(np.median(detections.extents[piece])) for piece in pieces])
    out, into = (np.array([_velocity(detections, piece, at_end) for piece in pieces]) for at_end in (True, False))
    for row, column in np.argwhere(possible).tolist():
        time, end = float(gap[row, column]), overlapping.get((row, column), ends[row])
        coast = min(time, _COAST) * fps
        forward = detections.points[end][None, :17] + coast * out[row]
        backward = detections.points[starts[column]][None, :17] - coast * into[column]
        apart = min(
            float(distances(detections, forward, [end], [starts[column]])[0, 0]),
            float(distances(detections, backward, [starts[column]], [end])[0, 0]),
            1.3 * float(distances(detections, detections.points[[end], :17], [end], [starts[column]])[0, 0]),
        )
        limit = float(max_jump(time)) * max(extents[row], extents[column])
        limit *= _DOUBLE_LIMIT if (row, column) in overlapping else 1.0
        size = abs(float(np.nan_to_num(np.log(sizes[row] / sizes[column]), nan=0.0)))
        alike = float(np.nan_to_num(similarity(looks[row], looks[column]), nan=_ALIKE))
        enough = _UNLIKE + (_UNLIKE_LATER - _UNLIKE) * min(time / 2, 1.0)
        if apart < limit and size < _GAP_SIZE and alike > enough:
            turn = float(np.linalg.norm(out[row] - into[column])) * fps / max(extents[row], extents[column])
            cost[row, column] = (
                apart / limit
                + size / _GAP_SIZE
                + 4 * (1 - alike)
                + 0.1 * min(time, 2.0)
                + _TURN * turn / (1 + time)  # after a while somebody may walk elsewhere
            )
            if (row, column) in overlapping:  # the same body at the same time is no guess
                cost[row, column] *= _DOUBLE_COST
    return cost


def _is_doubled(detections: Detections, piece: Piece, later: Piece) -> bool:
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


def _some(piece: Piece, most: int = 32) -> Int[np.ndarray, " some"]:
    """Return at most some of the detections, spread evenly."""
    return np.array(piece)[np.unique(np.linspace(0, len(piece) - 1, min(len(piece), most)).round().astype(int))]


def _typical(values: Float[np.ndarray, " values"]) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if len(known) else float("nan")


def _velocity(detections: Detections, piece: Piece, at_end: bool) -> Float[np.ndarray, "2"]:
    """Return the movement in pixels per frame at one end of a piece, over a quarter of a second."""
    frames = detections.frames[piece]
    reach = max(2, round(0.25 * float(detections.fps)))
    near = frames >= frames[-1] - reach if at_end else frames <= frames[0] + reach
    used = [piece[number] for number in np.flatnonzero(near)]
    steps = []
    for one, other in pairwise(used):
        both = detections.body_seen[one] & detections.body_seen[other]
        if both.any():
            step = (detections.points[other, :17][both] - detections.points[one, :17][both]).mean(axis=0)
            steps.append(step / float(detections.frames[other] - detections.frames[one]))
    return np.mean(steps, axis=0) if steps else np.zeros(2)
