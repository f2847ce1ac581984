"""Relative errors by size of crowd, and how many intervals hold the number that they are about."""

import math
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

SIZES: Final = (50, 500, 5000)
AROUND: Final = (0.7, 1.4)  # a crowd of about 500 has 350 to 700 people
FEWEST: Final = 20  # counts of a size: with fewer of them there is no figure
SMALLEST: Final = 10  # people: of smaller crowds nothing is told
Z_95: Final = 1.959964
MOST: Final = 0.9


class Pairs(NamedTuple):
    """What was told and what is so, f64[n] each; se: standard errors, 0 where nothing was drawn."""

    told: NDArray[np.float64]
    true: NDArray[np.float64]
    se: NDArray[np.float64]


class Error(NamedTuple):
    """Of counts of a size: how many there are, the median relative error, that which nine in ten are within, the
    relative error of their sum, and the share of 95 % intervals that hold the truth (NaN without standard errors)."""

    counts: int
    median: float
    most: float
    bias: float
    covered: float


def pairs(told: NDArray[np.generic], true: NDArray[np.generic], se: NDArray[np.float64] | None = None) -> Pairs:
    """Counts of all panes and places, flat."""
    flat = np.zeros(true.size) if se is None else se.reshape(-1)
    return Pairs(told.reshape(-1).astype(np.float64), true.reshape(-1).astype(np.float64), flat)


def joined(many: list[Pairs]) -> Pairs:
    """Those of several towns."""
    return Pairs(*(np.concatenate(columns) for columns in zip(*many, strict=True)))


def larger(many: dict[str, Pairs]) -> dict[str, Pairs]:
    """Those of crowds that something is told of: most pairs of places have nobody."""
    return {kind: Pairs(*(column[of.true >= SMALLEST] for column in of)) for kind, of in many.items()}


def error(of: Pairs, size: int, draws: int = 1) -> Error | None:
    """The error for crowds of about `size` people; None if there are too few of them. `draws`: of noise, which the
    pairs are of together; counts are those of one."""
    at = (of.true >= AROUND[0] * size) & (of.true < AROUND[1] * size)
    if at.sum() < FEWEST * draws:
        return None
    told, true, se = (column[at] for column in of)
    relative = np.abs(told - true) / true
    covered = float((np.abs(told - true) <= Z_95 * se).mean()) if se.any() else math.nan
    median, most = np.quantile(relative, (0.5, MOST)).tolist()
    return Error(int(at.sum()) // draws, median, most, float(told.sum() / true.sum() - 1), covered)


def by_size(of: Pairs, edges: NDArray[np.float64], draws: int = 1) -> list[tuple[float, float]]:
    """(middle, median relative error) of the crowds between each two edges, for a curve."""
    found = []
    for low, high in pairwise(edges.tolist()):
        at = (of.true >= low) & (of.true < high)
        if at.sum() >= FEWEST * draws:
            relative = np.abs(of.told - of.true)[at] / of.true[at]
            found.append((math.sqrt(low * high), float(np.median(relative))))
    return found
