"""Lays one picture's background over another's by all its pixels, where there are no corners to follow: walls, stripes.

Shading, stains and soft edges are enough, however faint, as long as they stand above what coding and noise leave. The
answer comes with how sure it is: in a direction in which nothing can be seen (along stripes, or anywhere on an even
wall) there is none, and none is made up. Corners are `conditions/camera.py`'s, which is better where there are any.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from posegen.conditions.camera import Similarity

_LONG_SIDE = 160
"""Pixels at which pictures are compared; halved twice for what moves far."""
_LEVELS = (4, 2, 1)
_STEPS = 12
_SMOOTHED = 1.2
"""Pixels of the blur that takes noise off before pictures are compared, at each level."""
_LEAST_SHARE = 0.02
"""Share of the picture that both backgrounds must take to say anything."""
_NOISE = 0.25
"""Grey levels by which pictures differ at least, after smoothing: what coding leaves."""
_BLOCK = 16
"""Pixels of the sides of blocks within which errors go together."""
_OF_BLOCK, _FEWEST_BLOCKS = 0.25, 6
"""Share of a block that must be background for it to count, and how many blocks must count."""
_SURELY = 3.0
"""Standard errors by which blocks must gain on average for a movement to be believed."""
_CAUTION = 1.5
"""How much more than its expectation the noise in slopes counts."""
_PRIOR = 0.2
"""Diagonals that a picture may move before it is thought unlikely; it only decides where nothing else does."""

Picture = Float32[np.ndarray, "height width"]
Where = Float32[np.ndarray, "height width"]


@dataclass(frozen=True)
class Registered:
    """How a background moves from one picture to another.

    movement: the least that explains what is seen, as far as it is surer than was asked for; error: standard error of
    it in the least sure direction, in diagonals of the picture.
    """

    movement: Similarity
    error: float


class Registration:
    """A picture that others are laid over."""

    def __init__(
        self, picture: UInt8[np.ndarray, "height width"], background: Bool[np.ndarray, "height width"]
    ) -> None:
        """`background` is True where neither people nor padding are."""
        self.levels = [_prepared(picture, background, factor) for factor in _LEVELS]

    def register(self, other: "Registration", guess: Similarity, surer_than: float) -> Registered:
        """The movement from this picture to another one, looked for about `guess` and about standing still.

        surer_than: diagonals; a direction with a larger standard error counts as not moved.
        """
        found = [self._descend(other, start) for start in ([Similarity()] if guess == Similarity() else
                                                             [Similarity(), guess])]  # fmt: skip
        seen = [fit for fit in found if fit is not None]
        if not seen:
            return Registered(Similarity(), float("inf"))
        best = min(seen, key=lambda fit: fit.cost)
        still = _fit(self.levels[-1], other.levels[-1], Similarity())
        if still is not None and not _explains_more(best, still):
            return Registered(Similarity(), float(np.sqrt(np.linalg.eigvalsh(still.covariance).max())))
        variances, directions = np.linalg.eigh(best.covariance)
        errors = np.sqrt(np.maximum(variances, 0))
        movement = np.array([(best.place.turn - 1).real, (best.place.turn - 1).imag]) / np.sqrt(12)
        parts = directions.T @ [*movement, best.place.shift.real, best.place.shift.imag]
        sure = directions @ np.where(errors <= surer_than, parts, 0.0)
        turn = 1 + complex(sure[0], sure[1]) * np.sqrt(12)
        return Registered(Similarity(complex(turn), complex(sure[2], sure[3])), float(errors.max()))

    def _descend(self, other: "Registration", place: Similarity) -> "_Fit | None":
        """From coarse to fine, by Gauss-Newton steps."""
        fit = None
        for mine, theirs in zip(self.levels, other.levels, strict=True):
            fit = _fit(mine, theirs, place)
            for _ in range(_STEPS):
                if fit is None:
                    break
                better = _fit(mine, theirs, fit.place.after(fit.step))
                if better is None or better.cost >= fit.cost * (1 - 1e-4):
                    break
                fit = better
            if fit is not None:
                place = fit.place
        return fit


@dataclass(frozen=True)
class _Fit:
    """One comparison: where, what the next step is, how well it fits, and how sure the place is."""

    place: Similarity
    step: Similarity
    cost: float
    covariance: Float[np.ndarray, "4 4"]
    costs: Float32[np.ndarray, "height width"]
    """Of each pixel; NaN where nothing was compared."""


def _explains_more(moved: _Fit, still: _Fit) -> bool:
    """Whether a movement fits better all over the background, and not only where a shadow or a hand passed by."""
    gain = still.costs - moved.costs
    gains = [
        float(np.nanmean(block))
        for rows in range(0, gain.shape[0], _BLOCK)
        for block in np.array_split(gain[rows : rows + _BLOCK], max(1, gain.shape[1] // _BLOCK), axis=1)
        if np.isfinite(block).mean() > _OF_BLOCK
    ]
    if len(gains) < _FEWEST_BLOCKS:
        return False
    return bool(np.mean(gains) > _SURELY * max(float(np.std(gains)), 1e-6) / np.sqrt(len(gains)))


@dataclass(frozen=True)
class _Level:
    picture: Picture
    where: Where
    slopes: tuple[Picture, Picture]


def _prepared(
    picture: UInt8[np.ndarray, "height width"], background: Bool[np.ndarray, "height width"], factor: int
) -> _Level:
    """The background at a small size, smoothed without what lies beside it."""
    scale = min(1.0, _LONG_SIDE / max(picture.shape)) / factor
    size = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale)))
    share = cv2.resize(background.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(picture * background.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    weight = cv2.GaussianBlur(share, (0, 0), _SMOOTHED)
    smooth = cv2.GaussianBlur(mean, (0, 0), _SMOOTHED) / np.maximum(weight, 1e-3)
    where = cv2.erode((share > 0.99).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)
    slopes = (cv2.Sobel(smooth, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(smooth, cv2.CV_32F, 0, 1, scale=1 / 8))
    return _Level(smooth, where, slopes)


def _fit(before: _Level, after: _Level, place: Similarity) -> _Fit | None:
    """Compare at a place. Brightness and contrast may differ; what does not go with the rest counts little."""
    height, width = before.picture.shape
    diagonal = float(np.hypot(height, width))
    rows, columns = np.indices((height, width), dtype=np.float32)
    x, y = (columns - (width - 1) / 2) / diagonal, (rows - (height - 1) / 2) / diagonal
    z = place.turn * (x + 1j * y) + place.shift
    across_to = (z.real * diagonal + (width - 1) / 2).astype(np.float32)
    down_to = (z.imag * diagonal + (height - 1) / 2).astype(np.float32)
    warped = cv2.remap(after.picture, across_to, down_to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = cv2.remap(after.where, across_to, down_to, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    both = (before.where > 0) & (seen > 0.99)
    if both.mean() < _LEAST_SHARE:
        return None
    slopes = (cv2.Sobel(warped, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(warped, cv2.CV_32F, 0, 1, scale=1 / 8))
    across, down = ((mine + theirs)[both] / 2 * diagonal for mine, theirs in zip(before.slopes, slopes, strict=True))
    # what differs is noise, and half of its slopes is in those: they tell nothing of a movement
    idle_across, idle_down = (
        (theirs - mine)[both] / 2 * diagonal for mine, theirs in zip(before.slopes, slopes, strict=True)
    )
    x, y, here, there = x[both], y[both], before.picture[both], warped[both]
    light = np.stack([here - float(here.mean()), np.ones_like(here)], axis=1).astype(np.float64)
    moved = _derivatives(x, y, across, down)
    table = np.concatenate([moved, light], axis=1)
    # contrast and brightness are settled first, so that the cost of two places can be compared
    weights, errors, scale = np.ones(len(here)), (there - here).astype(np.float64), _NOISE
    left = errors
    for _ in range(3):
        settled = np.linalg.solve(
            (light * weights[:, None]).T @ light + np.diag([100.0, 1e-6]), (light * weights[:, None]).T @ errors
        )
        left = errors - light @ settled
        scale = max(_NOISE, 1.5 * float(np.median(np.abs(left))))
        weights = 1 / (1 + np.square(left / (2.5 * scale)))
    prior = np.diag([1 / _PRIOR**2] * 4 + [0.01, 1e-6])
    weighted = table * (weights / scale**2)[:, None]
    told = weighted.T @ table
    step = -np.linalg.solve(told + prior, weighted.T @ left)
    idle = np.zeros_like(table)
    idle[:, :4] = _derivatives(x, y, idle_across, idle_down)
    values, vectors = np.linalg.eigh(told - _CAUTION * (idle * (weights / scale**2)[:, None]).T @ idle)
    inverse = np.linalg.inv((vectors * np.maximum(values, 0)) @ vectors.T + prior)
    blocks = (rows[both] // _BLOCK * 1000 + columns[both] // _BLOCK).astype(int)
    _, block = np.unique(blocks, return_inverse=True)
    pulls = np.zeros((block.max() + 1, 6))
    np.add.at(pulls, block, weighted * left[:, None])
    covariance = inverse + inverse @ pulls.T @ pulls @ inverse
    costs = np.full((height, width), np.nan, np.float32)
    costs[both] = np.log1p(np.square(left / (2.5 * _NOISE)))
    cost = float(costs[both].mean())
    turn = 1 + complex(step[0], step[1]) * np.sqrt(12)
    return _Fit(place, Similarity(turn, complex(step[2], step[3])), cost, covariance[:4, :4], costs)


def _derivatives(
    x: Float[np.ndarray, " seen"], y: Float[np.ndarray, " seen"], across: Float[np.ndarray, " seen"],
    down: Float[np.ndarray, " seen"],
) -> Float[np.ndarray, "seen 4"]:  # fmt: skip
    """Of a picture by a small similarity: scale and rotation (so that each moves it by its size), x and y."""
    root = np.sqrt(12)
    return np.stack([root * (across * x + down * y), root * (down * x - across * y), across, down], axis=1).astype(
        float
    )
