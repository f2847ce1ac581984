"""Roll-up: what is told of districts and what is told of their zones agree. Post-processing: it costs no budget.

A tree of two levels: each zone has one district (parent), and what is true of a district is the sum of its zones. What
is estimated of both does not add up; here it is made to, by least squares, weighted by what each estimate is worth
(Hay, Rastogi, Miklau and Suciu 2010, section 4; with unequal variances it is generalised least squares).

    reconciled   both levels were estimated from independent noise: the best linear unbiased estimates that add up
    blended      both were made of the same noise, as people present are: estimates that add up, errors that claim less

In: estimates and variances of zones and of districts, and each zone's district. Out: the same, adding up.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streams.core.estimates.estimate import Level

# Correlation of the errors of a district's own estimate and of its zones' sum, which are made of the same noise:
# benchmarks/rollup.py finds 0.77 to 0.91.
TOGETHER: Final = 0.95


class Tree(NamedTuple):
    """Estimates of both levels: of f64[zones] and f64[districts]."""

    zones: Level
    districts: Level


def added(values: NDArray[np.float64], district_of: NDArray[np.int64], districts: int) -> NDArray[np.float64]:
    """The districts' sums of what the zones have along the first axis; 0 for one without zones."""
    sums = np.zeros((districts, *values.shape[1:]))
    np.add.at(sums, district_of, values)
    return sums


def reconciled(tree: Tree, district_of: NDArray[np.int64]) -> Tree:
    """Least squares over the tree, errors independent and variances known.

    What a district's own estimate has more than the sum of its zones is shared out by variance: with `v` of a zone,
    `s` of the sum and `p` of the district's own, a zone takes `v / (s + p)` of it. No variance grows.

    Args:
        district_of: i64[zones].
    """
    zones, own = tree
    together = _sum_of(zones, district_of, len(own.mean))
    whole = together.variance + own.variance
    per = np.divide(1.0, whole, out=np.zeros_like(whole), where=whole > 0)
    lacks = (own.mean - together.mean) * per
    return Tree(
        Level(zones.mean + zones.variance * lacks[district_of], zones.variance - zones.variance**2 * per[district_of]),
        Level(together.mean + together.variance * lacks, together.variance * own.variance * per),
    )


def blended(tree: Tree, district_of: NDArray[np.int64]) -> Tree:
    """Estimates as `reconciled`, for two levels that err alike since they were made of the same noise.

    How far a zone and its district err alike is not known, so nothing is claimed of it: a zone keeps its variance. A
    district's is that of its own estimate and its zones' sum, weighed by what each is worth and erring `TOGETHER`, and
    says too how far the two are apart: that is while a tide lifts all of a district's zones, and all their errors lie
    to one side.
    """
    best = reconciled(tree, district_of).districts.mean
    together = _sum_of(tree.zones, district_of, len(best))
    whole = together.variance + tree.districts.variance
    share = np.divide(together.variance, whole, out=np.zeros_like(whole), where=whole > 0)
    variance = share * (tree.districts.mean - best) ** 2 + (1 - share) * (together.mean - best) ** 2
    variance += share**2 * tree.districts.variance + (1 - share) ** 2 * together.variance
    variance += 2 * TOGETHER * share * (1 - share) * np.sqrt(tree.districts.variance * together.variance)
    per = np.divide(1.0, together.variance, out=np.zeros_like(whole), where=together.variance > 0)
    lacks = (best - together.mean) * per
    zones = Level(tree.zones.mean + tree.zones.variance * lacks[district_of], tree.zones.variance)
    return Tree(zones, Level(best, variance))


def _sum_of(zones: Level, district_of: NDArray[np.int64], districts: int) -> Level:
    return Level(added(zones.mean, district_of, districts), added(zones.variance, district_of, districts))
