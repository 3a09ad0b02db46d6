"""Confidence intervals of means over clips, by Student's t.

Measured coverage of nominal 95 % intervals at 9, 13 and 48 clips, in 20,000 simulated sets (3,000 for the bootstrap;
`tests/evaluate/test_intervals.py` repeats some): normal scores 95.0, 95.1, 95.2 % (percentile bootstrap 89.6, 91.4,
94.8 %); scores with a long tail (log-normal, sigma 0.5) 91.9, 92.1, 93.8 % (86.2, 88.4, 93.5 %). Clips are taken to be
independent.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import t as student  # type: ignore[import-untyped]


def mean_interval(
    values: Sequence[float] | Float[np.ndarray, " clips"],
    weights: Sequence[float] | Float[np.ndarray, " clips"] | None = None,
    level: float = 0.95,
) -> tuple[float, float]:
    """Return the interval of the (weighted) mean of `values`, one per clip.

    A weighted mean is a ratio of two means over clips; its variance is that of the linearised ratio (Cochran 1977,
    Eq. 6.13). Equal weights give the ordinary t interval. Raises `ValueError` for fewer than two values.
    """
    sample = np.asarray(values, np.float64)
    if len(sample) < 2:
        raise ValueError("an interval needs at least two values")
    shares = np.ones(len(sample)) if weights is None else np.asarray(weights, np.float64)
    mean = float((sample * shares).sum() / shares.sum())
    residuals = shares * (sample - mean) / shares.mean()
    error = float(np.sqrt((residuals**2).sum() / (len(sample) * (len(sample) - 1))))
    half = float(student_quantile(level, len(sample) - 1)) * error
    return mean - half, mean + half


def student_quantile(level: float, freedom: int) -> float:
    """Return how many standard errors a two-sided interval of this level reaches, with so many degrees of freedom."""
    return float(student.ppf((1 + level) / 2, freedom))
