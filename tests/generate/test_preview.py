"""Previews through the real command: what is written, what is found out, and what it warns of."""

import logging
import time
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from posegen.apps import cli
from posegen.conditions.estimators import file
from posegen.conditions.estimators.keypoint_files import read_keypoints
from posegen.conditions.extraction import fit_pose
from posegen.errors import PosegenError
from posegen.generate.driving_conditions import driving_conditions
from posegen.generate.job.job_folder import work_folder
from posegen.generate.preview.look_ahead import look_ahead
from posegen.generate.preview.preview_job import preview_paths
from posegen.generate.preview.preview_pictures import write_preview
from posegen.media.image import read_image, write_image
from posegen.media.video import VideoWriter, iterate_frames, probe_video, sample_frames


class Listener:
    def say(self, line):
        pass

    def update(self, task, done, total):
        pass


def looked(config, **changes):
    return look_ahead(replace(config, **changes), Listener(), samples=10, quick=True)


def has(lines, words):
    return any(words in line for line in lines)


def test_the_command_writes_a_picture_and_a_video(config, media, tmp_path, capsys):
    output = tmp_path / "new" / "dance.mp4"
    arguments = [
        "preview",
        "--reference",
        str(config.reference),
        "--driving",
        str(media / "dancer.mp4"),
        "--output",
        str(output),
        "--quick",
    ]
    start = time.monotonic()
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 0
    taken = time.monotonic() - start
    picture, video = preview_paths(output)
    assert read_image(picture).std() > 20
    info = probe_video(video)
    assert (info.height, info.width, info.num_frames) == (256, 3 * 144, 48)
    assert 4 <= info.duration <= 8
    said = capsys.readouterr().err
    assert "anchor: base segment" in said
    assert "the reference is a half-body shot, the driving video a full-body shot" in said
    assert {path.name for path in output.parent.iterdir()} == {picture.name, video.name}
    assert taken < 120  # seconds on a busy machine; nothing is generated


@pytest.mark.parametrize(
    ("option", "name"),
    [("--reference", "dance_preview.png"), ("--driving", "dance_preview.mp4"), ("--pose-file", "dance_preview.mp4")],
)
def test_a_preview_never_takes_the_place_of_an_input(config, media, tmp_path, capsys, option, name):
    """Not even under another path to the same file."""
    given = {"--reference": config.reference, "--driving": media / "dancer.mp4"}
    taken = tmp_path / name
    taken.write_bytes(given.get(option, given["--driving"]).read_bytes())
    before = taken.read_bytes()
    (tmp_path / "link").symlink_to(tmp_path)
    given |= {option: taken, "--output": tmp_path / "link" / "dance.mp4"}
    given |= {"--pose": "file"} if option == "--pose-file" else {}
    arguments = ["preview", *(str(word) for pair in given.items() for word in pair)]
    assert cli.guarded(lambda: cli.dispatch(cli.parse(arguments))) == 2
    assert f"{name} is written, which is one of the inputs: choose another name" in capsys.readouterr().err
    assert taken.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {name, "link"}


def test_what_is_drawn_are_the_samples_poses(config, driving):
    found = looked(config)
    assert found.numbers[0] == 0
    assert found.numbers[-1] == 59
    frames = list(iterate_frames(driving))
    fit = found.plan.settings.driving_fit
    for place, number in enumerate(found.numbers):
        assert np.array_equal(found.frames[place], fit.apply(frames[number]))
    seen = (found.pose.scores >= 0.3).any(axis=1)
    assert seen.mean() > 0.8
    assert found.plan.reference.person is not None


def test_a_part_is_sampled_from_that_part(config, driving):
    found = looked(config, start=1.0, end=2.0)
    assert found.plan.settings.num_frames == 24
    frames = list(iterate_frames(driving))[24:48]
    fit = found.plan.settings.driving_fit
    for place, number in enumerate(found.numbers):
        assert np.array_equal(found.frames[place], fit.apply(frames[number]))


