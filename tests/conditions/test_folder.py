"""Folders of conditions that somebody made earlier: taken if they fit, refused in one line if they do not."""

import json
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from posegen.conditions.bystanders import Bystanders
from posegen.conditions.folder import (
    HAND_NORMALS,
    KEYPOINTS,
    MANIFEST,
    SKELETON,
    Inputs,
    check_conditions,
    find_conditions,
    open_conditions,
    save_conditions,
)
from posegen.conditions.keypoints import PoseSequence
from posegen.conditions.tracking_report import TrackingReport
from posegen.errors import PosegenError
from posegen.media.fitting import plan_fit
from posegen.media.video import VideoWriter

FRAMES, SIZE = 6, (64, 48)


def write_video(path, frames=FRAMES, size=SIZE, seed=0):
    pictures = np.random.default_rng(seed).integers(0, 256, (frames, *size, 3), np.uint8)
    with VideoWriter(path, 8, size=size, codec="ffv1") as writer:
        for picture in pictures:
            writer.write(picture)
    return pictures


@pytest.fixture
def made(tmp_path):
    """A folder, and what it was made from."""
    driving, folder = tmp_path / "driving.mkv", tmp_path / "conditions"
    write_video(driving, size=(128, 96))
    folder.mkdir()
    for seed, name in enumerate((SKELETON, HAND_NORMALS)):
        write_video(folder / name, seed=seed)
    inputs = Inputs.of(driving, plan_fit((128, 96), SIZE, "crop"), Fraction(8), True, "openpose", 2, "somebody", "1")
    keypoints, scores = np.zeros((FRAMES, 133, 2), np.float32), np.ones((FRAMES, 133), np.float32)
    pose = PoseSequence(keypoints, scores, np.full((FRAMES, 2, 21, 3), np.nan, np.float32), (128, 96), Fraction(8))
    save_conditions(folder, pose, inputs, ["a line"])
    return folder, inputs


def test_what_was_saved_is_opened_found_and_accepted(made):
    folder, inputs = made
    conditions, found = open_conditions(folder)
    assert found == inputs
    assert (conditions.num_frames, conditions.fps, conditions.size, conditions.report) == (6, 8, SIZE, ("a line",))
    assert find_conditions(folder, inputs) is not None
    assert find_conditions(folder, replace(inputs, estimators=("another",))) is None
    check_conditions(conditions, found, replace(inputs, estimators=("another",)), FRAMES)


def test_boxes_of_other_people_are_kept_and_older_folders_have_none(made):
    folder, inputs = made
    pose = open_conditions(folder)[0].pose
    assert open_conditions(folder)[0].bystanders is None
    boxes = Bystanders(np.array([1, 1, 4], np.int32), np.arange(12, dtype=np.float32).reshape(3, 4))
    save_conditions(folder, pose, inputs, [], TrackingReport(FRAMES, FRAMES, 0, 0, 2, bystanders=boxes))
    found = open_conditions(folder)[0].bystanders
    assert found is not None
    assert np.array_equal(found.frames, boxes.frames)
    assert np.array_equal(found.boxes, boxes.boxes)
    pose.save(folder / KEYPOINTS, {"bystander_frames": boxes.frames, "bystander_boxes": boxes.boxes[:2]})
    with pytest.raises(PosegenError, match="boxes"):
        open_conditions(folder)


WRONG = {
    "another video": ({"driving_sha256": "0"}, FRAMES, "another driving video"),
    "size": ({"fit": plan_fit((128, 96), (96, 48), "crop")}, FRAMES, "size 64x48, not 96x48"),
    "fit": ({"fit": plan_fit((128, 96), SIZE, "pad")}, FRAMES, "fit crop"),
    "rate": ({"fps": Fraction(16)}, FRAMES, "fps"),
    "colours": ({"colors": "release"}, FRAMES, "model"),
    "lines": ({"draw_scale": 1}, FRAMES, "model"),
    "length": ({}, 7, "6 frames, not 7"),
}


@pytest.mark.parametrize("case", WRONG)
def test_conditions_that_do_not_fit_are_refused_in_one_line(made, case):
    folder, inputs = made
    changes, frames, expected = WRONG[case]
    conditions, found = open_conditions(folder)
    with pytest.raises(PosegenError, match=expected) as raised:
        check_conditions(conditions, found, replace(inputs, **changes), frames)
    assert "\n" not in str(raised.value)
    assert str(folder) in str(raised.value)


