"""Jobs with a motion file instead of a driving video: the person, the time, what is refused, and what is shown."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from test_preview import Listener

from posegen.apps import cli
from posegen.conditions.folder import open_conditions
from posegen.conditions.keypoints import INDEX, SEEN
from posegen.config import GenerateConfig, MotionConfig
from posegen.errors import PosegenError
from posegen.generate.job.job_folder import work_folder
from posegen.generate.long_video import generate_video
from posegen.generate.planning.job_identity import identity_of
from posegen.generate.preview.look_ahead import look_ahead
from posegen.media.video import iterate_frames, probe_video

FPS = 50
SECONDS = 1.4
LEFT, UP = np.array([1.0, 0, 0]), np.array([0, 0, 1.0])
STANDING = {"shoulder": (0.18, 1.4), "elbow": (0.35, 1.15), "wrist": (0.45, 0.92)}
STANDING |= {"hip": (0.09, 0.92), "knee": (0.1, 0.5), "ankle": (0.1, 0.08)}
"""Distance to the side and height of joints of somebody who faces -y, in metres."""


def write_motion(path, fps=FPS, seconds=SECONDS, prefix="", waves=True):
    """A TRC table of somebody who lifts the left hand; with a nose and toes."""
    names, places = [], []
    time = np.arange(round(seconds * fps)) / fps
    for side, sign in (("left", 1), ("right", -1)):
        for joint, (aside, height) in STANDING.items():
            place = np.tile(sign * aside * LEFT + height * UP, (len(time), 1))
            if side == "left" and joint == "wrist" and waves:
                place = place + np.minimum(time, 1)[:, None] * 0.6 * UP
            names.append(f"{prefix}{side}_{joint}")
            places.append(place)
        names.append(f"{prefix}{side}_toe")
        places.append(np.tile(sign * 0.1 * LEFT + 0.02 * UP - [0, 0.13, 0], (len(time), 1)))
    names.append("nose")
    places.append(np.tile(1.55 * UP - [0, 0.1, 0], (len(time), 1)))
    rows = np.stack(places, axis=1).reshape(len(time), -1)
    names_in_line = "Frame#\tTime\t" + "\t\t\t".join(names)
    lines = ["PathFileType\t4\t(X/Y/Z)\ta.trc", "DataRate\tUnits", f"{fps}\tm", names_in_line, "", ""]
    lines += [f"{number + 1}\t{number / fps:.6f}\t" + "\t".join(map(str, row)) for number, row in enumerate(rows)]
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def moving(config, tmp_path):
    """The job of `config`, with a motion file instead of its video."""
    motion = write_motion(tmp_path / "wave.trc")
    return GenerateConfig(**{**vars(config), "driving": None, "motion": motion, "retarget": "full", "camera": "front"})


def test_the_result_has_the_person_of_the_file_at_its_own_speed(moving):
    result = generate_video(moving)
    info = probe_video(moving.output)
    assert info.fps == FPS
    assert info.duration == pytest.approx(SECONDS, abs=0.5 / FPS)
    assert not info.has_audio
    conditions, inputs = open_conditions(work_folder(moving.output) / "conditions")
    pose = conditions.pose
    assert (len(pose), inputs.fps) == (round(SECONDS * FPS), FPS)
    x, y = pose.keypoints[..., 0], pose.keypoints[..., 1]
    assert (x[:, INDEX["left_shoulder"]] > x[:, INDEX["right_shoulder"]]).all()
    assert y[0, INDEX["left_wrist"]] > y[0, INDEX["left_elbow"]]
    assert y[-1, INDEX["left_wrist"]] < y[-1, INDEX["left_elbow"]]
    moved = np.load(work_folder(moving.output) / "conditions" / "retargeted" / "keypoints.npz")
    ankles = moved["keypoints"][:, INDEX["right_ankle"]]
    assert np.ptp(ankles[:, 1]) < 1.0  # feet stay on the ground
    assert "wave.trc" in result.plan.description
    before = moving.output.read_bytes()
    generate_video(moving)
    assert moving.output.read_bytes() == before


def test_the_identity_of_a_job_depends_on_the_motion_and_the_camera(moving, tmp_path):
    first = identity_of(moving)
    assert identity_of(moving) == first
    assert identity_of(replace(moving, camera="30,10")) != first
    copy = tmp_path / "another name.trc"
    copy.write_bytes(moving.motion.read_bytes())
    assert identity_of(replace(moving, motion=copy)) == first
    assert identity_of(replace(moving, motion=write_motion(copy, waves=False))) != first


def test_the_preview_shows_the_skeleton_where_the_result_has_it(moving):
    found = look_ahead(moving, Listener(), samples=6)
    assert len(found.numbers) == 6
    pose = found.placed
    seen = pose.keypoints[:, :17][pose.scores[:, :17] >= SEEN]
    assert (seen > -3).all()
    assert any("camera" in note for note in found.notes)
    assert not any("driving video" in line for line in (*found.notes, *found.warnings))


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"motion": None}, "neither"),
        ({"driving": Path("a.mp4")}, "both"),
        ({"camera": "still"}, "front, auto"),
        ({"camera": "400,0"}, "azimuth"),
        ({"camera": "0,95"}, "elevation"),
        ({"pose": "file", "pose_file": Path("a.json")}, "no estimator"),
        ({"conditions": Path("folder")}, "conditions"),
        ({"person": "left"}, "number"),
        ({"motion_fps": "0"}, "motion_fps"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(moving, changes, named):
    with pytest.raises(PosegenError, match=named) as error:
        GenerateConfig(**{**vars(moving), **changes})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("changes", "named"), [({"camera": "front"}, "AZIMUTH"), ({"motion_fps": "30"}, "motion_fps")])
def test_options_of_a_motion_file_are_refused_with_a_video(config, changes, named):
    with pytest.raises(PosegenError, match=named):
        replace(config, **changes)


def test_joints_without_known_names_are_refused_before_any_work(moving, tmp_path):
    cloud = write_motion(tmp_path / "cloud.trc")
    text = cloud.read_text()
    for side in ("left", "right"):
        for joint in (*STANDING, "toe"):
            text = text.replace(f"{side}_{joint}", f"M{abs(hash(side + joint)) % 1000}")
    cloud.write_text(text)
    with pytest.raises(PosegenError, match="shoulders"):
        generate_video(replace(moving, motion=cloud))
    assert not work_folder(moving.output).exists()


def test_the_command_shows_what_is_understood_and_a_figure_that_turns(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_motion(tmp_path / "wave.trc")
    assert cli.guarded(lambda: cli.dispatch(cli.parse(["motion", "wave.trc", "--size", "192x160"]))) == 0
    told = capsys.readouterr()
    for words in ("TRC", "50 frames/s", "left_wrist = left_wrist", "1.40 s", "tall"):
        assert words in told.out + told.err
    video = tmp_path / "wave_motion.mp4"
    assert probe_video(video).duration == pytest.approx(SECONDS, abs=0.05)
    frames = list(iterate_frames(video))
    widths = [np.ptp(np.flatnonzero((frame.max(axis=2) > 150).any(axis=0))) for frame in frames]
    assert min(widths) < 0.7 * max(widths)  # seen from the side it is narrow
    with pytest.raises(PosegenError, match="seconds"):
        MotionConfig(file=Path("wave.trc"), seconds=0.0)


def test_motion_in_the_place_of_a_video_or_of_keypoints_is_told_where_it_belongs(config, moving):
    with pytest.raises(PosegenError, match="as motion"):
        generate_video(replace(config, driving=moving.motion))
    with pytest.raises(PosegenError, match="generate --motion"):
        generate_video(replace(config, pose="file", pose_file=moving.motion))
