"""Measures the background motion of a driving video: the path of the camera, and other movement behind the person.

Background sharing depends on it: the stillest segment makes the best anchor, and segments filmed from elsewhere must
not take its background (`generate/background/anchor.py`). The video is read once, at a small size, in constant memory,
and the result is kept beside the conditions. `camera.py` compares the frames.
"""

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Complex, Float, Int

from posegen.conditions.camera import CameraTracker, Step, person_mask
from posegen.conditions.folder import Conditions
from posegen.digests import file_digest
from posegen.errors import PosegenError, logger
from posegen.media.checksums import state_of, write_checked
from posegen.media.fitting import Fit
from posegen.media.read_ahead import read_ahead
from posegen.media.video import iterate_frames

MOTION = "background_motion.npz"
"""Default name of the file that keeps the result."""
STILL = 0.005
"""Maximum movement, in image diagonals, of a camera that counts as still; shake and measuring errors stay below it."""
_VERSION = 2
_LONG_SIDE = 320  # pixels at which frames are compared
_MARGIN = 3  # pixels at the edge of padding that belong to neither
_FIELDS = ("turn", "shift", "scene", "known", "residual")
FrameNumbers = Int[np.ndarray, "*frames"]


@dataclass(frozen=True)
class BackgroundMotion:
    """Position and movement of the background in each frame.

    Positions are similarity transforms from the first frame of a scene (a part without a cut) to this frame, as complex
    numbers in image diagonals from the centre (`camera.Similarity`). If the camera pans right, the background moves
    left.
    """

    turn: Complex[np.ndarray, " frames"]
    """Scale and rotation as one complex number."""
    shift: Complex[np.ndarray, " frames"]
    """Position of the middle of the scene's first frame."""
    scene: Int[np.ndarray, " frames"]
    """Number of cuts before the frame; frames of two scenes cannot be compared."""
    known: Bool[np.ndarray, " frames"]
    """True if there was enough background to measure; otherwise the frame counts as not moved."""
    residual: Float[np.ndarray, " frames"]
    """Mean movement of the background since the frame before, without the camera's, in diagonals; NaN if unknown."""
    fps: float

    @classmethod
    def of(cls, steps: Sequence[Step], fps: float) -> "BackgroundMotion":
        """Collect the steps that the camera tracker returned for each frame."""
        return cls(
            np.array([step.place.turn for step in steps], complex),
            np.array([step.place.shift for step in steps], complex),
            np.array([step.scene for step in steps], int),
            np.array([step.known for step in steps], bool),
            np.array([step.residual for step in steps], float),
            fps,
        )

    def __len__(self) -> int:
        return len(self.turn)

    @property
    def offset(self) -> Float[np.ndarray, "frames 2"]:
        """Offset (x, y) of the background in diagonals, x right and y down."""
        return np.stack([self.shift.real, self.shift.imag], axis=-1)

    @property
    def scale(self) -> Float[np.ndarray, " frames"]:
        """Scale of the background; above 1 the camera is nearer or has zoomed in."""
        return np.abs(self.turn)

    @property
    def rotation(self) -> Float[np.ndarray, " frames"]:
        """Rotation of the background in degrees, clockwise in the image."""
        return np.degrees(np.angle(self.turn))

    def distance(self, frames: FrameNumbers, others: FrameNumbers) -> Float[np.ndarray, "*frames"]:
        """Return the distance between the background in `frames` and in `others`, pair by pair, in diagonals.

        Root mean square over the points of the image; infinite if there is a cut between.
        """
        turn = self.turn[others] / self.turn[frames]
        shift = self.shift[others] - turn * self.shift[frames]
        moved = np.hypot(np.abs(turn - 1) / np.sqrt(12), np.abs(shift))
        return np.where(self.scene[frames] == self.scene[others], moved, np.inf)

    def describe(self) -> str:
        """Describe the camera's movement in one line, and whether there was enough background to measure it."""
        if not self.known.any():
            return "camera of the driving video: too little background is seen to tell whether it moves"
        everywhere = np.arange(len(self))
        first_of_scene = np.searchsorted(self.scene, self.scene)
        moved = float(self.distance(first_of_scene, everywhere)[self.known].max())
        line = "camera of the driving video: "
        line += f"moves by up to {100 * moved:.0f} % of the picture" if moved > STILL else "stands still"
        if self.scene[-1] > 0:
            line += f", {self.scene[-1]} cut{'s' if self.scene[-1] > 1 else ''}"
        unknown = 1 - float(self.known.mean())
        if unknown > 0.02:
            line += f" (too little background to tell in {100 * unknown:.0f} % of the frames)"
        return line

    def save(self, path: Path, key: str) -> None:
        """Write as NPZ, atomically; `key` identifies the inputs. Raises `OutputError`."""
        content = io.BytesIO()
        np.savez_compressed(
            content,
            turn=self.turn,
            shift=self.shift,
            scene=self.scene,
            known=self.known,
            residual=self.residual,
            fps=self.fps,
            key=key,
        )
        write_checked(path, content.getvalue())

    @classmethod
    def load(cls, path: Path, key: str) -> "BackgroundMotion | None":
        """Load a file saved with the same key; None if it is missing, has another key, or is damaged.

        A damaged file is reported in one line.
        """
        state = state_of(path)
        if state != "intact":
            if state == "damaged":
                logger.warning("%s is damaged: the background's motion is measured again", path)
            return None
        try:
            with path.open("rb") as file, np.load(file) as data:
                if str(data["key"]) != key:
                    return None
                turn, shift, scene, known, residual = (data[name] for name in _FIELDS)
                return cls(turn, shift, scene, known, residual, float(data["fps"]))
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None


