"""Clothes: MakeHuman's helper tights and skirt, cut by scalar fields on the template, loosened and folded.

Only the shape, and the skin hidden by it, are made here; the renderer adds colours and patterns.
"""

from dataclasses import dataclass

import numpy as np

from posegen.synthetic.assets import load_assets
from posegen.synthetic.body import PANTS, SHIRT, SHOE, SKIRT, Body, regions, surface_piece
from posegen.synthetic.geometry import (
    Figure,
    FigureBuilder,
    boundary_vertices,
    midpoint_subdivision,
    smoothed,
    value_noise,
    vertex_normals,
)
from posegen.synthetic.identity import Identity

_SLEEVES = {"T-shirt": 0.62, "long-sleeved top": 1.93, "tank top": -0.2, "V-neck top": 0.7, "turtleneck sweater": 1.95}
_HEMS = {"T-shirt": 0.0, "long-sleeved top": -0.02, "tank top": 0.0, "V-neck top": 0.01, "turtleneck sweater": -0.01}
_LEGS = {"jeans": 1.93, "trousers": 1.95, "shorts": 0.85, "leggings": 1.9, "skirt": 0.18, "mini skirt": 0.18}


@dataclass(frozen=True)
class GarmentCut:
    """Regions of the garments: scalar fields (V,) over the template, positive inside, roughly metres."""

    shirt: np.ndarray
    pants: np.ndarray
    shoes: np.ndarray
    skirt: np.ndarray | None

    @property
    def covered(self) -> np.ndarray:
        """Skin that no one can see, with a margin under every edge."""
        return np.maximum.reduce([self.shirt - 0.012, self.pants - 0.012, self.shoes - 0.006])


def cut_clothes(identity: Identity) -> GarmentCut:
    """The fields of an identity's clothes."""
    assets, region = load_assets(), regions()
    x, _, z = assets.template.T
    top, bottom = identity.top.kind, identity.bottom.kind
    torso = np.where(region.arm > 0.4, 1.0, z - _HEMS[top])
    sleeve = np.where((region.arm > 0.4) & (np.abs(x) > 0.15), (_SLEEVES[top] - region.along_arm) * 0.28, 1.0)
    shirt = np.minimum(np.minimum(_neckline(top), sleeve), torso)
    waist = 0.075 if identity.subject == "woman" else 0.06
    skirted = bottom in ("skirt", "mini skirt") or identity.dress
    leg_length = 0.18 if skirted else _LEGS[bottom]
    trouser_leg = np.where(region.leg > 0.3, (leg_length - region.along_leg) * 0.40, 1.0)
    pants = np.minimum(np.where(region.arm > 0.4, -1.0, waist - z), trouser_leg)
    # trousers poke through a hem unless they end a little above it, under the shirt
    pants = np.minimum(pants, 0.05 - shirt)
    shoes = np.where(region.leg > 0.5, identity.shoe_height - z, -1.0)
    skirt = None
    if skirted:
        length = -0.28 if bottom == "mini skirt" else -0.40 - 0.2 * ((identity.seed % 97) / 97)
        skirt = np.minimum(waist + 0.02 - z, z - length)
    return GarmentCut(shirt, pants, shoes, skirt)


def _neckline(top: str) -> np.ndarray:
    assets, region = load_assets(), regions()
    x, y, z = assets.template.T
    if top == "turtleneck sweater":
        return 0.600 - z + 0.1 * (y + 0.02)
    radius = {"tank top": 0.090, "V-neck top": 0.080}.get(top, 0.074)
    distance = np.sqrt(x**2 + ((y + 0.012) * 0.95) ** 2)
    lowest = 0.46 + 0.075 * np.clip((y + 0.04) / 0.06, 0, 1)
    neck = np.where(z > lowest, np.maximum(distance - radius, lowest - z), 1.0)
    neck = np.where(
        assets.weights[:, [assets.bone(name) for name in ("head", "neck02", "neck03")]].sum(1) > 0.25, -0.02, neck
    )
    if top == "V-neck top":
        front = (y < -0.03) & (z > 0.40) & (region.arm < 0.3)
        neck = np.minimum(neck, np.where(front, (np.abs(x) - 0.62 * (z - 0.43)) * 0.8, 1.0))
    if top == "tank top":
        neck = np.minimum(neck, np.where(z > 0.36, 0.125 - np.abs(x), 1.0))
    return neck


