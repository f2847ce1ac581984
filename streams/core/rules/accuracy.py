"""What a deployment's rules give: how exact the numbers are, from how many people on, and what the guarantee is.

In: the rules, the plan's sizes, the threshold's confidence. Out: figures, worked out, nothing measured. Of a measure:

    noise      standard deviation of what is drawn, sqrt(m / 2 rho)
    settled    standard error of the estimate once the filter over time has settled at a level of people: with a
               walk of variance q a pane and noise of variance r, (sqrt(q^2 + 4 q r) - q) / 2 (Harvey 1989). The filter
               follows several models at a time; the walks here are what they come to on simulated weekdays
    told from  the least level whose estimate, less the confidence's quantile of standard errors, is k

Of the whole: rho as epsilon at the rules' delta, and what a membership test can gain. rho-zCDP of Gaussian noise is
mu-GDP with mu = sqrt(2 rho) (Dong, Roth and Su 2019): the area under the test's curve is at most Phi(sqrt(rho)), its
advantage (true less false positives) at most 2 Phi(mu / 2) - 1.
"""

import math
from statistics import NormalDist
from typing import NamedTuple

import msgspec

from schemas.access import RELEASED_BY, measures_for, scopes_for, topics_for
from schemas.epochs import Epoch
from schemas.measures import Measure
from schemas.policy import Rulebook
from streams.core.estimates import models
from streams.core.release.budget import epsilon_for, keys_delta, rho_of, rho_within, sigma, threshold
from streams.core.rules.rules import active, limits

LEVELS = (50, 500, 5000)
DAY_MS = 86_400_000
MEDIAN = NormalDist().inv_cdf(0.75)
MOST_PEOPLE = 1e9


class Walk(NamedTuple):
    """How a level moves in a pane: by a variance of (tide x level)^2 + flow x level."""

    tide: float
    flow: float


# The walks whose settled errors are the medians that benchmarks/accuracy.py measures, within a fifth.
PRESENT = Walk(tide=0.0, flow=0.46)
WALKS = {
    models.PRESENT: PRESENT,
    models.COHORTS: Walk(tide=0.165, flow=4.6),
    models.ARRIVALS: Walk(tide=0.21, flow=0.54),
    models.TRIPS: Walk(tide=0.27, flow=0.0),
    models.DWELL: Walk(tide=0.71, flow=0.0),
    models.VISITS: Walk(tide=0.71, flow=0.0),
    models.HOURLY: Walk(tide=0.44, flow=13.0),
}


class Gives(msgspec.Struct, frozen=True):
    """Of one measure. Errors are medians of the relative error, by people: of the estimate, and of the noisy count.

    Attributes:
        threshold: the least noisy count that is kept, where keys come from the data; None where each key gets noise.
    """

    measure: str
    statistic: str
    level: str
    topic: str
    pane_min: int
    at_most: int
    share: float
    rho: float
    keys: int | None
    noise: float
    told_from: float
    threshold: int | None
    error: dict[int, float]
    error_of_noisy: dict[int, float]


class Guarantee(msgspec.Struct, frozen=True):
    """Of all measures together: for a subscriber's day, or `days` of them alike."""

    days: int
    rho: float
    epsilon: float
    delta: float
    auc_bound: float
    advantage_bound: float


class Explanation(msgspec.Struct, frozen=True):
    """All of it. `left_out`: measures that the purpose does not allow. `kept_back`: share of the budget not spent."""

    purpose: str
    countries: tuple[str, ...]
    k: int
    epsilon: float
    delta: float
    confidence: float
    measures: tuple[Gives, ...]
    left_out: tuple[str, ...]
    kept_back: float
    day: Guarantee
    week: Guarantee
    topics: tuple[str, ...]
    scopes: tuple[str, ...]


