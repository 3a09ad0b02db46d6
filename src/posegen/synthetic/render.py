"""Draws one person in one scene, frame after frame, with every modality. Buffers are reused: memory does not grow.

Person, movement and scene are given; the use of the pictures is not known here.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import warp as wp

from posegen.synthetic import kernels
from posegen.synthetic.assets import load_assets
from posegen.synthetic.backdrop import paint_backdrop
from posegen.synthetic.body import (
    EYE,
    HAIR,
    HEAD_CENTRE,
    LASH,
    PANTS,
    SHIRT,
    SHOE,
    SKIRT,
    TEETH,
    TONGUE,
    facial_actions,
)
from posegen.synthetic.geometry import Figure, edges_of
from posegen.synthetic.identity import Identity
from posegen.synthetic.kernels import DEVICE, Array
from posegen.synthetic.scene import Background, Camera, Lights

SUPERSAMPLING = 2
_SHADOW_SIZE = 512
_SKY_SIZE = 128
_SKY_DIRECTIONS = ((0.05, 0.05, 1.0), (0.85, 0, 0.6), (-0.42, 0.74, 0.6), (-0.42, -0.74, 0.6))
_INFLUENCES = 8


@dataclass(frozen=True)
class Picture:
    """One frame: H x W arrays."""

    rgb: np.ndarray
    """(H, W, 3) uint8"""
    normals: np.ndarray
    """(H, W, 3) float32, unit, in camera space: x right, y up, z towards the camera; zero where nothing is (sky)."""
    depth: np.ndarray
    """(H, W) metres to the nearest part of the person; a million where there is none."""
    coverage: np.ndarray
    """(H, W, 4) float32 in 0..1: person, left hand, right hand, face."""


class Renderer:
    """Draws a figure with the looks of an identity."""

    def __init__(self, figure: Figure, identity: Identity, texture: Array):
        """Upload everything that does not move. `texture` is `skin.bake_skin`'s."""
        self._identity = identity
        self._figure = figure
        order = np.argsort(-figure.weights, 1, kind="stable")[:, :_INFLUENCES].astype(np.int32)
        weights = np.take_along_axis(figure.weights, order, 1)
        weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
        self._rest = _upload(figure.vertices, wp.vec3)
        self._bones, self._weights = _upload(order, int), _upload(weights, float)
        self._faces, self._texture_at = _upload(figure.faces, int), _upload(figure.texture, wp.vec2)
        self._material, self._canonical = _upload(figure.material, int), _upload(figure.canonical, wp.vec3)
        self._cloth, self._part = _upload(figure.cloth, wp.vec2), _upload(figure.part, int)
        small = np.isin(figure.material, (LASH, TEETH, TONGUE, EYE))
        self._shadow_faces = _upload(figure.faces[~small], int)
        self._sky_faces = _upload(figure.faces[~small & (figure.material != HAIR)], int)
        self._face_vertices, self._actions = facial_actions(figure)
        count = len(figure.vertices)
        self._posed, self._normals, self._projected = (wp.zeros(count, dtype=wp.vec3, device=DEVICE) for _ in range(3))
        self._texture, self._palette = texture, _upload(_palette(identity), wp.vec3)
        self._shadow = wp.zeros((_SHADOW_SIZE, _SHADOW_SIZE), dtype=float, device=DEVICE)
        self._sky = wp.zeros((len(_SKY_DIRECTIONS), _SKY_SIZE, _SKY_SIZE), dtype=float, device=DEVICE)
        self._no_faces = wp.zeros((1, 1), dtype=int, device=DEVICE)
        self._sky_axes = [_axes(np.array(direction)) for direction in _SKY_DIRECTIONS]
        self._sky_axes_array = _upload(np.array(self._sky_axes), wp.vec3)
        self._free = self._openness()

    def _openness(self) -> Array:
        """Baked ambient light of the rest pose, smoothed over the surface."""
        self._posed.assign(self._figure.vertices)
        self._update_normals()
        mesh = wp.Mesh(points=self._posed, indices=_upload(self._figure.faces.reshape(-1), int))
        count = len(self._figure.vertices)
        result = wp.zeros(count, dtype=float, device=DEVICE)
        wp.launch(kernels.openness, dim=count, inputs=[mesh.id, self._posed, self._normals, 8, result], device=DEVICE)
        values = result.numpy().copy()
        starts, stops = edges_of(self._figure.faces).T
        degree = np.maximum(np.bincount(starts, minlength=count) + np.bincount(stops, minlength=count), 1)
        for _ in range(4):
            total = np.bincount(starts, values[stops], count) + np.bincount(stops, values[starts], count)
            values = 0.4 * values + 0.6 * total / degree
        return _upload(np.clip(0.30 + 0.78 * values, 0, 1), float)

    def _update_normals(self) -> None:
        self._normals.zero_()
        inputs = [self._posed, self._faces, self._normals]
        wp.launch(kernels.add_face_normals, dim=self._faces.shape[0], inputs=inputs, device=DEVICE)

    def pose(self, transforms: np.ndarray, actions: np.ndarray) -> None:
        """Move the figure: skinning transforms (J, 3, 4) and facial actions (A,)."""
        rest = self._figure.vertices
        active = np.nonzero(np.abs(actions) > 1e-3)[0]
        if len(active):
            rest = rest.copy()
            rest[self._face_vertices] += np.tensordot(actions[active].astype(np.float32), self._actions[active], 1)
        self._rest.assign(rest)
        matrices = np.zeros((len(transforms), 4, 4), np.float32)
        matrices[:, :3], matrices[:, 3, 3] = transforms, 1
        inputs = [self._rest, self._bones, self._weights, _upload(matrices, wp.mat44), self._posed]
        wp.launch(kernels.skin_vertices, dim=len(rest), inputs=inputs, device=DEVICE)
        self._update_normals()

    def start_clip(self, camera: Camera, lights: Lights, background: Background, seed: int, centre: np.ndarray) -> None:
        """Set the scene: paint the background and set up the lights around `centre`, about where the person is."""
        self._camera = camera
        self._shot = _shot(self._identity, camera, lights, seed)
        self._back = paint_backdrop(background, camera, seed, SUPERSAMPLING)
        self._background = background
        height, width = camera.height, camera.width
        size = (height * SUPERSAMPLING, width * SUPERSAMPLING)
        self._nearness = wp.zeros(size, dtype=float, device=DEVICE)
        self._face_at = wp.zeros(size, dtype=int, device=DEVICE)
        self._outputs = [
            wp.zeros((height, width), dtype=kind, device=DEVICE) for kind in (wp.vec3, wp.vec3, wp.vec4, float)
        ]
        self._light_axes = _axes(lights.key)
        visible = 0.5 * np.hypot(height, width) / camera.focal * float(np.linalg.norm(centre - camera.eye))
        self._visible = float(visible * 1.1 + 0.15)

    def render(self) -> Picture:
        """Draw the posed figure."""
        shot, count, faces = self._shot, self._posed.shape[0], self._faces.shape[0]
        wp.launch(kernels.project, dim=count, inputs=[self._posed, shot, self._projected], device=DEVICE)
        self._nearness.zero_()
        self._face_at.fill_(-1)
        inputs = [self._projected, self._faces, self._nearness, self._face_at, 1]
        wp.launch(kernels.draw, dim=faces, inputs=inputs, device=DEVICE)
        self._draw_light_maps()
        inputs = [
            *(shot, self._posed, self._faces, self._texture_at, self._material, self._normals, self._canonical),
            *(self._cloth, self._part, self._free, self._texture, self._palette, *self._back, self._face_at),
            *(self._shadow, self._sky, self._sky_axes_array, *self._outputs),
        ]
        height, width = self._camera.height, self._camera.width
        wp.launch(kernels.shade, dim=(height, width), inputs=inputs, device=DEVICE)
        rgb, normals, coverage, depth = (output.numpy() for output in self._outputs)
        rgb = (np.clip(rgb, 0, 1) * 255 + 0.5).astype(np.uint8)
        return Picture(rgb, normals.copy(), depth.copy(), coverage.copy())

    def _draw_light_maps(self) -> None:
        posed = self._posed.numpy()
        low, high = posed.min(0), posed.max(0)
        radius = float(np.linalg.norm(high - low) / 2 + 0.05)
        centre = (low + high) / 2
        if self._visible < radius:  # a close-up: the lights look only at what is seen
            ahead, eye = self._camera.ahead, self._camera.eye
            centre, radius = eye + ahead * float((centre - eye) @ ahead), self._visible
        scale = 1 / (2 * radius)
        shot = self._shot
        towards, u, v = self._light_axes
        shot.shadow_centre, shot.shadow_u, shot.shadow_v = _vector(centre), _vector(u), _vector(v)
        shot.shadow_scale = scale
        maps = [(self._shadow, self._shadow_faces, (towards, u, v))]
        maps += [(self._sky[number], self._sky_faces, axes) for number, axes in enumerate(self._sky_axes)]
        count = self._posed.shape[0]
        for target, faces, (towards, u, v) in maps:
            target.fill_(-1e6)
            inputs = [self._posed, _vector(centre), _vector(u), _vector(v), _vector(towards), scale, target.shape[0]]
            wp.launch(kernels.project_parallel, dim=count, inputs=[*inputs, self._projected], device=DEVICE)
            inputs = [self._projected, faces, target, self._no_faces, 0]
            wp.launch(kernels.draw, dim=faces.shape[0], inputs=inputs, device=DEVICE)


