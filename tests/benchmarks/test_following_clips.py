"""Figures of the following benchmark are right where the answer is known, and damage does what its name says."""

import sys
from pathlib import Path

import numpy as np
import pytest

from posegen.conditions.keypoints import INDEX, PersonPose

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
import following
import following_clips

HEIGHT = 400.0


def standing(x=300.0):
    """A standing person, all 133 points near the middle but those of the trunk, head, arms and legs."""
    points = np.full((133, 2), (x, 200.0), np.float32)
    rows = {"nose": 20, "eye": 15, "ear": 18, "shoulder": 70, "elbow": 130, "wrist": 190, "hip": 200, "knee": 300,
            "ankle": 390}  # fmt: skip
    for name, index in INDEX.items():
        side, _, part = name.partition("_")
        away = {"left": 40, "right": -40}.get(side, 0)
        points[index] = x + away, rows.get(part or side, 395)
    return PersonPose(points, np.ones(133, np.float32))


class Finds:
    """Estimator that finds the same people in every frame."""

    batch_size = 2
    keeps_everybody = False

    def __init__(self, *people):
        self.people = list(people)

    def estimate_batch(self, frames):
        return [list(self.people) for _ in frames]


def damaged(kind, *people, frames=4):
    truth = np.stack([people[0].keypoints] * frames)
    estimator = following.Damaged(Finds(*people), truth, HEIGHT, {kind: [1, 2]})
    found = estimator.estimate_batch([None] * 2) + estimator.estimate_batch([None] * 2)
    assert estimator.damaged == 2
    assert estimator.batch_size == 2
    assert all(found[frame] == list(people) for frame in (0, 3))  # other frames are left as they are
    return found[1]


def test_only_the_followed_person_is_damaged():
    person, other = standing(), standing(900.0)
    assert damaged("dropped", person, other) == [other]
    assert damaged("dropped", other, person) == [person]
    assert len(damaged("doubled", person, other)) == 3
    for kind in ("upside_down", "swapped", "hips_swapped", "outlier"):
        found = damaged(kind, person, other)
        assert found[0] is other
        assert not np.array_equal(found[1].keypoints, person.keypoints)


def test_upside_down_is_judged_against_the_truth():
    person = standing()
    turned = damaged("upside_down", person)[0]
    assert not following.upside_down(person.keypoints, person.scores, person.keypoints)
    assert following.upside_down(turned.keypoints, turned.scores, person.keypoints)
    assert not following.upside_down(turned.keypoints, turned.scores, turned.keypoints)  # a handstand
    head_alone = person.scores.copy()
    head_alone[[INDEX["left_hip"], INDEX["right_hip"]]] = 0
    assert following.upside_down(turned.keypoints, head_alone, person.keypoints)
    swapped = damaged("swapped", person)[0]
    assert not following.upside_down(swapped.keypoints, swapped.scores, person.keypoints)


def test_exchanged_sides_are_still_the_same_person():
    person = standing()
    swapped = damaged("swapped", person)[0]
    assert following.mean_distance(swapped.keypoints, swapped.scores, person.keypoints) == pytest.approx(0)
    assert following.mean_distance(person.keypoints, 0 * person.scores, person.keypoints) == float("inf")


def test_there_are_enough_clips_of_every_kind():
    clips = following_clips.all_clips()
    assert len(clips) >= 40
    assert set(following.SPEED_CLIPS) <= set(clips)
    assert all(clips[name].size == (720, 1280) for name in following.SPEED_CLIPS)
    kinds = {kind for clip in clips.values() for kind in clip.damage}
    assert {"dropped", "doubled", "upside_down", "swapped"} <= kinds
    assert all(max(frames) < clip.frames for clip in clips.values() for frames in clip.damage.values())
