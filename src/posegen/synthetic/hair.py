"""Hair: ribbons grown from the scalp, led by a style and by gravity, kept outside the head and shoulders.

They move with the head (long ones partly with the chest); there is no simulation.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree  # type: ignore[import-untyped]

from posegen.synthetic.assets import BODY_VERTICES, load_assets
from posegen.synthetic.body import HAIR, HEAD, HEAD_CENTRE, Body, add_surface, regions
from posegen.synthetic.geometry import Figure, FigureBuilder, value_noise
from posegen.synthetic.identity import Identity


@dataclass(frozen=True)
class Style:
    """Growth of the strands of one style."""

    strands: int
    length: tuple[float, float]
    width: float
    segments: int
    lift: float
    """0: along the flow, 1: straight out of the skin."""
    gravity: float
    flow: str


_STYLES = {
    "cropped": Style(1500, (0.016, 0.028), 0.006, 4, 0.5, 0.22, "side"),
    "short": Style(1400, (0.04, 0.075), 0.008, 5, 0.5, 0.25, "side"),
    "long": Style(1000, (0.34, 0.50), 0.011, 12, 0.45, 0.75, "parted"),
    "bob": Style(1000, (0.20, 0.28), 0.011, 9, 0.45, 0.75, "parted"),
    "bun": Style(1000, (0.07, 0.09), 0.009, 5, 0.0, 0.10, "back"),
    "afro": Style(2200, (0.045, 0.045), 0.010, 5, 1.0, 0.05, "curl"),
}
_HAIRLINE_ANGLE = (0, 0.45, 0.8, 1.1, 1.35, 1.6, 1.95, 2.25, 2.6, 3.15)
_HAIRLINE_HEIGHT = (0.803, 0.803, 0.790, 0.762, 0.735, 0.715, 0.725, 0.675, 0.655, 0.650)
_HAIRLINE_RECEDES = (1, 1, 0.9, 0.5, 0.2, 0, 0, 0, 0, 0)


def above_hairline(points: np.ndarray, front: float) -> np.ndarray:
    """Metres above the hairline of template points (..., 3); `front` raises it above the forehead."""
    x, y = points[..., 0] - HEAD_CENTRE[0], points[..., 1] - HEAD_CENTRE[1]
    heights = np.array(_HAIRLINE_HEIGHT) + np.array(_HAIRLINE_RECEDES) * front
    return points[..., 2] - np.interp(np.abs(np.arctan2(x, -y)), _HAIRLINE_ANGLE, heights)


def add_hair(builder: FigureBuilder, body: Body, identity: Identity) -> None:
    """Add hair of the identity's style; nothing where it is bald."""
    if identity.hairstyle == "bald":
        return
    assets, region = load_assets(), regions()
    template = assets.template
    ragged = 0.005 * value_noise(template, 70.0, identity.seed + 4)[:, None]
    height = np.where(region.ears > 0.35, -1, above_hairline(template + ragged, identity.hairline))
    scalp = (np.arange(len(template)) < BODY_VERTICES) & (region.part == HEAD)
    scalp |= assets.weights[:, assets.bone("neck03")] > 0.2
    height = np.where(scalp & (np.arange(len(template)) < BODY_VERTICES), height, -1)
    thickness = {"afro": 0.05, "bun": 0.008}.get(identity.hairstyle, 0.004)
    mound = thickness * np.clip((height + 0.002) / 0.05, 0, 1) ** 0.7
    shell = 0.002 + mound * (1 + 0.25 * value_noise(template, 38.0, identity.seed + 11))
    add_surface(builder, body, "body", HAIR, height, shell)
    builder.add(_strands(body, identity, height, mound))
    if identity.hairstyle == "bun":
        builder.add(_bun(body, identity))


def _skull(body: Body) -> np.ndarray:
    return body.bone_heads[load_assets().bone("head")] + np.array([0, 0, 0.085], np.float32)


