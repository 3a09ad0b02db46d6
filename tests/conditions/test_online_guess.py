"""Guessing the followed person while a video passes by."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from people_in_frames import BLUE, GREEN, RED, SIZE, figure, record

from posegen.conditions.detections import DetectionRecorder
from posegen.conditions.online_guess import Tracker

FPS = 30


class Watcher:
    """Tells where the guessed person is in each frame."""

    def __init__(self, choice="largest", fps=FPS):
        self.recorder = DetectionRecorder(SIZE, Fraction(fps))
        self.tracker = Tracker(choice, float(fps))

    def see(self, *people):
        """Return the middle of the guessed one of these people, each (person, colour); None if it is nobody."""
        latest = record(self.recorder, people)
        place = self.tracker.choose(latest)
        return None if place is None else float(latest.boxes[place, 0] + latest.boxes[place, 2]) / 2


def test_the_largest_is_chosen_first_and_stays_so():
    watcher = Watcher()
    for frame in range(100):  # the other one grows, and they cross, each in front of a side of their own
        mine, other = 500 - 4 * frame, 100 + 4 * frame
        middle = watcher.see((figure(other, 100 + frame), BLUE), (figure(mine, 150), RED))
        assert middle is None or middle == pytest.approx(mine, abs=1) or abs(mine - other) < 60


def test_a_bystander_is_not_the_person_who_left():
    """One frame in which only a bystander is detected is no reason to follow them."""
    watcher = Watcher()
    for _ in range(20):
        assert watcher.see((figure(300), RED)) == pytest.approx(300)
    assert watcher.see((figure(380), BLUE)) is None
    assert watcher.see() is None
    assert watcher.see((figure(303), RED), (figure(380), BLUE)) == pytest.approx(303)


@pytest.mark.parametrize("fps", [8, 30, 60])
def test_the_limit_of_movement_depends_on_the_time_between_frames(fps):
    """Somebody who walks is followed at any rate of frames, and nobody gets a height away in a sixtieth of a second."""
    watcher = Watcher(fps=fps)
    for frame in range(2 * fps):
        x = 100 + 150 * frame / fps
        assert watcher.see((figure(x), RED)) == pytest.approx(x)
    jumped = watcher.see((figure(x + 60), RED))
    assert (jumped is None) == (fps > 8)


@pytest.mark.parametrize(
    ("choice", "expected"), [("largest", 500), ("left", 120), ("right", 500), (1, 120), (2, 300), ((300.0, 250.0), 300)]
)
def test_who_is_chosen_is_guessed_from_the_first_frame_on(choice, expected):
    watcher = Watcher(choice)
    for frame in range(40):
        step = 0.5 * frame
        people = [(figure(120 + step), GREEN), (figure(300 + step, 140), BLUE), (figure(500 + step, 180), RED)]
        assert watcher.see(*people) == pytest.approx(expected + step, abs=1)


@settings(deadline=None, max_examples=15)  # a busy machine is slow
@given(st.integers(3, 12), st.integers(-12, 4), st.integers(0, 12), st.floats(0.8, 0.99), st.booleans())
def test_people_who_cross_stay_themselves_though_one_hides_the_other(mine, theirs, hidden, size, reverse):
    """Two people on straight paths in clothes of their own; near the crossing only the one in front is seen."""
    assume(mine - theirs >= 6)
    watcher = Watcher()
    meeting, wrong = 20, []
    for frame in range(50):
        my_x, their_x = 300 + mine * (frame - meeting), 300 + theirs * (frame - meeting)
        me, other = (figure(my_x, 130), RED), (figure(their_x, 130 * size), BLUE)
        alone = abs(frame - meeting) <= hidden // 2
        people = [other] if alone else [me, other] if reverse else [other, me]
        middle = watcher.see(*people)
        apart = abs(my_x - their_x) > 60
        if not alone and apart and (middle is None or abs(middle - my_x) > 2):
            wrong.append(frame)
    assert len(wrong) <= 6  # a guess may need a few frames


def test_a_track_that_slides_to_somebody_else_is_given_to_them():
    """The detection of the person slides to the other one, who stands still, and the person is found elsewhere."""
    watcher = Watcher()
    for frame in range(90):
        other, mine = (figure(320, 150), BLUE), 200 + 2 * frame
        if 45 <= frame < 60:
            watcher.see((figure(mine + (320 - mine) * (frame - 45) / 15, 150), RED if frame < 53 else BLUE))
        else:
            middle = watcher.see(other, (figure(mine, 160), RED))
            assert frame < 80 or middle == pytest.approx(mine, abs=1)


def test_somebody_who_leaves_and_returns_elsewhere_is_found_again():
    watcher = Watcher()
    for frame in range(30):
        watcher.see((figure(500 + 5 * frame), RED))
    for _ in range(60):
        assert watcher.see() is None
    assert watcher.see((figure(60), RED)) == pytest.approx(60)
    # where there were two, only the looks tell
    watcher = Watcher()
    for _ in range(10):
        watcher.see((figure(500), RED), (figure(300, 120), BLUE))
    for _ in range(60):
        assert watcher.see((figure(300, 120), BLUE)) is None
    assert watcher.see((figure(60), GREEN), (figure(300, 120), BLUE)) is None
    assert watcher.see((figure(62), GREEN), (figure(300, 120), BLUE), (figure(550), RED)) == pytest.approx(550)


@pytest.mark.parametrize("beside", [0, 100])
def test_a_second_detection_of_the_same_body_makes_nobody_else(beside):
    watcher = Watcher()
    for frame in range(60):
        mine = 200 + 2 * frame
        double = [(figure(mine + 4 + beside), RED)] if frame in (20, 21) else []
        middle = watcher.see((figure(mine), RED), *double)
        assert middle is not None
        assert abs(middle - mine) <= 5


def test_after_a_cut_looks_tell_who_is_who_else_the_largest_is_shown():
    watcher = Watcher()
    for _ in range(10):
        watcher.see((figure(100, 150), RED), (figure(300, 120), BLUE))
    watcher.tracker.begin_scene()
    for _ in range(5):
        assert watcher.see((figure(500, 160), BLUE), (figure(250, 140), RED)) == pytest.approx(250)
    watcher.tracker.begin_scene()
    for _ in range(5):
        assert watcher.see((figure(450, 170), GREEN)) == pytest.approx(450)
    watcher.tracker.begin_scene()
    assert watcher.see((figure(200, 140), RED), (figure(400, 170), GREEN)) == pytest.approx(200)


def test_a_suspected_cut_that_was_none_changes_nothing():
    watcher = Watcher()
    for frame in range(20):
        if frame == 10:
            watcher.tracker.begin_scene()
        assert watcher.see((figure(100 + frame, 120), BLUE), (figure(300 + frame), RED)) == pytest.approx(300 + frame)


def test_nobody_at_all_is_nobody():
    watcher = Watcher()
    assert [watcher.see() for _ in range(3)] == [None] * 3
    assert np.isfinite(watcher.see((figure(100), RED)))
