"""The median length of presences from the counts of the buckets, with a 95 % interval. Post-processing: it is free.

Within a bucket the lengths' logarithms are taken to lie evenly, from a minute on. A length `x` is in the interval if
the counts can't tell which of the two halves, shorter and longer than `x`, is the larger one: their difference is
within 1.96 of its standard errors. (Fieller's way with a ratio: nothing is presumed of how the median's own error is
spread.)
"""

from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.lengths import BUCKETS, LONGEST

TWO_SIDED_95: Final = NormalDist().inv_cdf(0.975)
_LAST_MIN: Final = BUCKETS[LONGEST].from_min


class Median(NamedTuple):
    """Minutes, f64[places] each; `high` is infinite where it may be anything over the last limit."""

    median: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def median(mean: NDArray[np.float64], variance: NDArray[np.float64], first: int = 0) -> Median:
    """Of counts by bucket, f64[places, buckets], and their variances, from bucket `first` on; the bucket of those that
    were cut is left out."""
    buckets = slice(first, LONGEST + 1)
    counts = np.maximum(mean[:, buckets], 0.0)
    weights = WEIGHTS[:, buckets]
    shorter = counts @ weights.T
    error = TWO_SIDED_95 * np.sqrt(variance[:, buckets] @ (weights**2).T)
    return Median(_first(shorter, _LAST_MIN), _first(shorter + error, _LAST_MIN), _first(shorter - error, np.inf))


def _first(difference: NDArray[np.float64], otherwise: float) -> NDArray[np.float64]:
    """The first minute from which the shorter half is the larger one."""
    reached = difference >= 0
    return np.where(reached.any(axis=1), MINUTES[reached.argmax(axis=1)], otherwise)


def _weights() -> NDArray[np.float64]:
    """At each minute, what a count in each bucket adds to those shorter less those longer, f64[minutes, buckets]."""
    limits = np.array([max(bucket.from_min, 1) for bucket in BUCKETS[: LONGEST + 1]], np.float64)
    share = np.log(np.maximum(MINUTES, 1)[:, None] / limits) / np.diff(np.log(limits), append=np.inf)
    return np.asarray(2 * np.clip(share, 0.0, 1.0) - 1)


MINUTES: Final[NDArray[np.float64]] = np.arange(0, _LAST_MIN + 1, dtype=np.float64)
WEIGHTS: Final = _weights()