def _strands(body: Body, identity: Identity, height: np.ndarray, mound: np.ndarray) -> Figure:
    assets, region = load_assets(), regions()
    style = _STYLES[identity.hairstyle]
    random = np.random.default_rng([identity.seed, 2])
    faces = assets.faces["body"]
    faces = faces[(height[faces] > 0.001).all(1)]
    a, b, c = (body.vertices[faces[:, corner]] for corner in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    chosen = faces[random.choice(len(faces), style.strands, p=area / area.sum())]
    blend = random.dirichlet([1, 1, 1], style.strands)[..., None]
    roots = (body.vertices[chosen] * blend).sum(1)
    normals = _unit((body.normals[chosen] * blend).sum(1))
    if style.flow == "curl":
        roots = roots + normals * (mound[chosen] * blend[..., 0]).sum(1)[:, None] * 0.7
    length = random.uniform(*style.length) * np.ones(style.strands)
    if identity.hairstyle in ("short", "cropped"):
        length *= np.clip(0.35 + (height[chosen] * blend[..., 0]).sum(1) / 0.03, 0.35, 1)
    obstacle = (np.arange(len(height)) < BODY_VERTICES) & (assets.template[:, 2] > 0.22) & (region.arm < 0.3)
    skin = _Skin(body.vertices[obstacle], body.normals[obstacle], _skull(body))
    path = _grow(roots, normals, skin, style, length, random)
    return _ribbons(path, body, style, random)


@dataclass(frozen=True)
class _Skin:
    """The surface that strands are pushed off: points (V, 3) with normals (V, 3), and the middle of the skull (3,)."""

    points: np.ndarray
    normals: np.ndarray
    skull: np.ndarray


def _grow(
    roots: np.ndarray, normals: np.ndarray, skin: _Skin, style: Style, length: np.ndarray, random: np.random.Generator
) -> np.ndarray:
    """Paths (N, segments + 1, 3): each step follows the last direction, bends to gravity and is pushed off the body."""
    count = len(roots)
    relative = roots - skin.skull
    flow = _flow(style.flow, relative, random)
    back = np.clip((relative[:, 1] - 0.02) / 0.05, 0, 1)[:, None]
    if style.flow != "curl":
        flow = flow * (1 - back) + back * np.array([0, 0.35, -1.0])
    flow = _unit(flow - normals * (flow * normals).sum(1, keepdims=True))
    direction = _unit(normals * style.lift + flow * (1 - style.lift * 0.5) + random.normal(0, 0.12, (count, 3)))
    step = (length * random.uniform(0.75, 1.1, count) / style.segments)[:, None]
    layer = random.uniform(0.003, 0.017, count) * np.clip(length / 0.05, 0.5, 1.1)
    tree = cKDTree(skin.points)
    place = roots + normals * 0.001
    path = [place]
    wander = 0.25 if style.flow == "curl" else 0.045
    for index in range(style.segments):
        pull = style.gravity * (0.6 if index == 0 else 1)
        direction = _unit(direction + np.array([0, 0, -pull]) + random.normal(0, wander, (count, 3)))
        moved = place + direction * step
        _, nearest = tree.query(moved)
        distance = ((moved - skin.points[nearest]) * skin.normals[nearest]).sum(1)
        push = np.clip(np.minimum(layer, (index + 1) * 0.006 + 0.002) - distance, 0, 0.03)
        direction = _unit(moved + skin.normals[nearest] * push[:, None] - place)
        place = place + direction * step
        path.append(place)
    return np.stack(path, 1)


def _flow(kind: str, relative: np.ndarray, random: np.random.Generator) -> np.ndarray:
    count = len(relative)
    parting = random.uniform(-0.03, 0.03)
    side = np.sign(relative[:, 0] - parting + random.normal(0, 0.004, count))
    if kind == "parted":
        return np.stack([side, np.full(count, 0.35), np.full(count, -0.2)], 1)
    if kind == "back":
        return np.stack([relative[:, 0] * 4, np.ones(count), np.full(count, 0.05)], 1)
    if kind == "curl":
        return random.normal(0, 1, (count, 3))
    forward = random.choice([-1.0, -0.25, 0.8])
    return np.stack(
        [
            np.where(relative[:, 0] > parting - 0.02, 1.0, -1.0) * (1.2 - abs(forward)),
            np.full(count, forward),
            np.zeros(count),
        ],
        1,
    )


def _ribbons(path: np.ndarray, body: Body, style: Style, random: np.random.Generator) -> Figure:
    """Ribbons along paths, those that would hang before the face left out."""
    centre = _skull(body)
    strands, points, _ = path.shape
    outwards = path - centre
    across = _unit(np.cross(np.gradient(path, axis=1), outwards))
    profile = np.interp(np.linspace(0, 1, points), [0, 0.2, 0.75, 1], [0.6, 1, 0.85, 0.12])
    half = across * (profile[None, :, None] * style.width * random.uniform(0.3, 0.65, (strands, 1, 1)))
    vertices = np.stack([path - half, path + half], 2)  # (strand, point, side, 3)
    local = vertices - centre + HEAD_CENTRE
    before_face = (np.abs(local[..., 0]) < 0.058) & (local[..., 1] < -0.075) & (local[..., 2] > 0.55)
    before_face &= local[..., 2] < 0.778 + 0.2 * np.abs(local[..., 0])
    index = np.arange(strands * points * 2).reshape(strands, points, 2)[~before_face.any((1, 2))]
    a, b, c, d = index[:, :-1, 0], index[:, :-1, 1], index[:, 1:, 0], index[:, 1:, 1]
    faces = np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in ((a, b, c), (b, d, c))])
    along = np.broadcast_to(np.linspace(0, 1, points)[None, :, None], (strands, points, 2))
    which = np.broadcast_to((np.arange(strands) / strands)[:, None, None], (strands, points, 2))
    return _hair_figure(body, vertices.reshape(-1, 3), faces, np.stack([along.reshape(-1), which.reshape(-1)], 1))