def test_given_keypoints_and_pictures_are_what_is_shown(config, driving, conditions, monkeypatch):
    """Keypoints of a folder of conditions (40 frames/s), then its videos, as files of another estimator."""
    kept = looked(config, conditions=conditions, size=None)
    with monkeypatch.context() as watched:
        reads = []
        watched.setattr(file, "read_keypoints", lambda *given: reads.append(given) or read_keypoints(*given))
        points = looked(config, fps="40", pose="file", pose_file=conditions / "keypoints.npz")
    assert len(reads) == 1, "what was checked at first is what is used"
    assert np.array_equal(points.numbers, kept.numbers)
    found = kept.pose.scores > 0  # where the file holds no hand, the hand model looks for one
    assert found[:, :17].mean() > 0.9
    moved = points.pose.keypoints[found] - kept.pose.keypoints[found]  # a quick preview crops about the middle
    assert np.isclose(moved, moved[0], atol=1e-3).mean() > 0.99  # a point at the edge may be settled otherwise
    assert np.abs(moved[0]).max() < 2
    pictures = looked(
        config, fps="40", fit="crop", driving=conditions / "skeleton.mkv", pose="file",
        pose_file=conditions / "skeleton.mkv", normals="file", normals_file=conditions / "hands.mkv",
    )  # fmt: skip  # short arguments, read in rows
    assert pictures.skeletons is not None
    assert np.array_equal(pictures.skeletons, pictures.frames)  # the driving video is the skeleton video
    assert np.array_equal(pictures.hand_maps, kept.hand_maps)
    assert not has(pictures.warnings, "no person is found in the driving video")


def test_of_two_people_the_one_who_was_largest_at_first_is_shown(config, conditions, tmp_path):
    """The other one comes nearer to the camera than they are."""
    with np.load(conditions / "keypoints.npz") as data:
        mine, scores = data["keypoints"], data["scores"]
    centre = mine[:, :17].mean(axis=(0, 1))
    growth = np.linspace(0.5, 1.5, len(mine))[:, None, None]
    theirs = (mine - centre) * growth + centre + [400, 0]
    np.savez(tmp_path / "two.npz", keypoints=np.stack([theirs, mine], 1), scores=np.stack([scores, scores], 1))
    found = looked(config, fps="40", pose="file", pose_file=tmp_path / "two.npz", hands=False)
    alone = looked(config, fps="40", pose="file", pose_file=conditions / "keypoints.npz", hands=False)
    assert has(found.warnings, "2 people")
    assert np.allclose(found.pose.keypoints, alone.pose.keypoints, atol=1e-3)


def test_a_preview_makes_what_generate_takes_up(config, media, tmp_path, caplog):
    """The same person, the same cuts, and no second pass; a bystander, who is larger in one frame, is numbered."""
    output = tmp_path / "crossing.mp4"
    changed = replace(config, driving=media / "crossing.mp4", output=output, end=1.0, hands=False, person="1")
    found = look_ahead(changed, Listener(), samples=8)
    assert [person.number for person, _ in found.people] == [1, 2]
    assert found.followed == 1
    assert has(found.warnings, "2 people are in the driving video: number 1 is followed")
    inputs = found.plan.inputs
    with caplog.at_level(logging.INFO, "posegen"):
        kept = driving_conditions(inputs, found.plan.settings, work_folder(output) / "conditions", Listener())
    assert "up to date" in caplog.text
    fit = kept.cropping(found.plan.settings.driving_fit)
    for place, number in enumerate(found.numbers.tolist()):
        seen = kept.pose.scores[number] > 0
        assert np.array_equal(found.pose.scores[place], kept.pose.scores[number])
        assert np.allclose(found.pose.keypoints[place][seen], fit_pose(kept.pose[number], fit).keypoints[seen])
    assert has(kept.report, "quality: followed in ")
    write_preview(found, *preview_paths(output))
    other = look_ahead(replace(changed, person="2"), Listener(), samples=8)
    assert other.followed == 2  # another choice is another extraction


def test_cuts_are_told_with_their_time(config, driving, media, tmp_path):
    dancer = list(iterate_frames(driving))[:30]
    presenter = list(iterate_frames(media / "presenter.mp4"))[:30]
    path = tmp_path / "cut.mp4"
    with VideoWriter(path, Fraction(24), size=(640, 360)) as writer:
        for frame in dancer:
            writer.write(frame)
        for frame in presenter:
            writer.write(np.ascontiguousarray(np.pad(frame, ((140, 140), (0, 0), (0, 0)))[:640, 140:500]))
    assert has(looked(config, driving=path).warnings, "a cut at 1.25 s")
    assert has(looked(config, driving=path, start=0.5).warnings, "a cut at 1.25 s")
    assert not has(looked(config, driving=path, end=1.2).warnings, "cut at")


