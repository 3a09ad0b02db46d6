"""A person's body at rest: vertices and bones from phenotype and changes, and the parts of the template.

Clothes, hair and movement are in other files.
"""

import functools
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from posegen.synthetic.assets import BODY_VERTICES, TEXTURE_SIZE, Assets, load_assets
from posegen.synthetic.geometry import Figure, FigureBuilder, clip, vertex_normals
from posegen.synthetic.identity import Identity

SKIN, EYE, SHIRT, PANTS, SHOE, HAIR, LASH, TEETH, TONGUE, SKIRT = range(10)
"""Materials, as the renderer's kernels number them."""

HEAD_CENTRE = np.array([0, -0.035, 0.745], np.float32)
"""Middle of the skull on the template."""
LEFT_HAND, RIGHT_HAND, HEAD = 1, 2, 3


@dataclass(frozen=True)
class Body:
    """One person's rest pose, in the template's axes (metres)."""

    vertices: np.ndarray
    """(V, 3)"""
    normals: np.ndarray
    """(V, 3), of skin and helpers together."""
    bone_heads: np.ndarray
    """(J, 3)"""


@dataclass(frozen=True)
class Regions:
    """Per-vertex facts of the template that clothes and hair are cut by."""

    arm: np.ndarray
    """(V,) share of the skinning weight that arm and hand bones have."""
    leg: np.ndarray
    along_arm: np.ndarray
    """(V,) 0 at the shoulder, 1 at the elbow, 2 at the wrist; outside the arm beyond these."""
    along_leg: np.ndarray
    """(V,) 0 at the hip, 1 at the knee, 2 at the ankle."""
    part: np.ndarray
    """(V,) `LEFT_HAND`, `RIGHT_HAND`, `HEAD` or 0."""
    ears: np.ndarray
    """(V,) 0..1"""
    cloth: np.ndarray
    """(V, 2) metres along and around the torso and arms, for patterns."""
    leg_cloth: np.ndarray
    """(V, 2) the same for trousers: around each leg instead."""


def _bone_weight(assets: Assets, prefixes: tuple[str, ...], sides: str) -> np.ndarray:
    chosen = [name.startswith(prefixes) and name[-1] in sides and "." in name for name in assets.bones]
    return assets.weights[:, chosen].sum(1)


def _along(points: np.ndarray, joints: np.ndarray) -> np.ndarray:
    """Place along a chain of joints (K, 3): the segment's number plus the share of it; open at both ends."""
    nearest = np.full(len(points), np.inf)
    result = np.zeros(len(points))
    for segment, (start, stop) in enumerate(pairwise(joints)):
        direction = stop - start
        share = (points - start) @ direction / (direction @ direction)
        low = 0 if segment else -9
        high = 1 if segment < len(joints) - 2 else 9
        share = np.clip(share, low, high)
        distance = np.linalg.norm(points - start - np.clip(share, 0, 1)[:, None] * direction, axis=1)
        closer = distance < nearest
        nearest[closer], result[closer] = distance[closer], segment + share[closer]
    return result


@functools.cache
def regions() -> Regions:
    """The template's regions."""
    assets = load_assets()
    template, heads = assets.template, assets.bone_heads
    arm = _bone_weight(assets, ("upperarm", "lowerarm", "wrist", "finger", "metacarpal"), "LR")
    leg = _bone_weight(assets, ("upperleg", "lowerleg", "foot", "toe"), "LR")
    mirrored = np.abs(template) * [1, 0, 0] + template * [0, 1, 1]
    joints = {
        name: heads[assets.bone(f"{name}.L")]
        for name in ("upperarm01", "lowerarm01", "wrist", "upperleg01", "lowerleg01", "foot")
    }
    along_arm = _along(mirrored, np.array([joints["upperarm01"], joints["lowerarm01"], joints["wrist"]]))
    along_leg = _along(mirrored, np.array([joints["upperleg01"], joints["lowerleg01"], joints["foot"]]))
    part = np.zeros(len(template), np.int32)
    hand = ("wrist", "finger", "metacarpal")
    part[_bone_weight(assets, hand, "L") > 0.5] = LEFT_HAND
    part[_bone_weight(assets, hand, "R") > 0.5] = RIGHT_HAND
    head = [name in ("head", "eye.L", "eye.R") for name in assets.bones]
    part[assets.weights[:, head].sum(1) > 0.5] = HEAD
    around = np.arctan2(template[:, 0], -template[:, 1] - 0.02) * 0.14
    cloth = np.stack([template[:, 2], around], 1)
    chain = np.array([joints["foot"], joints["lowerleg01"], joints["upperleg01"]])
    axis = [np.interp(template[:, 2], chain[:, 2], chain[:, column]) for column in (0, 1)]
    around_leg = np.arctan2(mirrored[:, 0] - axis[0], axis[1] - template[:, 1]) * 0.085
    leg_cloth = np.stack([template[:, 2], np.where(leg > 0.5, around_leg, around)], 1).astype(np.float32)
    on_arm = arm > 0.5
    cloth[on_arm, 0] = 0.45 - along_arm[on_arm] * 0.28
    cloth[on_arm, 1] = ((mirrored - joints["upperarm01"]) @ np.array([0.55, 0.6, 0.55]))[on_arm]
    return Regions(arm, leg, along_arm, along_leg, part, _ears(assets), cloth.astype(np.float32), leg_cloth)


