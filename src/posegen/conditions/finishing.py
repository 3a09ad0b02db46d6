"""Finishes the keypoints of a followed person before they are drawn.

The order matters: sides are put right and points smoothed before hands are joined to forearms and faces seen from
behind are removed, and the edge of the frame is last, because it needs the final places.
"""

from collections.abc import Sequence
from fractions import Fraction

from posegen.conditions.frame_edges import settle_edges
from posegen.conditions.framing import without_hidden_faces
from posegen.conditions.joined_hands import join_hands
from posegen.conditions.keypoints import PersonPose, PoseSequence
from posegen.conditions.smoothing import SmoothingReport, smooth_poses

VERSION = "1"
"""Version, increased when the same keypoints would be finished in another way (smoothing has a version of its own)."""


def finish_pose(
    pose: PoseSequence, cuts: Sequence[int] = (), smooths: bool = True, guesses_faces: bool = False
) -> tuple[PoseSequence, SmoothingReport]:
    """Return the clip's poses as they are drawn, and the repairs.

    cuts: first frames of new scenes; smooths: repair and smooth points; guesses_faces: the estimator reports faces that
    it cannot see, so those seen from behind are removed.
    """
    repaired = SmoothingReport(0, 0, 0)
    if smooths:
        pose, repaired = smooth_poses(pose, cuts)
    if guesses_faces:
        pose = without_hidden_faces(pose, cuts)
    return settle_edges(join_hands(pose, cuts), cuts), repaired


def finish_person(person: PersonPose, size: tuple[int, int], guesses_faces: bool = False) -> PersonPose:
    """Finish the person of a single frame of (height, width), as `finish_pose` does without smoothing."""
    one = PoseSequence(person.keypoints[None], person.scores[None], person.hands[None], size, Fraction(1))
    return finish_pose(one, (), smooths=False, guesses_faces=guesses_faces)[0][0]
