"""Laws of scores: what is identical is perfect, what is late is late, what is random is chance."""

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from posegen.evaluate.scores import (
    bootstrap_interval,
    frame_distances,
    motion_chance,
    motion_score,
    psnr,
    psnr_per_frame,
)

FRAMES, SIZE = 20, (12, 10)


def clip(seed, frames=FRAMES):
    return np.random.default_rng(seed).integers(0, 256, (frames, *SIZE, 3), np.uint8)


@pytest.fixture
def everywhere():
    return np.ones(SIZE, bool)


def test_psnr_is_that_of_skimage():
    left, right = clip(1), clip(2)
    assert psnr(left, right) == pytest.approx(peak_signal_noise_ratio(left, right), abs=1e-9)
    for frame, value in enumerate(psnr_per_frame(left, right)):
        assert value == pytest.approx(peak_signal_noise_ratio(left[frame], right[frame]), abs=1e-9)


def test_psnr_neither_overflows_nor_depends_on_the_order():
    black, white = np.zeros((2, *SIZE, 3), np.uint8), np.full((2, *SIZE, 3), 255, np.uint8)
    assert psnr(black, white) == psnr(white, black) == 0
    assert psnr(black, black + np.uint8(1)) == pytest.approx(20 * np.log10(255))


def test_identical_clips_are_perfect_and_one_perfect_frame_is_not_enough():
    left, right = clip(1), clip(2)
    assert psnr(left, left) == np.inf
    right[3] = left[3]
    assert psnr_per_frame(left, right)[3] == np.inf
    assert np.isfinite(psnr(left, right))


def test_a_mask_shows_psnr_only_what_is_in_it():
    left = clip(1)
    masks = np.zeros(left.shape[:3], bool)
    masks[:, 2:5, 3:6] = True
    changed = np.where(masks[..., None], left, 255 - left)
    assert psnr(changed, left, masks) == np.inf
    assert psnr(np.where(masks[..., None], 255 - left, left), left, masks) == pytest.approx(
        psnr(255 - left[:, 2:5, 3:6], left[:, 2:5, 3:6])
    )
    with pytest.raises(ValueError, match="empty"):
        psnr(left, left, masks & False)


def test_distances_are_those_of_the_definition(everywhere):
    left, right = clip(1, 3), clip(2, 4)
    everywhere[:, :4] = False
    distances = frame_distances(left, right, everywhere)
    wanted = np.mean((left[:, None].astype(float) - right)[:, :, everywhere] ** 2, axis=(2, 3))
    assert np.allclose(distances, wanted, rtol=1e-12)
    with pytest.raises(ValueError, match="empty"):
        frame_distances(left, right, everywhere & False)


@pytest.mark.parametrize("late", [0, 1, 3, -2])
def test_a_clip_that_is_late_is_found_late(everywhere, late):
    long = clip(3, FRAMES + 10)
    distances = frame_distances(long[5 + late :][:FRAMES], long[5:][:FRAMES], everywhere)
    overlap = (FRAMES - abs(late)) / FRAMES
    assert motion_score(distances, tolerance=0, shift=late) == pytest.approx(overlap, abs=0.06)
    assert (motion_score(distances) >= overlap) == (abs(late) <= 1)


def test_noise_scores_about_chance_and_truth_scores_everything(everywhere):
    scores = []
    for seed in range(40):
        distances = frame_distances(clip(seed), clip(1000 + seed), everywhere)
        scores.append(motion_score(distances))
        assert 0.09 < motion_chance(distances) < 0.16
    assert np.mean(scores) == pytest.approx((3 * FRAMES - 2) / FRAMES**2, abs=0.04)
    truth = frame_distances(clip(1), clip(1), everywhere)
    assert motion_score(truth, tolerance=0) == 1
    assert motion_chance(truth) == pytest.approx((3 * FRAMES - 2) / FRAMES**2)


def test_chance_is_the_mean_over_shuffles(everywhere):
    generated, truth, random = clip(1), clip(1), np.random.default_rng(0)
    generated[4:9] = generated[4]
    distances = frame_distances(generated, truth, everywhere)
    shuffled = [motion_score(distances[random.permutation(FRAMES)]) for _ in range(4000)]
    assert motion_chance(distances) == pytest.approx(np.mean(shuffled), abs=0.005)


def test_a_person_who_stands_still_gives_no_more_than_chance(everywhere):
    still = np.repeat(clip(1, 1), FRAMES, axis=0)
    distances = frame_distances(still, still, everywhere)
    assert motion_score(distances) == pytest.approx(motion_chance(distances))


def test_the_interval_holds_the_mean_and_narrows_with_clips():
    values = np.random.default_rng(0).normal(5, 2, 400)
    low, high = bootstrap_interval(values.tolist())
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * values.std() / 20, rel=0.1)
    assert bootstrap_interval(values[:20].tolist())[1] - bootstrap_interval(values[:20].tolist())[0] > 2 * (high - low)
    assert bootstrap_interval([3.0, 3.0]) == (3.0, 3.0)
