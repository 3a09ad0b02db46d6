"""Hand-normal maps that move with their hands, and the box of what stands out in a picture."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.conditions.retargeted_conditions import move_hands
from posegen.conditions.subject_box import find_subject_box


def disc(middle, radius, colour, size=(200, 160)):
    picture = np.zeros((*size, 3), np.uint8)
    cv2.circle(picture, middle, radius, colour, -1)
    return picture


LEFT, RIGHT = (40, 60), (110, 120)
MIDDLES = np.array([LEFT, RIGHT], float)
STILL = np.array([[1.0, 0, 0], [1.0, 0, 0]])


def test_hands_that_do_not_move_stay_as_they_are():
    both = disc(LEFT, 12, (128, 128, 255)) + disc(RIGHT, 15, (200, 60, 180))
    assert np.array_equal(move_hands(both, MIDDLES, STILL), both)


@given(st.floats(0.5, 2.0), st.floats(-20, 20), st.floats(-20, 20))
@settings(max_examples=20, deadline=None)
def test_a_hand_is_scaled_about_its_place_and_keeps_its_normals(scale, x, y):
    shift = np.array([x, y]) + (1 - scale) * np.array(LEFT)
    hand = disc(LEFT, 12, (128, 128, 255))
    moved = move_hands(hand, MIDDLES, np.array([[scale, *shift], [1.0, 0, 0]]))
    drawn = moved.any(axis=-1)
    rows, columns = np.nonzero(drawn)
    assert abs(columns.mean() - (LEFT[0] + x)) < 0.7
    assert abs(rows.mean() - (LEFT[1] + y)) < 0.7
    area = scale**2 * hand.any(axis=-1).sum()
    assert abs(drawn.sum() - area) < 0.6 * np.sqrt(4 * np.pi * area), "the edge is off by more than half a pixel"
    assert (moved[drawn] == (128, 128, 255)).all()


def test_each_hand_goes_its_own_way():
    both = disc(LEFT, 12, (128, 128, 255)) + disc(RIGHT, 15, (200, 60, 180))
    moved = move_hands(both, MIDDLES, np.array([[1.0, 10, -20], [1.0, -30, 25]]))
    expected = np.roll(disc(LEFT, 12, (128, 128, 255)), (-20, 10), (0, 1))
    expected += np.roll(disc(RIGHT, 15, (200, 60, 180)), (25, -30), (0, 1))
    assert np.array_equal(moved, expected)
    unknown = np.array([[np.nan, np.nan], RIGHT])
    only = move_hands(disc(RIGHT, 15, (200, 60, 180)), unknown, np.array([[1.0, 10, -20], [1.0, -30, 25]]))
    assert np.array_equal(only, np.roll(disc(RIGHT, 15, (200, 60, 180)), (25, -30), (0, 1)))
    assert not move_hands(np.zeros_like(both), MIDDLES, STILL).any()


@pytest.mark.parametrize("place", [(160, 240, 60, 110), (120, 330, 50, 150)])
def test_what_stands_out_is_found(place):
    """An egg with a hat, on a plain ground with some noise; the second one is cut by the lower edge."""
    x, y, across, down = place
    random = np.random.default_rng(0)
    picture = np.clip(random.normal(200, 4, (400, 320, 3)), 0, 255).astype(np.uint8)
    cv2.ellipse(picture, (x, y), (across, down), 0, 0, 360, (40, 90, 180), -1)
    box = find_subject_box(picture)
    expected = (x - across, y - down, x + across, min(y + down, 400))
    assert np.abs(np.array(box) - expected).max() < 12


def test_nothing_stands_out_of_a_wall_or_of_noise():
    assert find_subject_box(np.full((300, 200, 3), 90, np.uint8)) is None
    noise = np.random.default_rng(0).integers(0, 255, (300, 200, 3), dtype=np.uint8)
    assert find_subject_box(noise) is None
