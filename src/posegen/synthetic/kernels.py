# ruff: noqa: D103, PLR1714, RUF046, SIM102, SIM109, UP018  (warp's dialect of Python, see below)
"""warp kernels on the CPU: skinning, depth-buffered drawing, soft shadows, sky visibility and shading of people.

Written for serial launches on warp's `cpu` device: `draw` writes its depth buffer without atomics. Backgrounds and skin
textures have kernels of their own files. Each array is an argument of its own, however many there are, so that a launch
shows what is read and what is written.

Traps: a float that changes in a loop starts as `float(0.0)`; a variable cannot change its type; `no_type_check` keeps
test-time type checkers away from functions that warp compiles.
"""

import ctypes
import importlib
import os
import sys
from typing import TYPE_CHECKING, Any, TypeAlias, no_type_check

import warp as wp

from posegen.cache_folder import cache_folder
from posegen.errors import logger

wp.config.log_level = wp.LOG_ERROR  # it announces devices and every kernel
KERNELS = cache_folder() / "synthetic" / "kernels"
wp.config.kernel_cache_dir = str(KERNELS)
wp.set_module_options({"enable_backward": False, "fast_math": True})


def _start_warp() -> None:
    """Without an NVIDIA driver warp's C code says so on stderr, in every process, whatever the log level: not here."""
    try:
        ctypes.CDLL("libcuda.so.1" if sys.platform == "linux" else "")
        missing = False
    except OSError:
        missing = True
    kept = os.dup(2)
    try:
        if missing:
            with open(os.devnull, "wb") as nothing:
                os.dup2(nothing.fileno(), 2)
        wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)


_start_warp()

DEVICE = "cpu"
if TYPE_CHECKING:
    Array: TypeAlias = wp.array[Any]
else:
    Array = wp.array
    """An array of warp's on that device. Only type checkers know it with a dtype."""
_MODULES = ("posegen.synthetic.kernels", "posegen.synthetic.backdrop", "posegen.synthetic.skin")
"""Device that all kernels run on."""


def compile_kernels() -> None:
    """Compile all kernels (ten seconds) unless the cache has them, so that processes started later find them there."""
    if not any(KERNELS.glob("*/wp_*")):
        logger.info("Compiling the kernels that draw people; this happens once.")
    for name in _MODULES:
        wp.load_module(importlib.import_module(name), device=DEVICE)


SHADOW_TAPS = wp.constant(6)
SKIN = wp.constant(0)
EYE = wp.constant(1)
SHIRT = wp.constant(2)
PANTS = wp.constant(3)
SHOE = wp.constant(4)
HAIR = wp.constant(5)
TEETH = wp.constant(7)
SKIRT = wp.constant(9)


@wp.struct
@no_type_check
class Shot:
    """Camera, lights and the looks of one clip."""

    supersampling: int
    focal: float
    centre_x: float
    centre_y: float
    eye: wp.vec3
    right: wp.vec3
    up: wp.vec3
    ahead: wp.vec3
    light: wp.vec3
    light_colour: wp.vec3
    sky: wp.vec3
    ground: wp.vec3
    fill: wp.vec3
    fill_colour: wp.vec3
    exposure: float
    softness: float
    seed: wp.uint32
    shirt_pattern: int
    shirt_scale: float
    pants_pattern: int
    pants_scale: float
    denim: int
    iris: wp.vec3
    skin_gloss: float
    wrinkles: float
    head_centre: wp.vec3
    left_eye: wp.vec3
    right_eye: wp.vec3
    shadow_centre: wp.vec3
    shadow_u: wp.vec3
    shadow_v: wp.vec3
    shadow_scale: float


@wp.func
@no_type_check
def fraction(x: float) -> float:
    return x - wp.floor(x)


@wp.func
@no_type_check
def hashed(a: int, b: int, c: int) -> float:
    """A number in 0..1 for three integers."""
    state = wp.rand_init(a * 7919 + c, b)
    return wp.randf(state)


@wp.func
@no_type_check
def layered_noise(seed: wp.uint32, p: wp.vec3) -> float:
    return wp.noise(seed, p) + 0.5 * wp.noise(seed, p * 2.03) + 0.25 * wp.noise(seed, p * 4.1)


