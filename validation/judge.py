"""A town's day against the truth: every measure as counted and as released, in pairs of what was told and what is so.

    before       counted by the crowd and weighted by the plan, without noise, against what truly happened
    as counted   the same without the plan's weights
    by the words the same against the definitions' words on true positions: whoever walks about a park for ten minutes
                 has stayed there; the radio's part of the error alone
    released     estimates after noise, against what truly happened; their errors are those of the noise and of the
                 network's view (`se` and `view_se` of a record) together
    alone        the same with the noise's errors alone
    noise        estimates against what was counted: the part that the stated errors are about

Panes that end within the first hour are left out, as the first silence of an epoch is told as incomplete.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from schemas.lengths import BUCKETS, CUT
from streams.core.estimates.view import SIMULATED_WEIGHTED
from streams.core.estimates.weights import PlanWeights, weights_of
from validation import errors, happened, medians, released
from validation.errors import Pairs
from validation.happened import Medians
from validation.medians import Lengths
from validation.released import Estimates
from validation.towns import Day

HOURS: Final = 24
VIEWS: Final = SIMULATED_WEIGHTED
STAY_MIN: Final = 10

# What is told, by the measures that it is read from.
KINDS: Final = {
    "present": ("present",),
    "present by cohort": ("present_cohort",),
    "footfall": ("footfall",),
    "footfall of an hour": ("footfall_hour",),
    "flows": ("trips_zone", "trips_parent"),
    "flows by zone": ("trips_zone",),
    "flows by district": ("trips_parent",),
    "dwell": ("dwell",),
    "dwell, stays": ("dwell",),
    "dwell, passes": ("dwell",),
    "visits": ("visits",),
    "first visitors by home": ("home",),
    "first visitors by work": ("work",),
}
_BUCKETS: Final = {
    "dwell": [n for n in range(len(BUCKETS)) if n != CUT],
    "dwell, stays": [n for n, b in enumerate(BUCKETS) if n != CUT and b.from_min >= STAY_MIN],
    "dwell, passes": [n for n, b in enumerate(BUCKETS) if n != CUT and b.from_min < STAY_MIN],
}


class Truth(NamedTuple):
    """What truly happened and the same by the definitions' words, by measure, i64[panes, keys]; and median stays."""

    counts: dict[str, NDArray[np.int64]]
    words: dict[str, NDArray[np.int64]]
    stays: Medians


class Judged(NamedTuple):
    """Pairs by kind, and the median length of stays; of one draw of noise."""

    before: dict[str, Pairs]
    unweighted: dict[str, Pairs]
    words: dict[str, Pairs]
    released: dict[str, Pairs]
    alone: dict[str, Pairs]
    noise: dict[str, Pairs]
    stays: Lengths


def truth_of(day: Day) -> Truth:
    """What there is to hold a day against."""
    there = happened.presences(day.stretches, day.excluded, day.epoch)
    truth = happened.everything(there, day.epoch, day.parents, cohorts=day.cohorts, lives=day.lives)
    words = truth | happened.everything(there, day.epoch, day.parents, stops=False)
    dwell = next(m for m in day.epoch.measures if m.statistic == "dwell")
    return Truth(truth, words, happened.median_stay(there, day.epoch, dwell))


def judge(day: Day, truth: Truth, estimates: Mapping[str, Estimates]) -> Judged:
    """Hold a day, and what was released of it by measure, against its truth."""
    told = with_footfall({name: each.mean for name, each in estimates.items()})
    se = with_footfall_se({name: each.se for name, each in estimates.items()})
    counted = with_footfall(weighted(day))
    skipped, dwell = len(truth.stays.stays) // HOURS, day.counts["dwell"]
    return Judged(
        paired(counted, truth.counts),
        paired(with_footfall(day.counts), truth.counts),
        paired(counted, truth.words),
        errors.larger(paired(told, truth.counts, with_view(se, told))),
        errors.larger(paired(told, truth.counts, se)),
        errors.larger(paired(told, counted, se)),
        medians.lengths(dwell, estimates["dwell"], truth.stays, day.epoch, skipped),
    )