def test_hands_must_be_there_but_need_not_be_used(made):
    folder, inputs = made
    conditions, found = open_conditions(folder)
    check_conditions(conditions, found, replace(inputs, hands=False), FRAMES)
    with pytest.raises(PosegenError, match="without hands: add hands=False"):
        check_conditions(conditions, replace(found, hands=False), inputs, FRAMES)


def test_a_video_that_lost_frames_is_noticed(made):
    folder, inputs = made
    write_video(folder / SKELETON, frames=5)
    conditions, found = open_conditions(folder)
    with pytest.raises(PosegenError, match=r"skeleton\.mkv has .*\(5, 64, 48\)"):
        check_conditions(conditions, found, inputs, FRAMES)


def test_other_pictures_have_another_digest(made):
    folder, _ = made
    before = open_conditions(folder)[0].digest()
    assert open_conditions(folder)[0].digest() == before
    write_video(folder / HAND_NORMALS, seed=7)
    assert open_conditions(folder)[0].digest() != before


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda folder: (folder / MANIFEST).unlink(), "there are no conditions"),
        (lambda folder: (folder / MANIFEST).write_text("{"), "damaged"),
        (lambda folder: (folder / MANIFEST).write_text("{}"), "damaged"),
        (lambda folder: (folder / SKELETON).unlink(), r"skeleton\.mkv is missing"),
        (lambda folder: (folder / "keypoints.npz").write_bytes(b"nonsense"), "damaged"),
        (
            lambda folder: (folder / MANIFEST).write_text(json.dumps({"inputs": {"format": 0}})),
            "another version of posegen",
        ),
    ],
)
def test_a_folder_without_whole_conditions_is_refused(made, damage, expected):
    folder, inputs = made
    damage(folder)
    assert find_conditions(folder, inputs) is None
    with pytest.raises(PosegenError, match=expected):
        open_conditions(folder)


def flip(path, place=0.6):
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 4
    path.write_bytes(content)


def swap(folder):
    first, second = (folder / name for name in (SKELETON, HAND_NORMALS))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def forget_checksums(folder):
    """As an older posegen left it."""
    manifest = json.loads((folder / MANIFEST).read_text())
    del manifest["checksum"]
    (folder / MANIFEST).write_text(json.dumps({**manifest, "files": list(manifest["files"])}))


DAMAGED = {
    "a bit of the skeletons": lambda folder: flip(folder / SKELETON),
    "a bit of the hand normals": lambda folder: flip(folder / HAND_NORMALS),
    "a bit of the keypoints": lambda folder: flip(folder / KEYPOINTS),
    "a bit of the manifest": lambda folder: flip(folder / MANIFEST),
    "empty": lambda folder: (folder / SKELETON).write_bytes(b""),
    "missing": lambda folder: (folder / KEYPOINTS).unlink(),
    "exchanged": swap,
    "without checksums": forget_checksums,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_jobs_own_conditions_are_made_again_when_anything_is_damaged(made, case, caplog):
    folder, inputs = made
    assert find_conditions(folder, inputs) is not None
    DAMAGED[case](folder)
    assert find_conditions(folder, inputs) is None
    (record,) = caplog.records
    assert "made again" in record.message
    assert "\n" not in record.message


def test_files_that_a_user_edited_are_named_and_used(made, caplog):
    folder, inputs = made
    pictures = write_video(folder / SKELETON, seed=5)
    conditions, found = open_conditions(folder)
    check_conditions(conditions, found, inputs, FRAMES)
    (record,) = caplog.records
    assert SKELETON in record.message
    assert (conditions.skeleton_frames(0, FRAMES) == pictures).all()
    assert find_conditions(folder, inputs, edited=True) is not None  # `posegen extract` again: what was edited stays
    forget_checksums(folder)  # or written by somebody else: there is nothing to compare with
    caplog.clear()
    check_conditions(*open_conditions(folder), inputs, FRAMES)
    assert not caplog.records


@pytest.mark.parametrize("case", ["a bit of the manifest", "empty", "missing", "garbage", "short"])
def test_files_of_a_user_that_cannot_be_read_are_refused_in_one_line(made, case):
    folder, inputs = made
    more = {
        "garbage": lambda folder: (folder / KEYPOINTS).write_bytes(b"PK\x03\x04" + bytes(500)),
        "short": lambda folder: write_video(folder / SKELETON, FRAMES - 1),
    }
    (DAMAGED | more)[case](folder)
    with pytest.raises(PosegenError) as caught:
        check_conditions(*open_conditions(folder), inputs, FRAMES)
    assert "\n" not in str(caught.value)
    assert find_conditions(folder, inputs, edited=True) is None