@wp.kernel
@no_type_check
def skin_vertices(
    rest: wp.array(dtype=wp.vec3),
    bones: wp.array2d(dtype=int),
    weights: wp.array2d(dtype=float),
    transforms: wp.array(dtype=wp.mat44),
    posed: wp.array(dtype=wp.vec3),
):
    i = wp.tid()
    total = wp.vec3(0.0, 0.0, 0.0)
    for k in range(bones.shape[1]):
        w = weights[i, k]
        if w > 0.0:
            total += w * wp.transform_point(transforms[bones[i, k]], rest[i])
    posed[i] = total


@wp.kernel
@no_type_check
def add_face_normals(vertices: wp.array(dtype=wp.vec3), faces: wp.array2d(dtype=int), normals: wp.array(dtype=wp.vec3)):
    f = wp.tid()
    a = faces[f, 0]
    b = faces[f, 1]
    c = faces[f, 2]
    n = wp.cross(vertices[b] - vertices[a], vertices[c] - vertices[a])
    normals[a] = normals[a] + n
    normals[b] = normals[b] + n
    normals[c] = normals[c] + n


@wp.kernel
@no_type_check
def project(vertices: wp.array(dtype=wp.vec3), shot: Shot, projected: wp.array(dtype=wp.vec3)):
    """Perspective, in subsamples; the third number is 1 / depth, negative behind the camera."""
    i = wp.tid()
    d = vertices[i] - shot.eye
    z = wp.dot(d, shot.ahead)
    scale = float(shot.supersampling)
    if z < 0.05:
        projected[i] = wp.vec3(0.0, 0.0, -1.0)
    else:
        x = (shot.centre_x + shot.focal * wp.dot(d, shot.right) / z) * scale
        y = (shot.centre_y - shot.focal * wp.dot(d, shot.up) / z) * scale
        projected[i] = wp.vec3(x, y, 1.0 / z)


@wp.kernel
@no_type_check
def project_parallel(
    vertices: wp.array(dtype=wp.vec3),
    centre: wp.vec3,
    u: wp.vec3,
    v: wp.vec3,
    towards: wp.vec3,
    scale: float,
    size: int,
    projected: wp.array(dtype=wp.vec3),
):
    """Project as a light sees it: texels, and a depth that grows towards the light."""
    i = wp.tid()
    d = vertices[i] - centre
    n = float(size)
    projected[i] = wp.vec3(
        (wp.dot(d, u) * scale + 0.5) * n, (wp.dot(d, v) * scale + 0.5) * n, wp.dot(d, towards) + 50.0
    )


@wp.func
@no_type_check
def edge(a: wp.vec3, b: wp.vec3, x: float, y: float) -> float:
    return (b[0] - a[0]) * (y - a[1]) - (b[1] - a[1]) * (x - a[0])


@wp.kernel
@no_type_check
def draw(
    projected: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=int),
    nearness: wp.array2d(dtype=float),
    face_at: wp.array2d(dtype=int),
    keep_faces: int,
):
    """Draw faces into a buffer in which larger is nearer."""
    f = wp.tid()
    a = projected[faces[f, 0]]
    b = projected[faces[f, 1]]
    c = projected[faces[f, 2]]
    if a[2] < 0.0 or b[2] < 0.0 or c[2] < 0.0:
        return
    right = float(nearness.shape[1] - 1)
    bottom = float(nearness.shape[0] - 1)
    x0 = int(wp.ceil(wp.max(wp.min(a[0], wp.min(b[0], c[0])) - 0.5, 0.0)))
    x1 = int(wp.floor(wp.min(wp.max(a[0], wp.max(b[0], c[0])) - 0.5, right)))
    y0 = int(wp.ceil(wp.max(wp.min(a[1], wp.min(b[1], c[1])) - 0.5, 0.0)))
    y1 = int(wp.floor(wp.min(wp.max(a[1], wp.max(b[1], c[1])) - 0.5, bottom)))
    if x0 > x1 or y0 > y1:
        return
    area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    if wp.abs(area) < 1.0e-9:
        return
    inverse = 1.0 / area
    for y in range(y0, y1 + 1):
        py = float(y) + 0.5
        for x in range(x0, x1 + 1):
            px = float(x) + 0.5
            w0 = edge(b, c, px, py) * inverse
            w1 = edge(c, a, px, py) * inverse
            w2 = 1.0 - w0 - w1
            if w0 >= 0.0 and w1 >= 0.0 and w2 >= 0.0:
                z = w0 * a[2] + w1 * b[2] + w2 * c[2]
                if z > nearness[y, x]:
                    nearness[y, x] = z
                    if keep_faces == 1:
                        face_at[y, x] = f


