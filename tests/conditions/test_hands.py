"""Normals of the capsule hand."""

import numpy as np
import pytest

from posegen.conditions.hands import CapsuleHandNormals
from posegen.conditions.keypoints import PersonPose, empty_hands


def flat_hand(center=(100.0, 150.0), scale=60.0):
    """A left hand held up, palm in the picture's plane."""
    joints = np.zeros((21, 3), np.float32)
    for finger in range(5):
        direction = np.array([0.9 - 0.4 * finger, -1.0, 0.0])
        for joint in range(4):
            joints[1 + 4 * finger + joint] = direction * (0.5 + 0.25 * joint + 0.2 * (finger > 0))
    return (joints * scale + np.array([*center, 0.0])).astype(np.float32)


def person(left=None, right=None):
    hands = empty_hands()
    for side, hand in enumerate((left, right)):
        if hand is not None:
            hands[side] = hand
    return PersonPose(np.zeros((133, 2), np.float32), np.zeros(133, np.float32), hands)


def normals_of(image):
    drawn = image.any(axis=-1)
    return drawn, image[drawn].astype(float) / 127.5 - 1


def test_no_hands_is_black():
    assert not CapsuleHandNormals().estimate(person(), (120, 100)).any()


def test_normals_are_unit_and_face_the_camera():
    drawn, normals = normals_of(CapsuleHandNormals().estimate(person(flat_hand()), (240, 200)))
    assert drawn.sum() > 1000
    assert np.allclose(np.linalg.norm(normals, axis=1), 1, atol=0.02)
    assert normals[:, 2].min() >= -0.01
    assert normals[:, 2].mean() > 0.5


def test_the_hand_lies_around_its_joints():
    joints = flat_hand()
    drawn, _ = normals_of(CapsuleHandNormals().estimate(person(joints), (240, 200)))
    assert all(drawn[round(float(y)), round(float(x))] for x, y, _ in joints)
    rows, columns = np.nonzero(drawn)
    assert abs(columns.min() - joints[:, 0].min()) < 15
    assert abs(rows.min() - joints[:, 1].min()) < 15


def test_normals_point_right_on_the_right_side_and_up_on_the_upper_side():
    joints = np.zeros((21, 3), np.float32)
    joints[:] = 50, 50, 0
    joints[9] = 50, 30, 0  # a palm of 20 pixels upwards
    image = CapsuleHandNormals().estimate(person(joints), (100, 100)).astype(float)
    row = image[40, image[40].any(axis=-1)]
    assert row[-1, 0] > 200
    assert row[0, 0] < 60
    column = image[image[:, 50].any(axis=-1), 50]
    assert column[0, 1] > 200
    assert column[-1, 1] < 60


def test_the_nearer_hand_hides_the_other_one():
    near, far = flat_hand(), flat_hand()
    near[:, 2] -= 500  # z points away from the camera
    far[:, :2] += 3
    alone = CapsuleHandNormals().estimate(person(near), (240, 200))
    both = CapsuleHandNormals().estimate(person(far, near), (240, 200))
    drawn = alone.any(axis=-1)
    assert np.array_equal(both[drawn], alone[drawn])


@pytest.mark.parametrize("shift", [(-1000, 0), (0, -100), (80, 0)])
def test_hands_at_and_beyond_the_edge_are_fine(shift):
    joints = flat_hand()
    joints[:, :2] += shift
    whole = CapsuleHandNormals().estimate(person(flat_hand()), (240, 200))
    image = CapsuleHandNormals().estimate(person(joints), (240, 200))
    assert image.any() == (shift[0] > -1000)
    assert image.any(axis=-1).sum() < whole.any(axis=-1).sum()
