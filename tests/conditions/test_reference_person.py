"""The people of a reference image: a second look where the first finds nobody, and the choice among several."""

import cv2
import numpy as np
import pytest
from skimage import data

from people import walk
from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.keypoints import INDEX, PersonPose
from posegen.conditions.reference_person import find_reference_people, is_plausible
from posegen.errors import PosegenError

CORE = [INDEX[name] for name in ("nose", "left_shoulder", "right_shoulder")]


@pytest.fixture(scope="module")
def portrait():
    """Return a photo of an astronaut, and where the estimator sees them in it."""
    photo = data.astronaut()
    return photo, find_reference_people(photo).chosen


def framed(photo, side, corner, size):
    """Show the photo at a small size inside a plain picture of `size` (H, W)."""
    picture = np.full((*size, 3), (120, 130, 90), np.uint8)
    x, y = corner
    picture[y : y + side, x : x + side] = cv2.resize(photo, (side, side), interpolation=cv2.INTER_AREA)
    return picture


@pytest.mark.parametrize(("side", "corner", "size"), [(96, (650, 200), (600, 1000)), (160, (20, 20), (700, 500))])
def test_a_person_missed_at_first_is_found_at_a_second_look(portrait, caplog, side, corner, size):
    photo, person = portrait
    picture = framed(photo, side, corner, size)
    estimator = MediaPipePose(single_image=True)
    assert estimator.estimate(picture) == []  # else this tests nothing
    estimator.close()
    found = find_reference_people(picture)
    assert found.second_look
    assert found.chosen is not None
    assert is_plausible(found.chosen)
    truth = person.keypoints[CORE] * side / photo.shape[0] + corner
    assert np.linalg.norm(found.chosen.keypoints[CORE] - truth, axis=1).max() < 0.15 * side
    assert "second look" in caplog.text


def test_a_first_look_is_not_overruled_and_nothing_is_said(portrait, caplog):
    found = find_reference_people(portrait[0])
    assert not found.second_look
    assert found.number == 1
    assert caplog.text == ""


@pytest.mark.parametrize("picture", [data.coffee(), data.chelsea(), data.rocket()], ids=["coffee", "cat", "rocket"])
def test_where_nobody_is_a_second_look_finds_nobody(picture):
    found = find_reference_people(picture)
    assert found.people == ()
    assert found.chosen is None


def test_of_several_the_chosen_one_is_taken_and_it_is_said(portrait, caplog):
    photo, _ = portrait
    small = cv2.resize(photo, (300, 300), interpolation=cv2.INTER_AREA)
    both = np.full((420, 720, 3), 60, np.uint8)
    both[60:360, :300], both[20:400, 340:] = small, cv2.resize(photo, (380, 380), interpolation=cv2.INTER_AREA)
    found = find_reference_people(both)
    assert len(found.people) == 2
    assert found.number == 2  # the larger one
    assert "2 people" in caplog.text
    assert "number 2" in caplog.text
    assert find_reference_people(both, choice="left").chosen.center[0] < 300
    assert find_reference_people(both, choice=(600.0, 200.0)).number == 2
    with pytest.raises(PosegenError, match=r"reference_person 3.* 2 people"):
        find_reference_people(both, choice=3)


def test_only_an_upright_body_is_plausible():
    person = walk(1)[0]
    assert is_plausible(person)
    over = person.keypoints * [1, -1] + [0, 700]
    assert not is_plausible(PersonPose(over, person.scores))
    without_shoulder = person.scores.copy()
    without_shoulder[INDEX["left_shoulder"]] = 0
    assert not is_plausible(PersonPose(person.keypoints, without_shoulder))
    without_hips = person.scores.copy()
    without_hips[[INDEX["left_hip"], INDEX["right_hip"]]] = 0
    assert is_plausible(PersonPose(person.keypoints, without_hips))