def _ears(assets: Assets) -> np.ndarray:
    coordinates = np.zeros((len(assets.template), 2), np.float32)
    corners = assets.texture_faces["body"].reshape(-1)
    coordinates[assets.faces["body"].reshape(-1)] = assets.texture_coordinates[corners]
    column = np.clip((coordinates[:, 0] * TEXTURE_SIZE).astype(int), 0, TEXTURE_SIZE - 1)
    row = np.clip(((1 - coordinates[:, 1]) * TEXTURE_SIZE).astype(int), 0, TEXTURE_SIZE - 1)
    ears = assets.texture_masks["ears"][row, column]
    ears[BODY_VERTICES:] = 0
    return ears


def rest_body(identity: Identity) -> Body:
    """The body of an identity."""
    import anny
    import torch
    from anny.models.model_data import PHENOTYPE_LABELS
    from anny.models.phenotype import make_phenotype_anchors, phenotype_blendshape_weights

    assets = load_assets()
    assert anny.__version__
    with torch.no_grad():
        weights = phenotype_blendshape_weights(
            torch.tensor([[identity.phenotype[label] for label in PHENOTYPE_LABELS]], dtype=torch.float32),
            PHENOTYPE_LABELS,
            make_phenotype_anchors(torch.float32),
            torch.from_numpy(assets.phenotype_mask),
            extrapolate=False,
        ).numpy()
    changes = np.stack([np.maximum(identity.changes, 0), np.maximum(-identity.changes, 0)], 1).reshape(-1)
    coefficients = np.concatenate([(weights @ assets.phenotype_projection)[0], changes]).astype(np.float32)
    vertices = assets.template.copy()
    for coefficient, shape in zip(coefficients, assets.shapes, strict=True):
        if abs(coefficient) > 1e-6:
            vertices += coefficient * shape
    heads = assets.bone_heads + np.einsum("k,kjc->jc", coefficients, assets.head_shapes)
    surface = np.concatenate(list(assets.faces.values()))
    return Body(vertices, vertex_normals(vertices, surface).astype(np.float32), heads.astype(np.float32))


def add_surface(
    builder: FigureBuilder,
    body: Body,
    group: str,
    material: int,
    inside: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> None:
    """Add one group of the template's faces, clipped to `inside` (V,) > 0 and moved out by `offset` (V,) metres."""
    piece = surface_piece(body, group, material, inside, offset)
    if len(piece.faces):
        builder.add(piece)


def surface_piece(
    body: Body, group: str, material: int, inside: np.ndarray | None = None, offset: np.ndarray | None = None
) -> Figure:
    """As `add_surface`, but returned."""
    assets, region = load_assets(), regions()
    faces, texture = assets.faces[group], assets.texture_coordinates[assets.texture_faces[group]]
    piece = clip(faces, texture, np.ones(len(assets.template)) if inside is None else inside)
    vertices = body.vertices if offset is None else body.vertices + body.normals * offset[:, None]
    return Figure(
        vertices=piece.lerp(vertices),
        weights=piece.lerp(assets.weights),
        canonical=piece.lerp(assets.template),
        cloth=piece.lerp(region.leg_cloth if material == PANTS else region.cloth),
        part=region.part[piece.first],
        faces=piece.faces,
        texture=piece.texture,
        material=np.full(len(piece.faces), material, np.int32),
    )


def facial_actions(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of a figure near the face (N,) and how every action moves them (A, N, 3).

    Canonical places identify them: a figure's vertex moves as the nearest template vertex of the head does.
    """
    from scipy.spatial import cKDTree  # type: ignore[import-untyped]

    assets = load_assets()
    moving = np.abs(figure.canonical[:, 2] - 0.7) < 0.16
    materials = np.zeros(len(figure.vertices), bool)
    fleshy = np.isin(figure.material, (SKIN, EYE, LASH, TEETH, TONGUE))
    materials[figure.faces[fleshy].reshape(-1)] = True
    chosen = np.nonzero(moving & materials)[0]
    _, nearest = cKDTree(assets.template).query(figure.canonical[chosen])
    return chosen, assets.actions[:, nearest].astype(np.float32)
