"""Cuts are found where they are, and nothing else is taken for one: people, flashes, pans, fades."""

from fractions import Fraction

import cv2
import filmed
import numpy as np
import pytest

from posegen.conditions.cuts import CutFinder, describe_cuts, look_for_cuts
from posegen.media.video import iterate_frames

FPS = Fraction(16)


def found(frames):
    finder = CutFinder()
    for frame in frames:
        finder.add(np.ascontiguousarray(frame))
    return finder.finish()


@pytest.fixture(scope="module")
def scenes(media):
    """30 frames of the dancer and of the presenter at 240 x 320."""
    both = []
    for name in ("dancer.mp4", "presenter.mp4"):
        frames = iterate_frames(media / name)
        both.append([cv2.resize(next(frames), (320, 240), interpolation=cv2.INTER_AREA) for _ in range(30)])
    return both


@pytest.mark.parametrize("name", ["dancer", "presenter", "turning", "leaving", "crossing"])
def test_people_who_dance_gesture_turn_leave_and_cross_are_no_cuts(media, name):
    assert found(iterate_frames(media / f"{name}.mp4")) == []


def test_another_person_in_another_room_is_a_cut(media):
    assert found(iterate_frames(media / "cut.mp4")) == [20]


@pytest.mark.parametrize("name", ["driving_dance_full_body.mp4", "driving_presenter_half_body.mp4"])
def test_real_people_who_dance_and_gesture_are_no_cuts(real_media, name):
    assert found(iterate_frames(real_media(name))) == []


@pytest.mark.parametrize("lengths", [(30, 30), (12, 30), (30, 5), (5, 5)])
def test_hard_cuts_are_found_at_their_frame(scenes, lengths):
    first, second = (scene[:length] for scene, length in zip(scenes, lengths, strict=True))
    assert found([*first, *second]) == [len(first)]
    assert found([*first, *second, *first]) == [len(first), len(first) + len(second)]


def test_the_same_person_in_another_shot_is_a_cut(scenes):
    """The presenter whole, then a closer shot of the same moment."""
    near = [cv2.resize(frame[:160, 60:273], (320, 240), interpolation=cv2.INTER_LINEAR) for frame in scenes[1][12:]]
    assert found([*scenes[1][:12], *near]) == [12]


@pytest.mark.parametrize("closer", [True, False])
@pytest.mark.parametrize("far", [8, 16, 24])
def test_a_closer_or_wider_shot_among_fast_movement_is_a_cut(scenes, closer, far):
    """Every second frame only and the camera swaying: what moves around the cut comes near the cut itself."""
    wide = [cv2.resize(frame[10:210, 30:297], (320, 240)) for frame in scenes[1]]
    sway = [far, 0, far - 1, 1, far, 0, far - 2, 2, far, 1, far - 1, 0, far, 1, far]
    wide = [np.roll(frame, shift, axis=1) for frame, shift in zip(wide[::2], sway, strict=True)]
    near = [cv2.resize(frame[20:165, 63:256], (320, 240)) for frame in wide]
    shots = (wide, near) if closer else (near, wide)
    assert found(wide) == found(near) == []
    assert found([*shots[0][:7], *shots[1][7:]]) == [7]


def test_flashes_fades_and_fast_pans_are_no_cuts(scenes):
    frames = scenes[1]
    flash = [*frames[:10], np.full_like(frames[0], 255), *frames[11:]]
    assert found(flash) == []
    fade = [np.rint(frame * share).astype(np.uint8) for frame, share in zip(frames, np.linspace(1, 0, 30), strict=True)]
    assert found(fade) == []
    shifts = np.concatenate([np.zeros(10), np.linspace(0, 0.5, 8), np.full(10, 0.5)])
    pan = filmed.film(filmed.background(), [(1 + 0j, complex(shift, 0)) for shift in shifts])
    assert found(pan) == []


def test_a_single_frame_and_none_have_no_cuts():
    assert found([]) == []
    assert found([np.zeros((40, 40, 3), np.uint8)]) == []


def test_a_look_between_few_frames_finds_the_same_cuts(scenes, tmp_path):
    """600 frames with three cuts; 12 frames are given, 40 to 60 apart."""
    shots = [(scenes[0], 130), (scenes[1], 250), (scenes[0][::-1], 20), (scenes[1][::-1], 200)]
    frames = [scene[min(number % 60, 59 - number % 60)] for scene, length in shots for number in range(length)]
    frames = [frame[::2, ::2] for frame in frames]
    path = filmed.write(tmp_path / "cuts.mkv", frames, FPS)
    numbers = np.linspace(0, 599, 12).round().astype(int).tolist()
    given = [frames[number] for number in numbers]
    cuts = look_for_cuts(path, FPS, numbers, given)
    assert cuts == found(frames) == [130, 380, 400]
    part = [number for number in numbers if number >= 160]
    shifted = [number - 160 for number in part]
    assert look_for_cuts(path, FPS, shifted, [frames[number] for number in part], start=10.0) == [220, 240]
    assert look_for_cuts(path, FPS, [0, 100], [frames[0], frames[100]]) == []


def test_cuts_are_told_in_seconds_of_the_whole_video():
    assert describe_cuts([], FPS) is None
    assert "a cut at 1.50 s" in describe_cuts([24], FPS)
    assert "2 cuts at 11.50 s, 12.00 s" in describe_cuts([24, 32], FPS, start=10.0)
    assert "and 2 more" in describe_cuts(list(range(0, 320, 32)), FPS)
