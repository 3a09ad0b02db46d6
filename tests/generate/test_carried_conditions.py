"""Conditions carried to the reference, or not, and what is reported of it; the crop about the person."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest

from people import walk
from planned_jobs import described, identity, planned
from posegen.conditions.background_motion import BackgroundMotion
from posegen.conditions.extraction import draw_fitted, fit_pose
from posegen.conditions.folder import open_conditions
from posegen.conditions.keypoints import INDEX, SEEN, PoseSequence
from posegen.conditions.reference_person import find_reference_people
from posegen.conditions.retargeted_conditions import MADE_FROM, fit_sequence
from posegen.errors import PosegenError
from posegen.generate import reference_pose
from posegen.generate.carried_conditions import carry_conditions, carry_over
from posegen.generate.long_video import generate_video
from posegen.generate.preview.look_ahead import look_ahead
from posegen.generate.reference_pose import FittedReference, ReferencePose, look_at_reference
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
def reference(media):
    """The man of the reference image, in a 96x64 picture."""
    picture = read_image(media / "man.png")
    fit = plan_fit(picture.shape[:2], (96, 64), "crop")
    return FittedReference(picture, fit, fit_pose(find_reference_people(picture).chosen, fit))


def carried(video, mode, reference, folder, listener):
    fit, model = video.settings.driving_fit, video.inputs.model
    config = replace(video.inputs.config, retarget=mode)
    return carry_conditions(config, video.inputs.conditions, fit, reference, model, folder, listener)


def looked_at(video, listener):
    config = video.inputs.config
    pose = ReferencePose(video.inputs.reference, config, config.device)
    return look_at_reference(video.reference, pose, config, listener)


def test_the_skeleton_sits_on_the_reference(lean, reference, tmp_path):
    video = planned(lean)
    listener = Listener()
    moved = carried(video, "full", reference, tmp_path / "moved", listener)
    assert moved.num_frames == video.inputs.conditions.num_frames
    assert moved.pose.size == moved.size == (96, 64)
    before = fit_sequence(video.inputs.conditions.pose, video.settings.driving_fit)

    def shoulders(points):
        return points[..., [INDEX["left_shoulder"], INDEX["right_shoulder"]], :]

    def width(points):
        return np.median(np.linalg.norm(np.diff(shoulders(points), axis=-2), axis=-1))

    wanted = width(reference.person.keypoints)
    assert abs(width(before.keypoints) / wanted - 1) > 0.25  # the dancer is smaller
    assert abs(width(moved.pose.keypoints) / wanted - 1) < 0.12
    place = np.median(shoulders(moved.pose.keypoints).mean(axis=1), axis=0)
    assert np.abs(place - shoulders(reference.person.keypoints).mean(axis=0)).max() < 6
    assert "carried to the reference's proportions" in listener.lines[-1]
    # the pictures are drawings of the poses
    model = video.inputs.model
    drawn = draw_fitted(moved.pose[30], plan_fit((96, 64), (96, 64), "crop"), model.skeleton_colors, model.draw_scale)
    assert np.array_equal(moved.skeleton_frames(30, 31)[0], drawn)
    assert moved.hand_frames(0, 100).shape == (100, 96, 64, 3)
    # and are used again as long as nothing changes
    stamp = (tmp_path / "moved" / "skeleton.mkv").stat().st_mtime_ns
    carried(video, "full", reference, tmp_path / "moved", listener)
    assert (tmp_path / "moved" / "skeleton.mkv").stat().st_mtime_ns == stamp
    carried(video, "align", reference, tmp_path / "moved", listener)
    assert (tmp_path / "moved" / "skeleton.mkv").stat().st_mtime_ns != stamp
    assert (tmp_path / "moved" / MADE_FROM).is_file()


def test_off_is_off_and_the_settings_tell_them_apart(lean, reference, tmp_path):
    video = planned(lean)
    assert carried(video, "off", reference, tmp_path / "moved", Listener()) is video.inputs.conditions
    assert not (tmp_path / "moved").exists()
    assert looked_at(video, Listener()) is video.reference
    assert identity(video) != identity(planned(replace(lean, retarget="full")))


def test_the_person_is_looked_for_once_and_only_where_somebody_asks(lean, monkeypatch):
    """By the prompt, the crop and the retargeting together; the driving video's own estimator does not count."""
    looks, find = [], find_reference_people

    def watched(*arguments):
        looks.append(arguments)
        return find(*arguments)

    monkeypatch.setattr(reference_pose, "find_reference_people", watched)
    generate_video(replace(lean, prompt=None, retarget="full", sharing="off", anchor=None, steps=1))
    assert len(looks) == 1
    look_ahead(replace(lean, prompt=None, retarget="full"), Listener(), samples=2, quick=True)
    assert len(looks) == 2
    generate_video(replace(lean, sharing="off", anchor=None, steps=1, output=lean.output.with_stem("other")))
    assert len(looks) == 2


