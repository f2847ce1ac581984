"""Weights: people whom a neighbour's cells count are given back to the zone that they are in, as far as the plan knows.

A cell stands for one zone, and a phone at the border is served by the neighbour's cell, always the same way. So what is
counted of people x is A x, where A[a, b] is the share of those in zone b that zone a's cells serve (`Zone.counted`: of
the plan, so public). To turn that around is to unfold a spectrum that an instrument has smeared, or to estimate
people from emission probabilities (Ricciato et al. 2020, "Towards a methodological framework for estimating present
population density from mobile network operator data"). Here it is one step of van Cittert's iteration (1931), half way,

    T = I + (I - A) / 2

for the shares are no more than likely: people aren't evenly spread, and there are fewer of them at a border. Where a
grid has said where the zone's people are (`Zone.step`), its column takes the whole step. Sums stay as they are where
all are counted somewhere, no weight is far from 1, and only neighbours mix.

Trips F between districts, which are counted at both ends, become T F T', with the matrix of districts: of each the mean
of its zones. (Between zones that gains nothing: who flaps at a border makes trips of his own.)

T is applied to noisy counts, so it costs no budget; their noise grows by the `norm` of its rows, which is said. In: a
plan, and kinds of zones where nobody is counted: nothing is given back to these, or taken. Out: weights in rows, and
of districts as a matrix.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.measures import MOST_PAIRS, Measure
from schemas.plan import Plan

STEP: Final = 0.5
# Counts of people in a zone, whole or in parts. Of lengths of stays validation has found no more than it would cost.
STATISTICS: Final = ("present", "present_cohort", "arrivals", "visits")


class Weights(NamedTuple):
    """Rows of a sparse matrix: of row i the entries from `begins[i]` on.

    Attributes:
        begins: i64[zones]. zone: i64[n], the column. weight: f64[n]. norm: f64[zones], the Euclidean norm of the rows.
    """

    begins: NDArray[np.int64]
    zone: NDArray[np.int64]
    weight: NDArray[np.float64]
    norm: NDArray[np.float64]

    def row(self) -> NDArray[np.int64]:
        """The row of each entry, i64[n]."""
        return np.repeat(np.arange(len(self.begins)), np.diff(np.append(self.begins, len(self.zone))))

    def applied(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts i64[zones * parts], each part by itself, in whole people."""
        parts = counts.reshape(len(self.begins), -1)
        given = np.add.reduceat(self.weight[:, None] * parts[self.zone], self.begins, axis=0)
        return np.rint(given).astype(np.int64).reshape(-1)

    def grown(self, measure: Measure, keys: int) -> NDArray[np.float64]:
        """How much the noise of each key has grown, f64[keys]."""
        assert measure.level == "zone"
        return np.repeat(self.norm, keys // len(self.norm))

    def norms_of(self, district_of: NDArray[np.int64], districts: int) -> NDArray[np.float64]:
        """The norms of the rows of districts' sums, f64[districts]."""
        zones = len(self.begins)
        pairs, which = np.unique(district_of[self.row()] * zones + self.zone, return_inverse=True)
        together = np.bincount(which, self.weight, len(pairs))
        return np.sqrt(np.bincount(pairs // zones, together**2, districts))


class TripWeights(NamedTuple):
    """For trips between districts.

    Attributes:
        matrix: f64[districts, districts]. norm: f64[districts], the Euclidean norm of its rows.
    """

    matrix: NDArray[np.float64]
    norm: NDArray[np.float64]

    def applied(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts i64[districts * districts], by origin and destination, in whole trips."""
        between = self.matrix @ counts.reshape(self.matrix.shape) @ self.matrix.T
        return np.rint(between).astype(np.int64).reshape(-1)

    def grown(self, measure: Measure, keys: int) -> NDArray[np.float64]:
        """How much the noise of each key has grown, f64[keys]."""
        assert measure.level == "parent" and keys == self.matrix.size
        return np.outer(self.norm, self.norm).reshape(-1)


class PlanWeights(NamedTuple):
    """All weights of a plan. `trips`: None where pairs of districts are so many that the data choose which are drawn:
    these stay as they are counted."""

    people: Weights
    trips: TripWeights | None

    def of(self, measure: Measure) -> Weights | TripWeights | None:
        """Those of a measure's counts, None if they stay as they are counted."""
        if measure.statistic == "trips" and measure.level == "parent":
            return self.trips
        return self.people if measure.statistic in STATISTICS and measure.level == "zone" else None


def weights_of(plan: Plan, excluded: Collection[str] = ()) -> PlanWeights | None:
    """The weights of a plan, None if it knows none."""
    if not plan.weighted:
        return None
    people, within = _of_people(plan, excluded)
    few = len(plan.parents) ** 2 <= MOST_PAIRS
    return PlanWeights(people, _of_trips(plan, people, within) if few else None)


def _of_people(plan: Plan, excluded: Collection[str]) -> tuple[Weights, NDArray[np.bool_]]:
    """Weights of zones, and which of these are given anything."""
    numbers = plan.zone_numbers()
    within = [bool(zone.counted) and zone.kind not in excluded for zone in plan.zones]
    row, column, weight = [], [], []
    for number, zone in enumerate(plan.zones):
        row.append(number)
        column.append(number)
        step = STEP if zone.step is None else zone.step
        weight.append(1.0 + step if within[number] else 1.0)
        for part in zone.counted if within[number] else ():
            if within[numbers[part.zone]]:
                row.append(numbers[part.zone])
                column.append(number)
                weight.append(-step * part.share)
    rows, zones = np.array(row, np.int64), np.array(column, np.int64)
    pairs, which = np.unique(rows * len(numbers) + zones, return_inverse=True)
    values = np.bincount(which, np.array(weight), len(pairs)).astype(np.float64)
    begins = np.searchsorted(pairs // len(numbers), np.arange(len(numbers)))
    weights = Weights(begins, pairs % len(numbers), values, np.sqrt(np.add.reduceat(values**2, begins)))
    return weights, np.array(within, np.bool_)


def _of_trips(plan: Plan, people: Weights, within: NDArray[np.bool_]) -> TripWeights:
    """Of each district the mean over its zones that are given anything, whoever is in them: that would be private."""
    district_of = np.array(plan.zone_parents(), np.int64)
    size = len(plan.parents)
    each = np.bincount(district_of[within], minlength=size)
    told = within[people.zone]
    pairs = district_of[people.row()[told]] * size + district_of[people.zone[told]]
    matrix = np.bincount(pairs, people.weight[told], size * size).reshape(size, size) / np.maximum(each, 1)
    matrix[:, each == 0] = np.eye(size)[:, each == 0]
    return TripWeights(matrix, np.sqrt((matrix**2).sum(axis=1)))
