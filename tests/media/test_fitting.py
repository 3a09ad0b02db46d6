"""Fitting sizes: laws of the arithmetic, and that pixels and points move together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posegen.errors import PosegenError
from posegen.media.fitting import check_size, choose_size, plan_fit

SIDES = st.integers(1, 5000)
SIZES = st.tuples(SIDES, SIDES)
MODES = st.sampled_from(["crop", "pad"])


@given(SIZES, SIZES, MODES)
def test_one_side_meets_the_target_and_the_rest_is_even(source, target, mode):
    fit = plan_fit(source, target, mode)
    inside = [have >= want if mode == "crop" else have <= want for have, want in zip(fit.scaled, target, strict=True)]
    assert all(inside)
    assert any(have == want for have, want in zip(fit.scaled, target, strict=True))
    for offset, have, want in zip(fit.offset, fit.scaled, target, strict=True):
        assert abs((want - have) - 2 * offset) <= 1
    # the shape is kept to within a pixel of rounding
    assert abs(fit.scaled[0] * source[1] / source[0] - fit.scaled[1]) <= 1 + source[1] / source[0]


@given(SIZES, SIZES, MODES, st.lists(st.tuples(st.floats(-10, 5000), st.floats(-10, 5000)), min_size=1, max_size=5))
def test_points_go_there_and_back(source, target, mode, points):
    fit = plan_fit(source, target, mode)
    points = np.array(points)
    np.testing.assert_allclose(fit.invert_points(fit.apply_points(points)), points, atol=1e-6)


@given(SIZES, MODES)
def test_same_size_changes_nothing(size, mode):
    fit = plan_fit(size, size, mode)
    points = np.array([[0.0, 0.0], [3.5, 2.25]])
    assert (fit.scaled, fit.offset) == (size, (0, 0))
    np.testing.assert_allclose(fit.apply_points(points), points, atol=1e-9)
    assert "nothing" in fit.describe()


@pytest.mark.parametrize("mode", ["crop", "pad"])
@pytest.mark.parametrize(
    ("source", "target"), [((300, 200), (96, 64)), ((301, 173), (96, 128)), ((80, 120), (192, 224))]
)
def test_a_dot_lands_where_its_point_does(source, target, mode):
    fit = plan_fit(source, target, mode)
    y, x = source[0] // 2, source[1] // 2 + 3
    image = np.zeros((*source, 3), dtype=np.uint8)
    image[y - 4 : y + 5, x - 4 : x + 5] = 255
    weights = fit.apply(image)[..., 0].astype(float)
    assert weights.shape == target
    rows, columns = np.mgrid[: target[0], : target[1]]
    centre = [(columns * weights).sum() / weights.sum(), (rows * weights).sum() / weights.sum()]
    np.testing.assert_allclose(fit.apply_points(np.array([[x, y]], dtype=np.float64))[0], centre, atol=0.06)


def test_fine_patterns_do_not_alias():
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[::2] = 255
    small = plan_fit((512, 512), (100, 100), "crop").apply(stripes)
    assert 96 <= small.min() <= small.max() <= 160


def test_padding_has_the_given_value():
    image = np.full((64, 64, 3), 200, dtype=np.uint8)
    padded = plan_fit((64, 64), (64, 128), "pad").apply(image, pad_value=7)
    assert (padded[:, :32] == 7).all()
    assert (padded[:, 32:96] == 200).all()
    assert (padded[:, 96:] == 7).all()
    assert padded.flags.c_contiguous


def test_description_says_what_is_lost():
    assert plan_fit((1920, 1080), (832, 480), "crop").describe() == (
        "1920x1080 fitted to 832x480 (crop): scaled by 0.444, 2.5 % of the height cut off"
    )
    assert "2.5 % of the width is padding" in plan_fit((1920, 1080), (832, 480), "pad").describe()


def test_wrong_plans_are_refused():
    with pytest.raises(PosegenError, match="at least 1x1"):
        plan_fit((0, 10), (16, 16), "crop")


@given(
    st.tuples(st.integers(64, 8000), st.integers(64, 8000)),
    st.integers(96 * 64, 1280 * 720),
    st.sampled_from([8, 16, 32]),
)
def test_chosen_sizes_are_valid_and_near(source, area, multiple):
    height, width = choose_size(source, area, multiple)
    check_size((height, width), multiple)
    aspect = source[1] / source[0]
    if 0.5 <= aspect <= 2:  # at extreme shapes one step of the short side is a large change
        assert 0.6 <= height * width / area <= 1.6
        assert 0.6 <= width / height / aspect <= 1.6


def test_exact_size_is_found():
    assert choose_size((1920, 1080), 1280 * 720, 16) == (1280, 720)
    assert choose_size((720, 1280), 720 * 1280, 16) == (720, 1280)
    with pytest.raises(PosegenError, match="an area of at least"):
        choose_size((100, 100), 100, 16)


def test_wrong_sizes_name_the_nearest():
    with pytest.raises(PosegenError, match=r"100x130: .* multiples of 16; the nearest are 96x128 and 112x144"):
        check_size((100, 130), 16)
    with pytest.raises(PosegenError, match="16x16"):
        check_size((0, 5), 16)
    check_size((96, 64), 16)


CORNERS = st.tuples(*[st.floats(-0.4, 2.4)] * 4)


@given(SIZES, SIZES, CORNERS)
def test_a_crop_shows_a_box_that_fits_and_moves_for_nothing_else(source, target, corners):
    middle = plan_fit(source, target, "crop")
    across, down = sorted(corners[:2]), sorted(corners[2:])
    box = tuple(
        float(share * side)
        for share, side in zip((across[0], down[0], across[1], down[1]), source[::-1] * 2, strict=True)
    )
    fit = middle.keeping(box)
    top, left = fit.offset
    for offset, before, scaled, wanted, low, high, side in zip(
        (top, left), middle.offset, fit.scaled, target, box[1::-1], box[:1:-1], source, strict=True
    ):
        assert wanted - scaled <= offset <= 0  # nothing but the picture is shown
        begin, end = (min(max(edge / side, 0), 1) * scaled + offset for edge in (low, high))
        if end - begin <= wanted - 2:
            assert begin >= -1
            assert end <= wanted + 1
        middle_shows = low / side * scaled + before >= 1 and high / side * scaled + before <= wanted - 1
        if middle_shows:
            assert offset == before
    points = np.array([[3.0, 4.0], [0.0, 1.0]])
    assert np.allclose(fit.invert_points(fit.apply_points(points)), points, atol=1e-6)
    padded = plan_fit(source, target, "pad")
    assert padded.keeping(box) == padded


def test_a_moved_crop_shows_what_it_was_moved_to():
    image = np.zeros((100, 300, 3), np.uint8)
    image[40:60, 250:270] = 255
    fit = plan_fit((100, 300), (50, 25), "crop").keeping((250.0, 40.0, 270.0, 60.0))
    shown = fit.apply(image)
    rows, columns = np.nonzero(shown[..., 0] > 200)
    assert (rows.min(), rows.max()) == (20, 29)
    assert columns.max() - columns.min() == 9
    assert plan_fit((100, 300), (50, 25), "crop").apply(image).max() == 0


def test_the_first_of_several_boxes_is_shown_before_the_others():
    """A head above a body that is too tall for the crop: the head stays, then as much of the rest as there is room."""
    fit = plan_fit((400, 100), (100, 100), "crop")
    head, torso, person = (40.0, 20.0, 60.0, 50.0), (30.0, 20.0, 70.0, 110.0), (20.0, 10.0, 80.0, 390.0)
    shown = (-fit.keeping(head, torso, person).offset[0], -fit.keeping(head, torso, person).offset[0] + 100)
    assert shown == (20, 120)  # head and torso whole, and no more above them than is needed
    only = fit.keeping(person)
    assert only.offset[0] == -150  # about its middle
    assert fit.keeping(head, person).offset[0] == -20
    far = (30.0, 250.0, 70.0, 330.0)  # cannot be shown with the head
    assert fit.keeping(head, far).offset[0] == -20
    assert fit.keeping(far, head).offset[0] == -230
    assert fit.keeping() == fit


def test_a_fit_at_another_size_shows_the_same_part():
    fit = plan_fit((400, 100), (100, 100), "crop").keeping((0.0, 0.0, 10.0, 10.0))
    assert fit.at_size((200, 200)).centre == fit.centre
    assert fit.at_size((200, 200)).offset[0] == 2 * fit.offset[0]