def test_drawn_skeletons_without_keypoints_stay_and_it_is_said(lean, reference):
    pose = planned(lean).inputs.conditions.pose
    empty = PoseSequence(pose.keypoints, np.zeros_like(pose.scores), pose.hands, pose.size, pose.fps)
    moved, lines = carry_over("full", empty, reference)
    assert moved is None
    assert "without keypoints" in lines[0]


def test_a_cartoon_is_aligned_by_its_box(lean, tmp_path):
    """No estimator knows this one: a red bean on a white sheet."""
    picture = np.full((480, 320, 3), 245, np.uint8)
    cv2.ellipse(picture, (200, 300), (70, 130), 0, 0, 360, (210, 40, 60), -1)
    write_image(tmp_path / "bean.png", picture)
    video = planned(replace(lean, retarget="full", reference=tmp_path / "bean.png", person_check=True))
    bean = looked_at(video, Listener())
    assert bean.person is None
    pose = fit_sequence(video.inputs.conditions.pose, video.settings.driving_fit)
    moved, lines = carry_over("full", pose, bean)
    assert "no person is found in the reference image: the skeleton is only moved to the box" in lines[0]
    seen = moved.pose.scores[:, :17] >= SEEN
    low, high = (np.median(edge) for edge in (moved.pose.keypoints[:, 0, 1], moved.pose.keypoints[:, 15, 1]))
    assert seen.any()
    assert 170 / 5 - 6 < low < high < 430 / 5 + 6  # the bean, in a picture a fifth as high


def test_a_wall_has_nothing_to_align_with(lean, tmp_path):
    write_image(tmp_path / "wall.png", np.full((480, 320, 3), 128, np.uint8))
    video = planned(replace(lean, retarget="full", reference=tmp_path / "wall.png", person_check=True))
    with pytest.raises(PosegenError, match="no person is found"):
        looked_at(video, Listener())
    pose = fit_sequence(video.inputs.conditions.pose, video.settings.driving_fit)
    moved, lines = carry_over("full", pose, video.reference)
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
    config = replace(lean, retarget="full", reference=tmp_path / "wide.png")
    video = planned(config)
    assert (video.reference.image == 200).all()
    listener = Listener()
    about = replace(video, reference=looked_at(video, listener))
    assert listener.lines == ["reference: cropped about the person, not about its middle"]
    shoulders = about.reference.person.keypoints[[INDEX["left_shoulder"], INDEX["right_shoulder"]], 0]
    assert abs(shoulders.mean() - video.settings.size[1] / 2) < 8
    assert not (about.reference.image == 200).all()
    assert identity(about) != identity(video)  # it is another job
    assert json.loads(json.dumps(identity(about))) == identity(about)  # and is known again
    assert look_ahead(config, listener, samples=4, quick=True).plan.reference.fit == about.reference.fit
    # nothing changes where he is in the middle anyway
    middle = np.full((640, 640, 3), 200, np.uint8)
    middle[320:, 230:410] = cv2.resize(man, (180, 320), interpolation=cv2.INTER_AREA)
    write_image(tmp_path / "middle.png", middle)
    plain = planned(replace(lean, retarget="full", reference=tmp_path / "middle.png"))
    assert identity(replace(plain, reference=looked_at(plain, listener))) == identity(plain)


def test_a_model_of_one_size_makes_that_size(lean, tmp_path, media):
    mini = replace(lean, model="mini", size=None, conditions=None, retarget="full")
    wide = tmp_path / "wide.png"
    write_image(wide, next(iterate_frames(media / "presenter.mp4")))
    video = planned(replace(mini, reference=wide))
    assert video.settings.size == (256, 144)
    assert "was trained at" not in video.description
    asked = described(replace(mini, reference=wide, size="144x256"))
    assert "NOTE       the model 'mini' was trained at 256x144 only" in asked
    assert describe_model("wan2.1-i2v-14b-480p").size_for((720, 1280)) == (480, 832)


def test_a_model_for_few_steps_has_them_by_default_and_says_what_does_not_suit_it(lean, narrow, tmp_path):
    folder = shutil.copytree(narrow, tmp_path / "few")
    index = json.loads((folder / "model_index.json").read_text())
    settings = {"few_steps": 3, "default_steps": 3, "default_pose_guidance": 1.0}
    (folder / "model_index.json").write_text(json.dumps({**index, **settings}))
    config = replace(lean, model=str(folder), steps=None, guidance=None)
    assert "3 steps each" in described(config)
    assert "NOTE" not in described(replace(config, steps=25))  # the long way is possible
    for other in ({"steps": 2}, {"guidance": 3.0}, {"pose_guidance": 2.0}):
        assert "is made for 3 steps" in described(replace(config, **other)), other


