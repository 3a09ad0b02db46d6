# ruff: noqa: D103, UP018  (as in kernels.py)
"""The skin's texture: tone, blush, brows, lips, nails, scalp and beard, baked once per person by one kernel."""

from typing import no_type_check

import numpy as np
import warp as wp

from posegen.synthetic.assets import load_assets
from posegen.synthetic.hair import above_hairline
from posegen.synthetic.identity import Identity
from posegen.synthetic.kernels import DEVICE, Array

wp.set_module_options({"enable_backward": False, "fast_math": True})


@wp.struct
@no_type_check
class SkinLooks:
    """Parameters of the kernel for one identity."""

    seed: wp.uint32
    tone: wp.vec3
    lips: wp.vec3
    nails: wp.vec3
    hair: wp.vec3
    blush: float
    beard: float
    brow_width: float
    brow_height: float
    scalp: float


@wp.func
@no_type_check
def ball(p: wp.vec3, x: float, y: float, z: float, radius: float) -> float:
    d = wp.vec3(wp.abs(p[0]) - x, p[1] - y, p[2] - z)
    return wp.exp(-wp.dot(d, d) / (2.0 * radius * radius))


@wp.func
@no_type_check
def brow(p: wp.vec3, height: float, width: float) -> float:
    """Coverage by an eyebrow: an arch of three lines, thinner outwards."""
    if p[1] > -0.10 or p[2] < 0.6:
        return 0.0
    x = wp.abs(p[0])
    nearest = float(9.0)
    place = float(0.0)
    for k in range(3):
        ax = wp.where(k == 0, 0.012, wp.where(k == 1, 0.022, 0.036))
        az = wp.where(k == 0, 0.7435, wp.where(k == 1, 0.7470, 0.7500))
        bx = wp.where(k == 0, 0.022, wp.where(k == 1, 0.036, 0.050))
        bz = wp.where(k == 0, 0.7470, wp.where(k == 1, 0.7500, 0.7450))
        start = wp.vec2(ax, az + height)
        line = wp.vec2(bx - ax, bz - az)
        q = wp.vec2(x, p[2]) - start
        share = wp.clamp(wp.dot(q, line) / wp.dot(line, line), 0.0, 1.0)
        distance = wp.length(q - line * share)
        if distance < nearest:
            nearest = distance
            place = (float(k) + share) / 3.0
    thickness = width * (1.0 - 0.55 * place) * wp.where(place < 0.12, place / 0.12 * 0.6 + 0.4, 1.0)
    return wp.clamp((1.0 - nearest / thickness) * 2.2, 0.0, 1.0)


