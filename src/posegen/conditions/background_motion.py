"""How the background of a driving video moves behind the person: the camera's path, and what else moves there.

Background sharing needs it: the stillest segment makes the best anchor, and segments filmed from elsewhere must not
take its background (`generate/background/anchor.py`). The video is read once, small, in constant memory, and the result
is kept beside the conditions. How one frame is compared with another is `camera.py`'s.
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
from posegen.media.fitting import Fit, plan_fit
from posegen.media.read_ahead import read_ahead
from posegen.media.video import iterate_frames

MOTION = "background_motion.npz"
"""Usual name of the file that keeps the result."""
STILL = 0.005
"""Diagonals of the picture up to which a camera counts as standing still; shake and errors of measuring stay below."""
_VERSION = 1
_LONG_SIDE = 320  # pixels at which frames are compared
_MARGIN = 3  # pixels at the edge of padding that belong to neither
_FIELDS = ("turn", "shift", "scene", "known", "residual")
FrameNumbers = Int[np.ndarray, "*frames"]


@dataclass(frozen=True)
class BackgroundMotion:
    """For each frame, where the background is and how it moves.

    Places are similarities from the first frame of a scene (a part without a cut) to this frame, as complex numbers in
    diagonals of the picture from its centre (`camera.Similarity`). A camera that pans to the right has a background
    that goes to the left.
    """

    turn: Complex[np.ndarray, " frames"]
    """Scale and rotation as one complex number."""
    shift: Complex[np.ndarray, " frames"]
    """Where the middle of the scene's first frame is now."""
    scene: Int[np.ndarray, " frames"]
    """Number of cuts before; frames of two scenes cannot be compared."""
    known: Bool[np.ndarray, " frames"]
    """Whether there was enough background to tell; else the frame counts as not moved."""
    residual: Float[np.ndarray, " frames"]
    """Mean movement in the background since the frame before, besides the camera's, in diagonals; NaN: not known."""
    fps: float

    @classmethod
    def of(cls, steps: Sequence[Step], fps: float) -> "BackgroundMotion":
        """From what the camera tracker said of each frame."""
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
        """(x, y) of the background in diagonals, x right and y down."""
        return np.stack([self.shift.real, self.shift.imag], axis=-1)

    @property
    def scale(self) -> Float[np.ndarray, " frames"]:
        """Size of the background; above 1 the camera is nearer or has zoomed in."""
        return np.abs(self.turn)

    @property
    def rotation(self) -> Float[np.ndarray, " frames"]:
        """Rotation of the background in degrees, clockwise in the picture."""
        return np.degrees(np.angle(self.turn))

    def distance(self, frames: FrameNumbers, others: FrameNumbers) -> Float[np.ndarray, "*frames"]:
        """How far the background lies in `others` from where it lies in `frames`, pair by pair, in diagonals.

        Root mean square over the points of the picture; infinite where a cut lies between.
        """
        turn = self.turn[others] / self.turn[frames]
        shift = self.shift[others] - turn * self.shift[frames]
        moved = np.hypot(np.abs(turn - 1) / np.sqrt(12), np.abs(shift))
        return np.where(self.scene[frames] == self.scene[others], moved, np.inf)

    def describe(self) -> str:
        """One line: what the camera does, and whether there was enough background to tell."""
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
        """Write as NPZ, at once or not at all; `key` says what it was made from. Raises `OutputError`."""
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
        """What `save` wrote under the same key; None if there is nothing, something else, or a damaged file.

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
    """Measure how the background of `driving` moves, or take what the file `kept` says if nothing changed.

    conditions: made from this video, at whose frame rate it is read and whose keypoints say where the person is (a
    frame without a person is all background); fit: how the video becomes the size of the result, so that only what is
    seen there counts; progress: hears (frames done, frames in all). Raises `PosegenError` if the video cannot be read
    or has another number of frames than the conditions.
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
    small = plan_fit(fit.source, (height, width), fit.mode)
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
            steps.append(tracker.add(grey, picture & ~person_mask(points, pose.scores[number], small.target)))
            progress(len(steps), len(pose))
    return BackgroundMotion.of(steps, float(pose.fps))


def _inside_padding(fit: Fit) -> Bool[np.ndarray, "height width"]:
    """True where the fitted picture shows the video, a few pixels away from the edge of padding."""
    (top, left), (height, width) = fit.offset, fit.scaled
    rows, columns = np.arange(fit.target[0]), np.arange(fit.target[1])
    inside_rows = (rows >= top + _MARGIN * (top > 0)) & (rows < top + height - _MARGIN * (top > 0))
    inside_columns = (columns >= left + _MARGIN * (left > 0)) & (columns < left + width - _MARGIN * (left > 0))
    return inside_rows[:, None] & inside_columns[None]


def _key(driving: Path, conditions: Conditions, fit: Fit) -> str:
    """A hash of everything the result depends on. Raises `PosegenError` if the video cannot be read."""
    try:
        video = file_digest(driving)
    except OSError as error:
        raise PosegenError(f"{driving}: cannot be read ({error.strerror})") from error
    pose = conditions.pose
    points = hashlib.sha256(pose.keypoints.tobytes() + pose.scores.tobytes()).hexdigest()
    parts: list[str | int | float | None] = [_VERSION, video, points, str(pose.fps), fit.mode, *fit.source, *fit.target]
    if (conditions.start, conditions.end) != (None, None):
        parts += [conditions.start, conditions.end]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
