"""Who is followed, decided for the whole clip: bystanders, crossings, cuts, choices, impossible bodies."""

import numpy as np
import pytest
from people_in_frames import BLUE, GREEN, RED, SIZE, figure, middles, watched

from posegen.conditions.bystanders import Bystanders
from posegen.conditions.following import follow_person
from posegen.conditions.people import choose_person
from posegen.conditions.plausibility import body_angles, usual_direction
from posegen.config import parse_person
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit

RATES = (8, 24, 30, 60)
UPPER = ("nose", "left_shoulder", "right_shoulder", "left_elbow", "right_elbow", "left_hip", "right_hip")


def followed(frames, fps=30, cuts=(), person="largest"):
    detections = watched(frames, fps)
    following = follow_person(detections, cuts, parse_person(person))
    return middles(detections, following), following


@pytest.mark.parametrize("fps", RATES)
def test_a_frame_with_only_a_bystander_is_a_frame_without_the_person(fps):
    """For two frames, and then for half a second, only somebody beside the person is detected."""
    count = 3 * fps
    hidden = {fps, fps + 1, *range(2 * fps, 2 * fps + fps // 2)}
    frames = []
    for frame in range(count):
        person, bystander = (figure(200 + 60 * frame / fps), RED), (figure(430, height=130), BLUE)
        frames.append([bystander] if frame in hidden else [bystander, person])
    x, following = followed(frames, fps)
    expected = [np.nan if frame in hidden else 200 + 60 * frame / fps for frame in range(count)]
    assert np.allclose(x, expected, atol=3, equal_nan=True)
    assert set(np.flatnonzero(following.others)) == hidden


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("seconds", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("colours", [(RED, BLUE), (RED, RED)])
def test_people_who_cross_keep_their_identity(fps, seconds, colours):
    """One hides the other for a while; both go on as before, in clothes of their own or alike."""
    frames, truth = [], []
    for frame in range(4 * fps):
        time = frame / fps - 2
        mine, theirs = 320 + 120 * time, 320 - 100 * time
        people = [(figure(mine, 150), colours[0]), (figure(theirs, 140, 338), colours[1])]
        hidden = abs(time) <= seconds / 2
        frames.append(people[1:] if hidden else people)
        truth.append(np.nan if hidden else mine)
    x, following = followed(frames, fps)
    known = np.isfinite(truth)
    # who is covered shows the other's clothes: such moments are left to the second look
    known &= np.isfinite(x) | (np.abs(np.arange(4 * fps) / fps - 2) > seconds / 2 + 0.25)
    assert np.allclose(x[known], np.array(truth)[known], atol=4)
    assert not np.isfinite(x[~np.isfinite(truth)]).any()
    assert len(following.people) == 2


@pytest.mark.parametrize("fps", RATES)
def test_fast_movement_is_followed(fps):
    """Two heights a second to and fro, with arms that move the rest."""
    frames = [[(figure(320 + 150 * np.sin(2 * np.pi * frame / fps * 0.32)), RED)] for frame in range(3 * fps)]
    x, _ = followed(frames, fps)
    assert np.isfinite(x).all()


def test_an_arm_that_enters_at_the_edge_is_not_the_person():
    """It is there first, and large; the person comes later."""
    arm = figure(600, height=500, only=("left_wrist", "left_elbow", "left_shoulder"))
    frames = [[(arm, GREEN)]] * 10 + [[(arm, GREEN), (figure(200, height=120), RED)]] * 40
    x, following = followed(frames)
    assert np.allclose(x[10:], 200, atol=3)
    assert not np.isfinite(x[:10]).any()
    assert len(following.people) == 1


def test_the_largest_over_the_clip_is_followed_not_that_of_one_frame():
    frames = []
    for frame in range(60):
        passer = [(figure(20 + 20 * frame, height=200), BLUE)] if frame < 5 else []
        frames.append([*passer, (figure(320, height=150), RED)])
    x, _ = followed(frames)
    assert np.allclose(x, 320, atol=3)


def test_after_leaving_somebody_is_found_again_elsewhere_but_no_stranger():
    away = [[(figure(450, height=110), BLUE)]] * 60
    before = [[(figure(100), RED), (figure(450, height=110), BLUE)]] * 30
    back = [[(figure(300), RED), (figure(450, height=110), BLUE)]] * 30
    x, _ = followed(before + away + back)
    assert np.allclose(x, [100] * 30 + [np.nan] * 60 + [300] * 30, atol=3, equal_nan=True)
    stranger = [[(figure(300), GREEN), (figure(450, height=110), BLUE)]] * 30
    x, following = followed(before + away + stranger)
    assert not np.isfinite(x[90:]).any()
    assert len(following.people) == 3


def test_after_a_cut_the_same_person_is_followed_else_the_largest_which_is_reported():
    first = [[(figure(100), RED), (figure(450, height=110), BLUE)]] * 20
    second = [[(figure(200, height=180), BLUE), (figure(500, height=120), RED)]] * 20
    third = [[(figure(300, height=180), GREEN), (figure(500, height=120), BLUE)]] * 20
    x, following = followed(first + second + third, cuts=(20, 40))
    assert np.allclose(x, [100] * 20 + [500] * 20 + [300] * 20, atol=3)
    assert following.replaced == ((40, 59),)


def test_the_chosen_one_is_followed():
    """Numbers count by first appearance, then from the left."""
    frames = [[(figure(100, 120), BLUE), (figure(300, 170), RED)]] * 20
    frames += [[(figure(100, 120), BLUE), (figure(300, 170), RED), (figure(500, 140), GREEN)]] * 40
    for choice, place in (
        ("largest", 300), ("left", 100), ("right", 300), ("1", 100), ("2", 300), ("3", 500), ("110,300", 100),
        ("330, 200", 300),
    ):  # fmt: skip
        x, _ = followed(frames, person=choice)
        assert np.nanmedian(x) == pytest.approx(place, abs=3), choice
    with pytest.raises(PosegenError, match=r"person 4: 3 people are .*1 at the left .*2 in the middle .*3 at the r"):
        followed(frames, person="4")


@pytest.mark.parametrize("text", ["", "0", "-1", "middle", "1,2,3", "nan,1", "1.5"])
def test_other_choices_are_refused(text):
    with pytest.raises(PosegenError, match="person"):
        parse_person(text)


def test_a_person_detected_twice_is_one_person_and_the_straight_body_is_kept():
    """From one model often comes a tangled body beside the right one, with the same head."""
    frames = []
    for frame in range(40):
        person = figure(300 + frame, 200)
        tangled = figure(300 + frame, 200)
        tangled.keypoints[11:13, 1] = tangled.keypoints[5:7, 1] - 10  # hips above the shoulders
        frames.append([(person, RED), (tangled, RED)] if frame > 5 else [(person, RED)])
    detections = watched(frames)
    following = follow_person(detections, (), "largest")
    assert len(following.people) == 1
    assert (detections.points[following.chosen, 11, 1] > detections.points[following.chosen, 5, 1]).all()


@pytest.mark.parametrize("fps", RATES)
@pytest.mark.parametrize("when", ["first", "middle", "single"])
def test_bodies_upside_down_without_a_turn_are_implausible(fps, when):
    count = 3 * fps
    wrong = {"first": range(fps // 3), "middle": range(fps, fps + fps // 4), "single": [fps]}[when]
    frames = [[(figure(300, turn=180.0 if frame in wrong else 3.0 * np.sin(frame)), RED)] for frame in range(count)]
    _, following = followed(frames, fps)
    assert set(np.flatnonzero(following.implausible)) == set(wrong)
    assert not following.doubted.any()


@pytest.mark.parametrize("fps", RATES)
def test_a_flip_and_a_handstand_with_a_visible_turn_survive(fps):
    """A turn all round in 0.8 seconds; then one into a handstand, which lasts to the end."""
    turns = []
    for frame in range(4 * fps):
        time = frame / fps
        flip = 360 * np.clip((time - 1) / 0.8, 0, 1)
        turns.append(flip + 180 * np.clip((time - 3) / 0.5, 0, 1))
    _, following = followed([[(figure(300, turn=turn), RED)] for turn in turns], fps)
    assert not following.implausible.any()
    assert not following.doubted.any()


def test_a_clip_upside_down_is_only_doubted():
    _, following = followed([[(figure(300, turn=180.0), RED)]] * 60)
    assert not following.implausible.any()
    assert following.doubted.all()


def test_a_long_stretch_without_a_turn_is_doubted_and_lying_people_are_not():
    turns = [0.0] * 90 + [180.0] * 45 + [0.0] * 30
    _, following = followed([[(figure(300, turn=turn), RED)] for turn in turns])
    assert set(np.flatnonzero(following.doubted)) == set(range(90, 135))
    _, lying = followed([[(figure(300, turn=90.0 if frame > 30 else 0.0), RED)] for frame in range(60)])
    assert not lying.implausible.any()
    assert not lying.doubted.any()


def test_directions_are_clockwise_from_upright():
    people = [figure(300, turn=turn) for turn in (0, 90, 180, -45)]
    angles = body_angles(np.stack([each.keypoints for each in people]), np.stack([each.scores for each in people]))
    assert np.allclose(np.abs(angles), [0, 90, 180, 45], atol=2)
    assert angles[1] > 0 > angles[3]
    assert usual_direction(np.array([170.0, -175.0, 179.0, 10.0, np.nan])) == pytest.approx(179, abs=15)


def test_a_long_clip_of_a_crowd_needs_little_memory_and_time():
    detections = watched([[(figure(60 + 40 * place, 100 + place), RED) for place in range(12)]] * 30)
    size = sum(column.nbytes for column in (detections.points, detections.scores, detections.looks))
    assert size / len(detections) <= 400
    assert not detections.whole
    assert len(follow_person(detections, (), "largest").people) == 12


def test_nobody_gives_none():
    assert follow_person(watched([[], []]), (), "largest") is None


def test_a_number_is_looked_up_among_all_people():
    detections = watched([[(figure(100), RED)]] * 10)
    people = follow_person(detections, (), "largest").people
    assert choose_person(detections, people, parse_person("1")) is people[0]
    assert detections.size == SIZE


def test_everybody_else_is_kept_as_boxes_also_in_short_gaps():
    """The bystander is missed in two frames; the followed one has no boxes, and no ankles mean more below."""
    frames = [
        [(figure(200), RED)] + ([(figure(450, only=UPPER), BLUE)] if frame not in (10, 11) else [])
        for frame in range(30)
    ]
    detections = watched(frames, 30)
    for choice, at, low in (("left", 450, True), ("right", 200, False)):
        following = follow_person(detections, (), choice)
        others = Bystanders.of(detections, following)
        assert others.frames.tolist() == list(range(30))
        middles = (others.boxes[:, 0] + others.boxes[:, 2]) / 2
        assert middles == pytest.approx(np.full(30, at), abs=1)
        assert (others.boxes[:, 3] == 360).all() == low
        mask = others.mask(10, plan_fit(SIZE, (180, 320), "crop"))
        assert mask[120, at // 2]
        assert 0.02 < mask.mean() < 0.3
