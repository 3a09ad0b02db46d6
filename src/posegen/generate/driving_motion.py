"""A motion file in the place of a driving video: what it is to the rest of a job.

It is read once. Its frames are those of a virtual camera, of the result's own size, or of the image in which points of
the plane were found; nothing but the person moves in them.
"""

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.background_motion import BackgroundMotion
from posegen.conditions.folder import Conditions
from posegen.config import GenerateConfig, chosen_person, parse_motion_fps, parse_viewpoint
from posegen.errors import PosegenError
from posegen.media.audio import SILENT, Sound
from posegen.media.video import VideoInfo, probe_video
from posegen.motion.joint_names import check_names, keypoint_sources
from posegen.motion.motion_conditions import motion_conditions, usual_rate
from posegen.motion.motion_data import Asked, Motion
from posegen.motion.motion_files import looks_like_motion, read_motion
from posegen.types import Size

NO_SOUND = Sound(SILENT.track, SILENT.is_copied, SILENT.codec, losses=("a motion file has no sound",))


@dataclass(frozen=True, eq=False)
class DrivingMotion:
    """The motion of a file, with short gaps filled."""

    path: Path
    motion: Motion

    @classmethod
    def of(cls, config: GenerateConfig) -> "DrivingMotion | None":
        """Read the motion file of a job, and check that it is a person's; None for a job with a driving video."""
        if config.motion is None:
            return None
        fps = None if config.motion_fps is None else parse_motion_fps(config.motion_fps)
        motion = read_motion(config.motion, Asked(chosen_person(config.person), fps)).without_short_gaps()
        check_names(keypoint_sources(motion.names), motion.names, str(config.motion))
        if not motion.in_space and parse_viewpoint(config.camera) != "auto":
            raise PosegenError(
                f"--camera {config.camera}: the points of {config.motion} lie in the plane of an image, so no camera "
                "can be placed: omit it"
            )
        return cls(config.motion, motion)

    @property
    def usual_rate(self) -> Fraction:
        """Frame rate of a result for which none is asked."""
        return usual_rate(self.motion.fps)

    def info(self, size: Size) -> VideoInfo:
        """Describe the motion as a video; `size` is that of the result."""
        height, width = self.motion.size or size
        return VideoInfo(
            path=self.path,
            width=width,
            height=height,
            fps=self.motion.fps,
            num_frames=len(self.motion),
            duration=self.motion.seconds,
            has_audio=False,
            rotation=0,
            codec=self.motion.form,
            pixel_format="",
            is_hdr=False,
        )

    def describe(self) -> str:
        """Describe the motion in one line."""
        motion = self.motion
        people = f", {motion.people} people" if motion.people > 1 else ""
        where = "in space" if motion.in_space else "in an image"
        line = f"{motion.form}, {len(motion)} frames at {float(motion.fps):g} frames/s, {motion.seconds:.1f} s"
        line += f", {len(motion.names) - len(motion.derived)} joints {where}{people}"
        if self.usual_rate != motion.fps:
            line += f"; the result has {float(self.usual_rate):g} frames/s by default (--fps)"
        return line


def probe_driving(path: Path) -> VideoInfo:
    """Inspect a driving video, as `probe_video`. Raises `PosegenError`, which names `--motion` for a motion file."""
    try:
        return probe_video(path)
    except PosegenError:
        form = looks_like_motion(path)
        if form is None:
            raise
        raise PosegenError(
            f"--driving {path}: is motion ({form}), not a video: give it to `posegen generate` as --motion"
        ) from None


def still_background(conditions: Conditions) -> BackgroundMotion:
    """The background of a virtual camera: it stands still, and is known in every frame."""
    frames = conditions.num_frames
    return BackgroundMotion(
        turn=np.ones(frames, complex),
        shift=np.zeros(frames, complex),
        scene=np.zeros(frames, int),
        known=np.ones(frames, bool),
        residual=np.zeros(frames),
        fps=float(conditions.fps),
    )


__all__ = ["NO_SOUND", "DrivingMotion", "motion_conditions", "still_background"]