def test_missing_weights_are_told_and_not_taken_for_nobody(config):
    with pytest.raises(PosegenError, match="hf download"):
        looked(config, pose="vitpose")


def test_a_cut_off_person_is_told_and_padding_helps(config, media):
    driving = media / "presenter.mp4"
    assert has(looked(config, driving=driving, size="96x64").warnings, "cut off")
    assert not has(looked(config, driving=driving, size="96x64", fit="pad").warnings, "cut off: the result")


def test_missing_people_and_hands_are_told(config, driving, tmp_path):
    frames = list(iterate_frames(driving))
    path = tmp_path / "leaves.mp4"
    with VideoWriter(path, Fraction(24), size=(640, 360)) as writer:
        for number, frame in enumerate(frames):
            writer.write(frame if number < 30 else np.full_like(frame, 120))
    warnings = looked(config, driving=path).warnings
    assert has(warnings, "nobody is seen in 50 % of the driving video (about second ")
    empty = tmp_path / "empty.mp4"
    with VideoWriter(empty, Fraction(24), size=(640, 360)) as writer:
        for _ in frames[:20]:
            writer.write(np.full_like(frames[0], 120))
    found = looked(config, driving=empty)
    assert has(found.warnings, "no person is found in the driving video")
    write_preview(found, tmp_path / "empty.png", tmp_path / "empty_preview.mp4")
    write_image(tmp_path / "wall.png", np.full((128, 96, 3), 128, np.uint8))
    found = looked(config, reference=tmp_path / "wall.png")
    assert found.warnings[0] == "no person is found in the reference image"
    assert found.plan.reference.person is None


def test_a_camera_that_moves_leaves_segments_out(config, media, tmp_path):
    """The presenter, filmed by a camera that has another place in the second half."""
    frames = list(iterate_frames(media / "presenter.mp4"))[:60]
    path = tmp_path / "moved.mp4"
    with VideoWriter(path, Fraction(24), size=(320, 320)) as writer:
        for number, frame in enumerate(frames):
            left = 100 if number < 30 else 125
            writer.write(np.ascontiguousarray(frame[20:340, left : left + 320]))
    found = looked(config, driving=path, size="96x96", fps="60", anchor=None)
    assert len(found.plan.settings.plan.base_segments) > 2
    assert found.alone
    assert found.anchor not in found.alone
    assert has(found.warnings, "the camera moves there") or has(found.warnings, "another scene")
    still = looked(config, driving=media / "presenter.mp4", size="96x96", fps="60", anchor=None)
    assert still.alone == ()


def test_a_video_of_one_frame(config, driving, tmp_path):
    path = tmp_path / "one.mp4"
    with VideoWriter(path, Fraction(24), size=(640, 360)) as writer:
        writer.write(next(iter(iterate_frames(driving))))
    found = looked(config, driving=path)
    write_preview(found, tmp_path / "one.png", tmp_path / "one_preview.mp4")
    assert probe_video(tmp_path / "one_preview.mp4").num_frames == 1


@pytest.mark.parametrize("fps", [None, 12, 60])
def test_samples_are_those_frames(driving, fps):
    frames = list(iterate_frames(driving, fps))
    numbers = [0, 1, 5, 17, len(frames) - 1]
    taken = list(sample_frames(driving, numbers, fps))
    assert all(np.array_equal(frames[number], frame) for number, frame in zip(numbers, taken, strict=True))
    for wrong in ([3, 2], [-1], [len(frames)]):
        with pytest.raises(ValueError, match="rising numbers"):
            list(sample_frames(driving, wrong, fps))


def test_samples_far_apart_are_read_by_seeking(tmp_path):
    path = tmp_path / "long.mp4"
    random = np.random.default_rng(0)
    with VideoWriter(path, Fraction(24), size=(64, 64)) as writer:
        for number in range(600):
            frame = random.integers(0, 30, (64, 64, 3), dtype=np.uint8)
            writer.write(frame + np.uint8(number % 200))
    frames = list(iterate_frames(path))
    numbers = [3, 200, 431, 599]
    for number, frame in zip(numbers, sample_frames(path, numbers), strict=True):
        assert np.array_equal(frames[number], frame)
