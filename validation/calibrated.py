"""Calibrated by other days: what is left of the errors once places have factors.

The days before a town's day are counted and released as that one is, and everybody in them is counted on site as well,
each count with an error of its own. Of these counts and what was released `streams.core.calibration` makes factors, as
`throng calibrate` does: what was withheld nobody knows. They are put on the town's day, as counted and as released.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from schemas.lengths import BUCKETS, CUT
from schemas.measures import AREAS, Measure
from schemas.plan import Correction, Plan
from streams.core.calibration.calibration import ALIKE, BY_ITSELF, Evidence, by_part_of_day, found, told_from
from streams.core.estimates.factors import (
    OF_PRESENT,
    STATISTICS,
    DayFactors,
    correction_of,
    factors_of,
    hour_of,
    of_estimates,
    part_names,
)
from streams.core.estimates.view import View
from streams.core.estimates.weights import PlanWeights
from streams.core.release.render import Estimates, Page
from streams.settings import Settings
from validation import errors, happened, released
from validation.draws import Noisy
from validation.errors import Pairs
from validation.judge import HOURS, VIEWS, hourly, paired, weighted, weights_of_day
from validation.released import Estimates as Released
from validation.released import Noise
from validation.towns import Day

DAYS: Final = 2  # before the one that is judged
COUNTER_ERROR: Final = 0.05

Counts = dict[str, NDArray[np.int64]]
Level = tuple[NDArray[np.float64], NDArray[np.float64]]


class Counted(NamedTuple):
    """A day on which people were counted on site. `told`: by measure, of what was told, estimates and their errors."""

    evidence: dict[str, Evidence]
    told: dict[str, Level]


class Calibrated(NamedTuple):
    """Pairs by kind: as counted and as released, with factors, and as counted with those of the last day alone."""

    before: dict[str, Pairs]
    released: dict[str, Pairs]
    one_day: dict[str, Pairs]


def measures_of(day: Day) -> list[Measure]:
    """The measures that are judged: all that factors are put on."""
    return [measure for measure in day.epoch.measures if measure.statistic in (*STATISTICS, *OF_PRESENT)]


def counted_on_site(day: Day) -> list[Measure]:
    """Those that factors are found for."""
    return [measure for measure in day.epoch.measures if measure.statistic in STATISTICS]


def truth_of(day: Day) -> Counts:
    """What truly happened, of these measures, and footfall."""
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    epoch = msgspec.structs.replace(day.epoch, measures=tuple(measures_of(day)))
    return happened.everything(there, epoch, day.parents, cohorts=day.cohorts)


def counted(day: Day, noise: Noise) -> Counted:
    """Release a day and count it on site."""
    noisy = {m.name: released.noisy(day.counts[m.name], m, day.epoch, noise) for m in counted_on_site(day)}
    return on_site(day, truth_of(day), noisy)


def on_site(day: Day, truth: Counts, noisy_counts: Noisy, nth: int = 0) -> Counted:
    """Count a day on site of which a draw of noise was released, from the second hour on: the first is told as
    incomplete. `nth`: of how many draws; each has its own counters' errors."""
    draw = np.random.default_rng((day.shape.seed, *day.shape.date, nth))
    page, weights = Page(day.plan, Settings().release.confidence), weights_of_day(day)
    evidence, told = {}, {}
    for measure in counted_on_site(day):
        later = slice(len(truth[measure.name]) // HOURS, None)
        of = released.estimated(noisy_counts[measure.name], measure, day.epoch, weights)
        assert of.noisy is not None
        noisy, mean, se = of.noisy[later].reshape(-1), of.mean[later].reshape(-1), of.se[later].reshape(-1)
        true = truth[measure.name][later]
        seen_there = np.maximum(true * draw.normal(1, COUNTER_ERROR, true.shape), 0).reshape(-1)
        key = np.tile(np.arange(true.shape[1]), len(true))
        is_told = page.told(Estimates(noisy, mean, se), day.epoch.k)
        # How long a presence was that the epoch cut, nobody on site can say.
        known = np.array([name != BUCKETS[CUT].name for name in part_names(measure)])[key % len(part_names(measure))]
        seen = mean if of_estimates(measure, _is_weighted(weights, measure)) else noisy.astype(np.float64)
        hour = np.repeat(hours_of(day, measure)[later], true.shape[1])
        evidence[measure.name] = Evidence(key, seen_there, is_told, seen, se, hour).rows(known)
        told[measure.name] = mean[is_told], se[is_told]
    return Counted(evidence, told)


def hours_of(day: Day, measure: Measure) -> NDArray[np.int64]:
    """Which local hour each of the measure's panes is of, i64[panes]."""
    ends = range(day.epoch.start_ms + measure.pane_ms, day.epoch.end_ms + 1, measure.pane_ms)
    return np.array([hour_of(measure.pane_ms, end, day.plan.timezone) for end in ends], np.int64)


def _is_weighted(weights: PlanWeights | None, measure: Measure) -> bool:
    return weights is not None and weights.of(measure) is not None


def calibrated_plan(day: Day, days: Sequence[Counted]) -> Plan:
    """The day's plan with the factors that other days' counts give, of the measures that these have."""
    weights, plan = weights_of_day(day), day.plan
    said: list[Correction] = []
    for measure in counted_on_site(day):
        if any(measure.name not in each.evidence for each in days):
            continue
        estimates, se = map(np.concatenate, zip(*(each.told[measure.name] for each in days), strict=True))
        if not len(estimates):
            continue
        parts = len(part_names(measure))
        group = np.arange(measure.keys(day.epoch.zones, day.epoch.parents)) % parts
        evidence = Evidence(*map(np.concatenate, zip(*(each.evidence[measure.name] for each in days), strict=True)))
        erring = ALIKE if of_estimates(measure, _is_weighted(weights, measure)) else BY_ITSELF
        told = told_from(day.epoch.k, estimates, se)
        of = found(evidence, group, told, COUNTER_ERROR, erring)
        of_day = by_part_of_day(evidence, of, told, COUNTER_ERROR, erring)
        said += [
            correction_of(plan, measure, key, float(of.factor[key]), float(of.se[key]), hours=of_day.hours(key))
            for key in np.flatnonzero(of.panes).tolist()
        ]
    return msgspec.structs.replace(plan, calibration=tuple(said))


def judge(day: Day, truth: Counts, days: Sequence[Counted], estimates: Mapping[str, Released]) -> Calibrated:
    """Hold a day, and what was released of it by measure, with the factors of others against its truth."""
    of_these = {name: counts for name, counts in truth.items() if name not in AREAS}
    exact = {name: (counts.astype(np.float64), np.zeros(counts.shape)) for name, counts in weighted(day).items()}
    noisy = {name: (of.mean, of.se) for name, of in estimates.items()}
    two, one = calibrated_plan(day, days), calibrated_plan(day, days[:1])
    return Calibrated(
        errors.larger(paired(*with_factors(day, two, exact, of_these))),
        errors.larger(paired(*with_factors(day, two, noisy, of_these))),
        errors.larger(paired(*with_factors(day, one, exact, of_these))),
    )


def with_factors(
    day: Day, plan: Plan, estimates: Mapping[str, Level], truth: Counts
) -> tuple[dict[str, NDArray[np.float64]], Counts, dict[str, NDArray[np.float64]]]:
    """What is told, what is so, and the standard errors, of the noise, the factors and the network's view together."""
    told, errs = {}, {}
    arrivals = next(measure for measure in day.epoch.measures if measure.statistic == "arrivals")
    for name, measure, level in _all(day, estimates):
        of, hours = factors_of(plan, measure), hours_of(day, measure)
        told[name], errs[name] = corrected_level(of, hours, VIEWS.get(name), level)
    # A zone's factor goes through sums of its panes.
    told["footfall_hour"] = hourly(told["footfall"], told[arrivals.name]).astype(np.float64)
    errs["footfall_hour"] = hourly(errs["footfall"], errs[arrivals.name]).astype(np.float64)
    return told, truth, errs


def corrected_level(of: DayFactors | None, hours: NDArray[np.int64], view: View | None, level: Level) -> Level:
    """A measure's estimates with its factors, and their errors with those of the factors and the network's view.
    `hours`: which each pane is of."""
    mean, se = level
    if of is None:
        return mean, se if view is None else np.hypot(se, view.se(mean))
    keys, told, errs = np.arange(mean.shape[1]), np.empty(mean.shape), np.empty(mean.shape)
    for pane, hour in enumerate(hours.tolist()):
        told[pane], grown, corrected = of.at(hour).put_on(mean[pane], se[pane], keys)
        off = corrected.off if view is None else view.corrected_se(told[pane], corrected)
        errs[pane] = np.hypot(grown, off)
    return told, errs


def _all(day: Day, estimates: Mapping[str, Level]) -> list[tuple[str, Measure, Level]]:
    """The measures' estimates, and footfall, which has the factors of who arrives."""
    every = [(measure.name, measure, estimates[measure.name]) for measure in measures_of(day)]
    arrivals = next(measure for measure in day.epoch.measures if measure.statistic == "arrivals")
    (present, present_se), (arrived, arrived_se) = estimates["present"], estimates[arrivals.name]
    footfall = released.footfall(present, arrived).astype(np.float64)
    variance = released.footfall(present_se**2, arrived_se**2).astype(np.float64)
    return [*every, ("footfall", arrivals, (footfall, np.sqrt(variance)))]


def with_truth(before: Sequence[Day]) -> list[tuple[Day, Counts]]:
    """Days before, each with what truly happened instead of where everybody was."""
    return [(each._replace(stretches=each.stretches[:0]), truth_of(each)) for each in before]


def corrected(day: Day, days: Sequence[Counted]) -> dict[str, Pairs]:
    """The numbers that have factors, before noise, against the truth, with the factors' errors; by what is told."""
    truth, plan = truth_of(day), calibrated_plan(day, days)
    exact = {name: (counts.astype(np.float64), np.zeros(counts.shape)) for name, counts in weighted(day).items()}
    pairs = {}
    for name, measure, (mean, _) in _all(day, exact):
        of = factors_of(plan, measure)
        if of is None or name not in truth:
            continue
        first = len(mean) // HOURS
        told, off = corrected_level(of, hours_of(day, measure), None, (mean, np.zeros(mean.shape)))
        later = slice(first, None), of.key
        pairs[name] = errors.pairs(told[later], truth[name][later], off[later])
    return pairs


def together(many: Sequence[Calibrated]) -> Calibrated:
    """The towns' pairs as one."""
    sides = [[side[n] for side in many] for n in range(len(Calibrated._fields))]
    return Calibrated(*({kind: errors.joined([each[kind] for each in side]) for kind in side[0]} for side in sides))
