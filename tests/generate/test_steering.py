"""What steers a job: conditions carried to the reference, or not, and what is said of it."""

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from posegen.conditions.extraction import draw_fitted, find_reference_pose, fit_pose
from posegen.conditions.folder import open_conditions
from posegen.conditions.keypoints import INDEX, SEEN, PoseSequence
from posegen.conditions.retargeted_conditions import MADE_FROM, fit_sequence
from posegen.errors import PosegenError
from posegen.generate.preview.preview_job import look_ahead
from posegen.generate.reference_pose import carry_over, look_at_reference, retargeted
from posegen.generate.request import prepare
from posegen.media.fitting import plan_fit
from posegen.media.image import read_image, write_image
from posegen.media.video import iterate_frames
from posegen.model.sources import describe_model


class Listener:
    def __init__(self):
        self.lines = []

    def say(self, line):
        self.lines.append(line)

    def update(self, task, done, total):
        pass


@pytest.fixture(scope="module")
def person(media):
    """The man of the reference image, in pixels of a 96x64 picture."""
    picture = read_image(media / "man.png")
    return fit_pose(find_reference_pose(picture), plan_fit(picture.shape[:2], (96, 64), "crop"))


def test_the_skeleton_sits_on_the_reference(lean, person, tmp_path):
    request = prepare(replace(lean, retarget="full"))
    listener = Listener()
    steering = retargeted(request, request.conditions, person, tmp_path / "moved", listener)
    assert steering.num_frames == request.conditions.num_frames
    assert steering.pose.size == steering.size == (96, 64)
    before = fit_sequence(request.conditions.pose, request.driving_fit)

    def shoulders(points):
        return points[..., [INDEX["left_shoulder"], INDEX["right_shoulder"]], :]

    def width(points):
        return np.median(np.linalg.norm(np.diff(shoulders(points), axis=-2), axis=-1))

    wanted = width(person.keypoints)
    assert abs(width(before.keypoints) / wanted - 1) > 0.25  # the dancer is smaller
    assert abs(width(steering.pose.keypoints) / wanted - 1) < 0.12
    away = np.median(shoulders(steering.pose.keypoints).mean(axis=1), axis=0) - shoulders(person.keypoints).mean(axis=0)
    assert np.abs(away).max() < 6
    assert "carried to the reference's proportions" in listener.lines[-1]
    # the pictures are drawings of the poses
    model = request.model
    drawn = draw_fitted(
        steering.pose[30], plan_fit((96, 64), (96, 64), "crop"), model.skeleton_colors, model.draw_scale
    )
    assert np.array_equal(steering.skeleton_frames(30, 31)[0], drawn)
    assert steering.hand_frames(0, 100).shape == (100, 96, 64, 3)
    # and are used again as long as nothing changes
    stamp = (tmp_path / "moved" / "skeleton.mkv").stat().st_mtime_ns
    retargeted(request, request.conditions, person, tmp_path / "moved", listener)
    assert (tmp_path / "moved" / "skeleton.mkv").stat().st_mtime_ns == stamp
    aligned = prepare(replace(lean, retarget="align"))
    retargeted(aligned, request.conditions, person, tmp_path / "moved", listener)
    assert (tmp_path / "moved" / "skeleton.mkv").stat().st_mtime_ns != stamp
    assert (tmp_path / "moved" / MADE_FROM).is_file()


def test_off_is_off_and_the_settings_tell_them_apart(lean, person, tmp_path):
    request = prepare(lean)
    assert retargeted(request, request.conditions, person, tmp_path / "moved", Listener()) is request.conditions
    assert not (tmp_path / "moved").exists()
    assert look_at_reference(request, Listener()) == (request, None)
    assert request.settings() != prepare(replace(lean, retarget="full")).settings()


def test_drawn_skeletons_without_keypoints_stay_and_it_is_said(lean, person):
    request = prepare(replace(lean, retarget="full"))
    pose = request.conditions.pose
    empty = PoseSequence(pose.keypoints, np.zeros_like(pose.scores), pose.hands, pose.size, pose.fps)
    moved, lines = carry_over(request, empty, person)
    assert moved is None
    assert "without keypoints" in lines[0]


