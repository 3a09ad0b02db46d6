"""The camera's path and the background's own movement, of a photo moved in known ways and of videos of people."""

from dataclasses import replace
from fractions import Fraction

import cv2
import filmed
import numpy as np
import pytest

from posegen.conditions import background_motion
from posegen.conditions.background_motion import STILL, BackgroundMotion, measure_background_motion
from posegen.conditions.bystanders import Bystanders
from posegen.conditions.camera import person_mask
from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extraction import estimate_pose
from posegen.conditions.keypoints import INDEX, PoseSequence
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.video import iterate_frames, probe_video

FRAMES = 24
PART = np.linspace(0, 1, FRAMES)


@pytest.fixture(scope="module")
def picture():
    return filmed.background()


@pytest.fixture
def measure(tmp_path):
    def measure(frames, pose=None, fit=None, name="video"):
        frames = list(frames)
        path = filmed.write(tmp_path / f"{name}.mkv", frames)
        conditions = filmed.conditions_of(pose or filmed.nobody(len(frames), frames[0].shape[:2]), tmp_path)
        fit = fit or plan_fit(frames[0].shape[:2], frames[0].shape[:2], "crop")
        return measure_background_motion(path, conditions, fit, tmp_path / f"{name}.npz")

    return measure


PATHS = {
    "pan right": ([1 + 0j] * FRAMES, -0.25 * PART),
    "pan and tilt back and forth": ([1 + 0j] * FRAMES, (0.12 + 0.06j) * np.sin(2 * np.pi * PART)),
    "zoom in": (1 + 0.5 * PART, [0j] * FRAMES),
    "zoom out": (1.4 - 0.4 * PART, [0j] * FRAMES),
    "roll": (np.exp(1j * np.radians(12) * PART), [0j] * FRAMES),
    "all at once": ((1 + 0.2 * PART) * np.exp(-0.1j * PART), (0.1 - 0.05j) * PART),
}


@pytest.mark.parametrize("name", PATHS)
def test_a_moved_picture_gives_that_path(picture, measure, name):
    turn, shift = (np.array(values, complex) for values in PATHS[name])
    motion = measure(filmed.film(picture, zip(turn, shift, strict=True)))
    assert motion.known.all()
    assert motion.scene.max() == 0
    wanted_turn = turn / turn[0]
    wanted_shift = shift - wanted_turn * shift[0]
    size = np.hypot(np.abs(wanted_turn - 1) / np.sqrt(12), np.abs(wanted_shift)).max()
    error = np.hypot(np.abs(motion.turn - wanted_turn) / np.sqrt(12), np.abs(motion.shift - wanted_shift))
    assert error.max() < 0.1 * size
    assert np.nanmax(motion.residual) < 0.002
    assert motion.distance(np.array([0]), np.array([FRAMES - 1])) == pytest.approx(
        np.hypot(abs(wanted_turn[-1] - 1) / np.sqrt(12), abs(wanted_shift[-1])), abs=0.1 * size
    )


def test_a_still_picture_with_noise_stands_still_and_does_not_drift(picture, measure):
    random = np.random.default_rng(0)
    (still,) = filmed.film(picture, [(1 + 0j, 0j)])
    noisy = [np.clip(still + random.normal(0, 3, still.shape), 0, 255).astype(np.uint8) for _ in range(60)]
    motion = measure(noisy)
    assert motion.distance(np.zeros(60, int), np.arange(60)).max() < STILL / 5
    assert np.nanmax(motion.residual) < STILL / 5
    assert "stands still" in motion.describe()


def walker(picture, still, moved):
    """A large textured figure that walks `moved` pixels to the right before a still picture, and its keypoints."""
    height, width = 200, 110
    figure = cv2.resize(picture[:, 270:500], (width, height), interpolation=cv2.INTER_AREA)
    frames, keypoints = [], np.zeros((len(moved), 133, 2), np.float32)
    scores = np.zeros((len(moved), 133), np.float32)
    corners = {"nose": (0.5, 0.1), "left_shoulder": (0.9, 0.25), "right_shoulder": (0.1, 0.25),
               "left_ankle": (0.85, 0.97), "right_ankle": (0.15, 0.97)}  # fmt: skip
    for number, right in enumerate(moved):
        frame, left = still.copy(), 20 + int(right)
        frame[30 : 30 + height, left : left + width] = figure
        frames.append(frame)
        for name, (x, y) in corners.items():
            keypoints[number, INDEX[name]] = left + x * width, 30 + y * height
            scores[number, INDEX[name]] = 1
    pose = filmed.nobody(len(moved))
    return frames, PoseSequence(keypoints, scores, pose.hands, pose.size, pose.fps)


def test_a_moving_person_is_no_camera_motion(picture, measure):
    (still,) = filmed.film(picture, [(1 + 0j, 0j)])
    blurred = cv2.GaussianBlur(still, (0, 0), 2)  # less to see than on the person
    frames, pose = walker(picture, blurred, 100 * PART)
    motion = measure(frames, pose)
    assert motion.known.all()
    assert motion.distance(np.zeros(FRAMES, int), np.arange(FRAMES)).max() < STILL
    assert np.nanmax(motion.residual) < 1e-4
    # the keypoints did it: to who does not know the person, the picture moves
    fooled = measure(frames, name="fooled")
    assert np.nanmax(fooled.residual) > 10 * max(np.nanmax(motion.residual), 1e-4)


