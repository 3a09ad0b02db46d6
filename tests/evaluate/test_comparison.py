"""Results beside the truth: perfect ones are told from still ones; masks survive being kept."""

import numpy as np
import pytest

from posegen.errors import PosegenError
from posegen.evaluate.comparison import compare, load_person, save_person

SHAPE = (12, 16, 20)


@pytest.fixture
def ground_truth():
    return np.random.default_rng(0).integers(0, 256, (*SHAPE, 3), np.uint8)


def test_the_truth_is_perfect_and_the_reference_repeated_moves_by_chance(ground_truth):
    person = np.zeros(SHAPE, bool)
    person[:, 4:9, 5:12] = True
    perfect = compare(ground_truth, ground_truth, person, ground_truth[3])
    assert (perfect.frame, perfect.person, perfect.motion) == (np.inf, np.inf, 1)
    still = compare(np.broadcast_to(ground_truth[3], ground_truth.shape), ground_truth, person, ground_truth[3])
    assert (still.frame, still.person) == (still.still_frame, still.still_person)
    assert still.frame == perfect.still_frame
    assert still.motion == still.motion_chance == 3 / 12


def test_where_the_person_is_can_be_kept(tmp_path):
    masks = np.random.default_rng(0).random((5, 7, 9)) > 0.5
    save_person(tmp_path, masks)
    assert np.array_equal(load_person(tmp_path), masks)
    with pytest.raises(PosegenError, match=r"person\.npz"):
        load_person(tmp_path / "nowhere")
