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

from schemas.cohorts import COHORTS
from schemas.lengths import BUCKETS, VISITS
from schemas.measures import Measure, Statistic
from schemas.plan import HOURS, Correction, Hours, Plan
from streams.core.times import local_hour

# What counts on site can be of.
STATISTICS: Final[tuple[Statistic, ...]] = ("present", "trips", "dwell", "visits")
# Told with the factors of the zone's people present, of the measure of that name, as a place sees all of them alike.
OF_PRESENT: Final[tuple[Statistic, ...]] = ("present_cohort", "arrivals")
PRESENT: Final = "present"

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


class Summed(NamedTuple):
    """Estimates of sums with factors, and their standard errors, f64[sums] each."""

    mean: Floats
    se: Floats
    corrected: Corrected


class Factors(NamedTuple):
    """Of one measure at an hour, by rising key: i64[n], and the factors with their standard errors, f64[n] each."""

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

    def put_on_sums(self, mean: Floats, se: Floats, sums: Floats, sums_se: Floats, add: Adding) -> "Summed":
        """Sums that have estimates of their own, of all keys' `mean` and `se`: they gain what their keys gain, and
        their standard errors grow as those of keys that err apart."""
        with_factors, grown, of = self.put_on(mean, se, np.arange(len(mean)))
        before = add(se**2)
        growth = np.sqrt(np.divide(add(grown**2), before, out=np.ones_like(before), where=before > 0))
        together = of.summed(add)._replace(mean=sums, se=sums_se)
        return Summed(sums + add(with_factors - mean), sums_se * growth, together)


class DayFactors(NamedTuple):
    """Of one measure, by rising key: i64[n]; factors and standard errors, f64[spans, n] each, of the spans of a day
    within which none changes; and which span each local hour is of, i64[24]."""

    key: NDArray[np.int64]
    factor: Floats
    se: Floats
    span_of: NDArray[np.int64]

    def at(self, hour: int) -> Factors:
        """Those of panes whose middle is in this local hour."""
        span = self.span_of[hour]
        return Factors(self.key, self.factor[span], self.se[span])


def factors_of(plan: Plan, measure: Measure) -> DayFactors | None:
    """A measure's factors, None if the plan has none. Who arrives, and people by cohort, have those of their zone's
    people present."""
    if measure.statistic not in (*STATISTICS, *OF_PRESENT):
        return None
    places, name = place_numbers(plan, measure), PRESENT if measure.statistic in OF_PRESENT else measure.name
    said = [each for each in plan.calibration if each.measure == name]
    rows = {key: each for each in said if (key := key_of(measure, places, each)) is not None}
    if not rows:
        return None
    keys = np.array(sorted(rows), np.int64)
    of = [rows[key] for key in keys.tolist()]
    turns = sorted({turn for each in of for some in each.hours for turn in (some.from_hour, some.to_hour)})
    span_of = np.searchsorted(turns, np.arange(HOURS), side="right") % max(len(turns), 1)
    numbers = np.array([_by_span(each, span_of) for each in of], np.float64)
    parts = COHORTS if measure.statistic == "present_cohort" else 1
    each = (keys[:, None] * parts + np.arange(parts)).reshape(-1)
    factor, se = (np.repeat(numbers[:, :, n].T, parts, axis=1) for n in (0, 1))
    return DayFactors(each, factor, se, span_of)


def hour_of(pane_ms: int, end_ms: int, timezone: str) -> int:
    """Which local hour a pane's factors are of: that of its middle."""
    return local_hour(end_ms - pane_ms // 2, timezone)


def _by_span(of: Correction, span_of: NDArray[np.int64]) -> list[tuple[float, float]]:
    """Of each span of the day the factor and its standard error."""
    found = [(of.factor, of.se)] * (int(span_of.max()) + 1)
    for some in of.hours:
        for hour in some.each():
            found[span_of[hour]] = some.factor, some.se
    return found


def of_estimates(measure: Measure, weighted: bool) -> bool:
    """Whether counts on site are held against estimates: where what was drawn is of something else, or the filter knows
    far more than a pane's draw."""
    return weighted or measure.statistic == "present"


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


def correction_of(
    plan: Plan,
    measure: Measure,
    key: int,
    factor: float,
    se: float,
    foretold: bool = False,
    hours: tuple[Hours, ...] = (),
) -> Correction:
    """The reverse: what is said of a key."""
    names, places = part_names(measure), list(place_numbers(plan, measure))
    place, part = divmod(key, len(names))
    if measure.statistic != "trips":
        return Correction(measure.name, places[place], factor, se, "", names[part], foretold, hours)
    origin, destination = divmod(place, len(places))
    return Correction(measure.name, places[origin], factor, se, places[destination], names[part], foretold, hours)
