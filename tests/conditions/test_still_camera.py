"""A camera's motion taken out of keypoints: of known paths, and of paths that were measured."""

import filmed
import numpy as np
import pytest

from people import clip_of, walk
from posegen.conditions.background_motion import BackgroundMotion, measure_background_motion
from posegen.conditions.keypoints import HANDS
from posegen.conditions.still_camera import SteadyCamera, is_reliable, moves
from posegen.media.fitting import plan_fit

FRAMES = 24
SIZE = (700, 600)
AROUND = np.sin(2 * np.pi * np.arange(FRAMES) / FRAMES)  # its median is 0, that of the usual zoom and roll 1


def motion_of(turn, shift, scene=None, known=None):
    frames = len(turn)
    return BackgroundMotion(
        np.asarray(turn, complex),
        np.asarray(shift, complex),
        np.zeros(frames, int) if scene is None else np.asarray(scene),
        np.ones(frames, bool) if known is None else np.asarray(known),
        np.zeros(frames),
        24.0,
    )


def filmed_by(pose, motion):
    """Move a clip's points as the background moves."""
    height, width = pose.size
    centre, diagonal = np.array([(width - 1) / 2, (height - 1) / 2]), np.hypot(height, width)
    points = (pose.keypoints - centre) / diagonal
    seen = motion.turn[:, None] * (points[..., 0] + 1j * points[..., 1]) + motion.shift[:, None]
    moved = np.stack([seen.real, seen.imag], axis=-1) * diagonal + centre
    return clip_of(moved, pose.scores, pose.size)


PATHS = {
    "pan and tilt": (np.ones(FRAMES), (0.2 + 0.1j) * np.arange(FRAMES) / FRAMES),
    "zoom": (np.exp(0.3 * AROUND), np.zeros(FRAMES)),
    "roll": (np.exp(0.2j * AROUND), np.zeros(FRAMES)),
    "all at once": (np.exp((0.2 - 0.1j) * AROUND), 0.1 * np.arange(FRAMES) / FRAMES - 0.05j * AROUND),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_known_path_is_taken_out(name):
    pose = walk(FRAMES, step=3.0, size=SIZE)
    motion = motion_of(*PATHS[name])
    steady = SteadyCamera.of(motion, SIZE).steady(filmed_by(pose, motion))
    assert np.abs(steady.keypoints - pose.keypoints).max() < 0.01
    assert np.abs(steady.hands - pose.hands)[..., :2].max() < 0.01
    assert moves(motion)
    assert is_reliable(motion)


def test_a_measured_path_is_taken_out(tmp_path):
    """A real picture filmed by a moving window; the person's points move with it."""
    path = motion_of(np.exp(0.15 * AROUND), (0.15 + 0.03j) * np.arange(FRAMES) / FRAMES)
    frames = list(filmed.film(filmed.background(), zip(path.turn, path.shift, strict=True)))
    video = filmed.write(tmp_path / "video.mkv", frames)
    pose = walk(FRAMES, height=120.0, place=(120.0, 140.0), step=1.0, size=filmed.SIZE)
    shown = filmed_by(pose, path)
    conditions = filmed.conditions_of(filmed.nobody(FRAMES), tmp_path)  # the picture shows none
    measured = measure_background_motion(video, conditions, plan_fit(filmed.SIZE, filmed.SIZE, "crop"), tmp_path / "m")
    steady = SteadyCamera.of(measured, filmed.SIZE).steady(shown)
    off = steady.keypoints - pose.keypoints
    assert np.abs(off - off[0]).max() < 0.01 * np.hypot(*filmed.SIZE)
    assert np.abs(shown.keypoints - pose.keypoints).max() > 0.1 * np.hypot(*filmed.SIZE)  # it was far more


def test_a_path_in_whole_frames_is_that_of_a_part_of_them():
    pose = walk(FRAMES, step=3.0, size=SIZE)
    motion = motion_of(*PATHS["all at once"])
    fit = plan_fit(SIZE, (400, 200), "crop").keeping((500.0, 0.0, 590.0, 50.0))
    shown = filmed_by(pose, motion)
    fitted = clip_of(fit.apply_points(shown.keypoints), shown.scores, fit.target)
    steady = SteadyCamera.of(motion, SIZE).fitted(fit).steady(fitted)
    assert np.abs(steady.keypoints - fit.apply_points(pose.keypoints)).max() < 0.5


def test_each_scene_is_steadied_alone():
    scene = np.repeat([0, 1], FRAMES // 2)
    part = np.tile(np.arange(FRAMES // 2) / FRAMES, 2)
    motion = motion_of(np.ones(FRAMES), 0.3 * part, scene)
    pose = walk(FRAMES, size=SIZE)
    steady = SteadyCamera.of(motion, SIZE).steady(filmed_by(pose, motion))
    assert np.abs(steady.keypoints - pose.keypoints).max() < 0.01


def test_a_still_camera_and_an_unknown_one_are_told_apart():
    assert not moves(motion_of(np.ones(FRAMES), np.full(FRAMES, 0.001)))
    known = np.arange(FRAMES) < FRAMES // 2
    assert not is_reliable(motion_of(*PATHS["zoom"], known=known))
    assert not moves(motion_of(*PATHS["zoom"], known=np.zeros(FRAMES, bool)))


def test_hands_on_maps_go_where_their_joints_go():
    pose = walk(FRAMES, size=SIZE)
    motion = motion_of(np.exp(0.3 * AROUND), PATHS["pan and tilt"][1])
    shown = filmed_by(pose, motion)
    camera = SteadyCamera.of(motion, SIZE)
    scaled = np.tile([1.5, 20.0, -10.0], (FRAMES, 2, 1))  # what retargeting does to the steadied hands
    hands = camera.before(scaled, shown)
    for side, hand in enumerate(HANDS):
        moved = hands[:, side, None, :1] * shown.keypoints[:, hand] + hands[:, side, None, 1:]
        assert np.abs(moved - (1.5 * pose.keypoints[:, hand] + [20, -10])).max() < 0.01