def test_a_crop_keeps_the_head_and_says_what_it_cuts_off(lean, tmp_path, media):
    """A tall picture in a wide result: about its middle, the crop would show the trunk alone."""
    man = read_image(media / "man.png")
    tall = np.full((2 * man.shape[0], man.shape[1], 3), 200, np.uint8)
    tall[-man.shape[0] :] = man
    write_image(tmp_path / "tall.png", tall)
    config = replace(
        lean, conditions=None, size="64x128", retarget="full", reference=tmp_path / "tall.png", person_check=True
    )
    listener = Listener()
    about = looked_at(planned(config), listener)
    nose = about.person.keypoints[INDEX["nose"]]
    assert 0 < nose[1] < 64
    assert any("cut off" in line and "--fit pad" in line for line in listener.lines)
    padded = Listener()
    looked_at(planned(replace(config, fit="pad")), padded)
    assert padded.lines == []


def followed_walk(step, frames=48):
    """Return somebody who walks while the camera follows them, and the path of the background."""
    pose = walk(frames, height=300, place=(300, 380), size=(700, 900))
    moved = -step * np.arange(frames) / np.hypot(700, 900)
    motion = BackgroundMotion(
        np.ones(frames, complex), moved + 0j, np.zeros(frames, int), np.ones(frames, bool), np.zeros(frames), 24.0
    )
    return pose, motion


def placed_reference():
    person = walk(1, height=300, place=(200, 400), size=(700, 900))[0]
    return FittedReference(np.zeros((700, 900, 3), np.uint8), plan_fit((700, 900), (700, 900), "crop"), person)


def test_a_person_whom_the_camera_follows_walks_through_the_picture():
    pose, motion = followed_walk(8.0)
    moved, lines = carry_over("full", pose, placed_reference(), "auto", motion)
    assert lines == []
    assert "camera's motion is taken out" in moved.report
    nose = moved.pose.keypoints[:, INDEX["nose"]]
    assert nose[-1, 0] - nose[0, 0] == pytest.approx(8 * 47, rel=0.05)
    assert np.ptp(nose[:, 1]) < 15
    heels = moved.pose.keypoints[:, [INDEX["left_heel"], INDEX["right_heel"]], 1].max(axis=1)
    assert np.ptp(heels) < 8  # on the ground
    assert (moved.pose.scores[:, INDEX["nose"]] >= SEEN).all()
    follows, _ = carry_over("full", pose, placed_reference(), "follow", motion)
    assert np.ptp(follows.pose.keypoints[:, INDEX["nose"], 0]) < 5
    assert "camera" not in follows.report


def test_a_walk_out_of_the_frame_is_left_to_the_camera_unless_it_is_asked_for():
    pose, motion = followed_walk(60.0)
    moved, lines = carry_over("full", pose, placed_reference(), "auto", motion)
    assert np.ptp(moved.pose.keypoints[:, INDEX["nose"], 0]) < 5
    assert ["--camera still" in line for line in lines] == [True]
    still, said = carry_over("full", pose, placed_reference(), "still", motion)
    assert np.ptp(still.pose.keypoints[:, INDEX["nose"], 0]) > 2000
    assert ["out of the result's frame" in line for line in said] == [True]


@pytest.mark.parametrize("mode", ["full", "align"])
def test_a_path_that_is_hardly_known_stays_in_the_skeleton_and_it_is_said(mode):
    pose, motion = followed_walk(8.0)
    motion = replace(motion, known=np.arange(48) < 30)
    moved, lines = carry_over(mode, pose, placed_reference(), "auto", motion)
    assert np.ptp(moved.pose.keypoints[:, INDEX["nose"], 0]) < 5
    assert ["known in 62 %" in line for line in lines] == [True]
    unmoved = replace(motion, shift=np.zeros(48, complex))
    assert carry_over(mode, pose, placed_reference(), "auto", unmoved)[1] == []
    assert len(carry_over(mode, pose, placed_reference(), "still", unmoved)[1]) == 1


def test_with_off_a_head_outside_the_frame_is_only_reported(lean, reference, tmp_path):
    video, listener = planned(lean), Listener()
    conditions = video.inputs.conditions
    high = replace(conditions, pose=replace(conditions.pose, keypoints=conditions.pose.keypoints - [0, 1000]))
    above = replace(video, inputs=replace(video.inputs, conditions=high))
    assert carried(above, "off", reference, tmp_path / "moved", listener) is high
    assert ["the head in 100 %" in line for line in listener.lines] == [True]


def test_off_and_still_contradict_each_other(lean):
    with pytest.raises(PosegenError, match="camera still"):
        replace(lean, retarget="off", camera="still")
