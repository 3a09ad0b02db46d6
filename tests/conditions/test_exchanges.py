"""Tracks that change over from one person to another are split, by clothes and size."""

import numpy as np
import pytest
from people_in_frames import BLUE, RED, figure, middles, watched

from posegen.conditions.exchanges import settle_exchanges, split_exchanges
from posegen.conditions.following import follow_person
from posegen.conditions.linked_pieces import link_people
from posegen.conditions.people import recognise

FPS = 24


def sliding():
    """Two people come near each other; the detection of each slides to the other within half a second, and they part.

    The frames show everybody where they are; only the detections are exchanged.
    """
    frames, truth = [], []
    for frame in range(4 * FPS):
        time = frame / FPS - 2
        mine, theirs = 320 + 60 * min(time, 0) + 60 * max(time, 0), 345 - 60 * min(time, 0) - 60 * max(time, 0)
        frames.append([(figure(mine, 160), RED), (figure(theirs, 150), BLUE)])
        truth.append(mine)
    return frames, np.array(truth)


def test_a_piece_is_split_where_clothes_change_beside_somebody():
    detections = watched(
        [[(figure(300), RED if frame < 40 else BLUE), (figure(390), BLUE)] for frame in range(80)], FPS
    )
    ours = [2 * frame for frame in range(80)]
    pieces = split_exchanges(detections, [ours, [index + 1 for index in ours]])
    assert sorted(map(len, pieces)) == pytest.approx([40, 40, 80], abs=2)


def test_a_lone_piece_and_one_far_from_others_are_not_split():
    alone = watched([[(figure(300), RED if frame < 40 else BLUE)] for frame in range(80)], FPS)
    assert [len(piece) for piece in split_exchanges(alone, [list(range(80))])] == [80]
    apart = watched(
        [[(figure(60, 90), RED if frame < 40 else BLUE), (figure(600, 90), BLUE)] for frame in range(80)], FPS
    )
    pieces = [[2 * frame for frame in range(80)], [2 * frame + 1 for frame in range(80)]]
    assert [len(piece) for piece in split_exchanges(apart, pieces)] == [80, 80]


def test_single_detections_go_to_the_person_whose_clothes_they_show():
    """In five frames, only the other person is detected, where the followed one is expected."""
    frames = []
    for frame in range(60):
        mine, other = (figure(300, 150), RED), (figure(360, 150), BLUE)
        frames.append([(figure(310, 150), BLUE)] if 20 <= frame < 25 else [mine, other])
    detections = watched(frames, FPS)
    people = recognise(detections, link_people(detections, ()), ())
    settled = settle_exchanges(detections, people)
    red = min(settled, key=lambda person: detections.boxes[person.detections[0], 0])
    assert not set(detections.frames[red.detections]) & set(range(20, 25))
    assert len(red.detections) == 55


def test_people_who_part_again_keep_their_clothes():
    frames, truth = sliding()
    detections = watched(frames, FPS)
    following = follow_person(detections, (), "largest")
    assert np.nanmax(np.abs(middles(detections, following) - truth)) < 4


def test_the_largest_counts_from_when_they_are_found():
    """An estimator may need half a second to see somebody; wide arms do not make a smaller person larger."""
    frames = [[(figure(500, 120), BLUE)] + ([(figure(200, 150), RED)] if frame >= 12 else []) for frame in range(72)]
    detections = watched(frames, FPS)
    following = follow_person(detections, (), "largest")
    assert following.person.detections.size == 60


def test_a_second_body_of_one_person_does_not_end_their_track():
    """For two frames somebody who moves fast is detected twice, and the track continues with the worse one."""
    frames = []
    for frame in range(48):
        x = 200 + 6 * frame
        people = [(figure(x, 150), RED)]
        if frame in (20, 21):
            people.append((figure(x - 25, 140), RED))
        frames.append(people)
    following = follow_person(watched(frames, FPS), (), "largest")
    assert following.usable.all()


def test_somebody_who_is_found_when_the_person_leaves_is_another_one():
    """The bystander is detected only once the person has gone: in other clothes, or too far away to be them."""
    for colour, there in ((BLUE, 420), (RED, 60)):
        frames = [[(figure(300 + 6 * frame, 150), RED)] for frame in range(40)]
        frames += [[(figure(there, 130), colour)] for _ in range(40)]
        following = follow_person(watched(frames, FPS), (), "largest")
        assert not following.usable[40:].any()