@wp.kernel
@no_type_check
def bake(
    looks: SkinLooks,
    places: wp.array2d(dtype=wp.vec3),
    hairline: wp.array2d(dtype=float),
    lips: wp.array2d(dtype=float),
    ears: wp.array2d(dtype=float),
    nails: wp.array2d(dtype=float),
    mouth: wp.array2d(dtype=float),
    texture: wp.array2d(dtype=wp.vec3),
):
    i, j = wp.tid()
    p = places[i, j]
    coarse = wp.noise(looks.seed, p * 14.0) * 0.5 + wp.noise(looks.seed, p * 45.0) * 0.5
    fine = wp.noise(looks.seed, p * 160.0)
    blotch = wp.vec3(0.6, 1.0, 1.1) * (0.08 * coarse) + wp.vec3(1.0, 1.0, 1.0) * (0.05 * fine)
    colour = wp.cw_mul(looks.tone, wp.vec3(1.0, 1.0, 1.0) + blotch)
    red = 0.5 * ball(p, 0.045, -0.135, 0.695, 0.022) + 0.55 * ball(p, 0.0, -0.175, 0.695, 0.012)
    red = (red + 0.25 * ball(p, 0.0, -0.15, 0.63, 0.02) + 0.35 * ears[i, j]) * looks.blush
    colour = wp.cw_mul(colour, wp.vec3(1.0 - 0.02 * red, 1.0 - 0.16 * red, 1.0 - 0.17 * red))
    socket = wp.cw_div(wp.vec3(wp.abs(p[0]) - 0.031, p[1] + 0.135, p[2] - 0.730), wp.vec3(0.02, 0.02, 0.011))
    colour = colour * (1.0 - 0.14 * wp.exp(-wp.dot(socket, socket)))
    k = wp.clamp(lips[i, j] * 1.2, 0.0, 1.0) * 0.85
    colour = colour * (1.0 - k) + looks.lips * (k * (1.0 + 0.15 * fine))
    k = mouth[i, j]
    colour = colour * (1.0 - k) + wp.vec3(0.25, 0.07, 0.07) * k
    k = wp.clamp(nails[i, j] * 1.3, 0.0, 1.0)
    colour = colour * (1.0 - k) + looks.nails * k
    stroke = wp.noise(looks.seed, wp.vec3(p[0] * 700.0, p[1] * 700.0, p[2] * 350.0))
    k = brow(p, looks.brow_height, looks.brow_width) * wp.clamp(0.8 + 0.4 * stroke, 0.0, 1.0) * 0.88
    colour = colour * (1.0 - k) + looks.hair * (0.6 * k)
    if p[2] > 0.6:
        ragged = hairline[i, j] + 0.004 * wp.noise(looks.seed, p * 120.0)
        k = wp.clamp(ragged / 0.012, 0.0, 1.0) * (1.0 - wp.clamp(ears[i, j] * 2.0, 0.0, 1.0)) * looks.scalp
        colour = colour * (1.0 - k) + looks.hair * (k * (0.8 + 0.4 * fine))
    if looks.beard > 0.0 and p[2] > 0.59:
        jaw = wp.smoothstep(0.0, 1.0, (0.688 - p[2]) / 0.025) * wp.smoothstep(0.0, 1.0, (-p[1] - 0.045) / 0.05)
        jaw = jaw * wp.smoothstep(0.0, 1.0, (p[2] - 0.598) / 0.025)
        lip_line = (p[2] - 0.6735) / 0.008
        moustache = wp.exp(-lip_line * lip_line) * wp.clamp((0.033 - wp.abs(p[0])) / 0.01, 0.0, 1.0)
        moustache = moustache * wp.where(p[1] < -0.13, 1.0, 0.0)
        k = wp.max(jaw, moustache) * (1.0 - wp.clamp(lips[i, j] * 1.5, 0.0, 1.0))
        k = k * wp.clamp(0.65 + 0.5 * wp.noise(looks.seed, p * 420.0), 0.0, 1.0) * looks.beard
        colour = colour * (1.0 - k) + looks.hair * (0.7 * k)
    texture[i, j] = wp.min(wp.max(colour * 0.88, wp.vec3(0.0, 0.0, 0.0)), wp.vec3(1.0, 1.0, 1.0))


def bake_skin(identity: Identity) -> Array:
    """The texture of an identity: a warp array (512, 512) of linear colours."""
    assets = load_assets()
    looks = SkinLooks()
    looks.seed = wp.uint32(identity.seed % 2**31)
    looks.tone, looks.lips, looks.nails = wp.vec3(*identity.skin), wp.vec3(*identity.lips), wp.vec3(*identity.nails)
    looks.hair = wp.vec3(*identity.hair)
    looks.blush, looks.beard = identity.blush, identity.beard
    looks.brow_width, looks.brow_height = identity.brow_width, identity.brow_height
    looks.scalp = 0.35 if identity.hairstyle == "bald" else 0.92
    places = assets.texture_positions
    hairline = above_hairline(places, identity.hairline).astype(np.float32)
    masks = [assets.texture_masks[name] for name in ("lips", "ears", "fingernails", "inside-mouth")]
    texture = wp.zeros(places.shape[:2], dtype=wp.vec3, device=DEVICE)
    inputs = [looks, wp.array(places, dtype=wp.vec3, device=DEVICE)]
    inputs += [wp.array(np.ascontiguousarray(values), dtype=float, device=DEVICE) for values in (hairline, *masks)]
    wp.launch(bake, dim=places.shape[:2], inputs=[*inputs, texture], device=DEVICE)
    return texture
