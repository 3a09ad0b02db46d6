"""Following one person, and filling gaps."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from posegen.conditions.keypoints import PersonPose, PoseSequence
from posegen.conditions.tracking import Tracker, fill_gaps, gaps


def person(x, height=100.0, y=200.0):
    """Somebody whose 17 body points fill a box around (x, y)."""
    points = np.zeros((133, 2), np.float32)
    points[:17, 0] = x + np.linspace(-0.2, 0.2, 17) * height
    points[:17, 1] = y + np.linspace(-0.5, 0.5, 17) * height
    scores = np.zeros(133, np.float32)
    scores[:17] = 1
    return PersonPose(points, scores)


def test_the_largest_is_chosen_first_and_then_the_nearest():
    tracker = Tracker(640)
    assert tracker.choose([person(100), person(500, height=150)]).center[0] == pytest.approx(500)
    # the other one grows and they cross: still the same person
    for step in range(30):
        mine, other = 500 - 10 * step, 100 + 10 * step
        chosen = tracker.choose([person(other, height=200, y=260), person(mine, height=150)])
        assert chosen.center[0] == pytest.approx(mine)
    assert tracker.most_people == 2
    assert tracker.first_x == pytest.approx(500 / 640)


def test_somebody_far_away_is_not_the_person_who_left():
    tracker = Tracker(640)
    tracker.choose([person(100)])
    assert tracker.choose([person(500)]) is None
    assert tracker.choose([]) is None
    assert tracker.choose([person(120)]).center[0] == pytest.approx(120)


def sequence(seen):
    frames = len(seen)
    keypoints = np.repeat(np.arange(frames, dtype=np.float32), 133 * 2).reshape(frames, 133, 2) * 3
    scores = np.where(np.array(seen)[:, None], 0.9, 0.0).astype(np.float32).repeat(133, axis=1)
    keypoints[~np.array(seen)] = 0
    hands = np.repeat(keypoints[:, :1, :1], 42 * 3, axis=2).reshape(frames, 2, 21, 3)
    return PoseSequence(keypoints, scores, hands, (100, 100), Fraction(10))


def test_short_gaps_are_interpolated_long_ones_stay_empty():
    seen = [True, False, False, True, *[False] * 6, True, False]
    filled = fill_gaps(sequence(seen), np.array(seen), max_seconds=0.5)
    assert np.allclose(filled.keypoints[:4, 0, 0], [0, 3, 6, 9])
    assert np.allclose(filled.hands[:4, 0, 0, 0], [0, 3, 6, 9])
    assert (filled.scores[:4] == np.float32(0.9)).all()
    assert (filled.scores[4:10] == 0).all()
    assert (filled.scores[11] == 0).all()


@given(st.lists(st.booleans(), min_size=1, max_size=40))
def test_gaps_lie_between_sightings(seen):
    found = gaps(np.array(seen))
    inside = {frame for before, after in found for frame in range(before + 1, after)}
    sightings = [frame for frame, here in enumerate(seen) if here]
    expected = {f for f, here in enumerate(seen) if not here and sightings and sightings[0] < f < sightings[-1]}
    assert inside == expected
    assert all(seen[before] and seen[after] for before, after in found)


@settings(deadline=None)  # a busy machine is slow
@given(st.integers(3, 14), st.integers(-14, 4), st.integers(0, 12), st.floats(0.8, 1.2), st.integers(0, 2**32 - 1))
def test_people_who_cross_stay_themselves_though_one_hides_the_other(mine, theirs, hidden, size, seed):
    """Two people on straight paths, seen in any order; near the crossing only the one in front is seen."""
    random = np.random.default_rng(seed)
    assume(mine - theirs >= 6)
    tracker = Tracker(640)
    meeting = 20
    for frame in range(45):
        my_x, their_x = 300 + mine * (frame - meeting), 300 + theirs * (frame - meeting)
        me, other = person(my_x, height=130), person(their_x, height=130 * min(size, 0.99))
        people = [other] if abs(frame - meeting) <= hidden // 2 else [me, other]
        if len(people) == 2 and random.random() < 0.5:
            people.reverse()
        chosen = tracker.choose(people)
        if abs(frame - meeting) > hidden // 2:
            assert chosen is me, frame


def test_a_double_sighting_that_ends_does_not_take_the_person_along():
    tracker = Tracker(640)
    for frame in range(60):
        me = person(100 + 2 * frame)
        double = [person(103 + 2 * frame)] if 10 <= frame < 40 else []
        chosen = tracker.choose([*double, me])
        assert chosen is not None
        assert abs(chosen.center[0] - me.center[0]) <= 3


def test_a_person_before_a_mirror_is_followed_not_the_picture_in_it():
    """The mirror image comes nearer as the person does, turns with them and goes away again."""
    tracker = Tracker(640)
    for frame in range(60):
        away = 40 + 3 * abs(frame - 30)
        me, image = person(300 - away, height=150), person(300 + away, height=120)
        image.keypoints[:17, 0] = 2 * (300 + away) - image.keypoints[:17, 0]  # mirrored
        people = [image, me] if frame % 2 and frame else [me, image]
        assert tracker.choose(people) is me


def test_somebody_who_leaves_and_comes_back_elsewhere_is_found_again():
    tracker = Tracker(640, patience=25)
    for frame in range(30):
        tracker.choose([person(500 + 5 * frame)])
    for _ in range(30):
        assert tracker.choose([]) is None
    back = person(60)
    assert tracker.choose([back]) is back
    # where there were two, the one who comes back far away may be anybody
    tracker = Tracker(640, patience=25)
    for _ in range(5):
        tracker.choose([person(500, height=150), person(300)])
    for _ in range(30):
        tracker.choose([person(300)])
    assert tracker.choose([person(60), person(300)]) is None


@pytest.mark.parametrize("beside", [0, 200])
def test_seeing_double_for_a_moment_makes_nobody_else(beside):
    tracker = Tracker(640, patience=25)
    for frame in range(30):
        doubles = [person(203 + beside + frame)] if frame in (10, 11) else []
        assert tracker.choose([person(200 + frame), *doubles]) is not None
    for _ in range(30):
        assert tracker.choose([]) is None
    back = person(600)
    assert tracker.choose([back]) is back
    assert tracker.most_people == 1


def test_after_a_cut_somebody_is_followed_wherever_they_are():
    tracker = Tracker(640)
    for _ in range(5):
        tracker.choose([person(100), person(300, height=80)])
    tracker.begin_scene()
    there = person(550)
    assert tracker.choose([there]) is there
    assert tracker.choose([person(552)]).center[0] == pytest.approx(552)
