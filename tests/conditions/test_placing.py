"""Laws of the place that a carried clip gets: what the reference says, and what is taken when it says little."""

import numpy as np
import pytest

from people import one, walk, without
from posegen.conditions.keypoints import SEEN
from posegen.conditions.placing import shift_to

LARGE = (4000, 4000)


def shift(driving, reference, away=None, usable=None):
    frames = len(driving)
    return shift_to(
        driving.keypoints.astype(float),
        driving.scores >= SEEN,
        reference.keypoints.astype(float),
        reference.scores >= SEEN,
        np.zeros(frames) if away is None else away,
        np.ones(frames, bool) if usable is None else usable,
        400.0,
    )


@pytest.mark.parametrize("frame", [0, 7, 15])
def test_the_frame_that_the_reference_shows_gives_the_place(frame):
    driving = walk(20, step=6.0, size=LARGE)  # less than a period of the gait
    moved = walk(20, step=6.0, size=LARGE, place=(1000.0, 900.0))
    found = shift(driving, one(moved, frame))
    assert np.abs(found - (700, 600)).max() < 12


def test_of_equal_poses_the_one_near_the_reference_counts():
    still = np.repeat(walk(1, size=LARGE).keypoints.astype(float), 40, axis=0)
    still[..., 0] += 10 * np.arange(40)[:, None]  # slides past
    seen = np.repeat(walk(1).scores >= SEEN, 40, axis=0)
    target = still[30]
    away = np.abs(still[:, 0, 0] - target[0, 0]) / 400
    found = shift_to(still, seen, target, seen[0], away, np.ones(40, bool), 400.0)
    assert np.abs(found).max() < 15
    only = np.arange(40) < 4
    found = shift_to(still, seen, target, seen[0], away, only, 400.0)
    assert 270 <= found[0] <= 300


def test_arms_do_not_say_where_the_body_is():
    driving = walk(1, size=LARGE)
    raised = walk(1, size=LARGE, phase=0.3)
    reference = driving.keypoints[0].copy()
    arms = [7, 8, 9, 10]
    reference[arms] = raised.keypoints[0][arms]
    pose = one(driving)
    found = shift(driving, type(pose)(reference, pose.scores, pose.hands))
    assert np.abs(found).max() < 1e-3


def test_nothing_in_common_has_no_place():
    legs = without(walk(5), "nose", "eye", "ear", "shoulder", "elbow", "wrist")
    head = without(walk(5), "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "toe", "heel")
    assert shift(legs, one(head)) is None
