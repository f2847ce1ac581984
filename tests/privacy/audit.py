"""An empirical audit of the release: what an attacker can tell of one subscriber-day from what is published.

Two inputs differ by one subscriber, who does the most that the caps allow. Each is counted by the crowd once and
released many times: exact counts, noise, ledger record, published bytes. The attacker knows both inputs and all that
is not random. Shown a release of each, they say which is which; how often that is right tells, with confidence, what
the release gives away at least (intervals: Clopper and Pearson 1934, exact).

A Gaussian mechanism's whole trade-off curve is one number, mu (Dong, Roth and Su 2022): a cost of rho allows
mu = sqrt(2 rho), and then nobody is right more often than Phi(mu / sqrt 2). That is far sharper than (epsilon, delta):
noise of half the size is caught in two thousand runs, where its epsilon at a delta of 2e-9 could not be measured in
millions. The epsilon that the runs do show (Jagielski, Ullman and Oprea 2020) is told besides.
"""

import math
import random
from collections.abc import Callable, Iterable
from statistics import NormalDist
from typing import NamedTuple

import msgspec
import numpy as np
import orjson
from numpy.typing import NDArray
from scipy.stats import beta

from schemas.epochs import Epoch
from schemas.ledger import LedgerRecord
from schemas.measures import Measure
from schemas.plan import Cell, Parent, Plan, Zone
from streams.core.release.budget import rho_of, sensitivity, sigma
from streams.core.release.ledger import Account
from streams.core.release.release import Draw, next_record, publications
from streams.core.release.render import Page
from streams.core.release.sums import Sums, Whole
from streams.core.times import rfc3339
from streams.stores.noise import Noise, draw
from tests.oracle.counting import Sighting
from tests.property.test_crowd_against_oracle import MINUTE, PARENT_OF, epoch, frames_of, run

HOUR = 60 * MINUTE
# Few long panes, so that a day's whole budget is spent in a few draws: the same code, and the same loss.
MEASURES = (
    Measure("present", "present", "zone", HOUR, 0, 0.30),
    Measure("arrivals", "arrivals", "zone", HOUR, 2, 0.30, HOUR),
    Measure("trips_parent", "trips", "parent", HOUR, 4, 0.40),
)
DAY = msgspec.structs.replace(epoch(hours=2), measures=MEASURES, pane_ms=HOUR, k=-1_000_000)
PLAN = Plan(
    1,
    "audited",
    "Europe/Berlin",
    (Parent("north", "North"), Parent("south", "South")),
    tuple(Zone(f"z{n}", f"Zone {n}", "south" if parent else "north", "shops") for n, parent in enumerate(PARENT_OF)),
    (Cell("001-01-00000", "z0"),),
)
PAGE = Page(PLAN, 0.95)
TARGET = 1
LOOKS = 4
Cells = dict[tuple[str, str, str], float]


class Neighbours(NamedTuple):
    """The exact panes without and with the subscriber, and what the account is told of the epoch."""

    epoch: Epoch
    without: list[Whole]
    with_: list[Whole]


class Found(NamedTuple):
    """What an attack has shown at least, with confidence: `mu` of a Gaussian, and `epsilon` at the epoch's delta."""

    mu: float
    epsilon: float


