"""The descriptor knows rendered people again, from other frames and poses, and finds the parts where they are."""

import importlib.util

import numpy as np
import pytest

from posegen.conditions.body_parts import PARTS, part_regions
from posegen.conditions.keypoints import INDEX
from posegen.evaluate.metrics.appearance import describe_appearance, identify

SIZE = (192, 112)
COLOURS = {part: np.array([30 + 25 * row, 220 - 20 * row, (60 * row) % 256]) for row, part in enumerate(PARTS)}


def standing():
    """Keypoints of somebody who stands before the camera."""
    points = np.zeros((133, 2), np.float32)
    places = {
        "nose": (56, 30), "left_ear": (63, 28), "right_ear": (49, 28), "left_shoulder": (74, 50),
        "right_shoulder": (38, 50), "left_elbow": (84, 75), "right_elbow": (28, 75), "left_wrist": (88, 100),
        "right_wrist": (24, 100), "left_hip": (66, 100), "right_hip": (46, 100), "left_knee": (68, 135),
        "right_knee": (44, 135), "left_ankle": (68, 170), "right_ankle": (44, 170),
    }  # fmt: skip  # a table, read in rows
    scores = np.zeros(133, np.float32)
    for name, place in places.items():
        points[INDEX[name]], scores[INDEX[name]] = place, 1
    return points, scores


def painted(points, scores, random=None):
    image = np.full((*SIZE, 3), 128, np.uint8) if random is None else random.integers(0, 256, (*SIZE, 3), np.uint8)
    for part, region in part_regions(points, scores, SIZE).items():
        image[region] = COLOURS[part]
    return image


def test_parts_lie_in_order_from_head_to_foot_and_do_not_overlap():
    regions = part_regions(*standing(), SIZE)
    assert set(regions) == set(PARTS)
    assert np.sum(list(regions.values()), axis=0).max() == 1
    heights = {part: np.nonzero(region)[0].mean() for part, region in regions.items()}
    order = ["hair", "face", "torso", "hips", "thighs", "shins"]
    assert sorted(order, key=heights.get) == order


def test_background_does_not_count():
    points, scores = standing()
    plain = describe_appearance(painted(points, scores)[None], points[None], scores[None])
    noisy = describe_appearance(painted(points, scores, np.random.default_rng(0))[None], points[None], scores[None])
    assert plain.distance(noisy) == 0
    assert plain.spread.max() < 1e-5


def test_parts_that_are_not_seen_are_left_out():
    points, scores = standing()
    image = painted(points, scores)
    whole = describe_appearance(image[None], points[None], scores[None])
    scores[[INDEX[f"{side}_{joint}"] for side in ("left", "right") for joint in ("knee", "ankle")]] = 0
    half = describe_appearance(image[None], points[None], scores[None])
    assert np.isnan(half.mean[[PARTS.index("thighs"), PARTS.index("shins")]]).all()
    assert half.distance(whole) == pytest.approx(0, abs=1e-5)
    nobody = describe_appearance(image[None], points[None], np.zeros((1, 133), np.float32))
    assert nobody.distance(whole) == np.inf


@pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="needs the extra of synthetic people")
def test_rendered_people_are_known_again_and_noise_is_not():
    from posegen.data.clips import keypoint_scores
    from posegen.synthetic.clip import SyntheticClip, SyntheticClipSettings

    references, clips, noise = [], [], []
    for number in range(10):
        clip = SyntheticClip(
            7001 + 2 * number, number, SyntheticClipSettings(*SIZE, num_frames=4, fps=2.5), "half-body"
        )
        frames = list(clip.frames())
        points = np.stack([frame.keypoints for frame in frames])
        scores = np.stack([keypoint_scores(frame.visibility) for frame in frames])
        clips.append(describe_appearance(np.stack([frame.rgb for frame in frames]), points, scores))
        random = np.random.default_rng(number).integers(0, 256, (4, *SIZE, 3), np.uint8)
        noise.append(describe_appearance(random, points, scores))
        reference = clip.reference()
        references.append(
            describe_appearance(
                reference.rgb[None], reference.keypoints[None], keypoint_scores(reference.visibility)[None]
            )
        )
    assert sum(identify(clip, references) == number for number, clip in enumerate(clips)) >= 9
    assert sum(identify(clip, references) == number for number, clip in enumerate(noise)) <= 4
