"""Where something is drawn, and how it is laid over a picture."""

import numpy as np

from posegen.conditions.drawings import drawn, laid_over


def test_whatever_is_not_black_is_drawn():
    random = np.random.default_rng(0)
    pictures = random.integers(0, 3, (4, 30, 20, 3), np.uint8)
    assert np.array_equal(drawn(pictures), pictures.any(axis=-1))
    assert 0.5 < drawn(pictures).mean() < 1


def test_a_quarter_of_the_picture_shines_through():
    frame, drawing = np.full((8, 6, 3), 200, np.uint8), np.zeros((8, 6, 3), np.uint8)
    drawing[2:4, 1:5] = (0, 100, 1)
    result = laid_over(frame, drawing)
    assert (result[2:4, 1:5] == (50, 125, 51)).all()
    assert (result[drawing.max(axis=-1) == 0] == 200).all()
    assert (frame == 200).all(), "the frame stays what it was"