def explain(rules: Rulebook, zones: int | None, parents: int | None, confidence: float) -> Explanation:
    """What the rules give. `zones`, `parents`: of the plan, if there is one."""
    strictest = limits(rules)
    measures = measures_for(rules.purpose, rules.measures)
    epoch = _day(rules, measures, zones or 0, parents or 0)
    rho = sum(rho_of(measure, epoch) for measure in measures)
    return Explanation(
        purpose=rules.purpose,
        countries=tuple(policy.country for policy in active(rules) if rules.purpose in policy.purposes),
        k=strictest.k,
        epsilon=strictest.epsilon,
        delta=strictest.delta,
        confidence=confidence,
        measures=tuple(_gives(measure, epoch, zones, parents, confidence) for measure in measures),
        left_out=tuple(measure.name for measure in rules.measures if measure not in measures),
        kept_back=round(1 - sum(measure.share for measure in measures), 9),
        day=guarantee(1, rho, strictest.delta),
        week=guarantee(7, rho, strictest.delta),
        topics=topics_for(rules.purpose),
        scopes=scopes_for(rules.purpose),
    )


def guarantee(days: int, rho: float, delta: float) -> Guarantee:
    """What `days` days of one person, each at `rho`, give together."""
    whole = days * rho
    normal = NormalDist()
    return Guarantee(
        days,
        whole,
        epsilon_for(whole, delta),
        delta,
        normal.cdf(math.sqrt(whole)),
        2 * normal.cdf(math.sqrt(whole / 2)) - 1,
    )


def settled_error(noise: float, walk: Walk, people: float) -> float:
    """Standard error of the estimate at a level, once the filter has settled."""
    moved = (walk.tide * people) ** 2 + walk.flow * people
    return math.sqrt((math.sqrt(moved**2 + 4 * moved * noise**2) - moved) / 2)


def told_from(noise: float, walk: Walk, k: int, confidence: float) -> float:
    """The least level that is told."""
    quantile = NormalDist().inv_cdf(confidence)
    low, high = float(k), MOST_PEOPLE
    for _ in range(100):
        middle = (low + high) / 2
        if middle - quantile * settled_error(noise, walk, middle) >= k:
            high = middle
        else:
            low = middle
    return high


def _gives(measure: Measure, epoch: Epoch, zones: int | None, parents: int | None, confidence: float) -> Gives:
    noise = sigma(measure, epoch)
    walk = WALKS[models.models_of(measure)]
    least = told_from(noise, walk, epoch.k, confidence)
    kept_from = threshold(measure, epoch) if keys_delta(measure, epoch) else None
    return Gives(
        measure=measure.name,
        statistic=measure.statistic,
        level=measure.level,
        topic=RELEASED_BY[measure.statistic],
        pane_min=measure.pane_ms // 60_000,
        at_most=epoch.cap(measure),
        share=measure.share,
        rho=rho_of(measure, epoch),
        keys=measure.keys(zones, parents) if zones is not None and parents is not None else None,
        noise=noise,
        told_from=max(least, kept_from or 0),
        threshold=kept_from,
        error={people: MEDIAN * settled_error(noise, walk, people) / people for people in LEVELS},
        error_of_noisy={people: MEDIAN * noise / people for people in LEVELS},
    )


def _day(rules: Rulebook, measures: tuple[Measure, ...], zones: int, parents: int) -> Epoch:
    """An epoch of 24 hours by the rules, of nowhere."""
    strictest = limits(rules)
    keyed = any(measure.keys_from_data(zones, parents) for measure in measures)
    return Epoch(
        epoch=0,
        start_ms=0,
        end_ms=DAY_MS,
        opens_ms=0,
        timezone="UTC",
        partitions=1,
        plan="",
        zones=zones,
        parents=parents,
        measures=measures,
        epsilon=strictest.epsilon,
        delta=strictest.delta,
        rho=rho_within(strictest.epsilon, strictest.delta, keyed),
        k=strictest.k,
        policy="",
        salt="",
        sources=(),
    )
