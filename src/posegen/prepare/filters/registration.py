"""Registers one picture's background to another's by all pixels, where there are no corners to follow: walls, stripes.

Faint shading, stains and soft edges are enough, if they exceed the noise of coding. The result has a standard error:
where nothing can be measured (along stripes, or on an even wall) there is no movement, and none is invented. Corners
are tracked in `conditions/camera.py`, which is better where there are any.
"""

import functools
from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from posegen.conditions.camera import Similarity

_LONG_SIDE = 160
"""Pixels at which pictures are compared; halved twice for large movements."""
_LEVELS = (4, 2, 1)
_STEPS, _LEAST_GAIN = 12, 1e-3
"""Maximum steps at each size, and the share by which a step must be better for another one."""
_SMOOTHED = 1.2
"""Pixels of the blur that takes noise off before pictures are compared, at each level."""
_LEAST_SHARE = 0.02
"""Minimum share of the picture that both backgrounds must cover."""
_NOISE = 0.25
"""Minimum noise in grey levels after smoothing, caused by coding."""
_BLOCK = 8
"""Side in pixels of blocks within which errors are correlated."""
_OF_BLOCK, _FEWEST_BLOCKS = 0.25, 12
"""Share of a block that must be background for it to count, and how many blocks must count."""
_CLEARLY, _FAR = 1 / 3, 1.5
"""Share of the difference of the pictures that a movement of at least so many pixels must explain to be believed; a
smaller one must explain proportionally less."""
_SURELY = 3.0
"""Standard errors by which blocks must gain on average."""
_CAUTION = 1.5
"""Factor by which the noise in slopes counts more than its expectation."""
_PRIOR = 0.2
"""Diagonals that a picture may move before it is thought unlikely; it only decides where nothing else does."""
_PRIORS = np.diag([1 / _PRIOR**2] * 4 + [0.01, 1e-6])

GrayImage = Float32[np.ndarray, "height width"]
Where = Float32[np.ndarray, "height width"]


@dataclass(frozen=True)
class Registered:
    """Movement of a background from one picture to another.

    movement: the smallest one that explains the pictures, where it is surer than requested; error: standard error of
    it in the least sure direction, in diagonals of the picture; infinite where too little is seen of both, and where
    only a part of the background moves.
    """

    movement: Similarity
    error: float


class Registration:
    """A picture to which others are registered."""

    def __init__(
        self, picture: UInt8[np.ndarray, "height width"], background: Bool[np.ndarray, "height width"]
    ) -> None:
        """`background` is True where neither people nor padding are."""
        self._picture, self._background = picture, background

    @functools.cached_property
    def _levels(self) -> list["_Level"]:
        return [_prepared(self._picture, self._background, factor) for factor in _LEVELS]

    def register(self, other: "Registration", guess: Similarity, surer_than: float) -> Registered:
        """Find the movement from this picture to another one, starting at `guess` and at no movement.

        surer_than: diagonals; a direction with a larger standard error counts as not moved.
        """
        starts = [Similarity()] if guess == Similarity() else [Similarity(), guess]
        seen = [fit for fit in (self._descend(other, start) for start in starts) if fit is not None]
        if not seen:
            return Registered(Similarity(), float("inf"))
        best = min(seen, key=lambda fit: fit.cost)
        still = _fit(self._levels[-1], other._levels[-1], Similarity())
        if still is not None:
            less = _explained(best, still)
            if less < _CLEARLY * min(1.0, best.pixels / _FAR) or not _everywhere(best, still):
                unsure = float("inf") if less > _CLEARLY else np.sqrt(np.linalg.eigvalsh(still.covariance).max())
                return Registered(Similarity(), float(unsure))
        variances, directions = np.linalg.eigh(best.covariance)
        errors = np.sqrt(np.maximum(variances, 0))
        movement = np.array([(best.place.turn - 1).real, (best.place.turn - 1).imag]) / np.sqrt(12)
        parts = directions.T @ [*movement, best.place.shift.real, best.place.shift.imag]
        sure = directions @ np.where(errors <= surer_than, parts, 0.0)
        turn = 1 + complex(sure[0], sure[1]) * np.sqrt(12)
        return Registered(Similarity(complex(turn), complex(sure[2], sure[3])), float(errors.max()))

    def _descend(self, other: "Registration", place: Similarity) -> "_Fit | None":
        """Search from coarse to fine, by Gauss-Newton steps."""
        fit = None
        for mine, theirs in zip(self._levels, other._levels, strict=True):
            fit = _fit(mine, theirs, place)
            for _ in range(_STEPS):
                if fit is None:
                    break
                better = _fit(mine, theirs, fit.place.after(fit.step))
                if better is None or better.cost >= fit.cost * (1 - _LEAST_GAIN):
                    break
                fit = better
            if fit is not None:
                place = fit.place
        return fit


