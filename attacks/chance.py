"""What chance does: areas under curves, intervals, and how far apart two groups may lie for nothing.

A verdict's false alarm must be rarer than 1 in 10,000 although the noise is fresh in each run: Z standard errors are
room enough with some to spare for tails that aren't quite normal.
"""

import math
from statistics import NormalDist
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Z: Final = 4.5  # one-sided 1 in 300,000 if all is normal


class Estimate(NamedTuple):
    """A number and its standard error."""

    value: float
    se: float

    @property
    def low(self) -> float:
        """What it is at least, but for chance."""
        return self.value - Z * self.se

    @property
    def high(self) -> float:
        """What it is at most, but for chance."""
        return self.value + Z * self.se


def auc_bound(rho: float) -> float:
    """The largest area under the curve of any test between neighbours whose release costs rho (Gaussian noise).

    Dong, Roth and Su (2022): Gaussian noise at distance mu = sqrt(2 rho) is as hard as N(0, 1) against N(mu, 1), and
    the best test's area between these is Phi(mu / sqrt 2).
    """
    return NormalDist().cdf(math.sqrt(rho))


def tight_epsilon(rho: float, delta: float) -> float:
    """The least epsilon of Gaussian noise that costs rho, exactly (Balle and Wang 2018, theorem 8).

    `core.budget.epsilon_for` is the account's: it holds for any mechanism of that rho, and is a little larger.
    """
    distance, normal = math.sqrt(2 * rho), NormalDist()

    def delta_of(epsilon: float) -> float:
        less, more = distance / 2 - epsilon / distance, -distance / 2 - epsilon / distance
        return normal.cdf(less) - math.exp(epsilon) * normal.cdf(more)

    low, high = 0.0, 100.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (low, middle) if delta_of(middle) <= delta else (middle, high)
    return high


def wins(scores: NDArray[np.float64], inside: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Pairs of releases by target, f64[targets, releases, releases]: 1 where the first outscores the second, 1/2 at a
    tie; and whether the first was with the target and the second without."""
    one, other = scores.T[:, :, None], scores.T[:, None, :]
    return (one > other) + 0.5 * (one == other), inside.T[:, :, None] & ~inside.T[:, None, :]


def auc(scores: NDArray[np.float64], inside: NDArray[np.bool_]) -> Estimate:
    """The mean area under the targets' curves, its standard error by leaving out one release at a time.

    Releases are independent of each other, the targets of one release aren't: they share its noise. So only pairs of
    different releases are compared, target by target, and the jackknife runs over releases (Arvesen 1969).

    Args:
        scores, inside: [releases, targets]; every target was in and out at least twice.
    """
    won, valid = wins(scores, inside)
    won = won * valid
    total, number = won.sum(axis=(1, 2)), valid.sum(axis=(1, 2))
    value = float((total / number).mean())
    releases = len(scores)
    without = np.empty(releases)
    for r in range(releases):
        lost = won[:, r, :].sum(axis=1) + won[:, :, r].sum(axis=1)
        gone = valid[:, r, :].sum(axis=1) + valid[:, :, r].sum(axis=1)
        without[r] = ((total - lost) / np.maximum(number - gone, 1)).mean()
    se = math.sqrt((releases - 1) / releases * float(((without - without.mean()) ** 2).sum()))
    return Estimate(value, se)


def mean(values: NDArray[np.float64]) -> Estimate:
    """The mean of independent values."""
    return Estimate(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)))


def share(hits: int, tries: int) -> Estimate:
    """A share of tries; its standard error is never 0 (Agresti and Coull 1998: two hits and two misses more)."""
    if tries == 0:
        return Estimate(0.0, 1.0)
    middle = (hits + 2) / (tries + 4)
    return Estimate(hits / tries, math.sqrt(middle * (1 - middle) / (tries + 4)))


def difference(one: Estimate, other: Estimate) -> Estimate:
    """Of two independent estimates."""
    return Estimate(one.value - other.value, math.hypot(one.se, other.se))
