"""Keypoints that cannot be right for the video are a warning, whoever found them."""

from fractions import Fraction

import numpy as np
import pytest

from people import walk
from posegen.conditions.keypoints import INDEX, PersonPose, PoseSequence
from posegen.conditions.person_in_frame import describe_place, head_box, important_boxes, parts_outside

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


def test_a_head_reaches_above_the_eyes_by_what_its_size_says():
    """Of a standing adult of 400 pixels the nose lies 0.085 heights below the crown."""
    person = walk(1, height=400.0)[0]
    nose = person.keypoints[INDEX["nose"]]
    left, top, right, bottom = head_box(person)
    assert left < nose[0] < right
    assert 0.085 * 400 <= nose[1] - top <= 2 * 0.085 * 400
    assert nose[1] < bottom < person.keypoints[INDEX["left_shoulder"], 1]
    over = PersonPose(person.keypoints * [1, -1] + [0, 700], person.scores)  # upside down
    assert head_box(over) == pytest.approx((left, 700 - bottom, right, 700 - top))


def test_boxes_are_nested_and_without_a_face_there_is_no_head():
    person = walk(1)[0]
    head, torso, whole = important_boxes(person)
    assert torso[0] <= head[0]
    assert torso[1] == head[1]
    assert torso[3] > head[3]
    assert whole[3] > torso[3]
    scores = person.scores.copy()
    scores[:5] = 0
    assert head_box(PersonPose(person.keypoints, scores)) is None
    assert len(important_boxes(PersonPose(person.keypoints, scores))) == 2


def test_parts_outside_are_named_from_the_head_down():
    person = walk(1, height=400.0, place=(300.0, 300.0))[0]
    assert parts_outside(person, (700, 600)) == []
    assert parts_outside(person, (400, 600)) == ["legs"]
    above = PersonPose(person.keypoints - [0, 190], person.scores)
    assert parts_outside(above, (700, 600)) == ["head", "shoulders"]