def add_clothes(builder: FigureBuilder, body: Body, identity: Identity, cut: GarmentCut, detailed: bool) -> None:
    """Add the garments; `detailed` splits their faces once more for large pictures."""
    assets, region = load_assets(), regions()
    seed, template = identity.seed, assets.template
    wrinkles = value_noise(template * [1, 1, 1.7], 16.0, seed) * 0.004 + value_noise(template, 34.0, seed + 1) * 0.0015
    tight = identity.bottom.kind == "leggings"
    shirt_offset = 0.006 + identity.looseness + wrinkles * 1.2
    hem = _HEMS[identity.top.kind]
    shirt_offset += np.clip(hem + 0.14 - template[:, 2], 0, 0.14) * 0.13 * (region.arm < 0.4)
    pants_offset = 0.002 + (0 if tight else 0.006) + wrinkles * (0.2 if tight else 1)
    if identity.bottom.kind == "trousers":
        pants_offset = pants_offset + np.clip(region.along_leg - 0.4, 0, 1.5) * 0.012 * (region.leg > 0.3)
    shoe_offset = 0.009 + 0.006 * (template[:, 2] > -0.80)
    garments = [
        ("tights", SHIRT, cut.shirt, shirt_offset, 1.0),
        ("tights", PANTS, cut.pants, pants_offset, 0.3 if tight else 1.0),
        ("tights", SHOE, cut.shoes, shoe_offset, 0.0),
    ]
    if cut.skirt is not None:
        garments.append(("skirt", SKIRT, cut.skirt, 0.004 + wrinkles * 0.5, 1.0))
    for group, material, inside, offset, folds in garments:
        piece = surface_piece(body, group, material, inside, offset)
        if len(piece.faces):
            builder.add(_folded(piece, identity, folds, detailed) if folds else piece)


def _folded(piece: Figure, identity: Identity, amount: float, detailed: bool) -> Figure:
    """Smooth a garment and push folds into it; its edges stay where they were cut."""
    if detailed:
        piece = _split(piece)
    edge = boundary_vertices(piece.faces, len(piece.vertices))
    vertices = smoothed(piece.vertices, piece.faces, 2, 0.5, edge)
    normals = vertex_normals(vertices, piece.faces)
    folds = value_noise(piece.canonical * [1, 1, 2.2], 20.0, identity.seed + 21)
    folds = folds + 0.6 * value_noise(piece.canonical * [1, 1, 1.6], 42.0, identity.seed + 22)
    waist = np.exp(-(((piece.canonical[:, 2] - 0.07) / 0.05) ** 2))
    depth = 0.22 * identity.looseness * (1 + 1.5 * waist) * amount * np.where(edge, 0.3, 1)
    piece.vertices = (vertices + normals * ((np.abs(folds) * 2 - 0.8) * depth)[:, None]).astype(np.float32)
    return piece


def _split(piece: Figure) -> Figure:
    faces, edges = midpoint_subdivision(piece.faces, len(piece.vertices))

    def extended(values: np.ndarray) -> np.ndarray:
        return np.concatenate([values, values[edges].mean(1)])

    return Figure(
        vertices=extended(piece.vertices),
        weights=extended(piece.weights),
        canonical=extended(piece.canonical),
        cloth=extended(piece.cloth),
        part=np.concatenate([piece.part, piece.part[edges[:, 0]]]),
        faces=faces,
        texture=np.zeros((len(faces), 3, 2), np.float32),
        material=np.full(len(faces), piece.material[0], np.int32),
    )
