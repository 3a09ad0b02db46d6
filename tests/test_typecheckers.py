"""Types, shapes, and axes of one name are checked in functions of the package, with and without shapes."""

from typing import Literal

import numpy as np
import pytest
from jaxtyping import Float, UInt8

import typecheckers


def checked(function):
    from beartype import beartype

    return typecheckers._checked(typechecker=beartype)(function)


@checked
def add(left: Float[np.ndarray, "rows columns"], right: Float[np.ndarray, "rows columns"]) -> Float[np.ndarray, "rows"]:
    return (left + right).sum(axis=1 if left.shape[1] > 1 else 0)


@checked
def name(kind: Literal["a", "b"], pictures: list[UInt8[np.ndarray, "h w 3"]] | None = None) -> str:
    return kind if pictures is None else 5


@checked
def plain(count: int) -> str:
    return str(count) if count else 0


def test_axes_of_one_name_have_one_length():
    assert add(np.ones((2, 3)), np.ones((2, 3))).shape == (2,)
    with pytest.raises(TypeError, match="right"):
        add(np.ones((2, 3)), np.ones((3, 2)))
    with pytest.raises(TypeError, match="return"):  # one row is summed over the other axis
        add(np.ones((2, 1)), np.ones((2, 1)))
    with pytest.raises(TypeError, match="left"):
        add(np.ones((2, 3), int), np.ones((2, 3)))


def test_arguments_and_results_without_shapes_are_checked():
    assert (plain(1), name("a")) == ("1", "a")
    for wrong in (lambda: plain("1"), lambda: plain(0), lambda: name("c"), lambda: name("a", [])):
        with pytest.raises(TypeError):
            wrong()


def test_the_package_is_checked():
    from posegen.config import GenerateConfig
    from posegen.media.image import animated_gif

    with pytest.raises(TypeError):
        animated_gif(np.zeros((1, 2, 3, 4), np.uint8), 8)
    with pytest.raises(TypeError):
        GenerateConfig(reference=5)
