"""Makes the conditions of a motion file: filmed by a virtual camera, then drawn like those of a driving video.

They have the same form as those that `conditions/extraction.py` makes of a video, in the same kind of folder, so that
everything after them (retargeting, segments, previews) does not know the difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from posegen.conditions.extraction import draw_fitted, draw_videos, fit_pose
from posegen.conditions.finishing import finish_pose
from posegen.conditions.folder import MANIFEST, Conditions, Inputs, find_conditions, save_conditions
from posegen.conditions.frame_edges import settle_edges
from posegen.conditions.hand_maps import make_hand_maps
from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import HANDS, SEEN, PoseSequence
from posegen.conditions.skeleton import Colors
from posegen.config import Viewpoint
from posegen.errors import PosegenError, logger
from posegen.media.fitting import Fit
from posegen.motion.motion_data import Motion
from posegen.motion.viewpoint import choose_view, film, in_image
from posegen.motion.whole_body import whole_body

VERSION = "1"
"""Version, increased when the same motion would give other keypoints."""
KEPT_RATE, USUAL_RATE, MIN_RATE = 60, 30, 20
"""Frame rates up to which a file's own is kept; that is aimed at above it; and that is the lowest then."""


@dataclass(frozen=True)
class FilmedMotion:
    """A motion as the camera sees it, and lines about it for the user."""

    pose: PoseSequence
    lines: tuple[str, ...]


def usual_rate(fps: Fraction) -> Fraction:
    """Return the frame rate of a result for a motion of `fps`: the same; above 60 the largest whole part up to 30."""
    if fps <= KEPT_RATE:
        return fps
    for parts in range(2, int(fps / MIN_RATE) + 1):
        part = fps / parts
        if part <= USUAL_RATE and part.denominator in (1, 1001):
            return part
    return Fraction(USUAL_RATE)


def film_motion(
    motion: Motion, where: str, viewpoint: Viewpoint, size: tuple[int, int], smoothing: bool = True
) -> FilmedMotion:
    """Find the body in a motion and film it into frames of `size` (height, width).

    smoothing: smooth what an estimator has found in images. Raises `PosegenError` if the joints are not a body's, or a
    camera is asked for where there is no space to put it in.
    """
    body = whole_body(motion, where)
    lines = list(body.lines)
    if motion.in_space:
        azimuth, elevation = viewpoint if isinstance(viewpoint, tuple) else (None, 0.0)
        view = choose_view(body, azimuth, elevation, size[1] / size[0] if viewpoint == "auto" else None)
        lines.append(view.line)
        pose = film(body, view, motion, size)
    else:
        if viewpoint != "auto":
            raise PosegenError(
                f"{where}: its points lie in the plane of an image, so --camera cannot be placed: omit it"
            )
        pose = in_image(body, motion, size)
    if motion.estimated:
        pose, repaired = finish_pose(pose, (), smoothing)
        lines += [line for line in (repaired.describe(),) if line]
    else:
        pose = settle_edges(pose)
    lines += _about_gaps(pose)
    return FilmedMotion(pose, tuple(lines))


def _about_gaps(pose: PoseSequence) -> list[str]:
    """Report frames without a person, and hands."""
    lines = []
    missing = 1 - float((pose.scores[:, : HANDS[0].start] >= SEEN).any(axis=1).mean())
    if missing > 0:
        lines.append(f"warning: no joint is known in {100 * missing:.0f} % of the frames, which show nobody")
    found = np.isfinite(pose.hands[..., 0]).any(axis=2).mean(axis=0)
    if not found.any():
        lines.append("it has no fingers: the hand normals are black, and the shape of hands is left to the model")
    else:
        lines.append(f"left hand known in {100 * found[0]:.0f} % of the frames, right hand in {100 * found[1]:.0f} %")
    return lines


def motion_conditions(
    motion: Motion,
    where: str,
    viewpoint: Viewpoint,
    folder: Path,
    fit: Fit,
    fps: Fraction,
    start: float | None = None,
    end: float | None = None,
    hands: bool = True,
    colors: Colors = "openpose",
    draw_scale: int = 1,
    smoothing: bool = True,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Conditions:
    """Make the conditions of a motion in `folder`, or reuse the existing ones if nothing changed.

    fit: fits the frames in which the motion is filmed to the size of the result; the rest as in `extract_conditions`.
    """
    made_by = (f"motion {VERSION}", CapsuleHandNormals.name, f"camera {viewpoint}", f"smoothing {smoothing}")
    inputs = Inputs(motion.digest(), fit, fps, hands, colors, draw_scale, made_by, start, end)
    kept = find_conditions(folder, inputs)
    if kept is not None:
        logger.info("using the conditions in %s, which are up to date", folder)
        return kept
    filmed = film_motion(motion.at_rate(fps, start, end), where, viewpoint, fit.source, smoothing)
    pose, total = filmed.pose, len(filmed.pose)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MANIFEST).unlink(missing_ok=True)
    skeletons = (draw_fitted(pose[index], fit, colors, draw_scale) for index in range(total))
    fitted = (fit_pose(pose[index], fit) for index in range(total))
    hand_maps = make_hand_maps(pose, fitted, fit, CapsuleHandNormals(), iter(())) if hands else None
    draw_videos(skeletons, hand_maps, folder, fit, fps, lambda done: progress(done, total))
    lines = [*(f"{where}: {note}" for note in motion.notes), *filmed.lines]
    return save_conditions(folder, pose, inputs, lines)
