"""Filters about movement: whether the camera stands still, whether the background jitters, whether anything moves.

Movements are fractions of the picture's diagonal, so that they do not depend on resolution.
"""

from collections.abc import Sequence

import cv2
import numpy as np

from posegen.conditions.camera import CameraTracker, Similarity
from posegen.data.prepare.people import People
from posegen.data.prepare.registration import Registration
from posegen.data.prepare.sampling import SampledClip

_MOVES = 4.0
"""Grey levels by which a hundredth of the person must change from a frame to the next one to count as moving."""

_ENOUGH = 0.5
"""Share of samples in which corners must tell where the camera is; else all pixels are asked."""
_SURE, _SURE_OF_STEPS = 0.005, 0.0007
"""Largest standard errors, in diagonals, with which a movement is believed that no corners tell of: a quarter and a
third of what a camera may move in all and from a frame to the next one."""


class CameraFilter:
    """How the background moves outside the people, by `conditions/camera.py` at the size of the small frames.

    `camera_moved`: the farthest that the picture's points lie from where they were in the scene's first sample (root
    mean square over the picture, as a fraction of its diagonal); `camera_shift`, `camera_rotation` (degrees) and
    `camera_zoom` (change of scale) are its parts; `camera_jitter`: the movement from a frame to the next one, root
    mean square over samples, as a fraction of the diagonal.

    Where corners are too few the whole background is laid over the first sample's (`registration.py`). What nothing
    can be seen of counts as no movement: on an even wall, or along stripes, a moving camera does no harm either.
    `camera_known` is the share of samples in which every movement would be seen; a threshold can ask for it
    (`filters.py`).
    """

    name = "static_camera"
    columns: tuple[str, ...] = (
        "camera_moved", "camera_shift", "camera_rotation", "camera_zoom", "camera_jitter", "camera_known",
        "background_motion",
    )  # fmt: skip

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """All columns; `background_motion` is what moves there besides the camera, a frame, as a fraction."""
        height, width = clip.neighbours.shape[1:3]
        tracker = CameraTracker((height, width))
        places, steps = [], []
        for small, after, mask in zip(clip.small_frames, clip.neighbours, found.masks, strict=True):
            now, then = (tracker.add(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY), ~mask) for picture in (small, after))
            places.append(now)
            steps.append((now, then))
        known = [step for step in places if step.known]
        moved = [(then.place.after(now.place.inverse()), then.residual) for now, then in steps
                 if now.known and then.known and now.scene == then.scene]  # fmt: skip
        residuals = [residual for _, residual in moved if np.isfinite(residual)]
        scores = _movement([step.place for step in known]) | {
            "camera_jitter": float(np.sqrt(np.mean([step.distance**2 for step, _ in moved]))) if moved else 0.0,
            "camera_known": len(known) / len(places),
            "background_motion": float(np.mean(residuals)) if residuals else 0.0,
        }
        if scores["camera_known"] < _ENOUGH:
            scores |= all_pixels_moved(clip, found)
        return scores


def all_pixels_moved(clip: SampledClip, found: People) -> dict[str, float]:
    """All columns of `CameraFilter` but `background_motion` without corners, by `registration.py`."""
    now, after = (
        [Registration(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), ~mask) for frame, mask in zip(frames, found.masks,
         strict=True)] for frames in (clip.small_frames, clip.neighbours)
    )  # fmt: skip
    places, known = [Similarity()], []
    for picture in now[1:]:
        placed = now[0].register(picture, places[-1], _SURE)
        places.append(placed.movement)
        known.append(placed.error <= _SURE)
    steps = [one.register(other, Similarity(), _SURE_OF_STEPS) for one, other in zip(now, after, strict=True)]
    jitter = float(np.sqrt(np.mean([step.movement.distance**2 for step in steps])))
    return _movement(places) | {"camera_jitter": jitter, "camera_known": float(np.mean(known)) if known else 0.0}


def _movement(places: Sequence[Similarity]) -> dict[str, float]:
    """How far the farthest of the places lie from where they began."""
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
        """All columns."""
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
                movement = np.linalg.norm(flow.calc(grey[0], grey[1], None), axis=-1)
                speeds.append(float(movement[mask].mean()) / diagonal * clip.fps)
        flicker = float(np.sqrt(np.mean(np.square(changes))))
        liveliness = float(np.mean(alive))
        quality = min(liveliness, 1 - min(1.0, flicker / 8))
        motion = float(np.mean(speeds)) if speeds else 0.0
        return {"temporal_quality": quality, "liveliness": liveliness, "flicker": flicker, "person_motion": motion}
