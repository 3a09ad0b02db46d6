"""The lines about how a person was followed, and how good the keypoints are."""

from fractions import Fraction

import numpy as np
import pytest
from people_in_frames import figure

from posegen.conditions.keypoints import HANDS, PoseSequence
from posegen.conditions.tracking_report import TrackingReport, describe_quality, jitter


def clip(noise=0.0, count=60, height=200.0):
    """Somebody who stands still, with independent errors of this standard deviation in each direction, in pixels."""
    random = np.random.default_rng(0)
    people = [figure(300, height) for _ in range(count)]
    for person in people:
        person.keypoints[:17] += random.normal(0, noise, (17, 2)) if noise else 0
    return PoseSequence.of(people, (360, 640), Fraction(30))


def test_jitter_is_the_error_of_points_at_rest_relative_to_the_height():
    assert jitter(clip()) == 0
    two, four = jitter(clip(2.0)), jitter(clip(4.0))
    assert two == pytest.approx(100 * 2.0 * np.sqrt(2 * np.log(2)) / 215, rel=0.25)  # the median of a length
    assert four == pytest.approx(2 * two, rel=0.15)
    assert np.isnan(jitter(clip(count=2)))


def test_good_figures_have_no_advice_and_bad_ones_have():
    good = describe_quality(clip(0.1), TrackingReport(60, 60, 0, 0, 1), hands=False, smoothing=True)
    assert good.startswith("quality: followed in 100 % of the frames")
    assert "--" not in good
    assert "hands" not in good
    pose = clip(4.0)
    pose.scores[:20, HANDS[0]] = 0.9
    bad = describe_quality(pose, TrackingReport(60, 40, 5, 15, 2, looked_again=9), hands=True, smoothing=True)
    for part in ("67 %", "5 filled", "15 dropped", "9 looked at again", "--person", "--start", "--pose vitpose"):
        assert part in bad
    assert "left in 33 %" in bad
    assert "only" in describe_quality(clip(height=30), TrackingReport(60, 60, 0, 0, 1), hands=False, smoothing=True)


def test_each_frame_without_the_person_has_one_reason():
    line = TrackingReport(100, 80, 5, 15, 2, implausible=4, somebody_else=6).describe()
    for part in ("80 of 100", "nobody seen in 10", "dropped in 4", "somebody else seen in 6"):
        assert part in line
