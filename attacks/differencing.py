"""Differencing: what is withheld, by taking what is told from a sum that is told.

Wherever a sum and all of its parts but one are published, the missing part is their difference. The sums here:
districts and their zones (at each pane), a zone and its age bands and genders, flows between districts and between
their zones (an hour), a window's footfall, which is who was present at its start and who arrived in it, or who is there
at its end and who left, and counts in parts (dwell, visits, travel times, home and work) of a place in all and in
parts, and of a district and its zones. A withheld small count is recovered if the difference, rounded, is exactly it.

Some small counts are guessed right without anything: `guess` is the share that one gets by always saying the same
best number, in hindsight. It is the bar, not zero.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.chance import Estimate, share
from attacks.leaving import DISTRICTS, Published, districts_of, in_all, in_all_of_districts, parted
from schemas.cohorts import COHORTS
from schemas.epochs import Epoch
from schemas.measures import Measure

SMALL: Final = 30


class Sum(NamedTuple):
    """A kind of sum: f64[sums] and its parts f64[sums, parts], NaN where untold; parts that aren't there are 0."""

    kind: str
    total: NDArray[np.float64]
    parts: NDArray[np.float64]


class Recovered(NamedTuple):
    """Of withheld counts below SMALL: how many could be tried, how many came out exactly, and by guessing alone."""

    tried: int
    exact: int
    guess: int

    @property
    def share(self) -> Estimate:
        """Of those tried."""
        return share(self.exact, self.tried)

    @property
    def guessed(self) -> Estimate:
        """What guessing gives."""
        return share(self.guess, self.tried)


def sums(epoch: Epoch, parents: NDArray[np.uint16], published: Published, sharp: bool) -> Iterator[Sum]:
    """All sums whose parts are published too. `sharp`: of estimates, not of noisy counts."""
    tables = {name: table.estimate if sharp else table.noisy for name, table in published.tables.items()}
    present = tables["present"]
    for parent in range(epoch.parents):
        yield Sum("districts", tables[DISTRICTS][:, parent], present[:, parents == parent])
    cohorts = tables["present_cohort"]
    hourly = len(present) // len(cohorts)
    by_zone = cohorts.reshape(len(cohorts), epoch.zones, COHORTS)
    for zone in range(epoch.zones):
        yield Sum("cohorts", present[hourly - 1 :: hourly, zone], by_zone[:, zone])
    yield from _flows(epoch, parents, tables["trips_parent"], tables["trips_zone"])
    arrivals, footfall = tables["arrivals"], tables["footfall"]
    every = len(present) // len(arrivals)
    # Of windows who was present at the start is told by its estimate.
    start = published.tables["present"].estimate[every - 1 : -1 : every]
    parts = np.stack([start.ravel() if sharp else np.rint(start.ravel()), arrivals[1:].ravel()], axis=1)
    yield Sum("windows", footfall[1:].ravel(), parts)
    end = published.tables["present"].estimate[2 * every - 1 :: every]
    left = tables["departures"][1:].ravel()
    parts = np.stack([end.ravel() if sharp else np.rint(end.ravel()), left], axis=1)
    yield Sum("departures", footfall[1:].ravel(), parts)
    for measure in parted(epoch):
        yield from _parted(epoch, parents, measure, tables)


def _parted(
    epoch: Epoch, parents: NDArray[np.uint16], measure: Measure, tables: dict[str, NDArray[np.float64]]
) -> Iterator[Sum]:
    name, panes = measure.name, len(tables[measure.name])
    parts = measure.parts(epoch.parents)
    zones = tables[name].reshape(panes, -1, parts)
    for place in range(zones.shape[1]):
        yield Sum(name, tables[in_all(name)][:, place], zones[:, place])
    if measure.level == "parent":
        return
    districts = tables[districts_of(name)].reshape(panes, epoch.parents, parts)
    for parent in range(epoch.parents):
        yield Sum(name, tables[in_all_of_districts(name)][:, parent], districts[:, parent])
        yield Sum(name, tables[in_all_of_districts(name)][:, parent], tables[in_all(name)][:, parents == parent])
        for part in range(zones.shape[2]):
            yield Sum(name, districts[:, parent, part], zones[:, parents == parent, part])


def _flows(
    epoch: Epoch, parents: NDArray[np.uint16], quarters: NDArray[np.float64], zones: NDArray[np.float64]
) -> Iterator[Sum]:
    hours = len(zones)
    districts = quarters.reshape(hours, -1, epoch.parents, epoch.parents).sum(axis=1)
    pairs = zones.reshape(hours, epoch.zones, epoch.zones).copy()
    pairs[:, np.arange(epoch.zones), np.arange(epoch.zones)] = 0.0  # nobody goes from a zone to itself: no trip
    for origin in range(epoch.parents):
        for goal in range(epoch.parents):
            inside = pairs[:, parents == origin][:, :, parents == goal]
            yield Sum("flows", districts[:, origin, goal], inside.reshape(hours, -1))


def attack(epoch: Epoch, parents: NDArray[np.uint16], published: Published, truth: Published) -> dict[str, Recovered]:
    """By kind of sum; of the two ways to read the published numbers the one that recovers more."""
    found: dict[str, Recovered] = {}
    for sharp in (False, True):
        values: dict[str, list[tuple[NDArray[np.float64], NDArray[np.float64]]]] = {}
        exact = sums(epoch, parents, truth, False)
        for told, true in zip(sums(epoch, parents, published, sharp), exact, strict=True):
            values.setdefault(told.kind, []).append(_missing(told, true))
        for kind, pairs in values.items():
            guesses, small = (np.concatenate(columns) for columns in zip(*pairs, strict=True))
            most = int(np.bincount(small.astype(np.int64)).max()) if len(small) else 0
            hits = int(np.count_nonzero(np.rint(guesses) == small))
            if kind not in found or hits > found[kind].exact:
                found[kind] = Recovered(len(small), hits, most)
    return found


def _missing(told: Sum, true: Sum) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where one part alone is untold and truly small: the difference, and what it truly is."""
    untold = np.isnan(told.parts)
    rows = np.flatnonzero((untold.sum(axis=1) == 1) & ~np.isnan(told.total))
    column = untold[rows].argmax(axis=1)
    difference = told.total[rows] - np.nansum(told.parts[rows], axis=1)
    small = true.parts[rows, column]
    # Empty cells are no secret: of small crowds only those with somebody in them count.
    keep = (small > 0) & (small < SMALL)
    return difference[keep], small[keep]


def together(found: dict[str, Recovered]) -> Recovered:
    """All kinds as one."""
    return Recovered(*(sum(column) for column in zip(*found.values(), strict=True)))