def test_what_moves_in_the_background_is_residual_motion_not_the_cameras(picture, measure):
    (still,) = filmed.film(picture, [(1 + 0j, 0j)])
    frames, _ = walker(picture, still, 100 * PART)
    motion = measure(frames)
    assert np.nanmean(motion.residual) > 0.001
    assert motion.distance(np.zeros(FRAMES, int), np.arange(FRAMES)).max() < STILL


def test_a_cut_begins_another_scene_and_a_flash_does_not(picture, measure):
    (first,) = filmed.film(picture, [(1 + 0j, 0j)])
    (other,) = filmed.film(picture[:, ::-1][::-1], [(1.3 + 0j, 0.05j)])
    motion = measure([first] * 5 + [other] * 5)
    assert motion.scene.tolist() == [0] * 5 + [1] * 5
    assert np.isinf(motion.distance(np.array([0]), np.array([9]))).all()
    assert motion.distance(np.array([5]), np.array([9])).max() < STILL
    assert "1 cut" in motion.describe()
    flash = measure([first] * 5 + [np.full_like(first, 255)] + [first] * 5, name="flash")
    assert flash.scene.max() == 0
    assert flash.known.tolist() == [True] * 5 + [False] + [True] * 5
    assert flash.distance(np.array([0]), np.array([10])).max() < STILL


def test_too_little_background_is_said_and_counts_as_still(measure):
    random = np.random.default_rng(1)
    wall = [np.clip(150 + random.normal(0, 2, (*filmed.SIZE, 3)), 0, 255).astype(np.uint8) for _ in range(8)]
    motion = measure(wall)
    assert not motion.known.any()
    assert (motion.turn == 1).all()
    assert (motion.shift == 0).all()
    assert "too little background" in motion.describe()


def test_only_what_is_seen_after_fitting_counts(picture, measure):
    """The padding of a fit stands still, and what a crop cuts off is not looked at."""
    pan = list(filmed.film(picture, [(1 + 0j, 0.1 * part) for part in PART]))
    padded = measure(pan, fit=plan_fit(filmed.SIZE, (400, 320), "pad"))
    diagonal = np.hypot(*filmed.SIZE) / np.hypot(400, 320)
    assert padded.offset[-1] == pytest.approx([0.1 * diagonal, 0], abs=0.01)
    (still,) = filmed.film(picture, [(1 + 0j, 0j)])
    wide = [np.concatenate([frame, still, frame], axis=1) for frame in pan]
    ends = np.array([0]), np.array([FRAMES - 1])
    assert measure(wide, name="all").distance(*ends) > 2 * STILL
    middle = measure(wide, name="middle", fit=plan_fit((240, 960), (240, 300), "crop"))
    assert middle.distance(*ends) < STILL / 5
    assert np.nanmax(middle.residual) < 1e-4


def test_other_people_who_walk_by_are_no_camera(picture, tmp_path):
    """A textured patch crosses most of a still frame: masked, the camera stands still; else it seems to move."""
    still = list(filmed.film(picture, [(1 + 0j, 0j)] * 12))
    patch = np.random.default_rng(0).integers(0, 255, (24, 20, 3), dtype=np.uint8).repeat(10, 0).repeat(10, 1)
    boxes = np.array([[4 * number, 0, 4 * number + 200, 240] for number in range(12)], np.float32)
    for frame, (left, _, right, _) in zip(still, boxes.astype(int), strict=True):
        frame[:, left:right] = patch
    path = filmed.write(tmp_path / "video.mkv", still)
    fit = plan_fit(filmed.SIZE, filmed.SIZE, "crop")
    alone = filmed.conditions_of(filmed.nobody(12), tmp_path)
    crowd = replace(alone, bystanders=Bystanders(np.arange(12, dtype=np.int32), boxes))
    ends = np.array([0]), np.array([11])
    moved, masked = (measure_background_motion(path, each, fit, tmp_path / "kept.npz") for each in (alone, crowd))
    assert moved.distance(*ends) > STILL
    assert masked.known.all()
    assert masked.distance(*ends) < STILL / 5


