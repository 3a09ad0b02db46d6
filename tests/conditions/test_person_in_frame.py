"""Keypoints that cannot be right for the video are a warning, whoever found them."""

from fractions import Fraction

import numpy as np
import pytest

from posegen.conditions.keypoints import PoseSequence
from posegen.conditions.person_in_frame import describe_place

SIZE = (360, 640)


def walking(scale=1.0, shift=(0.0, 0.0), frames=20):
    """Somebody of 200 pixels in the middle of the frame, made smaller or moved."""
    random = np.random.default_rng(0)
    points = np.zeros((frames, 133, 2), np.float32)
    points[:, :17] = np.array([270, 80]) + random.uniform(0, [100, 200], (17, 2))
    points = points * scale + np.array(shift)
    scores = np.zeros((frames, 133), np.float32)
    scores[:, :17] = 0.9
    return PoseSequence(
        points.astype(np.float32), scores, np.full((frames, 2, 21, 3), np.nan, np.float32), SIZE, Fraction(25)
    )


def test_a_person_in_the_frame_is_no_warning_nor_is_nobody():
    assert describe_place(walking()) == []
    nobody = walking()
    nobody.scores[:] = 0
    assert describe_place(nobody) == []
    leaves = walking()
    leaves.keypoints[-1] += 1000
    leaves.scores[5, 1:] = 0  # one point alone has no size
    assert describe_place(leaves) == []


@pytest.mark.parametrize(("scale", "told"), [(0.003, ["pixels large in 20 of 20"]), (0.5, [])])
def test_a_person_of_a_few_pixels_is_one(scale, told):
    lines = describe_place(walking(scale))
    assert len(lines) == len(told)
    assert all(part in line for part, line in zip(told, lines, strict=True))


@pytest.mark.parametrize("shift", [(640, 0), (0, -300), (-1000, 900)])
def test_a_person_who_is_mostly_outside_is_one(shift):
    (line,) = describe_place(walking(shift=shift))
    assert "outside the frame in 20 of 20" in line
    half = walking()
    half.keypoints[:10] += shift
    (line,) = describe_place(half)
    assert "in 10 of 20" in line
