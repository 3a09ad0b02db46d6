"""The choice of one of several people: its grammar, whom it means, and the numbers that are drawn."""

import numpy as np
import pytest

from people import walk
from posegen.conditions.person_choice import choose_person, draw_numbered_boxes, from_left
from posegen.config import parse_person
from posegen.errors import PosegenError

SMALL_LEFT = walk(1, height=150, place=(100, 300))[0]
LARGE_MIDDLE = walk(1, height=400, place=(300, 300))[0]
SMALL_RIGHT = walk(1, height=160, place=(500, 300))[0]
PEOPLE = [LARGE_MIDDLE, SMALL_RIGHT, SMALL_LEFT]


@pytest.mark.parametrize(
    ("text", "person"),
    [
        ("largest", LARGE_MIDDLE),
        ("left", SMALL_LEFT),
        (" Right", SMALL_RIGHT),
        ("1", SMALL_LEFT),
        ("2", LARGE_MIDDLE),
        ("3", SMALL_RIGHT),
        ("500,290", SMALL_RIGHT),
        ("20.5, 400", SMALL_LEFT),  # beside everybody: the nearest
    ],
)
def test_a_choice_means_one_person(text, person):
    assert choose_person(PEOPLE, parse_person(text), "--person", "the video") is person


def test_a_point_in_two_boxes_means_the_smaller_person():
    child = walk(1, height=150, place=(300, 320))[0]
    assert choose_person([LARGE_MIDDLE, child], (300.0, 310.0), "--person", "the video") is child


def test_a_number_that_nobody_has_is_refused_with_the_count():
    with pytest.raises(PosegenError, match=r"reference_person 4.* 3 people .*the picture"):
        choose_person(PEOPLE, 4, "--reference-person", "the picture")


@pytest.mark.parametrize("text", ["", "0", "-1", "1.5", "biggest", "3,", "1,2,3", "nan,1", "99999", "²"])
def test_what_is_no_choice_is_refused(text):
    with pytest.raises(PosegenError, match="reference_person"):
        parse_person(text, "--reference-person")


def test_every_box_is_drawn_and_the_chosen_one_differs():
    picture = np.full((700, 600, 3), 120, np.uint8)
    boxes = {number: person.box for number, person in enumerate(from_left(PEOPLE), 1)}
    first, second = draw_numbered_boxes(picture, boxes, 1), draw_numbered_boxes(picture, boxes, 2)
    assert (picture == 120).all()
    for left, top, right, bottom in boxes.values():
        changed = (first != 120).any(axis=-1)
        x, y = round((left + right) / 2), round((top + bottom) / 2)
        assert changed[y, round(right)]
        assert changed[round(bottom), x]
    left, top, _, bottom = (round(side) for side in boxes[2])
    assert tuple(first[bottom, left + 20]) != tuple(second[bottom, left + 20])


def test_boxes_outside_the_picture_are_drawn_where_they_can_be():
    drawn = draw_numbered_boxes(np.zeros((60, 80, 3), np.uint8), {1: (-1e9, -50.0, 1e9, 500.0), 2: (200, 10, 250, 50)})
    assert drawn.any()
