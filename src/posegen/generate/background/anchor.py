"""Chooses the anchor segment, and the segments excluded from sharing, by the background motion of the driving video.

The anchor is the base segment of the longest scene whose background moves least while the person is in it, not a title
or an end card; base segments filmed from elsewhere must not take its background. What is done with the answer, and
whether the user chose another anchor, is the caller's concern.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from posegen.conditions.background_motion import BackgroundMotion
from posegen.generate.segments import Segment, SegmentPlan, reflect_indices

SAFE = 0.05
"""Diagonals of the picture by which a segment's camera may differ from the anchor's: root mean square over the picture.

The shared steps decide the coarse structure of the background, up to 13 to 18 cycles across the picture with the 14B's
settings. On windows of four real pictures, moved and zoomed by known distances, the unmoved window explains of what is
decided there (R2; median of the pictures, and the worst):

| distance | 0.02 | 0.04 | 0.05 | 0.06 | 0.08 | 0.12 |
|---|---|---|---|---|---|---|
| moved | 0.97, 0.94 | 0.88, 0.76 | 0.81, 0.62 | 0.74, 0.47 | 0.58, 0.07 | 0.27, -0.88 |
| zoomed | 0.97, 0.93 | 0.90, 0.72 | 0.85, 0.62 | 0.79, 0.55 | 0.66, 0.34 | 0.55, -0.19 |

