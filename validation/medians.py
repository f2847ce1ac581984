"""The median length of stays, as told from the buckets of dwell, against the median of the stays that truly ended.

In: exact counts and estimates of dwell, i64 and f64[panes, zones * buckets], and the truth. Out: minutes side by side,
and their errors by how many stays there truly were.
"""

from bisect import bisect_right
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.epochs import Epoch
from schemas.lengths import BUCKETS, LIMITS_MS
from streams.core.estimates.median import median
from validation.errors import AROUND, FEWEST
from validation.happened import Medians
from validation.released import Estimates


class Lengths(NamedTuple):
    """Of panes and zones with stays: how many, their true median, that of what was counted, and of what was told with
    its 95 % interval; minutes, f64[n] each."""

    stays: NDArray[np.float64]
    true: NDArray[np.float64]
    counted: NDArray[np.float64]
    told: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


class Error(NamedTuple):
    """Median relative errors of what was counted and of what was told, and the shares of intervals that hold the truth
    and what was counted."""

    counts: int
    before: float
    released: float
    covered: float
    covered_counted: float


def lengths(counts: NDArray[np.int64], told: Estimates, truth: Medians, epoch: Epoch, skip: int) -> Lengths:
    """Medians of all panes but the first `skip`."""
    first = bisect_right(LIMITS_MS, epoch.stay_ms)
    shape = (-1, len(BUCKETS))
    exact = counts[skip:].reshape(shape).astype(np.float64)
    counted = median(exact, np.zeros_like(exact), first)
    released = median(told.mean[skip:].reshape(shape), told.se[skip:].reshape(shape) ** 2, first)
    stays, true = truth.stays[skip:].reshape(-1), truth.minutes[skip:].reshape(-1)
    some = (stays > 0) & (exact[:, first:-1].sum(axis=1) > 0)
    columns = (stays.astype(np.float64), true, counted.median, released.median, released.low, released.high)
    return Lengths(*(column[some] for column in columns))


def joined(many: list[Lengths]) -> Lengths:
    """Those of several towns."""
    return Lengths(*(np.concatenate(columns) for columns in zip(*many, strict=True)))


def error(of: Lengths, size: int, draws: int = 1) -> Error | None:
    """The error where about `size` stays ended; None if there are too few such panes and zones. `draws` as in
    `validation.errors.error`."""
    at = (of.stays >= AROUND[0] * size) & (of.stays < AROUND[1] * size)
    if at.sum() < FEWEST * draws:
        return None
    _, true, counted, told, low, high = (column[at] for column in of)
    return Error(
        int(at.sum()) // draws,
        float(np.median(np.abs(counted - true) / true)),
        float(np.median(np.abs(told - true) / true)),
        float(((low <= true) & (true <= high)).mean()),
        float(((low <= counted) & (counted <= high)).mean()),
    )
