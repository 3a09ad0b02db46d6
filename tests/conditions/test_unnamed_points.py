"""Whose 17 points without names are: told by the lengths of bones, said in one line, and decided by the file itself."""

import json

import keypoint_writers
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posegen.conditions.estimators.keypoint_files import read_keypoints
from posegen.conditions.keypoints import BODY_NAMES

SIZE = (720, 1280)
STANDING = {
    "nose": (0, 0), "left_eye": (0.02, -0.02), "right_eye": (-0.02, -0.02), "left_ear": (0.04, -0.01),
    "right_ear": (-0.04, -0.01), "left_shoulder": (0.11, 0.12), "right_shoulder": (-0.11, 0.12),
    "left_hip": (0.06, 0.41), "right_hip": (-0.06, 0.41), "left_knee": (0.07, 0.65), "right_knee": (-0.07, 0.65),
    "left_ankle": (0.08, 0.9), "right_ankle": (-0.08, 0.9),
}  # fmt: skip
"""In heights of the person."""


def dancer(seed, frames=6):
    """COCO's 17 points of somebody who moves the arms, anywhere and of any size: (frames, 17, 2)."""
    random = np.random.default_rng(seed)
    joints = {name: np.tile(place, (frames, 1)) for name, place in STANDING.items()}
    for side in ("left", "right"):
        for joint, parent, length in (("elbow", "shoulder", 0.17), ("wrist", "elbow", 0.15)):
            angle = random.uniform(0, 2 * np.pi, frames)
            joints[f"{side}_{joint}"] = joints[f"{side}_{parent}"] + length * np.stack(
                [np.sin(angle), np.cos(angle)], 1
            )
    points = np.stack([joints[name] for name in BODY_NAMES[:17]], axis=1)
    turn = random.uniform(0, 2 * np.pi)
    points = points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    points *= [random.uniform(0.3, 1), 1]  # seen from the side
    return points * random.uniform(100, 500) + [640, 360] + random.normal(size=(frames, 17, 2))


def human36m(points):
    """The same person as Human3.6M's 17 points."""
    place = {name: points[:, index] for index, name in enumerate(BODY_NAMES[:17])}
    root, thorax = (np.mean([place[f"{side}_{part}"] for side in ("left", "right")], 0) for part in ("hip", "shoulder"))
    neck = (thorax + place["nose"]) / 2
    middle = {"root": root, "spine": (root + thorax) / 2, "thorax": thorax, "neck_base": neck,
              "head": 2 * place["nose"] - neck}  # fmt: skip
    feet = {f"{side}_foot": place[f"{side}_ankle"] for side in ("left", "right")}
    return np.stack([{**place, **middle, **feet}[name] for name in keypoint_writers.HUMAN36M], axis=1)


def write(path, points, form, said=None):
    scores = np.full(points.shape[:2], 0.9)
    if form == "npz":
        np.savez(path, keypoints=points, scores=scores, **({} if said is None else {"dataset_name": said}))
        return path
    frames = [[keypoint_writers.instance(*frame)] for frame in zip(points, scores, strict=True)]
    if form == "instances":
        frames = [{"frame_id": index, "instances": people} for index, people in enumerate(frames)]
    path.write_text(json.dumps(frames if said is None else {"dataset_name": said, "frames": frames}))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("unnamed")


@given(st.integers(0, 10**6), st.sampled_from(["npz", "instances", "lists"]))
@settings(max_examples=30)
def test_anatomy_tells_the_data_set_over_the_whole_clip(folder, seed, form):
    points = dancer(seed)
    path = folder / ("k.npz" if form == "npz" else "k.json")
    file = read_keypoints(write(path, human36m(points), form), SIZE)
    found, scores = keypoint_writers.stacked(file.people)
    assert "Human3.6M" in file.description
    assert file.doubts == []
    assert np.allclose(found[:, 5:17], points[:, 5:], atol=1e-2)
    assert not scores[:, :5].any()
    file = read_keypoints(write(path, points, form), SIZE)
    found, scores = keypoint_writers.stacked(file.people)
    assert "COCO" in file.description
    assert file.doubts == []
    assert np.allclose(found[:, :17], points, atol=1e-2)


@pytest.mark.parametrize("form", ["npz", "instances", "lists"])
@pytest.mark.parametrize("said", ["h36m", "coco"])
def test_what_the_file_says_is_never_guessed_over(form, said, tmp_path):
    points = dancer(1)
    wrong = points if said == "h36m" else human36m(points)
    file = read_keypoints(write(tmp_path / f"k.{'npz' if form == 'npz' else 'json'}", wrong, form, said), SIZE)
    found, scores = keypoint_writers.stacked(file.people)
    assert bool(scores[:, 0].any()) == (said == "coco")  # Human3.6M has no nose
    first = 0 if said == "coco" else 11  # its left shoulder
    assert np.allclose(found[:, 0 if said == "coco" else 5], wrong[:, first], atol=1e-2)
    assert file.doubts == []


def test_what_cannot_be_decided_is_a_guess_that_says_how_to_decide(tmp_path):
    points = dancer(2)
    points[:, 3:] = 0  # hardly anything is seen
    for form in ("npz", "instances"):
        file = read_keypoints(write(tmp_path / f"k.{'npz' if form == 'npz' else 'json'}", points, form), SIZE)
        (doubt,) = file.doubts
        assert "COCO" in doubt
        assert "dataset_name" in doubt


def test_forms_of_coco_are_not_asked(tmp_path):
    points = human36m(dancer(3)).astype(np.float32)
    path = keypoint_writers.write_alphapose(tmp_path / "k", points, np.full((6, 17), 0.9, np.float32), SIZE)
    file = read_keypoints(path, SIZE)
    assert np.allclose(keypoint_writers.stacked(file.people)[0][:, :17], points, atol=1e-2)
    assert "Human3.6M" not in file.description