@wp.kernel
@no_type_check
def openness(
    mesh: wp.uint64,
    vertices: wp.array(dtype=wp.vec3),
    normals: wp.array(dtype=wp.vec3),
    rays: int,
    result: wp.array(dtype=float),
):
    """Compute the share of the near surroundings of each vertex that is free, 0..1."""
    i = wp.tid()
    reach = float(0.3)
    n = wp.normalize(normals[i])
    total = float(0.0)
    state = wp.rand_init(17, i)
    for _ray in range(rays):
        way = wp.normalize(n + wp.sample_unit_sphere_surface(state) * 0.98)
        hit = wp.mesh_query_ray(mesh, vertices[i] + n * 0.004, way, reach)
        if hit.result:
            total += wp.sqrt(hit.t / reach)
        else:
            total += 1.0
    result[i] = total / float(rays)


@wp.func
@no_type_check
def lit(shot: Shot, shadow: wp.array2d(dtype=float), p: wp.vec3, n: wp.vec3, i: int, j: int) -> float:
    """Share of the key light that reaches a point, filtered over a disc that differs from pixel to pixel."""
    size = shadow.shape[0]
    scale = float(size)
    d = p + n * 0.006 - shot.shadow_centre
    x = (wp.dot(d, shot.shadow_u) * shot.shadow_scale + 0.5) * scale - 0.5
    y = (wp.dot(d, shot.shadow_v) * shot.shadow_scale + 0.5) * scale - 0.5
    z = wp.dot(d, shot.light) + 50.006
    start = fraction(52.9829189 * fraction(0.06711056 * float(j) + 0.00583715 * float(i))) * 6.2831853
    total = float(0.0)
    for tap in range(SHADOW_TAPS):
        radius = shot.softness * wp.sqrt((float(tap) + 0.5) / float(SHADOW_TAPS))
        angle = start + 2.3999632 * float(tap)
        xx = x + radius * wp.cos(angle)
        yy = y + radius * wp.sin(angle)
        xi = int(wp.floor(xx))
        yi = int(wp.floor(yy))
        if xi < 0 or yi < 0 or xi >= size - 1 or yi >= size - 1:
            total += 1.0
        else:
            fx = xx - float(xi)
            fy = yy - float(yi)
            s00 = wp.where(z > shadow[yi, xi], 1.0, 0.0)
            s01 = wp.where(z > shadow[yi, xi + 1], 1.0, 0.0)
            s10 = wp.where(z > shadow[yi + 1, xi], 1.0, 0.0)
            s11 = wp.where(z > shadow[yi + 1, xi + 1], 1.0, 0.0)
            total += (s00 * (1.0 - fx) + s01 * fx) * (1.0 - fy) + (s10 * (1.0 - fx) + s11 * fx) * fy
    return total / float(SHADOW_TAPS)


@wp.func
@no_type_check
def sky_visible(
    shot: Shot, maps: wp.array3d(dtype=float), axes: wp.array2d(dtype=wp.vec3), p: wp.vec3, n: wp.vec3
) -> float:
    """Share of the sky that a point sees, from a few coarse depth maps in fixed directions."""
    size = maps.shape[1]
    scale = float(size)
    total = float(0.12)  # what faces down sees no direction of the sky: without this it would be black
    weights = float(0.15)
    for q in range(maps.shape[0]):
        w = wp.max(wp.dot(n, axes[q, 0]), 0.0)
        if w > 0.02:
            d = p + n * 0.02 - shot.shadow_centre
            x = (wp.dot(d, axes[q, 1]) * shot.shadow_scale + 0.5) * scale - 0.5
            y = (wp.dot(d, axes[q, 2]) * shot.shadow_scale + 0.5) * scale - 0.5
            z = wp.dot(d, axes[q, 0]) + 50.01
            visible = float(0.0)
            for tap in range(5):
                xi = int(wp.floor(x + wp.where(tap == 1, 3.0, wp.where(tap == 2, -3.0, 0.0)) + 0.5))
                yi = int(wp.floor(y + wp.where(tap == 3, 3.0, wp.where(tap == 4, -3.0, 0.0)) + 0.5))
                if xi < 0 or yi < 0 or xi >= size or yi >= size:
                    visible += 1.0
                else:
                    visible += wp.clamp((z - maps[q, yi, xi]) * 12.0 + 1.0, 0.0, 1.0)
            total += w * visible * 0.2
            weights += w
    return 0.15 + 0.85 * total / weights