So at 0.05 (7 % of a square picture's side, a zoom by 17 %) the anchor's background is right for the larger part in
every picture; at twice that it is worse than none in some. The figures, and the mini's, which allow a little more, are
in `benchmarks/results/background_sharing_threshold.json`. They say what a wrong background costs, not what a model
makes of it.
"""
ALIKE = 0.002
"""Segments whose movement differs by less than this are equally still: errors of measuring lie below."""
_SHOWN = 0.9
"""Fraction of the frames with the person from which a segment shows them."""
_MOST_FRAMES = 0.9  # of a segment's frames must lie within SAFE: a wrong measurement or two do not count


@dataclass(frozen=True)
class UnsafeSegment:
    """A base segment that must not take the anchor's background.

    difference: how far its camera is from the anchor's, in diagonals of the picture; infinite for another scene.
    """

    segment: Segment
    difference: float


def segment_movement(motion: BackgroundMotion, plan: SegmentPlan, segment: Segment) -> float:
    """Measure the background motion in a segment, in diagonals of the image; infinite if there is a cut in it.

    The mean distance of its frames' camera from that of its middle frame, plus what else moves in the background within
    a second. Raises `ValueError` if motion and plan are of different videos.
    """
    frames = _frames(motion, plan, segment)
    middle = np.full_like(frames, frames[len(frames) // 2])
    residual = motion.residual[frames]
    besides = residual[~np.isnan(residual)]
    return float(motion.distance(middle, frames).mean()) + motion.fps * float(besides.mean() if len(besides) else 0.0)


def choose_anchor(
    motion: BackgroundMotion, plan: SegmentPlan, person: Bool[np.ndarray, " frames"] | None = None
) -> Segment:
    """Choose the base segment of the longest scene whose background moves least.

    person: the frames that show somebody; None if that is not known. Segments that show the person come first, then
    those in which the background can mostly be seen, then those of the scene that shows the person longest. Among
    equally still ones (to within `ALIKE`) the one is taken whose background most others can take, then the earliest.
    Raises `ValueError` as `segment_movement`.
    """
    bases = plan.base_segments
    person = np.ones(len(motion), bool) if person is None or not person.any() else person
    if len(person) != len(motion):
        raise ValueError(f"the person is known in {len(person)} frames, the background in {len(motion)}")
    shown = np.array([person[_frames(motion, plan, base)].mean() for base in bases])
    candidates = [base for base, share in zip(bases, shown, strict=True) if share >= min(_SHOWN, shown.max())]
    seen = [motion.known[_frames(motion, plan, base)].mean() >= 0.5 for base in candidates]
    candidates = [base for base, enough in zip(candidates, seen, strict=True) if enough] or candidates
    lengths = _scene_lengths(motion, plan, candidates, person)
    candidates = [base for base, length in zip(candidates, lengths, strict=True) if length == max(lengths)]
    movements = [segment_movement(motion, plan, base) for base in candidates]
    least = min(movements)
    still = [
        base
        for base, moves in zip(candidates, movements, strict=True)
        if moves <= least + ALIKE or moves == least  # infinities are equal too
    ]
    return bases[_most_taken(motion, _base_frames(motion, plan), [bases.index(base) for base in still])]


def _scene_lengths(
    motion: BackgroundMotion, plan: SegmentPlan, segments: Sequence[Segment], person: Bool[np.ndarray, " frames"]
) -> list[int]:
    """Count the frames with the person in the scene of each segment; 0 if a cut divides the segment."""
    lengths = np.bincount(motion.scene, weights=person)
    scenes = [np.unique(motion.scene[_frames(motion, plan, segment)]) for segment in segments]
    return [int(lengths[found[0]]) if len(found) == 1 else 0 for found in scenes]


def _most_taken(motion: BackgroundMotion, frames: Int[np.ndarray, "bases frames"], candidates: list[int]) -> int:
    """The candidate whose background fewest base segments cannot take; the first of equals.

    Those that another scene leaves fewest are looked at first, until none that is left can be better: so the time
    grows with the length of the video, not with its square, unless the camera hardly ever comes back.
    """
    elsewhere = _in_other_scenes(motion, frames)
    best = (len(frames), len(frames))
    for fewest, number in sorted((elsewhere[number], number) for number in candidates):
        if best <= (fewest, number):
            break
        best = min(best, (int((_differences(motion, frames, number) > SAFE).sum()), number))
    return best[1]


def _in_other_scenes(motion: BackgroundMotion, frames: Int[np.ndarray, "bases frames"]) -> list[int]:
    """Count, for each base segment, those that cannot take its background because of its scene alone (a minimum)."""
    scenes = motion.scene[frames]
    whole = (scenes == scenes[:, :1]).all(axis=1)
    least = frames.shape[1] - _rank(frames)  # frames elsewhere that make a segment unsafe
    found = {scene: int(((scenes != scene).sum(axis=1) >= least).sum()) for scene in set(scenes[whole, 0].tolist())}
    return [found[int(scene)] if one else 0 for scene, one in zip(scenes[:, 0], whole, strict=True)]


def _differences(
    motion: BackgroundMotion, frames: Int[np.ndarray, "bases frames"], anchor: int
) -> Float[np.ndarray, " bases"]:
    """Distance of each base segment's camera from the anchor's, in diagonals, except in a tenth of the frames."""
    distances = motion.distance(np.broadcast_to(frames[anchor], frames.shape), frames)
    return np.asarray(np.partition(distances, _rank(frames), axis=1)[:, _rank(frames)])


def _rank(frames: Int[np.ndarray, "bases frames"]) -> int:
    """Place in the order of a segment's distances, from 0, of the one that counts."""
    return math.ceil(_MOST_FRAMES * frames.shape[1]) - 1


def _base_frames(motion: BackgroundMotion, plan: SegmentPlan) -> Int[np.ndarray, "bases frames"]:
    return np.stack([_frames(motion, plan, base) for base in plan.base_segments])


def unsafe_segments(motion: BackgroundMotion, plan: SegmentPlan, anchor: Segment) -> list[UnsafeSegment]:
    """The base segments that should not take the anchor's background, in order of time.

    Frame by frame, from the first of both on, the segment's camera is compared with the anchor's: nine tenths of the
    frames must lie within `SAFE`. Raises `ValueError` as `segment_movement`.
    """
    bases = plan.base_segments
    differences = _differences(motion, _base_frames(motion, plan), bases.index(anchor))
    return [
        UnsafeSegment(base, float(difference))
        for base, difference in zip(bases, differences, strict=True)
        if base != anchor and difference > SAFE
    ]


def describe_unsafe(unsafe: Sequence[UnsafeSegment]) -> str | None:
    """One line for the user about the segments of `unsafe_segments`; None if there are none.

    Segments are named by their index in the plan, as their files and the progress are.
    """
    moved = [item for item in unsafe if math.isfinite(item.difference)]
    elsewhere = [item for item in unsafe if not math.isfinite(item.difference)]
    reasons = []
    if moved:
        most = 100 * max(item.difference for item in moved)
        reasons.append(f"{_numbers(moved)}: the camera moves there ({most:.0f} % of the picture)")
    if elsewhere:
        reasons.append(f"{_numbers(elsewhere)}: the driving video shows another scene there")
    return f"background sharing is off for {'; and for '.join(reasons)}" if reasons else None


def _numbers(unsafe: Sequence[UnsafeSegment]) -> str:
    numbers = ", ".join(str(item.segment.index) for item in unsafe)
    return f"segment{'s' if len(unsafe) > 1 else ''} {numbers}"


def _frames(motion: BackgroundMotion, plan: SegmentPlan, segment: Segment) -> Int[np.ndarray, " frames"]:
    """The video's frames that a segment shows, with its padding reflected."""
    if len(motion) != plan.num_frames:
        raise ValueError(f"motion of {len(motion)} frames was measured, the plan is for {plan.num_frames}")
    return reflect_indices(segment.start, segment.stop, plan.num_frames)