def test_a_cartoon_is_aligned_by_its_box(lean, tmp_path):
    """No estimator knows this one: a red bean on a white sheet."""
    picture = np.full((480, 320, 3), 245, np.uint8)
    cv2.ellipse(picture, (200, 300), (70, 130), 0, 0, 360, (210, 40, 60), -1)
    write_image(tmp_path / "bean.png", picture)
    request = prepare(replace(lean, retarget="full", reference=tmp_path / "bean.png", person_check=True))
    request, nobody = look_at_reference(request, Listener())
    assert nobody is None
    pose = fit_sequence(request.conditions.pose, request.driving_fit)
    moved, lines = carry_over(request, pose, None)
    assert "no person is found in the reference image: the skeleton is only moved to the box" in lines[0]
    seen = moved.pose.scores[:, :17] >= SEEN
    low, high = (np.median(edge) for edge in (moved.pose.keypoints[:, 0, 1], moved.pose.keypoints[:, 15, 1]))
    assert seen.any()
    assert 170 / 5 - 6 < low < high < 430 / 5 + 6  # the bean, in a picture a fifth as high


def test_a_wall_has_nothing_to_align_with(lean, tmp_path):
    write_image(tmp_path / "wall.png", np.full((480, 320, 3), 128, np.uint8))
    request = prepare(replace(lean, retarget="full", reference=tmp_path / "wall.png", person_check=True))
    with pytest.raises(PosegenError, match="no person is found"):
        look_at_reference(request, Listener())
    pose = fit_sequence(request.conditions.pose, request.driving_fit)
    moved, lines = carry_over(request, pose, None)
    assert moved is None
    assert "nor anything that stands out" in lines[0]


def test_smoothing_is_part_of_what_conditions_are_made_from(conditions):
    _, inputs = open_conditions(conditions)
    assert inputs.estimators[-1].startswith("smoothing")


def test_a_wide_reference_is_cropped_about_the_person(lean, tmp_path, media):
    man = read_image(media / "man.png")
    wide = np.full((man.shape[0], 5 * man.shape[1], 3), 200, np.uint8)
    wide[:, 4 * man.shape[1] :] = man  # he stands at the right edge
    write_image(tmp_path / "wide.png", wide)
    request = prepare(replace(lean, retarget="full", reference=tmp_path / "wide.png"))
    assert (request.fitted_reference == 200).all()
    listener = Listener()
    about, person = look_at_reference(request, listener)
    assert listener.lines == ["reference: cropped about the person, not about its middle"]
    shoulders = person.keypoints[[INDEX["left_shoulder"], INDEX["right_shoulder"]], 0]
    assert abs(shoulders.mean() - request.size[1] / 2) < 8
    assert not (about.fitted_reference == 200).all()
    assert about.settings() != request.settings()  # it is another job
    assert json.loads(json.dumps(about.settings())) == about.settings()  # and is known again
    assert look_ahead(request, listener, samples=4).request.reference_fit == about.reference_fit
    # nothing changes where he is in the middle anyway
    middle = np.full((640, 640, 3), 200, np.uint8)
    middle[320:, 230:410] = cv2.resize(man, (180, 320), interpolation=cv2.INTER_AREA)
    write_image(tmp_path / "middle.png", middle)
    plain = prepare(replace(lean, retarget="full", reference=tmp_path / "middle.png"))
    assert look_at_reference(plain, listener)[0].settings() == plain.settings()


def test_a_model_of_one_size_makes_that_size(lean, tmp_path, media):
    mini = replace(lean, model="mini", size=None, conditions=None, retarget="full")
    wide = tmp_path / "wide.png"
    write_image(wide, next(iterate_frames(media / "presenter.mp4")))
    request = prepare(replace(mini, reference=wide))
    assert request.size == (256, 144)
    assert "was trained at" not in request.describe()
    asked = prepare(replace(mini, reference=wide, size="144x256"))
    assert "NOTE       the model 'mini' was trained at 256x144 only" in asked.describe()
    assert describe_model("wan2.1-i2v-14b-480p").size_for((720, 1280)) == (480, 832)