@wp.func
@no_type_check
def pattern(
    kind: int, p: wp.vec3, st: wp.vec2, first: wp.vec3, second: wp.vec3, third: wp.vec3, scale: float, seed: wp.uint32
) -> wp.vec3:
    """Colour of a garment; kinds as in `identity.PATTERNS`."""
    colour = first
    if kind == 1:
        if fraction(st[0] * scale) < 0.5:
            colour = second
    elif kind == 2:
        if fraction(st[1] * scale) < 0.35:
            colour = second
    elif kind == 3:
        mix = 0.5 * wp.where(fraction(st[0] * scale) < 0.45, 1.0, 0.0) + 0.5 * wp.where(
            fraction(st[1] * scale) < 0.45, 1.0, 0.0
        )
        colour = first * (1.0 - mix) + second * mix
        if fraction(st[0] * scale * 2.0 + 0.1) < 0.08 or fraction(st[1] * scale * 2.0 + 0.1) < 0.08:
            colour = third
    elif kind == 4:
        n = wp.noise(seed, p * scale * 2.2)
        if n > 0.15:
            colour = second
        if n < -0.28:
            colour = third
    elif kind == 5:
        a = fraction(st[0] * scale) - 0.5
        b = fraction(st[1] * scale) - 0.5
        if a * a + b * b < 0.06:
            colour = second
    elif kind == 6:
        if st[0] > 0.30:
            colour = second
    elif kind == 7:
        if p[1] < 0.0 and wp.abs(p[0]) < 0.085 and p[2] > 0.24 and p[2] < 0.40:
            colour = second
            if wp.noise(seed, wp.vec3(p[0] * 22.0, p[2] * 22.0, 3.0)) > 0.05:
                colour = third
    return colour


@wp.func
@no_type_check
def skin_colour(texture: wp.array2d(dtype=wp.vec3), u: float, v: float) -> wp.vec3:
    n = float(texture.shape[0])
    x = wp.clamp(u * n - 0.5, 0.0, n - 1.001)
    y = wp.clamp((1.0 - v) * n - 0.5, 0.0, n - 1.001)
    i = int(x)
    j = int(y)
    fx = x - float(i)
    fy = y - float(j)
    top = texture[j, i] * (1.0 - fx) + texture[j, i + 1] * fx
    bottom = texture[j + 1, i] * (1.0 - fx) + texture[j + 1, i + 1] * fx
    return top * (1.0 - fy) + bottom * fy


@wp.func
@no_type_check
def eye_colour(shot: Shot, p: wp.vec3) -> wp.vec3:
    centre = shot.left_eye
    if p[0] < 0.0:
        centre = shot.right_eye
    q = wp.normalize(p - centre)
    angle = wp.acos(wp.clamp(-q[1], -1.0, 1.0))
    colour = wp.vec3(0.82, 0.80, 0.78) * (1.0 - 0.25 * wp.smoothstep(0.6, 1.2, angle))
    if angle < 0.46:
        rays = wp.noise(shot.seed, wp.vec3(wp.atan2(q[2], q[0]) * 7.0, angle * 9.0, 1.0))
        colour = shot.iris * (0.85 + 0.6 * rays) * (0.65 + 0.7 * (1.0 - angle / 0.46))
        if angle > 0.40:
            colour = colour * 0.45
    if angle < 0.19:
        colour = wp.vec3(0.01, 0.01, 0.012)
    return colour


