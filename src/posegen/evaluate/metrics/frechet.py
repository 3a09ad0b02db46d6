"""The Fréchet distance between two sets of features, and sets that stay small however many samples they get.

The metrics choose the network and its inputs.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Rows = Float[np.ndarray, "samples features"]


class FeatureSet:
    """Samples of one clip (or of many): kept as they are while few, as moments once there are more than features.

    Both forms give the same distances; memory is bounded by features x features.
    """

    def __init__(self, rows: Rows | None = None) -> None:
        self.count = 0
        self._rows: list[np.ndarray] = []
        self._moments: tuple[np.ndarray, np.ndarray] | None = None  # sum (d,), sum of outer products (d, d)
        if rows is not None:
            self.add(rows)

    def add(self, rows: Rows) -> None:
        """Take in more samples."""
        self.count += len(rows)
        self._rows.append(np.asarray(rows, np.float64))
        if self._moments is not None or self.count > rows.shape[1]:
            self._moments = self.moments()
            self._rows = []

    @property
    def features(self) -> int:
        """Numbers of one sample; 0 for a set that never got any."""
        if self._moments is not None:
            return len(self._moments[0])
        return self._rows[0].shape[1] if self._rows else 0

    def moments(self) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "features features"]]:
        """Sum of the samples, and sum of their outer products."""
        rows = np.concatenate(self._rows) if self._rows else np.zeros((0, self.features))
        total, outer = rows.sum(axis=0), rows.T @ rows
        if self._moments is not None:
            total, outer = total + self._moments[0], outer + self._moments[1]
        return total, outer

    @classmethod
    def merged(cls, sets: Sequence["FeatureSet"]) -> "FeatureSet":
        """All samples of the sets; a set may come more than once."""
        result = cls()
        result.count = sum(each.count for each in sets)
        if result.count <= sets[0].features:
            result._rows = [rows for each in sets for rows in each._rows]
        else:
            parts = [each.moments() for each in sets]
            result._moments = np.sum([part[0] for part in parts], axis=0), np.sum([part[1] for part in parts], axis=0)
        return result

    def mean_and_factor(self) -> tuple[Float[np.ndarray, " features"], Float[np.ndarray, "rank features"]]:
        """The mean, and a matrix A with AᵀA = the covariance (divided by count - 1)."""
        if self.count < 2:
            raise ValueError(f"a covariance needs two samples at least, not {self.count}")
        if self._moments is None:
            rows = np.concatenate(self._rows)
            mean = rows.mean(axis=0)
            return mean, (rows - mean) / np.sqrt(self.count - 1)
        mean = self._moments[0] / self.count
        covariance = (self._moments[1] - self.count * np.outer(mean, mean)) / (self.count - 1)
        values, vectors = np.linalg.eigh(covariance)
        return mean, np.sqrt(np.maximum(values, 0))[:, None] * vectors.T

    def arrays(self) -> dict[str, np.ndarray]:
        """The set as arrays, for a file."""
        if self._moments is not None:
            return {"count": np.array(self.count), "sum": self._moments[0], "outer": self._moments[1]}
        return {"rows": np.concatenate(self._rows) if self._rows else np.zeros((0, 0))}

    @classmethod
    def of_arrays(cls, arrays: dict[str, np.ndarray]) -> "FeatureSet":
        """Restore a set from `arrays`."""
        if "rows" in arrays:
            return cls(arrays["rows"])
        result = cls()
        result.count, result._moments = int(arrays["count"]), (arrays["sum"], arrays["outer"])
        return result


def frechet_distance(left: FeatureSet, right: FeatureSet) -> float:
    """|m1 - m2|² + tr(C1 + C2 - 2 (C1 C2)^½), without the square root of a matrix.

    With C = AᵀA the trace of (C1 C2)^½ is the sum of the singular values of A1 A2ᵀ. It stays exact where there are
    fewer samples than features, where `scipy.linalg.sqrtm` of the product is not. Raises `ValueError` for a set of
    fewer than two samples.
    """
    (mean_left, factor_left), (mean_right, factor_right) = left.mean_and_factor(), right.mean_and_factor()
    shared = np.linalg.svd(factor_left @ factor_right.T, compute_uv=False).sum()
    apart = ((mean_left - mean_right) ** 2).sum()
    return float(max(apart + (factor_left**2).sum() + (factor_right**2).sum() - 2 * shared, 0.0))


def sampling_bias(left: FeatureSet, right: FeatureSet) -> float:
    """Return the part of a Fréchet distance that comes from the number of samples alone, at the minimum.

    Means of N independent samples scatter by C / N, so even two sets from one distribution are tr(C1)/N1 + tr(C2)/N2
    apart in |m1 - m2|². The covariances' part is positive and not counted; nor is it that samples of one clip (and
    overlapping windows all the more) are alike, which makes N smaller in effect.
    """
    return sum(float((each.mean_and_factor()[1] ** 2).sum()) / each.count for each in (left, right))