def _explained(moved: "_Fit", still: "_Fit") -> float:
    """Return the share of the difference of the pictures that a movement explains."""
    gain = still.costs - moved.costs
    both = np.isfinite(gain)
    return float(gain[both].sum()) / max(float(still.costs[both].sum()), 1e-6)


def _everywhere(moved: "_Fit", still: "_Fit") -> bool:
    """Return whether a movement fits better all over the background, not only where a shadow or a hand passed by."""
    gain = still.costs - moved.costs
    seen = np.isfinite(gain)
    total, pixels, size = (_of_blocks(part) for part in (np.where(seen, gain, 0.0), 1.0 * seen, np.ones(gain.shape)))
    enough = pixels > _OF_BLOCK * size
    gains = total[enough] / pixels[enough]
    if len(gains) < _FEWEST_BLOCKS:
        return False
    return bool(np.mean(gains) > _SURELY * max(float(np.std(gains)), 1e-6) / np.sqrt(len(gains)))


def _of_blocks(picture: Float[np.ndarray, "height width"]) -> Float[np.ndarray, "down across"]:
    """Sums over blocks."""
    height, width = picture.shape
    columns = [part[0] for part in np.array_split(np.arange(width), max(1, width // _BLOCK))]
    return np.add.reduceat(np.add.reduceat(picture, np.arange(0, height, _BLOCK), axis=0), columns, axis=1)


@dataclass(frozen=True)
class _Level:
    picture: GrayImage
    where: Where
    slopes: tuple[GrayImage, GrayImage]


def _prepared(
    picture: UInt8[np.ndarray, "height width"], background: Bool[np.ndarray, "height width"], factor: int
) -> _Level:
    """Return the background at a small size, smoothed without the pixels beside it."""
    scale = min(1.0, _LONG_SIDE / max(picture.shape)) / factor
    size = (max(8, round(picture.shape[1] * scale)), max(8, round(picture.shape[0] * scale)))
    share = cv2.resize(background.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    mean = cv2.resize(picture * background.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    weight = cv2.GaussianBlur(share, (0, 0), _SMOOTHED)
    smooth = cv2.GaussianBlur(mean, (0, 0), _SMOOTHED) / np.maximum(weight, 1e-3)
    where = cv2.erode((share > 0.99).astype(np.uint8), np.ones((3, 3), np.uint8), borderValue=1).astype(np.float32)
    return _Level(smooth, where, _slopes(smooth))


def _slopes(picture: GrayImage) -> tuple[GrayImage, GrayImage]:
    return cv2.Sobel(picture, cv2.CV_32F, 1, 0, scale=1 / 8), cv2.Sobel(picture, cv2.CV_32F, 0, 1, scale=1 / 8)


@dataclass(frozen=True)
class _Fit:
    """One comparison of two pictures; its derivatives are computed when needed, which for most is never."""

    place: Similarity
    before: _Level
    warped: GrayImage
    """The other picture, laid over the one before."""
    both: Bool[np.ndarray, "height width"]
    """Pixels that are background in both; the following fields are of those pixels."""
    light: Float[np.ndarray, "seen 2"]
    left: Float[np.ndarray, " seen"]
    """Difference besides brightness and contrast."""
    weights: Float[np.ndarray, " seen"]
    """Weight of each pixel, in one over squared grey levels."""
    cost: float

    @property
    def pixels(self) -> float:
        """Distance in pixels by which this place moves the picture."""
        return self.place.distance * float(np.hypot(*self.both.shape))

    @functools.cached_property
    def costs(self) -> Float32[np.ndarray, "height width"]:
        """Cost of each pixel; NaN where nothing was compared."""
        costs = np.full(self.both.shape, np.nan, np.float32)
        costs[self.both] = _costs(self.left)
        return costs

    @functools.cached_property
    def step(self) -> Similarity:
        """Compute the Gauss-Newton step to a better position."""
        step = -np.linalg.solve(self._told + _PRIORS, self._pulls.sum(axis=0))
        return Similarity(1 + complex(step[0], step[1]) * np.sqrt(12), complex(step[2], step[3]))

    @property
    def covariance(self) -> Float[np.ndarray, "4 4"]:
        """Covariance of scale and rotation (in units that move the picture by as much), x and y, in diagonals."""
        # what differs is noise, and half of its slopes is in the mean slopes: they tell nothing of a movement
        idle = self._derivatives(-1.0)
        noise = np.zeros((6, 6))
        noise[:4, :4] = (idle * self.weights[:, None]).T @ idle
        values, vectors = np.linalg.eigh(self._told - _CAUTION * noise)
        inverse = np.linalg.inv((vectors * np.maximum(values, 0)) @ vectors.T + _PRIORS)
        rows, columns = np.nonzero(self.both)
        _, block = np.unique(rows // _BLOCK * 1000 + columns // _BLOCK, return_inverse=True)
        pulls = np.zeros((block.max() + 1, 6))
        np.add.at(pulls, block, self._pulls)
        covariance = inverse + inverse @ pulls.T @ pulls @ inverse
        return covariance[:4, :4]

    @functools.cached_property
    def _table(self) -> Float[np.ndarray, "seen 6"]:
        return np.concatenate([self._derivatives(1.0), self.light], axis=1)

    @functools.cached_property
    def _told(self) -> Float[np.ndarray, "6 6"]:
        return (self._table * self.weights[:, None]).T @ self._table

    @functools.cached_property
    def _pulls(self) -> Float[np.ndarray, "seen 6"]:
        return self._table * (self.weights * self.left)[:, None]

    def _derivatives(self, sign: float) -> Float[np.ndarray, "seen 4"]:
        """Derivatives by a small similarity: half the sum (or difference) of both pictures' slopes."""
        height, width = self.both.shape
        diagonal, root = float(np.hypot(height, width)), np.sqrt(12)
        across, down = (
            (sign * mine[self.both] + theirs[self.both]) / 2 * diagonal
            for mine, theirs in zip(self.before.slopes, _slopes(self.warped), strict=True)
        )
        rows, columns = np.nonzero(self.both)
        x, y = (columns - (width - 1) / 2) / diagonal, (rows - (height - 1) / 2) / diagonal
        return np.stack([root * (across * x + down * y), root * (down * x - across * y), across, down], axis=1)


def _fit(before: _Level, after: _Level, place: Similarity) -> _Fit | None:
    """Compare at a position. Brightness and contrast may differ; outliers count little."""
    height, width = before.picture.shape
    diagonal = float(np.hypot(height, width))
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    turn = np.array([[place.turn.real, -place.turn.imag], [place.turn.imag, place.turn.real]])
    shift = np.array([place.shift.real, place.shift.imag]) * diagonal + centre - turn @ centre
    matrix, flags = np.column_stack([turn, shift]), cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = cv2.warpAffine(after.picture, matrix, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    both = (before.where > 0) & (cv2.warpAffine(after.where, matrix, (width, height), flags=flags) > 0.99)
    if both.mean() < _LEAST_SHARE:
        return None
    here, there = before.picture[both], warped[both]
    light = np.stack([here - float(here.mean()), np.ones_like(here)], axis=1).astype(np.float64)
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
    return _Fit(place, before, warped, both, light, left, weights / scale**2, float(_costs(left).mean()))


def _costs(left: Float[np.ndarray, " seen"]) -> Float[np.ndarray, " seen"]:
    return np.log1p(np.square(left / (2.5 * _NOISE)))
