# ruff: noqa: D103, PLR1714, SIM102, SIM108, UP018  (as in kernels.py)
"""Backgrounds, painted once per clip: place, normal and colour of every subsample. Lights and shadows come later."""

from typing import no_type_check

import numpy as np
import warp as wp

from posegen.synthetic.kernels import DEVICE, Array, fraction, hashed, layered_noise
from posegen.synthetic.scene import SETTINGS, Background, Camera

wp.set_module_options({"enable_backward": False, "fast_math": True})

ROOM, STUDIO, PARK, STREET, BEACH, CITY = (wp.constant(number) for number in range(len(SETTINGS)))


@wp.struct
@no_type_check
class Paint:
    """Camera and parameters of one background."""

    focal: float
    centre_x: float
    centre_y: float
    eye: wp.vec3
    right: wp.vec3
    up: wp.vec3
    ahead: wp.vec3
    setting: int
    wall_kind: int
    floor_kind: int
    wall: float
    left_side: float
    right_side: float
    seed: wp.uint32
    wall_first: wp.vec3
    wall_second: wp.vec3
    floor_first: wp.vec3
    floor_second: wp.vec3
    sky_high: wp.vec3
    sky_low: wp.vec3


@wp.func
@no_type_check
def wall_colour(paint: Paint, u: float, z: float) -> wp.vec3:
    fine = wp.noise(paint.seed, wp.vec3(u * 60.0, z * 60.0, 4.0))
    stains = layered_noise(paint.seed, wp.vec3(u * 1.3, z * 1.3, 0.5))
    colour = paint.wall_first * (1.0 + 0.06 * stains + 0.03 * fine)
    if paint.wall_kind == 1:
        row = wp.floor(z / 0.075)
        column = u / 0.22 + 0.5 * (row - 2.0 * wp.floor(row * 0.5))
        if fraction(column) < 0.05 or fraction(z / 0.075) < 0.13:
            colour = paint.wall_second * (1.0 + 0.1 * fine)
        else:
            colour = paint.wall_first * (0.85 + 0.4 * hashed(int(wp.floor(column)) + 900, int(row), 7) + 0.12 * fine)
    elif paint.wall_kind == 2:
        board = wp.floor(u / 0.14)
        grain = wp.noise(paint.seed, wp.vec3(u * 40.0, z * 2.5, board * 3.1))
        colour = paint.wall_first * (0.9 + 0.25 * grain + 0.2 * hashed(int(board) + 500, 3, 3))
        if fraction(u / 0.14) < 0.05:
            colour = paint.wall_first * 0.35
    elif paint.wall_kind == 3:
        if fraction(u / 0.2) < 0.04 or fraction(z / 0.2) < 0.04:
            colour = paint.wall_second
        else:
            tile = hashed(int(wp.floor(u / 0.2)) + 300, int(wp.floor(z / 0.2)), 1)
            colour = paint.wall_first * (0.95 + 0.1 * tile)
    elif paint.wall_kind == 4:
        if fraction(u / 0.18) < 0.5:
            colour = paint.wall_second * (1.0 + 0.05 * stains)
    elif paint.wall_kind == 5:
        row = wp.floor(z / 0.25)
        a = fraction(u / 0.25 + 0.5 * (row - 2.0 * wp.floor(row * 0.5))) - 0.5
        b = fraction(z / 0.25) - 0.5
        if wp.sqrt(a * a + b * b) < 0.22 + 0.1 * wp.cos(5.0 * wp.atan2(b, a)):
            colour = paint.wall_second
    elif paint.wall_kind == 6:
        colour = paint.wall_first * (
            1.0 + 0.22 * layered_noise(paint.seed, wp.vec3(u * 2.5, z * 2.5, 1.0)) + 0.06 * fine
        )
        if fraction(u / 1.2) < 0.008 or fraction(z / 1.2) < 0.008:
            colour = colour * 0.6
    if z < 0.10 and paint.wall_kind != 1 and paint.wall_kind != 6:
        colour = paint.wall_second * wp.where(z > 0.092, 0.5, 0.9)
    return colour


