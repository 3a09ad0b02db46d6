"""Filters about movement: whether the camera stands still, whether the background jitters, cuts left inside the clip.

Movements are fractions of the picture's diagonal, so that they do not depend on resolution.
"""

import cv2
import numpy as np

from posegen.conditions.camera import CameraTracker, Grey, Mask
from posegen.data.prepare.people import People
from posegen.data.prepare.sampling import SampledClip

_MOVES = 4.0
"""Grey levels by which a hundredth of the person must change from a frame to the next one to count as moving."""

_LEAST_SHARE = 0.02
"""Share of the picture that background must take to say anything."""
_STRUCTURE, _ALIKE = 5.0, 3.0
"""Grey levels: least deviation of a background that has structure; difference of pictures that are alike."""
_EXPLAINED = 0.3
"""Share of the squared difference that a shift must leave at most."""


class CameraFilter:
    """How the background moves outside the people, by `conditions/camera.py` at the size of the small frames.

    `camera_moved`: the farthest that the picture's points lie from where they were in the scene's first sample (root
    mean square over the picture, as a fraction of its diagonal); `camera_shift`, `camera_rotation` (degrees) and
    `camera_zoom` (change of scale) are its parts; `camera_jitter`: the movement from a frame to the next one, root
    mean square over samples, as a fraction of the diagonal. Where too little background is seen to tell (share of
    samples: 1 - `camera_known`) it counts as still.
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
        scores = {
            "camera_moved": max((step.place.distance for step in known), default=0.0),
            "camera_shift": max((abs(step.place.shift) for step in known), default=0.0),
            "camera_rotation": max((abs(float(np.degrees(np.angle(step.place.turn)))) for step in known), default=0.0),
            "camera_zoom": max((abs(abs(step.place.turn) - 1) for step in known), default=0.0),
            "camera_jitter": float(np.sqrt(np.mean([step.distance**2 for step, _ in moved]))) if moved else 0.0,
            "camera_known": len(known) / len(places),
            "background_motion": float(np.mean(residuals)) if residuals else 0.0,
        }
        if scores["camera_known"] < 0.5:
            scores |= edges_moved(clip, found)
        return scores


def edges_moved(clip: SampledClip, found: People) -> dict[str, float]:
    """`camera_moved` and `camera_jitter` without corners: by the least shift of the background that explains it.

    Where the background lies now is compared with the first sample in the four quarters of the picture, which a zoom
    or a turn moves apart.
    """
    now, after = (
        [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames] for frames in (clip.small_frames, clip.neighbours)
    )
    height, width = now[0].shape
    middle, centre = height // 2, width // 2
    parts = [(rows, columns) for rows in (slice(0, middle), slice(middle, height))
             for columns in (slice(0, centre), slice(centre, width))]  # fmt: skip
    places = [0.0]
    for frame, mask in zip(now[1:], found.masks[1:], strict=True):
        moved = []
        for part in parts:
            window = np.zeros_like(mask)
            window[part] = True
            shift = least_shift(now[0], frame, window & ~found.masks[0], ~mask, 2)
            moved.append(shift or 0.0)
        places.append(max(moved))
    steps = [
        least_shift(frame, then, ~mask, ~mask, 1) or 0.0
        for frame, then, mask in zip(now, after, found.masks, strict=True)
    ]
    diagonal = float(np.hypot(height, width))
    return {
        "camera_moved": max(places) / diagonal,
        "camera_jitter": float(np.sqrt(np.mean(np.square(steps)))) / diagonal,
    }


def least_shift(before: Grey, after: Grey, where_before: Mask, where_after: Mask, factor: int) -> float | None:
    """The least shift in pixels after which two pictures agree where both masks hold; None without any structure.

    All shifts up to a quarter of the picture are tried at once (squared differences by Fourier transform), at a size
    reduced by `factor`. Along stripes every shift agrees, and none is what it counts.
    """
    size = (before.shape[1] // factor, before.shape[0] // factor)
    pictures = [cv2.resize(each, size, interpolation=cv2.INTER_AREA).astype(np.float32) for each in (before, after)]
    masks = [cv2.resize(each.astype(np.float32), size, interpolation=cv2.INTER_NEAREST)
             for each in (where_before, where_after)]  # fmt: skip
    if masks[0].sum() < _LEAST_SHARE * masks[0].size or masks[1].sum() < _LEAST_SHARE * masks[1].size:
        return None
    level = float((pictures[0] * masks[0]).sum() / masks[0].sum())
    if float((np.square(pictures[0] - level) * masks[0]).sum() / masks[0].sum()) < _STRUCTURE**2:
        return None
    shape = [2 * size[1], 2 * size[0]]
    spectra = [[np.fft.rfft2(mask * (picture - level) ** power, shape) for power in range(3)]
               for picture, mask in zip(pictures, masks, strict=True)]  # fmt: skip
    (ones, values, squares), (others, their, theirs) = spectra
    shared = np.fft.irfft2(np.conj(ones) * others, shape)
    apart = np.fft.irfft2(np.conj(squares) * others - 2 * np.conj(values) * their + np.conj(ones) * theirs, shape)
    rows, columns = (np.fft.fftfreq(side, 1 / side) for side in shape)
    far = np.hypot(*np.meshgrid(rows, columns, indexing="ij"))
    tried = (shared > 0.5 * masks[0].sum()) & (far < min(size) / 2)
    cost = np.where(tried, apart / np.maximum(shared, 1), np.inf)
    stays, least = float(cost[0, 0]), max(0.0, float(cost.min()))
    if stays < _ALIKE**2 or least > _EXPLAINED * stays:  # what changes is no movement of the whole
        return 0.0
    good = cost <= 1.3 * least + 0.02 * stays
    return factor * float(far[good].min())


class CutFilter:
    """`cuts`: how many scenes begin inside the clip."""

    name = "cuts"
    columns: tuple[str, ...] = ("cuts",)

    def score(self, clip: SampledClip, found: People) -> dict[str, float]:
        """Cuts were looked for while the clip was sampled."""
        return {"cuts": float(len(clip.cuts))}


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
