"""Triangle meshes as arrays: normals, subdivision, clipping by a scalar field, noise. Knows nothing of people."""

from dataclasses import dataclass, field

import numpy as np


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals (V, 3), weighted by area; zero where a vertex has no face."""
    a, b, c = (vertices[faces[:, corner]] for corner in range(3))
    face_normals = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for corner in range(3):
        for axis in range(3):
            normals[:, axis] += np.bincount(faces[:, corner], face_normals[:, axis], len(vertices))
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)


def edges_of(faces: np.ndarray) -> np.ndarray:
    """Edges (3 N, 2) with the smaller index first, in the order ab of every face, then bc, then ca."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    return np.sort(edges, axis=1)


def midpoint_subdivision(faces: np.ndarray, vertices: int) -> tuple[np.ndarray, np.ndarray]:
    """Four faces for each one, and the edges (E, 2) whose midpoints are the new vertices, from `vertices` on."""
    edges, inverse = np.unique(edges_of(faces), axis=0, return_inverse=True)
    middle = inverse.reshape(3, -1) + vertices
    ab, bc, ca = middle
    a, b, c = faces.T
    split = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    return np.concatenate([np.stack(face, axis=1) for face in split]).astype(np.int32), edges


def boundary_vertices(faces: np.ndarray, vertices: int) -> np.ndarray:
    """(V,) bool: vertices on an edge that has one face only."""
    edges, count = np.unique(edges_of(faces), axis=0, return_counts=True)
    boundary = np.zeros(vertices, bool)
    boundary[edges[count == 1].reshape(-1)] = True
    return boundary


def smoothed(values: np.ndarray, faces: np.ndarray, steps: int, amount: float, fixed: np.ndarray) -> np.ndarray:
    """Laplacian smoothing of per-vertex values (V, C); `fixed` vertices (V,) stay."""
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    starts, stops = np.concatenate([edges, edges[:, ::-1]]).T
    count = np.maximum(np.bincount(starts, minlength=len(values)), 1)
    for _ in range(steps):
        mean = np.stack([np.bincount(starts, column[stops], len(values)) for column in values.T], axis=1)
        moved = values * (1 - amount) + mean / count[:, None] * amount
        values = np.where(fixed[:, None], values, moved)
    return values


def value_noise(points: np.ndarray, scale: float, seed: int) -> np.ndarray:
    """Smooth noise in -1..1 at points (..., 3), one lattice cell per 1/scale metres."""
    random = np.random.default_rng(seed)
    table, order = random.random(256, dtype=np.float32) * 2 - 1, random.permutation(256)
    scaled = points * scale
    cell = np.floor(scaled).astype(np.int64)
    fraction = (scaled - cell).astype(np.float32)
    fraction = fraction * fraction * (3 - 2 * fraction)
    total = np.zeros(points.shape[:-1], np.float32)
    for corner in np.ndindex(2, 2, 2):
        x, y, z = (cell[..., axis] + corner[axis] for axis in range(3))
        weight = np.ones(points.shape[:-1], np.float32)
        for axis in range(3):
            weight = weight * (fraction[..., axis] if corner[axis] else 1 - fraction[..., axis])
        total += table[order[(x + order[(y + order[z & 255]) & 255]) & 255]] * weight
    return total


@dataclass
class Piece:
    """Some faces of the template, clipped: new vertices lie between template vertices `first` and `second`."""

    first: np.ndarray
    second: np.ndarray
    blend: np.ndarray
    """0 at `first`, 1 at `second`."""
    faces: np.ndarray
    texture: np.ndarray
    """(N, 3, 2) texture coordinates of every face's corners."""

    def lerp(self, values: np.ndarray) -> np.ndarray:
        """Values per template vertex (V, ...) -> values per vertex of the piece."""
        blend = self.blend.reshape(-1, *[1] * (values.ndim - 1)).astype(np.float32)
        return values[self.first] * (1 - blend) + values[self.second] * blend