@wp.func
@no_type_check
def floor_colour(paint: Paint, p: wp.vec3) -> wp.vec3:
    colour = paint.floor_first * (
        1.0 + 0.25 * wp.noise(paint.seed, p * 60.0) + 0.2 * layered_noise(paint.seed, p * 1.7)
    )
    kind = paint.floor_kind
    if paint.setting == STUDIO:
        return paint.wall_first
    if paint.setting == PARK:
        worn = wp.smoothstep(0.1, 0.5, layered_noise(paint.seed, p * 0.8))
        blades = 0.35 * wp.noise(paint.seed, wp.vec3(p[0] * 70.0, p[1] * 25.0, 1.0))
        return paint.floor_first * (1.0 + blades) * (1.0 - 0.4 * worn) + wp.vec3(0.12, 0.09, 0.05) * (0.4 * worn)
    if paint.setting == BEACH:
        return paint.floor_first * (
            1.0 + 0.1 * wp.noise(paint.seed, p * 70.0) + 0.15 * layered_noise(paint.seed, p * 3.0)
        )
    if paint.setting == STREET or paint.setting == CITY:
        kind = 1
    if kind == 0:
        row = wp.floor(p[0] / 0.13)
        y = p[1] + hashed(int(row) + 200, 5, 5) * 3.0
        grain = wp.noise(paint.seed, wp.vec3(p[0] * 45.0, y * 3.0, row))
        plank = hashed(int(row) + 200, int(wp.floor(y / 1.1)) + 50, 2)
        colour = paint.floor_first * (0.85 + 0.25 * grain + 0.3 * plank)
        if fraction(p[0] / 0.13) < 0.04:
            colour = colour * 0.5
    elif kind == 1:
        if fraction(p[0] / 0.45) < 0.02 or fraction(p[1] / 0.45) < 0.02:
            colour = paint.floor_first * 0.6
        else:
            tile = hashed(int(wp.floor(p[0] / 0.45)) + 70, int(wp.floor(p[1] / 0.45)) + 70, 2)
            colour = paint.floor_first * (0.95 + 0.1 * tile + 0.06 * layered_noise(paint.seed, p * 6.0))
    elif kind == 3:
        odd = wp.floor(p[0] / 0.5) + wp.floor(p[1] / 0.5)
        colour = paint.floor_first
        if fraction(odd * 0.5) > 0.25:
            colour = paint.floor_second
    return colour


@wp.func
@no_type_check
def sky_colour(paint: Paint, d: wp.vec3) -> wp.vec3:
    rise = wp.asin(wp.clamp(d[2], -1.0, 1.0))
    share = wp.clamp(rise * 2.2, 0.0, 1.0)
    cloud = wp.smoothstep(0.1, 0.7, layered_noise(paint.seed, wp.vec3(d[0] * 4.0, rise * 9.0, 2.0)))
    clear = paint.sky_low * (1.0 - share) + paint.sky_high * share
    return clear * (1.0 - 0.6 * cloud) + wp.vec3(0.85, 0.86, 0.88) * (0.6 * cloud)


