"""Laws of comparing lengths: likelihoods along the tree of the body, and the frame that shows the reference's pose."""

import numpy as np
import pytest

from people import clip_of, one, walk
from posegen.conditions import proportions
from posegen.conditions.keypoints import INDEX
from posegen.conditions.proportions import LIMBS, compare


def test_likelihoods_passed_along_the_tree_are_those_of_all_bodies_counted_one_by_one(monkeypatch):
    grid = np.linspace(-0.3, 0.3, 7)
    monkeypatch.setattr(proportions, "_GRID", grid)
    random = np.random.default_rng(0)
    fits = {name: random.normal(0, 2, 7) for name in ("upper arms", "forearms", "thighs")}
    ratios, whole = proportions._most_likely(fits)
    own, limb = (np.exp(proportions._prior(spread)) for spread in (proportions._SPREAD_IN_LIMB, proportions._SPREAD))
    upper, fore, thigh = (np.exp(fits[name]) for name in fits)
    # body, arms, legs, and the three groups
    every = np.einsum("ba,bl,au,af,lt,u,f,t->baluft", limb, limb, own, own, own, upper, fore, thigh)
    for name, axis in (("upper arms", 3), ("forearms", 4), ("thighs", 5)):
        chances = every.sum(axis=tuple(other for other in range(6) if other != axis))
        assert ratios[name] == pytest.approx(proportions._median(np.log(chances)), rel=1e-6)
    assert whole == pytest.approx(proportions._median(np.log(every.sum(axis=(1, 2, 3, 4, 5)))), rel=1e-6)
    shanks = np.einsum("baluft,ls->s", every, own)  # not shown: as the thighs say
    assert ratios["shanks"] == pytest.approx(proportions._median(np.log(shanks)), rel=1e-6)
    assert set(ratios) == {group for groups in LIMBS.values() for group in groups}


def test_the_frame_that_makes_the_references_pose_tells_most():
    """Forearms come half as long in all other frames, whose upper arms point elsewhere: as if bent to the camera."""
    driving = walk(24)
    points = driving.keypoints.astype(float)
    for side in ("left", "right"):
        elbow, wrist = INDEX[f"{side}_elbow"], INDEX[f"{side}_wrist"]
        away = points[:, wrist] - points[:, elbow]
        turned = np.stack([away[:, 0] * 0 + np.linalg.norm(away, axis=1) * 0.5, 0 * away[:, 0]], 1)
        points[1:, wrist] = (points[:, elbow] + turned)[1:]
    short = clip_of(points, driving.scores.copy())
    reference = one(walk(1, height=500.0))
    assert compare(short, reference).ratios["forearms"] == pytest.approx(1.25, rel=0.06)


def test_a_group_that_is_not_shown_is_as_its_limb():
    driving = walk(24)
    reference = walk(1, {"thighs": 0.6}, height=500.0)
    scores = reference.scores.copy()
    scores[:, [INDEX[f"{side}_ankle"] for side in ("left", "right")]] = 0
    ratios = compare(driving, one(clip_of(reference.keypoints.astype(float), scores))).ratios
    assert ratios["thighs"] == pytest.approx(1.25 * 0.6, rel=0.05)
    assert ratios["shanks"] < 0.85 * ratios["torso"]
