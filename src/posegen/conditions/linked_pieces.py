"""Links the pieces of a scene to one chain for each person.

Pieces end where people hide each other or are missed; they are linked over the gap, all at once, so that everybody gets
the most likely continuation. Links never cross cuts; `people` recognises people after those.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

from posegen.conditions.detections import Detections
from posegen.conditions.double_detections import is_doubled, without_doubles
from posegen.conditions.exchanges import split_exchanges
from posegen.conditions.link_costs import NEVER, PieceEnd, Sightings, gap_cost
from posegen.conditions.looks import mean_looks
from posegen.conditions.track_pieces import Piece, assigned, movement, pieces_of_scene

_LONGEST_GAP = 8.0
"""Maximum gap in seconds over which pieces are linked by position."""
_OVERLAP = 0.25
"""Seconds by which the end of a piece may overlap the next one as its double."""
_MOST_PIECES = 2000
"""Maximum number of pieces of one scene that are linked over gaps: the longest; memory grows with its square."""


def link_people(detections: Detections, cuts: Sequence[int]) -> list[Piece]:
    """Return the chains of everybody, each inside one scene; those that were detected twice only once.

    Pieces that change over to another person are split before.
    """
    chains = []
    for start, stop in pairwise((0, *cuts, detections.num_frames)):
        pieces = split_exchanges(detections, without_doubles(detections, pieces_of_scene(detections, start, stop)))
        chains += _linked(detections, pieces)
    return chains


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
    following = dict(assigned(cost))
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
    """Return the cost of each piece's continuation by each other one; `NEVER` where that is not possible."""
    fps = float(detections.fps)
    ends, starts = [piece[-1] for piece in pieces], [piece[0] for piece in pieces]
    gap = (detections.frames[starts][None] - detections.frames[ends][:, None]) / fps
    cost = np.full(gap.shape, NEVER)
    before = [_end(detections, piece, at_end=True) for piece in pieces]
    after = [_end(detections, piece, at_end=False) for piece in pieces]
    for row, column in np.argwhere((gap > 0) & (gap <= _LONGEST_GAP)).tolist():
        cost[row, column] = gap_cost(before[row], after[column], fps)
    for row, column in np.argwhere((gap <= 0) & (gap > -_OVERLAP)).tolist():
        if row != column and is_doubled(detections, pieces[row], pieces[column]):
            begins = detections.frames[starts[column]]
            last = max(index for index in pieces[row] if detections.frames[index] < begins)
            end = before[row]._replace(sighting=Sightings.of(detections, [last]))
            cost[row, column] = gap_cost(end, after[column], fps, doubled=True)
    return cost


def _end(detections: Detections, piece: Piece, at_end: bool) -> PieceEnd:
    """Describe one end of a piece."""
    return PieceEnd(
        Sightings.of(detections, piece[-1:] if at_end else piece[:1]),
        _velocity(detections, piece, at_end),
        _typical(detections.heights[piece]),
        float(np.median(detections.extents[piece])),
        mean_looks(detections.looks[_some(piece)]),
    )


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
    sightings = Sightings.of(detections, used)
    steps = [movement(sightings.row(number), sightings.row(number + 1)) for number in range(len(used) - 1)]
    known = [step for step in steps if step is not None]
    return np.mean(known, axis=0) if known else np.zeros(2)
