"""Framing told from keypoints, against the framings with which synthetic clips are filmed."""

import functools
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from posegen.conditions.framing import choose_framing
from posegen.synthetic import clip as clips
from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import rest_body
from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings
from posegen.synthetic.identity import draw_identity
from posegen.synthetic.rig_keypoints import KeypointTracker
from posegen.synthetic.scene import FRAMINGS

CLIPS = 48
SIZES = ((192, 112), (112, 192), (160, 160))
# a shot from the knees up has a cut body and much background beside it, as a half-body shot
MEANT = {"close-up": "close-up", "half-body": "half-body", "three-quarter": "half-body", "full-body": "full-body"}


def keypoints_only(identity_seed, detailed=False):
    return without_surface(identity_seed)


@functools.cache
def without_surface(identity_seed):
    """A person without a surface: enough for keypoints, made in a twentieth of the time."""
    identity = draw_identity(identity_seed, len(load_assets().change_names))
    body = rest_body(identity)
    return SimpleNamespace(identity=identity, body=body, tracker=KeypointTracker(body))


@pytest.fixture(scope="module")
def filmed():
    """(framing, keypoints, scores, size) of clips: all framings, shapes and people; 1 in the picture, else 0."""
    result = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clips, "make_person", keypoints_only)
        for number in range(CLIPS):
            height, width = SIZES[number // len(FRAMINGS) % len(SIZES)]
            clip = SyntheticClip(
                700 + number, 40 + number, SyntheticClipSettings(height, width, 8), FRAMINGS[number % len(FRAMINGS)]
            )
            tracker = keypoints_only(700 + number).tracker
            points = [
                clip._camera.project(tracker.places(clip._transforms[t], clip._joints[t], clip._actions[t]))[0]
                for t in range(8)
            ]
            keypoints = np.stack(points)
            inside = ((keypoints >= 0) & (keypoints < (width, height))).all(axis=-1)
            result.append((clip.framing, keypoints, inside.astype(float), (height, width)))
    return result


def agreement(filmed, change):
    random = np.random.default_rng(0)
    told = [(framing, choose_framing(*change(random, *clip), clip[-1])) for framing, *clip in filmed]
    print(sorted(Counter(told).items()))
    return float(np.mean([MEANT[framing] == answer for framing, answer in told]))


def as_they_are(random, keypoints, scores, size):
    return keypoints, scores


def estimated(random, keypoints, scores, size):
    """As an estimator gives them: off by 1 % of the picture, a fifth of the joints not seen, whole frames missing."""
    keypoints = keypoints + random.normal(0, 0.01 * max(size), keypoints.shape)
    scores = scores * (random.random(scores.shape) > 0.2)
    scores[random.integers(8)] = 0
    return keypoints, scores


def one_picture(random, keypoints, scores, size):
    return keypoints[3:4], scores[3:4]


def larger(random, keypoints, scores, size):
    return keypoints, np.where(scores > 0, 0.6, 0.1)


@pytest.mark.parametrize("change", [as_they_are, estimated, one_picture, larger], ids=lambda change: change.__name__)
def test_the_framing_of_synthetic_clips_is_told(filmed, change):
    share = agreement(filmed, change)
    print(f"agreement on {len(filmed)} clips: {share:.2f}")
    assert share >= 0.85


def test_a_person_far_away_is_distant(filmed):
    answers = []
    for framing, keypoints, scores, (height, width) in filmed:
        if framing == "full-body":
            small = (height, width)
            answers.append(choose_framing(keypoints * 0.3 + np.array([width, height]) * 0.35, scores, small))
    assert answers == ["distant"] * len(answers)


def test_a_crop_of_a_full_body_shot_is_nearer(filmed):
    order = ["close-up", "half-body", "full-body", "distant"]
    for framing, keypoints, scores, (height, width) in filmed:
        if framing != "full-body":
            continue
        nose = np.median(keypoints[:, 0], axis=0)
        answers = []
        for zoom in (1, 2.2, 6):
            moved = (keypoints - nose) * zoom + np.array([width / 2, height * 0.3])
            answers.append(order.index(choose_framing(moved, np.ones_like(scores), (height, width))))
        assert answers == sorted(answers, reverse=True)
        assert answers[-1] == 0