def clip(faces: np.ndarray, texture: np.ndarray, inside: np.ndarray) -> Piece:
    """The part of a surface where the scalar field `inside` (V,), linear on every face, is positive."""
    sign = inside[faces] > 0
    count = sign.sum(1)
    whole, whole_texture = faces[count == 3], texture[count == 3]
    parts, part_textures = [whole[..., None].repeat(2, -1)], [whole_texture]
    for wanted in (1, 2):
        chosen = count == wanted
        alone = sign[chosen] if wanted == 1 else ~sign[chosen]
        turn = (np.argmax(alone, 1)[:, None] + np.arange(3)) % 3  # the corner that differs comes first; winding is kept
        a, b, c = np.take_along_axis(faces[chosen], turn, 1).T
        ta, tb, tc = np.take_along_axis(texture[chosen], turn[..., None], 1).transpose(1, 0, 2)

        def cut(i: np.ndarray, j: np.ndarray) -> np.ndarray:
            return (inside[i] / np.where(inside[i] == inside[j], 1, inside[i] - inside[j]))[:, None]

        tab, tac = ta + (tb - ta) * cut(a, b), ta + (tc - ta) * cut(a, c)
        ab, ac, aa, bb, cc = (np.sort(np.stack(pair, 1), 1) for pair in ((a, b), (a, c), (a, a), (b, b), (c, c)))
        if wanted == 1:
            parts.append(np.stack([aa, ab, ac], 1))
            part_textures.append(np.stack([ta, tab, tac], 1))
        else:
            parts += [np.stack([ab, bb, cc], 1), np.stack([ab, cc, ac], 1)]
            part_textures += [np.stack([tab, tb, tc], 1), np.stack([tab, tc, tac], 1)]
    pairs, new_faces = np.unique(np.concatenate(parts).reshape(-1, 2), axis=0, return_inverse=True)
    first, second = pairs.T
    difference = inside[first] - inside[second]
    blend = np.where(first == second, 0, inside[first] / np.where(difference == 0, 1, difference))
    return Piece(
        first,
        second,
        blend.astype(np.float32),
        new_faces.reshape(-1, 3).astype(np.int32),
        np.concatenate(part_textures),
    )


@dataclass
class Figure:
    """A person as one mesh: everything that the renderer needs per vertex and per face, in the rest pose."""

    vertices: np.ndarray
    weights: np.ndarray
    """(V, J)"""
    canonical: np.ndarray
    """(V, 3) the place on the template: where patterns and skin are looked up."""
    cloth: np.ndarray
    """(V, 2) coordinates along and around a garment, or along and across a strand of hair."""
    part: np.ndarray
    """(V,) 1 left hand, 2 right hand, 3 head, else 0."""
    faces: np.ndarray
    texture: np.ndarray
    """(N, 3, 2)"""
    material: np.ndarray
    """(N,)"""


@dataclass
class FigureBuilder:
    """Collects pieces into one `Figure`."""

    pieces: list[Figure] = field(default_factory=list)

    def add(self, figure: Figure) -> None:
        """Add a piece whose faces count from zero."""
        self.pieces.append(figure)

    def build(self) -> Figure:
        """All pieces as one."""
        starts = np.cumsum([0] + [len(piece.vertices) for piece in self.pieces[:-1]])
        faces = np.concatenate([piece.faces + start for piece, start in zip(self.pieces, starts, strict=True)])

        def joined(name: str, dtype: type) -> np.ndarray:
            return np.concatenate([getattr(piece, name) for piece in self.pieces]).astype(dtype)

        return Figure(
            vertices=joined("vertices", np.float32),
            weights=joined("weights", np.float32),
            canonical=joined("canonical", np.float32),
            cloth=joined("cloth", np.float32),
            part=joined("part", np.int32),
            faces=faces.astype(np.int32),
            texture=joined("texture", np.float32),
            material=joined("material", np.int32),
        )