@wp.func
@no_type_check
def far_colour(paint: Paint, d: wp.vec3) -> wp.vec3:
    """Return the colour of things too far away to catch shadows: sky, hills, trees, sea or a skyline."""
    rise = wp.asin(wp.clamp(d[2], -1.0, 1.0))
    turn = wp.atan2(d[0], d[1])
    colour = sky_colour(paint, d)
    if paint.setting == BEACH:
        if rise < 0.012:
            waves = wp.noise(paint.seed, wp.vec3(turn * 30.0, rise * 500.0, 1.0))
            colour = paint.wall_first * (1.0 + 0.3 * waves) * (0.6 + 0.4 * wp.clamp(-rise * 30.0, 0.0, 1.0))
            if waves > 0.45:
                colour = wp.vec3(0.7, 0.74, 0.76)
        return colour
    hills = 0.09 + 0.06 * layered_noise(paint.seed, wp.vec3(turn * 3.0, 1.0, 1.0))
    if paint.setting == PARK:
        if rise < hills:
            colour = paint.wall_first * 0.5 + paint.sky_low * 0.25
        for layer in range(3):
            spacing = 0.11 - 0.02 * float(layer)
            cell = wp.floor(turn / spacing + 0.5)
            for neighbour in range(3):
                number = int(cell) + neighbour - 1
                chance = hashed(number + 4000, layer, 11)
                if chance < 0.75:
                    middle = (float(number) + 0.5 * (hashed(number + 4000, layer, 12) - 0.5)) * spacing
                    size = spacing * (0.45 + 0.5 * hashed(number + 4000, layer, 13))
                    base = 0.02 - 0.015 * float(layer)
                    top = base + size * 1.6
                    a = (turn - middle) / size
                    b = (rise - top) / (size * 1.1)
                    leaves = wp.noise(paint.seed, wp.vec3(turn * 70.0, rise * 70.0, float(layer)))
                    dark = 0.45 + 0.15 * float(layer)
                    if wp.abs(turn - middle) < size * 0.07 and rise < top and rise > base - 0.05:
                        colour = wp.vec3(0.07, 0.05, 0.035) * (1.0 + dark)
                    if a * a + b * b < 0.8 + 0.35 * leaves:
                        colour = paint.wall_second * dark * (1.0 + 0.6 * leaves + 0.35 * b)
        if rise < 0.015:
            colour = paint.floor_first * (0.8 + 0.3 * wp.noise(paint.seed, wp.vec3(turn * 60.0, rise * 300.0, 9.0)))
    if paint.setting == CITY or paint.setting == STREET:
        for layer in range(2):
            spacing = 0.14 - 0.04 * float(layer)
            number = int(wp.floor(turn / spacing))
            top = (0.10 + 0.30 * hashed(number + 4000, layer, 21)) * (1.0 - 0.35 * float(layer))
            if rise < top:
                shade = 0.35 + 0.4 * hashed(number + 4000, layer, 22)
                body = paint.wall_first * shade + paint.sky_low * (0.35 - 0.2 * float(layer))
                wide = fraction(turn / (spacing * 0.125))
                high = fraction(rise / 0.018)
                if wide > 0.3 and high > 0.4:
                    lamp = hashed(
                        int(wp.floor(turn / (spacing * 0.125))) + 9000, int(wp.floor(rise / 0.018)) + 50, layer
                    )
                    body = body * 0.55
                    if lamp > 0.8:
                        body = wp.vec3(0.75, 0.68, 0.45)
                colour = body
    return colour


@wp.func
@no_type_check
def facade_colour(paint: Paint, u: float, z: float) -> wp.vec3:
    """A building's front: storeys of windows in the wall's material, and a door row below."""
    colour = wall_colour(paint, u, z + 0.2)
    x = fraction(u / 1.6) - 0.5
    storey = wp.floor((z - 0.3) / 2.9)
    y = (z - 0.3) / 2.9 - storey
    if wp.abs(x) < 0.27 and y > 0.25 and y < 0.82:
        colour = wp.vec3(0.6, 0.6, 0.58)
        if wp.abs(x) < 0.24 and y > 0.28 and y < 0.79:
            glass = wp.noise(paint.seed, wp.vec3(u * 1.3, z * 0.8, storey))
            colour = paint.sky_high * (0.35 + 0.2 * glass) + wp.vec3(0.03, 0.03, 0.04)
            if wp.abs(x) < 0.012 or wp.abs(y - 0.55) < 0.012:
                colour = wp.vec3(0.55, 0.55, 0.53)
    if y > 0.97:
        colour = paint.wall_second * 0.8
    return colour