@wp.func
@no_type_check
def tone(colour: wp.vec3) -> wp.vec3:
    """Linear light -> display values, 0..1."""
    return wp.vec3(
        wp.sqrt(colour[0] / (0.55 + colour[0])),
        wp.sqrt(colour[1] / (0.55 + colour[1])),
        wp.sqrt(colour[2] / (0.55 + colour[2])),
    )


@wp.func
@no_type_check
def ambient(shot: Shot, n: wp.vec3) -> wp.vec3:
    return shot.sky * (0.5 + 0.5 * n[2]) + shot.ground * (0.5 - 0.5 * n[2])


@wp.func
@no_type_check
def filled(shot: Shot, n: wp.vec3, free: float) -> wp.vec3:
    return shot.fill_colour * (wp.max(wp.dot(n, shot.fill) * 0.7 + 0.3, 0.0) * (0.4 + 0.6 * free))


@wp.kernel
@no_type_check
def shade(
    shot: Shot,
    vertices: wp.array(dtype=wp.vec3),
    faces: wp.array2d(dtype=int),
    texture_at: wp.array2d(dtype=wp.vec2),
    material: wp.array(dtype=int),
    normals: wp.array(dtype=wp.vec3),
    canonical: wp.array(dtype=wp.vec3),
    cloth: wp.array(dtype=wp.vec2),
    part: wp.array(dtype=int),
    free: wp.array(dtype=float),
    texture: wp.array2d(dtype=wp.vec3),
    palette: wp.array2d(dtype=wp.vec3),
    back_place: wp.array2d(dtype=wp.vec3),
    back_normal: wp.array2d(dtype=wp.vec3),
    back_colour: wp.array2d(dtype=wp.vec3),
    face_at: wp.array2d(dtype=int),
    shadow: wp.array2d(dtype=float),
    sky_maps: wp.array3d(dtype=float),
    sky_axes: wp.array2d(dtype=wp.vec3),
    rgb: wp.array2d(dtype=wp.vec3),
    normal_map: wp.array2d(dtype=wp.vec3),
    coverage: wp.array2d(dtype=wp.vec4),
    depth: wp.array2d(dtype=float),
):
    """One output pixel: every subsample where something changes inside the pixel, else one."""
    i, j = wp.tid()
    ss = shot.supersampling
    samples = ss * ss
    step = int(1)
    first = face_at[i * ss, j * ss]
    same = int(1)
    for k in range(1, samples):
        f = face_at[i * ss + k / ss, j * ss + k % ss]
        if first < 0 or f < 0:
            if first != f:
                same = 0
        elif (
            material[f] != material[first]
            or part[faces[f, 0]] != part[faces[first, 0]]
            or wp.dot(wp.normalize(normals[faces[f, 0]]), wp.normalize(normals[faces[first, 0]])) < 0.85
        ):
            same = 0
    if first >= 0:
        kind = material[first]
        if kind == EYE or kind == HAIR or (kind == SHIRT and shot.shirt_pattern > 0):
            same = 0
        if (kind == PANTS or kind == SKIRT) and shot.pants_pattern > 0:
            same = 0
    if same == 1:
        step = samples
    total = wp.vec3(0.0, 0.0, 0.0)
    normal_total = wp.vec3(0.0, 0.0, 0.0)
    covered = wp.vec4(0.0, 0.0, 0.0, 0.0)
    nearest = float(1.0e6)
    weight = float(0.0)
    for k in range(0, samples, step):
        si = i * ss + k / ss
        sj = j * ss + k % ss
        x = (float(sj) + 0.5) / float(ss)
        y = (float(si) + 0.5) / float(ss)
        d = wp.normalize(
            shot.ahead + shot.right * ((x - shot.centre_x) / shot.focal) - shot.up * ((y - shot.centre_y) / shot.focal)
        )
        colour = wp.vec3(0.0, 0.0, 0.0)
        f = face_at[si, sj]
        weight += 1.0
        if f >= 0:
            a = faces[f, 0]
            b = faces[f, 1]
            c = faces[f, 2]
            e1 = vertices[b] - vertices[a]
            e2 = vertices[c] - vertices[a]
            pv = wp.cross(d, e2)
            determinant = wp.dot(e1, pv)
            if wp.abs(determinant) < 1.0e-14:
                determinant = float(1.0e-14)
            tv = shot.eye - vertices[a]
            v = wp.clamp(wp.dot(tv, pv) / determinant, 0.0, 1.0)
            w = wp.clamp(wp.dot(d, wp.cross(tv, e1)) / determinant, 0.0, 1.0)
            u = 1.0 - v - w
            p = vertices[a] * u + vertices[b] * v + vertices[c] * w
            n = wp.normalize(normals[a] * u + normals[b] * v + normals[c] * w)
            g = wp.normalize(wp.cross(e1, e2))
            if wp.dot(g, d) > 0.0:
                g = -g
            if wp.dot(n, g) < 0.0:
                n = -n
            cp = canonical[a] * u + canonical[b] * v + canonical[c] * w
            st = cloth[a] * u + cloth[b] * v + cloth[c] * w
            kind = material[f]
            if kind == HAIR:
                n = wp.normalize(n * 0.5 + wp.normalize(cp - shot.head_centre - d * 0.02))
            turned = wp.dot(n, d)
            if turned > -0.01:
                n = wp.normalize(n - d * (turned + 0.01))
            smooth = n
            albedo = palette[kind, 0]
            gloss = float(0.04)
            sharp = float(20.0)
            if kind == SKIN:
                uv = texture_at[f, 0] * u + texture_at[f, 1] * v + texture_at[f, 2] * w
                albedo = skin_colour(texture, uv[0], uv[1])
                gloss = shot.skin_gloss * wp.where(cp[2] > 0.66, 1.5, 1.0)
                sharp = float(18.0)
            elif kind == EYE:
                albedo = eye_colour(shot, cp)
                gloss = float(0.9)
                sharp = float(220.0)
            elif kind == SHIRT or kind == PANTS or kind == SKIRT:
                which = shot.shirt_pattern
                scale = shot.shirt_scale
                if kind != SHIRT:
                    which = shot.pants_pattern
                    scale = shot.pants_scale
                albedo = pattern(which, cp, st, palette[kind, 0], palette[kind, 1], palette[kind, 2], scale, shot.seed)
                weave = wp.noise(shot.seed, cp * 260.0) * 0.10 + wp.noise(shot.seed, cp * 70.0) * 0.08
                if kind == PANTS and shot.denim == 1:
                    fine = wp.vec3(cp[0] * 300.0, cp[1] * 300.0, cp[2] * 60.0)
                    weave = wp.noise(shot.seed, fine) * 0.22 + wp.noise(shot.seed, cp * 9.0) * 0.18
                albedo = albedo * (1.0 + weave)
                q = wp.vec3(cp[0] * 15.0, cp[1] * 15.0, cp[2] * 24.0)
                bumps = wp.vec3(
                    layered_noise(shot.seed, q),
                    layered_noise(shot.seed, q + wp.vec3(31.0, 7.0, 3.0)),
                    layered_noise(shot.seed, q + wp.vec3(5.0, 57.0, 11.0)),
                )
                n = wp.normalize(n + bumps * shot.wrinkles)
                gloss = float(0.02)
                sharp = float(8.0)
            elif kind == SHOE:
                gloss = float(0.15)
                sharp = float(30.0)
                albedo = palette[SHOE, 0] * (1.0 + 0.12 * wp.noise(shot.seed, cp * 60.0))
                if cp[2] < -0.797:
                    albedo = palette[SHOE, 1] * (1.0 + 0.08 * wp.noise(shot.seed, cp * 60.0))
            elif kind == HAIR:
                q = cp - shot.head_centre
                strand = wp.noise(shot.seed, wp.vec3(st[1] * 900.0, st[0] * 2.0, 1.0))
                albedo = palette[HAIR, 0] * (0.95 + 0.6 * strand) * (0.6 + 0.4 * wp.clamp(st[0] * 2.5, 0.0, 1.0))
                n = wp.normalize(n + wp.vec3(wp.noise(shot.seed, q * 45.0), strand, strand * 1.3) * 0.4)
                gloss = float(0.0)
            elif kind == TEETH:
                gloss = float(0.5)
                sharp = float(80.0)
            facing = wp.dot(n, shot.light)
            visible = float(0.0)
            if facing > -0.25:
                visible = lit(shot, shadow, p, g, si, sj)
            open_air = (free[a] * u + free[b] * v + free[c] * w) * sky_visible(shot, sky_maps, sky_axes, p, g)
            half = wp.normalize(shot.light - d)
            highlight = wp.max(wp.dot(n, half), 0.0)
            grazing = 1.0 - wp.max(-wp.dot(n, d), 0.0)
            fresnel = 0.04 + 0.96 * wp.pow(1.0 - wp.max(wp.dot(half, -d), 0.0), 5.0)
            direct = wp.vec3(1.0, 1.0, 1.0) * wp.max(facing, 0.0)
            if kind == SKIN:  # light travels under the skin, red the farthest
                direct = wp.vec3(
                    wp.max((facing + 0.22) / 1.22, 0.0),
                    wp.max((facing + 0.09) / 1.09, 0.0),
                    wp.max((facing + 0.05) / 1.05, 0.0),
                )
            around = ambient(shot, n)
            light = wp.cw_mul(shot.light_colour, direct) * visible + around * open_air + filled(shot, n, open_air)
            colour = wp.cw_mul(albedo, light)
            shine = (
                gloss * wp.pow(highlight, sharp) * (0.4 + 4.0 * fresnel) * wp.max(facing, 0.0) * visible * sharp * 0.06
            )
            colour = colour + shot.light_colour * shine + around * (gloss * 0.35 * wp.pow(grazing, 4.0) * open_air)
            if kind == HAIR:
                down = wp.vec3(0.0, 0.0, -1.0)
                tangent = wp.normalize(wp.vec3(n[0] * 0.2, n[1] * 0.2, -1.0) - n * wp.dot(n, down))
                along = wp.dot(tangent, half)
                sheen = (
                    wp.pow(wp.sqrt(wp.max(0.0, 1.0 - along * along)), 40.0) * 0.35 * visible * wp.max(facing + 0.2, 0.0)
                )
                colour = colour + wp.cw_mul(shot.light_colour, palette[HAIR, 1]) * sheen
            if kind == EYE:
                colour = colour * wp.min(1.0, 0.35 + open_air)
            normal_total += smooth
            nearest = wp.min(nearest, wp.dot(p - shot.eye, shot.ahead))
            covered += wp.vec4(1.0, 0.0, 0.0, 0.0)
            which_part = part[a]
            if kind == SKIN and which_part == 1:
                covered += wp.vec4(0.0, 1.0, 0.0, 0.0)
            elif kind == SKIN and which_part == 2:
                covered += wp.vec4(0.0, 0.0, 1.0, 0.0)
            elif (kind == SKIN and which_part == 3) or kind == EYE or kind == TEETH:
                covered += wp.vec4(0.0, 0.0, 0.0, 1.0)
        else:
            n = back_normal[si, sj]
            albedo = back_colour[si, sj]
            if step > 1:  # no person here: the mean colour of the pixel, lit once
                albedo = albedo * 0.0
                for m in range(samples):
                    albedo += back_colour[i * ss + m / ss, j * ss + m % ss] / float(samples)
            if wp.length(n) < 0.5:
                colour = albedo
            else:
                p = back_place[si, sj]
                open_air = sky_visible(shot, sky_maps, sky_axes, p, n)
                visible = lit(shot, shadow, p, n, si, sj)
                light = shot.light_colour * (wp.max(wp.dot(n, shot.light), 0.0) * visible)
                light = light + ambient(shot, n) * open_air + filled(shot, n, open_air)
                colour = wp.cw_mul(albedo, light)
            normal_total += n
        total += tone(wp.max(colour * shot.exposure, wp.vec3(0.0, 0.0, 0.0)))
    scale = 1.0 / weight
    rgb[i, j] = total * scale
    coverage[i, j] = covered * scale
    depth[i, j] = nearest
    n = wp.vec3(wp.dot(normal_total, shot.right), wp.dot(normal_total, shot.up), -wp.dot(normal_total, shot.ahead))
    if wp.length(n) > 1.0e-6:
        n = wp.normalize(n)
    normal_map[i, j] = n