def measure_background_motion(
    driving: Path,
    conditions: Conditions,
    fit: Fit,
    kept: Path,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> BackgroundMotion:
    """Measure the background motion of `driving`, or load it from the file `kept` if nothing changed.

    conditions: made from this video; they give the frame rate, the keypoints of the person and the boxes of others (a
    frame without anybody is all background); fit: fits the video to the size of the result, so that only the visible
    part counts; progress: called with (frames done, total frames). Raises `PosegenError` if the video cannot be read or
    has another number of frames than the conditions.
    """
    key = _key(driving, conditions, fit)
    found = BackgroundMotion.load(kept, key)
    if found is not None and len(found) == conditions.num_frames:
        progress(conditions.num_frames, conditions.num_frames)
        return found
    motion = _measure(driving, conditions, fit, progress)
    motion.save(kept, key)
    return motion


def _measure(driving: Path, conditions: Conditions, fit: Fit, progress: Callable[[int, int], None]) -> BackgroundMotion:
    pose = conditions.pose
    scale = _LONG_SIDE / max(fit.target)
    height, width = (max(1, round(side * scale)) for side in fit.target)
    small = fit.at_size((height, width))
    picture = _inside_padding(small)
    tracker = CameraTracker(small.target)
    steps: list[Step] = []
    with closing(read_ahead(iterate_frames(driving, pose.fps, conditions.start, conditions.end))) as frames:
        for frame, number in zip_longest(frames, range(len(pose))):
            if frame is None or number is None:
                raise PosegenError(
                    f"{driving} does not have the {len(pose)} frames of its conditions: extract the conditions again"
                )
            grey = cv2.cvtColor(small.apply(frame), cv2.COLOR_RGB2GRAY)
            points = small.apply_points(pose.keypoints[number])
            background = picture & ~person_mask(points, pose.scores[number], small.target)
            if conditions.bystanders is not None:
                background &= ~conditions.bystanders.mask(number, small)
            may_cut = conditions.cuts is None or any(abs(cut - number) <= 1 for cut in conditions.cuts)
            steps.append(tracker.add(grey, background, may_cut))
            progress(len(steps), len(pose))
    return BackgroundMotion.of(steps, float(pose.fps))


def _inside_padding(fit: Fit) -> Bool[np.ndarray, "height width"]:
    """Return a mask of the fitted frame that is True inside the video, a few pixels away from the padding."""
    (top, left), (height, width) = fit.offset, fit.scaled
    rows, columns = np.arange(fit.target[0]), np.arange(fit.target[1])
    inside_rows = (rows >= top + _MARGIN * (top > 0)) & (rows < top + height - _MARGIN * (top > 0))
    inside_columns = (columns >= left + _MARGIN * (left > 0)) & (columns < left + width - _MARGIN * (left > 0))
    return inside_rows[:, None] & inside_columns[None]


def _key(driving: Path, conditions: Conditions, fit: Fit) -> str:
    """Hash everything that the result depends on. Raises `PosegenError` if the video cannot be read."""
    try:
        video = file_digest(driving)
    except OSError as error:
        raise PosegenError(f"{driving}: cannot be read ({error.strerror})") from error
    pose = conditions.pose
    points = hashlib.sha256(pose.keypoints.tobytes() + pose.scores.tobytes()).hexdigest()
    parts: list[str | int | float | None] = [_VERSION, video, points, str(pose.fps), fit.mode, *fit.source, *fit.target]
    others = conditions.bystanders
    if others is not None and len(others.frames):
        parts += ["bystanders", hashlib.sha256(others.frames.tobytes() + others.boxes.tobytes()).hexdigest()]
    if conditions.cuts is not None:
        parts += ["cuts", *conditions.cuts]
    if fit.centre != (0.5, 0.5):
        parts += ["centre", *fit.centre]
    if (conditions.start, conditions.end) != (None, None):
        parts += [conditions.start, conditions.end]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
