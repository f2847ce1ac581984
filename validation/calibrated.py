"""Calibrated by other days: what is left of the errors of dwell, visits and flows once places have factors.

The days before a town's day are counted and released as that one is, and everybody in them is counted on site as well,
each count with an error of its own. Of these counts and what was released `streams.core.calibration` makes factors, as
`throng calibrate` does: what was withheld nobody knows. They are put on the town's day, as counted and as released.
"""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.lengths import BUCKETS, CUT
from schemas.measures import Measure
from streams.core.calibration import Evidence, found, told_from
from streams.core.factors import STATISTICS, Factors, part_names
from streams.core.render import Estimates, Page
from streams.settings import Settings
from validation import errors, happened, released
from validation.errors import Pairs
from validation.judge import HOURS, VIEWS, paired, weighted, weights_of_day
from validation.released import Noise
from validation.towns import Day, Shape, Told, live

DAYS: Final = 2  # before the one that is judged
COUNTER_ERROR: Final = 0.05

Counts = dict[str, NDArray[np.int64]]


class Counted(NamedTuple):
    """A day on which people were counted on site. `told`: by measure, of what was told, estimates and their errors."""

    evidence: dict[str, Evidence]
    told: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]


class Calibrated(NamedTuple):
    """Pairs by kind: as counted and as released, with factors, and as counted with those of the last day alone."""

    before: dict[str, Pairs]
    released: dict[str, Pairs]
    one_day: dict[str, Pairs]


def days_before(shape: Shape) -> list[Shape]:
    """The same town on the days before, the last one first."""
    last = date(*shape.date)
    dates = [last - timedelta(days=back) for back in range(1, DAYS + 1)]
    return [shape._replace(date=(each.year, each.month, each.day)) for each in dates]


def measures_of(day: Day) -> list[Measure]:
    """The measures that are judged; those that the plan weights as they are, for flows are of both."""
    return [measure for measure in day.epoch.measures if measure.statistic in STATISTICS]


def corrected_of(day: Day) -> list[Measure]:
    """Those that factors are for."""
    weights = weights_of_day(day)
    return [measure for measure in measures_of(day) if weights is None or weights.of(measure) is None]


def truth_of(day: Day) -> Counts:
    """What truly happened, of these measures."""
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    names = {measure.name for measure in measures_of(day)}
    everything = happened.everything(there, day.epoch, day.parents)
    return {name: counts for name, counts in everything.items() if name in names}


def counted(day: Day, noise: Noise) -> Counted:
    """Release a day and count it on site, from the second hour on: the first is told as incomplete."""
    draw = np.random.default_rng(day.shape.seed)
    page, truth = Page(day.plan, Settings().release.confidence), truth_of(day)
    evidence, told = {}, {}
    for measure in corrected_of(day):
        later = slice(len(truth[measure.name]) // HOURS, None)
        of = released.release(day.counts[measure.name], measure, day.epoch, noise)
        assert of.noisy is not None
        noisy, mean, se = of.noisy[later].reshape(-1), of.mean[later].reshape(-1), of.se[later].reshape(-1)
        true = truth[measure.name][later]
        on_site = np.maximum(true * draw.normal(1, COUNTER_ERROR, true.shape), 0).reshape(-1)
        key = np.tile(np.arange(true.shape[1]), len(true))
        is_told = page.told(Estimates(noisy, mean, se), day.epoch.k)
        # How long a presence was that the epoch cut, nobody on site can say.
        known = np.array([name != BUCKETS[CUT].name for name in part_names(measure)])[key % len(part_names(measure))]
        evidence[measure.name] = Evidence(key, on_site, is_told, noisy.astype(np.float64), se).rows(known)
        told[measure.name] = mean[is_told], se[is_told]
    return Counted(evidence, told)


def factors(days: Sequence[Counted], measure: Measure, keys: int, k: int) -> Factors | None:
    """The factors of a measure, None if it has none, or nothing was told often enough."""
    if any(measure.name not in day.told for day in days):
        return None
    estimates, se = (np.concatenate(column) for column in zip(*(day.told[measure.name] for day in days), strict=True))
    if not len(estimates):
        return None
    evidence = Evidence(*map(np.concatenate, zip(*(day.evidence[measure.name] for day in days), strict=True)))
    group = np.arange(keys) % len(part_names(measure))
    of = found(evidence, group, told_from(k, estimates, se), COUNTER_ERROR)
    has = np.flatnonzero(of.panes)
    return Factors(has, of.factor[has], of.se[has]) if len(has) else None


def judge(day: Day, days: Sequence[Counted], noise: Noise) -> Calibrated:
    """Hold a day with the factors of others against its truth."""
    truth = truth_of(day)
    weights = weights_of_day(day)
    as_released = {m.name: released.release(day.counts[m.name], m, day.epoch, noise, weights) for m in measures_of(day)}
    exact = {name: (counts.astype(np.float64), np.zeros(counts.shape)) for name, counts in weighted(day).items()}
    noisy = {name: (of.mean, of.se) for name, of in as_released.items()}
    return Calibrated(
        paired(*_with_factors(day, days, exact, truth)),
        paired(*_with_factors(day, days, noisy, truth)),
        paired(*_with_factors(day, days[:1], exact, truth)),
    )


def _with_factors(
    day: Day,
    days: Sequence[Counted],
    estimates: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    truth: Counts,
) -> tuple[dict[str, NDArray[np.float64]], Counts, dict[str, NDArray[np.float64]]]:
    """What is told, what is so, and the standard errors, of the noise, the factors and the network's view together."""
    told, errs = {}, {}
    for measure in measures_of(day):
        name, view = measure.name, VIEWS[measure.name]
        mean, se = estimates[name]
        of = factors(days, measure, mean.shape[1], day.epoch.k)
        if of is None:
            told[name], errs[name] = mean, np.hypot(se, view.se(mean))
            continue
        keys = np.tile(np.arange(mean.shape[1]), len(mean))
        with_factors, grown, corrected = of.put_on(mean.reshape(-1), se.reshape(-1), keys)
        told[name] = with_factors.reshape(mean.shape)
        errs[name] = np.hypot(grown, view.corrected_se(with_factors, corrected)).reshape(mean.shape)
    return told, truth, errs


def calibrate(day: Day, noise: Noise, told: Told) -> Calibrated:
    """Live through the days before, count on site, and hold the day with the factors of these against its truth."""
    return judge(day, [counted(live(shape, told), noise) for shape in days_before(day.shape)], noise)


def corrected(day: Day, days: Sequence[Counted]) -> dict[str, Pairs]:
    """The numbers that have factors, before noise, against the truth, with the factors' errors; by measure."""
    truth, counts = truth_of(day), weighted(day)
    pairs = {}
    for measure in measures_of(day):
        exact = counts[measure.name].astype(np.float64)
        of = factors(days, measure, exact.shape[1], day.epoch.k)
        if of is None:
            continue
        later = exact[len(exact) // HOURS :]
        keys = np.tile(np.arange(exact.shape[1]), len(later))
        told, _, known = of.put_on(later.reshape(-1), np.zeros(later.size), keys)
        has = known.times > 0
        true = truth[measure.name][len(exact) // HOURS :].reshape(-1)
        pairs[measure.name] = errors.pairs(told[has], true[has], known.off[has])
    return pairs


def together(many: Sequence[Calibrated]) -> Calibrated:
    """The towns' pairs as one."""
    sides = [[side[n] for side in many] for n in range(len(Calibrated._fields))]
    return Calibrated(*({kind: errors.joined([each[kind] for each in side]) for kind in side[0]} for side in sides))
