"""Guesses in each frame who is the followed person while a video passes by: it says whose hands to look for.

Detections are linked by the same rule as later, when `following` decides for the whole clip; where somebody was hidden
or missed, the guess is made again in each frame until it is certain. A wrong guess costs time, nothing else.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float16, Float32

from posegen.conditions.detections import Detections
from posegen.conditions.double_detections import coincide
from posegen.conditions.link_costs import NEVER, PieceEnd, Sightings, gap_cost, joined
from posegen.conditions.looks import mean_looks, similarity
from posegen.conditions.people import (
    BEGINNING,
    EARLY,
    ONLY_ONE,
    RECOGNISED,
    SAME_SCENE,
    SHORTEST,
    SMALL,
    THERE,
    WALKS_AWAY,
    distance_from_point,
    sizes_of,
)
from posegen.conditions.track_pieces import OpenPiece, PieceGrower, assigned, movement
from posegen.config import PersonChoice

_CERTAIN = 0.5
"""Seconds after which a piece is taken for good for the continuation of somebody who was lost."""
_YOUNG = 0.25
"""Seconds at the beginning of a piece that tell its first movement."""
_RECENT = 0.15
"""Seconds that tell whom a track shows now."""
_CLEARER = 0.1
"""Difference in looks by which a track must resemble somebody else more to be theirs."""
_NEAR = 0.25
"""Distance in heights below which one of two people may cover the other."""
_SAMPLES = 32
"""Maximum number of sightings whose looks are kept of one piece, spread evenly."""


class _Track:
    """Piece with what tells to whom it belongs: its beginning, and looks spread over it."""

    def __init__(self, piece: OpenPiece, fps: float) -> None:
        self.piece, self.first, self.young = piece, piece.last, piece.last
        self._fps = fps
        self._recent: deque[Sightings] = deque(maxlen=max(3, round(_RECENT * fps)))
        self._looks: list[Float16[np.ndarray, "1 44"]] = []
        self._step = 1

    @property
    def count(self) -> int:
        """Number of sightings."""
        return len(self.piece.numbers)

    @property
    def looks(self) -> Float16[np.ndarray, "44"]:
        """Mean looks, without the most recent ones where there are others."""
        return mean_looks(np.concatenate(self._looks)) if self._looks else self.recent_looks

    @property
    def recent_looks(self) -> Float16[np.ndarray, "44"]:
        """Mean looks of the most recent sightings."""
        return mean_looks(np.concatenate([sighting.looks for sighting in self._recent]))

    @property
    def before(self) -> Sightings:
        """The sighting before the most recent ones."""
        return self._recent[0]

    def see(self) -> None:
        """Take note of the latest sighting."""
        last = self.piece.last
        if int(last.frames[0]) - int(self.first.frames[0]) <= max(2, round(_YOUNG * self._fps)):
            self.young = last
        if len(self._recent) == self._recent.maxlen and self.count % self._step == 0:
            self._looks.append(self._recent[0].looks)
        if len(self._looks) > _SAMPLES:
            self._looks, self._step = self._looks[::2], 2 * self._step
        self._recent.append(last)

    def change_over(self) -> None:
        """Forget the looks before the most recent ones: they were another person's."""
        self._looks, self._step = [], 1

    def end(self, at: Sightings | None = None) -> PieceEnd:
        """Describe where it ends, or where it left its person at an earlier sighting."""
        velocity = self.piece.velocity if at is None else np.zeros(2)
        return PieceEnd(at or self.piece.last, velocity, self.piece.height, self.piece.extent, self.looks)

    def beginning(self, after: int) -> PieceEnd:
        """Describe where it begins; if that is not after this frame, where it is now."""
        begins = int(self.first.frames[0]) > after
        step = movement(self.first, self.young) if self.young is not self.first else None
        velocity = np.zeros(2) if step is None or not begins else step
        first = self.first if begins else self.piece.last
        return PieceEnd(first, velocity, self.piece.height, self.piece.extent, self.looks)


@dataclass(eq=False)
class _Somebody:
    """Person who was seen.

    first, since: box and frame of their first sighting; track: the present one, None while they are lost; end: where
    they were lost, None after a cut; looks: at the end; size: sum over the `count` frames that show them.
    """

    first: Float32[np.ndarray, "4"]
    since: int
    track: _Track | None
    end: PieceEnd | None = None
    looks: Float16[np.ndarray, "44"] | None = None
    size: float = 0.0
    count: int = 0

    @property
    def usual_looks(self) -> Float16[np.ndarray, "44"]:
        """Looks, over all tracks."""
        looks = [each for each in (self.looks, self.track.looks if self.track else None) if each is not None]
        return mean_looks(np.stack(looks))

    def lose(self, at: Sightings | None = None) -> None:
        """Take note of where the track ends, or where it left this person."""
        if self.track is not None:
            self.looks = self.usual_looks if at is None or self.looks is None else self.looks
            self.end = self.track.end(at)._replace(looks=self.looks)
            self.track = None