def busy(zones: list[int], every_ms: int = 10 * MINUTE) -> list[Sighting]:
    """The subscriber, somewhere else every so often for all of the day, and seen there once more halfway: a stay."""
    times = range(DAY.start_ms, DAY.end_ms, every_ms // 2)
    return [Sighting(ts, 0, n, 0, TARGET, zones[n // 2 % len(zones)], 0, 0) for n, ts in enumerate(times)]


def standing(people: int) -> list[Sighting]:
    """Others, who are in zone 0 all day."""
    rows = [(DAY.start_ms + at * 30 * MINUTE + n, TARGET + 1 + n) for at in range(4) for n in range(people)]
    return [Sighting(ts, 1, offset, 0, who, 0, 0, 0) for offset, (ts, who) in enumerate(rows)]


def neighbours(
    target: list[Sighting], others: list[Sighting], counted: Epoch = DAY, accounted: Epoch = DAY
) -> Neighbours:
    """Both inputs, counted by the rules of `counted`; the account goes by `accounted`: the same, but for a mistake."""
    return Neighbours(accounted, _wholes(others, counted), _wholes(sorted([*target, *others]), counted))


def _wholes(sightings: list[Sighting], counted: Epoch) -> list[Whole]:
    _, panes = run(frames_of(sightings, counted.end_ms, random.Random(0), 500), [counted])
    sums = Sums(Account(), [counted])
    found = []
    for offset, pane in enumerate(panes):
        sums.add(pane, offset, counted)
        while (whole := sums.first_whole()) is not None:
            found.append(_dense(whole, counted))
            sums.drop(whole)
    return found


def _dense(whole: Whole, counted: Epoch) -> Whole:
    empty = {m.name: np.zeros(m.keys(counted.zones, counted.parents), np.int64) for m in counted.due(whole.number)}
    return whole._replace(counts=empty | whole.counts)


def released(panes: list[Whole], account: Epoch, noise: Noise, page: Page) -> Cells:
    """One release of a day, read from the published bytes: (start, measure, place or pair) to the noisy number."""
    last: dict[str, LedgerRecord] = {}
    told: Cells = {}
    for whole in panes:
        for measure in account.due(whole.number):
            cost = rho_of(measure, account)
            noisy = noise(whole.counts[measure.name], sensitivity(measure, account), sigma(measure, account), cost)
            drawn = Draw(account, measure, whole.number, whole.end_ms, noisy)
            record = last[measure.name] = next_record(drawn, last.get(measure.name), None, page, 0, "audit")
            for item in publications(record):
                value = orjson.loads(item.value)
                if "noisy" in value and value["level"] == measure.level:
                    place = value.get("zone") or f"{value['origin']}>{value['destination']}"
                    told[value["end"], measure.name, place] = value["noisy"]
    return told


def differences(both: Neighbours) -> dict[tuple[int, str, int], tuple[int, float]]:
    """What the attacker knows: by (pane, measure, key) how far the inputs are apart, and the scale of the noise."""
    found = {}
    for number, (one, other) in enumerate(zip(both.without, both.with_, strict=True)):
        for measure in both.epoch.due(one.number):
            apart = other.counts[measure.name] - one.counts[measure.name]
            for key in np.flatnonzero(apart).tolist():
                found[number, measure.name, key] = (int(apart[key]), sigma(measure, both.epoch))
    return found


def names(both: Neighbours) -> dict[tuple[int, str, int], tuple[str, str, str]]:
    """The keys of `differences` as they are published."""
    parents = [parent.id for parent in PLAN.parents]

    def place(measure: str, key: int) -> str:
        if measure.startswith("trips"):
            return f"{parents[key // len(parents)]}>{parents[key % len(parents)]}"
        return PLAN.zones[key].id

    return {
        (pane, measure, key): (rfc3339(both.without[pane].end_ms), measure, place(measure, key))
        for pane, measure, key in differences(both)
    }


Attack = Callable[[Cells], float]


def likelihood(both: Neighbours) -> Attack:
    """The best attack on Gaussian noise that there is: the sum of what the numbers say for the subscriber."""
    apart, places = differences(both), names(both)
    weights = {places[cell]: by / scale**2 for cell, (by, scale) in apart.items()}
    return lambda told: sum(weight * told[place] for place, weight in weights.items() if place in told)


def zeros(both: Neighbours) -> Attack:
    """Where only one input has somebody: how few of the numbers are exactly zero."""
    places = set(names(both).values())
    return lambda told: -float(sum(told.get(place) == 0 for place in places))


def telling(both: Neighbours) -> Attack:
    """How many of the numbers that the subscriber is part of are published at all."""
    places = set(names(both).values())
    return lambda told: float(len(places & told.keys()))


def audit(
    both: Neighbours,
    attacks: Iterable[Callable[[Neighbours], Attack]],
    runs: int,
    alpha: float,
    noise: Noise = draw,
    pages: tuple[Page, Page] = (PAGE, PAGE),
    enough: float = math.inf,
) -> Found:
    """The most that any attack shows in so many releases of each input; too much with a probability of at most `alpha`.

    Args:
        pages: what renders the input without the subscriber, and the one with.
        enough: a mu beyond which no further release is needed. That is looked at LOOKS times, each of which may err
            with its share of `alpha` (Bonferroni).
    """
    tries = [attack(both) for attack in attacks]
    scores = np.empty((2, len(tries), runs))
    looks = {runs} if enough == math.inf else {runs * look // LOOKS for look in range(1, LOOKS + 1)}
    each = alpha / len(tries) / len(looks)
    shown = Found(0.0, 0.0)
    for n in range(runs):
        for which, panes in enumerate((both.without, both.with_)):
            told = released(panes, both.epoch, noise, pages[which])
            scores[which, :, n] = [score(told) for score in tries]
        if n + 1 in looks:
            by_each = [found(*scores[:, attack, : n + 1], both.epoch.delta, each) for attack in range(len(tries))]
            shown = Found(max(one.mu for one in by_each), max(one.epsilon for one in by_each))
            if shown.mu > enough:
                break
    return shown


def found(without: NDArray[np.float64], with_: NDArray[np.float64], delta: float, alpha: float) -> Found:
    """What the scores of independent releases show at least. Ties count as wrong."""
    runs = len(without)
    right = least(int(np.sum(with_ > without)), runs, alpha / 2)
    mu = math.sqrt(2) * NormalDist().inv_cdf(right) if right > 0.5 else 0.0
    threshold = (without.mean() + with_.mean()) / 2
    hits = least(int(np.sum(with_ > threshold)), runs, alpha / 4)
    alarms = 1 - least(int(np.sum(without <= threshold)), runs, alpha / 4)
    return Found(mu, max(0.0, math.log(max(hits - delta, alarms) / alarms)))


def least(hits: int, runs: int, alpha: float) -> float:
    """A probability that is at most the true one, but for a chance of `alpha` (one-sided Clopper-Pearson)."""
    return float(beta.ppf(alpha, hits, runs - hits + 1)) if hits else 0.0


def claimed(epoch: Epoch) -> Found:
    """What the account allows."""
    return Found(math.sqrt(2 * sum(rho_of(m, epoch) for m in epoch.measures)), epoch.epsilon)


def worst(both: Neighbours) -> float:
    """mu of the inputs by theory, noise as the account says: the claim, if the subscriber does the most there is."""
    return math.sqrt(sum((by / scale) ** 2 for by, scale in differences(both).values()))
