"""The towns: which they are, and a day of each, as counted by the core and as truly lived.

Counting is that of a deployment with the settings as they are (`streams.core.inline`): raw records, the registry and
the plan go in, exact panes come out. Each town is a day from 04:00 on, the epoch.
"""

import secrets
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
import numpy as np
import shapely
from numpy.typing import NDArray

from schemas.cohorts import cohort
from schemas.epochs import Epoch
from schemas.measures import AREAS, Measure
from schemas.panes import Pane, pairs
from schemas.plan import Plan
from streams.core.distances import positions_of
from streams.core.epochs import EpochTable, make_epoch
from streams.core.events.records import Records
from streams.core.gateway.gateway import Context, Screened
from streams.core.gateway.policy import PolicyTable
from streams.core.gateway.pseudonyms import SALT_BYTES, key_state
from streams.core.gateway.registry import RegistryTable
from streams.core.gateway.zones import CellTable
from streams.core.inline import Inline
from streams.core.rules.rules import limits
from streams.places.coverage import Shapes, as_objects, coverage
from streams.places.density import People
from streams.places.findings import Findings
from streams.places.served import where_counted
from streams.places.shares import disjoint
from streams.places.sites import Sites
from streams.settings import Settings
from streams.simulate import generate, make_town, plan, registry
from streams.simulate.people import GENDERS, YEAR, birth_years, genders, populate
from streams.simulate.registry import counted
from streams.simulate.town import RAT_NAMES, Town
from streams.stores.policies import configured_rules
from streams.stores.terms import terms_of

DAY_MS: Final = 86_400_000
AFTER_MS: Final = 600_000  # what has to follow the day for its panes to close
SLICE_MS: Final = 600_000
SOURCES: Final = 2

# Beside the default measures, which others counted so would take a tenth of the budget from.
MORE: Final = tuple(Measure(name, name, "zone", 3_600_000, 16, 0.05) for name in AREAS)

Told = Callable[[str], None]


class Shape(NamedTuple):
    """What a town is simulated from, and the local date of its day, which starts at 04:00."""

    name: str
    seed: int
    people: int
    zones: int
    cells: int
    radio: str
    date: tuple[int, int, int]
    consent: float = 0.95

    @property
    def start_ms(self) -> int:
        """04:00 of the date, in winter, an hour ahead of UTC."""
        return int(datetime(*self.date, 3, tzinfo=UTC).timestamp()) * 1000

    def days_before(self, number: int) -> "list[Shape]":
        """The same town's day, and so many before it, the last one first."""
        dates = [date(*self.date) - timedelta(days=back) for back in range(number + 1)]
        return [self._replace(date=(each.year, each.month, each.day)) for each in dates]


# Seeds that neither the filter nor any rule was tuned on.
TOWNS: Final = (
    Shape("compact", 31, 40_000, 20, 100, "real", (2026, 3, 2)),
    Shape("market town", 32, 25_000, 60, 300, "real", (2026, 3, 7)),
    Shape("sprawl", 33, 30_000, 120, 240, "real", (2026, 3, 6)),
    Shape("easy radio", 34, 40_000, 40, 200, "simple", (2026, 3, 3)),
    Shape("village", 35, 4_000, 40, 200, "real", (2026, 3, 8), 0.8),
)


# The same shapes by chance of their own: how much of a figure is these five towns'.
AGAIN: Final = tuple(shape._replace(seed=shape.seed + 100) for shape in TOWNS)


class Rows(NamedTuple):
    """Sightings in the order in which they are counted, by pseudonym: u64, then ts i64 (ms), zone, cohort, kind."""

    pseudonym: NDArray[np.uint64]
    ts: NDArray[np.int64]
    zone: NDArray[np.uint16]
    cohort: NDArray[np.uint8]
    kind: NDArray[np.uint8]

    def rows(self, keep: NDArray[np.bool_]) -> "Rows":
        """Some of them."""
        return Rows(self.pseudonym[keep], self.ts[keep], self.zone[keep], self.cohort[keep], self.kind[keep])