class Tracker:
    """Guesses one person in each frame; frames are passed in order.

    choice: whom to follow; fps: frames per second. Until a second after the first sighting, the guess who is meant may
    change.
    """

    def __init__(self, choice: PersonChoice, fps: float) -> None:
        self._choice, self._fps = choice, fps
        self._grower = PieceGrower(fps)
        self._tracks: dict[int, _Track] = {}
        self._everybody: list[_Somebody] = []
        self._followed: _Somebody | None = None
        self._first_frame: int | None = None
        self._new_scene, self._absent_from_scene = False, False

    def begin_scene(self) -> None:
        """Start a possible new scene, in which people may be anywhere."""
        self._new_scene = True

    def choose(self, latest: Detections) -> int | None:
        """Return the place of the followed person among the people of the next frame, or None if absent."""
        frame, people = latest.num_frames - 1, Sightings.of(latest, np.arange(len(latest)))
        self._link(frame, people)
        if not len(latest):
            return None
        if self._new_scene:
            self._new_scene = False
            if self._followed is not None and not _is_here(self._followed.track, frame):
                self._cut(frame)
        here = [track for track in self._tracks.values() if _is_here(track, frame)]
        self._settle_exchanges(frame)
        guessed = self._recognise(frame, here)
        for somebody in self._everybody:
            track = somebody.track or guessed.get(somebody)
            if track is not None and _is_here(track, frame):
                somebody.size, somebody.count = somebody.size + _size(track), somebody.count + 1
        if self._first_frame is None:
            self._first_frame = frame
        if self._followed is None or frame - self._first_frame <= EARLY * self._fps:
            self._followed = self._meant(frame) or self._followed
        if self._followed is None:
            return None
        track = self._followed.track or guessed.get(self._followed)
        if _is_here(track, frame):
            self._absent_from_scene = False
        elif self._absent_from_scene:  # `following` shows the largest instead
            track = max(here, key=_size, default=None)
        return track.piece.numbers[-1] if track is not None and _is_here(track, frame) else None

    def _link(self, frame: int, people: Sightings) -> None:
        """Link the people of a frame to tracks, and lose those whose tracks end."""
        ended = self._grower.add(frame, range(len(people.frames)), people)
        tracks = [self._tracks.pop(id(piece)) for piece in ended]
        for track in tracks:
            for somebody in self._everybody:
                if somebody.track is track:
                    somebody.lose()
        seen = [piece for piece in self._grower.growing if int(piece.last.frames[0]) == frame]
        known = [piece for piece in seen if len(piece.numbers) > 1]
        for piece in seen:
            if len(piece.numbers) == 1 and any(_are_one(piece, other) for other in known):
                self._grower.growing.remove(piece)  # a second detection of the same body
            else:
                known.append(piece)
                track = self._tracks.setdefault(id(piece), _Track(piece, self._fps))
                track.see()

    def _cut(self, frame: int) -> None:
        """Lose everybody: only looks tell who is who after a cut."""
        for somebody in self._everybody:
            somebody.lose()
            somebody.end = None
        self._grower.growing = [piece for piece in self._grower.growing if len(piece.numbers) == 1]
        self._tracks = {id(piece): self._tracks[id(piece)] for piece in self._grower.growing}
        self._absent_from_scene = True

    def _settle_exchanges(self, frame: int) -> None:
        """Give tracks that slid from one person to another to whom they show now."""
        here = [each for each in self._everybody if each.track is not None and _is_here(each.track, frame)]
        for somebody in here if len(self._everybody) > 1 else ():
            if somebody.track is None or self._covered(somebody.track, frame):
                continue
            for other in self._everybody:
                if other is somebody or (other.track is not None and other not in here):
                    continue
                if not self._shows(somebody, other):
                    continue
                if other.track is not None:
                    if self._shows(other, somebody):
                        self._exchange(somebody, other)
                        return
                    continue
                self._exchange(somebody, other)
                # who was seen since is nobody new
                since = frame - 2 * _RECENT * self._fps
                both = (somebody, other, self._followed)
                self._everybody = [each for each in self._everybody if each in both or each.since < since]
                return

    def _covered(self, track: _Track, frame: int) -> bool:
        """Return True if another person of this frame is so near that both may show the clothes of one."""
        last = track.piece.last
        others = [each.piece.last for each in self._tracks.values() if each is not track and _is_here(each, frame)]
        middles = [(each.boxes[0, :2] + each.boxes[0, 2:]) / 2 for each in (last, *others)]
        return any(
            float(np.linalg.norm(middle - middles[0])) < _NEAR * float(last.extents[0]) for middle in middles[1:]
        )

    def _shows(self, somebody: _Somebody, other: _Somebody) -> bool:
        """Return True if the track of somebody shows another one, by their looks."""
        assert somebody.track is not None
        recent = somebody.track.recent_looks
        own, others = similarity(somebody.usual_looks, recent), similarity(other.usual_looks, recent)
        return bool(others > own + _CLEARER)

    def _exchange(self, somebody: _Somebody, other: _Somebody) -> None:
        """Give the track of somebody to another person, and theirs, if they have one, to somebody."""
        track, theirs = somebody.track, other.track
        assert track is not None
        somebody.lose(at=track.before)
        if theirs is not None:
            other.lose(at=theirs.before)
            theirs.change_over()
        somebody.track, other.track = theirs, track
        track.change_over()

    def _recognise(self, frame: int, here: Sequence[_Track]) -> dict[_Somebody, _Track]:
        """Match the tracks of nobody to those who are lost; return what is not certain yet.

        Tracks that match nobody are new people; second detections of somebody who is here are nobody.
        """
        owned = [somebody.track for somebody in self._everybody if somebody.track is not None]
        free = [track for track in here if not any(track is each for each in owned)]
        lost = [somebody for somebody in self._everybody if somebody.track is None]
        cost = np.full((len(lost), len(free)), NEVER)
        for row, somebody in enumerate(lost):
            for column, track in enumerate(free):
                cost[row, column] = self._cost(somebody, track)
        guessed = {}
        matched = dict(assigned(cost)) if cost.size else {}
        for row, column in matched.items():
            somebody, track = lost[row], free[column]
            if track.count >= _CERTAIN * self._fps:
                somebody.track = track
            else:
                guessed[somebody] = track
        new = [track for column, track in enumerate(free) if column not in matched.values()]
        for track in sorted(new, key=lambda each: float(each.first.boxes[0, 0])):
            if not lost or track.count >= _CERTAIN * self._fps:
                self._everybody.append(_Somebody(track.first.boxes[0], int(track.first.frames[0]), track))
        return guessed

    def _cost(self, somebody: _Somebody, track: _Track) -> float:
        """Return the cost of a lost person's return as this track; `NEVER` if that is not possible."""
        alike = float(similarity(somebody.usual_looks, track.looks))
        by_looks = 3 + 4 * (1 - alike)
        if somebody.end is None:
            return by_looks if alike >= RECOGNISED else NEVER
        last = int(somebody.end.sighting.frames[0])
        beginning = track.beginning(last)
        away = float(beginning.sighting.frames[0] - last) / self._fps
        cost = gap_cost(somebody.end, beginning, self._fps, doubled=int(track.first.frames[0]) <= last)
        if away >= WALKS_AWAY:
            alone = len(self._everybody) == 1
            if alike >= SAME_SCENE or (alone and not alike < ONLY_ONE):
                cost = min(cost, by_looks if np.isfinite(alike) else 3.0)
        return cost

    def _meant(self, frame: int) -> _Somebody | None:
        """Return who is meant by the choice, as far as is known by now."""
        choice, fps = self._choice, self._fps
        everybody = [each for each in self._everybody if each.track is not None or each.count >= SHORTEST * fps]
        if isinstance(choice, int):
            return everybody[choice - 1] if choice <= len(everybody) else None
        beginning = self._first_frame is not None and frame - self._first_frame <= BEGINNING * fps
        if not everybody or (choice != "largest" and self._followed is not None and not beginning):
            return self._followed
        if isinstance(choice, tuple):
            point = choice
            return min(everybody, key=lambda each: distance_from_point(each.first, point))
        if choice == "largest":
            enough = THERE * EARLY * fps
            return max(everybody, key=lambda each: each.size / max(each.count, 1) * min(each.count / enough, 1.0))
        largest = max(each.size / max(each.count, 1) for each in everybody)
        there = [each for each in everybody if each.size / max(each.count, 1) > SMALL * largest]
        middles = [float(each.first[0] + each.first[2]) for each in there]
        return there[int(np.argmin(middles) if choice == "left" else np.argmax(middles))]


def _are_one(piece: OpenPiece, other: OpenPiece) -> bool:
    return piece is not other and coincide(joined([piece.last, other.last]), 0, 1)


def _is_here(track: _Track | None, frame: int) -> bool:
    return track is not None and int(track.piece.last.frames[0]) == frame


def _size(track: _Track) -> float:
    last = track.piece.last
    return float(sizes_of(last.heights, last.extents)[0])
