"""Framing told from keypoints of people and of a drawn figure; more synthetic clips are in `tests/synthetic`."""

from fractions import Fraction

import numpy as np
import pytest
from skimage import data

from posegen.conditions.estimators.mediapipe import MediaPipePose
from posegen.conditions.extraction import estimate_pose
from posegen.conditions.framing import choose_framing
from posegen.conditions.keypoints import INDEX
from posegen.conditions.reference_person import find_reference_people
from posegen.errors import PosegenError
from posegen.media.image import read_image

STANDING = {
    "nose": (0, 0.93), "shoulder": (0.105, 0.82), "elbow": (0.13, 0.65), "wrist": (0.14, 0.5),
    "hip": (0.06, 0.53), "knee": (0.06, 0.285), "ankle": (0.06, 0.04),
}  # fmt: skip
"""Half of a figure one high: to the side, and above the floor."""


def figure(lower_edge, upper_edge, size=(400, 300), missing=()):
    """A standing figure in a picture that shows it between two heights; what lies outside has score 0."""
    keypoints, scores = np.zeros((1, 133, 2)), np.zeros((1, 133))
    scale = size[0] / (upper_edge - lower_edge)
    for name, (aside, above) in STANDING.items():
        for sign, side in ((1, "left_"), (-1, "right_")):
            index = INDEX.get(side + name, INDEX["nose"])
            keypoints[0, index] = size[1] / 2 + sign * aside * scale, (upper_edge - above) * scale
            inside = 0 <= keypoints[0, index, 1] < size[0] and name not in missing
            scores[0, index] = 0.9 if inside else 0.0
    return keypoints, scores, size


@pytest.mark.parametrize(
    ("lower", "upper", "framing"),
    [
        (0.68, 1.05, "close-up"),
        (0.45, 1.1, "half-body"),
        (0.2, 1.1, "half-body"),
        (-0.05, 1.1, "full-body"),
        (-1.0, 2.0, "distant"),
    ],
)
@pytest.mark.parametrize("missing", [(), ("nose",), ("hip", "knee"), ("shoulder", "wrist"), ("ankle",), ("elbow",)])
def test_what_is_seen_of_a_figure_says_the_framing(lower, upper, framing, missing):
    if framing == "close-up" and "shoulder" in missing:
        return  # only a nose would be left
    assert choose_framing(*figure(lower, upper, missing=missing)) == framing


def test_someone_who_crouches_with_feet_in_the_picture_is_a_full_body():
    keypoints, scores, size = figure(-0.05, 1.1)
    upper = [index for name, index in INDEX.items() if name not in ("left_ankle", "right_ankle")]
    keypoints[0, upper, 1] += 0.4 * (400 - keypoints[0, upper, 1])
    assert choose_framing(keypoints, scores, size) == "full-body"


def test_nobody_is_an_error_that_says_what_to_do():
    for scores in (np.zeros((3, 133)), np.ones((3, 133))):
        with pytest.raises(PosegenError, match="framing"):
            choose_framing(np.zeros((3, 133, 2)), scores, (400, 300))


def framing_of_picture(image):
    person = find_reference_people(image).chosen
    return choose_framing(person.keypoints[None], person.scores[None], image.shape[:2])


def framing_of_video(path):
    estimator = MediaPipePose()
    pose, _ = estimate_pose(path, estimator, Fraction(2), hands=False)
    estimator.close()
    return choose_framing(pose.keypoints, pose.scores, pose.size)


@pytest.mark.parametrize(
    ("name", "framing"),
    [("reference_man_half_body.png", "half-body"), ("reference_elf_half_body.jpeg", "half-body")],
)
def test_real_reference_pictures(real_media, name, framing):
    assert framing_of_picture(read_image(real_media(name))) == framing


def test_reference_pictures(media):
    assert framing_of_picture(read_image(media / "man.png")) == "half-body"
    assert framing_of_picture(data.astronaut()) == "half-body"


@pytest.mark.parametrize(
    ("name", "framing"),
    [("driving_dance_full_body.mp4", "full-body"), ("driving_presenter_half_body.mp4", "half-body")],
)
def test_real_videos(real_media, name, framing):
    assert framing_of_video(real_media(name)) == framing


@pytest.mark.parametrize(("name", "framing"), [("dancer.mp4", "full-body"), ("presenter.mp4", "half-body")])
def test_videos(media, name, framing):
    assert framing_of_video(media / name) == framing
