"""Factors: estimates multiplied by how many people were truly there to each one counted, where counts on site say so.

They stand in the plan (`throng calibrate` finds them, `streams.core.calibration`), and are put on estimates after
noise and filter, so they cost no budget and counting does not change. Estimate and standard error grow alike; the
factor's own error goes to the network's view. Whether a number may be told is asked of it as counted too: no factor
helps a place over k.

In: a plan, and a measure's estimates. Out: the same with what is needed to tell them, sums of them as well.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.lengths import BUCKETS, VISITS
from schemas.measures import Measure, Statistic
from schemas.plan import Correction, Plan

# What of counts by place and part validation has found to gain, where the plan does not weight it: what weights correct
# gains no more by factors.
STATISTICS: Final[tuple[Statistic, ...]] = ("trips", "dwell", "visits")

Floats = NDArray[np.float64]
Adding = Callable[[Floats], Floats]


class Corrected(NamedTuple):
    """What is known of numbers that factors were put on, f64[keys] each, or of sums of them.

    Attributes:
        mean, se: as counted. off: standard error by the factors' own. people: what of the estimate was multiplied.
        times: how many numbers in it were; 0: none.
    """

    mean: Floats
    se: Floats
    off: Floats
    people: Floats
    times: Floats

    def each(self, change: Adding) -> "Corrected":
        """With every array changed alike."""
        return Corrected(*(change(column) for column in self))

    def summed(self, add: Adding) -> "Corrected":
        """Of sums: what errs on its own adds up in squares."""
        se, off = (np.sqrt(add(column**2)) for column in (self.se, self.off))
        return Corrected(add(self.mean), se, off, add(self.people), add(self.times))


class Factors(NamedTuple):
    """Of one measure, by rising key: i64[n], and the factors with their standard errors, f64[n] each."""

    key: NDArray[np.int64]
    factor: Floats
    se: Floats

    def put_on(self, mean: Floats, se: Floats, keys: NDArray[np.int64]) -> tuple[Floats, Floats, Corrected]:
        """The estimates of `keys` and their standard errors with the factors, and what is known of it."""
        at = np.minimum(np.searchsorted(self.key, keys), len(self.key) - 1)
        has = self.key[at] == keys
        factor = np.where(has, self.factor[at], 1.0)
        off = np.where(has, self.se[at], 0.0) * np.maximum(mean, 0.0)
        people = np.where(has, factor * np.maximum(mean, 0.0), 0.0)
        return factor * mean, factor * se, Corrected(mean, se, off, people, has.astype(np.float64))


def factors_of(plan: Plan, measure: Measure) -> Factors | None:
    """A measure's factors, None if the plan has none."""
    if measure.statistic not in STATISTICS:
        return None
    places = place_numbers(plan, measure)
    said = [each for each in plan.calibration if each.measure == measure.name]
    rows = {key: (each.factor, each.se) for each in said if (key := key_of(measure, places, each)) is not None}
    if not rows:
        return None
    keys = sorted(rows)
    factor, se = np.array([rows[key] for key in keys], np.float64).T
    return Factors(np.array(keys, np.int64), factor, se)


def place_numbers(plan: Plan, measure: Measure) -> dict[str, int]:
    """The numbers of the places that the measure counts by."""
    ids = [zone.id for zone in plan.zones] if measure.level == "zone" else [parent.id for parent in plan.parents]
    return {place: number for number, place in enumerate(ids)}


def part_names(measure: Measure) -> list[str]:
    """The names of a measure's parts, the one without parts an empty one."""
    if measure.statistic == "dwell":
        return [bucket.name for bucket in BUCKETS]
    return list(VISITS) if measure.statistic == "visits" else [""]


def key_of(measure: Measure, places: dict[str, int], of: Correction) -> int | None:
    """Which of the measure's keys it is about; None if the measure, as it is counted, has no such key."""
    names = part_names(measure)
    ends = [of.place, of.destination] if measure.statistic == "trips" else [of.place]
    if any(end not in places for end in ends) or of.part not in names or bool(of.destination) != (len(ends) > 1):
        return None
    place = places[ends[0]] if len(ends) == 1 else places[ends[0]] * len(places) + places[ends[1]]
    return place * len(names) + names.index(of.part)