@wp.func
@no_type_check
def hung_colour(paint: Paint, picture: wp.array(dtype=float), u: float, v: float, number: int) -> wp.vec3:
    """A picture or a window at -1..1 inside its frame."""
    frame_u = 0.03 / picture[2]
    frame_v = 0.03 / picture[3]
    colour = wp.vec3(picture[5], picture[6], picture[7])
    if wp.abs(u) < 1.0 - frame_u and wp.abs(v) < 1.0 - frame_v:
        q = float(number)
        if picture[4] > 0.5:
            colour = paint.sky_low * (0.5 - 0.5 * v) + paint.sky_high * (0.5 + 0.5 * v)
            if v < 0.25 * wp.noise(paint.seed, wp.vec3(u * 2.0, 1.0, q)) - 0.35:
                leaves = wp.noise(paint.seed, wp.vec3(u * 9.0, v * 9.0, 1.0))
                colour = wp.vec3(0.06, 0.10, 0.05) * (1.0 + 0.4 * leaves)
            if wp.abs(u) < frame_u * 0.5 or wp.abs(v) < frame_v * 0.5:
                colour = wp.vec3(0.5, 0.5, 0.5)
        else:
            w = wp.noise(paint.seed, wp.vec3(u * 2.2 + q * 7.0, v * 2.2, 1.0))
            x = wp.noise(paint.seed, wp.vec3(u * 1.5, v * 1.5 + q * 5.0, 9.0))
            colour = wp.vec3(0.45 + 0.5 * w, 0.4 + 0.5 * x, 0.42 - 0.4 * w * x)
            if w > 0.2:
                colour = paint.floor_second
    return colour


@wp.kernel
@no_type_check
def paint_background(
    paint: Paint,
    pictures: wp.array2d(dtype=float),
    boxes: wp.array2d(dtype=float),
    place: wp.array2d(dtype=wp.vec3),
    normal: wp.array2d(dtype=wp.vec3),
    colour: wp.array2d(dtype=wp.vec3),
):
    i, j = wp.tid()
    x = (float(j) + 0.5 - paint.centre_x) / paint.focal
    y = (float(i) + 0.5 - paint.centre_y) / paint.focal
    d = wp.normalize(paint.ahead + paint.right * x - paint.up * y)
    nearest = float(1.0e9)
    n = wp.vec3(0.0, 0.0, 0.0)
    c = wp.vec3(0.0, 0.0, 0.0)
    outdoors = paint.setting != ROOM and paint.setting != STUDIO
    if d[2] < -1.0e-4:
        nearest = -paint.eye[2] / d[2]
        n = wp.vec3(0.0, 0.0, 1.0)
        p = paint.eye + d * nearest
        c = floor_colour(paint, p)
        if outdoors:
            haze = wp.exp(-nearest * 0.04)
            c = c * haze + paint.sky_low * (0.5 * (1.0 - haze))
    if paint.setting == ROOM or paint.setting == STREET:
        if d[1] > 1.0e-4:
            t = (paint.wall - paint.eye[1]) / d[1]
            p = paint.eye + d * t
            inside = paint.setting == ROOM or (p[2] < 9.0 + 4.0 * hashed(7, 7, 7))
            if t < nearest and t > 0.0 and inside:
                nearest = t
                n = wp.vec3(0.0, -1.0, 0.0)
                if paint.setting == STREET:
                    c = facade_colour(paint, p[0], p[2])
                else:
                    c = wall_colour(paint, p[0], p[2])
                for q in range(pictures.shape[0]):
                    u = (p[0] - pictures[q, 0]) / pictures[q, 2]
                    v = (p[2] - pictures[q, 1]) / pictures[q, 3]
                    if wp.abs(u) < 1.0 and wp.abs(v) < 1.0:
                        c = hung_colour(paint, pictures[q], u, v, q)
                        if pictures[q, 4] > 0.5:
                            n = wp.vec3(0.0, 0.0, 0.0)
    if paint.setting == ROOM:
        if d[0] > 1.0e-4:
            t = (paint.right_side - paint.eye[0]) / d[0]
            if t < nearest and t > 0.0:
                p = paint.eye + d * t
                nearest = t
                n = wp.vec3(-1.0, 0.0, 0.0)
                c = wall_colour(paint, p[1], p[2])
        if d[0] < -1.0e-4:
            t = (paint.left_side - paint.eye[0]) / d[0]
            if t < nearest and t > 0.0:
                p = paint.eye + d * t
                nearest = t
                n = wp.vec3(1.0, 0.0, 0.0)
                c = wall_colour(paint, p[1], p[2])
        if d[2] > 1.0e-4:
            t = (2.7 - paint.eye[2]) / d[2]
            if t < nearest and t > 0.0:
                nearest = t
                n = wp.vec3(0.0, 0.0, -1.0)
                c = wp.vec3(0.8, 0.8, 0.78)
        for q in range(boxes.shape[0]):
            entry = float(-1.0e9)
            leave = float(1.0e9)
            face = wp.vec3(0.0, 0.0, 0.0)
            for axis in range(3):
                middle = wp.where(axis == 2, boxes[q, 4] * 0.5, boxes[q, axis])
                half = wp.where(axis == 2, boxes[q, 4] * 0.5, boxes[q, 2 + axis])
                speed = wp.where(wp.abs(d[axis]) < 1.0e-6, 1.0e-6, d[axis])
                one = (middle - half - paint.eye[axis]) / speed
                two = (middle + half - paint.eye[axis]) / speed
                if wp.min(one, two) > entry:
                    entry = wp.min(one, two)
                    face = wp.vec3(0.0, 0.0, 0.0)
                    face[axis] = -wp.sign(speed)
                leave = wp.min(leave, wp.max(one, two))
            if entry < leave and entry > 0.0 and entry < nearest:
                nearest = entry
                n = face
                p = paint.eye + d * entry
                grain = layered_noise(paint.seed, wp.vec3(p[0] * 4.0, p[1] * 4.0, p[2] * 30.0))
                c = wp.vec3(boxes[q, 5], boxes[q, 6], boxes[q, 7]) * (1.0 + 0.15 * grain)
    if paint.setting == STUDIO:  # the floor bends up into the wall
        if d[1] > 1.0e-4:
            t = (paint.wall + 1.0 - paint.eye[1]) / d[1]
            if t < nearest and t > 0.0:
                nearest = t
                p = paint.eye + d * t
                bend = wp.smoothstep(0.0, 1.2, p[2])
                n = wp.normalize(wp.vec3(0.0, -0.3 - 0.7 * bend, 1.0 - 0.9 * bend))
                c = paint.wall_first
    if outdoors and nearest > wp.where(paint.setting == BEACH, paint.wall, 45.0):
        n = wp.vec3(0.0, 0.0, 0.0)
        c = far_colour(paint, d)
    place[i, j] = paint.eye + d * wp.min(nearest, 1.0e6)
    normal[i, j] = n
    colour[i, j] = c