def _hair_figure(body: Body, vertices: np.ndarray, faces: np.ndarray, cloth: np.ndarray) -> Figure:
    """Let hair move with the head; below the chin increasingly with the chest."""
    assets = load_assets()
    neck = body.bone_heads[assets.bone("neck01")][2]
    share = np.clip((vertices[:, 2] - (neck - 0.03)) / 0.09, 0, 1)
    share = share * share * (3 - 2 * share)
    weights = np.zeros((len(vertices), len(assets.bones)), np.float32)
    weights[:, assets.bone("head")] = share
    weights[:, assets.bone("spine01")] = 1 - share
    return Figure(
        vertices=vertices,
        weights=weights,
        canonical=vertices - _skull(body) + HEAD_CENTRE,
        cloth=cloth,
        part=np.zeros(len(vertices), np.int32),
        faces=faces.astype(np.int32),
        texture=np.zeros((len(faces), 3, 2), np.float32),
        material=np.full(len(faces), HAIR, np.int32),
    )


def _bun(body: Body, identity: Identity) -> Figure:
    rows, columns = 10, 16
    polar, around = np.meshgrid(np.linspace(0, np.pi, rows), np.linspace(0, 2 * np.pi, columns + 1), indexing="ij")
    ball = np.stack([np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)], -1).reshape(-1, 3)
    lumps = 1 + 0.06 * value_noise(ball, 4.0, identity.seed)
    vertices = ball * np.array([0.042, 0.036, 0.042]) * lumps[:, None] + _skull(body) + np.array([0, 0.105, 0.035])
    index = np.arange(len(ball)).reshape(rows, columns + 1)
    a, b, c, d = index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]
    faces = np.concatenate([np.stack(f, -1).reshape(-1, 3) for f in ((a, c, b), (b, c, d))])
    cloth = np.stack([np.full(len(ball), 0.5), ball[:, 2]], 1)
    return _hair_figure(body, vertices.astype(np.float32), faces, cloth)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / (np.linalg.norm(vectors, axis=-1, keepdims=True) + 1e-9)