def test_a_result_is_kept_until_something_changes(picture, tmp_path, monkeypatch):
    places = [(1 + 0j, 0.1 * part) for part in PART[:6]]
    path = filmed.write(tmp_path / "video.mkv", filmed.film(picture, places))
    fit, kept = plan_fit(filmed.SIZE, filmed.SIZE, "crop"), tmp_path / "kept.npz"
    conditions = filmed.conditions_of(filmed.nobody(6), tmp_path)
    heard = []
    read = []

    def counting(*arguments):
        read.append(arguments)
        return iterate_frames(*arguments)

    monkeypatch.setattr(background_motion, "iterate_frames", counting)

    def measured(fit=fit, conditions=conditions):
        return measure_background_motion(path, conditions, fit, kept, lambda *done: heard.append(done))

    first = measured()
    assert heard == [(number + 1, 6) for number in range(6)]
    again = measured()
    assert len(read) == 1
    assert heard[-1] == (6, 6)
    for name in ("turn", "shift", "scene", "known", "residual"):
        assert np.array_equal(getattr(first, name), getattr(again, name), equal_nan=True)
    pose = conditions.pose
    moved = replace(conditions, pose=replace(pose, scores=pose.scores + 0.1))
    for count, call in enumerate(
        (lambda: measured(fit=plan_fit(filmed.SIZE, (160, 160), "crop")), lambda: measured(conditions=moved)), 2
    ):
        call()
        assert len(read) == count
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(measured().shift, first.shift)
    filmed.write(path, filmed.film(picture, places[::-1]))
    assert measured().shift[-1] == pytest.approx(-first.shift[-1], abs=1e-3)


def test_a_video_of_another_length_is_an_error(picture, tmp_path):
    path = filmed.write(tmp_path / "video.mkv", filmed.film(picture, [(1 + 0j, 0j)] * 4))
    fit = plan_fit(filmed.SIZE, filmed.SIZE, "crop")
    for length in (3, 5):
        conditions = filmed.conditions_of(filmed.nobody(length), tmp_path)
        with pytest.raises(PosegenError, match="extract the conditions again"):
            measure_background_motion(path, conditions, fit, tmp_path / "kept.npz")
    with pytest.raises(PosegenError, match="cannot be read"):
        measure_background_motion(tmp_path / "none.mkv", conditions, fit, tmp_path / "kept.npz")


def moves_before_a_still_background(driving, tmp_path, target, most):
    info = probe_video(driving)
    estimator = MediaPipePose()
    pose, _ = estimate_pose(driving, estimator, Fraction(4), hands=False)
    estimator.close()
    wrists = pose.keypoints[:, INDEX["left_wrist"]]
    assert np.ptp(wrists, axis=0).max() > 0.1 * info.width
    motion = measure_background_motion(
        driving, filmed.conditions_of(pose, tmp_path), plan_fit((info.height, info.width), target, "crop"),
        tmp_path / "kept.npz",
    )  # fmt: skip
    assert motion.known.mean() > 0.9
    assert motion.scene.max() == 0
    assert motion.distance(np.zeros(len(motion), int), np.arange(len(motion))).max() < most


@pytest.mark.parametrize(("name", "target"), [("dancer.mp4", (640, 360)), ("presenter.mp4", (360, 480))])
def test_people_move_and_their_backgrounds_do_not(media, tmp_path, name, target):
    moves_before_a_still_background(media / name, tmp_path, target, STILL / 5)


@pytest.mark.parametrize(
    ("name", "most"),
    [
        # a dancer, feet to raised arms, before a painted background that stands still
        ("driving_dance_full_body.mp4", STILL / 5),
        # a presenter; his studio's camera tilts by 1.7 % of the picture within 106 frames
        ("driving_presenter_half_body.mp4", 0.025),
    ],
)
def test_real_people_move_and_their_backgrounds_hardly(real_media, tmp_path, name, most):
    moves_before_a_still_background(real_media(name), tmp_path, (1280, 720), most)


def test_the_mask_holds_the_person_and_leaves_the_rest():
    keypoints, scores = np.zeros((133, 2), np.float32), np.zeros(133, np.float32)
    for name, place in {"nose": (100, 40), "left_shoulder": (120, 70), "right_shoulder": (80, 70),
                        "left_hip": (115, 140), "right_hip": (85, 140)}.items():  # fmt: skip
        keypoints[INDEX[name]], scores[INDEX[name]] = place, 1
    mask = person_mask(keypoints, scores, (240, 200))
    assert mask[25:240, 95:105].all()  # from above the nose down to the edge, since no ankle is seen
    assert not mask[:, :40].any()
    assert not mask[:10].any()
    keypoints[INDEX["left_ankle"]], scores[INDEX["left_ankle"]] = (110, 180), 1
    assert not person_mask(keypoints, scores, (240, 200))[215:].any()
    assert not person_mask(keypoints, np.zeros(133, np.float32), (240, 200)).any()


def test_distance_is_what_points_of_the_picture_move():
    random = np.random.default_rng(0)
    turn, shift = random.normal(1, 0.2, 2) + 1j * random.normal(0, 0.2, 2), random.normal(size=2) * (1 + 1j) / 10
    motion = BackgroundMotion(turn, shift, np.zeros(2, int), np.ones(2, bool), np.zeros(2), 16.0)
    rows, columns = np.meshgrid(np.linspace(-0.4, 0.4, 400), np.linspace(-0.3, 0.3, 400))
    points = rows + 1j * columns  # of a picture with a diagonal of 1
    there = turn[1] * (points - shift[0]) / turn[0] + shift[1]
    expected = np.sqrt((np.abs(there - points) ** 2).mean())
    assert motion.distance(np.array([0]), np.array([1]))[0] == pytest.approx(expected, rel=0.01)