def paint_backdrop(background: Background, camera: Camera, seed: int, supersampling: int) -> tuple[Array, Array, Array]:
    """Places, normals (zero for what is lit by itself) and linear colours, (H * s, W * s) each."""
    paint = Paint()
    paint.focal = camera.focal * supersampling
    paint.centre_x, paint.centre_y = camera.width * supersampling / 2, camera.height * supersampling / 2
    paint.eye, paint.right, paint.up, paint.ahead = (
        wp.vec3(*map(float, axis)) for axis in (camera.eye, camera.right, camera.up, camera.ahead)
    )
    paint.setting = SETTINGS.index(background.setting)
    paint.wall_kind, paint.floor_kind, paint.wall = background.wall, background.floor, float(background.wall_distance)
    paint.left_side, paint.right_side = background.sides
    paint.seed = wp.uint32(seed % 2**31)
    paint.wall_first, paint.wall_second = (wp.vec3(*colour) for colour in background.wall_colours)
    paint.floor_first, paint.floor_second = (wp.vec3(*colour) for colour in background.floor_colours)
    paint.sky_high, paint.sky_low = (wp.vec3(*colour) for colour in background.sky_colours)
    size = (camera.height * supersampling, camera.width * supersampling)
    arrays = tuple(wp.zeros(size, dtype=wp.vec3, device=DEVICE) for _ in range(3))
    nowhere = np.array([[99, 99, 0.1, 0.1, 0.1, 0, 0, 0]], np.float32)
    tables: list[Array] = [
        wp.array(table if len(table) else nowhere, dtype=float, device=DEVICE)
        for table in (background.pictures, background.boxes)
    ]
    inputs = [paint, *tables, *arrays]
    wp.launch(paint_background, dim=size, inputs=inputs, device=DEVICE)
    return arrays[0], arrays[1], arrays[2]
