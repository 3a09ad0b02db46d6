"""Filters about movement: camera movement, background jitter, and movement of anything at all.

Movements are fractions of the picture's diagonal, so that they do not depend on resolution.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from posegen.conditions.camera import CameraTracker, Similarity, Step
from posegen.prepare.filters.registration import Registered, Registration
from posegen.prepare.filters.sampled_frames import SampledClip
from posegen.prepare.filters.sampled_people import People

_MOVES = 4.0
"""Grey levels by which 1 % of the person must change from a frame to the next to count as moving."""

_SURE, _SURE_OF_STEPS = 0.005, 0.0007
"""Maximum standard errors, in diagonals, of a movement that is measured without corners: a quarter and a third of the
movement that a camera may have in all and from a frame to the next."""
_FARTHEST_GUESS = 0.2
"""Diagonals."""


class CameraFilter:
    """Measures the movement of the background outside people, by `conditions/camera.py`, on the small frames.

    `camera_moved`: the farthest that the picture's points lie from where they were in the scene's first sample (root
    mean square over the picture, as a fraction of its diagonal); `camera_shift`, `camera_rotation` (degrees) and
    `camera_zoom` (change of scale) are its parts; `camera_jitter`: the movement from a frame to the next one, root
    mean square over samples, as a fraction of the diagonal.

    Wherever corners are too few the whole background is laid over the first sample's, or over that of the sample
    before (`registration.py`). What nothing can be seen of counts as no movement: on an even wall, or along stripes, a
    moving camera does no harm either.
    `camera_known` is the share of samples in which every movement would be seen; a threshold can ask for it
    (`clip_filters.py`).
    """

    name = "static_camera"
    columns: tuple[str, ...] = (
        "camera_moved",
        "camera_shift",
        "camera_rotation",
        "camera_zoom",
        "camera_jitter",
        "camera_known",
        "background_motion",
    )

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Return all columns; `background_motion` is the share that moves besides the camera, a frame."""
        height, width = clip.neighbours.shape[1:3]
        tracker = CameraTracker((height, width))
        now, after, followed = [], [], []
        for small, neighbour, mask in zip(clip.small_frames, clip.neighbours, found.masks, strict=True):
            pictures = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (small, neighbour)]
            followed.append([tracker.add(picture, ~mask) for picture in pictures])
            now.append(Registration(pictures[0], ~mask))
            after.append(Registration(pictures[1], ~mask))
        steps = [_step(tracked, one, other) for tracked, one, other in zip(followed, now, after, strict=True)]
        frames = round(clip.seconds * clip.fps)
        places = _places(followed, now, [_carried_on(step.movement, frames) for step in steps])
        measured = [
            step.movement.distance for step in steps if step.error <= _SURE_OF_STEPS or step.movement.distance > 0
        ]
        residuals = [then.residual for start, then in followed if start.known and np.isfinite(then.residual)]
        return _movement([place.movement for place in places]) | {
            "camera_jitter": float(np.sqrt(np.mean(np.square(measured)))) if measured else 0.0,
            "camera_known": float(np.mean([place.error <= _SURE for place in places[1:]])) if len(places) > 1 else 0.0,
            "background_motion": float(np.mean(residuals)) if residuals else 0.0,
        }


def _step(tracked: Sequence[Step], now: Registration, after: Registration) -> Registered:
    """Measure the movement from a sample to the frame after it: by corners, else by all pixels."""
    if _connected(*tracked):
        return Registered(tracked[1].place.after(tracked[0].place.inverse()), 0.0)
    return now.register(after, Similarity(), _SURE_OF_STEPS)


def _places(
    followed: Sequence[Sequence[Step]], pictures: Sequence[Registration], guesses: Sequence[Similarity]
) -> list[Registered]:
    """Place the first sample in each of the others, by corners where they suffice, else by all pixels.

    guesses: how the camera may move from each sample to the next one. All pixels are compared with the first sample's,
    so that what moves slowly is seen, and where that says too little with those of the sample before.
    """
    places = [Registered(Similarity(), 0.0)]
    for number in range(1, len(pictures)):
        last, (before, between, now) = places[-1].movement, (*followed[number - 1], followed[number][0])
        if _connected(before, between, now):
            places.append(Registered(now.place.after(before.place.inverse()).after(last), 0.0))
            continue
        placed = pictures[0].register(pictures[number], guesses[number - 1].after(last), _SURE)
        if placed.error > _SURE and number > 1:
            moved = pictures[number - 1].register(pictures[number], guesses[number - 1], _SURE)
            if moved.error <= placed.error:
                placed = Registered(moved.movement.after(last), moved.error)
        places.append(placed)
    return places


def _connected(*steps: Step) -> bool:
    """Return whether corners show the movement of the camera through all of these frames."""
    return all(step.known and step.scene == steps[0].scene for step in steps)


def _carried_on(step: Similarity, frames: int) -> Similarity:
    """Continue a movement for some frames; return none if little of the picture would then be seen."""
    moved = Similarity()
    for _ in range(frames):
        moved = step.after(moved)
        if moved.distance > _FARTHEST_GUESS:
            return Similarity()
    return moved


def _movement(places: Sequence[Similarity]) -> dict[str, float]:
    """Return how far the farthest positions are from where they began."""
    return {
        "camera_moved": max((place.distance for place in places), default=0.0),
        "camera_shift": max((abs(place.shift) for place in places), default=0.0),
        "camera_rotation": max((abs(float(np.degrees(np.angle(place.turn)))) for place in places), default=0.0),
        "camera_zoom": max((abs(abs(place.turn) - 1) for place in places), default=0.0),
    }


class TemporalQualityFilter:
    """`temporal_quality`: the embedded stand-in for a video-quality model, on a scale of its own, 0 to 1.

    The worse of two: `liveliness`, the share of samples after which the person moves (repeated frames and slide shows
    do not), and 1 - `flicker` / 8, where `flicker` is the change of the background's brightness from a frame to the
    next one in grey levels, root mean square. `person_motion` is no judgement: how fast the person's pixels move, mean
    over samples, in diagonals of the picture a second.
    """

    name = "video_quality"
    columns: tuple[str, ...] = ("temporal_quality", "liveliness", "flicker", "person_motion")

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Return all columns."""
        alive, changes, speeds = [], [], []
        diagonal = float(np.hypot(*clip.neighbours.shape[1:3]))
        flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
        for now, after, mask in zip(clip.small_frames, clip.neighbours, found.masks, strict=True):
            difference = after.astype(np.int16) - now
            where = mask if mask.any() else ~mask
            alive.append(bool(np.percentile(np.abs(difference[where]).max(axis=-1), 99) > _MOVES))
            where = ~mask if (~mask).any() else mask
            changes.append(float(np.median(difference[where])))
            if mask.any():
                grey = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY) for picture in (now, after)]
                # None: no flow to start from, which cv2's types do not know
                moved = flow.calc(grey[0], grey[1], None)  # type: ignore[call-overload]
                movement = np.linalg.norm(moved, axis=-1)
                speeds.append(float(movement[mask].mean()) / diagonal * clip.fps)
        flicker = float(np.sqrt(np.mean(np.square(changes))))
        liveliness = float(np.mean(alive))
        quality = min(liveliness, 1 - min(1.0, flicker / 8))
        motion = float(np.mean(speeds)) if speeds else 0.0
        return {"temporal_quality": quality, "liveliness": liveliness, "flicker": flicker, "person_motion": motion}