def _upload(values: np.ndarray, kind: type) -> Array:
    return wp.array(np.ascontiguousarray(values), dtype=kind, device=DEVICE)


def _vector(values: np.ndarray) -> wp.vec3:
    return wp.vec3(*(float(value) for value in values))


def _axes(direction: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A unit direction and two more at right angles to it."""
    first = direction / np.linalg.norm(direction)
    second = np.cross(first, [0, 0, 1.0] if abs(first[2]) < 0.95 else [0, 1.0, 0])
    second /= np.linalg.norm(second)
    return first, second, np.cross(first, second)


def _palette(identity: Identity) -> np.ndarray:
    """Up to three colours per material (10, 3, 3)."""
    colours = np.zeros((10, 3, 3), np.float32)
    colours[SHIRT], colours[PANTS] = identity.top.colours, identity.bottom.colours
    colours[SKIRT] = colours[PANTS]
    colours[SHOE, 0] = identity.shoes
    colours[SHOE, 1] = 0.7 if identity.seed % 3 else 0.05
    colours[HAIR, 0] = identity.hair
    colours[HAIR, 1] = np.clip(np.asarray(identity.hair) * 2.5 + 0.03, 0, 1)
    colours[LASH, 0], colours[TEETH, 0], colours[TONGUE, 0] = (
        (0.03, 0.02, 0.016),
        (0.75, 0.72, 0.66),
        (0.45, 0.15, 0.14),
    )
    return colours


def _shot(identity: Identity, camera: Camera, lights: Lights, seed: int) -> Any:
    assets = load_assets()
    random = np.random.default_rng([seed, 7])
    shot = kernels.Shot()
    shot.supersampling = SUPERSAMPLING
    shot.focal, shot.centre_x, shot.centre_y = float(camera.focal), camera.width / 2, camera.height / 2
    shot.eye, shot.right, shot.up, shot.ahead = map(_vector, (camera.eye, camera.right, camera.up, camera.ahead))
    shot.light, shot.light_colour = _vector(lights.key), _vector(lights.key_colour)
    shot.sky, shot.ground = _vector(lights.sky), _vector(lights.ground)
    shot.fill, shot.fill_colour = _vector(lights.fill), _vector(lights.fill_colour)
    shot.exposure, shot.softness = lights.exposure, lights.softness
    shot.seed = wp.uint32(identity.seed % 2**31)
    shot.shirt_pattern, shot.shirt_scale = identity.top.pattern, identity.top.scale
    shot.pants_pattern, shot.pants_scale = identity.bottom.pattern, identity.bottom.scale
    shot.denim = int(identity.bottom.kind == "jeans")
    shot.iris = wp.vec3(*identity.iris)
    shot.skin_gloss, shot.wrinkles = float(random.uniform(0.06, 0.16)), float(random.uniform(0.05, 0.12))
    shot.head_centre = _vector(HEAD_CENTRE)
    shot.left_eye, shot.right_eye = (_vector(assets.bone_heads[assets.bone(f"eye.{side}")]) for side in "LR")
    return shot