class Day(NamedTuple):
    """A town's day.

    Attributes:
        counts: exact counts by measure, i64[panes, keys].
        stretches: `network.TRUTH` rows of those who may be counted. excluded: zones that the policy leaves out.
        rows: sightings, if they were asked for. cohorts: of each subscriber, by number. lives: districts of each one's
            home, and place of work or study, i64[n, 2], -1 if there is none.
    """

    shape: Shape
    epoch: Epoch
    plan: Plan
    parents: NDArray[np.uint16]
    counts: dict[str, NDArray[np.int64]]
    stretches: NDArray[np.void]
    excluded: NDArray[np.int64]
    events: int
    rows: Rows | None
    cohorts: NDArray[np.uint8]
    lives: NDArray[np.int64]


def town_of(shape: Shape) -> Town:
    """The town that a day is lived in."""
    return make_town(shape.seed, shape.people, shape.zones, shape.cells, consent=shape.consent, radio=shape.radio)


def live(shape: Shape, told: Told, keep_rows: bool = False) -> Day:
    """Simulate the town's day, and count it."""
    return live_days(shape, 1, told, keep_rows)[0]


def live_days(shape: Shape, number: int, told: Told, keep_rows: bool = False) -> list[Day]:
    """Simulate the town's day and those before it, so many together, in one go: each begins as the one before has
    ended, and chance is every day's own. Count them; the town's day first. `keep_rows`: of that day alone."""
    town = town_of(shape)
    made = with_outlines(town)
    days = shape.days_before(number - 1)
    deployment = _Deployment(made, days[-1].start_ms, shape.start_ms if keep_rows else None)
    deployment.people.take(registry(town))
    truths, events = [], [0] * number
    begin_ms, end_ms = days[-1].start_ms, shape.start_ms + DAY_MS
    for piece in generate(town, begin_ms, end_ms + AFTER_MS, SOURCES, batch=100, slice_ms=SLICE_MS):
        records = Records(np.arange(len(piece.time)), piece.time, piece.begin, piece.end, piece.payload)
        before = deployment.inline.events
        deployment.take(records, piece.starts)
        truths.append(piece.truth)
        events[max((end_ms - piece.end_ms) // DAY_MS, 0)] += deployment.inline.events - before
        hours = (piece.end_ms - begin_ms) / 3_600_000
        told(f"{shape.name}, {shape.people} people: {hours:.1f} h of {24 * number}")
    stretches = np.concatenate(truths)
    stretches = stretches[counted(town)[stretches["who"]]]
    excluded = np.flatnonzero([zone.kind in deployment.excluded for zone in made.zones])
    parents = np.array(made.zone_parents(), np.uint16)
    who = cohorts(town), lives(town, parents)
    lived = []
    for day, each_events in zip(days, events, strict=True):
        epoch = deployment.epochs.find(day.start_ms)
        assert epoch is not None
        counts = {m.name: deployment.dense(epoch, m) for m in epoch.measures}
        rows = deployment.rows(epoch) if keep_rows and day == shape else None
        own = stretches[(stretches["end"] > epoch.start_ms) & (stretches["begin"] < epoch.end_ms)]
        lived.append(Day(day, epoch, made, parents, counts, own, excluded, each_events, rows, *who))
    return lived


def with_outlines(town: Town, people: People | None = None, outlines: Shapes | None = None) -> Plan:
    """The town's plan, with where those in each zone are counted: from the cells' positions and ranges, and from the
    zones' outlines, the discs that they are (of where two meet the smaller one has it), as a map has them. `people`:
    where they are, as a grid has it. `outlines`: others than these discs."""
    made = msgspec.convert(plan(town), Plan)
    x, y = town.cell_xy.astype(np.float64).T
    names, rats = [cell.cell for cell in made.cells], [RAT_NAMES[rat] for rat in town.cell_rat.tolist()]
    nothing, unknown = np.zeros(len(x)), np.full(len(x), np.nan)
    reach = town.cell_range_m.astype(np.float64)
    sites = Sites(names, [""] * len(x), rats, nothing, nothing, unknown, unknown, reach)
    ids = [zone.id for zone in made.zones]
    drawn = discs(town) if outlines is None else outlines
    found = where_counted(sites, x, y, coverage(sites, x, y), drawn, town.cell_zone.astype(np.int64), ids, people)
    areas = shapely.area(drawn).tolist()
    zones = [
        msgspec.structs.replace(zone, counted=each.shares, step=each.step, area_m2=area)
        for zone, each, area in zip(made.zones, found, areas, strict=True)
    ]
    return msgspec.structs.replace(made, zones=tuple(zones))


def discs(town: Town) -> Shapes:
    """The zones' outlines."""
    whole = as_objects([shapely.Point(x, y).buffer(radius) for x, y, radius in town.discs.tolist()])
    return disjoint(whole, [zone.name for zone in town.layout.zones], Findings())


def cohorts(town: Town) -> NDArray[np.uint8]:
    """Each subscriber's cohort in the year of the simulation, as the definition has it."""
    ages, words = (YEAR - birth_years(town)).tolist(), genders(town).tolist()
    return np.array([cohort(age, GENDERS[word]) for age, word in zip(ages, words, strict=True)], np.uint8)


def lives(town: Town, parents: NDArray[np.uint16]) -> NDArray[np.int64]:
    """The districts where each subscriber lives, and works or studies; -1 if nowhere."""
    people, _, _ = populate(town)
    district = np.append(parents.astype(np.int64), -1)
    return np.stack([district[np.minimum(people[name], len(parents))] for name in ("home", "work")], axis=1)


class _Deployment:
    """The gateway's and the crowd's core over the raw records."""

    def __init__(self, made: Plan, start_ms: int, keep_from_ms: int | None) -> None:
        rules = configured_rules(Settings())
        self.excluded = limits(rules).excluded
        terms = terms_of(Settings(), made, rules, 1, SOURCES)
        self._terms = terms._replace(measures=(*terms.measures, *MORE))
        self.epochs = EpochTable()
        self.people = RegistryTable()
        self._states: dict[int, NDArray[np.uint64]] = {}
        self._panes: list[Pane] = []
        self._keep_from_ms = keep_from_ms
        self._kept: list[tuple[NDArray[np.generic], ...]] = []
        self._provide(start_ms)
        context = Context(
            self.epochs,
            self._states,
            PolicyTable(rules.policies, rules.purpose),
            self.people,
            CellTable(made, self.excluded),
            1,
            self._terms.lateness_ms,
        )
        self.inline = Inline(
            context, self._provide, np.array(made.zone_parents(), np.uint16), SOURCES, 1 << 20, positions_of(made)
        )

    def _provide(self, ts_ms: int) -> Epoch:
        epoch = self.epochs.find(ts_ms) or make_epoch(ts_ms, self._terms, self.epochs)
        if self.epochs.add(epoch):
            self._states[epoch.epoch] = key_state(secrets.token_bytes(SALT_BYTES))
        return epoch

    def take(self, records: Records, starts: NDArray[np.int64]) -> None:
        """Take a slice's records, by source, and count."""
        for source in range(SOURCES):
            rows = slice(int(starts[source]), int(starts[source + 1]))
            columns = (records.offset[rows], records.time[rows], records.start[rows], records.end[rows])
            self._keep(source, self.inline.take(source, Records(*columns, records.payload)))
        self._panes += self.inline.count()

    def _keep(self, source: int, rows: Screened) -> None:
        if self._keep_from_ms is not None and (rows.ts >= self._keep_from_ms).any():
            columns = (rows.pseudonym, rows.ts, rows.zone, rows.cohort, rows.kind)
            self._kept.append((*columns, np.full(len(rows.ts), source), rows.offset, rows.index))

    def rows(self, epoch: Epoch) -> Rows:
        """The sightings of an epoch that were kept."""
        columns = [np.concatenate(parts) for parts in zip(*self._kept, strict=True)]
        who, ts, *_, source, offset, index = columns
        order = np.lexsort([index, offset, source, ts, who])
        order = order[(ts[order] >= epoch.start_ms) & (ts[order] < epoch.end_ms)]
        return Rows(*(column[order] for column in columns[:5]))

    def dense(self, epoch: Epoch, measure: Measure) -> NDArray[np.int64]:
        """A measure's counts of an epoch, i64[panes, keys]."""
        length = measure.pane_ms // epoch.pane_ms
        counts = np.zeros((epoch.last_pane // length, measure.keys(epoch.zones, epoch.parents)), np.int64)
        for pane in self._panes:
            if pane.epoch == epoch.epoch and measure.name in pane.counts:
                places, values = pairs(pane.counts[measure.name])
                counts[pane.number // length - 1, places] = values
        return counts
