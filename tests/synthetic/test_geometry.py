"""Meshes: clipping and subdivision keep surfaces as they are."""

import numpy as np
import pytest

from posegen.synthetic.geometry import clip, midpoint_subdivision, value_noise, vertex_normals


def sheet(size=5):
    """A flat square of triangles over 0..1, facing up."""
    x, y = np.meshgrid(np.linspace(0, 1, size), np.linspace(0, 1, size), indexing="ij")
    vertices = np.stack([x.reshape(-1), y.reshape(-1), np.zeros(size * size)], 1)
    index = np.arange(size * size).reshape(size, size)
    a, b, c, d = (part.reshape(-1) for part in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    return vertices, np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])


def area(vertices, faces):
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    return np.cross(b - a, c - a)[:, 2].sum() / 2


@pytest.mark.parametrize("cut", [0.1, 0.37, 0.5, 0.93])
def test_clipping_leaves_exactly_the_inside(cut):
    vertices, faces = sheet()
    texture = vertices[faces][..., :2]
    piece = clip(faces, texture, vertices[:, 0] + 0.3 * vertices[:, 1] - cut)
    points = piece.lerp(vertices)
    assert (points[:, 0] + 0.3 * points[:, 1] >= cut - 1e-6).all()
    other = clip(faces, texture, cut - vertices[:, 0] - 0.3 * vertices[:, 1])
    whole = area(points, piece.faces) + area(other.lerp(vertices), other.faces)
    assert whole == pytest.approx(1, abs=1e-6), "winding or area was lost at the cut"
    np.testing.assert_allclose(piece.texture, points[piece.faces][..., :2], atol=1e-6)


def test_clipping_away_everything_leaves_nothing():
    vertices, faces = sheet()
    assert len(clip(faces, vertices[faces][..., :2], np.full(len(vertices), -1.0)).faces) == 0


def test_subdivision_keeps_the_area():
    vertices, faces = sheet()
    split, edges = midpoint_subdivision(faces, len(vertices))
    points = np.concatenate([vertices, vertices[edges].mean(1)])
    assert len(split) == 4 * len(faces)
    assert area(points, split) == pytest.approx(1)


def test_normals_of_a_sheet_point_up():
    vertices, faces = sheet()
    np.testing.assert_allclose(vertex_normals(vertices, faces), np.tile([0, 0, 1.0], (len(vertices), 1)))


def test_noise_is_smooth_and_bounded():
    points = np.random.default_rng(0).random((2000, 3))
    here, near = value_noise(points, 8.0, 3), value_noise(points + 1e-4, 8.0, 3)
    assert np.abs(here).max() <= 1
    assert np.abs(here - near).max() < 0.02
    assert here.std() > 0.2
