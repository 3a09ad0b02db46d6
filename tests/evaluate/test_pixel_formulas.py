"""Laws of scores: what is identical is perfect, what is late is late, what is random is chance."""

import cv2
import numpy as np
import pytest
import torch
from skimage.metrics import peak_signal_noise_ratio

from posegen.evaluate.metrics.pixel_formulas import (
    frame_distances,
    l1_per_frame,
    motion_chance,
    motion_score,
    psnr,
    psnr_per_frame,
    ssim_per_frame,
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
    ground_truth = frame_distances(clip(1), clip(1), everywhere)
    assert motion_score(ground_truth, tolerance=0) == 1
    assert motion_chance(ground_truth) == pytest.approx((3 * FRAMES - 2) / FRAMES**2)


def test_chance_is_the_mean_over_shuffles(everywhere):
    generated, ground_truth, random = clip(1), clip(1), np.random.default_rng(0)
    generated[4:9] = generated[4]
    distances = frame_distances(generated, ground_truth, everywhere)
    shuffled = [motion_score(distances[random.permutation(FRAMES)]) for _ in range(4000)]
    assert motion_chance(distances) == pytest.approx(np.mean(shuffled), abs=0.005)


def test_a_person_who_stands_still_gives_no_more_than_chance(everywhere):
    still = np.repeat(clip(1, 1), FRAMES, axis=0)
    distances = frame_distances(still, still, everywhere)
    assert motion_score(distances) == pytest.approx(motion_chance(distances))


def noisy_pair(frames=3, height=48, width=40):
    random = np.random.default_rng(5)
    ground_truth = random.integers(0, 256, (frames, height, width, 3), np.uint8)
    return np.clip(ground_truth + random.normal(0, 30, ground_truth.shape), 0, 255).astype(np.uint8), ground_truth


def test_scores_equal_those_of_other_implementations():
    generated, ground_truth = noisy_pair()
    left, right = (torch.from_numpy(frames).permute(0, 3, 1, 2).double() for frames in (generated, ground_truth))
    for number in range(3):
        one, other = left[number : number + 1], right[number : number + 1]
        assert l1_per_frame(generated, ground_truth)[number] == pytest.approx(
            float((one - other).abs().mean()), abs=1e-9
        )
        grey = [
            torch.from_numpy(cv2.cvtColor(frames[number], cv2.COLOR_RGB2GRAY))[None, None].double()
            for frames in (generated, ground_truth)
        ]
        assert ssim_per_frame(generated, ground_truth)[number] == pytest.approx(uniform_ssim(*grey), abs=1e-4)


def uniform_ssim(left, right):
    """SSIM with a uniform window of 7 x 7 by its definition, sample covariances, inside the border."""
    pool = lambda maps: torch.nn.functional.avg_pool2d(maps, 7, 1)  # noqa: E731
    unbiased = 49 / 48
    mean_left, mean_right = pool(left), pool(right)
    first = unbiased * (pool(left**2) - mean_left**2)
    second = unbiased * (pool(right**2) - mean_right**2)
    both = unbiased * (pool(left * right) - mean_left * mean_right)
    small, large = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_left * mean_right + small) * (2 * both + large)
    return float((top / ((mean_left**2 + mean_right**2 + small) * (first + second + large))).mean())


def test_l1_does_not_overflow():
    black, white = np.zeros((1, 16, 16, 3), np.uint8), np.full((1, 16, 16, 3), 255, np.uint8)
    assert l1_per_frame(black, white)[0] == l1_per_frame(white, black)[0] == 255


def test_frame_scores_get_worse_with_noise_and_blur():
    _, ground_truth = noisy_pair()
    ground_truth = np.stack([cv2.GaussianBlur(frame, (0, 0), 2) for frame in ground_truth])
    random = np.random.default_rng(6)
    noise = random.normal(0, 1, ground_truth.shape)
    for spoiled in (
        [np.clip(ground_truth + amount * noise, 0, 255).astype(np.uint8) for amount in (4, 12, 40)],
        [np.stack([cv2.GaussianBlur(frame, (0, 0), amount) for frame in ground_truth]) for amount in (0.8, 2, 5)],
    ):
        for score, sign in ((psnr_per_frame, 1), (ssim_per_frame, 1), (l1_per_frame, -1)):
            values = [sign * score(frames, ground_truth).mean() for frames in spoiled]
            assert values[0] > values[1] > values[2]
