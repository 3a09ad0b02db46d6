"""What is decided once the whole clip is known: sides before faces, then hands, then the frame's edge."""

import numpy as np
from test_smoothing import mirrored_names, sequence, standing

from posegen.conditions.finishing import finish_pose
from posegen.conditions.framing import FACE_NAMES, from_behind
from posegen.conditions.keypoints import BODY_NAMES, INDEX, SEEN

FACE = [INDEX[name] for name in FACE_NAMES]
SIDED = [name.removeprefix("left_") for name in BODY_NAMES if name.startswith("left_")]


def reversed_in(frames, count=60):
    """Somebody standing, with left and right exchanged in some frames."""
    still = standing(count)
    return sequence(mirrored_names(still.keypoints.astype(float), frames, SIDED), still.scores)


def test_a_face_stays_where_only_the_sides_were_mistaken():
    pose = reversed_in(slice(20, 30))
    assert from_behind(pose.keypoints, pose.scores).sum() == 10
    finished, report = finish_pose(pose, guesses_faces=True)
    assert report.swapped == 10
    assert (finished.scores[:, FACE] >= SEEN).all()


def test_a_face_seen_from_behind_is_removed_for_estimators_that_guess_it():
    back = reversed_in(slice(0, 60))
    for smooths in (True, False):
        assert (finish_pose(back, (), smooths, guesses_faces=True)[0].scores[:, FACE] == 0).all()
        assert (finish_pose(back, (), smooths)[0].scores[:, FACE] >= SEEN).all()
    ears = [INDEX["left_ear"], INDEX["right_ear"]]
    assert (finish_pose(back, guesses_faces=True)[0].scores[:, ears] >= SEEN).all()


def test_a_face_does_not_blink_and_cuts_are_kept_apart():
    moment = reversed_in(slice(30, 32))
    finished, _ = finish_pose(moment, smooths=False, guesses_faces=True)
    assert (finished.scores[:, FACE] >= SEEN).all()
    cut, _ = finish_pose(reversed_in(slice(30, 60)), cuts=(30,), guesses_faces=True)
    assert (cut.scores[:30, FACE] >= SEEN).all()
    assert (cut.scores[30:, FACE] == 0).all()


def test_a_head_that_looks_over_a_shoulder_keeps_its_face():
    back = reversed_in(slice(0, 60))
    back.keypoints[:, FACE, 0] += 18  # ears are 16 pixels to either side
    assert (finish_pose(back, guesses_faces=True)[0].scores[:, FACE] == 0).all()
    back.keypoints[:, FACE, 0] += 24
    assert from_behind(back.keypoints, back.scores).all()
    assert (finish_pose(back, guesses_faces=True)[0].scores[:, FACE] >= SEEN).all()


def test_finishing_twice_changes_no_score():
    pose = reversed_in(slice(20, 30))
    once, _ = finish_pose(pose, guesses_faces=True)
    twice, _ = finish_pose(once, guesses_faces=True)
    assert np.array_equal(once.scores, twice.scores)