def weighted(day: Day) -> dict[str, NDArray[np.int64]]:
    """A day's counts, weighted as in the release and cut at 0 as there."""
    weights = weights_of_day(day)
    if weights is None:
        return day.counts
    found = dict(day.counts)
    for measure in day.epoch.measures:
        if (of := weights.of(measure)) is not None:
            found[measure.name] = np.maximum(np.stack([of.applied(pane) for pane in found[measure.name]]), 0)
    return found


def weights_of_day(day: Day) -> PlanWeights | None:
    """The weights of the day's plan, as the release has them."""
    return weights_of(day.plan, excluded_kinds(day))


def excluded_kinds(day: Day) -> set[str]:
    """The kinds of zones that the policy leaves out."""
    return {day.plan.zones[number].kind for number in day.excluded.tolist()}


def with_view(
    se: Mapping[str, NDArray[np.float64]], told: Mapping[str, NDArray[np.generic]]
) -> dict[str, NDArray[np.float64]]:
    """Standard errors with those of the network's view, of the measures that have one."""
    view = {name: VIEWS[name].se(told[name].astype(np.float64)) for name in se if name in VIEWS}
    # A place is seen alike in an hour's panes.
    view["footfall_hour"] = hourly(view["footfall"], view["arrivals"]).astype(np.float64)
    return {name: np.hypot(each, view[name]) if name in view else each for name, each in se.items()}


def with_footfall(counts: Mapping[str, NDArray[np.generic]]) -> dict[str, NDArray[np.generic]]:
    """Counts, and what is made of them: footfall of arrivals' panes and of the hour."""
    footfall = released.footfall(counts["present"], counts["arrivals"])
    return {**counts, "footfall": footfall, "footfall_hour": hourly(footfall, counts["arrivals"])}


def with_footfall_se(se: Mapping[str, NDArray[np.float64]]) -> dict[str, NDArray[np.float64]]:
    """Standard errors, and those of what is made of counts: of one place's successive panes they add up, those of
    people present and arrivals are independent."""
    footfall = np.sqrt(released.footfall(se["present"] ** 2, se["arrivals"] ** 2).astype(np.float64))
    hour = hourly(footfall, se["arrivals"]).astype(np.float64)
    return {**se, "footfall": footfall, "footfall_hour": hour}


def hourly(footfall: NDArray[np.generic], arrivals: NDArray[np.generic]) -> NDArray[np.generic]:
    """Footfall of the hour's first pane, and arrivals in its others."""
    each = len(arrivals) // HOURS
    later = arrivals.reshape(HOURS, each, -1)[:, 1:].sum(axis=1)
    return np.asarray(footfall[::each] + later)


def paired(
    told: Mapping[str, NDArray[np.generic]],
    true: Mapping[str, NDArray[np.generic]],
    se: Mapping[str, NDArray[np.float64]] | None = None,
) -> dict[str, Pairs]:
    """Pairs by kind, from the second hour on."""
    found = {}
    for kind, measures in KINDS.items():
        sides = [[_of_kind(side[name], kind) for name in measures if name in true] for side in (told, true, se or true)]
        parts = [errors.pairs(a, b, c if se else None) for a, b, c in zip(*sides, strict=True)]
        if parts:
            found[kind] = errors.joined(parts)
    return found


def _of_kind(counts: NDArray[np.generic], kind: str) -> NDArray[np.float64]:
    later = counts[len(counts) // HOURS :].astype(np.float64)
    if kind in _BUCKETS:
        return later.reshape(len(later), -1, len(BUCKETS))[:, :, _BUCKETS[kind]]
    return later


def together(many: list[Judged]) -> Judged:
    """The towns' pairs as one."""
    return Judged(
        _joined([each.before for each in many]),
        _joined([each.unweighted for each in many]),
        _joined([each.words for each in many]),
        _joined([each.released for each in many]),
        _joined([each.alone for each in many]),
        _joined([each.noise for each in many]),
        medians.joined([each.stays for each in many]),
    )


def _joined(sides: list[dict[str, Pairs]]) -> dict[str, Pairs]:
    return {kind: errors.joined([side[kind] for side in sides if kind in side]) for kind in KINDS if kind in sides[0]}
